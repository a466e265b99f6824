"""azdistill schedule, and scheduled runs, in a workspace on loopback whose clock the test moves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from loopback import Workspace
from submit_helpers import connection_to, impatient, make_project

from azdistill.cli import main
from azdistill.cli import schedule as verbs
from azdistill.cloud.schedules import changes, resource
from azdistill.cloud.workspace.connect import Connection

ROOT = Path(__file__).parents[2]
SHARED = os.environ.get("AZDISTILL_SHARED", str(ROOT.parent / "shared"))
START = datetime(2026, 12, 1, 12, tzinfo=UTC)

#: Reads by a step that runs every time, and prepares what was found.
PIPELINE = f"""\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
experiment_name: nightly
settings: {{default_compute: "azureml:cpu-cluster"}}
inputs:
  reference: azureml:questions@latest
  as_of: now
  max_training_rows: 100
outputs:
  train: {{type: uri_file}}
jobs:
  find:
    type: command
    component: {ROOT}/components/data/resolve_data/component.yml
    inputs: {{reference: "${{{{parent.inputs.reference}}}}", as_of: "${{{{parent.inputs.as_of}}}}"}}
  prepare:
    type: command
    component: {ROOT}/components/data/prepare_data/component.yml
    inputs:
      training_data: ${{{{parent.jobs.find.outputs.data}}}}
      task_type: qa
      test_fraction: 0
      validation_fraction: 0
      max_training_rows: ${{{{parent.inputs.max_training_rows}}}}
    outputs: {{train: "${{{{parent.outputs.train}}}}"}}
"""
SCHEDULE = """\
$schema: https://azuremlschemas.azureedge.net/latest/schedule.schema.json
name: nightly
trigger:
  type: cron
  expression: "0 3 * * *"
  start_time: "2026-12-01T00:00:00"
  time_zone: Europe/Berlin
create_job:
  type: pipeline
  job: ./pipeline.yml
  inputs: {as_of: "${{creation_context.trigger_time}}"}
"""

Azdistill = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("workspace")
    with Workspace(folder, shared=SHARED, clock=START) as workspace:
        workspace.add_compute("cpu-cluster")
        yield workspace


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipeline.yml").write_text(PIPELINE)
    (tmp_path / "nightly.yml").write_text(SCHEDULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def connection(ws: Workspace) -> Iterator[Connection]:
    with ws.environ():
        yield connection_to(ws)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(resource, "POLL", 0.05)
    with impatient():
        yield


@pytest.fixture(autouse=True)
def _clean(ws: Workspace) -> Iterator[None]:
    yield
    for name in list(ws.store["schedules"]):
        ws.store["schedules"].pop(name)
        ws.emit("schedule_deleted", name)


@pytest.fixture
def azdistill(ws: Workspace, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Azdistill:
    """Runs the command line in this process, at the workspace's time: exit code, stdout, stderr."""
    monkeypatch.setattr(verbs, "_now", lambda: ws.clock.now)

    def run(*arguments: object) -> tuple[int, str, str]:
        with ws.environ(), pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def puts(ws: Workspace, kind: str = "schedules") -> list[Any]:
    return [one for one in ws.requests if one.method == "PUT" and f"/{kind}/" in one.path]


def register(ws: Workspace, folder: Path, version: str, prompts: list[str]) -> None:
    """A version of the data asset ``questions``."""
    from azure.ai.ml.entities import Data

    file = folder / f"rows-{version}.jsonl"
    rows = [{"messages": [{"role": "user", "content": f"{prompt}\nA) yes\nB) no"}]} for prompt in prompts]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ws.client().data.create_or_update(Data(name="questions", version=version, path=str(file), type="uri_file"))


def prompts_of(ws: Workspace, job: str, folder: Path) -> set[str]:
    """The training prompts that a run ended with."""
    ws.jobs.wait(job)
    client = ws.client()
    assert client.jobs.get(job).status == "Completed", client.jobs.get(job)
    client.jobs.download(job, download_path=str(folder / job), output_name="train")
    (train,) = [path for path in (folder / job).rglob("*") if path.is_file()]
    return {json.loads(line)["messages"][-1]["content"].split("\n")[0] for line in train.read_text().splitlines()}


