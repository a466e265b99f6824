"""Fine-tuning against transformers' own Trainer and a bare loop, on the same tiny model and rows.

    python benchmarks/finetune.py [--rounds 5] [--rows 512] [--layers 4] [--hidden 256] [--vocabulary 8000]

The contenders take turns for so many rounds, because machines grow faster and slower by the minute; printed are median
seconds, and the median over rounds of each contender's time divided by ours in the same round. Equal work: the same
rows, batch size, epochs, optimiser and precision. Not equal, on purpose: the order of rows (the plain Trainer shuffles
unless told to group by length) and what the output layer is applied to.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMPONENTS = Path(__file__).parents[1] / "components"
sys.path += [str(COMPONENTS), str(COMPONENTS / "student/finetune_student")]

import torch  # noqa: E402  (after the path is set)
from modelling.chat import Encoded  # noqa: E402
from modelling.examples import Example  # noqa: E402
from student_trainer import Collator, LengthBuckets, Objective, StudentTrainer  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments  # noqa: E402
from transformers.trainer_callback import PrinterCallback  # noqa: E402
from transformers.utils import logging  # noqa: E402


def make_rows(count: int, vocabulary: int) -> list[Example]:
    """Rows of 20 to 200 random tokens, of which the last third is learnt."""
    draw = random.Random(0)
    rows = []
    for number in range(count):
        length = draw.randint(20, 200)
        ids = [draw.randrange(1, vocabulary) for _ in range(length)]
        rows.append(Example(f"{number:016x}", Encoded(ids, [place >= 2 * length // 3 for place in range(length)])))
    return rows


def make_model(given: argparse.Namespace) -> Any:
    """The same random model every time."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=given.vocabulary, hidden_size=given.hidden, intermediate_size=2 * given.hidden,
        num_hidden_layers=given.layers, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def settings(folder: str, given: argparse.Namespace, **changes: Any) -> TrainingArguments:
    """What all Trainers share."""
    return TrainingArguments(
        output_dir=folder, use_cpu=True, per_device_train_batch_size=given.batch_size, num_train_epochs=given.epochs,
        learning_rate=1e-3, report_to="none", disable_tqdm=True, save_strategy="no", remove_unused_columns=False,
        optim="adamw_torch_fused", **({"logging_steps": 1000} | changes),
    )  # fmt: skip


def ours(rows: list[Example], given: argparse.Namespace) -> None:
    """The student's trainer as the step uses it."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = StudentTrainer(
            model=make_model(given), args=settings(folder, given, logging_nan_inf_filter=False), train_dataset=rows,
            data_collator=Collator(0), objective=Objective(),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """The same rows as the plain Trainer wants them."""

    def __init__(self, rows: list[Example]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        encoded = self._rows[place].encoded
        labels = [token if learn else -100 for token, learn in zip(encoded.ids, encoded.learn, strict=True)]
        return {"input_ids": encoded.ids, "labels": labels}


def pad(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """A plain padding collator."""
    width = max(len(row["input_ids"]) for row in batch)
    fill = {"input_ids": 0, "labels": -100, "attention_mask": 0}
    full = [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in batch]
    return {
        key: torch.tensor([row[key] + [value] * (width - len(row[key])) for row in full]) for key, value in fill.items()
    }


def plain(strategy: str) -> Callable[[list[Example], argparse.Namespace], None]:
    """transformers' Trainer with its own loss; ``strategy`` is its order of rows."""

    def run(rows: list[Example], given: argparse.Namespace) -> None:
        with tempfile.TemporaryDirectory() as folder:
            arguments = settings(folder, given, train_sampling_strategy=strategy)
            trainer = Trainer(model=make_model(given), args=arguments, train_dataset=Rows(rows), data_collator=pad)
            trainer.remove_callback(PrinterCallback)
            trainer.train()

    return run


def bare(rows: list[Example], given: argparse.Namespace) -> None:
    """A loop with nothing around it: our batches and loss, no schedule, logs, callbacks. What the Trainer costs us."""
    model, collate = make_model(given).train(), Collator(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
    buckets = LengthBuckets([row.length for row in rows], given.batch_size, 42)
    for epoch in range(given.epochs):
        buckets.set_epoch(epoch)
        order = list(buckets)
        for at in range(0, len(order), given.batch_size):
            batch = collate([rows[row] for row in order[at : at + given.batch_size]])
            labels = batch.pop("labels")[:, 1:]
            keep = labels.ne(-100)
            hidden = model.model(**batch, use_cache=False).last_hidden_state[:, :-1]
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[keep]), labels[keep])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()


CONTENDERS = {
    "azdistill": ours,
    "Trainer": plain("random"),
    "Trainer, group_by_length": plain("group_by_length"),
    "bare loop": bare,
}


def main() -> None:
    """Run all contenders in turn and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    sizes = {"rounds": 5, "rows": 512, "epochs": 1, "batch_size": 16, "layers": 4, "hidden": 256, "vocabulary": 8000}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    logging.set_verbosity_error()
    rows = make_rows(given.rows, given.vocabulary)
    for contender in CONTENDERS.values():
        contender(rows[: 4 * given.batch_size], given)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for turn in range(given.rounds):
        names = list(CONTENDERS)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = time.perf_counter()
            CONTENDERS[name](rows, given)
            seconds[name].append(time.perf_counter() - started)
    print(f"{'':26}{'median s':>10}{'min':>8}{'max':>8}{'against ours':>14}")
    for name, found in seconds.items():
        ratio = statistics.median(other / base for other, base in zip(found, seconds["azdistill"], strict=True))
        print(f"{name:26}{statistics.median(found):10.2f}{min(found):8.2f}{max(found):8.2f}{ratio:13.2f}x")


if __name__ == "__main__":
    main()
