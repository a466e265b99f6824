"""A key that a teacher gives back: its row is rejected, and the key stands in nothing that is written."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from canaries import forms
from common import secrets, spellings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshots import Result, chat, read_jsonl, write_jsonl

from azdistill import redact

KEY = "sk-Canary/4711+Zeta=09 \"q'&é"
RAW = KEY.encode()
SPELLINGS = {
    "raw": KEY,
    "json": json.dumps(KEY),
    "json of json": json.dumps(json.dumps(KEY)),
    "json without ascii": json.dumps(KEY, ensure_ascii=False),
    "every character a json escape": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "base64": base64.b64encode(RAW).decode(),
    "base64 of the header": base64.b64encode(b"Bearer " + RAW).decode(),
    "base64 of a pair": base64.b64encode(b"user:" + RAW + b":x").decode(),
    "base64 for urls": base64.urlsafe_b64encode(RAW).decode(),
    "base64 in lines": "\n".join(re.findall(".{1,8}", base64.b64encode(RAW).decode())),
    "url": quote(KEY, safe=""),
    "url of a form": quote_plus(KEY),
    "url in small letters": quote(KEY).replace("%2B", "%2b").replace("%3D", "%3d"),
    "every character a url escape": "".join(f"%{byte:02X}" for byte in RAW),
    "hexadecimal": RAW.hex(),
    "hexadecimal in capitals": RAW.hex().upper(),
    "html": html.escape(KEY),
    "python": repr(KEY),
    "small letters": KEY.lower(),
    "capitals": KEY.upper(),
    "backwards": KEY[::-1],
}


def in_text(text: str) -> list[str]:
    """The spellings of the key that a file's text holds, as it is or as JSON reads it."""
    read = [text, *(text for line in text.splitlines() if line.startswith('{"') for text in leaves(json.loads(line)))]
    return [name for name, spelt in SPELLINGS.items() if any(spelt in part for part in read)]


