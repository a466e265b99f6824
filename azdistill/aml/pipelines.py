"""Builds pipeline jobs, pipeline components and their steps from YAML data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from azdistill.aml.components import (
    INTERFACE_KEYS,
    NEVER_EMPTY,
    RUN_KEYS,
    command_component,
    distribution,
    identity,
    interface,
    queue_settings,
    resources,
    runnable,
)
from azdistill.aml.control_flow import azure_only, if_else
from azdistill.aml.environments import ASSET_KEYS, environment_of
from azdistill.aml.fields import Fields, absolute
from azdistill.aml.models import (
    AZURE_ONLY,
    AzureOnly,
    Binding,
    CommandComponent,
    Component,
    Data,
    Input,
    Literal,
    Output,
    Pipeline,
    PipelineComponent,
    Settings,
    Step,
    Value,
)
from azdistill.aml.parallel_components import SETTING_KEYS, parallel_component, settings, task
from azdistill.aml.ports import inline_output, job_input, job_output, step_input, step_output
from azdistill.aml.scope import Scope
from azdistill.aml.source import Report, Where
from azdistill.aml.sweeps import SWEEP_KEYS, searched, sweep
from azdistill.errors import did_you_mean

_ABOUT = ASSET_KEYS - {"version"} | {"experiment_name"}
#: What every job has, of whatever kind.
JOB_KEYS = _ABOUT | {"inputs", "outputs", "compute", "identity", "services", "id"}
_ANY_STEP_KEYS = _ABOUT | {"comment"}
_STEP_KEYS = _ANY_STEP_KEYS | {
    *("component", "inputs", "outputs", "compute", "environment_variables", "limits", "resources", "distribution"),
    *("environment", "identity", "services", "queue_settings"),
}
#: What a step has and its component has not, or not there.
_NOT_INLINE = {"component", "comment"}
_NOT_IN_PARALLEL = {"limits", "distribution", "queue_settings"}
_PIPELINE_STEP_KEYS = _ANY_STEP_KEYS | {"component", "inputs", "outputs", "compute", "retry_settings"}
_DETERMINISTIC = "is_deterministic"
_NO_HINTS: Mapping[str, str] = MappingProxyType({})
_OF_NO_PARALLEL_STEP = {"environment": "set it in the task", **dict.fromkeys(_NOT_IN_PARALLEL, "take it out")}
_OF_INNER_STEPS = dict.fromkeys(_STEP_KEYS - _PIPELINE_STEP_KEYS, "set it on the steps inside the component")
#: Loads a component from the file named at a place; None where that failed (and is noted).
Opener = Callable[[Where, str], Component | AzureOnly | None]


def pipeline_job(where: Where, report: Report, opener: Opener) -> Pipeline:
    """The pipeline job written at ``where``."""
    fields = Fields(where, report)
    fields.known(JOB_KEYS | {"jobs", "settings", "component"}, "a pipeline job")
    about = about_job(fields)
    about["jobs"] = steps(fields, about["inputs"], about["outputs"], opener)
    if isinstance(fields.data.get("component"), str):
        component = _component(fields, opener, "pipeline")
        if isinstance(component, PipelineComponent):
            about["inputs"] = _filled(fields, component, about["inputs"])
            about["outputs"] = {**component.outputs, **about["outputs"]}
            about["jobs"] = component.jobs
    elif not fields.data.get("jobs"):
        report.error("AZD112", "a pipeline job needs 'jobs'", where)
    return Pipeline(
        **about,
        settings=job_settings(where / "settings", report),
        compute=fields.text("compute"),
        identity=identity(fields),
        services=fields.mapping("services"),
    )


def about_job(fields: Fields) -> dict[str, Any]:
    """What jobs of every kind say of themselves, as a pipeline's fields."""
    return {
        **fields.texts("name", "display_name", "experiment_name"),
        "description": fields.text("description") or "",
        "inputs": {n: job_input(at, fields.report) for n, at, _ in fields.each("inputs")},
        "outputs": {n: job_output(at, fields.report) for n, at, _ in fields.each("outputs")},
        "tags": fields.words("tags", strict=True),
        "properties": fields.words("properties", strict=True),
        "where": fields.where,
    }


