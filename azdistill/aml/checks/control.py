"""Steps that decide which others run, and kinds of steps that only Azure runs."""

from __future__ import annotations

from azdistill.aml import values as typed
from azdistill.aml.checks.survey import Survey
from azdistill.aml.checks.wiring import steps_needed
from azdistill.aml.models import PRIMITIVES, Binding, Step
from azdistill.aml.scope import Scope, Traced
from azdistill.aml.source import Report, Where
from azdistill.errors import did_you_mean

#: Settings of a pipeline job that name the steps which run before and after all others.
HOOKS = ("on_init", "on_finalize")


def conditions_that_decide_nothing(survey: Survey, report: Report) -> None:
    """AZD190. Of what is known to be no boolean, text may still say true or false, in Azure ML as here: a warning."""
    for scope, step in survey.steps():
        if step.choice is None or not isinstance(step.choice.condition, Binding):
            continue
        condition = step.choice.condition
        traced = scope.trace(condition)
        if traced is None:
            continue
        message = f"the condition of '{step.name}', {condition}, is"
        if traced.absent or _may_be_absent(scope, condition):
            report.error("AZD190", f"{message} given no value", condition.where, hint="give it a default")
        elif wrong := _no_boolean(traced):
            report.error("AZD190", f"{message} {wrong}, which is neither true nor false", condition.where)
        elif traced.type == "string" and traced.literal is None:
            hint = "declare it boolean; as text it has to be 'true' or 'false'"
            report.warning("AZD190", f"{message} a string, not a boolean", condition.where, hint=hint)


def _no_boolean(traced: Traced) -> str:
    """What is given in place of a boolean, in words; empty where it may be one."""
    if traced.literal is not None:
        try:
            typed.parse("boolean", traced.literal)
        except ValueError:
            return repr(traced.literal)
        return ""
    if traced.type in ("integer", "number"):
        return f"a{'n' * (traced.type == 'integer')} {traced.type}"
    return f"{traced.type} data" if traced.type and traced.type not in PRIMITIVES else ""


def _may_be_absent(scope: Scope, condition: Binding) -> bool:
    source, name = scope.source_of(condition), ".".join(condition.path[2:])
    return bool(source and source.optional and source.default is None and name not in scope.arguments)


def unknown_steps(survey: Survey, report: Report) -> None:
    """AZD140, for steps that are named in blocks, and for bodies of loops."""
    for scope, step in survey.steps():
        nodes = [node for node, _ in step.choice.nodes()] if step.choice else [step.body] if step.body else []
        for node in nodes:
            if node.name not in scope.jobs:
                hint = did_you_mean(node.name, [name for name in scope.jobs if name != step.name])
                report.error("AZD140", f"there is no step '{node.name}'", node.where, hint=hint)


def steps_in_two_blocks(survey: Survey, report: Report) -> None:
    """AZD192."""
    for scope in survey.scopes:
        owners: dict[str, str] = {}
        for step, node, truth in scope.branches():
            block = f"{str(truth).lower()}_block of '{step.name}'"
            if owner := owners.get(node.name):
                repetition = "twice" if owner == block else f"and in the {owner}"
                message = f"step '{node.name}' stands in the {block} {repetition}"
                report.error("AZD192", message, node.where, hint="a step runs under one condition")
            owners[node.name] = block


def outputs_of_two_steps(survey: Survey, report: Report) -> None:
    """AZD144; steps of two branches may write the same."""
    for scope in survey.scopes:
        blocks = {node.name: (step.name, truth) for step, node, truth in scope.branches()}
        writers: dict[tuple[object, ...], str] = {}
        for step in scope.jobs.values():
            for output in step.outputs.values():
                if isinstance(output, Binding):
                    writer = writers.setdefault((output.path, blocks.get(step.name)), step.name)
                    if writer != step.name:
                        message = f"steps '{writer}' and '{step.name}' both write {output}"
                        report.error("AZD144", message, output.where, hint="give each an output of its own")


def kinds_that_run_on_azure_only(survey: Survey, report: Report) -> None:
    """AZD194, a warning: such YAML is as good as any other, and only a local run cannot do it."""
    consequence = "runs on Azure only; 'azdistill run' refuses it"
    for _, step in survey.steps():
        if step.only_on_azure:
            report.warning("AZD194", f"step '{step.name}' ({step.type}) {consequence}", place_of_kind(step))
    distributions = [(one.distribution, one.where) for one in survey.components]
    distributions += [(step.distribution, step.where) for _, step in survey.steps()]
    for distribution, where in distributions:
        kind = (distribution or {}).get("type")
        if kind in ("mpi", "ray"):
            report.warning("AZD194", f"distribution of type {kind} {consequence}", where / "distribution" / "type")
    for component in survey.components:
        kind = component.parallel.kind if component.parallel else "run_function"
        if kind != "run_function":
            report.warning("AZD194", f"a parallel task of type {kind} {consequence}", component.place("type"))


def place_of_kind(step: Step) -> Where:
    """Where the kind of a step is said: by itself, or by its component."""
    return step.where / ("type" if "type" in step.where.mapping else "component")


def first_and_last_steps(survey: Survey, report: Report) -> None:
    """AZD140 and AZD193: each names a step of its own that is bound to no other (azure-ai-ml, ``PipelineJob``)."""
    for scope in survey.scopes:
        places = [scope.where / "settings" / hook for hook in HOOKS] if scope.is_job else []
        named = [where for where in places if isinstance(where.value, str)]
        for where in named:
            hook, name = where.steps[-1], where.value
            if name not in scope.jobs:
                report.error("AZD140", f"there is no step '{name}'", where, hint=did_you_mean(name, list(scope.jobs)))
            elif wrong := _not_alone(scope, name, {hook_place.value for hook_place in named}):
                hint = f"{hook} needs a step of its own that is bound to no other"
                report.error("AZD193", f"step '{name}' cannot be {hook}: {wrong}", where, hint=hint)
        if len(named) > 1 and len({where.value for where in named}) == 1:
            message = f"step '{named[0].value}' is both on_init and on_finalize"
            report.error("AZD193", message, named[1], hint="name two steps")


def _not_alone(scope: Scope, name: str, hooks: set[str]) -> str:
    step = scope.jobs[name]
    if step.choice or step.body:
        return f"it is of type {step.type}"
    if needed := next(iter(steps_needed(step)), None):
        return f"it needs step '{needed}'"
    if user := next((neighbour.name for neighbour in scope.jobs.values() if name in steps_needed(neighbour)), None):
        return f"step '{user}' needs it"
    return "" if scope.jobs.keys() - hooks else "the pipeline has no other steps"