def test_apply_makes_a_schedule_and_shows_the_next_five_firings_before(
    ws: Workspace, project: Path, azdistill: Azdistill
) -> None:
    status, out, err = azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    assert (status, out) == (0, "nightly: made\n"), err
    assert err.count("02:00 UTC") == 5
    assert "Wed 2026-12-02 02:00 UTC   Wed 2026-12-02 03:00 +0100" in err
    assert "looks its data up anew (find)" in err
    stored = ws.store["schedules"]["nightly"]["properties"]
    assert stored["tags"]["azdistill.owner"] == "schedule"
    assert stored["trigger"]["timeZone"] == "W. Europe Standard Time"
    assert stored["action"]["jobDefinition"]["inputs"]["as_of"]["value"] == "${{creation_context.trigger_time}}"
    assert stored["action"]["jobDefinition"]["inputs"]["reference"]["value"] == "azureml:questions@latest"
    assert not ws.violations


def test_applying_again_sends_nothing(ws: Workspace, project: Path, azdistill: Azdistill) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    before = len(puts(ws))
    status, out, err = azdistill("schedule", "apply", project / "nightly.yml")
    assert (status, out) == (0, "nightly: unchanged\n"), err
    assert len(puts(ws)) == before
    assert azdistill("schedule", "diff", project / "nightly.yml")[:2] == (0, "nightly: unchanged\n")


def test_a_change_is_shown_as_a_diff_and_asked_for(ws: Workspace, project: Path, azdistill: Azdistill) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    changed = SCHEDULE.replace("0 3", "30 4").replace("trigger_time}}", 'trigger_time}}", max_training_rows: "7')
    (project / "nightly.yml").write_text(changed)
    status, _, err = azdistill("schedule", "diff", project / "nightly.yml")
    assert status == 1
    for line in (
        "- trigger.expression: 0 3 * * *",
        "+ trigger.expression: 30 4 * * *",
        "- inputs.max_training_rows: 100",
        "+ inputs.max_training_rows: 7",
    ):
        assert line in err
    before = len(puts(ws))
    status, _, err = azdistill("schedule", "apply", project / "nightly.yml")
    assert (status, len(puts(ws))) == (2, before)
    assert "AZD455" in err
    assert azdistill("schedule", "apply", project / "nightly.yml", "--yes")[0] == 0
    assert ws.store["schedules"]["nightly"]["properties"]["trigger"]["expression"] == "30 4 * * *"


@pytest.mark.slow
def test_a_disabled_schedule_stays_so_when_it_changes(ws: Workspace, project: Path, azdistill: Azdistill) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    assert azdistill("schedule", "disable", "nightly")[0] == 0
    (project / "nightly.yml").write_text(SCHEDULE.replace("0 3", "0 4"))
    _, _, err = azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    assert "it is disabled, and stays so" in err
    assert ws.store["schedules"]["nightly"]["properties"]["isEnabled"] is False
    fired = len(ws.schedules.fired)
    ws.clock.advance(days=1)
    assert len(ws.schedules.fired) == fired
    assert "disabled" in azdistill("schedule", "list")[1]
    assert azdistill("schedule", "enable", "nightly")[2] == "nightly: enabled\n"
    assert azdistill("schedule", "enable", "nightly")[2] == "nightly: was enabled already\n"


@pytest.mark.slow
def test_two_firings_on_different_data_train_on_different_rows(
    ws: Workspace, project: Path, azdistill: Azdistill
) -> None:
    register(ws, project, "1", ["one", "two"])
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    (first,) = ws.clock.advance(days=1)
    assert prompts_of(ws, first, project) == {"one", "two"}
    register(ws, project, "2", ["three"])
    (second,) = ws.clock.advance(days=1)
    assert prompts_of(ws, second, project) == {"three"}
    (third,) = ws.clock.advance(days=1)
    assert prompts_of(ws, third, project) == {"three"}
    _, out, _ = azdistill("schedule", "show", "nightly")
    assert "as in the run before" in out
    assert "new since the run before" in out
    assert out.count("Completed") == 3


