"""How a step ends: its errors, its exit code (sysexits).

StepError            1   anything that has no better name
├── NotFinite        1   a number that is NaN or infinite where a model, a loss or a distribution is made of it
├── BadData         65   rows that cannot be used
├── NoInput         66   an input that cannot be opened
├── Unavailable     69   a service that cannot be reached, or fails too often
├── TryAgain        75   a service that asks to come back later
├── Refused         77   a service that refuses the credentials
└── BadConfig       78   the value of an input
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from common import manifest
from common.secrets import redact

_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
#: What a terminal would act on; a server's words are shown, not obeyed.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class StepError(Exception):
    """What ends a step early. ``str()`` is for the user; ``code`` is a fixed word; ``exit_code`` follows sysexits."""

    exit_code = 1
    code = "failed"


class NotFinite(StepError):
    """A number that is NaN or infinite where a model, a loss or a distribution is made of it."""

    code = "not_finite"


class BadData(StepError):
    """Rows that cannot be used."""

    exit_code = 65
    code = "bad_data"


class NoInput(StepError):
    """An input that cannot be opened."""

    exit_code = 66
    code = "no_input"


class Unavailable(StepError):
    """A service that cannot be reached, or fails too often."""

    exit_code = 69
    code = "unavailable"


class TryAgain(StepError):
    """A service that asks to come back later."""

    exit_code = 75
    code = "try_again"


class Refused(StepError):
    """A service that refuses the credentials."""

    exit_code = 77
    code = "refused"


class BadConfig(StepError):
    """The value of an input that cannot be."""

    exit_code = 78
    code = "bad_config"


class Interrupted(StepError):
    """Stopped by a signal, with everything written that was done by then."""

    exit_code = 130
    code = "interrupted"


def say(text: str) -> None:
    """One line to stderr, without the value of any secret, and without control characters."""
    print(_CONTROL.sub("\ufffd", redact(text)), file=sys.stderr, flush=True)


def run_step(main: Callable[[], None]) -> NoReturn:
    """Run ``main`` and end the process: a StepError becomes ``error[code]: message`` on stderr and its exit code."""
    try:
        main()
        _keep_manifest()
    except StepError as error:
        say(f"error[{error.code}]: {error}")
        _end(error.exit_code)
    except KeyboardInterrupt:
        say(f"error[{Interrupted.code}]: stopped before the end")
        _end(Interrupted.exit_code)
    except OSError as error:
        # A full disk or a folder that may not be written; anything else of the system is told with its place.
        if error.errno not in _STORAGE:
            _tell_and_end()
            raise
        say(f"error[{StepError.code}]: cannot write {error.filename or 'the outputs'}: {error.strerror}")
        _end(StepError.exit_code)
    except Exception:
        _tell_and_end()
        raise
    _end(0)


def _one_of_many() -> bool:
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def _end(code: int) -> NoReturn:
    if _one_of_many():
        # The destructor of a group of processes joins threads that wait for the interpreter's lock, which whoever
        # runs the destructor holds: torch 2.13 hangs there now and then. Nothing is left to do; nothing is torn down.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
    sys.exit(code)


def _tell_and_end() -> None:
    """What the interpreter would do with an exception that nobody expected, in a process that is not torn down."""
    if _one_of_many():
        say(traceback.format_exc().rstrip())
        _end(1)


def _keep_manifest() -> None:
    """Write down what the step has made, where somebody may download it; not being able to costs the check only."""
    if not manifest.wanted():
        return
    try:
        manifest.write_manifest()
    except OSError as error:
        say(f"warning: what this step wrote cannot be listed in {manifest.PLACE}: {error}")
