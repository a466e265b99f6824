"""Schedules in files: Azure ML's own YAML and a recipe's, checked with their lines, and run here as a firing would."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from azdistill import compile
from azdistill.cli import main
from azdistill.cli.local_run import fired_pipeline
from azdistill.recipe.schedule_file import check_schedule, read_schedule

ROOT = Path(__file__).parents[1]
PIPELINE = f"""\
type: pipeline
settings: {{default_compute: "azureml:cpu"}}
inputs:
  reference: "{{yyyy}}/*.jsonl"
  folder: {{type: uri_folder, path: ./incoming}}
  as_of: now
outputs: {{found: {{type: uri_file}}}}
jobs:
  find:
    type: command
    component: {ROOT}/components/data/resolve_data/component.yml
    inputs:
      reference: ${{{{parent.inputs.reference}}}}
      folder: ${{{{parent.inputs.folder}}}}
      as_of: ${{{{parent.inputs.as_of}}}}
    outputs: {{data: "${{{{parent.outputs.found}}}}"}}
"""
SCHEDULE = """\
$schema: https://azuremlschemas.azureedge.net/latest/schedule.schema.json
name: nightly
trigger:
  type: cron
  expression: "0 3 * * *"
create_job:
  type: pipeline
  job: ./pipeline.yml
  inputs: {as_of: "${{creation_context.trigger_time}}"}
