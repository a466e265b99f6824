"""What tests of several parts share: a teacher on loopback, and where real data lies."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Whether a change passes must not hang on a draw: all draw the same examples until the test itself is changed.
# `pytest --hypothesis-profile default` draws others. Nor must it hang on how busy the machine is.
_slow = [hypothesis.HealthCheck.too_slow]
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=_slow)
hypothesis.settings.load_profile("repeatable")

# A shell that runs the tests in the background has them ignore Ctrl-C, and with them every program that they try.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# MLflow configures logging when it is imported, which shuts every handler of the process, absl's together with the
# stream that stderr was when absl was imported: pytest's, which it needs to the end.
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")

pytest_plugins = ["stream_guard", "tiers"]

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "components"))

from loopback_teacher import LoopbackTeacher  # noqa: E402  (after the path is set)


@pytest.fixture
def teacher() -> Iterator[Callable[..., LoopbackTeacher]]:
    """``teacher(answers, faults=0.2)``: a teacher on loopback that is stopped when the test ends."""
    running: list[LoopbackTeacher] = []

    def start(answers: Any, **options: Any) -> LoopbackTeacher:
        running.append(LoopbackTeacher(answers, **options).__enter__())
        return running[-1]

    yield start
    for one in running:
        one.__exit__(None, None, None)


@pytest.fixture
def shared() -> Path:
    """The folder of real data; the test is skipped where it is not."""
    folder = Path(os.environ.get("AZDISTILL_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("real data is looked for in $AZDISTILL_SHARED (default: ../shared)")
    return folder
