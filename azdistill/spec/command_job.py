"""A command job that stands by itself, as a pipeline job of one step."""

from __future__ import annotations

from dataclasses import replace

from azdistill.spec.component import RUN_KEYS, runnable
from azdistill.spec.fields import Fields
from azdistill.spec.models import Binding, CommandComponent, Input, Output, Pipeline, Step
from azdistill.spec.pipeline import inline_step, job_input, job_output
from azdistill.spec.source import Report, Where

#: The name of the one step.
MAIN = "main"
_KEYS = (RUN_KEYS - {"additional_includes"}) | {
    *("$schema", "type", "name", "display_name", "experiment_name", "description", "inputs", "outputs", "compute"),
    *("environment_variables", "limits", "identity", "services", "queue_settings", "tags", "properties", "id"),
    "parent_job_name",
}


def command_job(where: Where, report: Report) -> Pipeline:
    """The command job written at ``where``: its inputs and outputs are the pipeline's, and go to the one step."""
    fields = Fields(where, report)
    fields.known(_KEYS, "a command job")
    for key in ("command", "environment"):
        fields.require(key, "a command job")
    inputs = {n: job_input(at, report) for n, at, _ in fields.each("inputs")}
    outputs = {n: job_output(at, report) for n, at, _ in fields.each("outputs")}
    return Pipeline(
        name=fields.text("name"),
        display_name=fields.text("display_name"),
        experiment_name=fields.text("experiment_name"),
        description=fields.text("description") or "",
        inputs=inputs,
        outputs=outputs,
        jobs={MAIN: _step(fields, inputs, outputs)},
        tags=fields.words("tags", strict=True),
        properties=fields.words("properties", strict=True),
        where=where,
    )


def _step(fields: Fields, inputs: dict[str, Input], outputs: dict[str, Output]) -> Step:
    given = {
        name: Binding(path=("parent", "inputs", name), mode=value.mode, where=value.where)
        for name, value in inputs.items()
    }
    made = {
        name: Binding(path=("parent", "outputs", name), mode=value.mode, where=value.where)
        for name, value in outputs.items()
    }
    # A job by itself, unlike a step, may ask for this machine.
    compute = fields.text("compute")
    step = inline_step(MAIN, fields, runnable(fields))
    assert isinstance(step.component, CommandComponent)
    # What the command declares are the types of what the job gives.
    declared = {name: Input(type=value.type, where=value.where) for name, value in inputs.items()}
    return replace(
        step,
        inputs=given,
        outputs=made,
        component=replace(step.component, inputs=declared),
        compute=None if compute in ("local", "azureml:local") else compute,
    )
