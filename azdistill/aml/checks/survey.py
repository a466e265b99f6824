"""What the checks look at: every pipeline in a spec as its steps see it, and every component once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from azdistill.aml.expressions import parse, references, render
from azdistill.aml.models import (
    Binding,
    CommandComponent,
    Data,
    Environment,
    Input,
    Literal,
    Output,
    Pipeline,
    PipelineComponent,
    Spec,
    Step,
    Value,
)
from azdistill.aml.pipelines import MAX_BORROWED, type_of_output, type_of_value
from azdistill.aml.source import Source, Where


@dataclass(frozen=True, slots=True)
class Given:
    """What an input is given, as far as it is known before a run.

    ``type`` is None where unknown; ``literal`` is a value (None: no value known); ``absent`` means that nothing is
    given at all; ``stored`` data lies somewhere already, and no step makes it. ``where`` is the place to blame.
    """

    type: str | None
    where: Where
    literal: Any = None
    absent: bool = False
    stored: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """One pipeline, or one use of a pipeline component.

    The inputs of a pipeline job (``is_job``) hold values; those of a component declare, and ``given`` is what the
    pipeline around it passes in.
    """

    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    jobs: Mapping[str, Step]
    where: Where
    given: Mapping[str, Given] = field(default_factory=dict)
    is_job: bool = False

    def trace(self, value: Value, depth: int = 0) -> Given | None:
        """What ``value`` stands for, through bindings (``depth`` of them so far); None where one leads nowhere."""
        if isinstance(value, Literal):
            return self._literal(value, depth)
        if isinstance(value, Data):
            return Given(value.type, value.where, stored=True)
        return self._bound(value, depth)

    def _literal(self, value: Literal, depth: int) -> Given:
        kind = type_of_value(value, self.inputs, self.jobs)
        known = value.value if kind else self._filled(value, depth)
        return Given(kind, value.where, known, absent=value.value is None)

    def _filled(self, value: Literal, depth: int) -> str | None:
        """Text with the values of the bindings in it; None where one of them is not known before a run."""
        parts, found = parse(str(value.value)), {}
        for reference, _ in references(parts):
            given = self.trace(Binding(path=reference.path, where=value.where), depth)
            if given is None or given.literal is None:
                return None
            found[reference.path] = str(given.literal)
        return render(parts, lambda reference: found[reference.path])

    def _bound(self, value: Binding, depth: int) -> Given | None:
        match value.path:
            case ("parent", "inputs", *name):
                found = self._input(".".join(name))
                return replace(found, type=value.type, where=value.where) if found and value.type else found
            case ("parent", "jobs", step, "outputs", *name) if step in self.jobs:
                return Given(type_of_output(self.jobs[step], ".".join(name)), value.where)
            case ("parent", "jobs", step, "inputs", *name) if step in self.jobs:
                other = self.jobs[step].inputs.get(".".join(name))
                return self.trace(other, depth + 1) if other and depth < MAX_BORROWED else None
        return None

    def _input(self, name: str) -> Given | None:
        if name in self.given:
            return self.given[name]
        declared = self.inputs.get(name)
        if declared is None:
            return None
        if declared.is_data:
            written = "type" in (declared.where.value or {})
            kind = declared.type if written else None
            missing = declared.path is None
            return Given(kind, declared.where, absent=missing and self.is_job, stored=not missing)
        return Given(
            declared.type, declared.where_default, declared.default, absent=declared.default is None and self.is_job
        )


@dataclass(slots=True)
class Survey:
    """Everything in a spec, each thing once (scopes once for each use)."""

    scopes: list[Scope] = field(default_factory=list)
    components: list[CommandComponent] = field(default_factory=list)
    pipelines: list[PipelineComponent] = field(default_factory=list)
    environments: list[Environment] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    #: Which objects are in the lists, by identity; the lists keep them alive.
    known: set[int] = field(default_factory=set)

    def add(self, kind: str, item: Any) -> None:
        """Add a thing, which may be known already, to the list called ``kind``."""
        if id(item) not in self.known:
            self.known.add(id(item))
            getattr(self, kind).append(item)

    def interfaces(self) -> Iterator[CommandComponent | PipelineComponent]:
        """Everything that declares inputs and outputs."""
        yield from self.components
        yield from self.pipelines

    def is_root(self, component: CommandComponent | PipelineComponent) -> bool:
        """Whether ``component`` is what was surveyed, rather than what one of its steps runs."""
        return component.where.source is self.sources[0] and not component.where.steps

    def steps(self) -> Iterator[tuple[Scope, Step]]:
        """Every step with the pipeline that it is in."""
        for scope in self.scopes:
            for step in scope.jobs.values():
                yield scope, step


def survey(spec: Spec) -> Survey:
    """Walks ``spec`` and everything that it uses."""
    found = Survey()
    _visit(spec, found)
    return found


def _visit(spec: Spec, found: Survey) -> None:
    found.add("sources", spec.where.source)
    if isinstance(spec, Environment):
        found.add("environments", spec)
    elif isinstance(spec, CommandComponent):
        _component(spec, found)
    elif isinstance(spec, PipelineComponent):
        found.add("pipelines", spec)
        _scope(Scope(spec.inputs, spec.outputs, spec.jobs, spec.where), found)
    elif isinstance(spec, Pipeline):
        _scope(Scope(spec.inputs, spec.outputs, spec.jobs, spec.where, is_job=True), found)


def _component(component: CommandComponent, found: Survey) -> None:
    found.add("components", component)
    if isinstance(component.environment, Environment):
        found.add("environments", component.environment)


def _scope(scope: Scope, found: Survey) -> None:
    found.scopes.append(scope)
    for step in scope.jobs.values():
        if isinstance(step.environment, Environment):
            found.add("environments", step.environment)
        if isinstance(step.component, CommandComponent):
            found.add("sources", step.component.where.source)
            _component(step.component, found)
        elif isinstance(step.component, PipelineComponent):
            found.add("sources", step.component.where.source)
            found.add("pipelines", step.component)
            _scope(_inner(scope, step, step.component), found)


def _inner(outer: Scope, step: Step, component: PipelineComponent) -> Scope:
    given = {}
    for name, value in step.inputs.items():
        declared, traced = component.inputs.get(name), outer.trace(value)
        if declared and traced and not traced.absent:
            given[name] = Given(declared.type, traced.where, traced.literal)
    return Scope(component.inputs, component.outputs, component.jobs, component.where, given)
