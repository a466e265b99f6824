"""No registered value leaves in text, plain or encoded."""

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azdistill import redact
from azdistill.local.run.prepare import hide_secrets

SECRET = "sk-canary/9f3+=Zq 7"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    redact.forget()
    yield
    redact.forget()


def test_text_without_secrets_is_left_alone() -> None:
    assert redact.redact("nothing to hide") == "nothing to hide"


@pytest.mark.parametrize("form", [SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET)])
def test_a_value_and_its_url_encodings_are_hidden(form: str) -> None:
    redact.register(SECRET)
    assert redact.redact(f"GET /v1?key={form}&x=1") == "GET /v1?key=***&x=1"


@given(before=st.text(max_size=7), after=st.text(max_size=7))
def test_base64_that_holds_a_value_at_any_alignment_no_longer_decodes_to_it(before: str, after: str) -> None:
    redact.register(SECRET)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(f"{before}{SECRET}{after}".encode()).decode()
        assert "***" in redact.redact(encoded)


LONG = "sk-" + "".join(f"{number * 7919 % 977:03d}x" for number in range(25))


@given(before=st.binary(max_size=200), after=st.binary(max_size=100), width=st.sampled_from([60, 64, 72, 76]))
def test_base64_broken_into_lines_holds_no_more_than_the_end_of_a_line_of_a_value(
    before: bytes, after: bytes, width: int
) -> None:
    redact.register(LONG)
    encoded = base64.b64encode(before + LONG.encode() + after).decode()
    lines = [encoded[at : at + width] for at in range(0, len(encoded), width)]
    shown = "\n".join(redact.redact(line) for line in lines)
    plain = base64.b64encode(b"\0" * (len(before) % 3) + LONG.encode()).decode()[4:-4]
    assert not any(plain[at : at + 14] in shown for at in range(len(plain) - 13))


@pytest.mark.parametrize("form", [LONG.encode().hex(), LONG.encode().hex().upper(), html.escape("a<b>&'canary'")])
def test_hexadecimal_and_html_are_hidden(form: str) -> None:
    redact.register(LONG, "a<b>&'canary'")
    assert redact.redact(f"x {form} y") == "x *** y"


@pytest.mark.parametrize("value", ["single ' only", 'double " only', "both ' and \" and \\", "a tab \t and \x01"])
@pytest.mark.parametrize("beside", ["", "'", '"', "'\""])
def test_what_repr_makes_of_a_value_is_hidden(value: str, beside: str) -> None:
    redact.register(value)
    shown = redact.redact(repr(f"{beside}{value}"))[1:-1]
    assert shown.replace("\\'", "'") == f"{beside}***"


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_what_json_makes_of_a_value_is_hidden_whole(ensure_ascii: bool) -> None:
    value = 'größe "canary"\n'
    redact.register(value)
    assert redact.redact(json.dumps(value, ensure_ascii=ensure_ascii)) == '"***"'


def test_of_two_values_where_one_begins_the_other_the_longer_is_hidden_whole() -> None:
    redact.register("secret")
    redact.register("secret-and-more")
    assert redact.redact("secret-and-more") == "***"


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("k", "kept: the teacher asked k times, key=k", "kept: the teacher asked *** times, key=***"),
        ("k", 'the key "k" was refused, k.', 'the key "***" was refused, ***.'),
        ("k", "k-means top-k k_1 /k/k a.k k.a --k größek 漢k", "k-means top-k k_1 /k/k a.k k.a --k größek 漢k"),
        ("on", "turn it on, one", "turn it ***, one"),
        ("none", "nonempty none None", "nonempty *** None"),
        ("EMPTY", "EMPTY_CACHE is EMPTY", "EMPTY_CACHE is ***"),
        ("x-1", "x-1 x-10 ax-1 (x-1)", "*** x-10 ax-1 (***)"),
        ("$$", "$$ a$$ $$$ '$$'", "*** a$$ $$$ '***'"),
        (".", "a.b . ...", "a.b *** ..."),
        ("größe", "größe größer (größe)", "*** größer (***)"),
        ("é", "né é", "né ***"),
        ("1", "1 of 10, 1.5, 11, loss=1", "*** of 10, 1.5, 11, loss=***"),
        ("a b", "a b aa b", "*** aa b"),
        # What repr makes of line ends and tabs, in an error that quotes a body.
        ("k", r"b'key:\nk\n' b'\tk' b'\r\nk' knk", r"b'key:\n***\n' b'\t***' b'\r\n***' knk"),
    ],
)
def test_a_short_value_is_hidden_as_a_whole_word_only(value: str, text: str, shown: str) -> None:
    redact.register(value)
    assert redact.redact(text) == shown


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("a b+c", "a%20b%2Bc"),
        ("a b+c", "a+b%2Bc"),
        ("a<b>", "a&lt;b&gt;"),
        ("EMPTY", "454d505459"),
        ("EMPTY", "RU1QVFk="),
    ],
)
def test_other_spellings_of_a_short_value_are_whole_words_too(value: str, form: str) -> None:
    redact.register(value)
    assert redact.redact(f"x {form} y") == "x *** y"
    assert redact.redact(f"x{form} 1{form}") == f"x{form} 1{form}"


