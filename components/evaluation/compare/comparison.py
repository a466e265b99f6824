"""The comparison itself: from the results of the columns to the object that comparison.json holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from common.rows import Row, read_lines
from common.step import BadData, NoInput
from common.tasks import Task
from paired_tests import bootstrap_p, difference_ci, holm, mcnemar, ratio_ci

COLUMNS = ("teacher", "baseline", "distilled", "gold_sft")
#: Pairs that are tested on the headline metric, as (first, second): is the first better?
PAIRS = (("distilled", "baseline"), ("distilled", "teacher"), ("gold_sft", "baseline"), ("distilled", "gold_sft"))
ALWAYS = ("accuracy", "latency_ms_p50", "latency_ms_p95", "throughput", "weights_bytes", "parameters")
#: Metrics of which less is better.
LESS_IS_BETTER = ("latency_ms_p50", "latency_ms_p95", "weights_bytes", "parameters")
_MEASURES = ("latency_ms_p50", "latency_ms_p95", "throughput", "tokens_per_second", "weights_bytes", "parameters")
_FIELD = {"accuracy": "correct"}


@dataclass(frozen=True, slots=True)
class Column:
    """What evaluate wrote about one model."""

    name: str
    metrics: dict[str, Any]
    predictions: dict[str, Row]

    def per_row(self, metric: str) -> dict[str, float]:
        """Row id -> value of a metric, of the rows that have one."""
        field = _FIELD.get(metric, metric)
        return {key: float(row[field]) for key, row in self.predictions.items() if row.get(field) is not None}


@dataclass(frozen=True, slots=True)
class SameModels:
    """Columns that are one model. ``first``: the first column of the same model, for those that share one."""

    first: dict[str, str]
    groups: list[dict[str, Any]]

    def are(self, first: str, second: str) -> bool:
        """Whether two columns are one model."""
        return first in self.first and self.first[first] == self.first.get(second)

    def pair(self, first: str, second: str) -> tuple[str, str]:
        """The same for all pairs of columns that stand for the same two models."""
        return self.first.get(first, first), self.first.get(second, second)


def read_columns(folder: str) -> dict[str, Column]:
    """The columns there are. Raises NoInput, BadData."""
    columns = {name: _read_column(Path(folder) / name, name) for name in COLUMNS if (Path(folder) / name).is_dir()}
    if not columns:
        raise NoInput(f"{folder} holds no results (looked for the folders {', '.join(COLUMNS)})")
    sets = {name: frozenset(column.predictions) for name, column in columns.items()}
    if len(set(sets.values())) > 1:
        raise BadData(f"the columns of {folder} are not about the same test rows")
    return columns


def _read_column(folder: Path, name: str) -> Column:
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        rows = [json.loads(line) for _, line in read_lines(folder / "predictions.jsonl")]
        return Column(name, metrics, {row["id"]: row for row in rows})
    except OSError as error:
        raise NoInput(f"cannot open {error.filename}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(f"the results in {folder} cannot be read: {error!r}") from None


def compare(columns: dict[str, Column], task: Task) -> dict[str, Any]:
    """The object that comparison.json holds. What cannot be said (fairly) is None."""
    models_alike = same_models(columns)
    tests = paired_tests(columns, task.headline)
    by_pair = {models_alike.pair(test["first"], test["second"]): test for test in tests}
    result: dict[str, Any] = {
        "task": task.name,
        "rows": len(next(iter(columns.values())).predictions),
        "headline": task.headline,
        **{name: _facts(columns[name], task) if name in columns else None for name in COLUMNS},
        "same_model": models_alike.groups,
        **retention(columns, task.headline),
        "against_baseline": against_baseline(columns, task.headline, models_alike),
        **_reductions(columns, models_alike),
        "p_value_distilled_vs_baseline": _p(by_pair, models_alike.pair("distilled", "baseline")),
        "p_value_distilled_vs_teacher": _p(by_pair, models_alike.pair("distilled", "teacher")),
        "tests": tests,
    }
    if result["gold_sft"]:
        result["gold_sft"]["p_value_vs_baseline"] = _p(by_pair, models_alike.pair("gold_sft", "baseline"))
        result["gold_sft"]["p_value_distilled_vs_gold_sft"] = _p(by_pair, models_alike.pair("distilled", "gold_sft"))
    result["changes"] = {
        peer: _changes(result["distilled"], result[peer], models_alike.are("distilled", peer))
        for peer in ("baseline", "teacher")
        if result[peer]
    }
    return result


def _facts(column: Column, task: Task) -> dict[str, Any]:
    names = dict.fromkeys([*ALWAYS, *task.metrics])
    return names | {key: value for key, value in column.metrics.items() if key != "column"}


def same_models(columns: dict[str, Column]) -> SameModels:
    """Which columns have equal weights, by the hash that evaluate took of them."""
    by_hash: dict[str, list[str]] = {}
    for name in COLUMNS:
        digest = columns[name].metrics.get("weights_sha256") if name in columns else None
        by_hash.setdefault(str(digest or name), []).append(name)
    groups = [names for names in by_hash.values() if len(names) > 1]
    return SameModels(
        {name: names[0] for names in groups for name in names}, [_group(columns, names) for names in groups]
    )


def _group(columns: dict[str, Column], names: list[str]) -> dict[str, Any]:
    responses = [
        [columns[name].predictions[key].get("response") for name in names] for key in columns[names[0]].predictions
    ]
    # Equal weights behind another tokenizer or chat template answer differently.
    return {"columns": names, "answers_differ": sum(any(text != texts[0] for text in texts) for texts in responses)}


def paired_tests(columns: dict[str, Column], metric: str) -> list[dict[str, Any]]:
    """Tests of the headline metric for all pairs there are, with Holm's correction over those.

    A model is not tested against itself, and two models are tested once, under however many names they stand.
    """
    models_alike = same_models(columns)
    tests: list[dict[str, Any]] = []
    tested = set()
    for first, second in PAIRS:
        if first in columns and second in columns and not models_alike.are(first, second):
            pair = _paired(columns[first], columns[second], metric)
            if pair and models_alike.pair(first, second) not in tested:
                tested.add(models_alike.pair(first, second))
                tests.append({"first": first, "second": second, "metric": metric, **_test(*pair)})
    for test, adjusted in zip(tests, holm([test["p_value"] for test in tests]), strict=True):
        test["p_value_holm"] = adjusted
    return tests


def _paired(first: Column, second: Column, metric: str) -> tuple[list[float], list[float]] | None:
    ours, theirs = first.per_row(metric), second.per_row(metric)
    shared = [key for key in ours if key in theirs]
    return ([ours[key] for key in shared], [theirs[key] for key in shared]) if shared else None


def _test(first: list[float], second: list[float]) -> dict[str, Any]:
    yes_or_no = all(value in (0.0, 1.0) for value in (*first, *second))
    return {
        "rows": len(first),
        "difference": (fsum(first) - fsum(second)) / len(first),
        "ci": difference_ci(first, second),
        "test": "mcnemar_exact" if yes_or_no else "paired_bootstrap",
        "first_only": sum(a > b for a, b in zip(first, second, strict=True)),
        "second_only": sum(b > a for a, b in zip(first, second, strict=True)),
        "p_value": mcnemar(first, second) if yes_or_no else bootstrap_p(first, second),
    }


def against_baseline(columns: dict[str, Column], metric: str, models_alike: SameModels) -> dict[str, Any] | None:
    """Whether the distilled student is better than the student as it was, on the rows that both have a score of.

    None where that is not known: without a baseline, or without scores. A model is not better than itself.
    """
    if "distilled" not in columns or "baseline" not in columns:
        return None
    pair = _paired(columns["distilled"], columns["baseline"], metric)
    ours, theirs = (fsum(values) / len(values) for values in pair) if pair else (None, None)
    comparison = {"metric": metric, "rows": len(pair[0]) if pair else 0, "distilled": ours, "baseline": theirs}
    if models_alike.are("distilled", "baseline"):
        return {**comparison, "better": False}
    return {**comparison, "better": ours > theirs} if ours is not None and theirs is not None else None


def retention(columns: dict[str, Column], metric: str) -> dict[str, Any]:
    """The share of the teacher's headline metric that the distilled student keeps, on rows that both have.

    None for a student that is the teacher: it was not distilled.
    """
    retained: dict[str, Any] = {
        "retention": None,
        "retention_metric": metric,
        "retention_ci": None,
        "gap_recovered": None,
    }
    teacher, distilled = columns.get("teacher"), columns.get("distilled")
    pair = _paired(distilled, teacher, metric) if teacher and distilled else None
    models_alike = same_models(columns)
    if not pair or not sum(pair[1]) or models_alike.are("distilled", "teacher"):
        return retained
    retained["retention"], retained["retention_ci"] = fsum(pair[0]) / fsum(pair[1]), ratio_ci(*pair)
    if not models_alike.are("distilled", "baseline"):
        retained["gap_recovered"] = _gap_recovered(columns, metric)
    return retained


def _gap_recovered(columns: dict[str, Column], metric: str) -> float | None:
    """``(distilled - baseline) / (teacher - baseline)`` on the rows that all three have."""
    values = [columns[name].per_row(metric) if name in columns else {} for name in ("distilled", "baseline", "teacher")]
    shared = values[0].keys() & values[1].keys() & values[2].keys()
    ours, base, top = (fsum(column[key] for key in shared) for column in values)
    return (ours - base) / (top - base) if top > base else None


def _reductions(columns: dict[str, Column], models_alike: SameModels) -> dict[str, Any]:
    """What the distilled student saves against the teacher; None where the two were not measured alike."""
    reductions: dict[str, Any] = dict.fromkeys(("latency_reduction", "memory_reduction", "throughput_ratio"))
    teacher, distilled = columns.get("teacher"), columns.get("distilled")
    if not teacher or not distilled or models_alike.are("distilled", "teacher"):
        return reductions
    if not measured_alike(teacher.metrics, distilled.metrics):
        return reductions
    reductions["latency_reduction"] = _reduction(distilled.metrics, teacher.metrics, "latency_ms_p50")
    reductions["memory_reduction"] = _reduction(distilled.metrics, teacher.metrics, "weights_bytes")
    fast, slow = distilled.metrics.get("throughput"), teacher.metrics.get("throughput")
    reductions["throughput_ratio"] = fast / slow if fast and slow else None
    return reductions


def measured_alike(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether times and sizes may be compared: weights of both at hand, in one process, with the same settings."""
    conditions = ("timing_group", "dtype", "device", "max_new_tokens", "batch_size")
    from_weights = first.get("source") == second.get("source") == "weights"
    return (
        from_weights
        and bool(first.get("timing_group"))
        and all(first.get(key) == second.get(key) for key in conditions)
    )


