"""Expressions that Azure ML itself replaces: one set of rules, whichever way a pipeline is started."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback import Workspace
from submit_helpers import impatient

from azdistill import AzdistillError, MLClient
from azdistill.cli import main
from azdistill.cloud.schedules import resource

TRIGGER_TIME = "${{creation_context.trigger_time}}"
#: As in azureml-examples, cli/schedules: a pipeline whose command has its input without quotes, and schedules of it.
PIPELINE = """\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
experiment_name: hello
settings: {default_compute: azureml:cpu-cluster}
inputs:
  hello_string: HELLO
outputs:
  said: {path: "azureml://datastores/${{default_datastore}}/paths/azureml/${{name}}/${{output_name}}/"}
jobs:
  hello:
    command: echo COMMAND > ${{outputs.said}}/said.txt
    environment: {image: "python:3.11"}
    inputs: {text: "${{parent.inputs.hello_string}}"}
    outputs: {said: "${{parent.outputs.said}}"}
"""
SCHEDULE = """\
$schema: https://azuremlschemas.azureedge.net/latest/schedule.schema.json
name: hello
trigger: {type: cron, expression: "0 3 * * *", start_time: "2031-01-01T00:00:00"}
create_job:
  type: pipeline
  job: ./pipeline.yml
  inputs:
    hello_string: "HELLO"
"""
RECIPE = """\
task: qa
teacher: {model: my-teacher, endpoint: "https://teacher.example/v1"}
student: owner/student
data:
  training_data: {latest: "incoming/{yyyy}/*.jsonl"}
  test_data: {latest: azureml:questions, offset: -1d}
