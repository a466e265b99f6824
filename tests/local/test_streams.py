"""What a step prints reaches its log whole, the terminal harmless, and neither with a secret."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azdistill import redact
from azdistill.local.run.attempt import LogWriter
from azdistill.terminal import harmless

SECRET = "s3cr3t-välue-0123456789"


def write(folder: Path, chunks: list[bytes]) -> tuple[bytes, list[str]]:
    """The log and the shown lines of output that comes in ``chunks``."""
    path = folder / "log.txt"
    path.unlink(missing_ok=True)
    lines: list[str] = []
    with LogWriter(path, lines.append) as log:
        for chunk in chunks:
            log.feed(chunk)
    return path.read_bytes(), lines


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """``data`` in pieces that begin at ``places``."""
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(marks)]


@settings(max_examples=200)
@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_any_bytes_in_any_pieces_reach_the_log_unchanged(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, places: list[int]
) -> None:
    redact.forget()
    assert write(tmp_path_factory.mktemp("log"), cut(data, places))[0] == data


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["x", "\n", SECRET, " "]), max_size=8), st.lists(st.integers(0, 200), max_size=12))
def test_a_secret_is_hidden_wherever_the_pieces_are_cut(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], places: list[int]
) -> None:
    redact.register(SECRET)
    log, lines = write(tmp_path_factory.mktemp("log"), cut("".join(words).encode(), places))
    assert log.decode() == "".join(words).replace(SECRET, "***")
    assert "\n".join(lines).rstrip("\n") == log.decode().rstrip("\n")


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(["k", "ept", "EMPTY", "_", ".", "5", "\n", " ", "'", "x-1", "$$", "ö", SECRET]), max_size=12
    ),
    st.lists(st.integers(0, 60), max_size=12),
)
def test_a_short_secret_is_hidden_as_a_word_wherever_the_pieces_are_cut(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], places: list[int]
) -> None:
    redact.forget()
    redact.register(SECRET, "k", "EMPTY", "x-1", "$$")
    text = "".join(words)
    log, _ = write(tmp_path_factory.mktemp("log"), cut(text.encode(), places))
    assert log.decode() == redact.redact(text)


def test_a_line_is_shown_as_soon_as_it_has_ended(tmp_path: Path) -> None:
    redact.register(SECRET)
    lines: list[str] = []
    with LogWriter(tmp_path / "log", lines.append) as log:
        log.feed(b"short\nbeginning")
        assert lines == ["short"]
    assert lines == ["short", "beginning"]


def test_of_a_progress_bar_only_its_latest_state_is_shown(tmp_path: Path) -> None:
    log, lines = write(tmp_path, [b"\r 10%", b"\r 20%\r", b" 30%\r\n", b"done\r\n"])
    assert lines == [" 30%", "done"]
    assert log == b"\r 10%\r 20%\r 30%\r\ndone\r\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07x", "x"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hx", "x"),
        ("\x1bP1;2|payload\x1b\\x", "x"),
        ("a\x08\x07b\tc", "ab\tc"),
        ("\x9b31mx", "31mx"),
        ("user\u202eexe", "userexe"),
        ("größe 漢字", "größe 漢字"),
    ],
)
def test_control_sequences_do_not_reach_the_terminal(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    log, lines = write(tmp_path, [b"x" * 65536] * 16)
    assert len(log) == 65536 * 16
    assert len(lines[0]) <= 4000


def test_what_comes_after_the_end_is_written_into_no_other_file(tmp_path: Path) -> None:
    with LogWriter(tmp_path / "log.txt", print) as log:
        log.feed(b"in time\n")
    with open(tmp_path / "another.txt", "wb") as another:
        with pytest.raises(OSError, match="Bad file descriptor"):
            log.feed(b"late\n")
        with pytest.raises(OSError, match="Bad file descriptor"):
            log.close()
        another.write(b"its own")
    assert (tmp_path / "another.txt").read_bytes() == b"its own"