def _reduction(ours: dict[str, Any], theirs: dict[str, Any], metric: str) -> float | None:
    return 1 - ours[metric] / theirs[metric] if ours.get(metric) is not None and theirs.get(metric) else None


def _changes(ours: dict[str, Any] | None, theirs: dict[str, Any], is_one_model: bool) -> dict[str, float | None]:
    """Change of each metric from ``theirs`` to ``ours``, in per cent of ``theirs``; None where that is not fair.

    Of a model measured twice (``is_one_model``) what differs is the measuring.
    """
    if not ours:
        return {}
    alike, changes = measured_alike(ours, theirs), {}
    for metric, value in ours.items():
        base = theirs.get(metric)
        if isinstance(value, bool) or not isinstance(value, int | float | None) or metric in _SETTINGS:
            continue
        fair = not is_one_model and (alike or metric not in _MEASURES)
        changes[metric] = 100 * (value - base) / base if fair and value is not None and base else None
    return changes


_SETTINGS = (
    "rows",
    "missing",
    "cut",
    "unverified",
    "max_new_tokens",
    "batch_size",
    "latency_rows",
    "agreement_with_teacher",
)


def _p(tests: dict[tuple[str, str], dict[str, Any]], pair: tuple[str, str]) -> float | None:
    return tests[pair]["p_value"] if pair in tests else None
