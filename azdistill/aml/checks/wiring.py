"""How the steps of a pipeline hang together: bindings, types, cycles."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches

from azdistill.aml.checks.survey import Survey
from azdistill.aml.control_flow import bindings_of
from azdistill.aml.expressions import SERVICE_WORDS, Reference, parse, references
from azdistill.aml.models import (
    PRIMITIVES,
    Binding,
    CommandComponent,
    Component,
    Data,
    Literal,
    PipelineComponent,
    Step,
)
from azdistill.aml.scope import Scope, Traced
from azdistill.aml.service import misspelt
from azdistill.aml.source import Report, Where
from azdistill.aml.sweeps import SEARCHED
from azdistill.errors import Severity, did_you_mean

#: Keys of a step, beside inputs and outputs, whose text may be bound to the pipeline's inputs.
_BOUND_KEYS = (
    *("compute", "environment_variables", "resources", "limits", "distribution", "identity", "environment"),
    *("search_space", "objective", "sampling_algorithm", "early_termination"),
)
#: Types that are a folder to the command. custom_model and triton_model may be a file or a folder.
_FOLDERS = ("uri_folder", "mltable", "mlflow_model")


def _bindings(step: Step) -> Iterator[tuple[tuple[str, ...], Where, str]]:
    """Every binding in a step's inputs and other keys: its path, its place, and what is written."""
    for value in step.inputs.values():
        if isinstance(value, Binding):
            yield value.path, value.where_path, ""
        elif isinstance(value, Literal):
            yield from _in_text(value.where)
    if step.choice and isinstance(step.choice.condition, Binding):
        yield step.choice.condition.path, step.choice.condition.where, ""
    if step.only_on_azure:
        yield from bindings_of(step)
        return
    for key in _BOUND_KEYS:
        yield from _in_text(step.where / key)


def _in_text(place: Where) -> Iterator[tuple[tuple[str, ...], Where, str]]:
    for text, where in place.texts():
        yield from ((reference.path, where, reference.raw) for reference, _ in references(parse(text)))


def unknown_bindings(survey: Survey, report: Report) -> None:
    """AZD140; a warning in keys of a kind of step that is not looked into, some of which Azure ML may not read."""
    for scope, step in survey.steps():
        for path, where, needle in _bindings(step):
            if path[0] == SEARCHED and step.sweep:
                searched = list((step.where / SEARCHED).mapping)
                hint = _unless(".".join(path[1:]), searched, "the search space is empty")
            else:
                hint = _leads_nowhere(scope, path)
            if hint:
                message = f"{Reference(path)} is bound to nothing"
                unread = step.only_on_azure and where.steps[len(step.where.steps)] != "inputs"
                severity: Severity = "warning" if unread else "error"
                report.note("AZD140", message, where, severity=severity, hint=hint, needle=needle)
        for output in step.outputs.values():
            if isinstance(output, Binding) and (hint := _no_output(scope, output.path)):
                report.error("AZD140", f"{output} is bound to nothing", output.where_path, hint=hint)


def _leads_nowhere(scope: Scope, path: tuple[str, ...]) -> str:
    """Why a binding leads nowhere, as a hint; empty where it does not."""
    match path:
        case ("parent", "inputs", *rest):
            return _unless(".".join(rest), scope.inputs, "the pipeline has no inputs")
        case ("parent", "jobs", step, kind, *rest) if kind in ("inputs", "outputs"):
            if missing := _unless(step, scope.jobs, "the pipeline has no steps"):
                return missing
            return _no_port(scope.jobs[step], kind, ".".join(rest))
        case ("search_space", *_):
            return "search_space stands in sweep steps only"
        case ("parent", "jobs", step, kind, *rest) if near := _near(kind, ("inputs", "outputs")):
            return f"did you mean '{Reference(('parent', 'jobs', step, near, *rest))}'?"
        case ("parent", kind, *rest) if near := _near(kind, ("inputs", "jobs")):
            return f"did you mean '{Reference(('parent', near, *rest))}'?"
        case _ if ".".join(path) in SERVICE_WORDS:
            bound = "bind the step to one with ${{parent.inputs.NAME}}"
            return f"Azure ML's own expressions stand in the pipeline's inputs: {bound}"
        case ("inputs" | "outputs" | "jobs", *_):
            return f"did you mean '${{{{parent.{'.'.join(path)}}}}}'?"
        case (head, *rest) if rest and _near(head, ("parent",)):
            return f"did you mean '{Reference(('parent', *rest))}'?"
        case _ if suggestion := misspelt(Reference(path)):
            return f"{suggestion} Azure ML's own expressions stand in the pipeline's inputs"
    return "a binding is ${{parent.inputs.NAME}} or ${{parent.jobs.STEP.outputs.NAME}}"


def _near(word: str, candidates: tuple[str, ...]) -> str:
    return next((near for near in get_close_matches(word, candidates, n=1, cutoff=0.75) if near != word), "")


def _unless(name: str, names: Collection[str], none: str) -> str:
    return "" if name in names else did_you_mean(name, list(names)) or none


