"""Whether a scheduled run sees new data: what azure-ai-ml and Azure ML would freeze, and what stays fresh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from azdistill.aml.expressions import NAME, TRIGGER_TIME, references_in
from azdistill.aml.models import Binding, CommandComponent, Input, Pipeline
from azdistill.aml.source import Report
from azdistill.cloud.submit.prepare import Prepared
from azdistill.errors import Problem

#: Types of inputs that hold models; these and the inputs named here change by a person's decision.
_MODELS = ("custom_model", "mlflow_model", "triton_model")
_SETTLED = ("prompts", "system_prompt")
_DATA = ("training_data", "validation_data", "test_data", "dataset")


@dataclass(frozen=True)
class Frozen:
    """An input that every firing would find as it is now, and ``why``; ``instead`` is the form that stays fresh."""

    name: str
    why: str
    instead: str


def frozen_inputs(prepared: Prepared) -> list[Frozen]:
    """The data inputs that no firing would see changed."""
    inputs = prepared.pipeline.inputs.items()
    data = ((name, each) for name, each in inputs if each.is_data and each.path and not _is_settled(name, each))
    return [frozen for name, declared in data for frozen in _frozen(prepared, name, declared)]


def check_fresh(prepared: Prepared, allowed: tuple[str, ...] = ()) -> list[Problem]:
    """AZD450 for each data input that would be frozen and is not ``allowed`` to be."""
    frozen = frozen_inputs(prepared)
    problems = []
    for each in frozen:
        if each.name not in allowed:
            hint = f"{each.instead}\nor accept it: --allow-frozen {each.name}"
            message = f"a schedule would never see new rows in '{each.name}': {each.why}"
            problems.append(_problem(prepared, each.name, message, hint))
    for name in allowed:
        if name not in {each.name for each in frozen}:
            message = f"--allow-frozen {name}: no data input of that name would be frozen"
            problems.append(Problem("AZD450", message, "--allow-frozen", severity="warning"))
    return problems


def reuse(prepared: Prepared) -> list[str]:
    """What each firing takes from earlier runs, and what is kept as it is now, in sentences."""
    components = {name: step.component for name, step in prepared.pipeline.jobs.items()}
    looked_up = [name for name, component in components.items() if getattr(component, "name", "") == "resolve_data"]
    sentences = []
    if looked_up:
        sentences.append(f"each firing looks its data up anew ({', '.join(looked_up)})")
    if prepared.pipeline.settings.force_rerun:
        sentences.append("each firing runs every step anew (force_rerun)")
    elif looked_up:
        sentences.append("each firing runs every step after it: Azure ML compares paths, and theirs is new each time")
    else:
        sentences.append("each firing reuses every step whose inputs, code and settings are those of an earlier run")
    if any("answers" in step.outputs for step in prepared.pipeline.jobs.values()):
        sentences.append(
            "teacher answers for rows already asked are taken from the store of answers, and not paid again"
        )
    settled = [name for name, each in prepared.pipeline.inputs.items() if each.is_data and _is_settled(name, each)]
    if settled:
        sentences.append(f"as they are now, at every firing: {', '.join(settled)}")
    return sentences


def _is_settled(name: str, declared: Input) -> bool:
    return name not in _DATA and (declared.type in _MODELS or name in _SETTLED)


def _frozen(prepared: Prepared, name: str, declared: Input) -> Iterator[Frozen]:
    path = str(declared.path)
    if any(".".join(reference.path) in (NAME.path, TRIGGER_TIME.path) for reference in references_in(path)):
        return  # Azure ML makes another path of it at each firing.
    local = _instead(prepared, name, "azureml:NAME", "register the data: az ml data create --name NAME --path ...")
    if path.startswith("azureml://") or "://" in path:
        if not prepared.pipeline.settings.force_rerun and not _always_read(prepared.pipeline, name):
            why = "its path is the same at each firing, so Azure ML reuses the steps that read it before"
            yield Frozen(name, why, _instead(prepared, name, path, ""))
    elif path.startswith("azureml:"):
        asset, _, version = path.removeprefix("azureml:").partition("@" if "@" in path else ":")
        latest = "azure-ai-ml turns @latest into today's version when the schedule is made"
        why = latest if "@" in path else f"version {version} of {asset} never changes"
        yield Frozen(name, why, _instead(prepared, name, f"azureml:{asset}", ""))
    else:
        yield Frozen(name, "the file is uploaded when the schedule is made, and read from there ever after", local)


def _always_read(pipeline: Pipeline, name: str) -> bool:
    """Whether only steps that run every time read this input."""
    path = ("parent", "inputs", name)
    readers = [
        step.component
        for step in pipeline.jobs.values()
        if any(isinstance(value, Binding) and value.path == path for value in step.inputs.values())
    ]
    return bool(readers) and all(isinstance(each, CommandComponent) and not each.is_deterministic for each in readers)


def _instead(prepared: Prepared, name: str, reference: str, before: str) -> str:
    lead, name = f"{before}; then write" if before else "write", name.removesuffix("_folder")
    if prepared.reading is not None and name != "dataset":
        return f"{lead}\n  data:\n    {name}: {{latest: {reference}}}"
    if name == "dataset":
        return "give the splits as training_data, validation_data and test_data: {latest: REFERENCE} each"
    short = f"{reference}@latest" if "://" not in reference else reference
    return (
        f"{lead} a step that looks it up (component resolve_data) and bind its output 'data' to where '{name}' went:\n"
        f"  inputs: {{reference: '{short}', as_of: '{TRIGGER_TIME}'}}"
    )


def _problem(prepared: Prepared, name: str, message: str, hint: str) -> Problem:
    if prepared.reading is not None:
        return prepared.reading.origin.problem("AZD450", message, ("data", name), hint=hint)
    report = Report()
    report.error("AZD450", message, prepared.pipeline.inputs[name].where, hint=hint)
    return report.problems[0]