def leaves(value: Any) -> list[str]:
    """All texts in a JSON value."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [text for part in value for text in leaves(part)] if isinstance(value, list) else [str(value)]


def hits(result: Result) -> list[tuple[str, str]]:
    """Each output of a step that holds the key, and in which spelling."""
    found = []
    for output in result.outputs.values():
        files = [output] if output.is_file() else [path for path in output.rglob("*") if path.is_file()]
        found += [(file.name, name) for file in files for name in in_text(file.read_text())]
    return found


@pytest.fixture
def echo(teacher, tmp_path):
    """A teacher that answers question N with the key in the Nth spelling; the rows, and what a run is given."""
    rows = write_jsonl(
        tmp_path / "rows.jsonl", [chat(f"How is it spelt: {name}?") for name in (*SPELLINGS, "not at all")]
    )

    def answer(messages):
        name = messages[-1]["content"].removeprefix("How is it spelt: ").rstrip("?")
        return f"upstream said: authorization={SPELLINGS.get(name, 'hidden')}; end"

    loop = teacher(answer)
    inputs = {"rows": rows, "task_type": "conversation", "teacher_model": "loop", "teacher_key": "env:TEACHER_KEY"}
    return loop, {**inputs, "teacher_endpoint": loop.url, "min_success_ratio": 0.0}


def test_a_key_in_any_of_21_spellings_rejects_its_row_and_is_written_nowhere(component, echo, tmp_path):
    _, inputs = echo
    result = component("teacher_inference").run(inputs, env={"TEACHER_KEY": KEY})
    assert result.returncode == 0, result.stderr
    assert len(SPELLINGS) == 21
    assert result.summary["reasons"] == {"secret": 21}
    assert [row["response"] for row in result.rows("train")] == ["upstream said: authorization=hidden; end"]
    assert {reject["row"]["messages"][0]["content"] for reject in result.rows("rejects")} == {
        f"How is it spelt: {name}?" for name in SPELLINGS
    }
    assert hits(result) == []
    assert in_text(result.stderr) == []


def test_what_was_rejected_for_a_secret_is_not_asked_again_though_the_key_is_not_at_hand(component, echo, tmp_path):
    loop, inputs = echo
    store = {"answers": tmp_path / "answers"}
    component("teacher_inference").run(inputs, outputs=store, env={"TEACHER_KEY": KEY})
    asked = len(loop.requests)
    again = component("teacher_inference").run(inputs | {"teacher_endpoint": "http://127.0.0.1:9"}, outputs=store)
    assert again.returncode == 0, again.stderr
    assert asked == len(SPELLINGS) + 1 == len(loop.requests)
    assert again.summary["reasons"] == {"secret": 21}
    assert again.summary["kept"] == 1
    records = [record for shard in store["answers"].rglob("*.jsonl") for record in read_jsonl(shard)]
    assert [record["body"] for record in records if record.get("rejected")] == [None] * 21


def test_an_answer_that_an_earlier_version_kept_is_not_used_either(component, echo, tmp_path):
    loop, inputs = echo
    store = {"answers": tmp_path / "answers"}
    without_key = {name: value for name, value in inputs.items() if name != "teacher_key"}
    assert component("teacher_inference").run(without_key, outputs=store).summary["kept"] == 22
    result = component("teacher_inference").run(inputs, outputs=store, env={"TEACHER_KEY": KEY})
    assert result.returncode == 0, result.stderr
    assert result.summary["reasons"] == {"secret": 21}
    assert len(loop.requests) == 22
    assert result.stderr.count("renew the key, or delete the folder") == 1
    again = component("teacher_inference").run(inputs, outputs=store)
    assert again.summary["reasons"] == {"secret": 21}


def test_a_row_that_holds_the_key_itself_is_rejected_without_its_text(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat(f"Is {KEY} a good key?"), chat("Is it?")])
    loop = teacher(lambda messages: "Yes.")
    inputs = {"rows": rows, "task_type": "conversation", "teacher_model": "loop", "teacher_endpoint": loop.url}
    result = component("teacher_inference").run(
        inputs | {"teacher_key": "env:K", "min_success_ratio": 0.0}, env={"K": KEY}
    )
    assert result.summary["reasons"] == {"secret": 1}
    assert list(result.rows("rejects")[0]["row"]) == ["id"]
    assert hits(result) == []


def test_a_refusal_that_spells_the_key_is_kept_without_it(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat(name) for name in SPELLINGS])

    def reply(body, number):
        spelt = SPELLINGS[body["messages"][-1]["content"]]
        return 400, {}, {"error": {"code": "content_filter", "message": f"filtered: {spelt}"}}

    loop = teacher(lambda messages: "", reply=reply)
    inputs = {"rows": rows, "task_type": "conversation", "teacher_model": "loop", "teacher_endpoint": loop.url}
    result = component("teacher_inference").run(
        inputs | {"teacher_key": "env:K", "min_success_ratio": 0.0}, env={"K": KEY}
    )
    assert result.summary["reasons"] == {"content_filter": 21}
    assert hits(result) == []
    assert in_text(result.stderr) == []


@pytest.mark.parametrize(("key", "warned"), [("EMPTY", 1), ("fifteen-letters", 1), ("absent", 0)])
def test_a_short_key_rejects_nothing_and_is_told_once_where_answers_hold_it(component, teacher, tmp_path, key, warned):
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat(f"{n}?") for n in range(5)])
    loop = teacher(lambda messages: "The set is EMPTY, of fifteen-letters.")
    inputs = {"rows": rows, "task_type": "conversation", "teacher_model": "loop", "teacher_endpoint": loop.url}
    result = component("teacher_inference").run(inputs | {"teacher_key": "env:K"}, env={"K": key})
    assert result.summary["kept"] == 5
    assert result.stderr.count("no row is rejected for it") == warned


# -- the search by itself ---------------------------------------------------------------------------------------------


def known(value: str) -> None:
    secrets._values.clear()
    secrets._hide(value)


texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=secrets.LONG, max_size=120).filter(str.strip)
forgetting = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(autouse=True)
def own_values(monkeypatch):
    monkeypatch.setattr(secrets, "_values", set())


@forgetting
@given(value=texts)
def test_a_step_knows_every_spelling_that_azdistill_hides(value):
    assert spellings.forms(value) == redact._forms(value)
    known(value)
    for form in {form.decode() for form in forms(value)} | spellings.forms(value):
        if len(form) >= 12:
            assert secrets.holds_secret({"choices": [{"text": f"<{form}>"}]}), form
            assert form not in secrets.redact(f"<{form}>")


@forgetting
@given(value=st.from_regex(r"sk-[A-Za-z0-9_-]{20,60}", fullmatch=True), text=st.text(max_size=300))
def test_another_text_holds_no_secret(value, text):
    known(value)
    assert not secrets.holds_secret([text, {text: 12345678901234567890, "x": None}])
    assert secrets.redact(text) == text


@pytest.mark.parametrize(
    "spelt", ["s k - 4 7 1 1 - a b c d e f g h", "sk-\n4711-\nabcdefgh", "**sk**-4711-abcd`efgh`", "SK_4711_ABCDEFGH"]
)
def test_marks_and_blanks_hide_no_key(spelt):
    known("sk-4711-abcdefgh-ijklm")
    assert secrets.holds_secret([f"the key: {spelt} i-j-k-l-m"])
    assert secrets.redact(f"the key: {spelt} i-j-k-l-m") == secrets.WITHHELD


def test_a_field_a_name_and_a_number_are_looked_through():
    known("1234567890123456")
    assert secrets.holds_secret({"id": 1234567890123456})
    assert secrets.holds_secret({"1234567890123456": None})
    deep = value = []
    for _ in range(100_000):
        value.append(value := [])
    value.append("1234567890123456")
    assert secrets.holds_secret(deep)