def _no_port(step: Step, kind: str, name: str) -> str:
    if step.choice:
        return f"step '{step.name}' is an if_else, which has no {kind}"
    component = step.local_component
    if component is None:
        return ""
    ports = component.outputs if kind == "outputs" else {**component.inputs, **step.inputs}
    return _unless(name, ports, f"step '{step.name}' has no {kind}")


def _no_output(scope: Scope, path: tuple[str, ...]) -> str:
    match path:
        case ("parent", "outputs", *rest):
            return _unless(".".join(rest), scope.outputs, "the pipeline has no outputs")
        case ("outputs", *rest):
            return f"did you mean '${{{{parent.outputs.{'.'.join(rest)}}}}}'?"
    return "an output is bound to ${{parent.outputs.NAME}}"


def unknown_inputs_and_outputs(survey: Survey, report: Report) -> None:
    """AZD130."""
    for _, step in survey.steps():
        component = step.local_component
        if step.inline or component is None:
            continue
        for kind, ports, declared in (
            ("input", step.inputs, component.inputs),
            ("output", step.outputs, component.outputs),
        ):
            for name in [name for name in ports if name not in declared]:
                message = f"step '{step.name}': its component has no {kind} '{name}'"
                hint = did_you_mean(name, list(declared)) or f"it has no {kind}s"
                report.error("AZD130", message, step.where / f"{kind}s" / name, key=True, hint=hint)


def missing_inputs(survey: Survey, report: Report) -> None:
    """AZD131."""
    empty = [where for scope in survey.scopes if scope.is_job for where in _empty(scope)]
    for where in empty:
        message = f"input '{where.steps[-1]}' has no value: Azure ML refuses that"
        report.error("AZD131", message, where, key=True, hint="give it one, or take it out")
    for scope in survey.scopes:
        # The items of a parallel_for give its body what it needs; nobody checks which.
        bodies = {step.body.name for step in scope.jobs.values() if step.type == "parallel_for" and step.body}
        for step in scope.jobs.values():
            if step.name not in bodies:
                _missing_inputs(scope, step, empty, report)


def _missing_inputs(scope: Scope, step: Step, empty: list[Where], report: Report) -> None:
    component = step.local_component
    if component is None:
        return
    for name, declared in component.inputs.items():
        value = step.inputs.get(name)
        source = scope.source_of(value) if isinstance(value, Binding) else None
        if value and source and source.optional and not _is_optional(component, name):
            message = f"input '{name}' of step '{step.name}' is required, but {value} is optional"
            hint = "take 'optional: true' away there (a default may stay), or make both optional"
            report.error("AZD131", message, value.where, hint=hint)
        elif _needed(component, name):
            traced = scope.trace(value) if value else None
            if value is None or (isinstance(value, Literal) and value.value is None):
                message = f"step '{step.name}' needs input '{name}' ({declared.type})"
                report.error("AZD131", message, step.where, key=True, hint=declared.description)
            elif traced and traced.absent and traced.where not in empty:
                message = f"input '{name}' of step '{step.name}' ({declared.type}) is given no value"
                report.error("AZD131", message, traced.where, key=True)


def _empty(scope: Scope) -> Iterator[Where]:
    """Inputs that a job writes without a value."""
    for name, value in (scope.where / "inputs").mapping.items():
        if value is None and name in scope.inputs and scope.inputs[name].default is None:
            yield scope.where / "inputs" / name


def _needed(component: Component, name: str) -> bool:
    """Whether an input must be given.

    An input of a pipeline component that feeds optional inputs only is optional itself unless it says otherwise
    (azure-ai-ml, ``PipelineComponent._validate_binding_inputs``).
    """
    declared = component.inputs[name]
    if declared.optional or declared.default is not None:
        return False
    if isinstance(component, CommandComponent) or "optional" in declared.where.mapping:
        return True
    fed = [consumer is None or _needed(consumer, key) for consumer, key in _fed_by(component, name)]
    return any(fed) or not fed


def _is_optional(component: Component, name: str) -> bool:
    """Whether Azure ML takes an input for optional, whatever its default; see :func:`_needed`."""
    declared = component.inputs[name]
    if isinstance(component, CommandComponent) or "optional" in declared.where.mapping:
        return declared.optional
    fed = [consumer is not None and _is_optional(consumer, key) for consumer, key in _fed_by(component, name)]
    return all(fed) and bool(fed)


def _fed_by(component: PipelineComponent, name: str) -> Iterator[tuple[Component | None, str]]:
    """The inputs of steps that an input of a pipeline component is bound to; None for a component not known."""
    for step in component.jobs.values():
        fed = step.local_component
        for key, value in step.inputs.items():
            bound = isinstance(value, Binding) and value.path == ("parent", "inputs", *name.split("."))
            if bound and (fed is None or key in fed.inputs):
                yield fed, key


