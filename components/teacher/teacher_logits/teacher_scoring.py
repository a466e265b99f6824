"""The teacher's distributions over the student's tokens."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import torch
from common import tracking
from common.progress import Progress
from common.rows import Row, Tally
from common.step import BadConfig, NotFinite
from modelling.chat import Chat
from modelling.examples import Example, make_examples, require
from modelling.logit_store import Distributions, LogitWriter
from modelling.models import choose_device, choose_dtype, eos_ids, load_model, load_tokenizer, quiet
from torch import Tensor

#: Tails are stored for these temperatures, so that a change between them does not ask the teacher again.
TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 5.0)
#: At most so many logits are held at a time (float32: 256 MiB).
_LOGITS_AT_ONCE = 1 << 26


def store(
    args: Namespace, rows: dict[str, list[Row]], files: dict[str, str], tallies: dict[str, Tally]
) -> dict[str, Any]:
    """Write the shards; fills ``tallies`` and returns what the summary tells."""
    quiet()
    started = time.monotonic()
    device = choose_device()
    student_tokenizer = load_tokenizer(args.student, what="student")
    teacher_tokenizer = load_tokenizer(args.teacher, what="teacher")
    check_same_tokens(teacher_tokenizer, student_tokenizer)
    teacher = load_model(args.teacher, choose_dtype(args.dtype, device), device, what="teacher")
    vocabulary = len(student_tokenizer)
    check_vocabulary(teacher, vocabulary)
    chat = Chat(student_tokenizer, _student_eos(args))
    limit = _limit(teacher, args)
    examples: list[Example] = []
    for split, path in files.items():
        encoded, tallies[split] = make_examples(
            rows[split], chat, target=args.target, every_turn=args.loss_on == "assistant", max_length=limit
        )
        require(encoded, tallies[split], path)
        examples += encoded
    top_k = min(args.top_k, vocabulary)
    temperatures = sorted({*TEMPERATURES, args.distillation_temperature})
    about = {"teacher": args.teacher, "top_k": top_k, "vocabulary": vocabulary, "temperatures": temperatures}
    writer = LogitWriter(args.logits, **about)
    mass = score(teacher, examples, writer, chat.pad_id, args.batch_size, top_k, temperatures, vocabulary)
    writer.close()
    tokens = sum(example.encoded.targets for example in examples)
    tracking.log_metrics({"top_k_mass": mass, "tokens": tokens})
    return {**about, "tokens": tokens, "top_k_mass": mass, "seconds": round(time.monotonic() - started, 3)}


def check_same_tokens(teacher: Any, student: Any) -> None:
    """Raises BadConfig unless both tokenizers give the same tokens the same numbers."""
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    different = [token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)]
    sample = "The 3 quick brown foxes jumped, didn't they? \u00e9\u4e2d 12.5%\n\tx = y\n"
    if different:
        token = min(different, key=lambda t: min(ours.get(t, 1 << 40), theirs.get(t, 1 << 40)))
        raise BadConfig(
            f"teacher and student do not share a tokenizer: {len(different)} tokens differ, the first is {token!r} "
            f"({theirs.get(token, 'absent')} in the teacher's, {ours.get(token, 'absent')} in the student's); "
            "method logits needs one vocabulary, method sft does not"
        )
    if teacher(sample)["input_ids"] != student(sample)["input_ids"]:
        raise BadConfig("teacher and student have the same tokens, but split text into them differently")


def check_vocabulary(teacher: Any, vocabulary: int) -> None:
    """Raises BadConfig where the teacher has no logits for some token. Columns beyond the vocabulary are padding."""
    width = teacher.get_output_embeddings().weight.shape[0]
    if width < vocabulary:
        raise BadConfig(f"the teacher predicts {width} tokens, the tokenizer has {vocabulary}")


def _student_eos(args: Namespace) -> list[int]:
    """The ends of turns that the student declares, as fine-tuning will see them."""
    from transformers import AutoConfig, GenerationConfig

    config = AutoConfig.from_pretrained(args.student, trust_remote_code=False)
    try:
        generation = GenerationConfig.from_pretrained(args.student)
    except OSError:
        generation = None
    holder = type("Holder", (), {"config": config, "generation_config": generation})
    return eos_ids(holder)


def _limit(teacher: Any, args: Namespace) -> int:
    positions = getattr(teacher.config.get_text_config(), "max_position_embeddings", None) or args.max_length
    return int(min(positions, args.max_length))


def score(
    teacher: Any,
    examples: Sequence[Example],
    writer: LogitWriter,
    pad_id: int,
    batch_size: int,
    top_k: int,
    temperatures: Sequence[float],
    vocabulary: int,
) -> float:
    """Run the teacher over all examples, longest first (a lack of memory shows at once). Returns the top-k mass."""
    order = sorted(examples, key=lambda example: example.length, reverse=True)
    mass, tokens = 0.0, 0
    with Progress(len(order), "scoring with the teacher") as progress:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            distributions = _batch(teacher, batch, pad_id, top_k, temperatures, vocabulary)
            for example, one in zip(batch, distributions, strict=True):
                writer.add(example.row_id, example.encoded.ids, one)
                mass += float((1 - torch.from_numpy(one.tails[:, 0]).exp()).sum())
                tokens += len(one.ids)
            progress.update(len(batch))
    return mass / max(tokens, 1)


def _batch(
    teacher: Any, batch: Sequence[Example], pad_id: int, top_k: int, temperatures: Sequence[float], vocabulary: int
) -> list[Distributions]:
    width = max(example.length for example in batch)
    ids = torch.full((len(batch), width), pad_id)
    mask, learn = torch.zeros_like(ids), torch.zeros(len(batch), width, dtype=torch.bool)
    for row, example in enumerate(batch):
        ids[row, : example.length] = torch.tensor(example.encoded.ids)
        mask[row, : example.length] = 1
        learn[row, : example.length] = torch.tensor(example.encoded.learn)
    with torch.no_grad():
        logits = teacher(
            input_ids=ids.to(teacher.device), attention_mask=mask.to(teacher.device), use_cache=False
        ).logits
    # What is predicted at one place is the token of the next.
    learned = logits[:, :-1][learn[:, 1:].to(logits.device)][:, :vocabulary]
    parts = [top_and_tails(part, top_k, temperatures) for part in learned.split(max(1, _LOGITS_AT_ONCE // vocabulary))]
    joined = [torch.cat(column).cpu() for column in zip(*parts, strict=True)]
    sizes = [example.encoded.targets for example in batch]
    for example, logprobs in zip(batch, joined[1].split(sizes), strict=True):
        if logprobs.isnan().any():
            raise NotFinite(
                f"the teacher's logits of row {example.row_id} are not numbers (NaN); try dtype float32 or bfloat16"
            )
    split = [column.split(sizes) for column in joined]
    return [Distributions(*(piece.numpy() for piece in row)) for row in zip(*split, strict=True)]


def top_and_tails(logits: Tensor, top_k: int, temperatures: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Of N x V logits: ids (N x k), log-probabilities (N x k), tails (N x temperatures; see modelling.logit_store)."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    values, ids = logprobs.topk(top_k, dim=-1)
    outside = logprobs.scatter(-1, ids, float("-inf"))
    tails = torch.stack([torch.logsumexp(outside / temperature, dim=-1) for temperature in temperatures], dim=-1)
    return ids.to(torch.int32), values.half(), tails
