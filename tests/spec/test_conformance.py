"""What azdistill accepts, azure-ai-ml accepts, and means the same by it. Slow to import: the only such module here."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from spec_cases import CASES, INNER, OUTER, TRAIN, job, pipeline, write

from azdistill import aml
from azdistill.aml import models
from azdistill.cloud.submit.prepare import ONLY_ON_AZURE
from azdistill.cloud.submit.sdk_job import allowed
from azdistill.errors import Problem

ROOT = Path(__file__).parents[2]
COMPONENTS = sorted(ROOT.glob("components/*/*/component.yml"))
PIPELINES = sorted(ROOT.glob("pipelines/*.yml"))


@pytest.fixture(scope="module")
def azure() -> Any:
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    return pytest.importorskip("azure.ai.ml")


#: Cases of ``test_checks`` without errors, and pipelines that use the rest of what Azure ML's YAML has.
GOOD = {
    **{name: files for name, files in CASES.items() if "«" not in "".join(files.values())},
    # Warned of for the sake of a local run only.
    **{name: CASES[name] for name in ("spark and automl", "loops")},
    "settings of a step": job(
        pipeline(
            inputs="{size: STANDARD_D2, n: 2}",
            outputs="{m: {type: custom_model, mode: upload}}",
            more="    outputs: {model: '${{parent.outputs.m}}', summary: {mode: upload, name: s, version: '1'}}\n"
            "    compute: azureml:cpu\n    environment_variables: {A: b, N: '${{parent.inputs.n}}'}\n"
            "    limits: {timeout: 60}\n    resources: {instance_count: 1, instance_type: '${{parent.inputs.size}}'}\n"
            "    identity: {type: user_identity}\n    properties: {a: b}\n    comment: why\n"
            "    queue_settings: {job_tier: spot}\n    distribution: {type: pytorch, process_count_per_instance: 1}\n"
            "    environment: {image: ubuntu}\n    services: {ssh: {type: ssh, ssh_public_keys: k}}\n"
            "settings: {default_compute: azureml:cpu, default_datastore: azureml:d, force_rerun: true,\n"
            "  continue_on_step_failure: false}\n"
            "tags: {a: b}\nproperties: {a: b}\ndisplay_name: d\nexperiment_name: e\ndescription: text\nname: n\n"
            "$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json\n",
        )
    ),
    "an inline command": job(
        "type: pipeline\ninputs: {n: 3, rows: {type: uri_file, path: rows.jsonl, mode: download}}\njobs:\n"
        "  a:\n    type: command\n    command: run ${{inputs.n}} ${{inputs.rows}} > ${{outputs.out}}\n"
        "    environment: azureml:e@latest\n    code: .\n"
        "    inputs:\n      n: ${{parent.inputs.n}}\n"
        "      rows: {type: uri_file, path: '${{parent.inputs.rows}}', mode: download}\n"
        "    outputs: {out: {type: uri_file}}\n"
        "  b:\n    component: file:./train.yml\n    inputs: {rows: '${{parent.jobs.a.outputs.out}}'}\n"
    ),
    "an inline component": job(
        "type: pipeline\njobs:\n  a:\n    type: command\n    component:\n      name: x\n      type: command\n"
        "      command: run ${{inputs.n}}\n      environment: azureml:e@latest\n      inputs: {n: {type: integer}}\n"
        "    inputs: {n: 3}\n"
    ),
    "a whole pipeline component": {"component.yml": "name: inner\n" + INNER, "train.yml": TRAIN},
    "a job of a component": job(
        "type: pipeline\ncomponent: ./inner.yml\ninputs: {rate: 0.5, rows: {type: uri_file, path: rows.jsonl}}\n"
        "experiment_name: e\n",
        inner_yml=INNER,
    ),
    "nested with a literal": job(OUTER % ("0.5", "rate: 0.25"), inner_yml=INNER),
}


def azure_loader(azure: Any, loaded: models.Spec) -> Callable[[Path], Any]:
    loaders = {"Pipeline": azure.load_job, "Environment": azure.load_environment}
    return loaders.get(type(loaded).__name__, azure.load_component)


@pytest.mark.parametrize("files", GOOD.values(), ids=GOOD)
def test_what_is_accepted_loads_in_azure_ai_ml(files: dict[str, str], tmp_path: Path, azure: Any) -> None:
    file, _ = write(tmp_path, files)
    loaded, problems = aml.examine(file)
    assert [problem for problem in problems if problem.code != ONLY_ON_AZURE] == []
    assert loaded is not None
    with allowed(getattr(loaded, "jobs", {})):
        azure_loader(azure, loaded)(file)


def test_the_sweeps_cover_something() -> None:
    assert len(GOOD) >= 15
    assert len(COMPONENTS) >= 6
    assert len(PIPELINES) >= 3


@pytest.mark.parametrize("file", COMPONENTS, ids=lambda file: file.parent.name)
def test_components_read_as_azure_ai_ml_reads_them(file: Path, azure: Any) -> None:
    ours, theirs = aml.load_component(file), azure.load_component(file)
    assert isinstance(ours, aml.CommandComponent)
    command = theirs.task.program_arguments if ours.parallel else theirs.command
    assert (ours.name, ours.version, ours.command) == (theirs.name, str(theirs.version), command)
    assert {n: (i.type, i.optional) for n, i in ours.inputs.items()} == {
        n: (i.type, bool(i.optional)) for n, i in theirs.inputs.items()
    }
    for name, declared in ours.inputs.items():
        if declared.default is not None:
            assert aml.values.default_text(declared.type, declared.default) == str(theirs.inputs[name].default), name
    assert {n: o.type for n, o in ours.outputs.items()} == {n: o.type for n, o in theirs.outputs.items()}
    assert ours.is_deterministic == theirs.is_deterministic


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.stem)
def test_pipelines_read_as_azure_ai_ml_reads_them(file: Path, azure: Any) -> None:
    ours, theirs = aml.load_pipeline(file), azure.load_job(file)
    assert list(ours.jobs) == list(theirs.jobs)
    assert set(ours.inputs) == set(theirs.inputs)
    assert set(ours.outputs) == set(theirs.outputs)


#: Data that the examples fetch by a script.
ABSENT = "AZD123"


@pytest.fixture(scope="module")
def public(azure: Any) -> dict[Path, list[Problem]]:
    """Azure's public examples: the errors of every pipeline that ``load_job`` accepts."""
    folder = os.environ.get("AZDISTILL_EXAMPLES")
    if not folder:
        pytest.skip("AZDISTILL_EXAMPLES names no checkout of azureml-examples")
    files = [file for file in sorted(Path(folder).glob("cli/jobs/**/*.y*ml")) if is_pipeline(file)]
    return {file: errors(file) for file in files if loads(azure.load_job, file)}


