"""Columns of one model are called so and not tested against each other; a student that has not gained is marked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_compare import RIGHT, comparison, make_column
from tiny_models import write_jsonl

Made = Callable[..., Any]


@pytest.fixture
def compared(component: Made, tmp_path: Path) -> Made:
    """Compare columns whose weights have these hashes: ``compared(distilled="x", gold_sft="x")``."""
    runs = 0

    def run(right: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None, **hashes: str | None) -> Any:
        nonlocal runs
        runs += 1
        folder = tmp_path / f"results-{runs}"
        for name, digest in hashes.items():
            make_column(folder, name, {**RIGHT, **(right or {})}[name], weights_sha256=digest)
        return component("compare").run({"results": folder, "task_type": "math", **(inputs or {})})

    return run


ALL = {"teacher": "t", "baseline": "b", "distilled": "x", "gold_sft": "x"}


def pairs(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(test["first"], test["second"]) for test in found["tests"]]


def test_a_control_of_the_same_weights_is_named_and_not_tested(compared: Made) -> None:
    result = compared({"gold_sft": RIGHT["distilled"]}, **ALL)
    found = comparison(result)
    assert found["same_model"] == [{"columns": ["distilled", "gold_sft"], "answers_differ": 0}]
    assert pairs(found) == [("distilled", "baseline"), ("distilled", "teacher")]
    assert found["gold_sft"]["p_value_distilled_vs_gold_sft"] is None
    assert found["gold_sft"]["p_value_vs_baseline"] == found["p_value_distilled_vs_baseline"]
    assert found["gold_sft"]["latency_ms_p50"] is not None
    said = "Distilled and gold SFT are the same model (their weights are equal)"
    for name in ("report.md", "report.html"):
        text = (result.outputs["report"] / name).read_text()
        assert said in text
        assert "What differs between their times is the measuring" in text
        assert "Distilled vs gold SFT" not in text
        assert "Gold SFT vs baseline" not in text


def test_the_terminal_names_it_too(compared: Made) -> None:
    from report_text import table

    assert "Distilled and gold SFT are the same model" in table(comparison(compared(**ALL)))


def test_holms_family_holds_each_pair_of_models_once(compared: Made) -> None:
    found = comparison(compared({"gold_sft": RIGHT["distilled"]}, **ALL))
    first, second = found["tests"]
    assert first["p_value_holm"] == pytest.approx(2 * first["p_value"])
    assert second["p_value_holm"] == pytest.approx(second["p_value"])
    others = comparison(compared(**{**ALL, "gold_sft": "y"}))
    assert others["same_model"] == []
    assert len(others["tests"]) == 4


@pytest.mark.parametrize("digest", [None, "", "unlike"])
def test_models_without_a_hash_are_taken_for_two(compared: Made, digest: str | None) -> None:
    found = comparison(compared(**{**ALL, "distilled": digest or None, "gold_sft": None}))
    assert found["same_model"] == []
    assert ("distilled", "gold_sft") in pairs(found)


def test_a_student_that_learnt_nothing_is_the_baseline_and_not_better(compared: Made) -> None:
    result = compared({"distilled": RIGHT["baseline"]}, teacher="t", baseline="b", distilled="b")
    found = comparison(result)
    assert pairs(found) == [("distilled", "teacher")]
    assert found["p_value_distilled_vs_baseline"] is None
    assert found["gap_recovered"] is None
    assert set(found["changes"]["baseline"].values()) == {None}
    assert found["against_baseline"]["better"] is False
    assert "Distilled" in (result.outputs["report"] / "report.md").read_text()


def test_a_student_that_is_its_teacher_keeps_no_share_of_it(compared: Made) -> None:
    columns = {"teacher": "t", "baseline": "b", "distilled": "t"}
    result = compared(inputs={"min_retention": 0.5}, **columns)
    assert result.returncode == 1
    assert "the distilled student is the teacher's model" in result.stderr
    found = json.loads((result.outputs["report"] / "comparison.json").read_text())
    nothing = ("retention", "retention_ci", "latency_reduction", "memory_reduction", "throughput_ratio")
    assert {found[name] for name in nothing} == {None}


def test_equal_weights_that_answer_differently_are_said_to(component: Made, tmp_path: Path) -> None:
    for name in ("distilled", "gold_sft"):
        make_column(tmp_path / "results", name, RIGHT[name], weights_sha256="x")
    file = tmp_path / "results" / "gold_sft" / "predictions.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    write_jsonl(file, [{**line, "response": "other"} if n < 3 else line for n, line in enumerate(lines)])
    result = component("compare").run({"results": tmp_path / "results", "task_type": "math"})
    assert comparison(result)["same_model"][0]["answers_differ"] == 3
    assert "Their answers differ on 3 rows" in (result.outputs["report"] / "report.md").read_text()


# -- better than before? -----------------------------------------------------------------------------------------------


def tags(result: Any) -> dict[str, str]:
    return {line["name"]: line["value"] for line in result.metrics if line["kind"] == "tag"}


@pytest.mark.parametrize(("right", "better"), [(5, True), (4, False), (3, False)])
def test_a_student_that_is_not_above_the_baseline_is_marked(compared: Made, right: int, better: bool) -> None:
    result = compared(
        {"distilled": [1] * right + [0] * (40 - right)}, teacher="t", baseline="b", distilled="x", gold_sft="g"
    )
    found = comparison(result)
    assert found["against_baseline"] == {
        **{"metric": "accuracy", "rows": 40, "baseline": 0.1, "distilled": right / 40, "better": better}
    }
    assert result.metric("better_than_baseline") == float(better)
    assert tags(result).get("azdistill.not_better") == (None if better else "true")
    for name in ("report.md", "report.html"):
        text = (result.outputs["report"] / name).read_text()
        assert ("NOT BETTER" in text) is not better
        assert better or f"accuracy {right / 0.4:.1f}% against 10.0% on the 40 rows that both answered" in text


def test_only_rows_that_both_have_a_score_of_count(component: Made, tmp_path: Path) -> None:
    # Better on all its rows (3 of 4 against 2 of 4), but not on the two that both have.
    right = {"baseline": [1, 1, 0, 0], "distilled": [1, 0, 1, 1]}
    for name, values in right.items():
        make_column(tmp_path / "results", name, values)
    file = tmp_path / "results" / "distilled" / "predictions.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[2:]:
        line["correct"] = None
    write_jsonl(file, lines)
    result = component("compare").run({"results": tmp_path / "results", "task_type": "math"})
    found = comparison(result)["against_baseline"]
    assert (found["rows"], found["distilled"], found["baseline"], found["better"]) == (2, 0.5, 1.0, False)


@pytest.mark.parametrize("case", ["no baseline", "no gold answers"])
def test_where_it_is_not_known_nothing_is_claimed(component: Made, tmp_path: Path, case: str) -> None:
    names = ("teacher", "distilled") if case == "no baseline" else ("baseline", "distilled")
    for name in names:
        make_column(tmp_path / "results", name, RIGHT[name])
        file = tmp_path / "results" / name / "predictions.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        gold = case == "no baseline"
        write_jsonl(file, [line if gold else {**line, "correct": None} for line in lines])
    result = component("compare").run({"results": tmp_path / "results", "task_type": "math"})
    assert comparison(result)["against_baseline"] is None
    assert "azdistill.not_better" not in tags(result)
    assert not [line for line in result.metrics if line.get("name") == "better_than_baseline"]
    text = (result.outputs["report"] / "report.md").read_text()
    assert "Whether the distilled student is better than it was before is not known" in text
    assert "NOT BETTER" not in text
