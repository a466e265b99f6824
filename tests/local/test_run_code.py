"""A run owns its code: what is edited, replaced or removed after its start changes nothing in it."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from local_helpers import ENVIRONMENT, log_of, no_cache, statuses, step, write_pipeline
from sweep_helpers import KEEP, choice, log, sweep_step

from azdistill import aml
from azdistill.cli import cli as program
from azdistill.errors import UserError
from azdistill.local import in_step
from azdistill.local.cache.code_store import CodeStore
from azdistill.local.pipeline_run import Finished, Options, run_pipeline
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs
from azdistill.trees import stat_of

Run = Callable[..., Finished]
RESUMED = Options(resume="latest")


def output(finished: Finished, name: str) -> str:
    """What the output ``o`` of a step holds."""
    return Path(finished.state.steps[name].outputs["o"]).read_text()


def code_of(project: Path, **files: str) -> str:
    """A folder of shell scripts, by their names without the ending."""
    (project / "code").mkdir(exist_ok=True)
    for name, text in files.items():
        (project / "code" / f"{name}.sh").write_text(text)
    return "./code"


def stored() -> dict[str, os.stat_result]:
    """The copies of code in the state folder, by content."""
    return {path.read_text(): path.stat() for path in find_home().code.glob("*/*")}


def notes_of(run: Run, jobs: dict[str, Any], options: Options) -> list[str]:
    """What is said of a run that is made."""
    said: list[str] = []

    class Listener:
        def hear(self, event: Any, run: Any) -> None:
            if event.kind in ("run_started", "run_resumed"):
                said.extend(event.fields["plan"].notes)

    run(jobs, options=options, listeners=[Listener()])
    return [note for note in said if "code" in note or "written" in note]


def edits(project: Path, text: str, command: str = "true") -> dict[str, Any]:
    """A step that writes ``text`` to the user's own ``code/b.sh``."""
    return step(f"{command}; echo '{text}' > '{project}/code/b.sh'; touch ${{{{outputs.o}}}}", outputs=("o",))


def follows(command: str = "bash b.sh > ${{outputs.o}}", **more: Any) -> dict[str, Any]:
    """A step that is run after the step ``a``."""
    return step(command, outputs=("o",), code="./code", inputs={"a": "${{parent.jobs.a.outputs.o}}"}) | more


def test_code_that_is_edited_while_a_run_goes_on_is_the_code_of_the_next_run(run: Run, project: Path) -> None:
    code = code_of(project, a="echo V1", b="echo V1")
    edit = f"bash a.sh > ${{{{outputs.o}}}}; for f in a b; do echo echo V2 > '{project}/code/'$f.sh; done"
    both = 'cat "${{inputs.a}}" - > "${{outputs.o}}" < <(bash b.sh)'
    jobs = {"a": step(edit, outputs=("o",), code=code), "b": follows(both)}
    assert output(run(jobs), "b") == "V1\nV1\n"
    again = run(jobs)
    assert statuses(again) == {"a": "completed", "b": "completed"}
    assert output(again, "b") == "V2\nV2\n"


