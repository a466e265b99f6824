"""A command job or a sweep job that stands by itself, as a pipeline job of one step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from azdistill.aml.components import NEVER_EMPTY, RUN_KEYS, queue_settings, resources, runnable
from azdistill.aml.fields import Fields
from azdistill.aml.models import Binding, CommandComponent, Input, Output, Pipeline, Step
from azdistill.aml.pipelines import JOB_KEYS, about_job, inline_step
from azdistill.aml.source import Report, Where
from azdistill.aml.sweeps import SWEEP_KEYS, declared, searched, sweep

#: The name of the one step.
MAIN = "main"
_RUN_KEYS = RUN_KEYS - {"additional_includes"}
_COMMAND_KEYS = JOB_KEYS | _RUN_KEYS | {"environment_variables", "limits", "queue_settings", "parent_job_name"}
_TRIAL_KEYS = _RUN_KEYS | {"environment_variables", "queue_settings"}


def command_job(where: Where, report: Report) -> Pipeline:
    """The command job written at ``where``: its inputs and outputs are the pipeline's, and go to the one step."""
    fields = Fields(where, report)
    fields.known(_COMMAND_KEYS, "a command job")
    fields.require("a command job", "command", "environment")
    fields.filled(NEVER_EMPTY)
    job = Pipeline(**about_job(fields))
    step = inline_step(MAIN, fields, runnable(fields))
    assert isinstance(step.component, CommandComponent)
    component = replace(step.component, inputs=_typed_inputs(job))
    step = replace(step, component=component, compute=_compute(fields))
    return replace(job, jobs={MAIN: _bound(step, job)})


def sweep_job(where: Where, report: Report) -> Pipeline:
    """The sweep job written at ``where``: its inputs and outputs are the pipeline's, and go to the one step."""
    fields = Fields(where, report)
    fields.known(JOB_KEYS | SWEEP_KEYS, "a sweep job")
    search = sweep(fields)
    job = Pipeline(**about_job(fields))
    trial = Fields(where / "trial", report)
    trial.known(_TRIAL_KEYS, "the trial of a sweep job")
    if trial.data:
        trial.require("the trial of a sweep job", "command", "environment")
    hyperparameters = {name: declared(drawn) for name, drawn in search.search_space.items() if name not in job.inputs}
    component = CommandComponent(
        **runnable(trial),
        # Code may find in its variables what the command does not mention.
        inputs=_typed_inputs(job) | hyperparameters,
        outputs={name: Output(type=port.type, mode=port.mode, where=port.where) for name, port in job.outputs.items()},
        where=trial.where,
    )
    step = Step(
        name=MAIN,
        type="sweep",
        component=component,
        compute=_compute(fields),
        environment_variables=trial.words("environment_variables"),
        resources=resources(fields),
        identity=fields.mapping("identity") or None,
        services=fields.mapping("services"),
        queue_settings=queue_settings(fields) or queue_settings(trial),
        where=where,
    )
    return replace(job, jobs={MAIN: searched(_bound(step, job), search)})


def _typed_inputs(job: Pipeline) -> dict[str, Input]:
    """What the command declares: inputs of the types of what the job gives."""
    return {name: Input(type=port.type, where=port.where) for name, port in job.inputs.items()}


def _bound(step: Step, job: Pipeline) -> Step:
    """``step`` with its inputs and outputs bound to those of the job."""
    return replace(step, inputs=_bindings("inputs", job.inputs), outputs=_bindings("outputs", job.outputs))


def _bindings(kind: str, ports: Mapping[str, Input | Output]) -> dict[str, Binding]:
    return {
        name: Binding(path=("parent", kind, name), mode=port.mode, where=port.where) for name, port in ports.items()
    }


def _compute(fields: Fields) -> str | None:
    """The compute that a job by itself names; unlike a step, it may ask for this machine."""
    compute = fields.text("compute")
    return None if compute in ("local", "azureml:local") else compute
