"""Fine-tune a student on teacher rows (``sft``), and on the teacher's stored distributions (``logits``)."""

from __future__ import annotations

import time
from argparse import Namespace
from hashlib import sha256
from pathlib import Path
from typing import Any

import distributed as processes
from common import arguments, strict_json
from common.rows import Tally, read_rows, write_summary
from common.step import BadConfig, BadData, run_step, say
from modelling.models import check_source


def check(args: Namespace) -> None:
    """Raises BadConfig for inputs that contradict each other."""
    for name in ("learning_rate", "num_epochs"):
        if not getattr(args, name):
            raise BadConfig(f"{name} must be greater than 0")
    if (args.method == "logits") != bool(args.logits):
        wrong = "method logits needs the input 'logits'" if args.method == "logits" else "'logits' is for method logits"
        raise BadConfig(wrong)
    args.parallelism = processes.choose(args.parallelism, processes.world_size())
    if args.early_stopping_patience > 0 and not args.validation_rows:
        raise BadConfig("early_stopping_patience needs validation_rows")
    args.student = check_source(args.student_weights, args.student_id, "student")
    if args.student is None:
        raise BadConfig("no student: give student_weights or student_id")


def settings_digest(args: Namespace) -> str:
    """What a checkpoint must agree on to be resumed: every input but where things lie, and the rows themselves."""
    places = {"rows", "validation_rows", "student", "student_weights", "logits", "model", "checkpoints", "summary"}
    values = {name: value for name, value in vars(args).items() if name not in places}
    # As many processes as there are, so many rows make a step.
    values["processes"] = processes.world_size()
    files = [Path(path) for path in (args.rows, args.validation_rows) if path]
    files += sorted(Path(args.student_weights).glob("*.safetensors")) if args.student_weights else []
    # The index of stored logits holds a digest of each row's tokens, and what they were made with.
    files += sorted(Path(args.logits).glob("logits.json")) if args.logits else []
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(_digest(stream))
    return sha256(strict_json.dumps([values, digests], sort_keys=True).encode()).hexdigest()


def _digest(stream: Any) -> str:
    digest = sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def main() -> None:
    """Read, train, save."""
    processes.speak_for_all()
    args = arguments.of(__file__)
    check(args)
    rows = list(read_rows(args.rows))
    validation = list(read_rows(args.validation_rows)) if args.validation_rows else []
    if args.early_stopping_patience > 0 and not validation:
        raise BadData(f"{args.validation_rows} holds no rows: early stopping needs some")
    # torch and transformers take seconds to import: only once the inputs are known to be sound.
    from fine_tuning import Student, train

    started = time.monotonic()
    student = Student(args)
    train_examples, train_tally = student.examples(rows, args.rows)
    validation_examples, validation_tally = (
        student.examples(validation, args.validation_rows) if validation else ([], Tally())
    )
    result = train(student, train_examples, validation_examples, settings_digest(args))
    if not processes.is_main():
        return
    student.save()
    splits = {"train": train_tally} | ({"validation": validation_tally} if validation else {})
    seconds = round(time.monotonic() - started, 3)
    write_summary(args.summary, "finetune_student", splits, student=args.student, seconds=seconds, **result)
    say(f"the student is in {args.model} ({result['steps']} steps in {seconds:.1f} s)")


if __name__ == "__main__":
    run_step(main)