@pytest.mark.parametrize("how", ["rewritten", "replaced", "removed"])
def test_code_that_changes_while_it_is_copied_is_never_cached_as_what_it_was(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    code = code_of(project, aa="true", bb="true", zz="echo OLD")
    jobs = {"a": step("bash zz.sh > ${{outputs.o}} || echo GONE > ${{outputs.o}}", outputs=("o",), code=code)}
    zz, copy = project / "code" / "zz.sh", CodeStore.copy
    for moment in ("aa.sh", "bb.sh", "zz.sh"):
        zz.write_text("echo OLD")

        def changing(store: CodeStore, path: Path, moment: str = moment) -> Any:
            copied = copy(store, path)
            if path.name == moment and zz.exists() and zz.read_text() == "echo OLD":
                zz.unlink() if how != "rewritten" else None
                zz.write_text("echo NEW") if how != "removed" else None
            return copied

        monkeypatch.setattr(CodeStore, "copy", changing)
        changed = run(jobs)
        monkeypatch.setattr(CodeStore, "copy", copy)
        assert output(changed, "a") == ("GONE\n" if how == "removed" else "NEW\n")
    zz.write_text("echo OLD")
    original = run(jobs)
    assert (statuses(original), output(original, "a")) == ({"a": "completed"}, "OLD\n")


def test_steps_that_share_an_include_have_it_of_one_time(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "common"):
        (project / name).mkdir()
        (project / name / "f.txt").write_text("V1\n")
    (project / "pyproject.toml").touch()
    jobs = {}
    for name in ("one", "two"):
        component = {"name": name, "type": "command", "command": "cat common/f.txt > ${{outputs.o}}"}
        component |= {"environment": ENVIRONMENT, "outputs": {"o": {"type": "uri_file"}}}
        component |= {"code": f"./{name}", "additional_includes": ["./common"]}
        (project / f"{name}.yml").write_text(yaml.safe_dump(component))
        jobs[name] = {"type": "command", "component": f"./{name}.yml"}
    copy = CodeStore.copy

    def changing(store: CodeStore, path: Path) -> Any:
        if path.parent.name == "two":
            (project / "common" / "f.txt").write_text("V2\n")
        return copy(store, path)

    monkeypatch.setattr(CodeStore, "copy", changing)
    finished = run(jobs)
    assert (output(finished, "one"), output(finished, "two")) == ("V2\n", "V2\n")


def test_code_that_is_written_all_the_time_is_taken_as_it_was_and_told(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, copy = code_of(project, b="echo 0"), CodeStore.copy
    versions = [0]

    def writing(store: CodeStore, path: Path) -> Any:
        copied = copy(store, path)
        versions.append(versions[-1] + 1)
        path.write_text(f"echo {versions[-1]}")
        return copied

    monkeypatch.setattr(CodeStore, "copy", writing)
    jobs = {"a": step("bash b.sh > ${{outputs.o}}", outputs=("o",), code=code)}
    (note,) = notes_of(run, jobs, Options())
    assert note.endswith("b.sh is written all the time: the run has taken what was there")
    (latest,) = list_runs(find_home())
    assert int(Path(latest.steps["a"].outputs["o"]).read_text()) == versions[-1] - 1


def test_code_that_vanishes_whenever_it_is_copied_is_told(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanishing(store: CodeStore, path: Path) -> Any:
        raise FileNotFoundError(2, "No such file", str(path))

    monkeypatch.setattr(CodeStore, "copy", vanishing)
    with pytest.raises(UserError, match=r"vanishes while it is copied: .*b\.sh") as caught:
        run({"a": step("true", code=code_of(project, b="echo"))})
    assert caught.value.code == "AZD320"
    assert list_runs(find_home()) == []


def test_each_content_is_copied_once_for_all_steps_and_runs(run: Run, project: Path) -> None:
    code_of(project, a="same", b="same", c="other")
    os.chmod(project / "code" / "c.sh", 0o755)
    jobs = {name: step("bash b.sh || true", code="./code") for name in "xyz"}
    run(jobs)
    copies = stored()
    assert copies.keys() == {"same", "other"}
    run(jobs)
    find_home().hashes.unlink()
    run(jobs)
    # Not by the inode alone: one that was freed is soon used again.
    assert {text: stat_of(copy) for text, copy in stored().items()} == {
        text: stat_of(copy) for text, copy in copies.items()
    }
    assert list((find_home().cache / "tmp").iterdir()) == []


def test_runs_that_take_the_same_code_at_once_do_not_disturb_each_other(project: Path) -> None:
    code_of(project, **{f"s{number}": f"echo {number}" for number in range(20)})
    jobs = {f"s{number}": step(f"bash s{number}.sh > ${{{{outputs.o}}}}", outputs=("o",)) for number in range(3)}
    jobs = {name: job | {"code": "./code"} for name, job in jobs.items()}
    pipeline = aml.load_pipeline(write_pipeline(project / "pipeline.yml", jobs))
    finished: list[Finished] = []
    threads = [threading.Thread(target=lambda: finished.append(run_pipeline(pipeline, no_cache))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [output(each, f"s{number}") for each in finished for number in range(3)] == ["0\n", "1\n", "2\n"] * 4
    assert len(stored()) == 20
    assert list((find_home().cache / "tmp").iterdir()) == []


def test_a_copy_is_a_file_of_its_own_that_nobody_may_write_to_or_gain_by(run: Run, project: Path) -> None:
    code = code_of(project, a="stat -c '%a %h' a.sh")
    os.chmod(project / "code" / "a.sh", 0o6755)
    finished = run({"a": step("bash a.sh", code=code)})
    (copy,) = stored().values()
    assert (copy.st_mode & 0o7777, copy.st_nlink) == (0o444, 1)
    assert copy.st_ino != (project / "code" / "a.sh").stat().st_ino
    assert log_of(finished, "a") == "755 1\n"


def test_a_step_cannot_change_the_code_of_another(run: Run, project: Path) -> None:
    code = code_of(project, b="echo GOOD")
    spoil = step("echo echo BAD > b.sh; touch ${{outputs.o}}", outputs=("o",), code=code)
    assert output(run({"a": spoil, "b": follows()}), "b") == "GOOD\n"


def test_another_attempt_has_the_code_of_the_first(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azdistill.local.run.step.pause_before", lambda retried: 0.0)
    code = code_of(project, b="echo V1")
    once = f"bash b.sh; echo echo V2 > '{project}/code/b.sh'; mkdir '{project}/tried' && exit 75; true"
    finished = run({"a": step(once, code=code)}, options=Options(retries=1))
    assert finished.state.steps["a"].attempts == 2
    assert log_of(finished, "a").splitlines()[0] == "V1"


def test_the_trials_of_a_sweep_have_the_code_of_the_runs_start(run: Run, project: Path) -> None:
    code = code_of(project, b="echo V1")
    command = f"{log()}bash b.sh; echo echo V2 > '{project}/code/b.sh'; {KEEP}"
    finished = run({"s": sweep_step(command, {"x": choice(1, 2, 3)}, trial={"code": code})})
    trials = finished.state.steps["s"].trials.values()
    assert [Path(trial.log).read_text() for trial in trials if trial.log] == ["V1\n"] * 3


def test_our_own_scripts_are_those_of_the_runs_start_too(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = project / "installed"
    scripts.mkdir()
    for script in Path(in_step.__file__).parent.glob("*.py"):
        (scripts / script.name).write_bytes(script.read_bytes())
    monkeypatch.setattr(in_step, "__file__", str(scripts / "__init__.py"))
    code_of(project, b="echo rank $RANK")
    upgrade = step(f"echo exit 1 > '{scripts}/launch.py'; touch ${{{{outputs.o}}}}", outputs=("o",))
    twice = {"distribution": {"type": "pytorch", "process_count_per_instance": 2}}
    finished = run({"a": upgrade, "b": follows("bash b.sh; touch ${{outputs.o}}") | twice})
    assert sorted(log_of(finished, "b").splitlines()) == ["[rank 0] rank 0", "[rank 1] rank 1"]


def test_includes_and_archives_are_of_the_runs_start(run: Run, project: Path) -> None:
    (project / "pyproject.toml").touch()
    for folder in ("code", "common", "assets"):
        (project / folder).mkdir()
        (project / folder / "f.txt").write_text(f"{folder} V1\n")
    component = {
        "name": "use",
        "type": "command",
        "command": "cat f.txt common/f.txt > ${{outputs.o}}; cp assets.zip ${{outputs.z}}; : ${{inputs.a}}",
        "environment": ENVIRONMENT,
        "code": "./code",
        "additional_includes": ["./common", "./assets.zip"],
        "inputs": {"a": {"type": "uri_file"}},
        "outputs": {"o": {"type": "uri_file"}, "z": {"type": "uri_file"}},
    }
    (project / "use.yml").write_text(yaml.safe_dump(component))
    edit = f"for f in code common assets; do echo V2 > '{project}/'$f/f.txt; done; touch ${{{{outputs.o}}}}"
    use = {"type": "command", "component": "./use.yml", "inputs": {"a": "${{parent.jobs.a.outputs.o}}"}}
    finished = run({"a": step(edit, outputs=("o",)), "b": use})
    assert output(finished, "b") == "code V1\ncommon V1\n"
    with zipfile.ZipFile(finished.state.steps["b"].outputs["z"]) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"assets/f.txt": b"assets V1\n"}


def test_a_link_is_copied_as_what_it_leads_to_at_the_start(run: Run, project: Path) -> None:
    code_of(project, v1="echo V1", v2="echo V2")
    link = project / "code" / "b.sh"
    link.symlink_to("v1.sh")
    turn = step(f"ln -sfn v2.sh '{link}'; touch ${{{{outputs.o}}}}", outputs=("o",))
    assert output(run({"a": turn, "b": follows()}), "b") == "V1\n"
    assert output(run({"a": turn, "b": follows()}), "b") == "V2\n"


def test_a_command_job_runs_the_code_of_its_start(project: Path) -> None:
    code_of(project, b="echo V1")
    job = {
        "$schema": "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json",
        "command": f"echo echo V2 > '{project}/code/b.sh'; bash b.sh",
        "code": "./code",
        "environment": ENVIRONMENT,
    }
    (project / "job.yml").write_text(yaml.safe_dump(job))
    finished = CliRunner().invoke(program, ["run", "job.yml", "--no-tracking"])
    assert finished.exit_code == 0
    assert "V1" in finished.output
    assert "V2" not in finished.output


def test_a_resumed_run_names_what_has_changed_and_takes_over_only_what_has_not(run: Run, project: Path) -> None:
    code_of(project, b="test -e gate || exit 3", c="echo 1", d="echo 1")
    jobs = {
        "a": step("cat c.sh; date +%s%N > ${{outputs.o}}", outputs=("o",), code="./code"),
        "other": step("date +%s%N > ${{outputs.o}}", outputs=("o",)),
        "b": follows("bash b.sh && bash c.sh > ${{outputs.o}}"),
    }
    assert statuses(run(jobs))["b"] == "failed"
    for name in "bcd":
        (project / "code" / f"{name}.sh").write_text("echo 2")
    (project / "code" / "gate").touch()
    os.chmod(project / "code" / "d.sh", 0o755)
    assert notes_of(run, jobs, RESUMED) == [
        "the code of a, b has changed since the run took it: b.sh, c.sh, d.sh and 1 more"
    ]
    (resumed,) = list_runs(find_home())
    assert {name: state.status for name, state in resumed.steps.items()} == {
        "a": "completed",
        "other": "cached",
        "b": "completed",
    }
    assert notes_of(run, jobs, RESUMED) == []


def test_a_run_of_an_earlier_version_that_is_resumed_is_taken_for_unchanged(run: Run, project: Path) -> None:
    code_of(project, b="exit 3")
    jobs = {"a": edits(project, "echo GOOD"), "b": follows()}
    failed = run(jobs)
    (failed.state.folder / "code.json").unlink()
    assert notes_of(run, jobs, RESUMED) == []
    assert Path(list_runs(find_home())[0].steps["b"].outputs["o"]).read_text() == "GOOD\n"


def test_a_part_of_a_run_that_is_resumed_forgets_no_code_of_the_others(run: Run, project: Path) -> None:
    code_of(project, b="exit 3")
    jobs = {"a": edits(project, "echo GOOD", "test -e now"), "b": follows()}
    run(jobs)
    run({"a": jobs["a"]}, options=RESUMED)
    (project / "now").touch()
    (project / "code" / "b.sh").write_text("echo OTHER")
    jobs["a"]["command"] = f"cd '{project}'; " + jobs["a"]["command"]
    assert notes_of(run, jobs, RESUMED) == ["the code of b has changed since the run took it: b.sh"]


@pytest.mark.parametrize("text", ["", "echo BA"])
def test_a_copy_that_a_power_cut_took_is_made_anew(run: Run, project: Path, text: str) -> None:
    jobs = {"a": step("bash b.sh > ${{outputs.o}}", outputs=("o",), code=code_of(project, b="echo GOOD"))}
    run(jobs)
    (copy,) = find_home().code.glob("*/*")
    copy.chmod(0o644)
    copy.write_text(text)
    assert output(run(jobs, options=no_cache), "a") == "GOOD\n"


def test_code_whose_copy_is_spoilt_while_the_run_goes_on_is_not_run(run: Run, project: Path) -> None:
    code_of(project, b="echo GOOD")
    find = f'for f in \'{find_home().code}\'/*/*; do chmod u+w "$f"; echo echo EVIL > "$f"; done'
    finished = run({"a": edits(project, "other", find), "b": follows()})
    assert statuses(finished) == {"a": "completed", "b": "failed"}
    assert (getattr(finished.error, "code", ""), getattr(finished.error, "exit_code", 0)) == ("AZD313", 3)
    assert "copy of its code was changed" in finished.state.steps["b"].error


def test_code_whose_copy_is_removed_while_the_run_goes_on_is_told_and_resumed(run: Run, project: Path) -> None:
    code_of(project, b="echo GOOD")
    remove = f"rm -rf '{find_home().code}'"
    jobs = {"b": follows(), "a": step(f"{remove}; touch ${{{{outputs.o}}}}", outputs=("o",))}
    finished = run(jobs)
    assert "copy of its code is gone" in finished.state.steps["b"].error
    assert output(run(jobs, options=RESUMED), "b") == "GOOD\n"
