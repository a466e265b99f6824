"""Text that nobody writes on purpose, or somebody does: control characters, half characters, endless numbers."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from snapshots import chat, write_jsonl
from test_teacher_inference import conserved, question, solve, sums

#: What a teacher may say, and what becomes of it.
SAID = {
    "nul": ("1\x002", "characters"),
    "half of a pair": ("5 \ud83d apples", "characters"),
    "line separators": ("first\u2028second\u2029third\x85fourth", None),
    "escape sequences": ("\x1b]0;owned\x07\x1b[31mred", None),
    "control tokens": ("<|end|><|im_end|></s>[INST]", None),
    "markup": ("<script>alert(1)</script>", None),
    "five megabytes": ("word " * 1_000_000, None),
}


def conversation(count: int) -> list[dict[str, Any]]:
    return [chat(f"Say number {n}.") for n in range(count)]


def test_whatever_a_teacher_says_is_a_row_that_the_next_step_reads_or_a_reject(component, teacher, tmp_path):
    texts = [text for text, _ in SAID.values()]
    rows = write_jsonl(tmp_path / "rows.jsonl", conversation(len(texts)))
    loop = teacher(lambda messages: texts[int(messages[-1]["content"].split()[-1].rstrip("."))])
    inputs = question(loop.url, rows, task_type="conversation", min_success_ratio=0.5)
    asked = component("teacher_inference").run(inputs)
    assert asked.returncode == 0, asked.stderr
    assert conserved(asked.summary)
    assert asked.summary["reasons"] == {"characters": 2}
    kept = [text for text, reason in SAID.values() if reason is None]
    assert [row["response"] for row in read_bytes_jsonl(asked.outputs["train"])] == kept
    curated = component("curate").run({"rows": asked.outputs["train"], "task_type": "conversation"})
    assert curated.returncode == 0, curated.stderr
    assert curated.summary["in"] == len(kept)


def test_thoughts_with_characters_that_cannot_be_written_do_not_cost_the_answer(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(1))
    loop = teacher(lambda messages: {"content": solve(messages), "reasoning_content": "a\x00b\udc00c"})
    result = component("teacher_inference").run(question(loop.url, rows))
    assert result.returncode == 0, result.stderr
    assert result.rows("train")[0]["reasoning"] == "a\ufffdb\ufffdc"


def read_bytes_jsonl(path):
    """JSONL as the steps read it: only a line feed ends a line."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@pytest.mark.parametrize("strategy", ["direct", "chain_of_thought"])
def test_a_number_without_end_is_no_answer_and_no_crash(component, teacher, tmp_path, strategy):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(3))
    endless = "7" * 5000
    said = {"direct": endless, "chain_of_thought": json.dumps({"reasoning": "so", "answer": endless})}[strategy]
    loop = teacher(lambda messages: said)
    asked = component("teacher_inference").run(question(loop.url, rows, strategy=strategy, min_success_ratio=0))
    assert asked.returncode == 0, asked.stderr
    if strategy == "direct":
        curated = component("curate").run({"rows": asked.outputs["train"], "task_type": "math"})
        assert curated.summary["reasons"] == {"unparsable": 3}
    else:
        assert asked.summary["reasons"] == {"unparsable": 3}


def test_a_reason_that_a_server_made_up_is_counted_under_a_fixed_word(component, tmp_path):
    rows = [
        chat("What is 1 plus 1?", "2") | {"response": "2", "finish_reason": finish}
        for finish in ("stop", "STOP", "eos_token", "length", "tool_calls", "\x1b[31m" + "x" * 500)
    ]
    for number, row in enumerate(rows):
        row["messages"][0]["content"] += " " * number + str(number)
    result = component("curate").run({"rows": write_jsonl(tmp_path / "r.jsonl", rows), "task_type": "math"})
    assert result.returncode == 0, result.stderr
    assert result.summary["kept"] == 3
    assert result.summary["reasons"] == {"finish_length": 1, "finish_tool_calls": 1, "finish_other": 1}
    assert "\x1b" not in result.stderr


