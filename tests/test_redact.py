"""No registered value leaves in text, plain or encoded."""

import base64
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azdistill import redact

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


def test_of_two_values_where_one_begins_the_other_the_longer_is_hidden_whole() -> None:
    redact.register("secret")
    redact.register("secret-and-more")
    assert redact.redact("secret-and-more") == "***"


def test_very_short_values_are_not_registered_because_they_would_mask_ordinary_words() -> None:
    redact.register("on")
    assert redact.redact("turn it on") == "turn it on"