"""
RECIPE = """\
task: qa
teacher: {model: my-teacher, endpoint: "https://teacher.example/v1"}
student: owner/student
data:
  training_data: {latest: "incoming/{yyyy}/*.jsonl"}
  test_data: {latest: azureml:questions, offset: -1d}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for year, number in (("2026", 1), ("2027", 2)):
        (tmp_path / "incoming" / year).mkdir(parents=True)
        (tmp_path / "incoming" / year / "rows.jsonl").write_text(json.dumps({"n": number}) + "\n")
    (tmp_path / "pipeline.yml").write_text(PIPELINE)
    (tmp_path / "nightly.yml").write_text(SCHEDULE)
    (tmp_path / "recipe.yml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    return tmp_path


def test_a_schedule_is_read_with_what_it_changes_in_the_pipeline(project: Path) -> None:
    found = read_schedule("nightly.yml")
    assert (found.name, found.schedule.expression) == ("nightly", "0 3 * * *")
    assert found.mapping["inputs"]["as_of"] == "${{creation_context.trigger_time}}"
    assert found.mapping["inputs"]["reference"] == "{yyyy}/*.jsonl"


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "said"),
    [
        ("0 3 * * *", "0 3 1 * *", "AZD260", 5, "ignores DAYS"),
        ("0 3 * * *", "at three", "AZD205", 5, "not five"),
        ("type: cron", "type: cron\n  timezone: UTC", "AZD110", 5, "unknown key 'timezone'"),
        ("type: cron", "type: cron\n  time_zone: Berlin", "AZD205", 5, "there is no time zone 'Berlin'"),
        ("./pipeline.yml", "./pipe.yml", "AZD121", 8, "no pipeline file"),
        ("./pipeline.yml", "azureml:job", "AZD264", 8, "job of a workspace"),
        ("as_of:", "asof:", "AZD130", 9, "no input 'asof'"),
        ("name: nightly\n", "", "AZD112", 1, "'name' is missing"),
        ("create_job", "createjob", "AZD110", 6, "unknown key 'createjob'"),
        ("name: nightly", "name: every night", "AZD115", 2, "no name for a schedule"),
        (
            "type: pipeline\n",
            "type: pipeline\n  settings: {force_reran: true}\n",
            "AZD110",
            8,
            "unknown key 'force_reran'",
        ),
        ("name: nightly", "name: nightly\ntags: {a: sk-abcdefghijklmnopqrstuv}", "AZD170", 3, "secret"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    project: Path, old: str, new: str, code: str, line: int, said: str
) -> None:
    assert old in SCHEDULE
    (project / "nightly.yml").write_text(SCHEDULE.replace(old, new))
    found = [problem for problem in check_schedule("nightly.yml") if problem.code == code]
    assert [(problem.line, said in problem.message) for problem in found] == [(line, True)], found


def test_a_value_that_the_schedule_gives_is_checked_against_what_it_feeds(project: Path) -> None:
    (project / "count.yml").write_text(
        "name: count\ntype: command\nenvironment: azureml:e:1\ninputs: {n: {type: integer, max: 5}}\n"
        "command: echo ${{inputs.n}}\n"
    )
    (project / "pipeline.yml").write_text(
        "type: pipeline\ninputs: {n: 1}\njobs: {a: {component: ./count.yml, inputs: {n: '${{parent.inputs.n}}'}}}\n"
    )
    (project / "nightly.yml").write_text(SCHEDULE.partition("  inputs:")[0] + "  inputs: {n: 9}\n")
    found = check_schedule("nightly.yml")
    assert [(p.code, p.file, p.line) for p in found] == [("AZD134", "nightly.yml", 9)]


def test_everything_wrong_with_a_trigger_is_said_at_once(project: Path) -> None:
    trigger = "  expression: 0 3 1 * *\n  time_zone: Berlin\n  start_time: soon\n"
    (project / "nightly.yml").write_text(SCHEDULE.replace('  expression: "0 3 * * *"\n', trigger))
    assert [(p.code, p.line) for p in check_schedule("nightly.yml")] == [("AZD260", 5), ("AZD205", 6), ("AZD205", 7)]


def test_only_what_was_meant_is_said_of_a_recurrence(project: Path) -> None:
    trigger = "  type: recurrence\n  frequency: day\n  interval: 1\n  schedule: {hours: [25], minutes: 61}\n"
    (project / "nightly.yml").write_text(SCHEDULE.replace('  type: cron\n  expression: "0 3 * * *"\n', trigger))
    said = [p.message for p in check_schedule("nightly.yml")]
    assert said == [
        "schedule.hours.0: should be less than or equal to 23",
        "schedule.minutes: should be less than or equal to 59",
    ]


def test_a_command_job_is_nothing_that_a_schedule_runs(project: Path) -> None:
    (project / "pipeline.yml").write_text(
        "type: command\ncommand: echo\nenvironment: azureml:e:1\ncompute: azureml:cpu\n"
    )
    (project / "nightly.yml").write_text(SCHEDULE.partition("  inputs:")[0])
    assert [(p.code, p.line) for p in check_schedule("nightly.yml")] == [("AZD107", 8)]


def test_validate_knows_schedules(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["validate", "nightly.yml"])
    assert (ended.value.code, capsys.readouterr().out) == (0, "ok: nightly.yml (schedule)\n")


def test_data_that_is_looked_up_has_a_step_of_its_own(project: Path) -> None:
    mapping = compile.compile_recipe("recipe.yml").mapping
    assert mapping["inputs"]["training_data_folder"]["path"] == str(project / "incoming")
    assert mapping["inputs"]["training_data_reference"] == "{yyyy}/*.jsonl"
    assert mapping["inputs"]["test_data_reference"] == "azureml:questions@latest"
    assert mapping["inputs"]["test_data_offset"] == "-1d"
    assert mapping["inputs"]["as_of"] == "now"
    assert "training_data" not in mapping["inputs"]
    assert mapping["jobs"]["prepare"]["inputs"]["training_data"] == (
        "${{parent.jobs.resolve_training_data.outputs.data}}"
    )
    assert "resolve_validation_data" not in mapping["jobs"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{latest: azureml:rows:3}", "latest takes"),
        ("{newest: azureml:rows}", "{latest: REFERENCE}"),
        ("{latest: azureml:rows, offset: a week}", "offset 'a week'"),
        ("[a.jsonl]", "{latest: REFERENCE}"),
    ],
)
def test_what_cannot_be_looked_up_is_said_at_its_line(project: Path, value: str, said: str) -> None:
    (project / "recipe.yml").write_text(RECIPE.replace('{latest: "incoming/{yyyy}/*.jsonl"}', value))
    found = [problem for problem in compile.check("recipe.yml") if problem.severity == "error"]
    assert [(problem.code, problem.line) for problem in found] == [("AZD205", 5)], found
    assert said in found[0].message


def test_a_firing_gives_its_moment(project: Path) -> None:
    at = datetime(2027, 1, 2, 3, tzinfo=UTC)
    assert fired_pipeline(Path("nightly.yml"), {}, at).inputs["as_of"].default == "2027-01-02T03:00:00Z"
    given = fired_pipeline(Path("recipe.yml"), {}, at).inputs["as_of"].default
    assert datetime.fromisoformat(str(given)) == at


def test_a_schedule_is_run_here_as_a_firing_would(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for at, number in (("2026-05-01T00:00:00Z", 1), ("2027-05-01", 2)):
        out = project / f"out-{number}"
        with pytest.raises(SystemExit) as ended:
            main(["schedule", "run", "nightly.yml", "--at", at, "--out", str(out), "--no-tracking"])
        assert ended.value.code == 0, capfd.readouterr().err
        assert json.loads(next(out.glob("found*")).read_text()) == {"n": number}
    with pytest.raises(SystemExit) as ended:
        main(["schedule", "run", "nightly.yml", "--at", "noon", "--no-tracking"])
    assert ended.value.code == 2
