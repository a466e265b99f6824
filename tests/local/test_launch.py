"""What several processes print is told apart by lines, and no line is cut in a word."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azdistill.local.in_step import launch

MARK = b"[rank 1] "


def relayed(pieces: list[bytes], monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is printed, and when, of a process that prints these pieces."""
    left, printed = iter([*pieces, b""]), list[bytes]()
    rank = SimpleNamespace(stdout=SimpleNamespace(fileno=lambda: -1))
    with monkeypatch.context() as patch:
        patch.setattr(launch, "put", printed.append)
        patch.setattr(os, "read", lambda descriptor, size: next(left))
        launch.relay(cast("Any", rank), MARK)
    return printed


def test_a_line_of_a_megabyte_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = relayed([*([b"x" * 65536] * 16), b"y\nnext"], monkeypatch)
    assert b"".join(printed) == MARK + b"x" * (1 << 20) + b"y\n" + MARK + b"next\n"


def test_a_line_that_does_not_end_is_cut_between_words_and_held_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = b"s3cret-0123456789"
    text = (secret + b" ") * (9 * launch._LONGEST // 18 // 4)
    printed = relayed([text[at : at + 50_000] for at in range(0, len(text), 50_000)], monkeypatch)
    whole = b"".join(printed)
    assert whole.replace(b"\n" + MARK, b"") == MARK + text + b"\n"
    assert whole.count(secret) == text.count(secret)
    assert max(map(len, printed)) <= launch._LONGEST + 50_000 + len(MARK)


def test_one_word_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = relayed([b"x" * (1 << 20)] * 9, monkeypatch)
    assert max(map(len, printed)) <= launch._LONGEST + (2 << 20)


def test_a_progress_bar_is_seen_before_its_line_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = relayed([*([b"50%" * 1000 + b"\r"] * 30), b"\n"], monkeypatch)
    assert len([piece for piece in printed if piece]) > 1
    assert b"".join(printed).replace(b"\n" + MARK, b"") == MARK + (b"50%" * 1000 + b"\r") * 30 + b"\n"


@given(st.lists(st.binary(max_size=9) | st.sampled_from([b"\n", b"\r\n"]), max_size=9))
def test_lines_are_the_same_however_they_come(pieces: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        printed = b"".join(relayed([piece for piece in pieces if piece], patch))
    text = b"".join(pieces)
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    assert printed == b"".join(MARK + line + b"\n" for line in lines)
