"""Mini-batches that are done are not run again by the next attempt of their step."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, statuses, step, write_pipeline
from test_parallel import a_step

from azdistill.local.in_step.parallel_journal import NAME, Journal
from azdistill.local.pipeline_run import Finished, Options

Run = Callable[..., Finished]
LATEST = Options(resume="latest")
OUTPUTS = {"out": {"type": "uri_file"}}
#: Notes each mini-batch beside the data, fails (or hangs) from the one that ``stop_at`` names on, while that is there.
NOTING = """
import os, time
def init(): pass
def run(mini_batch):
    with open("BASE/calls", "a") as calls:
        calls.write(os.path.basename(mini_batch[0]) + "\\n")
    stop = open("BASE/stop").read() if os.path.exists("BASE/stop") else ""
    if stop and os.path.basename(mini_batch[0]) >= stop:
        time.sleep(HANG)
        raise ValueError("not now")
    EXTRA
    return [open(path).read() for path in mini_batch]
"""


def noting(project: Path, *, hang: int = 0, extra: str = "pass", before: str = "", **more: Any) -> dict[str, Any]:
    script = before + NOTING.replace("BASE", str(project)).replace("HANG", str(hang)).replace("EXTRA", extra)
    settings = {"retry_settings": {"max_retries": 0, "timeout": 60}, "mini_batch_error_threshold": 0, **more}
    return {"a": a_step(project, script, 8, **settings)}


def calls(project: Path) -> list[str]:
    return (project / "calls").read_text().split()


def test_another_attempt_runs_only_what_the_one_before_did_not_finish(run: Run, project: Path) -> None:
    (project / "stop").write_text("004")
    assert statuses(run(noting(project), outputs=OUTPUTS)) == {"a": "failed"}
    assert calls(project) == ["000", "002", "004"]
    (project / "stop").unlink()
    again = run(noting(project), outputs=OUTPUTS, options=replace(LATEST, out=project / "out"))
    assert statuses(again) == {"a": "completed"}
    assert calls(project) == ["000", "002", "004", "004", "006"]
    assert (project / "out" / "out").read_text().split() == [str(number) for number in range(8)]
    assert "2 mini-batches were done by the previous attempt" in log_of(again, "a")
    assert not list((project / ".azdistill" / "cache").rglob(f"*{NAME}*"))


def test_what_was_taken_over_is_handed_on_again(run: Run, project: Path) -> None:
    for stop in ("002", "004"):
        (project / "stop").write_text(stop)
        run(noting(project), outputs=OUTPUTS, options=LATEST if stop == "004" else Options())
    (project / "stop").unlink()
    assert statuses(run(noting(project), outputs=OUTPUTS, options=LATEST)) == {"a": "completed"}
    assert calls(project) == ["000", "002", "002", "004", "004", "006"]


def test_a_killed_runner_costs_at_most_the_mini_batches_in_flight(run: Run, project: Path) -> None:
    (project / "stop").write_text("004")
    write_pipeline(project / "pipeline.yml", noting(project, hang=60), outputs=OUTPUTS)
    command = [sys.executable, "-m", "azdistill", "run", "pipeline.yml", "--no-tracking"]
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (project / "calls").exists() or "004" not in calls(project):
        assert time.monotonic() < until
        time.sleep(0.02)
    runner.kill()
    runner.wait()
    (project / "stop").unlink()
    assert statuses(run(project / "pipeline.yml", options=LATEST)) == {"a": "completed"}
    assert calls(project) == ["000", "002", "004", "004", "006"]


@pytest.mark.parametrize("when", ["run", "shutdown"])
def test_a_script_that_writes_files_of_its_own_runs_every_mini_batch(run: Run, project: Path, when: str) -> None:
    write = "open(os.path.join(sys.argv[1], name), 'w').close()"
    name = "name = os.path.basename(mini_batch[0])"
    shutdown = f"import sys\nseen = []\ndef shutdown():\n    for name in seen: {write}\n"
    extra = f"import sys; {name}; {write}" if when == "run" else f"{name}; seen.append(name)"
    jobs = noting(project, extra=extra, before=shutdown if when == "shutdown" else "")
    jobs["a"]["task"]["program_arguments"] = "'${{outputs.files}}'"
    jobs["a"]["outputs"]["files"] = {"type": "uri_folder"}
    (project / "stop").write_text("004")
    run(jobs, outputs=OUTPUTS)
    (project / "stop").unlink()
    again = run(jobs, outputs=OUTPUTS, options=LATEST)
    assert calls(project) == ["000", "002", "004", "000", "002", "004", "006"]
    assert sorted(path.name for path in Path(again.state.steps["a"].outputs["files"]).iterdir()) == [
        *("000", "002", "004", "006")
    ]


def test_data_in_a_store_that_changed_meanwhile_is_run_whole(run: Run, project: Path) -> None:
    kept = {"type": "uri_folder", "path": "azureml://datastores/workspaceblobstore/paths/azdistill/kept"}
    fill = step("cp ${{inputs.data}}/* ${{outputs.kept}}/", inputs={"data": {"type": "uri_folder", "path": "./data"}})
    jobs = {"fill": fill | {"outputs": {"kept": kept}, "tags": {"azdistill.store": "kept"}}, **noting(project)}
    jobs["a"]["inputs"]["data"] = "${{parent.jobs.fill.outputs.kept}}"
    (project / "stop").write_text("004")
    run(jobs, outputs=OUTPUTS)
    (project / "stop").unlink()
    folder = next((project / ".azdistill").rglob("kept"))
    (folder / "000").write_text("changed")
    assert statuses(run(jobs, outputs=OUTPUTS, options=LATEST)) == {"fill": "cached", "a": "completed"}
    assert calls(project) == ["000", "002", "004", "000", "002", "004", "006"]


def test_a_journal_cut_at_any_byte_gives_whole_answers_only(tmp_path: Path) -> None:
    batches = [{"count": 1}, {"count": 1}]
    first, before, now = tmp_path / "first", tmp_path / "before", tmp_path / "now"
    for folder in (first, before, now):
        folder.mkdir()
    journal = Journal(str(first), None, None)
    journal.begin(batches)
    answers = {0: {"count": 1, "lines": ["é"]}, 1: {"count": 1, "lines": ["b"]}}
    for number, answer in answers.items():
        journal.add(number, answer)
    whole = (first / NAME).read_bytes()
    seen = set()
    for cut in range(len(whole) + 1):
        (before / NAME).write_bytes(whole[:cut])
        found = Journal(str(now), str(before), None).begin(batches)
        assert found == {number: answers[number] for number in found}
        seen.add(len(found))
    assert seen == {0, 1, 2}
