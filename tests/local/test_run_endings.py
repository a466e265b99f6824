"""Whatever a step writes, and whenever a signal comes: the run's end is told, and nothing half done is left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, statuses, step

from azdistill import redact
from azdistill.errors import Interrupted, MachineError
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.run.attempt import redact_file, settle, strange
from azdistill.local.run.listener import Tail
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs

Run = Callable[..., Finished]
JOBS = {
    "a": {
        "type": "command",
        "component": step("echo one > ${{outputs.x}}", outputs=("x",)),
        "outputs": {"x": "${{parent.outputs.x}}"},
    }
}
DECLARED: dict[str, Any] = {"outputs": {"x": {"type": "uri_file"}}}
METRIC = '{"kind": "metric", "name": "m%s", "value": %s}'


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_outputs_are_delivered_stops_that(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def copied(source: Path, target: Path) -> None:
        target.write_text("half")
        os.kill(os.getpid(), number)

    monkeypatch.setattr("azdistill.local.outputs.deliver.copy_out", copied)
    finished = run(JOBS, options=Options(out=project / "out"), **DECLARED)
    assert isinstance(finished.error, Interrupted)
    assert [state.status for state in list_runs(find_home())] == ["canceled"]
    assert list((project / "out").iterdir()) == []
    monkeypatch.undo()
    monkeypatch.chdir(project)
    again = run(JOBS, options=Options(out=project / "out", resume="latest"), **DECLARED)
    assert (again.state.status, (project / "out" / "x").read_text()) == ("completed", "one\n")


def test_a_delivery_that_fails_for_a_reason_unforeseen_ends_the_run_too(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(source: Path, target: Path) -> None:
        raise OSError(40, "too many levels")

    monkeypatch.setattr("azdistill.local.outputs.deliver.copy_out", copied)
    error = run(JOBS, options=Options(out=project / "out"), **DECLARED).error
    assert isinstance(error, MachineError)
    assert error.code == "AZD310"
    (state,) = list_runs(find_home())
    assert (state.status, state.error) == ("failed", f"cannot write to --out {project / 'out'}: too many levels")


@pytest.mark.parametrize("thing", ["mkdir {0}", "mkfifo {0}", "ln -s /etc/hostname {0}"])
def test_something_else_in_place_of_the_metrics_file_fails_its_step(run: Run, thing: str) -> None:
    spoils = step('rm -f "$AZDISTILL_METRICS_FILE"; ' + thing.format('"$AZDISTILL_METRICS_FILE"') + "; sleep 0.3")
    finished = run({"a": spoils, "b": step("true")}, options=Options(keep_going=True))
    assert statuses(finished) == {"a": "failed", "b": "completed"}
    assert "replaced the file of its metrics" in log_of(finished, "a")


def test_an_artifact_of_an_impossible_name_is_passed_over(run: Run, project: Path) -> None:
    from azdistill.local.tracking.listener import TrackingListener

    class Quiet:
        def __getattr__(self, name: str) -> Any:
            return lambda *args, **more: None

    record = '{"kind": "artifact", "path": "%s"}' % ("x" * 300)
    job = step(f"echo '{record}' >> \"$AZDISTILL_METRICS_FILE\"")
    listener = TrackingListener(Quiet(), "here")  # type: ignore[arg-type]
    assert statuses(run({"a": job}, listeners=[listener])) == {"a": "completed"}


def test_metrics_of_which_the_last_has_no_line_end_are_all_read(run: Run) -> None:
    job = step(f"printf '%s\\n%s' '{METRIC % (1, 1)}' '{METRIC % (2, 2)}' >> \"$AZDISTILL_METRICS_FILE\"")
    for status in ("completed", "cached"):
        finished = run({"a": job})
        assert statuses(finished) == {"a": status}
        assert finished.state.steps["a"].metrics == {"m1": 1, "m2": 2}


@pytest.mark.parametrize("name", ["done", "total", "rate", "eta"])
@pytest.mark.parametrize("value", ['"5 of 10"', "[1]", "NaN", "-Infinity", "1" + 400 * "0"])
def test_progress_that_cannot_be_drawn_is_no_record(tmp_path: Path, name: str, value: str) -> None:
    path = tmp_path / "metrics.jsonl"
    bad = f'{{"kind": "progress", "{name}": {value}}}'
    good = '{"kind": "progress", "done": 5, "total": 1.5, "rate": null, "text": "asking"}'
    path.write_text(f"{bad}\n{good}\n")
    assert Tail(path).read() == [json.loads(good)]
    assert strange(path)[0].startswith("1 line of the metrics file passed over, the first is line 1: ")


def test_a_reader_goes_on_in_a_file_whose_secrets_were_hidden_meanwhile(tmp_path: Path) -> None:
    redact.register("a-very-long-secret-that-shortens-the-file")
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    path.write_text('{"kind": "tag", "name": "t", "value": "a-very-long-secret-that-shortens-the-file"}\n')
    assert len(tail.read()) == 1
    with path.open("a") as file:
        file.write(METRIC % (1, 1) + "\n" + METRIC % (2, 2))
    assert settle(path) == ""
    assert "secret" not in path.read_text()
    assert [record["name"] for record in tail.read()] == ["m1", "m2"]
    redact.forget()


def test_metrics_of_a_runner_that_was_killed_are_redacted_by_the_next_attempt(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "canary-0123456789")
    job = step(f"test '${{{{inputs.key}}}}' && test -e '{project}/ok'", inputs={"key": "env:SOME_KEY"})
    first = run({"a": job})
    metrics = first.state.folder / "steps" / "a" / "attempts" / "1" / "metrics.jsonl"
    metrics.write_text('{"kind": "tag", "name": "t", "value": "canary-0123456789"}\n')
    (project / "ok").touch()
    assert statuses(run({"a": job}, options=Options(resume="latest"))) == {"a": "completed"}
    assert "canary" not in metrics.read_text()


def test_secrets_are_hidden_when_the_runner_itself_fails(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azdistill.errors import MachineError
    from azdistill.local.runners.process import ProcessRunner

    monkeypatch.setenv("SOME_KEY", "canary-0123456789")

    def fails(self: ProcessRunner, job: Any, *_: Any) -> Any:
        Path(job.environment["AZDISTILL_METRICS_FILE"]).write_text("canary-0123456789")
        raise MachineError("gone", code="AZD395")

    monkeypatch.setattr(ProcessRunner, "run", fails)
    finished = run({"a": step("test ${{inputs.key}}", inputs={"key": "env:SOME_KEY"})})
    assert statuses(finished) == {"a": "failed"}
    assert not any("canary" in path.read_text() for path in (finished.state.folder / "steps").rglob("*.jsonl"))


def test_redacting_keeps_lines_lines(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_text("one\ntwo secret-word\n\nthree")
    redact.register("secret-word")
    redact_file(path)
    redact.forget()
    assert path.read_text() == "one\ntwo ***\n\nthree"
    assert not list(tmp_path.glob(".*"))