def is_pipeline(file: Path) -> bool:
    return re.search(r"^type:\s*pipeline\s*$", file.read_text(encoding="utf-8"), re.MULTILINE) is not None


def errors(file: Path) -> list[Problem]:
    return [p for p in aml.examine(file)[1] if p.severity == "error" and p.code != ABSENT]


def test_public_pipelines_pass(public: dict[Path, list[Problem]]) -> None:
    assert len(public) >= 20
    assert [problem for found in public.values() for problem in found] == []


def loads(load: Callable[[Path], Any], file: Path) -> bool:
    try:
        load(file)
    except Exception:  # noqa: BLE001 (a dozen kinds, none of them common)
        return False
    return True


REFUSED = (
    "unknown key of a pipeline",
    "unknown key of an input",
    "a tag that is a number",
    "an enum of numbers",
    "missing environment",
    "unknown type of an input",
    "name of a component",
    "name of a step",
    "a default for data",
    "a default of the wrong type",
    "a value and a type",
    "required, but bound to an optional input",
    "no condition",
    "no block",
    "a condition that is a word",
    "a block that is a name",
    "a step in both blocks",
    "a loop without a body",
    "words of resources",
    "what is left empty",
    "what a command job leaves empty",
    "identities",
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_azure_ai_ml_refuses_is_refused(name: str, tmp_path: Path, azure: Any) -> None:
    file, expected = write(tmp_path, CASES[name])
    assert expected
    load = azure.load_job if file.name == "pipeline.yml" else azure.load_component
    known, _ = aml.examine(file)
    with allowed(getattr(known, "jobs", {})), pytest.raises(Exception):  # noqa: B017, PT011 (a dozen kinds, none of them common)
        load(file)._validate(raise_error=True)
