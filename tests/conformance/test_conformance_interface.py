"""What a step is given: inputs and outputs of every type, its code, its variables, its folder; one run proves all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conformance_helpers import Project, Ran, command_step
from conformance_table import row
from engine_fixtures import IMAGE

TEXT = 'größer als 日本 \U0001f600, $HOME `x` "y" a\\b'
#: Writes down all that a step can know of how it was started.
PROBE = """
import json, os, sys
import included
told, rest = sys.argv[1], sys.argv[2:]
json.dump({
    "arguments": rest,
    "variables": dict(os.environ),
    "folder": os.getcwd(),
    "files": sorted(os.path.relpath(os.path.join(at, name)) for at, _, names in os.walk(".") for name in names),
    "included": included.NAME,
}, open(told, "w"))
"""
DATA = ("a_file", "a_folder", "a_table", "a_model", "an_mlflow_model")
COMMAND = (
    "python3 probe.py '${{outputs.told}}' text='${{inputs.text}}' whole=${{inputs.whole}} ratio=${{inputs.ratio}}"
    " flag=${{inputs.flag}} level=${{inputs.level}} $[[given=${{inputs.given}}]] $[[absent=${{inputs.absent}}]] "
    + " ".join(f"{name}=${{{{inputs.{name}}}}}" for name in DATA)
    + " && test -d ${{outputs.folder}} && cp ${{inputs.a_file}} ${{outputs.folder}}/copy"
    " && for made in '${{outputs.table}}' '${{outputs.model}}' '${{outputs.mlflow}}';"
    ' do cp -r ${{inputs.a_folder}}/. "$made"; done'
)
PROBE_COMPONENT = {
    "type": "command",
    "name": "probe",
    "inputs": {
        "text": {"type": "string"},
        "whole": {"type": "integer", "min": 1, "max": 9},
        "ratio": {"type": "number"},
        "flag": {"type": "boolean"},
        "level": {"type": "integer", "default": 3},
        "given": {"type": "string", "optional": True},
        "absent": {"type": "string", "optional": True},
        "a_file": {"type": "uri_file"},
        "a_folder": {"type": "uri_folder"},
        "a_table": {"type": "mltable"},
        "a_model": {"type": "custom_model"},
        "an_mlflow_model": {"type": "mlflow_model"},
    },
    "outputs": {
        "told": {"type": "uri_file"},
        "folder": {"type": "uri_folder", "mode": "upload"},
        "table": {"type": "mltable"},
        "model": {"type": "custom_model", "mode": "rw_mount"},
        "mlflow": {"type": "mlflow_model"},
    },
    "code": "../src",
    "additional_includes": ["../shared/included.py", "../shared/more"],
    "environment": {"image": IMAGE},
    "command": COMMAND,
}
#: Reads a file of its own code folder and hands on what it was bound to.
FIT = {
    "type": "command",
    "name": "fit",
    "inputs": {"rows": {"type": "uri_folder"}, "word": {"type": "string"}},
    "outputs": {"fitted": {"type": "uri_file"}},
    "code": "../plain",
    "environment": {"image": IMAGE},
    "command": "{ cat '${{inputs.rows}}/copy'; echo '${{inputs.word}}'; ls -A | sort; } > '${{outputs.fitted}}'",
}
INNER = {
    "type": "pipeline",
    "name": "inner",
    "inputs": {"rows": {"type": "uri_folder"}, "word": {"type": "string", "default": "default"}},
    "outputs": {"fitted": {"type": "uri_file"}},
    "jobs": {
        "fit": {
            "type": "command",
            "component": "./fit.yml",
            "inputs": {
                "rows": "${{parent.inputs.rows}}",
                "word": "${{parent.inputs.word}} &",
            },
            "outputs": {"fitted": "${{parent.outputs.fitted}}"},
        }
    },
}
FILES: dict[str, Any] = {
    "src/probe.py": PROBE,
    "src/kept/deep.txt": "kept",
    "src/left out.log": "left out",
    "src/.amlignore": "*.log\nnotes/\n",
    "src/.gitignore": "probe.py\n",
    "src/notes/n.txt": "left out",
    "plain/kept.txt": "kept",
    "plain/left.tmp": "left out",
    "plain/.gitignore": "*.tmp\n",
    "shared/included.py": "NAME = 'beside'\n",
    "shared/more/inside.txt": "included",
    "data/größer.txt": "rows\n",
    "data/folder/one.txt": "1",
    "data/folder/MLTable": "paths:\n  - file: ./one.txt\n",
    "components/probe.yml": PROBE_COMPONENT,
    "components/fit.yml": FIT,
    "components/inner.yml": INNER,
}
INPUTS: dict[str, Any] = {
    "text": TEXT,
    "whole": 7,
    "ratio": 0.25,
    "flag": True,
    "a_file": {"type": "uri_file", "path": "./data/größer.txt", "mode": "download"},
    "a_folder": {"type": "uri_folder", "path": "./data/folder", "mode": "ro_mount"},
    "a_table": {"type": "mltable", "path": "./data/folder"},
    "a_model": {"type": "custom_model", "path": "./data/folder"},
    "an_mlflow_model": {"type": "mlflow_model", "path": "./data/folder"},
}
JOBS: dict[str, Any] = {
    "probe": {
        "type": "command",
        "component": "./components/probe.yml",
        "inputs": {**{name: f"${{{{parent.inputs.{name}}}}}" for name in INPUTS}, "given": "yes"},
        "environment_variables": {"MY_SETTING": "größer, 'quoted'"},
    },
    "train": {
        "type": "pipeline",
        "component": "./components/inner.yml",
        "inputs": {"rows": "${{parent.jobs.probe.outputs.folder}}"},
    },
    "last": command_step(
        "tr a-z A-Z < '${{inputs.fitted}}' > '${{outputs.shouted}}'",
        inputs={"fitted": "${{parent.jobs.train.outputs.fitted}}"},
        outputs={"shouted": "${{parent.outputs.shouted}}"},
    ),
}


@pytest.fixture(scope="module")
def ran(shared_project: Project) -> Ran:
    shared_project.write(FILES)
    outputs = {"shouted": {"type": "uri_file"}}
    done = shared_project.run(JOBS, {"out": shared_project.folder / "out"}, inputs=INPUTS, outputs=outputs)
    assert done.finished.error is None, done.finished.error
    return done


@pytest.fixture(scope="module")
def told(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = ran.json("probe", "told")
    return found


@pytest.fixture(scope="module")
def given(told: dict[str, Any]) -> dict[str, str]:
    """The arguments of the probe by name."""
    return dict(argument.split("=", 1) for argument in told["arguments"])


@row("component", "component in a YAML file", "component: ./component.yml")
def test_a_component_runs(ran: Ran) -> None:
    assert ran.statuses["probe"] == "completed"


@row("inline", "command written in the step", "jobs.*.command")
def test_an_inline_command_runs(ran: Ran) -> None:
    assert ran.statuses["last"] == "completed"


@row("literals", "inputs `string`, `integer`, `number`, `boolean`", "inputs")
def test_literals_arrive_as_azure_spells_them(given: dict[str, str]) -> None:
    assert (given["whole"], given["ratio"], given["flag"]) == ("7", "0.25", "True")


@row("unicode", "any text in a value, unchanged", "inputs")
def test_text_arrives_unchanged_and_is_never_run(given: dict[str, str]) -> None:
    assert given["text"] == TEXT


@row("data", "inputs `uri_file`, `uri_folder`, `mltable`, `custom_model`, `mlflow_model`", "inputs.*.path")
def test_data_arrives_as_paths_that_can_be_read(ran: Ran, given: dict[str, str]) -> None:
    assert all(given[name].startswith("/") for name in DATA)
    assert (ran.output("probe", "folder") / "copy").read_text() == "rows\n"
    assert (ran.output("probe", "table") / "one.txt").read_text() == "1"


@row("defaults", "defaults", "inputs.*.default")
def test_defaults_stand_where_nothing_is_given(ran: Ran, given: dict[str, str]) -> None:
    assert given["level"] == "3"
    assert "default &\n" in ran.output("train.fit", "fitted").read_text()


@row("optional", "optional inputs", "$[[--name ${{inputs.name}}]]")
def test_what_stands_in_brackets_is_there_only_when_it_is_given(given: dict[str, str]) -> None:
    assert given["given"] == "yes"
    assert "absent" not in given


@row("modes", "modes of inputs and outputs", "mode", remark="mount, download, upload: a path")
def test_modes_change_nothing(ran: Ran) -> None:
    assert (ran.output("probe", "model") / "one.txt").read_text() == "1"


@row("outputs", "outputs `uri_file`, `uri_folder`, `mltable`, `custom_model`, `mlflow_model`", "outputs")
def test_outputs_are_committed(ran: Ran) -> None:
    assert ran.output("probe", "told").is_file()
    kinds = ("folder", "table", "model", "mlflow")
    assert [ran.output("probe", name).is_dir() for name in kinds] == [True] * 4


@row("pipeline-outputs", "outputs of the pipeline", "outputs: ${{parent.outputs.name}}")
def test_the_pipelines_output_is_delivered(shared_project: Project, ran: Ran) -> None:
    assert (shared_project.folder / "out" / "shouted").read_text() == ran.output("last", "shouted").read_text()


@row("nested", "pipelines in pipelines, bound inputs", "component: ./pipeline.yml")
def test_nested_pipelines_run_with_what_they_are_bound_to(ran: Ran) -> None:
    assert ran.statuses == {"probe": "completed", "train.fit": "completed", "last": "completed"}
    assert ran.output("last", "shouted").read_text().startswith("ROWS\nDEFAULT &\n")


@row("amlignore", "code without what `.amlignore` names", "code")
def test_the_snapshot_leaves_out_what_amlignore_names(told: dict[str, Any]) -> None:
    assert {"probe.py", "kept/deep.txt"} <= set(told["files"])
    assert not {"left out.log", "notes/n.txt"} & set(told["files"])


@row("gitignore", "code without what `.gitignore` names, where there is no `.amlignore`", "code")
def test_gitignore_counts_where_there_is_no_amlignore(ran: Ran) -> None:
    files = ran.output("train.fit", "fitted").read_text().split()
    assert "kept.txt" in files
    assert "left.tmp" not in files


@row("includes", "files and folders beside the code", "additional_includes")
def test_additional_includes_lie_beside_the_code(told: dict[str, Any]) -> None:
    assert told["included"] == "beside"
    assert "more/inside.txt" in told["files"]


@row("folder", "working folder: the step's own copy of its code", "code")
def test_the_working_folder_is_a_copy(shared_project: Project, told: dict[str, Any]) -> None:
    assert Path(told["folder"]).name == "snapshot"
    assert Path(told["folder"]).is_relative_to(shared_project.folder / ".azdistill")


@row("environment-variables", "variables of the step", "environment_variables")
def test_variables_of_the_step_arrive(told: dict[str, Any]) -> None:
    assert told["variables"]["MY_SETTING"] == "größer, 'quoted'"


@row("azureml-variables", "variables that Azure sets", "AZUREML_RUN_ID, AZUREML_ROOT_RUN_ID, ...")
def test_azures_variables_are_there(ran: Ran, told: dict[str, Any]) -> None:
    run_id = ran.finished.state.run_id
    assert told["variables"]["AZUREML_ROOT_RUN_ID"] == run_id
    assert told["variables"]["AZUREML_RUN_ID"] == f"{run_id}.probe.1"
    assert told["variables"]["AZUREML_EXPERIMENT_NAME"] == "conformance"


@row("data-variables", "paths of data as variables", "AZURE_ML_INPUT_*, AZURE_ML_OUTPUT_*")
def test_paths_of_data_are_in_variables(told: dict[str, Any], given: dict[str, str]) -> None:
    variables = told["variables"]
    assert {name: variables[f"AZURE_ML_INPUT_{name}"] for name in DATA} == {name: given[name] for name in DATA}
    assert variables["AZURE_ML_OUTPUT_told"].endswith("/told")