def pipeline_component(where: Where, report: Report, opener: Opener) -> PipelineComponent:
    """The pipeline component written at ``where``."""
    fields = Fields(where, report)
    fields.known(INTERFACE_KEYS | {"jobs"}, "a pipeline component", dropped=True)
    shared = interface(fields)
    return PipelineComponent(**shared, jobs=steps(fields, shared["inputs"], shared["outputs"], opener), where=where)


def _filled(fields: Fields, component: PipelineComponent, values: Mapping[str, Input]) -> dict[str, Input]:
    """The inputs that ``component`` declares, with the values that the job gives them."""
    filled = dict(component.inputs)
    for name, value in values.items():
        if name not in filled:
            hint = did_you_mean(name, list(filled))
            where = fields.where / "inputs" / name
            fields.report.error("AZD130", f"the component has no input '{name}'", where, key=True, hint=hint)
        elif filled[name].is_data:
            filled[name] = replace(filled[name], path=value.path, mode=value.mode, where=value.where)
        else:
            filled[name] = replace(filled[name], default=value.default, where=value.where)
    return filled


def job_settings(where: Where, report: Report) -> Settings:
    """``settings`` of a pipeline job."""
    fields = Fields(where, report)
    texts = ("default_compute", "default_datastore", "on_init", "on_finalize")
    fields.known((*texts, "continue_on_step_failure", "force_rerun"), "settings", dropped=True, harmless=True)
    return Settings(
        **fields.texts(*texts),
        continue_on_step_failure=fields.boolean("continue_on_step_failure"),
        force_rerun=fields.boolean("force_rerun"),
    )


def steps(
    fields: Fields, inputs: Mapping[str, Input], outputs: Mapping[str, Output], opener: Opener
) -> dict[str, Step]:
    """The steps under ``jobs``; a step whose kind is not run here is noted and left out."""
    built = {}
    for name, where, _ in fields.each("jobs"):
        step = Fields(where, fields.report)
        kind = _kind(step, opener)
        if kind in BUILDERS:
            built[name] = _outputs_typed(BUILDERS[kind](name, step, opener), outputs)
    scope = Scope(inputs, outputs, built, fields.where)
    return {name: _inputs_typed(step, scope) for name, step in built.items()}


def _kind(fields: Fields, opener: Opener) -> str | None:
    type_text = fields.text("type")
    if type_text is None and "trial" in fields.data:
        return "sweep"
    if type_text is None:
        component = fields.data.get("component")
        opened = opener(fields.where / "component", component) if isinstance(component, str) else None
        return kind_of_component(opened) or "command"
    kind = type_text.lower()
    if kind not in BUILDERS:
        hint = did_you_mean(kind, list(BUILDERS))
        fields.report.error("AZD113", f"unknown type of step '{type_text}'", fields.where / "type", hint=hint)
    return kind


def kind_of_component(component: Component | AzureOnly | None) -> str | None:
    """The kind of step that runs a component; None for none."""
    if isinstance(component, AzureOnly):
        return component.kind
    if isinstance(component, CommandComponent):
        return "parallel" if component.parallel else "command"
    return "pipeline" if component else None


def _known(
    fields: Fields, keys: Collection[str], of: str, inline: bool = False, hints: Mapping[str, str] = _NO_HINTS
) -> None:
    """Note every key that a step does not have. One that holds locally wherever it stands is a warning only."""
    fields.known({*keys, _DETERMINISTIC}, of, dropped=not inline, hints=hints)
    if _DETERMINISTIC in fields.data:
        does = "refuses" if inline else "drops"
        message = f"'{_DETERMINISTIC}' belongs to a component: Azure ML {does} it on {of}"
        hint = "write the command as a component of its own, and set it there" if inline else "set it in the component"
        fields.report.warning("AZD110", message, fields.where / _DETERMINISTIC, key=True, hint=hint)