def test_a_spelling_of_two_or_three_characters_is_a_word_of_its_own() -> None:
    redact.register("k")
    assert redact.redact("llama 6b aw") == "llama 6b aw"


@pytest.mark.parametrize("value", ["", " ", "\n\t"])
def test_a_blank_value_hides_nothing(value: str) -> None:
    redact.register(value)
    assert redact.redact("a b\n\tc ") == "a b\n\tc "
    redact.register("longer-secret", value)
    assert redact.redact("a longer-secret b") == "a *** b"


def test_six_characters_are_hidden_everywhere() -> None:
    redact.register("abcdef")
    assert redact.redact("xabcdefx") == "x***x"


def test_a_short_line_of_a_key_file_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_FILE", '{\n  "key": "a-long-canary"\n}\n')
    hide_secrets(["KEY_FILE"])
    assert redact.redact('{ } "key": "a-long-canary"') == "{ } ***"


def test_what_is_looked_up_by_its_name_keeps_it_and_values_are_hidden() -> None:
    redact.register("demo", "a-long-canary")
    told = {
        **{"event": "demo", "step": "demo", "steps": ["demo"], "demo": "demo", "count": 1, "a-long-canary": "x"},
        **{"log": "/home/demo/a demo, b/log.txt", "error": "the key demo", "params": {"demo": "a-long-canary"}},
    }
    assert redact.clean(told) == {
        **{"event": "demo", "step": "demo", "steps": ["demo"], "demo": "***", "count": 1, "***": "x"},
        **{"log": "/home/demo/a demo, b/log.txt", "error": "the key ***", "params": {"demo": "***"}},
    }


@pytest.mark.parametrize("value", ["stripped-word ", "\tstripped-word", " stripped-word\r\n", "a\n  stripped-word \nb"])
def test_a_value_is_hidden_though_blanks_around_it_were_stripped(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", value)
    hide_secrets(["KEY"])
    assert redact.redact("it is <stripped-word>") == "it is <***>"


#: As a PEM file, whose lines are registered one by one.
KEY_FILE = "-----BEGIN KEY-----\n" + "".join(f"{base64.b64encode(bytes([n] * 48)).decode()}\n" for n in range(26))


def test_a_key_file_is_made_ready_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(redact, "_any_of", lambda forms, *_: made.append(len(list(forms))) or re.compile("x"))
    monkeypatch.setenv("KEY_FILE", KEY_FILE)
    hide_secrets(["KEY_FILE"])
    hide_secrets(["KEY_FILE"])
    assert len([count for count in made if count > 200]) == 1


def test_text_without_a_secret_is_not_searched_for_each_of_many_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_FILE", KEY_FILE)
    hide_secrets(["KEY_FILE"])
    assert redact._search
    # Would raise if it were used.
    monkeypatch.setattr(redact._search, "_pattern", None)
    text = "2026-01-01 12:00:00 INFO step 12 loss=0.25 /mnt/data/5f2d.json ------\n" * 99
    assert redact.redact(text) == text


@settings(max_examples=60)
@given(
    secrets=st.lists(st.text(alphabet="ab-%+é\n", min_size=6, max_size=30), min_size=2, max_size=6),
    words=st.lists(st.integers(0, 5) | st.text(alphabet="ab-%+é\n ", max_size=8), max_size=6),
)
def test_of_many_forms_each_is_found_as_without_a_look_beforehand(secrets: list[str], words: list[int | str]) -> None:
    redact.forget()
    redact.register(KEY_FILE[20:80], *secrets)
    assert redact._search
    text = "".join(word if isinstance(word, str) else secrets[word % len(secrets)] for word in words)
    assert redact.redact(text, names=True) == redact._search._pattern.sub("***", text)
