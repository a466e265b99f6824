"""Answer the test rows with every model, and measure quality, time per response, throughput and size."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from common import arguments, strict_json, tracking
from common.rows import Row, read_rows, write_rows
from common.step import BadConfig, BadData, run_step, say
from common.tasks import get_task
from modelling.models import check_source

#: The columns of a comparison, in the order in which people read them.
COLUMNS = ("teacher", "baseline", "distilled", "gold_sft")


def sources(args: Namespace) -> dict[str, str]:
    """Folder or hub id of each column that has weights. Raises NoInput, BadConfig."""
    paths = {
        "teacher": check_source(args.teacher_weights, args.teacher_id, "teacher"),
        "baseline": check_source(args.baseline_weights, args.baseline_id, "baseline"),
        "distilled": check_source(args.distilled, None, "distilled student"),
        "gold_sft": check_source(args.gold_sft, None, "student trained on gold answers"),
    }
    if paths["teacher"] and args.teacher_rows:
        raise BadConfig("the teacher is given twice: as weights, and as the rows it answered (teacher_rows)")
    with_weights = {name: source for name, source in paths.items() if source}
    if not with_weights and not args.teacher_rows:
        raise BadConfig(
            "nothing to evaluate: give distilled, baseline_weights, teacher_weights, teacher_rows or gold_sft"
        )
    return with_weights


def read_test_rows(path: str) -> list[Row]:
    """The test rows. Raises BadData for an empty file or an id that stands for two rows."""
    rows = list(read_rows(path))
    if not rows:
        raise BadData(f"{path} holds no rows")
    if len({row["id"] for row in rows}) != len(rows):
        raise BadData(f"{path} holds rows with the same id")
    return rows


def main() -> None:
    """Read, generate, score, write."""
    args = arguments.of(__file__)
    args.sources = sources(args)
    task = get_task(args.task_type)
    rows = read_test_rows(args.test_rows)
    endpoint = {row["id"]: row for row in read_rows(args.teacher_rows)} if args.teacher_rows else None
    # torch and transformers take seconds to import: only once the inputs are known to be sound.
    from endpoint_column import endpoint_answers
    from measuring import measure
    from scoring import Scorer

    measured = measure(args, rows) if args.sources else {}
    if endpoint is not None:
        measured["teacher"] = endpoint_answers(rows, endpoint)
    scorer = Scorer(task, rows, measured["teacher"].answers if "teacher" in measured else None, args.seed)
    for name in COLUMNS:
        if name in measured:
            predictions, scores = scorer.score(measured[name].answers)
            write_column(Path(args.results) / name, name, predictions, scores, measured[name].facts, args)
            say(f"{name}: {headline(task.headline, scores)}")


def headline(name: str, scores: dict[str, Any]) -> str:
    """One line about a column."""
    value = scores.get(name)
    return f"{name} {value:.3f}" if value is not None else f"no {name} (the rows have no reference)"


def write_column(
    folder: Path, name: str, predictions: list[Row], scores: dict[str, Any], facts: dict[str, Any], args: Namespace
) -> None:
    """Write ``metrics.json`` and ``predictions.jsonl`` of one column."""
    metrics = {"column": name, **scores, **facts}
    metrics["ci"] = {**scores["ci"], **facts.get("ci", {})}
    if metrics["rows"] + metrics["missing"] != len(predictions):
        raise AssertionError(f"{len(predictions)} predictions, {metrics['rows']} scored, {metrics['missing']} missing")
    write_rows(folder / "predictions.jsonl", predictions)
    (folder / "metrics.json").write_text(strict_json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    numbers = {key: value for key, value in metrics.items() if isinstance(value, int | float) and value is not None}
    skip = ("max_new_tokens", "batch_size")
    tracking.log_metrics({f"{name}.{key}": float(value) for key, value in numbers.items() if key not in skip})


if __name__ == "__main__":
    run_step(main)
