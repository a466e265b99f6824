"""The rows of the comparison's table and the sentences above it, for all forms of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import labels as wording
from comparison import ALWAYS, COLUMNS, LESS_IS_BETTER

_QUALITY_FIRST = ("accuracy", "macro_f1", "exact_match", "token_f1", "rougeL", "rouge1", "rouge2", "bleu", "chrf")
_AFTER = ("compression_ratio", "density", "agreement_with_teacher")
_SPEED = ("latency_ms_p50", "latency_ms_p95", "throughput", "tokens_per_second", "weights_bytes", "parameters")
_NEUTRAL = ("compression_ratio", "density")


@dataclass(frozen=True, slots=True)
class TableCell:
    """A value and its 95% interval, as text."""

    column: str
    value: str
    interval: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the distilled student, as text; ``kind`` is ``good``, ``bad`` or empty."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """One metric over the columns."""

    metric: str
    name: str
    headline: bool
    cells: tuple[TableCell, ...]
    changes: tuple[Change, ...]


def table_rows(result: dict[str, Any]) -> list[TableRow]:
    """The headline metric, then quality, then time and size; metrics that no column has are left out."""
    present = [name for name in COLUMNS if result[name]]
    order = dict.fromkeys((result["headline"], *_QUALITY_FIRST, *_AFTER, *_SPEED, *ALWAYS))
    metrics = [metric for metric in order if any(result[name].get(metric) is not None for name in present)]
    return [_row(result, metric, present) for metric in metrics]


def _row(result: dict[str, Any], metric: str, present: list[str]) -> TableRow:
    cells = []
    for name in present:
        facts = result[name]
        bounds = (facts.get("ci") or {}).get(metric)
        cells.append(TableCell(name, wording.value(metric, facts.get(metric)), wording.interval(metric, bounds)))
    changes = [_change(metric, changes.get(metric)) for changes in result["changes"].values() if result["distilled"]]
    return TableRow(metric, wording.metric_name(metric), metric == result["headline"], tuple(cells), tuple(changes))


def _change(metric: str, number: float | None) -> Change:
    if number is None or abs(number) < 0.05 or metric in _NEUTRAL:
        return Change(wording.change(number), "")
    return Change(wording.change(number), "good" if (number > 0) != (metric in LESS_IS_BETTER) else "bad")


def conclusions(result: dict[str, Any]) -> list[str]:
    """What the numbers say, one sentence each; nothing where they say nothing."""
    metric = wording.metric_in_text(result["headline"])
    sentences = []
    if result["retention"] is not None:
        bounds = result["retention_ci"]
        within = f" (95% interval {wording.percent(bounds[0])} to {wording.percent(bounds[1])})" if bounds else ""
        sentences.append(
            f"The distilled student keeps {wording.percent(result['retention'])} of the teacher's {metric}{within}."
        )
    sentences += notices(result)
    sentences += [_tested(test, metric) for test in result["tests"]]
    sentences += _savings(result)
    if all(not result[name] or result[name].get(result["headline"]) is None for name in COLUMNS):
        sentences.append(
            "The test rows have no reference answers, so that quality cannot be measured against the truth."
        )
    if result.get("gate"):
        sentences.append(f"Gate {'passed' if result['gate']['passed'] else 'FAILED'}: {result['gate']['text']}.")
    return sentences


def notices(result: dict[str, Any]) -> list[str]:
    """What must be known before the numbers are read: models that are one, and a student that has not gained."""
    sentences = [_one_model(group) for group in result["same_model"]]
    comparison = result["against_baseline"]
    if comparison and not comparison["better"]:
        sentences.append(_not_better(comparison))
    elif result["distilled"] and not comparison:
        why = "its scores and the baseline's have no row in common" if result["baseline"] else "there is no baseline"
        sentences.append(f"Whether the distilled student is better than it was before is not known: {why}.")
    return sentences


def is_same(result: dict[str, Any], first: str, second: str) -> bool:
    """Whether two columns are one model."""
    return any({first, second} <= set(group["columns"]) for group in result["same_model"])


def _one_model(group: dict[str, Any]) -> str:
    first, *copies = group["columns"]
    names = " and ".join([wording.NAMES[first], *map(wording.in_text, copies)])
    text = f"{names} are the same model (their weights are equal): they are not tested against each other."
    text += " What differs between their times is the measuring."
    if group["answers_differ"]:
        rows = group["answers_differ"]
        text += f" Their answers differ on {rows} row{'s' * (rows != 1)}, as under another tokenizer or chat template."
    return text


def _not_better(comparison: dict[str, Any]) -> str:
    text = "NOT BETTER: the distilled student is not above the baseline"
    if not comparison["rows"]:
        return f"{text}: it is the same model."
    ours, theirs = (wording.value(comparison["metric"], comparison[name]) for name in ("distilled", "baseline"))
    rows = f"the {comparison['rows']} row{'s' * (comparison['rows'] != 1)} that both answered"
    return f"{text}: {wording.metric_in_text(comparison['metric'])} {ours} against {theirs} on {rows}."


def _tested(test: dict[str, Any], metric: str) -> str:
    points, (low, high) = 100 * test["difference"], (100 * bound for bound in test["ci"])
    pair = f"{wording.NAMES[test['first']]} vs {wording.in_text(test['second'])}"
    how = f"p {_equals(test['p_value'])}, {wording.test_name(test['test'])}, {test['rows']} rows"
    return f"{pair}: {points:+.1f} points of {metric} ({low:+.1f} to {high:+.1f}), {how}."


def _equals(number: float) -> str:
    text = wording.p_value(number)
    return text if text.startswith("<") else f"= {text}"


def texts_measured(result: dict[str, Any]) -> str:
    """With which tokenizers texts were compared with their references; empty where none were."""
    chosen = next(
        (result[name]["bleu_tokenizer"] for name in COLUMNS if (result[name] or {}).get("bleu_tokenizer")), ""
    )
    if not chosen:
        return ""
    return (
        f"BLEU with sacrebleu's tokenizer {chosen}, chosen by the script of the references, the same for all models; "
        "ROUGE over words as Unicode defines them, over letters in scripts without blanks between words."
    )


def _savings(result: dict[str, Any]) -> list[str]:
    sentences = []
    for key, what in (("latency_reduction", "time per response"), ("memory_reduction", "memory for weights")):
        if result[key] is not None:
            word = "less" if result[key] >= 0 else "more"
            sentences.append(
                f"The distilled student takes {wording.percent(abs(result[key]))} {word} {what} than the teacher."
            )
    if result["throughput_ratio"] is not None:
        sentences.append(f"It gives {result['throughput_ratio']:.1f} times the responses per second.")
    teacher = result["teacher"]
    if teacher and teacher.get("source") == "endpoint":
        sentences.append("The teacher was asked over an endpoint: its times and sizes are not compared.")
    return sentences
