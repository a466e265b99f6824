"""The row contract: what is accepted, what is refused and with which reason, and that no row is lost."""

from __future__ import annotations

import json
import os

import pytest
from common.rows import (
    BadRow,
    Tally,
    check_messages,
    make_row,
    parse_line,
    prompt_digest,
    read_rows,
    row_id,
    write_rows,
    write_summary,
)
from common.step import BadData, NoInput
from hypothesis import given
from hypothesis import strategies as st


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def system(text):
    return {"role": "system", "content": text}


def test_a_final_assistant_turn_is_the_reference():
    row = make_row([user("a"), assistant("b"), user("c"), assistant("d")])
    assert row["reference"] == "d"
    assert [turn["content"] for turn in row["messages"]] == ["a", "b", "c"]


def test_a_reference_given_beside_the_messages_wins():
    assert make_row([user("a"), assistant("b")], "gold")["reference"] == "gold"


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (None, "schema"),
        ([], "schema"),
        ("hello", "schema"),
        (["hello"], "schema"),
        ([{"role": "user"}], "schema"),
        ([{"content": "x"}], "schema"),
        ([{"role": "user", "content": 5}], "schema"),
        ([{"role": "tool", "content": "x"}], "roles"),
        ([assistant("x"), user("y")], "roles"),
        ([user("x"), user("y")], "roles"),
        ([user("x"), system("y")], "roles"),
        ([system("x"), system("y"), user("z")], "roles"),
        ([system("x")], "roles"),
        ([system("x"), assistant("y")], "roles"),
        ([user("  ")], "empty"),
        ([user("x"), assistant("")], "empty"),
    ],
)
def test_messages_that_break_the_contract_are_refused(messages, reason):
    with pytest.raises(BadRow) as caught:
        make_row(messages)
    assert caught.value.reason == reason


def test_the_id_depends_on_messages_and_reference_only():
    messages = [user("a")]
    assert make_row(messages, "x", {"source": 1})["id"] == make_row(messages, "x")["id"] == row_id(messages, "x")
    assert make_row(messages, "y")["id"] != make_row(messages, "x")["id"]
    assert len(row_id(messages)) == 16


def test_what_is_kept_of_a_message_is_role_and_content():
    assert check_messages([{"role": "user", "content": "x", "name": "bob"}]) == [user("x")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"messages": [', "truncated_json"),
        (b'{"messages": "abc', "truncated_json"),
        (b'{"a": 1,, }', "json"),
        (b"[1]", "schema"),
        (b"5", "schema"),
        (b'{"a": "\xff"}', "invalid_utf8"),
        (b'{"a": "x\\u0000y"}', "characters"),
        (b'{"a": "\\ud83d"}', "characters"),
        (b"[" * 100_000, "json"),
    ],
)
def test_lines_that_are_no_rows_are_refused(line, reason):
    with pytest.raises(BadRow) as caught:
        parse_line(line)
    assert caught.value.reason == reason


@pytest.mark.parametrize("line", [b'{"a": "\\ud83d\\ude00"}', b'{"a": "\\\\u0000"}', b'\xef\xbb\xbf{"a": 1}'])
def test_lines_that_only_look_wrong_are_read(line):
    assert parse_line(line)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_text_survives_a_line(text):
    assert parse_line(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.parametrize("other", ["what  IS it?", "What is\nit?", " What is it? "])
def test_prompts_that_differ_in_case_and_spacing_only_are_the_same(other):
    assert prompt_digest([user("What is it?")]) == prompt_digest([user(other)])


def test_prompts_that_differ_in_more_are_not():
    digests = {prompt_digest([user(text)]) for text in ("5\u00b2", "52", "5 2", "25")}
    digests |= {prompt_digest([system("5"), user("2")]), prompt_digest([user("5"), assistant("2"), user("x")])}
    assert len(digests) == 6


def test_composed_and_decomposed_letters_are_the_same():
    assert prompt_digest([user("caf\u00e9")]) == prompt_digest([user("cafe\u0301")])


def test_rows_are_read_with_their_other_fields_and_an_id(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"messages": [user("a")], "response": "b"}, {"id": "mine", "messages": [user("c")]}])
    first, second = read_rows(path)
    assert (first["id"], first["response"]) == (row_id([user("a")]), "b")
    assert second["id"] == "mine"


def test_a_bad_row_is_named_with_file_and_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": [user("a")]}) + '\n\n{"messages": [\n')
    with pytest.raises(BadData, match=r"rows\.jsonl:3: .*truncated_json"):
        list(read_rows(path))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NoInput, match=r"none\.jsonl"):
        list(read_rows(tmp_path / "none.jsonl"))


def test_a_summary_refuses_to_lose_a_row(tmp_path):
    tally = Tally(read=3, kept=1)
    tally.reasons["duplicate"] = 1
    with pytest.raises(AssertionError, match="1 lost"):
        write_summary(tmp_path / "summary", "x", {"train": tally})
    tally.kept = 2
    summary = write_summary(tmp_path / "summary", "x", {"train": tally, "validation": Tally(1, 1)}, extra=1)
    assert (summary["in"], summary["kept"], summary["rejected"]) == (4, 3, 1)
    assert summary["splits"]["train"]["reasons"] == {"duplicate": 1}
    assert json.loads((tmp_path / "summary").read_text()) == summary


@pytest.mark.parametrize(("number", "said"), [(28, "No space left"), (30, "Read-only file system")])
def test_storage_that_takes_no_more_ends_a_step_without_a_traceback(capsys, number, said):
    from common.step import run_step

    def step():
        raise OSError(number, os.strerror(number), "/out/train.jsonl")

    with pytest.raises(SystemExit) as ended:
        run_step(step)
    assert ended.value.code == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith("error[failed]: cannot write /out/train.jsonl: " + said)
    assert "Traceback" not in stderr


def test_rows_and_summaries_are_json_whatever_numbers_they_hold(tmp_path):
    rows, summary = tmp_path / "rows.jsonl", tmp_path / "summary.json"
    write_rows(rows, [{"messages": [user("Hi.")], "metadata": {"score": float("nan"), "most": [float("inf")]}}])
    write_summary(summary, "step", {}, loss=float("nan"))
    found = [json.loads(path.read_text(), parse_constant=pytest.fail) for path in (rows, summary)]
    assert found[0]["metadata"] == {"score": None, "most": [None]}
    assert found[1]["loss"] is None
