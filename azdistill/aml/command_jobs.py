"""A command job that stands by itself, as a pipeline job of one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from azdistill.aml.components import NEVER_EMPTY, RUN_KEYS, runnable
from azdistill.aml.fields import Fields
from azdistill.aml.models import Binding, CommandComponent, Input, Output, Pipeline, Step, Value
from azdistill.aml.pipelines import inline_step, job_input, job_output
from azdistill.aml.source import Report, Where

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
    fields.filled(NEVER_EMPTY)
    return job_of_one_step(fields, _step)


#: Makes the step of a job by itself from the job's keys, its inputs and its outputs.
StepMaker = Callable[[Fields, dict[str, Input], dict[str, Output]], Step]


def job_of_one_step(fields: Fields, make: StepMaker) -> Pipeline:
    """A job by itself as a pipeline job: its inputs and outputs are the pipeline's, and go to the one step."""
    inputs = {n: job_input(at, fields.report) for n, at, _ in fields.each("inputs")}
    outputs = {n: job_output(at, fields.report) for n, at, _ in fields.each("outputs")}
    return Pipeline(
        name=fields.text("name"),
        display_name=fields.text("display_name"),
        experiment_name=fields.text("experiment_name"),
        description=fields.text("description") or "",
        inputs=inputs,
        outputs=outputs,
        jobs={MAIN: replace(make(fields, inputs, outputs), inputs=_given(inputs), outputs=_made(outputs))},
        tags=fields.words("tags", strict=True),
        properties=fields.words("properties", strict=True),
        where=fields.where,
    )


def own_compute(fields: Fields) -> str | None:
    """The compute that a job by itself names; unlike a step, it may ask for this machine."""
    compute = fields.text("compute")
    return None if compute in ("local", "azureml:local") else compute


def _given(inputs: Mapping[str, Input]) -> dict[str, Value]:
    return {
        name: Binding(path=("parent", "inputs", name), mode=value.mode, where=value.where)
        for name, value in inputs.items()
    }


def _made(outputs: Mapping[str, Output]) -> dict[str, Binding | Output]:
    return {
        name: Binding(path=("parent", "outputs", name), mode=value.mode, where=value.where)
        for name, value in outputs.items()
    }


def _step(fields: Fields, inputs: dict[str, Input], outputs: dict[str, Output]) -> Step:
    step = inline_step(MAIN, fields, runnable(fields))
    assert isinstance(step.component, CommandComponent)
    # What the command declares are the types of what the job gives.
    declared = {name: Input(type=value.type, where=value.where) for name, value in inputs.items()}
    return replace(step, component=replace(step.component, inputs=declared), compute=own_compute(fields))
