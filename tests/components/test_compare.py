"""The comparison: statistics worked out by hand, what is fair to compare, a report that cannot be hijacked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import labels as wording
import pytest
from paired_tests import bootstrap_p, difference_ci, holm, mcnemar, ratio_ci
from tiny_models import write_jsonl

# -- statistics --------------------------------------------------------------------------------------------------------


def test_mcnemar_counts_only_the_rows_that_differ() -> None:
    first = [1] * 5 + [0] * 1 + [1] * 10 + [0] * 3
    second = [0] * 5 + [1] * 1 + [1] * 10 + [0] * 3
    # 5 against 1 of 6: 2 * (1 + 6) / 2^6.
    assert mcnemar(first, second) == pytest.approx(0.21875)
    assert mcnemar(second, first) == pytest.approx(0.21875)
    assert mcnemar([1] * 10, [0] * 10) == pytest.approx(2 / 2**10)
    assert mcnemar([1, 0], [1, 0]) == 1
    assert mcnemar([1, 0], [0, 1]) == 1


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([]) == []


def test_the_bootstrap_sees_a_difference_and_does_not_invent_one() -> None:
    scores = [0.1 * (n % 7) for n in range(60)]
    better = [score + 0.1 + 0.02 * (n % 3) for n, score in enumerate(scores)]
    noise = [score + (0.05 if n % 2 else -0.05) for n, score in enumerate(scores)]
    assert bootstrap_p(better, scores) < 0.001
    assert bootstrap_p(noise, scores) > 0.5
    assert bootstrap_p(scores, scores) == 1
    low, high = difference_ci(better, scores)
    assert 0.11 < low < 0.12 < high < 0.13


def test_a_ratio_has_an_interval_unless_its_divisor_may_be_nothing() -> None:
    ours, theirs = [1.0] * 45 + [0.0] * 5, [1.0] * 50
    low, high = ratio_ci(ours, theirs) or (0, 0)
    assert low == pytest.approx(0.82, abs=0.02)
    assert high == pytest.approx(0.98, abs=0.02)
    assert ratio_ci(ours, [0.0] * 49 + [1.0]) is None


@pytest.mark.parametrize(
    ("metric", "number", "text"),
    [
        ("accuracy", 0.9375, "93.8%"),
        ("latency_ms_p50", 12.34, "12.3 ms"),
        ("latency_ms_p50", 12345.0, "12.3 s"),
        ("weights_bytes", 680_000, "680 kB"),
        ("weights_bytes", 7_600_000_000, "7.6 GB"),
        ("parameters", 3_836_000_000, "3.8B"),
        ("throughput", 1234.5, "1,234"),
        ("density", 1.5, "1.50"),
        ("accuracy", None, "\u2013"),
    ],
)
def test_values_are_written_with_their_unit(metric: str, number: Any, text: str) -> None:
    assert wording.value(metric, number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(1717.0, "+1,717%"), (-4.42, "\u22124.4%"), (-0.01, "\u00b10%"), (None, "\u2013")]
)
def test_changes_are_written_with_their_sign(number: float | None, text: str) -> None:
    assert wording.change(number) == text


# -- the step ----------------------------------------------------------------------------------------------------------

LATENCY = {"teacher": 60.0, "baseline": 12.0, "distilled": 9.0, "gold_sft": 9.0}
WEIGHTS = {"teacher": 8_000_000, "baseline": 400_000, "distilled": 400_000, "gold_sft": 400_000}
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}&lt;"


def make_column(folder: Path, name: str, right: Sequence[int], **changes: Any) -> None:
    """What evaluate leaves about one model."""
    predictions = [
        {"id": f"{n:016x}", "prompt": f"Sum {n}? {HOSTILE}", "reference": "4", "response": HOSTILE, "answer": "4",
         "correct": bool(value), "finish_reason": "stop", "tokens": 3}
        for n, value in enumerate(right)
    ]  # fmt: skip
    metrics = {
        "column": name, "model": f"models/{name}", "rows": len(right), "missing": 0, "cut": 0, "source": "weights",
        "accuracy": sum(right) / len(right), "ci": {"accuracy": [0.1, 0.9]}, "latency_ms_p50": LATENCY[name],
        "latency_ms_p95": 2 * LATENCY[name], "latency_rows": 8, "throughput": 1000 / LATENCY[name], "dtype": "float32",
        "tokens_per_second": 100.0, "weights_bytes": WEIGHTS[name], "parameters": WEIGHTS[name] // 4, "device": "cpu",
        "max_new_tokens": 40, "batch_size": 16, "timing_group": "one",
    }  # fmt: skip
    write_jsonl(folder / name / "predictions.jsonl", predictions)
    (folder / name / "metrics.json").write_text(json.dumps(metrics | changes))


RIGHT = {
    "teacher": [1] * 38 + [0] * 2,
    "baseline": [1] * 4 + [0] * 36,
    "distilled": [1] * 36 + [0] * 4,
    "gold_sft": [1] * 30 + [0] * 10,
}


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    def make(*names: str, **changes: dict[str, Any]) -> Path:
        for name in names or tuple(RIGHT):
            make_column(tmp_path / "results", name, RIGHT[name], **changes.get(name, {}))
        return tmp_path / "results"

    return make


def comparison(result: Any) -> dict[str, Any]:
    assert result.returncode == 0, result.stderr
    value: dict[str, Any] = json.loads((result.outputs["report"] / "comparison.json").read_text())
    return value


def test_the_gap_is_measured_on_the_rows_that_all_three_have() -> None:
    from comparison import Column, retention

    def column(name: str, *right: bool | None) -> Column:
        rows = {str(n): {"correct": value} for n, value in enumerate(right)}
        return Column(name, {"accuracy": sum(map(bool, right)) / len(right)}, rows)

    # The teacher has no answer to the last two rows.
    columns = {
        "teacher": column("teacher", True, True, True, True, None, None),
        "baseline": column("baseline", True, False, False, False, True, True),
        "distilled": column("distilled", True, True, True, False, False, False),
    }
    found = retention(columns, "accuracy")
    assert found["retention"] == 0.75
    assert found["gap_recovered"] == pytest.approx((3 - 1) / (4 - 1))


def test_the_comparison_holds_what_the_columns_say(component: Callable[..., Any], made: Callable[..., Path]) -> None:
    result = component("compare").run({"results": made(), "task_type": "math"})
    found = comparison(result)
    assert found["rows"] == 40
    assert found["distilled"]["accuracy"] == 0.9
    assert {"latency_ms_p50", "latency_ms_p95", "throughput", "weights_bytes", "parameters"} <= set(found["baseline"])
    assert found["retention"] == pytest.approx(36 / 38)
    assert found["retention_metric"] == "accuracy"
    assert found["retention_ci"][0] < found["retention"] < found["retention_ci"][1]
    assert found["gap_recovered"] == pytest.approx((0.9 - 0.1) / (0.95 - 0.1))
    assert found["latency_reduction"] == pytest.approx(0.85)
    assert found["memory_reduction"] == pytest.approx(0.95)
    assert found["throughput_ratio"] == pytest.approx(60 / 9)
    assert found["p_value_distilled_vs_baseline"] == pytest.approx(2 / 2**32)
    assert found["gold_sft"]["p_value_vs_baseline"] == pytest.approx(2 / 2**26)
    assert found["changes"]["baseline"]["accuracy"] == pytest.approx(800)
    assert found["changes"]["teacher"]["latency_ms_p50"] == pytest.approx(-85)
    assert {test["test"] for test in found["tests"]} == {"mcnemar_exact"}
    assert all(test["p_value_holm"] >= test["p_value"] for test in found["tests"])
    assert result.metric("retention") == found["retention"]
    assert result.metric("distilled.accuracy") == 0.9
    kept = [Path(line["path"]).name for line in result.metrics if line["kind"] == "artifact"]
    assert kept == ["report.html", "report.md", "comparison.json"]
    assert "94.7% of the teacher's accuracy" in (result.outputs["report"] / "report.md").read_text()


@pytest.mark.parametrize(
    "teacher",
    [
        pytest.param({"timing_group": "two"}, id="another-process"),
        pytest.param({"source": "endpoint", "weights_bytes": None, "throughput": None}, id="endpoint"),
        pytest.param({"dtype": "bfloat16"}, id="another-precision"),
    ],
)
def test_what_was_not_measured_alike_is_not_compared(
    component: Callable[..., Any], made: Callable[..., Path], teacher: dict[str, Any]
) -> None:
    found = comparison(component("compare").run({"results": made(teacher=teacher), "task_type": "math"}))
    assert found["latency_reduction"] is None
    assert found["memory_reduction"] is None
    assert found["throughput_ratio"] is None
    assert found["changes"]["teacher"]["latency_ms_p50"] is None
    assert found["changes"]["teacher"]["accuracy"] is not None
    assert found["changes"]["baseline"]["latency_ms_p50"] == pytest.approx(-25)
    assert found["retention"] == pytest.approx(36 / 38)


@pytest.mark.parametrize("names", [("distilled",), ("distilled", "baseline"), ("distilled", "teacher"), ("teacher",)])
def test_columns_that_are_absent_leave_nulls(
    component: Callable[..., Any], made: Callable[..., Path], names: tuple[str, ...]
) -> None:
    found = comparison(component("compare").run({"results": made(*names), "task_type": "math"}))
    for name in RIGHT:
        assert (found[name] is not None) == (name in names)
    assert (found["retention"] is not None) == ({"teacher", "distilled"} <= set(names))
    assert (found["p_value_distilled_vs_baseline"] is not None) == ({"baseline", "distilled"} <= set(names))


def test_the_gate_fails_after_the_report_is_written(component: Callable[..., Any], made: Callable[..., Path]) -> None:
    compare = component("compare")
    passed = compare.run({"results": made(), "task_type": "math", "min_retention": 0.92})
    assert comparison(passed)["gate"]["passed"] is True
    failed = compare.run({"results": made(), "task_type": "math", "min_retention": 0.96})
    assert failed.returncode == 1
    assert "keeps 0.9474 of the teacher's accuracy, 0.96 is asked" in failed.stderr
    assert "Gate failed." in (failed.outputs["report"] / "report.html").read_text()
    without = component("compare").run({"results": made("distilled").parent / "x", "task_type": "math"})
    assert without.returncode == 66


class Tags(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_models_write_stays_text_and_nothing_is_loaded_from_elsewhere(
    component: Callable[..., Any], made: Callable[..., Path], tmp_path: Path
) -> None:
    summary = tmp_path / "curation.json"
    summary.write_text(json.dumps({"step": "curate", "in": 50, "kept": 40, "rejected": 10, "reasons": {HOSTILE: 10}}))
    result = component("compare").run(
        {"results": made(), "task_type": "math", "title": "A <b>bold</b> title", "curation": summary}
    )
    comparison(result)
    page = Tags()
    page.feed((result.outputs["report"] / "report.html").read_text())
    names = {name for name, _ in page.tags}
    assert names.isdisjoint({"script", "img", "b", "iframe", "object", "link"})
    assert not [attrs for _, attrs in page.tags if any(key.startswith("on") or key in ("src", "href") for key in attrs)]
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}&lt;" in page.text
    assert "<svg" in (result.outputs["report"] / "report.html").read_text()
    assert "<script>" not in (result.outputs["report"] / "report.md").read_text()


def test_a_task_of_texts_is_compared_on_its_scores(component: Callable[..., Any], tmp_path: Path) -> None:
    for name, level in (("teacher", 0.5), ("baseline", 0.1), ("distilled", 0.4)):
        scores = [level + 0.01 * (n % 9) for n in range(40)]
        make_column(tmp_path / "results", name, [0] * 40, accuracy=None, rougeL=sum(scores) / 40)
        file = tmp_path / "results" / name / "predictions.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        write_jsonl(
            file, [line | {"correct": None, "rougeL": score} for line, score in zip(lines, scores, strict=True)]
        )
    found = comparison(component("compare").run({"results": tmp_path / "results", "task_type": "summarization"}))
    assert found["distilled"]["accuracy"] is None
    assert found["retention_metric"] == "rougeL"
    assert found["retention"] == pytest.approx(0.4389 / 0.5389, rel=1e-2)
    assert {test["test"] for test in found["tests"]} == {"paired_bootstrap"}


def test_the_report_names_the_texts_metrics_and_their_tokenizer(component: Callable[..., Any], tmp_path: Path) -> None:
    for name, level in (("teacher", 0.9), ("distilled", 0.6)):
        make_column(
            tmp_path / "results", name, [0] * 40, accuracy=None, rougeL=level, chrf=level - 0.1, bleu_tokenizer="zh"
        )
    result = component("compare").run({"results": tmp_path / "results", "task_type": "conversation"})
    found = comparison(result)
    assert found["distilled"]["chrf"] == 0.5
    assert found["changes"]["teacher"]["chrf"] == pytest.approx(-37.5)
    for name in ("report.md", "report.html"):
        text = (result.outputs["report"] / name).read_text()
        assert "chrF" in text
        assert "sacrebleu&#39;s tokenizer zh" in text or "sacrebleu's tokenizer zh" in text
        assert "50.0%" in text


def test_columns_about_different_rows_are_refused(component: Callable[..., Any], made: Callable[..., Path]) -> None:
    folder = made()
    make_column(folder, "baseline", [1] * 39)
    ended = component("compare").run({"results": folder, "task_type": "math"})
    assert ended.returncode == 65
    assert "not about the same test rows" in ended.stderr


def test_a_share_does_not_depend_on_the_order_of_the_rows() -> None:
    from comparison import Column, retention

    ours, theirs = [0.3, 0.2, 0.1], [0.1, 0.2, 0.3]
    assert sum(ours) < sum(theirs), "as floats, added up one after the other"
    columns = {
        name: Column(name, {}, {str(n): {"rougeL": value} for n, value in enumerate(values)})
        for name, values in (("distilled", ours), ("teacher", theirs))
    }
    assert retention(columns, "rougeL")["retention"] == 1
