"""Store what a teacher predicts at the tokens a student will learn: its top k, and the mass of all others."""

from __future__ import annotations

from argparse import Namespace

from common.rows import Tally, read_rows, write_summary
from common.step import Arguments, BadConfig, run_step
from modelling.models import check_source


def arguments() -> Namespace:
    """The step's inputs and outputs, checked as far as that is possible without reading them."""
    parser = Arguments(prog="teacher_logits")
    parser.add_argument("--rows", required=True)
    parser.add_argument("--validation_rows")
    for name in ("teacher_weights", "teacher_id", "student_weights", "student_id"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--top_k", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--max_length", type=int, default=2048)
    parser.add_argument("--target", choices=("response", "reference"), default="response")
    parser.add_argument("--loss_on", choices=("response", "assistant"), default="response")
    parser.add_argument("--distillation_temperature", type=float, default=1.0)
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    parser.add_argument("--logits", required=True)
    parser.add_argument("--summary", required=True)
    given = parser.parse_args()
    for name in ("top_k", "batch_size", "max_length", "distillation_temperature"):
        if getattr(given, name) <= 0:
            raise BadConfig(f"{name} must be greater than 0, not {getattr(given, name):g}")
    given.teacher = check_source(given.teacher_weights, given.teacher_id, "teacher")
    given.student = check_source(given.student_weights, given.student_id, "student")
    for name in ("teacher", "student"):
        if getattr(given, name) is None:
            raise BadConfig(f"no {name}: give {name}_weights or {name}_id")
    return given


def main() -> None:
    """Read the rows, run the teacher, write the shards."""
    given = arguments()
    files = {"train": given.rows} | ({"validation": given.validation_rows} if given.validation_rows else {})
    rows = {split: list(read_rows(path)) for split, path in files.items()}
    # torch and transformers take seconds to import: only once the inputs are known to be sound.
    from teacher_scoring import store

    tallies: dict[str, Tally] = {}
    about = store(given, rows, files, tallies)
    write_summary(given.summary, "teacher_logits", tallies, **about)


if __name__ == "__main__":
    run_step(main)
