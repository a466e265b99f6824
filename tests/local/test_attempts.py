"""What one attempt of a step hands to the next, and which failures have a next one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, statuses, step

from azdistill.errors import Interrupted, MachineError
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.run.listener import Listener
from azdistill.local.run.result import is_passing
from azdistill.local.runners.docker.engine import engine_errors
from azdistill.local.runners.process import ProcessRunner
from azdistill.local.store.events import Event, RunState

Run = Callable[..., Finished]
LATEST = Options(resume="latest")


def test_what_reads_a_standing_folder_runs_again_when_that_was_filled_again(run: Run, project: Path) -> None:
    folder = {"type": "uri_folder"}
    fill = step("echo x >> ${{outputs.kept}}/lines", is_deterministic=False) | {"outputs": {"kept": folder}}
    given = {"kept": folder}
    count = step("cat ${{inputs.kept}}/lines > ${{outputs.o}}", outputs=("o",), inputs=given, is_deterministic=False)
    kept = folder | {"path": "azureml://datastores/workspaceblobstore/paths/kept"}
    jobs: dict[str, Any] = {
        "fill": {"type": "command", "component": fill, "outputs": {"kept": kept}},
        "count": {"type": "command", "component": count, "inputs": {"kept": "${{parent.jobs.fill.outputs.kept}}"}},
        "last": step("exit 3", inputs={"o": "${{parent.jobs.count.outputs.o}}"}),
    }
    run(jobs)
    assert statuses(run(jobs, options=LATEST)) == {"fill": "cached", "count": "cached", "last": "failed"}
    fill["command"] += " # again"
    again = run(jobs, options=LATEST)
    assert statuses(again) == {"fill": "completed", "count": "completed", "last": "failed"}
    assert Path(again.state.steps["count"].outputs["o"]).read_text() == "x\nx\n"
    assert statuses(run(jobs, options=LATEST)) == {"fill": "cached", "count": "cached", "last": "failed"}


def test_a_journal_is_handed_on_read_only_and_only_to_the_same_command(run: Run) -> None:
    job = step('echo "got $AZDISTILL_PREVIOUS_ATTEMPT"; echo first > ${{outputs.o}}/1; exit 3')
    job["outputs"] = {"o": {"type": "uri_folder"}}
    run({"a": job})
    second = run({"a": job}, options=LATEST)
    before = second.state.folder / "steps" / "a" / "attempts" / "1" / "outputs"
    assert f"got {before}\n" in log_of(second, "a")
    assert not (before / "o" / "1").stat().st_mode & 0o222
    third = run({"a": job | {"command": job["command"] + " # other"}}, options=LATEST)
    assert "got \n" in log_of(third, "a")


def test_a_timeout_is_not_tried_again_whatever_the_step_then_ends_with(run: Run) -> None:
    job = step("trap 'exit 75' TERM; sleep 60 & wait", limits={"timeout": 1})
    finished = run({"a": job}, options=Options(retries=3))
    assert statuses(finished) == {"a": "failed"}
    assert finished.state.steps["a"].attempts == 1


def test_a_wait_for_the_next_attempt_ends_with_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azdistill.local.run.result._FIRST", 3600.0)
    monkeypatch.setattr("azdistill.local.run.result._LONGEST", 3600.0)

    class Cancel(Listener):
        def hear(self, event: Event, _: RunState) -> None:
            if event.kind == "line" and "trying again" in event.fields["text"]:
                os.kill(os.getpid(), signal.SIGINT)

    finished = run({"a": step("exit 75")}, options=Options(retries=3), listeners=[Cancel()])
    assert finished.state.steps["a"].attempts == 1
    assert (statuses(finished), finished.state.status) == ({"a": "canceled"}, "canceled")
    assert isinstance(finished.error, Interrupted)


@pytest.mark.parametrize(("code", "attempts"), [("AZD395", 2), ("AZD394", 1)])
def test_an_error_of_the_machine_is_tried_again_where_it_passes(
    run: Run, monkeypatch: pytest.MonkeyPatch, code: str, attempts: int
) -> None:
    monkeypatch.setattr("azdistill.local.run.result._FIRST", 0.01)
    runs, failed = ProcessRunner.run, []

    def once(self: ProcessRunner, *given: Any) -> Any:
        if not failed:
            failed.append(code)
            raise MachineError("this time", code=code)
        return runs(self, *given)

    monkeypatch.setattr(ProcessRunner, "run", once)
    finished = run({"a": step("true")}, options=Options(retries=2))
    assert finished.state.steps["a"].attempts == attempts
    assert statuses(finished) == {"a": "completed" if attempts == 2 else "failed"}


@pytest.mark.parametrize(("status", "again"), [(None, True), (503, True), (500, False), (404, False), (409, False)])
def test_an_engine_that_does_not_answer_is_asked_again(status: int | None, again: bool) -> None:
    errors, requests = pytest.importorskip("docker.errors"), pytest.importorskip("requests")
    response = requests.Response()
    response.status_code = status or 0
    with pytest.raises(MachineError) as caught, engine_errors("creating a container"):
        raise errors.APIError("said", response=response) if status else requests.ConnectionError("no answer")
    assert is_passing(caught.value) is again
