"""The pipeline that measures one model: ``pipelines/evaluate.yml``, with what this model does not need left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from azdistill import assets, families
from azdistill.client.names import Column
from azdistill.errors import RunFailed, UserError
from azdistill.recipe.read import is_local
from azdistill.recipe.refer import Weights

#: What a run that made a model says about its rows and how it was measured, so that others are measured alike:
#: inputs of prepare_data, and those of evaluate (``mine=theirs``, as the pipeline that distils names them).
_ROWS = ("prompt_column", "reference_column", "system_prompt", "on_bad_rows")
_MEASURED = {
    **{"max_new_tokens": "max_new_tokens", "batch_size": "evaluation_batch_size", "latency_rows": "latency_rows"},
    **{"dtype": "evaluation_dtype", "device": "device", "seed": "seed"},
}
_MODELS = ("distilled", "baseline_weights", "baseline_id", "revision")


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure: its ``column``, and ``weights`` (a folder, ``azureml:...``) or ``hub_id``.

    ``inputs`` are those of the run that it comes from, empty where there is none; ``where`` is what that run's
    pipeline says of the compute of its evaluation.
    """

    name: str
    column: Column
    task: str
    weights: str | None = None
    hub_id: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, Any] = field(default_factory=dict)


def subject(
    name: str,
    column: Column,
    source: Weights,
    inputs: Mapping[str, Any],
    task_type: str | None = None,
    where: Mapping[str, Any] | None = None,
) -> Subject:
    """The model ``name``, whose weights ``source`` tells; ``inputs`` and ``where`` are of the run it comes from."""
    task = task_of(task_type or inputs.get("task_type"), name)
    weights, hub_id = (source.value, None) if source.kind == "path" else (None, source.value)
    return Subject(name, column, task, weights, hub_id, inputs, where or {})


def source_of(inputs: Mapping[str, Any]) -> Weights | None:
    """The student as it was, as the inputs of the run that taught it say."""
    if weights := inputs.get("student_weights"):
        return Weights("path", str(weights))
    return Weights("id", str(inputs["student_id"])) if inputs.get("student_id") else None


def path(address: str) -> Weights:
    """Weights at a folder or an address."""
    return Weights("path", address)


def measured(comparison: bytes, column: Column) -> dict[str, Any]:
    """What the text of comparison.json says of one model. RunFailed where it is not of ours."""
    try:
        found: dict[str, Any] = dict(json.loads(comparison)[column])
    except (ValueError, KeyError, TypeError) as error:
        raise RunFailed(f"the report compares no {column} model: {error!r}", code="AZD496") from None
    return found


def task_of(word: object, name: str) -> str:
    """The task that ``word`` names. UserError AZD490 where the model's own run names none, and nobody else does."""
    task = families.member(assets.tasks(), str(word or ""))
    if task is None:
        raise UserError(
            f"what '{name}' is to be measured on is not known: no run that made it is here",
            code="AZD490",
            hint=f"give task_type= (one of {', '.join(families.names(assets.tasks()))})",
        )
    return task.name


def evaluation_of(subject: Subject, test_data: str | Path) -> dict[str, Any]:
    """The pipeline as plain data, with absolute paths. UserError AZD494 where the test data is not there."""
    ready = assets.pipeline("evaluate")
    mapping: dict[str, Any] = yaml.safe_load(ready.read_text(encoding="utf-8"))
    inputs, jobs = _inputs(subject, test_data), mapping["jobs"]
    for node in jobs.values():
        node["component"] = str((ready.parent / node["component"]).resolve())
    jobs["prepare"]["inputs"] |= {name: _bound(name) for name in _ROWS if name in inputs}
    taken = ["task_type", *(name for name in (*_MODELS, *_MEASURED) if name in inputs)]
    rows = {"test_rows": "${{parent.jobs.prepare.outputs.train}}"}
    jobs["evaluate"]["inputs"] = rows | {name: _bound(name) for name in taken}
    if subject.where:
        jobs["evaluate"].pop("resources", None)
        jobs["evaluate"] |= dict(subject.where)
    about = {"display_name": f"evaluate: {subject.name}", "experiment_name": f"evaluate-{subject.task}"}
    return {**mapping, **about, "description": f"Measures {subject.name}.", "inputs": inputs}


def _inputs(subject: Subject, test_data: str | Path) -> dict[str, Any]:
    known = {name: value for name, value in subject.inputs.items() if value not in (None, "")}
    inputs: dict[str, Any] = {
        "test_data": {"type": "uri_file", "path": _placed(test_data)},
        "task_type": subject.task,
        **{name: known[name] for name in _ROWS if name in known},
        **{mine: known[theirs] for mine, theirs in _MEASURED.items() if theirs in known},
    }
    if "system_prompt" in inputs and not isinstance(inputs["system_prompt"], dict):
        inputs["system_prompt"] = {"type": "uri_file", "path": inputs["system_prompt"]}
    if subject.weights:
        column = "distilled" if subject.column == "distilled" else "baseline_weights"
        inputs[column] = {"type": "custom_model", "path": subject.weights}
    else:
        inputs["baseline_id"] = subject.hub_id
        inputs |= {"revision": known["revision"]} if "revision" in known else {}
    return inputs


def _placed(test_data: str | Path) -> str:
    text = str(test_data)
    if not is_local(text):
        return text
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise UserError(f"there is no file {text}", code="AZD494", hint="test_data is a file of rows")
    return str(path)


def _bound(name: str) -> str:
    return f"${{{{parent.inputs.{name}}}}}"
