"""``azdistill logs`` of runs on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from azdistill.cli import cli

COMMON = {"type": "command", "environment": "azureml:any@latest", "tags": {"azdistill.exit_codes": "sysexits"}}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which nothing has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZDISTILL_HOME", raising=False)
    return tmp_path


def run(name: str = "p", **commands: str) -> int:
    """Run a pipeline of steps with these commands; its exit code."""
    jobs = {step: {**COMMON, "command": command} for step, command in commands.items()}
    Path(f"{name}.yml").write_text(yaml.safe_dump({"type": "pipeline", "jobs": jobs}))
    return program("run", f"{name}.yml", "--no-tracking").returncode


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "azdistill", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def logs(*arguments: str) -> tuple[int, list[str], str]:
    """Exit code, lines printed, and what was said beside them."""
    done = CliRunner().invoke(cli, ["logs", *arguments])
    return done.exit_code, done.stdout.splitlines(), done.stderr


def test_the_newest_run_is_meant_and_every_line_names_its_step() -> None:
    run("old", a="echo before")
    run("new", a="echo one; echo two", b="echo three")
    code, lines, said = logs()
    assert (code, lines) == (0, ["a | one", "a | two", "b | three"])
    assert said.startswith("run new_")
    assert logs("b")[1] == ["b | three"]
    assert logs("--run", "old")[1] == ["a | before"]


def test_the_name_of_a_run_may_stand_where_a_step_would() -> None:
    run("old", a="echo before")
    run("new", a="echo after")
    known = {row["pipeline"]: row["run_id"] for row in json.loads(program("runs", "--json").stdout)}
    assert logs(known["old"])[1] == ["a | before"]


def test_why_a_run_failed_comes_first_and_following_ends_as_it_did() -> None:
    run(a="echo fine", b="echo 'error: no such rows'; exit 65")
    code, lines, _ = logs()
    assert code == 0
    assert lines[:2] == ["step 'b' failed: the command ended with exit code 65", "  error: no such rows"]
    assert "a | fine" in lines
    done = program("logs", "-f")
    assert done.returncode == 2
    assert "error[AZD370]: step 'b': the command ended with exit code 65" in done.stderr


def test_a_reused_step_has_the_log_of_the_run_that_made_its_result() -> None:
    for _ in range(2):
        run(a="echo made")
    code, lines, said = logs()
    assert (code, lines) == (0, [])
    assert said.endswith("nothing was printed (reused: a; name one to see its log)\n")
    assert logs("a")[1] == ["a | made"]


def test_a_step_that_is_not_there_is_refused_with_the_nearest() -> None:
    run(train="true")
    done = program("logs", "trian")
    assert done.returncode == 2
    assert "has no step 'trian'" in done.stderr
    assert "did you mean 'train'?" in done.stderr


def test_the_trials_of_a_sweep_have_logs_of_their_own() -> None:
    said = """printf '{"kind": "metric", "name": "loss", "value": 1}\\n' >> "$AZDISTILL_METRICS_FILE"; """
    trial = {**COMMON, "inputs": {"x": {"type": "number", "default": 7}}, "command": said + "echo x ${{inputs.x}}"}
    sweep = {
        **{"type": "sweep", "trial": trial, "sampling_algorithm": "grid", "limits": {"max_total_trials": 2}},
        "search_space": {"x": {"type": "choice", "values": [3, 2]}},
        "objective": {"goal": "minimize", "primary_metric": "loss"},
    }
    Path("s.yml").write_text(yaml.safe_dump({"type": "pipeline", "jobs": {"tune": sweep}}))
    done = program("run", "s.yml", "--no-tracking")
    assert "tune: best trial 1 (1): x=3" in done.stdout.splitlines()
    assert logs("tune.trial_2")[1] == ["tune.trial_2 | x 2"]
    assert {"tune.trial_1 | x 3", "tune.trial_2 | x 2"} < set(logs("tune")[1])


@pytest.mark.parametrize("ends", [0, 3])
def test_a_run_that_goes_on_is_followed_to_its_end(project: Path, ends: int) -> None:
    gate = project / "gate"
    os.mkfifo(gate)
    jobs = {"a": {**COMMON, "command": f"echo first; read line < '{gate}'; echo $line; exit {ends}"}}
    (project / "p.yml").write_text(yaml.safe_dump({"type": "pipeline", "jobs": jobs}))
    command = [sys.executable, "-m", "azdistill", "run", "p.yml", "--no-tracking"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as runner:
        # Opened for writing once the step reads: its first line is printed.
        with open(gate, "w") as writer:
            follower = subprocess.Popen(
                [sys.executable, "-m", "azdistill", "logs", "-f"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert follower.stdout
            assert follower.stderr
            assert follower.stdout.readline() == "a | first\n"
            writer.write("last\n")
        assert follower.stdout.read().startswith("a | last\n")
        assert (follower.wait(60), runner.wait(60)) == (bool(ends), bool(ends))
        assert ("step 'a' failed:\n" in follower.stderr.read()) is bool(ends)


def test_a_run_that_is_nowhere_is_told_from_one_on_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AZURE_", "AZUREML_"))]:
        monkeypatch.delenv(name)
    assert "error[AZD383]: there are no runs here yet" in program("logs").stderr
    run(a="true")
    done = program("logs", "--run", "q_2026")
    assert done.returncode == 2
    assert "error[AZD385]: no run 'q_2026' here" in done.stderr
    assert "for one on Azure name its workspace" in done.stderr


def test_what_was_submitted_later_is_not_here(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(a="echo here")
    row = {"name": "there", "workspace": "w", "time": time.time() + 60}
    (project / ".azdistill" / "submitted.jsonl").write_text(json.dumps(row) + "\n")
    for name in ("SUBSCRIPTION_ID", "RESOURCE_GROUP", "ML_WORKSPACE"):
        monkeypatch.delenv(f"AZUREML_ARM_{name}", raising=False)
    assert logs()[0] != 0
    assert logs("--run", "p_")[1] == ["a | here"]
    row["time"] = 1.0
    (project / ".azdistill" / "submitted.jsonl").write_text(json.dumps(row) + "\n")
    assert logs()[1] == ["a | here"]
    assert logs("there")[0] != 0, "the name of a run on Azure is taken for one"
