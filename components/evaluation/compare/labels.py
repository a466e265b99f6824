"""How numbers and names are written for people: the same in HTML, Markdown and on the terminal."""

from __future__ import annotations

from typing import Any

NAMES = {
    "teacher": "Teacher",
    "baseline": "Baseline",
    "distilled": "Distilled",
    "gold_sft": "Gold SFT",
}
ABOUT = {
    "teacher": "the large model",
    "baseline": "the student as it was",
    "distilled": "the student after distillation",
    "gold_sft": "the student fine-tuned on gold answers",
}
METRICS = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "exact_match": "Exact match",
    "token_f1": "Token F1",
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "compression_ratio": "Compression ratio",
    "density": "Extractive density",
    "agreement_with_teacher": "Agreement with teacher",
    "latency_ms_p50": "Time per response, median",
    "latency_ms_p95": "Time per response, p95",
    "throughput": "Responses per second, batched",
    "tokens_per_second": "Tokens per second, batched",
    "weights_bytes": "Memory for weights",
    "parameters": "Parameters",
}
_PLAIN = ("compression_ratio", "density")
_TESTS = {"mcnemar_exact": "exact McNemar", "paired_bootstrap": "paired bootstrap"}


def value(metric: str, number: Any) -> str:
    """A metric's value with its unit; a dash where there is none."""
    if number is None:
        return "\u2013"
    if metric.startswith("latency_ms"):
        return milliseconds(number)
    if metric == "weights_bytes":
        return size(number)
    if metric == "parameters":
        return count(number)
    if metric in ("throughput", "tokens_per_second"):
        return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"
    return f"{number:.2f}" if metric in _PLAIN else percent(number)


def interval(metric: str, bounds: Any) -> str:
    """A 95% interval, in the metric's unit; empty where there is none."""
    if not bounds:
        return ""
    low, high = (value(metric, bound) for bound in bounds)
    for unit in ("%", " ms", " s"):
        if low.endswith(unit) and high.endswith(unit):
            return f"{low.removesuffix(unit)} to {high}"
    return f"{low} to {high}"


def change(number: Any) -> str:
    """A change in per cent, with its sign."""
    if number is None:
        return "\u2013"
    text = f"{abs(number):,.0f}" if abs(number) >= 10 else f"{abs(number):.1f}"
    if not float(text.replace(",", "")):
        return "\u00b10%"
    return ("+" if number > 0 else "\u2212") + text + "%"


def percent(share: float) -> str:
    """A fraction in per cent."""
    return f"{100 * share:.1f}%"


def milliseconds(number: float) -> str:
    """A time in the unit that suits it."""
    if number >= 10_000:
        return f"{number / 1000:.1f} s"
    return f"{number:.0f} ms" if number >= 100 else f"{number:.1f} ms"


def size(number: float) -> str:
    """Bytes in the unit that suits them (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def count(number: float) -> str:
    """A large number in short form: 27.2k, 3.8M, 8.0B."""
    for unit, factor in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= factor:
            return f"{number / factor:.1f}{unit}"
    return f"{number:.0f}"


def p_value(number: Any) -> str:
    """A p-value; very small ones as a bound."""
    if number is None:
        return "\u2013"
    return f"{number:.3f}" if number >= 0.001 else "< 0.001"


def test_name(word: str) -> str:
    """The name of a test."""
    return _TESTS.get(word, word)


def metric_name(word: str) -> str:
    """The name of a metric."""
    return METRICS.get(word, word)


def metric_in_text(word: str) -> str:
    """The name of a metric inside a sentence: accuracy, but ROUGE-L."""
    name = metric_name(word)
    return name if name[1:2].isupper() else name[0].lower() + name[1:]


def in_text(column: str) -> str:
    """The name of a column inside a sentence."""
    return "gold SFT" if column == "gold_sft" else NAMES[column].lower()
