"""A sweep job that stands by itself, as a pipeline job of one step."""

from __future__ import annotations

from dataclasses import replace

from azdistill.aml.command_jobs import MAIN, job_of_one_step, own_compute
from azdistill.aml.components import RUN_KEYS, runnable
from azdistill.aml.fields import Fields
from azdistill.aml.models import CommandComponent, Input, Output, Pipeline, Step
from azdistill.aml.run_settings import queue_settings, resources
from azdistill.aml.source import Report, Where
from azdistill.aml.sweep_models import Sweep
from azdistill.aml.sweeps import SWEEP_KEYS, declared, searched, sweep

_KEYS = SWEEP_KEYS | {
    *("$schema", "type", "name", "display_name", "experiment_name", "description", "services", "tags", "properties"),
    "id",
}
_TRIAL_KEYS = (RUN_KEYS - {"additional_includes"}) | {"environment_variables", "queue_settings"}


def sweep_job(where: Where, report: Report) -> Pipeline:
    """The sweep job written at ``where``: its inputs and outputs are the pipeline's, and go to the one step."""
    fields = Fields(where, report)
    fields.known(_KEYS, "a sweep job")
    found = sweep(fields)
    job = job_of_one_step(fields, lambda fields, inputs, outputs: _step(fields, inputs, outputs, found))
    return replace(job, jobs={MAIN: searched(job.jobs[MAIN], found)})


def _step(fields: Fields, inputs: dict[str, Input], outputs: dict[str, Output], found: Sweep) -> Step:
    trial = Fields(fields.where / "trial", fields.report)
    return Step(
        name=MAIN,
        type="sweep",
        component=_component(trial, inputs, outputs, found),
        compute=own_compute(fields),
        environment_variables=trial.words("environment_variables"),
        resources=resources(fields),
        identity=fields.mapping("identity") or None,
        services=fields.mapping("services"),
        queue_settings=queue_settings(fields) or queue_settings(trial),
        where=fields.where,
    )


def _component(trial: Fields, inputs: dict[str, Input], outputs: dict[str, Output], found: Sweep) -> CommandComponent:
    trial.known(_TRIAL_KEYS, "the trial of a sweep job")
    for key in ("command", "environment") if trial.data else ():
        trial.require(key, "the trial of a sweep job")
    return CommandComponent(
        **runnable(trial),
        # What the command declares are the types of what the job gives; code may find the rest in its variables.
        inputs={name: Input(type=value.type, where=value.where) for name, value in inputs.items()}
        | {name: declared(one) for name, one in found.search_space.items() if name not in inputs},
        outputs={name: Output(type=value.type, mode=value.mode, where=value.where) for name, value in outputs.items()},
        where=trial.where,
    )
