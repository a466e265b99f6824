"""Put the results of an evaluation side by side: a report in HTML, Markdown and JSON, and a gate."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common import arguments, strict_json, tracking
from common.step import NoInput, StepError, run_step
from common.tasks import get_task
from comparison import COLUMNS, compare, read_columns
from report_page import html
from report_rows import is_same
from report_text import markdown, table

#: The tag of runs and registered versions whose student is not better than it was before.
NOT_BETTER = "azdistill.not_better"


class BelowGate(StepError):
    """The distilled student keeps less than what was asked for."""

    code = "retention"


def read_summary(path: Path | None, name: str) -> dict[str, Any] | None:
    """A step's summary. Raises NoInput."""
    if not path:
        return None
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoInput(f"the {name} summary {path} cannot be read: {error}") from None
    return summary if isinstance(summary, dict) else None


def main() -> None:
    """Read, compare, write, and only then judge."""
    args = arguments.of(__file__)
    task = get_task(args.task_type)
    columns = read_columns(args.results)
    result = {"title": args.title or f"Distillation: {task.name}", "created": _now(), **compare(columns, task)}
    result["gate"] = gate(result, args.min_retention)
    summaries = {"generation": read_summary(args.generation, "generation")}
    summaries["curation"] = read_summary(args.curation, "curation")
    result |= summaries
    folder = args.report
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.json").write_text(
        strict_json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (folder / "report.md").write_text(markdown(result), encoding="utf-8")
    (folder / "report.html").write_text(html(result, columns), encoding="utf-8")
    record(result, folder)
    print(table(result))
    print(f"\nreport: {(folder / 'report.html').resolve()}", flush=True)
    if result["gate"] and not result["gate"]["passed"]:
        raise BelowGate(result["gate"]["text"])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def gate(result: dict[str, Any], least: float | None) -> dict[str, Any] | None:
    """Whether the distilled student keeps enough; None where nothing was asked for."""
    if least is None:
        return None
    retained, metric = result["retention"], result["headline"]
    if retained is None:
        why = ": the distilled student is the teacher's model" if is_same(result, "teacher", "distilled") else ""
        text = f"retention of {metric} cannot be computed, {least:g} is asked{why}"
        return {"min_retention": least, "passed": False, "text": text}
    is_met = retained >= least
    text = f"the distilled student keeps {retained:.4f} of the teacher's {metric}, {least:g} is asked"
    return {"min_retention": least, "passed": is_met, "text": text}


def record(result: dict[str, Any], folder: Path) -> None:
    """The headline numbers and the report to the tracking."""
    singles = ("rows", "retention", "gap_recovered", "latency_reduction", "memory_reduction", "throughput_ratio")
    numbers = {
        name: result[name] for name in (*singles, "p_value_distilled_vs_baseline", "p_value_distilled_vs_teacher")
    }
    for column in COLUMNS:
        facts = result[column] or {}
        numbers |= {
            f"{column}.{key}": value for key, value in facts.items() if key not in ("max_new_tokens", "batch_size")
        }
    metrics = {key: float(value) for key, value in numbers.items() if isinstance(value, int | float)}
    if result["against_baseline"]:
        metrics["better_than_baseline"] = float(result["against_baseline"]["better"])
        if not result["against_baseline"]["better"]:
            tracking.set_headline_tag(NOT_BETTER, "true")
    tracking.log_headline(metrics)
    tracking.set_tag("retention_metric", result["retention_metric"])
    for name in ("report.html", "report.md", "comparison.json"):
        tracking.log_artifact(folder / name)


if __name__ == "__main__":
    run_step(main)
