"""curate as it is run: what a student should not learn is dropped, and counted by reason."""

from __future__ import annotations

import pytest
from snapshots import chat, write_jsonl


def answered(prompt, response, reference=None, **fields):
    return (
        chat(prompt, reference)
        | {"response": response, "teacher": "t", "finish_reason": "stop", "status": "ok"}
        | fields
    )


MATH = [
    answered("1 and 1?", "2", "2"),
    answered("1 and 2?", "So it is 3.\n#### 3", "3"),
    answered("1 and 3?", "5", "4"),
    answered("1 and 4?", "many", "5"),
    answered("1 and 5?", "6", "6", finish_reason="length"),
    answered("1 and 6?", " ", "7"),
    answered("1 AND  1?", "2", "2"),
    answered("1 and 7?", "8"),
]


def test_what_must_not_be_learnt_is_dropped_with_its_reason(component, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", MATH)
    result = component("curate").run({"rows": rows, "task_type": "math"})
    assert result.returncode == 0, result.stderr
    assert [row["response"] for row in result.rows("train")] == ["2", "So it is 3.\n#### 3", "8"]
    summary = result.summary
    assert (summary["in"], summary["kept"], summary["rejected"]) == (8, 3, 5)
    reasons = {"disagreement": 1, "duplicate": 1, "empty": 1, "finish_length": 1, "unparsable": 1}
    assert summary["reasons"] == reasons
    assert [(row["line"], row["reason"]) for row in result.rows("rejects")] == [
        (3, "disagreement"),
        (4, "unparsable"),
        (5, "finish_length"),
        (6, "empty"),
        (7, "duplicate"),
    ]
    assert result.metric("teacher_agreement") == pytest.approx(4 / 7)
    assert result.rows("validation") == []


@pytest.mark.parametrize(("agreement", "kept"), [("auto", 2), ("true", 1), ("false", 3)])
def test_agreement_with_the_gold_answer_is_asked_for_as_set(component, tmp_path, agreement, kept):
    rows = write_jsonl(tmp_path / "rows.jsonl", [MATH[0], MATH[2], MATH[7]])
    result = component("curate").run({"rows": rows, "task_type": "math", "require_agreement": agreement})
    assert result.summary["kept"] == kept
    assert result.summary["agreement"] == 0.5


def test_agreement_cannot_be_asked_of_a_task_without_accuracy(component, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [answered("Hello?", "Hi.", "Good day.")])
    inputs = {"rows": rows, "task_type": "conversation"}
    assert component("curate").run(inputs).summary["kept"] == 1
    refused = component("curate").run(inputs | {"require_agreement": "true"})
    assert refused.returncode == 78
    assert "conversation does not define" in refused.stderr


def test_labels_that_were_not_offered_are_dropped(component, tmp_path):
    prompt = "Which?\n(A) one\n(B) two"
    rows = [answered(prompt, "(B)"), answered(f"Well. {prompt}", "(E)")]
    result = component("curate").run({"rows": write_jsonl(tmp_path / "rows.jsonl", rows), "task_type": "NLU_QA"})
    assert result.summary["reasons"] == {"wrong_label": 1}


def test_responses_may_be_limited_in_words(component, tmp_path):
    rows = [answered("Text one.", "a b c"), answered("Text two.", "a b c d")]
    inputs = {"rows": write_jsonl(tmp_path / "rows.jsonl", rows), "task_type": "summarization"}
    result = component("curate").run(inputs | {"max_response_words": 3})
    assert result.summary["reasons"] == {"too_long": 1}


def test_validation_rows_are_curated_and_no_training_row_is_among_them(component, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", MATH[:2])
    more = write_jsonl(tmp_path / "more.jsonl", [MATH[0], MATH[7]])
    result = component("curate").run({"rows": rows, "validation_rows": more, "task_type": "math"})
    assert [row["response"] for row in result.rows("validation")] == ["8"]
    assert result.summary["splits"]["validation"]["reasons"] == {"duplicate": 1}


def test_nothing_left_to_learn_is_an_error_after_all_is_written(component, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [MATH[2]])
    result = component("curate").run({"rows": rows, "task_type": "math"})
    assert result.returncode == 65
    assert "fit to learn from" in result.stderr
    assert result.summary["rejected"] == len(result.rows("rejects")) == 1


def test_rows_that_no_teacher_answered_are_named(component, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [MATH[0], chat("What?")])
    result = component("curate").run({"rows": rows, "task_type": "math"})
    assert result.summary["reasons"] == {"schema": 1}


def test_a_free_answer_that_only_differs_from_the_gold_one_is_kept_unless_agreement_is_required(component, tmp_path):
    rows = [
        chat(f"{number}: what is the capital of France?", "Paris") | {"response": said, "finish_reason": "stop"}
        for number, said in enumerate(("Paris.", "It is Paris, the capital.", "London"))
    ]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    found = {}
    for wanted in ("auto", "true", "false"):
        result = component("curate").run({"rows": path, "task_type": "qa", "require_agreement": wanted})
        assert result.returncode == 0, result.stderr
        found[wanted] = result.summary["kept"]
        assert result.summary["agreement"] == 1 / 3
    assert found == {"auto": 2, "true": 1, "false": 3}


def test_a_gold_answer_that_cannot_be_verified_agrees_with_nothing(component, tmp_path):
    rows = [
        answered("Root of 2?", "So it is 2.", "\\sqrt{2}"),
        answered("1 and 1?", "2", "2"),
        answered("1 and 2?", "3", "\\boxed{3}"),
    ]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    result = component("curate").run({"rows": path, "task_type": "math"})
    assert result.summary["reasons"] == {"reference": 1}
    assert (result.summary["agreement"], result.summary["agreement_rows"]) == (1, 2)
    assert "\\sqrt{2}" in result.rows("rejects")[0]["detail"]
    result = component("curate").run({"rows": path, "task_type": "math", "require_agreement": "false"})
    assert (result.summary["kept"], result.summary["agreement_rows"]) == (3, 2)
