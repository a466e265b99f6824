"""What steps see of the caller's variables, and what of it is hidden."""

from __future__ import annotations

import pytest

from azdistill.local.run.environment import passed_on
from azdistill.redact import redact


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "HF_API_TOKEN", "HF_SECRET", "NVIDIA_API_KEY", "TRANSFORMERS_HUB_PASSWORD"]
)
def test_what_is_named_like_a_credential_is_hidden(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "correct-horse-battery")
    assert passed_on()[name] == "correct-horse-battery"
    assert redact("it is correct-horse-battery") == "it is ***"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOKENIZERS_PARALLELISM", "false"),
        ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "false"),
        ("HF_TOKEN_PATH", "/home/me/token"),
        ("http_proxy", "http://proxy:3128"),
    ],
)
def test_settings_are_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert passed_on()[name] == value
    assert redact(value) == value


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY"])
def test_the_password_of_a_proxy_is_hidden(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://me:battery-staple@proxy:3128")
    passed_on()
    assert redact("http://me:battery-staple@proxy:3128") == "http://***@proxy:3128"


def test_other_credentials_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "correct-horse-battery")
    assert "HUGGING_FACE_HUB_TOKEN" not in passed_on()
