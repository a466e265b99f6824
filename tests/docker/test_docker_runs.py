"""Whole runs in containers: the same pipelines, files and numbers as in processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from built_images import removed_when_over

from azdistill import aml, redact
from azdistill.errors import Interrupted, SpecError
from azdistill.local.pipeline_run import Finished, Options, run_pipeline
from azdistill.local.plan.local_settings import read_settings
from azdistill.local.run.listener import Listener, Tracking
from azdistill.local.runners.docker.engine import Engine
from azdistill.local.store.events import Event, RunState
from azdistill.local.tracking.listener import is_foreign

Run = Callable[..., Finished]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Iterator[Path]:
    folder = tmp_path / "a project, größer"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("AZDISTILL_HOME", raising=False)
    yield folder
    redact.forget()


@pytest.fixture
def run(project: Path, image: str) -> Run:
    def start(
        jobs: dict[str, Any],
        *,
        options: Options | None = None,
        tracking: Any = None,
        listeners: Sequence[Listener] = (),
        **more: Any,
    ) -> Finished:
        for job in jobs.values():
            job.setdefault("environment", {"image": image})
            job.setdefault("type", "command")
            job["outputs"] = {name: {"type": kind} for name, kind in job.get("outputs", {}).items()}
        path = project / "pipeline.yml"
        path.write_text(yaml.safe_dump({"type": "pipeline", "display_name": "test", "jobs": jobs, **more}))
        pipeline = aml.load_pipeline(path)
        assert [problem for problem in aml.check(pipeline) if problem.severity == "error"] == []
        return run_pipeline(pipeline, options or Options(docker=True), listeners, tracking)

    return start


def chain(project: Path) -> dict[str, Any]:
    (project / "code").mkdir(exist_ok=True)
    (project / "code" / "count.py").write_text(
        "import os, sys, json\n"
        "rows = open(sys.argv[1]).read().splitlines()\n"
        "open(sys.argv[2], 'w').write(f'{len(rows)}\\n')\n"
        "with open(os.environ['AZDISTILL_METRICS_FILE'], 'a') as file:\n"
        "    line = {'kind': 'metric', 'name': 'rows', 'value': len(rows), 'step': 0, 'timestamp': 1}\n"
        "    file.write(json.dumps(line) + chr(10))\n"
    )
    (project / "rows.jsonl").write_text("{}\n{}\n{}\n")
    return {
        "count": {
            "command": "python3 count.py ${{inputs.rows}} ${{outputs.counted}}",
            "code": "./code",
            "inputs": {"rows": "${{parent.inputs.rows}}"},
            "outputs": {"counted": "uri_file"},
        },
        "show": {
            "command": "cat ${{inputs.counted}} > ${{outputs.shown}}/n; cat ${{inputs.counted}}",
            "inputs": {"counted": "${{parent.jobs.count.outputs.counted}}"},
            "outputs": {"shown": "uri_folder"},
        },
    }


ROWS = {"rows": {"type": "uri_file", "path": "./rows.jsonl"}}


def contents(finished: Finished) -> dict[str, str]:
    found = {}
    for name, state in finished.state.steps.items():
        for output, path in state.outputs.items():
            for file in [Path(path)] if Path(path).is_file() else sorted(Path(path).rglob("*")):
                found[f"{name}.{output}/{file.name}"] = file.read_text()
    return found


def test_a_chain_gives_what_processes_give(run: Run, project: Path, image: str) -> None:
    finished = run(chain(project), inputs=ROWS)
    assert finished.error is None
    assert finished.state.steps["count"].metrics == {"rows": 3}
    assert contents(finished) == {"count.counted/counted": "3\n", "show.shown/n": "3\n"}
    log = finished.state.steps["show"].log
    assert log
    assert Path(log).read_text().splitlines()[0].endswith("3")
    processes = run(chain(project), inputs=ROWS, options=Options())
    assert contents(processes) == contents(finished)


def test_a_second_run_is_answered_from_the_cache_and_another_image_is_another_key(
    run: Run, project: Path, image: str, engine: Engine
) -> None:
    run(chain(project), inputs=ROWS)
    again = run(chain(project), inputs=ROWS)
    assert {name: state.status for name, state in again.state.steps.items()} == {"count": "cached", "show": "cached"}
    (project / "image").mkdir()
    (project / "image" / "Dockerfile").write_text(f"FROM {image}\nENV OTHER=1\n")
    jobs = chain(project)
    jobs["show"]["environment"] = {"build": {"path": "./image"}}
    with removed_when_over(engine):
        built = run(jobs, inputs=ROWS)
    assert {name: state.status for name, state in built.state.steps.items()} == {"count": "cached", "show": "completed"}


def test_exit_codes_and_missing_outputs_fail_a_step(run: Run) -> None:
    failed = run({"a": {"command": "exit 65", "tags": {"azdistill.exit_codes": "sysexits"}}})
    assert failed.error is not None
    assert failed.error.exit_code == 2
    missing = run({"a": {"command": "true", "outputs": {"made": "uri_file"}}})
    assert missing.state.steps["a"].status == "failed"
    assert "did not write output 'made'" in missing.state.steps["a"].error


def test_a_run_is_interrupted_while_an_image_is_built_and_starts_nothing_more(
    run: Run, project: Path, image: str
) -> None:
    (project / "image").mkdir()
    (project / "image" / "Dockerfile").write_text(f"FROM {image}\nRUN sleep 48.11\n")

    class Impatient(Listener):
        def hear(self, event: Event, run: RunState) -> None:
            if event.kind == "preparing" and "Running in" in event.fields["text"]:
                os.kill(os.getpid(), signal.SIGINT)

    jobs = {"a": {"command": "true", "environment": {"build": {"path": "./image"}}}, "b": {"command": "true"}}
    finished = run(jobs, options=Options(docker=True, jobs=2), listeners=[Impatient()])
    assert isinstance(finished.error, Interrupted)
    assert {finished.state.steps[name].status for name in "ab"} <= {"canceled", "completed"}
    assert finished.state.steps["a"].status == "canceled"


def test_a_time_limit_ends_a_step(run: Run) -> None:
    finished = run({"a": {"command": "sleep 60", "limits": {"timeout": 1}}})
    assert "limits.timeout of 1 s" in finished.state.steps["a"].error


def test_a_secret_arrives_and_is_in_no_file_of_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_KEY", "canary-4711-secret")
    finished = run(
        {
            "a": {
                "command": 'echo ${{inputs.key}}; test -n "$TEACHER_KEY" && echo $TEACHER_KEY > ${{outputs.o}}',
                "inputs": {"key": "env:TEACHER_KEY"},
                "outputs": {"o": "uri_file"},
            }
        }
    )
    assert finished.error is None
    files = [path for path in Path(".azdistill").rglob("*") if path.is_file() and path.parent.name != "outputs"]
    assert len(files) > 4
    assert [path for path in files if b"canary-4711" in path.read_bytes()] == []


def test_what_a_step_logs_to_mlflow_files_becomes_its_metrics(run: Run) -> None:
    write = (
        'test "$MLFLOW_ALLOW_FILE_STORE" = true; d="${MLFLOW_TRACKING_URI#file://}"; '
        "d=$(python3 -c 'import sys, urllib.parse; print(urllib.parse.unquote(sys.argv[1]))' \"$d\"); "
        'mkdir -p "$d/0/r/metrics" "$d/0/r/params"; touch "$d/0/r/meta.yaml"; '
        'printf "1 0.5 0\\n2 0.75 1\\n" > "$d/0/r/metrics/accuracy"; printf 3 > "$d/0/r/params/epochs" # mlflow'
    )

    class Elsewhere(Tracking):
        def variables(self, step: str, uses_mlflow: bool) -> dict[str, str]:
            return {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}

    finished = run({"a": {"command": write}}, tracking=Elsewhere())
    assert finished.error is None
    assert finished.state.steps["a"].metrics == {"accuracy": 0.75}


@pytest.mark.parametrize(("network", "expected"), [(None, "lo"), ("host", None)])
def test_the_network_is_what_is_asked_for(run: Run, network: str | None, expected: str | None) -> None:
    command = "ls /sys/class/net | tr '\\n' ' ' > ${{outputs.o}}"
    finished = run(
        {"a": {"command": command, "outputs": {"o": "uri_file"}}}, options=Options(docker=True, network=network)
    )
    assert finished.error is None
    names = next(iter(contents(finished).values())).split()
    if expected:
        assert names == [expected]


def test_settings_name_images_arguments_and_networks(project: Path) -> None:
    (project / "azdistill.yml").write_text(
        json.dumps(
            {
                "profiles": {"dev": {"compute": "cpu"}},
                "local": {
                    "data": {"reviews": "./reviews"},
                    "environments": {"azureml:mine": "./image", "azureml:other": "python:3.11"},
                    "docker": {"build_arguments": {"*": {"BASE": "x"}}, "build_network": "host", "network": "none"},
                },
            }
        )
    )
    settings = read_settings(project / "azdistill.yml")
    assert settings.data == {"azureml:reviews": project / "reviews"}
    assert settings.images.instead == {"azureml:mine": project / "image", "azureml:other": "python:3.11"}
    assert (settings.images.network, settings.network) == ("host", "none")
    assert settings.images.arguments == {"*": {"BASE": "x"}}


def test_a_misspelt_setting_is_named_with_its_place(project: Path) -> None:
    from azdistill.errors import SpecError

    (project / "azdistill.yml").write_text("local:\n  docker:\n    netwrok: none\n  dta: {}\n")
    with pytest.raises(SpecError) as caught:
        read_settings(project / "azdistill.yml")
    assert [(problem.line, problem.hint) for problem in caught.value.problems] == [
        (3, "did you mean 'network'?"),
        (4, "did you mean 'data'?"),
    ]


#: Where a step puts the link -> the output that it is part of, and its type.
PLACES = {
    "${{outputs.o}}": ("o", "uri_file"),
    "${{outputs.o}}/inner": ("o", "uri_folder"),
    "outputs/inner": ("artifacts", "uri_folder"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_link_out_of_a_container_gives_nothing_of_this_machine_away(run: Run, project: Path, place: str) -> None:
    secret = project.parent / "secret"
    secret.write_text("not for a container")
    output, kind = PLACES[place]
    finished = run({"a": {"command": f"ln -s '{secret}' {place}", "outputs": {output: kind}}})
    assert finished.state.steps["a"].status == "failed"
    assert "holds a link" in finished.state.steps["a"].error
    kept = [path for path in (project / ".azdistill").rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in kept if b"not for a container" in path.read_bytes()]


def test_links_out_of_an_input_lead_where_they_lead_for_a_process(run: Run, project: Path) -> None:
    for name in ("data", "outside/folder"):
        (project / name).mkdir(parents=True)
    for name in ("data/own", "outside/absolute", "outside/relative", "outside/folder/in"):
        (project / name).write_text(f"{name}\n")
    (project / "data" / "absolute").symlink_to(project / "outside" / "absolute")
    (project / "data" / "relative").symlink_to("../outside/relative")
    (project / "data" / "folder").symlink_to(project / "outside" / "folder")
    given = {"data": {"type": "uri_folder", "path": "./data"}}
    command = (
        "cat ${{inputs.data}}/{own,absolute,relative,folder/in} > ${{outputs.o}}; ! touch ${{inputs.data}}/folder/x"
    )
    job = {"command": command, "inputs": given, "outputs": {"o": "uri_file"}}
    state = run({"a": job}).state.steps["a"]
    assert state.error == ""
    assert Path(state.outputs["o"]).read_text().split() == [
        "data/own",
        "outside/absolute",
        "outside/relative",
        "outside/folder/in",
    ]


def test_a_link_that_a_step_may_have_left_leads_the_next_container_nowhere(run: Run, project: Path) -> None:
    (project / "secret").write_text("not for a container")
    place = project / ".azdistill" / "datastores" / "mine" / "kept"
    place.mkdir(parents=True)
    (place / "left").symlink_to(project / "secret")
    given = {"data": {"type": "uri_folder", "path": "azureml://datastores/mine/paths/kept"}}
    state = run({"a": {"command": "cat ${{inputs.data}}/left", "inputs": given}}).state.steps["a"]
    assert (state.status, state.error) == ("failed", "the command ended with exit code 1")


def test_a_link_to_an_input_is_kept_as_its_content(run: Run, project: Path) -> None:
    (project / "data").write_text("rows")
    given = {"data": {"type": "uri_file", "path": "./data"}}
    command = "ln -s '${{inputs.data}}' '${{outputs.o}}'"
    finished = run({"a": {"command": command, "inputs": given, "outputs": {"o": "uri_file"}}})
    assert finished.error is None
    assert Path(finished.state.steps["a"].outputs["o"]).read_text() == "rows"


def test_an_artifact_that_a_container_names_has_to_be_its_own(run: Run, project: Path) -> None:
    line = json.dumps({"kind": "artifact", "path": "/etc/hostname"})
    command = f"echo '{line}' >> $AZDISTILL_METRICS_FILE; echo x > '${{{{outputs.o}}}}'"
    state = run({"a": {"command": command, "outputs": {"o": "uri_file"}}}).state.steps["a"]
    assert is_foreign(Path("/etc/hostname"), state)
    assert not is_foreign(Path(state.outputs["o"]), state)


def test_environments_without_an_image_are_refused_together_before_anything_runs(run: Run, project: Path) -> None:
    jobs = {
        name: {"command": "echo x > ${{outputs.o}}", "outputs": {"o": "uri_file"}, **more}
        for name, more in {
            "a": {},
            "b": {"environment": "azureml:mine:1"},
            "c": {"environment": "azureml:yours:1"},
        }.items()
    }
    with pytest.raises(SpecError) as caught:
        run(jobs)
    assert [(problem.code, problem.line > 0) for problem in caught.value.problems] == [("AZD396", True)] * 2
    assert not list((project / ".azdistill").glob("runs/*"))
