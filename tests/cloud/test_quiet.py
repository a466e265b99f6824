"""What is hushed: what the SDK prints, and nothing of anybody else's, however many threads are hushed at once."""

from __future__ import annotations

import io
import logging
import sys
import threading
import types
import weakref
from collections.abc import Callable

import pytest

from azdistill.cloud.workspace import quiet
from azdistill.cloud.workspace.quiet import hushed

Captured = pytest.CaptureFixture[str]
UPLOAD = """
def prints():
    print("bar 10%")
    print("\\x1b[39m", file=sys.stderr)
    sys.stderr.writelines(["bar", "20%"])

def prints_in_a_thread():
    thread = threading.Thread(target=prints)
    thread.start()
    thread.join()
"""


@pytest.fixture(autouse=True)
def not_verbose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(quiet._state, "show", False)


@pytest.fixture(params=["prints", "prints_in_a_thread"])
def sdk(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Code of the SDK that prints."""
    module = types.ModuleType("azure.ai.ml._uploads")
    vars(module).update(sys=sys, threading=threading)
    exec(UPLOAD, vars(module))  # noqa: S102 - in a module whose name is the SDK's
    prints: Callable[[], None] = getattr(module, request.param)
    return prints


def test_what_the_sdk_prints_is_not_shown_and_all_else_is(sdk: Callable[[], None], capsys: Captured) -> None:
    with hushed():
        print("ours")
        sdk()
    assert capsys.readouterr() == ("ours\n", "")
    sdk()
    assert capsys.readouterr() == ("bar 10%\n", "\x1b[39m\nbar20%")


def test_with_vv_it_is_shown(sdk: Callable[[], None], capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(quiet._state, "show", True)
    with hushed():
        sdk()
    assert capsys.readouterr().out == "bar 10%\n"


def test_another_thread_goes_on_printing(capsys: Captured) -> None:
    def prints() -> None:
        print("theirs")
        print("and this", file=sys.stderr)

    with hushed():
        thread = threading.Thread(target=prints)
        thread.start()
        thread.join()
    assert capsys.readouterr() == ("theirs\n", "and this\n")


def test_two_threads_that_end_in_the_order_they_began_leave_the_streams_alone() -> None:
    streams = sys.stdout, sys.stderr
    first, second = hushed(), hushed()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert (sys.stdout, sys.stderr) == streams


def test_many_threads_at_once_lose_nothing_and_show_nothing(sdk: Callable[[], None], capsys: Captured) -> None:
    def submit() -> None:
        for _ in range(50):
            with hushed():
                sdk()
                print("x", end="")

    streams = sys.stdout, sys.stderr
    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sys.stdout, sys.stderr) == streams
    assert capsys.readouterr() == ("x" * 200, "")


def test_a_stream_that_the_program_puts_in_place_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = io.StringIO()
    with hushed():
        monkeypatch.setattr("sys.stdout", theirs)
    assert sys.stdout is theirs


def test_a_log_handler_that_was_made_meanwhile_writes_afterwards(capsys: Captured) -> None:
    with hushed():
        handler = logging.StreamHandler()
    handler.emit(logging.makeLogRecord({"msg": "afterwards"}))
    assert capsys.readouterr().err == "afterwards\n"


class Absl(logging.StreamHandler):  # type: ignore[type-arg]
    """Closes its stream when it is shut, as absl's handler does, unless that is the process's own."""

    def close(self) -> None:
        if self.stream not in (sys.stdout, sys.stderr):
            self.stream.close()
        super().close()


def test_an_import_that_shuts_all_log_handlers_closes_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = io.StringIO()
    monkeypatch.setattr("sys.stderr", theirs)
    handler = Absl()
    with hushed():
        logging.shutdown([weakref.ref(handler)])
    assert not theirs.closed


def test_a_program_without_streams_can_be_hushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    with hushed():
        print("nowhere")
    assert sys.stdout is None
