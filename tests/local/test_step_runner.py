"""What runs a step is one short way: few files lie between its one method and the process that it starts."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from local_helpers import step, write_pipeline

import azdistill
from azdistill import aml
from azdistill.errors import UserError
from azdistill.local.cache.entries import Cache
from azdistill.local.cache.hashes import Hashes
from azdistill.local.cache.key import key_of
from azdistill.local.cache.seal import open_seal
from azdistill.local.plan.planner import plan_pipeline
from azdistill.local.run.code_taking import take_all
from azdistill.local.run.context import RunContext
from azdistill.local.run.interpreter import find_interpreter
from azdistill.local.run.step import StepRunner
from azdistill.local.runners.base import Cancellation, GuardProcess
from azdistill.local.runners.process import ProcessRunner
from azdistill.local.store.events import Event
from azdistill.local.store.home import Home, find_home
from azdistill.local.store.runs import RunLog

PACKAGE = Path(azdistill.__file__).parent


class Entered:
    """The files of ours that a thread enters, and the threads that it starts, until a process is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: set[str] = set()
        send = GuardProcess.send

        def start(*arguments: Any, **more: Any) -> Any:
            self.end()
            return send(*arguments, **more)

        monkeypatch.setattr(GuardProcess, "send", start)

    def begin(self) -> None:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def end(self) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            self.files.add(path.relative_to(PACKAGE).as_posix())


@pytest.fixture
def home(project: Path) -> Home:
    return find_home().prepare()


def context_of(home: Home, file: Path, log: RunLog, runner: ProcessRunner) -> RunContext:
    plan = plan_pipeline(aml.load_pipeline(file), home)
    hashes = Hashes(home.hashes)
    code, _ = take_all(home, hashes, log.folder, plan.steps.values(), print)
    return RunContext(
        plan=plan,
        cache=Cache(home, hash_of=hashes.file),
        hashes=hashes,
        code=code,
        interpreters=dict.fromkeys(plan.steps, find_interpreter(home)),
        log=log,
        runner=runner,
        cancellation=Cancellation(),
        counted={},
        seal=open_seal(home),
        inherited={},
    )


def test_from_the_step_runner_to_the_process_at_most_18_files_are_entered(
    home: Home, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of a step that is not in the cache. What listeners do with what they hear is beside it."""
    (project / "code").mkdir()
    (project / "code" / "copy.sh").write_text('cat "$1" > "$2"\n')
    (project / "rows.txt").write_text("a row\n")
    copy = step("sh copy.sh '${{inputs.rows}}' '${{outputs.made}}'", outputs=("made",), code="./code")
    rows = {"rows": {"type": "uri_file", "path": "./rows.txt"}}
    file = write_pipeline(project / "pipeline.yml", {"a": copy | {"inputs": rows}})
    events: list[Event] = []
    with closing(RunLog(home, "test")) as log, closing(ProcessRunner(f"AZUREML_ROOT_RUN_ID={log.run_id}")) as runner:
        context = context_of(home, file, log, runner)
        steps, entered = StepRunner(context, events.append), Entered(monkeypatch)
        entered.begin()
        result = steps.run(context.plan.steps["a"], {})
        assert sys.getprofile() is None
        again = steps.run(context.plan.steps["a"], {})
    assert (result.status, again.status) == ("completed", "cached")
    assert result.outputs["made"].read_text() == "a row\n"
    assert "step_started" in [event.kind for event in events]
    assert {"local/run/step.py", "local/run/prepare.py", "local/cache/key.py"} < entered.files
    assert len(entered.files) <= 18, "\n".join(sorted(entered.files))


def test_an_input_that_is_gone_is_told_before_an_image_is_built(home: Home, project: Path) -> None:
    class Containers:
        """Where the steps run, were it asked."""

        def fingerprint(self, step: Any) -> dict[str, str]:
            raise AssertionError("an image is built")

    (project / "rows.txt").write_text("a row\n")
    reads = {"inputs": {"rows": {"type": "uri_file", "path": "./rows.txt"}}}
    file = write_pipeline(project / "pipeline.yml", {"a": step("cat '${{inputs.rows}}'") | reads})
    with closing(RunLog(home, "test")) as log, closing(ProcessRunner(f"AZUREML_ROOT_RUN_ID={log.run_id}")) as runner:
        containers: Any = Containers()
        context = replace(context_of(home, file, log, runner), containers=containers)
        (project / "rows.txt").unlink()
        with pytest.raises(UserError, match="is not there any more") as raised:
            key_of(context, context.plan.steps["a"], {})
    assert raised.value.code == "AZD345"


def test_the_step_runner_has_one_public_method_and_its_context_never_changes(home: Home, project: Path) -> None:
    file = write_pipeline(project / "pipeline.yml", {"a": step("true")})
    public: list[tuple[str, Callable[..., Any]]] = inspect.getmembers(StepRunner, inspect.isfunction)
    assert [name for name, _ in public if not name.startswith("_")] == ["run"]
    with closing(RunLog(home, "test")) as log, closing(ProcessRunner(f"AZUREML_ROOT_RUN_ID={log.run_id}")) as runner:
        context = context_of(home, file, log, runner)
        with pytest.raises(FrozenInstanceError):
            context.retries = 3  # type: ignore[misc]
