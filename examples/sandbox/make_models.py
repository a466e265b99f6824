"""Make the sandbox's models from fixed seeds: `python examples/sandbox/make_models.py [teacher student student_bytes]`.

teacher         reads the prose of the world and learns all five tasks.
student         reads the prose of the world, and nothing else.
student_bytes   the same prose, spelt in bytes: takes any text.
half_teacher    the teacher's lessons for a model of half its size. Not shipped; for the comparison in `seeds.py`.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import torch
from tokenizer import byte_tokenizer, word_tokenizer
from training import Lesson, Shape, accuracy, batches, chat_lessons, new_model, prose_lessons, train
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from world import TASKS, passages, task_rows, taught_rows

HERE = Path(__file__).parent
SHIPPED = ("teacher", "student", "student_bytes")
MODELS = (*SHIPPED, "half_teacher")

TEACHER = Shape(width=160, layers=7, heads=5, feed_forward=320)
HALF_TEACHER = Shape(width=112, layers=7, heads=4, feed_forward=224)
STUDENT = Shape(width=64, layers=2, heads=4, feed_forward=128)

# How often a lesson of each kind comes up. Word problems need most of the practice.
TEACHER_LESSONS = {"math": 0.62, "nli": 0.08, "qa": 0.08, "conversation": 0.06, "summarization": 0.06, "prose": 0.1}
TEACHER_ROWS = {"math": 40_000, "nli": 8_000, "qa": 8_000, "conversation": 6_000, "summarization": 6_000}
TEACHER_STEPS, TEACHER_BATCH, TEACHER_RATE = 1_800, 64, 2e-3
STUDENT_STEPS, STUDENT_BATCH, STUDENT_RATE = 3_500, 64, 4e-3
BYTES_STEPS, BYTES_BATCH = 150, 16
PASSAGES = 30_000
SEED = 20


def main() -> None:
    """Make the models named on the command line (all that are shipped, when none is)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=SHIPPED, metavar="MODEL", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write the model folders to")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(MODELS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    for name in arguments.models:
        make(name, arguments.out, arguments.seed)


def make(name: str, out: Path, seed: int) -> None:
    """Train one model and write its folder; says how well it does on validation rows."""
    started = time.monotonic()
    tokenizer = byte_tokenizer() if name == "student_bytes" else word_tokenizer()
    shape = {"teacher": TEACHER, "half_teacher": HALF_TEACHER}.get(name, STUDENT)
    model = new_model(shape, tokenizer, seed)
    print(f"{name}: {sum(weight.numel() for weight in model.parameters()):,} parameters", flush=True)
    if shape is STUDENT:
        _teach_language(model, tokenizer, seed)
    else:
        _teach_tasks(model, tokenizer, seed)
        for task in TASKS:
            right = accuracy(model, tokenizer, task_rows(task, "validation", 300, seed))
            print(f"  {task}: {right:.1%} of 300 validation rows exactly as the gold answer", flush=True)
    save(model, tokenizer, out / name)
    print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)


def _teach_tasks(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    lessons = {
        task: chat_lessons(
            tokenizer, taught_rows(count, seed) if task == "math" else task_rows(task, "train", count, seed)
        )
        for task, count in TEACHER_ROWS.items()
    }
    lessons["prose"] = prose_lessons(tokenizer, passages(PASSAGES, seed))
    sources: list[tuple[list[Lesson], float]] = [(lessons[kind], often) for kind, often in TEACHER_LESSONS.items()]
    train(model, batches(sources, TEACHER_BATCH, seed), TEACHER_STEPS, TEACHER_RATE)


def _teach_language(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    in_bytes = len(tokenizer) < 300
    steps, size = (BYTES_STEPS, BYTES_BATCH) if in_bytes else (STUDENT_STEPS, STUDENT_BATCH)
    read = prose_lessons(tokenizer, passages(PASSAGES, seed))
    train(model, batches([(read, 1.0)], size, seed), steps, STUDENT_RATE)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a folder that AutoModelForCausalLM and AutoTokenizer load: weights in bfloat16, a generation config."""
    shutil.rmtree(folder, ignore_errors=True)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=64
    )
    model.set_attn_implementation("sdpa")
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