def _command_step(name: str, fields: Fields, opener: Opener) -> Step:
    inline = "component" not in fields.data
    # retry_settings is known to Azure on parallel steps only; a check of its own says so.
    keys = _STEP_KEYS - _NOT_INLINE | RUN_KEYS if inline else _STEP_KEYS | {"code"}
    _known(fields, keys | {"retry_settings"}, "a step", inline)
    if inline:
        fields.require("a command step without a component", "command", "environment")
        fields.filled(NEVER_EMPTY)
        return inline_step(name, fields, runnable(fields))
    return _step(name, "command", fields, _component(fields, opener, "command"))


def inline_step(name: str, fields: Fields, runs: Mapping[str, Any]) -> Step:
    """The step of a command that is written in place; ``runs`` is what it runs. Its inputs have no types yet."""
    return _step(name, "command", fields, _inline_component(fields, runs))


def _pipeline_step(name: str, fields: Fields, opener: Opener) -> Step:
    _known(fields, _PIPELINE_STEP_KEYS, "a pipeline step", hints=_OF_INNER_STEPS)
    fields.require("a pipeline step", "component")
    return _step(name, "pipeline", fields, _component(fields, opener, "pipeline"))


def _parallel_step(name: str, fields: Fields, opener: Opener) -> Step:
    inline = "component" not in fields.data
    keys = _STEP_KEYS - _NOT_IN_PARALLEL | SETTING_KEYS
    keys = keys - _NOT_INLINE - {"environment"} | {"task"} if inline else keys
    _known(fields, keys, "a parallel step", inline, _OF_NO_PARALLEL_STEP)
    if inline:
        runs = task(fields, "a parallel step without a component")
        return _step(name, "parallel", fields, _inline_component(fields, {**runs, "resources": resources(fields)}))
    component = _component(fields, opener, "parallel")
    if isinstance(component, CommandComponent) and component.parallel:
        overridden = settings(fields, component.parallel)
        component = component if overridden == component.parallel else replace(component, parallel=overridden)
    return _step(name, "parallel", fields, component)


def _azure_only_step(name: str, fields: Fields, opener: Opener) -> Step:
    text = fields.data.get("component")
    # Opened for its file to be missed where there is none.
    opened = opener(fields.where / "component", text) if isinstance(text, str) else None
    kind = fields.text("type") or kind_of_component(opened) or ""
    return replace(azure_only(name, kind.lower(), fields), **_ports(fields))


def _sweep_step(name: str, fields: Fields, opener: Opener) -> Step:
    _known(fields, _ANY_STEP_KEYS | SWEEP_KEYS | {"environment_variables", "retry_settings"}, "a sweep step")
    return searched(_step(name, "sweep", fields, _component(fields, opener, "command", "trial")), sweep(fields))


#: A kind of step -> what builds it. Another kind is another entry here.
BUILDERS: dict[str, Callable[[str, Fields, Opener], Step]] = {
    "command": _command_step,
    "pipeline": _pipeline_step,
    "parallel": _parallel_step,
    "if_else": if_else,
    **dict.fromkeys(AZURE_ONLY, _azure_only_step),
    "sweep": _sweep_step,
}


def _component(fields: Fields, opener: Opener, kind: str, key: str = "component") -> Component | str | None:
    value = fields.data.get(key)
    where = fields.where / key
    if isinstance(value, dict) and kind in ("command", "parallel"):
        return (command_component if kind == "command" else parallel_component)(where, fields.report)
    text = fields.text(key)
    if text is None or isinstance(absolute(where, text), str):
        return text
    component = opener(where, text)
    component_kind = kind_of_component(component) or kind
    if component_kind != kind:
        fields.report.error("AZD113", f"a {kind} step cannot run a {component_kind} component", where)
        return None
    return None if isinstance(component, AzureOnly) else component


