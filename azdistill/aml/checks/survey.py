"""What the checks look at: every pipeline in a spec as its steps see it, and every component once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from azdistill.aml.models import (
    AzureOnly,
    CommandComponent,
    Component,
    Environment,
    Pipeline,
    PipelineComponent,
    Spec,
    Step,
)
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
    identities: set[int] = field(default_factory=set)

    def add(self, kind: str, item: Any) -> None:
        """Add a thing, which may be known already, to the list called ``kind``."""
        if id(item) not in self.identities:
            self.identities.add(id(item))
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
    surveyed = Survey()
    surveyed.add("sources", spec.where.source)
    if isinstance(spec, Environment):
        surveyed.add("environments", spec)
    elif isinstance(spec, Pipeline):
        _visit_steps(Scope(spec.inputs, spec.outputs, spec.jobs, spec.where, is_job=True), surveyed)
    elif not isinstance(spec, AzureOnly):
        _visit_component(spec, {}, surveyed)
    return surveyed


def _visit_component(component: Component, arguments: Mapping[str, Traced], surveyed: Survey) -> None:
    surveyed.add("sources", component.where.source)
    if isinstance(component, CommandComponent):
        surveyed.add("components", component)
        if isinstance(component.environment, Environment):
            surveyed.add("environments", component.environment)
    else:
        surveyed.add("pipelines", component)
        scope = Scope(component.inputs, component.outputs, component.jobs, component.where, arguments)
        _visit_steps(scope, surveyed)


def _visit_steps(scope: Scope, surveyed: Survey) -> None:
    surveyed.scopes.append(scope)
    for step in scope.jobs.values():
        if isinstance(step.environment, Environment):
            surveyed.add("environments", step.environment)
        if component := step.local_component:
            _visit_component(component, _arguments(scope, step, component), surveyed)


def _arguments(scope: Scope, step: Step, component: Component) -> dict[str, Traced]:
    """What a step passes to the inputs of its component, as far as it is known."""
    arguments = {}
    for name, value in step.inputs.items():
        declared, traced = component.inputs.get(name), scope.trace(value)
        if declared and traced and not traced.absent:
            arguments[name] = Traced(declared.type, traced.where, traced.literal)
    return arguments
