"""Fails the test that closes or swaps this process's streams, by its name: all that follow would fail in its place.

pytest catches what is printed in files that it makes once for all tests; one that is closed is not made anew.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Generator
from typing import Any

import pytest

_STREAMS = ("stdout", "stderr")
_running = False
_closings: list[str] = []


# Inside pytest's own wrappers, where the streams are those that a test sees.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    global _running
    _running = True
    for name in _STREAMS:
        _refuse_to_close(getattr(sys, name), name)
    yield
    _fail_for_closings(item)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    streams, files = [getattr(sys, name) for name in _STREAMS], _files()
    yield
    _fail_for_closings(item)
    for name, stream in zip(_STREAMS, streams, strict=True):
        # What monkeypatch has put there it takes away later.
        if getattr(sys, name) is not stream and "monkeypatch" not in getattr(item, "fixturenames", ()):
            pytest.fail(f"{item.nodeid} leaves another sys.{name} behind: {getattr(sys, name)!r}", pytrace=False)
    if _files() != files:
        pytest.fail(f"{item.nodeid} leaves another file behind as descriptor 1 or 2", pytrace=False)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    global _running
    try:
        yield
    finally:
        _running = False
    _fail_for_closings(item)


def _files() -> list[tuple[int, int]]:
    """Which files descriptors 1 and 2 are."""
    found = [os.fstat(number) for number in (1, 2)]
    return [(each.st_dev, each.st_ino) for each in found]


def _refuse_to_close(stream: Any, name: str) -> None:
    """Let ``stream`` and its buffer stay open while a test runs; who tries to close them is noted."""
    for one in (stream, getattr(stream, "buffer", None)):
        if not isinstance(one, io.IOBase) or "close" in vars(one):
            continue

        def close(close: Any = one.close) -> None:
            if _running:
                _closings.append(f"sys.{name} is closed here:\n{''.join(traceback.format_stack()[:-1])}")
            else:
                close()

        vars(one)["close"] = close


def _fail_for_closings(item: pytest.Item) -> None:
    if _closings:
        told = "\n".join(_closings)
        _closings.clear()
        pytest.fail(f"{item.nodeid} closes a stream of the process\n{told}", pytrace=False)