def types_that_do_not_fit(survey: Survey, report: Report) -> None:
    """AZD141: what a binding joins. Literals are checked by their value instead (AZD132)."""
    for scope, step in survey.steps():
        component = step.local_component
        if component is None:
            continue
        for name, value in step.inputs.items():
            declared, traced = component.inputs.get(name), scope.trace(value)
            if declared and traced and traced.type and not traced.absent and not _known_to_fit(traced, declared.type):
                message = f"input '{name}' of step '{step.name}' is {declared.type}; it is given {traced.type}"
                # A file that is written at the step itself is mounted by Azure ML as the file that it is.
                mounted = isinstance(value, Data) and (traced.type, declared.type) == ("uri_file", "uri_folder")
                if traced.stored and declared.is_data:
                    # Azure ML hands over what is stored, whatever the component says; public pipelines rely on it.
                    report.warning("AZD141", f"{message}, and gets that", value.where)
                else:
                    report.note("AZD141", message, value.where, severity="warning" if mounted else "error")
        for name, output in step.outputs.items():
            source = component.outputs.get(name)
            if source and isinstance(output, Binding) and output.path[:2] == ("parent", "outputs"):
                target = scope.outputs.get(".".join(output.path[2:]))
                if target and "type" in target.where.mapping and not _fit(source.type, target.type):
                    message = f"output '{name}' of step '{step.name}' is {source.type}; {output} is {target.type}"
                    report.error("AZD141", message, output.where)


def _known_to_fit(traced: Traced, expected: str) -> bool:
    # What a value itself comes to is another check's business.
    return traced.literal is not None or _fit(traced.type or expected, expected)


def _fit(kind: str, expected: str) -> bool:
    """Whether one type can stand for another: values for values, folders for folders, models for either."""
    kinds = {kind, expected}
    if len(kinds) == 1:
        return True
    if kinds & set(PRIMITIVES):
        return kinds == {"integer", "number"} or (expected == "string" and kind in PRIMITIVES)
    return "uri_file" not in kinds or not kinds & set(_FOLDERS)


def cycles(survey: Survey, report: Report) -> None:
    """AZD142."""
    for scope in survey.scopes:
        edges = {name: steps_needed(step) for name, step in scope.jobs.items()}
        for choice, node, _ in scope.branches():
            edges.get(node.name, {})[choice.name] = node.where
        for body in (step.body.name for step in scope.jobs.values() if step.body):
            # What a loop hands back to its body is of an earlier round.
            edges.get(body, {}).pop(body, None)
        for circle in _circles(edges):
            where = edges[circle[0]][circle[1]]
            report.error("AZD142", f"steps wait for each other: {' -> '.join(circle)}", where)
        borrowed = _borrowed(scope)
        for circle in _circles(borrowed):
            where = borrowed[circle[0]][circle[1]]
            report.error("AZD142", f"inputs get their value from each other: {' -> '.join(circle)}", where)


def steps_needed(step: Step) -> dict[str, Where]:
    """The steps whose outputs a step is bound to, and where."""
    needed: dict[str, Where] = {}
    for path, where, _ in _bindings(step):
        if path[:2] == ("parent", "jobs") and len(path) > 3 and path[3] == "outputs":
            needed.setdefault(path[2], where)
    return needed


def _borrowed(scope: Scope) -> dict[str, dict[str, Where]]:
    """Which input of a step takes its value from which input of a step."""
    lenders: dict[str, dict[str, Where]] = {}
    for step in scope.jobs.values():
        for name, value in step.inputs.items():
            place = value.where_path if isinstance(value, Binding) else value.where
            paths = [value.path] if isinstance(value, Binding) else [p for p, _, _ in _in_text(place)]
            lenders[f"{step.name}.{name}"] = {
                f"{path[2]}.{'.'.join(path[4:])}": place
                for path in paths
                if path[:2] == ("parent", "jobs") and len(path) > 4 and path[3] == "inputs"
            }
    return lenders


def _circles(edges: dict[str, dict[str, Where]]) -> list[list[str]]:
    """Circles in the graph, each from its first step, one for each way back that a walk in order meets."""
    circles: list[list[str]] = []
    finished: set[str] = set()
    for first in edges:
        # The way to where the walk is, in order, and what has still to be looked at from each place on it.
        way = {} if first in finished else {first: iter(edges[first])}
        while way:
            name = next(reversed(way))
            needed = next(way[name], None)
            if needed is None:
                finished.add(name)
                del way[name]
            elif needed in way:
                names = list(way)
                circles.append([*names[names.index(needed) :], needed])
            elif needed in edges and needed not in finished:
                way[needed] = iter(edges[needed])
    return circles


def outputs_without_a_step(survey: Survey, report: Report) -> None:
    """AZD143, a warning: Azure ML accepts it, and the output stays empty."""
    for scope in survey.scopes:
        bound = {o.path[-1] for s in scope.jobs.values() for o in s.outputs.values() if isinstance(o, Binding)}
        for name, output in scope.outputs.items():
            if name.rpartition(".")[2] not in bound:
                hint = f"bind a step's output to ${{{{parent.outputs.{name}}}}}"
                message = f"no step writes the pipeline's output '{name}'"
                report.warning("AZD143", message, output.where, key=True, hint=hint)