@pytest.mark.slow
def test_trigger_is_the_services_own_and_with_set_a_fresh_submission(
    ws: Workspace, project: Path, azdistill: Azdistill
) -> None:
    register(ws, project, "3", ["four", "five", "six"])
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    status, out, err = azdistill("schedule", "trigger", "nightly")
    assert status == 0, err
    assert "by the schedule itself" in err
    assert prompts_of(ws, out.strip(), project) == {"four", "five", "six"}
    status, out, err = azdistill("schedule", "trigger", "nightly", "--set", "max_training_rows=1", "--json")
    assert status == 0, err
    started = json.loads(out)
    assert "fresh submission" in started["how"]
    assert len(prompts_of(ws, started["name"], project)) == 1
    job = ws.store["jobs"][started["name"]]["properties"]
    assert job["tags"]["azdistill.schedule"] == "nightly"
    assert job["inputs"]["as_of"]["value"].startswith("2026-")
    status, _, err = azdistill("schedule", "trigger", "nightly", "--set", "max_rows=1")
    assert status == 2
    assert "did you mean 'max_training_rows'" in err
    told = json.loads(azdistill("schedule", "show", "nightly", "--json")[1])
    assert {run["by_hand"] for run in told["runs"]} == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"cut": "after"}, {"cut": "body"}])
def test_a_trigger_whose_answer_is_lost_is_sent_once_and_its_run_is_found(
    ws: Workspace, project: Path, azdistill: Azdistill, how: dict[str, Any]
) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    before = len(ws.schedules.fired)
    fault = ws.fail("POST {ws}/schedules/{name}/trigger", **how)
    status, out, err = azdistill("schedule", "trigger", "nightly")
    fault.times = 0
    assert (status, fault.hits) == (0, 1), err
    ((_, _, job),) = ws.schedules.fired[before:]
    assert out.strip() == job
    ws.jobs.wait(job)


@pytest.mark.parametrize(("how", "said"), [({"cut": "before"}, "no answer"), ({"status": 503}, "the service failed")])
def test_a_trigger_that_may_have_been_carried_out_says_so(
    ws: Workspace, project: Path, azdistill: Azdistill, how: dict[str, Any], said: str
) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    before = len(ws.schedules.fired)
    fault = ws.fail("POST {ws}/schedules/{name}/trigger", **how)
    status, out, err = azdistill("schedule", "trigger", "nightly")
    fault.times = 0
    assert (status, out, fault.hits, len(ws.schedules.fired)) == (4, "", 1, before)
    assert f"error[AZD453]: {said}" in err
    assert "may have been triggered all the same" in err
    assert "azdistill schedule show nightly" in err


def test_a_trigger_that_is_refused_is_not_looked_for(ws: Workspace, project: Path, azdistill: Azdistill) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    fault = ws.fail("POST {ws}/schedules/{name}/trigger", status=403)
    status, _, err = azdistill("schedule", "trigger", "nightly")
    fault.times = 0
    assert (status, "AZD403" in err, "may have been" in err) == (4, True, False)


@pytest.mark.slow
def test_a_fresh_submission_whose_answer_is_lost_is_found(ws: Workspace, project: Path, azdistill: Azdistill) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    fault = ws.fail("PUT {ws}/jobs/{name}", cut="after")
    status, out, err = azdistill("schedule", "trigger", "nightly", "--set", "max_training_rows=1")
    fault.times = 0
    assert (status, out.strip() in ws.store["jobs"]) == (0, True), err
    ws.jobs.wait(out.strip())
    fault = ws.fail("PUT {ws}/jobs/{name}", cut="before")
    status, out, err = azdistill("schedule", "trigger", "nightly", "--set", "max_training_rows=1")
    fault.times = 0
    assert (status, out, "AZD408" in err) == (4, "", True)


def test_the_sdks_own_client_lists_and_reads_what_was_applied(
    ws: Workspace, project: Path, azdistill: Azdistill
) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes", "--name", "other")
    client = ws.client()
    assert [one.name for one in client.schedules.list()] == ["other"]
    assert client.schedules.get("other").trigger.expression == "0 3 * * *"


def test_delete_disables_first_and_waits(ws: Workspace, project: Path, azdistill: Azdistill) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    assert azdistill("schedule", "delete", "nightly", "--yes")[0] == 0
    assert "nightly" not in ws.store["schedules"]
    status, _, err = azdistill("schedule", "delete", "nightly", "--yes")
    assert status == 2
    assert "AZD452" in err


def test_a_delete_killed_between_disabling_and_deleting_is_finished_by_the_next(
    ws: Workspace, project: Path, azdistill: Azdistill
) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    ws.fail("DELETE *schedules*", status=500, times=99)
    assert azdistill("schedule", "delete", "nightly", "--yes")[0] == 4
    assert ws.store["schedules"]["nightly"]["properties"]["isEnabled"] is False
    ws.faults.clear()
    assert azdistill("schedule", "delete", "nightly", "--yes")[0] == 0


