"""The comparison as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import charts
import example_rows as examples_shown
import labels as wording
from comparison import COLUMNS, Column
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from report_rows import conclusions, is_same, notices, table_rows, texts_measured

_WORDING = (
    "value", "interval", "change", "percent", "milliseconds", "size", "count", "p_value", "test_name", "metric_name",
    "in_text",
)  # fmt: skip


def html(result: dict[str, Any], columns: dict[str, Column]) -> str:
    """report.html. Whatever a model wrote is shown as text, never read as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(wording, name) for name in _WORDING}
    facts = {name: result[name] for name in COLUMNS if result[name]}
    headline = result["headline"]
    return environment.get_template("report.html.jinja2").render(
        result=result,
        columns=facts,
        names=wording.NAMES,
        about=wording.ABOUT,
        rows=table_rows(result),
        conclusions=conclusions(result),
        notices=notices(result),
        cards=cards(result),
        quality=quality_charts(facts, headline),
        resources=resource_charts(facts),
        plane=charts.plane(facts, headline),
        chart=charts,
        lost=[] if is_same(result, "teacher", "distilled") else examples_shown.lost(columns, headline),
        gained=[] if is_same(result, "baseline", "distilled") else examples_shown.gained(columns, headline),
        flow=[_flow(result.get(step), title) for step, title in _STEPS if result.get(step)],
        texts_measured=texts_measured(result),
        machine=next((f["machine"] for f in facts.values() if f.get("machine")), None),
        measured=next((f for f in facts.values() if f.get("source") == "weights"), None),
    )


_STEPS = (("generation", "Teacher inference"), ("curation", "Curation"))


def cards(result: dict[str, Any]) -> list[dict[str, str]]:
    """The numbers at the top: a large figure, what it is, and what stands behind it."""
    cards_html = []
    metric = wording.metric_in_text(result["headline"])
    if result["retention"] is not None:
        bounds = result["retention_ci"]
        note = f"95% interval {wording.percent(bounds[0])} to {wording.percent(bounds[1])}" if bounds else ""
        cards_html.append(_card(wording.percent(result["retention"]), f"of the teacher's {metric} kept", note))
    test = next((t for t in result["tests"] if (t["first"], t["second"]) == ("distilled", "baseline")), None)
    if test:
        note = f"p {_sign(test['p_value'])}, {wording.test_name(test['test'])}"
        cards_html.append(_card(f"{100 * test['difference']:+.1f}", f"points of {metric} over the baseline", note))
    for key, what, of in (
        ("latency_reduction", "time per response", "latency_ms_p50"),
        ("memory_reduction", "memory for weights", "weights_bytes"),
    ):
        if result[key] is not None:
            ends = [wording.value(of, result[name][of]) for name in ("teacher", "distilled")]
            word = "less" if result[key] >= 0 else "more"
            cards_html.append(_card(wording.percent(abs(result[key])), f"{word} {what}", f"{ends[0]} to {ends[1]}"))
    if result["throughput_ratio"] is not None:
        ends = [wording.value("throughput", result[name]["throughput"]) for name in ("teacher", "distilled")]
        cards_html.append(
            _card(f"{result['throughput_ratio']:.1f}\u00d7", "the throughput", f"{ends[0]} to {ends[1]} responses/s")
        )
    return cards_html


def _card(figure: str, what: str, note: str) -> dict[str, str]:
    return {"figure": figure, "what": what, "note": note}


def _sign(number: float) -> str:
    text = wording.p_value(number)
    return text if text.startswith("<") else f"= {text}"


def quality_charts(facts: dict[str, Any], headline: str) -> list[charts.Bars]:
    """The headline metric first, then up to three other fractions."""
    metrics = (
        "accuracy",
        "macro_f1",
        "exact_match",
        "token_f1",
        "rougeL",
        "bleu",
        "chrf",
        "rouge1",
        "agreement_with_teacher",
    )
    drawn = [charts.bars(facts, metric, maximum=1.0) for metric in dict.fromkeys((headline, *metrics))]
    return [chart for chart in drawn if chart][:4]


def resource_charts(facts: dict[str, Any]) -> list[charts.Bars]:
    """Time, throughput and size of the columns that may be compared."""
    comparable = {name: fact for name, fact in facts.items() if fact.get("source") == "weights"}
    notes = {
        "latency_ms_p50": "one response at a time; shorter is better",
        "throughput": "in batches; longer is better",
        "weights_bytes": "shorter is better",
    }
    drawn = [charts.bars(comparable, metric, note) for metric, note in notes.items()]
    return [chart for chart in drawn if chart]


def _flow(summary: dict[str, Any], title: str) -> dict[str, Any]:
    reasons = sorted((summary.get("reasons") or {}).items(), key=lambda item: -item[1])
    total = summary.get("in") or 0
    curated = summary.get("kept") or 0
    return {"title": title, "in": total, "kept": curated, "reasons": reasons, "splits": summary.get("splits") or {}}
