"""Store what a teacher predicts at the tokens a student will learn: its top k, and the mass of all others."""

from __future__ import annotations

from argparse import Namespace

from common import arguments
from common.rows import Tally, read_rows, write_summary
from common.step import BadConfig, run_step
from modelling.models import check_source


def settings() -> Namespace:
    """The step's arguments, checked as far as that is possible without reading what they name."""
    args = arguments.of(__file__)
    args.teacher = check_source(args.teacher_weights, args.teacher_id, "teacher")
    args.student = check_source(args.student_weights, args.student_id, "student")
    for name in ("teacher", "student"):
        if getattr(args, name) is None:
            raise BadConfig(f"no {name}: give {name}_weights or {name}_id")
    return args


def main() -> None:
    """Read the rows, run the teacher, write the shards."""
    args = settings()
    files = {"train": args.rows} | ({"validation": args.validation_rows} if args.validation_rows else {})
    rows = {split: list(read_rows(path)) for split, path in files.items()}
    # torch and transformers take seconds to import: only once the inputs are known to be sound.
    from teacher_scoring import store

    tallies: dict[str, Tally] = {}
    about = store(args, rows, files, tallies)
    write_summary(args.summary, "teacher_logits", tallies, **about)


if __name__ == "__main__":
    run_step(main)