def _step(name: str, kind: str, fields: Fields, component: Component | str | None) -> Step:
    return Step(
        name=name,
        type=kind,
        component=component,
        inline=not {"component", "trial"} & fields.data.keys(),
        **_ports(fields),
        compute=fields.text("compute"),
        **(_run_settings(fields, kind) if kind != "pipeline" else {}),
        display_name=fields.text("display_name"),
        description=fields.text("description") or "",
        is_deterministic=fields.boolean("is_deterministic"),
        tags=fields.words("tags", strict=kind == "command" and "component" not in fields.data),
        properties=fields.words("properties", strict=True),
        where=fields.where,
    )


def _ports(fields: Fields) -> dict[str, Any]:
    return {
        "inputs": {n: step_input(at, fields.report) for n, at, _ in fields.each("inputs")},
        "outputs": {n: step_output(at, fields.report) for n, at, _ in fields.each("outputs")},
    }


def _run_settings(fields: Fields, kind: str) -> dict[str, Any]:
    """How a step is run, as far as Azure ML reads it on a step of that kind."""
    return {
        "environment": environment_of(fields, "environment"),
        "environment_variables": fields.words("environment_variables", strict=kind == "parallel"),
        "limits": _limits(fields) if kind != "sweep" else {},
        "resources": resources(fields),
        "distribution": distribution(fields) if kind != "parallel" else None,
        "identity": identity(fields) if kind != "sweep" else fields.mapping("identity") or None,
        "services": fields.mapping("services"),
        "queue_settings": queue_settings(fields) if kind != "parallel" else {},
    }


def _limits(fields: Fields) -> dict[str, Any]:
    limits = Fields(fields.where / "limits", fields.report)
    limits.known(("timeout",), "limits")
    limits.whole("timeout", at_least=1)
    return dict(limits.data)


def _inline_component(fields: Fields, runs: Mapping[str, Any]) -> CommandComponent:
    """An inline command as a component; ``runs`` is what it runs. :func:`_inputs_typed` types its inputs."""
    return CommandComponent(
        **runs,
        display_name=fields.text("display_name"),
        outputs={n: inline_output(at) for n, at, _ in fields.each("outputs")},
        is_deterministic=fields.boolean("is_deterministic") is not False,
        where=fields.where,
    )


def _outputs_typed(step: Step, outputs: Mapping[str, Output]) -> Step:
    """``step`` with the outputs of an inline command typed as what they are bound to, unless they say themselves."""
    if not step.inline or not isinstance(step.component, CommandComponent):
        return step
    declared = dict(step.component.outputs)
    for name, setting in step.outputs.items():
        if isinstance(setting, Binding) and not setting.type and setting.path[:2] == ("parent", "outputs"):
            target = outputs.get(".".join(setting.path[2:]))
            declared[name] = replace(declared[name], type=target.type) if target else declared[name]
    return replace(step, component=replace(step.component, outputs=declared))


def _inputs_typed(step: Step, scope: Scope) -> Step:
    """``step`` with its values and its component's inputs agreed.

    An inline command's inputs are declared as what they are bound to; text for an input that is data is its path.
    """
    component = step.local_component
    if component is None:
        return step
    if not step.inline or isinstance(component, PipelineComponent):
        values = {name: _as_data(value, component.inputs.get(name)) for name, value in step.inputs.items()}
        return replace(step, inputs=values)
    declared = {name: Input(type=_type_of(value, scope), where=value.where) for name, value in step.inputs.items()}
    return replace(step, component=replace(component, inputs=declared))


def _type_of(value: Value, scope: Scope) -> str:
    traced = scope.trace(value)
    kind = traced.type if traced else None
    if isinstance(value, Literal):
        return kind or "string"
    return value.type or kind or "uri_folder"


def _as_data(value: Value, declared: Input | None) -> Value:
    if declared is None or not declared.is_data or not isinstance(value, Literal) or not isinstance(value.value, str):
        return value
    return Data(path=str(absolute(value.where, value.value)), type=declared.type, where=value.where)