def test_what_a_server_says_reaches_the_terminal_without_its_control_characters(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(1))
    loop = teacher(solve, reply=lambda body, number: (401, {}, {"error": {"message": "no\x1b[2J\x1b]0;owned\x07!"}}))
    result = component("teacher_inference").run(question(loop.url, rows))
    assert result.returncode == 77
    assert "\x1b" not in result.stderr
    assert "\x07" not in result.stderr


def test_a_key_that_a_server_repeats_is_in_no_file_when_the_run_gives_up(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(40))
    loop = teacher(solve, reply=lambda body, number: (500, {}, {"error": {"message": "key s3cret-key-value broke"}}))
    inputs = question(loop.url, rows, teacher_key="env:KEY", max_retries=0)
    made = component("teacher_inference")
    result = made.run(inputs, env={"KEY": "s3cret-key-value"})
    assert result.returncode == 69
    assert "not_asked" in result.summary["reasons"]
    for path in (made.folder / "outputs").rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes(), path.name
    assert "s3cret" not in result.stderr


# -- data -------------------------------------------------------------------------------------------------------------

NO_SPLIT = {"task_type": "qa", "validation_fraction": 0, "test_fraction": 0}


def test_a_json_list_on_one_line_is_deduplicated_too(component, tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps([chat("one", "1"), chat("two", "2"), chat("one", "1"), chat("ONE ", "1")]))
    result = component("prepare_data").run({"training_data": path, **NO_SPLIT})
    assert result.returncode == 0, result.stderr
    assert result.summary["reasons"] == {"duplicate": 2}


def test_rows_on_the_same_line_of_two_files_are_deduplicated(component, tmp_path):
    for part in (1, 2):
        write_jsonl(tmp_path / f"train-{part}.jsonl", [chat("one", "1"), chat(f"part {part}", "2")])
    result = component("prepare_data").run({"dataset": tmp_path, **NO_SPLIT})
    assert result.summary["reasons"] == {"duplicate": 1}
    assert len(result.rows("train")) == 3


def test_a_nul_is_refused_in_every_form_of_data(component, tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"question": ["a\x00b", "fine"], "answer": ["1", "2"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    messages = json.dumps(chat("a\x00b")["messages"]).replace('"', '""')
    (tmp_path / "b.csv").write_text(f'messages,reference\n"{messages}",1\n"{messages.replace("u0000", "n")}",2\n')
    for name in ("a.parquet", "b.csv"):
        inputs = {"training_data": tmp_path / name, "on_bad_rows": "reject", **NO_SPLIT}
        result = component("prepare_data").run(inputs)
        assert result.returncode == 0, result.stderr
        assert result.summary["reasons"] == {"characters": 1}, name


def test_a_bad_row_with_dates_and_bytes_is_a_reject_like_any_other(component, tmp_path):
    import pyarrow
    import pyarrow.parquet

    day = datetime.date(2026, 1, 2)
    table = pyarrow.table({"question": ["", "fine"], "answer": ["1", "2"], "day": [day, day], "raw": [b"\xff", b""]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    inputs = {"training_data": tmp_path / "a.parquet", "on_bad_rows": "reject", **NO_SPLIT}
    result = component("prepare_data").run(inputs)
    assert result.returncode == 0, result.stderr
    assert result.rows("rejects")[0]["row"]["day"] == "2026-01-02"


def test_the_text_of_a_line_that_cannot_be_read_is_kept_in_the_rejects(component, tmp_path):
    path = tmp_path / "data.jsonl"
    huge = '{"messages": [], "n": ' + "9" * 5000 + "}"
    path.write_bytes(
        json.dumps(chat("one", "1")).encode() + b'\n{"messages": [{"role\n' + huge.encode() + b"\n\xff{}\n"
    )
    result = component("prepare_data").run({"training_data": path, "on_bad_rows": "reject", **NO_SPLIT})
    assert result.returncode == 0, result.stderr
    rejects = result.rows("rejects")
    assert [(one["reason"], one["line"]) for one in rejects] == [
        ("truncated_json", 2),
        ("json", 3),
        ("invalid_utf8", 4),
    ]
    assert rejects[0]["row"] == '{"messages": [{"role'
    assert rejects[2]["row"] == "\ufffd{}"
