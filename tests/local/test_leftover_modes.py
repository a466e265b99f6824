"""What steps leave behind them, by every way that it may take: the cache, a resumed run, a sweep, ``--out``."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from local_helpers import log_of, statuses, step, write_pipeline
from sweep_helpers import choice, log, sweep_step

from azdistill.cli.pull import PulledRun
from azdistill.client.client import MLClient
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan import downloads
from azdistill.local.run.listener import Listener
from azdistill.local.store.events import Event, RunState

Run = Callable[..., Finished]
SHELL = "cp /bin/sh {0} && chmod 6755 {0}"
FOLDER = {"o": {"type": "uri_folder"}}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def special(*roots: Path) -> list[str]:
    found = [path for root in roots for path in (root, *root.rglob("*"))]
    return [str(path) for path in found if not path.is_symlink() and path.stat().st_mode & 0o7000]


class Notes(Listener):
    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()

    def hear(self, event: Event, run: RunState) -> None:
        if event.kind in ("run_started", "run_resumed"):
            self.notes = event.fields["plan"].notes


def test_what_an_earlier_version_kept_is_cured_when_its_state_is_closed(run: Run, project: Path) -> None:
    jobs = {"a": step(SHELL.format("${{outputs.o}}"), outputs=("o",))}
    kept = Path(run(jobs).state.steps["a"].outputs["o"])
    kept.chmod(0o6555)
    (project / ".azdistill").chmod(0o755)
    again = run(jobs)
    assert statuses(again) == {"a": "cached"}
    assert (mode(kept), mode(project / ".azdistill")) == (0o555, 0o700)


def test_a_run_says_so_where_others_can_read_its_state(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine" / "pictures").mkdir(parents=True)
    (tmp_path / "mine").chmod(0o755)
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "mine"))
    told = Notes()
    run({"a": step("true")}, listeners=[told])
    assert [note for note in told.notes if "others can enter" in note]


def test_in_a_folder_of_the_users_own_nothing_of_ours_is_open_or_takes_its_group(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "mine"
    (home / "pictures").mkdir(parents=True)
    home.chmod(0o2755)
    monkeypatch.setenv("AZDISTILL_HOME", str(home))
    run({"a": step("true")})
    PulledRun("r", "n", "completed", 0.0, 0.0, {}, {}, {}, "w").save(home)
    downloads._keep(home / "downloads/a", "b", io.BytesIO(b"x"), "http://x")
    made = [path for path in home.iterdir() if path.is_dir() and path.name != "pictures"]
    assert {path.name: mode(path) for path in made} == {path.name: 0o700 for path in made}
    assert {"interpreters", "pulled", "downloads", "runs", "cache"} <= {path.name for path in made}
    assert special(*made) == []


def test_what_an_attempt_left_whose_runner_was_killed_is_cured_when_the_run_is_resumed(run: Run, project: Path) -> None:
    leave = f"mkdir ${{{{outputs.o}}}}/d; {SHELL.format('${{outputs.o}}/d/sh')}; exit 1"
    take = 'cp -a "$AZDISTILL_PREVIOUS_ATTEMPT/o/." ${{outputs.o}}'
    command = f'if [ "$AZDISTILL_PREVIOUS_ATTEMPT" ]; then {take}; else {leave}; fi'
    jobs = {"a": {**step(command), "outputs": FOLDER}}
    first = run(jobs)
    assert statuses(first) == {"a": "failed"}
    (left,) = project.rglob("attempts/1/outputs/o/d/sh")
    assert mode(left) & 0o7000 == 0
    # As a killed runner leaves it.
    left.chmod(0o6755)
    second = run(jobs, options=Options(resume="latest"))
    assert statuses(second) == {"a": "completed"}, log_of(second, "a")
    assert special(project / ".azdistill") == []


def test_the_best_trial_hands_on_no_special_bits(run: Run, project: Path) -> None:
    swept = sweep_step(log("1") + SHELL.format("${{outputs.o}}"), {"x": choice(1, 2)}, outputs=("o",))
    swept["outputs"] = {"o": "${{parent.outputs.o}}"}
    outputs = {"o": {"type": "uri_file"}}
    done = run({"s": swept}, outputs=outputs, options=Options(out=project / "out"))
    assert statuses(done) == {"s": "completed"}, done.error
    assert special(project / ".azdistill", project / "out") == []
    assert os.access(project / "out" / "o", os.X_OK)


@pytest.mark.parametrize("command", ["ln -s {0} {1}/sh", "ln {0} {1}/sh", "cp -a {0} {1}/sh", "ln {0} sh"])
def test_a_program_that_is_linked_into_an_output_is_copied_and_stays_what_it_is(
    command: str, run: Run, project: Path
) -> None:
    program = project / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o4755)
    place = "${{outputs.o}}"
    done = run({"a": {**step(f"{command.format(repr(str(program)), place)}; echo > {place}/f"), "outputs": FOLDER}})
    assert statuses(done) == {"a": "completed"}
    assert mode(program) == 0o4755
    assert special(project / ".azdistill") == []


def test_an_input_that_is_linked_into_an_output_does_not_become_read_only(run: Run, project: Path) -> None:
    (project / "data.txt").write_text("1")
    (project / "data.txt").chmod(0o644)
    jobs = {
        "a": step(
            "ln ${{inputs.d}} ${{outputs.o}}", outputs=("o",), inputs={"d": {"type": "uri_file", "path": "./data.txt"}}
        )
    }
    done = run(jobs)
    assert statuses(done) == {"a": "completed"}
    assert mode(project / "data.txt") == 0o644
    assert not Path(done.state.steps["a"].outputs["o"]).samefile(project / "data.txt")


def test_a_folder_of_the_users_on_another_disk_keeps_its_own_bits(run: Run, project: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk" / "p"
    disk.mkdir(parents=True)
    disk.chmod(0o2775)
    (project / ".azdistill").mkdir()
    (project / ".azdistill" / "datastores").mkdir()
    (project / ".azdistill" / "datastores" / "d").symlink_to(tmp_path / "disk")
    output = {"o": {"type": "uri_folder", "path": "azureml://datastores/d/paths/p"}}
    told = Notes()
    done = run({"a": {**step(SHELL.format("${{outputs.o}}/sh")), "outputs": output}}, listeners=[told])
    assert statuses(done) == {"a": "completed"}
    assert (mode(disk), mode(disk / "sh") & 0o7000) == (0o2775, 0)
    assert [note for note in told.notes if "leads out of the state folder" in note]


def test_the_clients_download_is_the_users_to_change(project: Path) -> None:
    path = write_pipeline(
        project / "pipeline.yml",
        {
            "a": {
                **step(f"mkdir ${{{{outputs.o}}}}/d; {SHELL.format('${{outputs.o}}/d/sh')}"),
                "outputs": {"o": "${{parent.outputs.o}}"},
            }
        },
        outputs=FOLDER,
    )
    client = MLClient.local(project, tracking=False)
    job = client.jobs.create_or_update(path)
    before = os.umask(0o022)
    try:
        for _ in range(2):
            client.jobs.download(job.name, download_path=project)
    finally:
        os.umask(before)
    got = project / "named-outputs" / "o"
    assert [mode(each) for each in (got, got / "d", got / "d" / "sh")] == [0o755, 0o755, 0o755]
