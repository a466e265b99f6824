"""What the checks look at: every pipeline in a spec as its steps see it, and every component once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from azdistill.aml.models import CommandComponent, Component, Environment, Pipeline, PipelineComponent, Spec, Step
from azdistill.aml.scope import Scope, Traced
from azdistill.aml.source import Source


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

    def interfaces(self) -> Iterator[Component]:
        """Everything that declares inputs and outputs."""
        yield from self.components
        yield from self.pipelines

    def is_root(self, component: Component) -> bool:
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
            _scope(_nested(scope, step, step.component), found)


def _nested(outer: Scope, step: Step, component: PipelineComponent) -> Scope:
    arguments = {}
    for name, value in step.inputs.items():
        declared, traced = component.inputs.get(name), outer.trace(value)
        if declared and traced and not traced.absent:
            arguments[name] = Traced(declared.type, traced.where, traced.literal)
    return Scope(component.inputs, component.outputs, component.jobs, component.where, arguments)