@pytest.mark.parametrize(("status", "times", "ended"), [(409, 1, 4), (429, 1, 0), (403, 1, 4), (503, 1, 0)])
def test_faults_while_a_schedule_is_made(
    ws: Workspace, project: Path, azdistill: Azdistill, status: int, times: int, ended: int
) -> None:
    headers = {"Retry-After": "1"} if status == 429 else {}
    ws.fail("PUT *schedules*", status=status, times=times, headers=headers)
    code, _, err = azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    ws.faults.clear()
    assert code == ended, err
    assert "Traceback" not in err
    assert azdistill("schedule", "apply", project / "nightly.yml", "--yes")[0] == 0


def test_a_schedule_of_somebody_else_is_left_alone(
    ws: Workspace, project: Path, azdistill: Azdistill, connection: Connection
) -> None:
    azdistill("schedule", "apply", project / "nightly.yml", "--yes")
    ws.store["schedules"]["nightly"]["properties"]["tags"] = {"made": "by hand"}
    before = len(puts(ws))
    for verb in (("apply", project / "nightly.yml", "--yes"), ("disable", "nightly"), ("delete", "nightly", "--yes")):
        status, _, err = azdistill("schedule", *verb)
        assert status == 2
        assert "AZD454" in err
    assert len(puts(ws)) == before
    assert azdistill("schedule", "list")[1] == ""
    assert "nightly" in azdistill("schedule", "list", "--all")[1]
    assert resource.coming(resource.get(connection, "nightly"), ws.clock.now)
    assert changes.trigger is not None


def test_frozen_data_is_refused_with_the_form_that_stays_fresh(
    ws: Workspace, tmp_path: Path, azdistill: Azdistill, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    (tmp_path / "nightly.yml").write_text(SCHEDULE.partition("  inputs")[0])
    status, _, err = azdistill("schedule", "apply", "nightly.yml", "--yes")
    assert status == 2
    assert "AZD450" in err
    assert "resolve_data" in err
    assert azdistill("schedule", "apply", "nightly.yml", "--yes", "--allow-frozen", "rows")[0] == 0


RECIPE = """\
name: Nightly questions
task: qa
teacher: {model: my-teacher, endpoint: "https://teacher.example/v1"}
student: owner/student
data:
  training_data: {latest: azureml:questions}
schedule:
  type: recurrence
  frequency: week
  interval: 1
  start_time: "2026-12-01T00:00:00"
  schedule: {hours: 3, minutes: [0, 30], week_days: [monday]}
"""


def test_a_recipe_is_scheduled_under_its_name_and_its_data_stays_fresh(
    ws: Workspace, project: Path, azdistill: Azdistill
) -> None:
    (project / "recipe.yml").write_text(RECIPE)
    status, out, err = azdistill("schedule", "apply", project / "recipe.yml", "--yes", "--json")
    assert status == 0, err
    told = json.loads(out)
    assert (told["name"], told["state"]) == ("Nightly-questions", "made")
    stored = ws.store["schedules"]["Nightly-questions"]["properties"]
    assert stored["trigger"]["schedule"]["weekDays"] == ["Monday"]
    given = stored["action"]["jobDefinition"]["inputs"]
    assert given["as_of"]["value"] == "${{creation_context.trigger_time}}"
    assert given["training_data_reference"]["value"] == "azureml:questions@latest"
    assert "teacher answers for rows already asked" in err.lower()
    assert azdistill("schedule", "diff", project / "recipe.yml")[0] == 0
    assert not ws.violations


@pytest.mark.parametrize("path", ["./rows.jsonl", "azureml:questions@latest", "azureml:questions:1"])
def test_a_recipe_with_frozen_data_is_refused_before_anything_is_sent(
    ws: Workspace, project: Path, azdistill: Azdistill, path: str
) -> None:
    (project / "rows.jsonl").write_text("{}\n")
    (project / "recipe.yml").write_text(RECIPE.replace("{latest: azureml:questions}", path))
    before = len(ws.requests)
    status, _, err = azdistill("schedule", "apply", project / "recipe.yml", "--yes")
    assert (status, len(ws.requests)) == (2, before)
    assert "AZD450" in err
    assert "recipe.yml:6" in err
    assert "training_data: {latest: azureml:" in err