"""
QUOTINGS = ("${{inputs.text}}", '"${{inputs.text}}"', "'${{inputs.text}}'")
#: A value -> the code that it ends with where a person starts the pipeline, and where a schedule does; none: it runs.
VALUES = {
    "${{name}}": ("", ""),
    "${{ name }}": ("", ""),
    "${{default_datastore}}": ("", ""),
    "of ${{name}}": ("", ""),
    TRIGGER_TIME: ("AZD158", ""),
    "at ${{ creation_context.trigger_time }}": ("AZD158", ""),
    "${{creation_context.trigger_tme}}": ("AZD157", "AZD157"),
    "${{nmae}}": ("AZD157", "AZD157"),
    "${{output_name}}": ("AZD157", "AZD157"),
    "${{creation_context.user}}": ("AZD157", "AZD157"),
    "${{ creation_context . trigger_time }}": ("AZD157", "AZD157"),
    "${{creation_context.trigger_time}": ("AZD157", "AZD157"),
    "${{name": ("AZD157", "AZD157"),
    "${{parent.inputs.hello_string}}": ("AZD156", "AZD156"),
    "${{github.ref}}": ("AZD156", "AZD156"),
}


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace"), execute=False) as workspace:
        workspace.add_compute("cpu-cluster")
        yield workspace


@pytest.fixture(autouse=True)
def folder(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(resource, "POLL", 0.05)
    ws.config(tmp_path)
    with ws.environ(), impatient():
        yield tmp_path


def write(value: str, command: str = QUOTINGS[0], *, by_schedule: bool = False) -> None:
    """The two files, the value in one of them."""
    pipeline = PIPELINE.replace("COMMAND", command)
    Path("pipeline.yml").write_text(pipeline if by_schedule else pipeline.replace(": HELLO", f': "{value}"'))
    Path("schedule.yml").write_text(SCHEDULE.replace("HELLO", value if by_schedule else "hello"))
    if not by_schedule:
        # As the sample that gives no inputs of its own.
        Path("schedule.yml").write_text(SCHEDULE.partition("  inputs:")[0])


def program(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command line says of it; empty where it went well."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    said = capsys.readouterr()
    return "" if ended.value.code in (0, None) else said.err + said.out


def called(call: Callable[[], object]) -> str:
    try:
        call()
    except AzdistillError as error:
        return str(error)
    return ""


def codes(said: str) -> set[str]:
    return set(re.findall(r"error\[(AZD\d{3})\]", said))


@pytest.mark.parametrize("value", VALUES)
def test_every_way_to_start_a_pipeline_by_hand_takes_and_refuses_the_same(
    value: str, ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    write(value)
    by_hand, fired = VALUES[value]
    said = {
        "run": program(capsys, "run", "pipeline.yml", "--no-tracking"),
        "dry run": program(capsys, "run", "pipeline.yml", "--dry-run"),
        "submit": program(capsys, "submit", "pipeline.yml", "--yes"),
        "MLClient.local": called(lambda: MLClient.local(".", tracking=False).jobs.create_or_update("pipeline.yml")),
        "MLClient": called(lambda: MLClient.from_config().jobs.create_or_update("pipeline.yml")),
    }
    assert {way: codes(text) for way, text in said.items()} == dict.fromkeys(said, {by_hand} - {""})
    for text in filter(codes, said.values()):
        assert re.search(r"pipeline\.yml:6:\d+", text), text
    # A pipeline that a schedule may start is right as it is.
    assert codes(program(capsys, "validate", "pipeline.yml")) == {fired} - {""}
    assert not ws.violations


@pytest.mark.parametrize("by_schedule", [True, False], ids=["in the schedule", "in the pipeline"])
@pytest.mark.parametrize("value", VALUES)
def test_every_way_to_a_schedule_takes_and_refuses_the_same(
    value: str, by_schedule: bool, ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    write(value, by_schedule=by_schedule)
    fired = VALUES[value][1]
    said = {
        "validate": program(capsys, "validate", "schedule.yml"),
        "apply": program(capsys, "schedule", "apply", "schedule.yml", "--yes"),
        "diff": program(capsys, "schedule", "diff", "schedule.yml"),
        "schedule run": program(capsys, "schedule", "run", "schedule.yml", "--no-tracking"),
    }
    assert {way: codes(text) for way, text in said.items()} == dict.fromkeys(said, {fired} - {""})
    place = r"schedule\.yml:8:20" if by_schedule else r"pipeline\.yml:6:18"
    for text in filter(codes, said.values()):
        assert re.search(place, text), text
    if not fired:
        # The service replaces it, so it is sent as it was written.
        sent = ws.store["schedules"]["hello"]["properties"]["action"]["jobDefinition"]["inputs"]
        assert sent["hello_string"]["value"] == value
    assert not ws.violations


@pytest.mark.parametrize("command", QUOTINGS)
def test_the_services_words_are_no_text_for_a_shell_and_other_text_is(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in ("${{name}}", TRIGGER_TIME, "${{default_datastore}}"):
        write(value, command, by_schedule=True)
        assert program(capsys, "validate", "schedule.yml") == ""
    write("${{name}} $(id) `id`", command, by_schedule=True)
    quoted = command.startswith("'")
    assert codes(program(capsys, "validate", "schedule.yml")) == (set() if quoted else {"AZD156"})


def test_a_misspelt_word_is_told_with_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    write("${{creation_context.trigger_tme}}", by_schedule=True)
    said = program(capsys, "validate", "schedule.yml")
    assert "input 'hello_string' holds ${{creation_context.trigger_tme}}, which Azure ML does not know" in said
    assert "did you mean '${{creation_context.trigger_time}}'?" in said
    for word, meant in (("${{nme}}", "${{name}}"), ("${{outputname}}", "${{output_name}}")):
        Path("pipeline.yml").write_text(PIPELINE.replace("COMMAND", "hi").replace("${{output_name}}", word))
        said = program(capsys, "validate", "pipeline.yml")
        assert f"the path of output 'said' holds {word}, which Azure ML does not know" in said
        assert f"did you mean '{meant}'?" in said
        assert re.search(r"pipeline\.yml:8:\d+", said)


@pytest.mark.parametrize(
    ("binding", "meant"),
    [
        ("${{creation_context.trigger_tme}}", "'${{creation_context.trigger_time}}'"),
        ("${{parents.inputs.hello_string}}", "'${{parent.inputs.hello_string}}'"),
        ("${{parent.inputs.hello_strin}}", "'hello_string'"),
    ],
)
def test_a_misspelt_binding_of_a_step_is_told_with_what_was_meant(
    binding: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("pipeline.yml").write_text(PIPELINE.replace("${{parent.inputs.hello_string}}", binding))
    said = program(capsys, "validate", "pipeline.yml")
    assert codes(said) == {"AZD140"}
    assert f"did you mean {meant}?" in said
    assert re.search(r"pipeline\.yml:13:\d+", said)


@pytest.mark.parametrize("whose", ["job", "step"])
def test_the_path_of_an_output_has_a_moment_only_where_a_schedule_starts_it(
    whose: str, ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    write("hello", by_schedule=True)
    path = f"azureml://datastores/store/paths/{TRIGGER_TIME}/"
    text = Path("pipeline.yml").read_text()
    if whose == "step":
        text = text.replace('said: "${{parent.outputs.said}}"', f'said: {{type: uri_folder, path: "{path}"}}')
        text = re.sub(r"outputs:\n  said: .*\n", "", text)
    else:
        text = re.sub(r"said: \{path: .*\}", f'said: {{path: "{path}"}}', text)
    Path("pipeline.yml").write_text(text)
    for way in (("run", "--no-tracking"), ("run", "--dry-run"), ("submit", "--yes")):
        said = program(capsys, way[0], "pipeline.yml", *way[1:])
        assert codes(said) == {"AZD158"}, said
        assert re.search(r"pipeline\.yml:\d+:\d+", said)
    assert program(capsys, "validate", "pipeline.yml") == ""
    for verb, *options in (("apply", "--yes"), ("diff",), ("run", "--no-tracking")):
        assert program(capsys, "schedule", verb, "schedule.yml", *options) == ""
    assert not ws.violations


def test_data_whose_path_is_another_at_each_firing_is_not_called_frozen(capsys: pytest.CaptureFixture[str]) -> None:
    write("hello", by_schedule=True)
    for word, code in ((TRIGGER_TIME, set()), ("${{default_datastore}}", {"AZD450"})):
        data = f'{{type: uri_folder, path: "azureml://datastores/store/paths/{word}/"}}'
        text = PIPELINE.replace("COMMAND", "hi").replace("HELLO", data)
        Path("pipeline.yml").write_text(text)
        Path("schedule.yml").write_text(SCHEDULE.partition("  inputs:")[0])
        assert codes(program(capsys, "schedule", "apply", "schedule.yml", "--yes")) == code


@pytest.mark.parametrize("kind", ["integer", "number", "boolean"])
def test_only_text_can_be_filled_in(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(TRIGGER_TIME, by_schedule=True)
    component = f"type: command\nname: hi\nenvironment: azureml:e:1\ninputs: {{text: {{type: {kind}}}}}\n"
    Path("hi.yml").write_text(component + "command: echo ${{inputs.text}}\n")
    step = 'type: command\n    component: ./hi.yml\n    inputs: {text: "${{parent.inputs.hello_string}}"}\n'
    head = PIPELINE.partition("jobs:\n")[0].replace("HELLO", "1").partition("outputs:")[0]
    Path("pipeline.yml").write_text(f"{head}jobs:\n  hello:\n    {step}")
    assert codes(program(capsys, "validate", "schedule.yml")) == {"AZD132"}


def test_a_step_is_bound_to_an_input_that_holds_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    write("hello")
    Path("pipeline.yml").write_text(Path("pipeline.yml").read_text().replace("parent.inputs.hello_string", "name"))
    said = program(capsys, "validate", "pipeline.yml")
    assert codes(said) == {"AZD140"}
    assert "stand in the pipeline's inputs: bind the step to one with ${{parent.inputs.NAME}}" in said


@pytest.mark.parametrize(("value", "code"), [(TRIGGER_TIME, set()), ("${{creation_context.trigger_tme}}", {"AZD157"})])
def test_a_recipe_is_compiled_by_the_same_rules(value: str, code: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("recipe.yml").write_text(RECIPE)
    Path("incoming").mkdir()
    assert codes(program(capsys, "compile", "recipe.yml", "-o", "-", "--set", f"as_of={value}")) == code


def test_a_local_run_puts_its_own_name_and_the_datastores_in_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    write("${{name}} in ${{default_datastore}}")
    for _ in range(2):
        with pytest.raises(SystemExit):
            main(["run", "pipeline.yml", "--no-tracking", "--json", "--out", "out"])
        run_id = re.search(r'"run_id": "([^"]+)"', capsys.readouterr().out)
        assert run_id
        assert Path("out/said/said.txt").read_text() == f"{run_id[1]} in workspaceblobstore\n"


def test_a_firing_on_this_machine_has_its_moment_and_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    write(f"{TRIGGER_TIME} ${{{{name}}}}", by_schedule=True)
    arguments = ["schedule", "run", "schedule.yml", "--no-tracking", "--at", "2026-12-01T03:00:00Z", "--json"]
    with pytest.raises(SystemExit):
        main([*arguments, "--out", "out"])
    run_id = re.search(r'"run_id": "([^"]+)"', capsys.readouterr().out)
    assert run_id
    assert Path("out/said/said.txt").read_text() == f"2026-12-01T03:00:00Z {run_id[1]}\n"


def test_the_default_datastore_of_a_path_is_the_one_that_the_settings_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "azureml/${{name}}/${{output_name}}/"
    for settings, store in (("", "workspaceblobstore"), (", default_datastore: azureml:mine", "mine")):
        word = PIPELINE.replace("COMMAND", "hi").replace(path, f"kept/{store}/")
        word = word.replace("cpu-cluster}", f"cpu-cluster{settings}}}")
        places = []
        for text in (word, word.replace("${{default_datastore}}", store)):
            Path("pipeline.yml").write_text(text)
            assert program(capsys, "run", "pipeline.yml", "--no-tracking") == ""
            places.append([file for file in (tmp_path / "state").rglob("said.txt") if store in file.parts])
        assert places[0] == places[1] != []


def test_data_whose_path_holds_what_nothing_replaces_is_refused_and_never_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("hello")
    data = "{type: uri_folder, path: 'azureml://datastores/store/paths/rows/WORD/'}"
    text = Path("pipeline.yml").read_text().replace('hello_string: "hello"', f"hello_string: {data}")
    for word, says in (
        ("${{github.ref}}", "holds ${{github.ref}}, which nothing replaces here"),
        ("${{name}}", "which does not exist"),
        (TRIGGER_TIME, "which only a schedule fills in when it fires"),
    ):
        Path("pipeline.yml").write_text(text.replace("WORD", word))
        said = program(capsys, "run", "pipeline.yml", "--no-tracking")
        assert says in said
        assert "pipeline.yml:6:" in said
