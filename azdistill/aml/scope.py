"""What a step's input stands for, seen through the bindings of the pipeline that the step is in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from azdistill.aml.expressions import parse, references, render
from azdistill.aml.models import Binding, Data, Input, Literal, Node, Output, Step, Value
from azdistill.aml.source import Where
from azdistill.aml.values import type_of_literal

#: Inputs may take their value from inputs of other steps, in a row as long as this; a longer one is a ring.
MAX_BORROWED = 50


@dataclass(frozen=True, slots=True)
class Traced:
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

    The inputs of a pipeline job (``is_job``) hold values; those of a component declare, and ``arguments`` is what the
    pipeline around it passes in.
    """

    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    jobs: Mapping[str, Step]
    where: Where
    arguments: Mapping[str, Traced] = field(default_factory=dict)
    is_job: bool = False

    def trace(self, value: Value, depth: int = 0) -> Traced | None:
        """What ``value`` stands for, through bindings (``depth`` of them so far); None where one leads nowhere."""
        if isinstance(value, Data):
            return Traced(value.type, value.where, stored=True)
        if isinstance(value, Binding):
            return self._bound(value, depth)
        # Words around a binding are text, whatever it is bound to.
        kind = None if any(references(parse(str(value.value)))) else type_of_literal(value.value)
        literal = value.value if kind else self._filled(value, depth)
        return Traced(kind, value.where, literal, absent=value.value is None)

    def source_of(self, binding: Binding) -> Input | None:
        """The input of the pipeline that something is bound to."""
        return self.inputs.get(".".join(binding.path[2:])) if binding.path[:2] == ("parent", "inputs") else None

    def branches(self) -> Iterator[tuple[Step, Node, bool]]:
        """Every ``if_else`` with each step of its blocks, and the value of the condition that the step runs for."""
        for step in self.jobs.values():
            yield from ((step, node, truth) for node, truth in (step.choice.nodes() if step.choice else ()))

    def _filled(self, value: Literal, depth: int) -> str | None:
        """Text with the values of the bindings in it; None where one of them is not known before a run."""
        parts, texts = parse(str(value.value)), {}
        for reference, _ in references(parts):
            traced = self.trace(Binding(path=reference.path, where=value.where), depth)
            if traced is None or traced.literal is None:
                return None
            texts[reference.path] = str(traced.literal)
        return render(parts, lambda reference: texts[reference.path])

    def _bound(self, value: Binding, depth: int) -> Traced | None:
        match value.path:
            case ("parent", "inputs", *name):
                traced = self._input(".".join(name))
                return replace(traced, type=value.type, where=value.where) if traced and value.type else traced
            case ("parent", "jobs", step, "outputs", *name) if step in self.jobs:
                return Traced(type_of_output(self.jobs[step], ".".join(name)), value.where)
            case ("parent", "jobs", step, "inputs", *name) if step in self.jobs:
                lender = self.jobs[step].inputs.get(".".join(name))
                traced = self.trace(lender, depth + 1) if lender and depth < MAX_BORROWED else None
                # What the lending step says of its input holds before what the output behind it is.
                own = lender.type if isinstance(lender, Binding) else None
                return replace(traced, type=own) if traced and own else traced
        return None

    def _input(self, name: str) -> Traced | None:
        if name in self.arguments:
            return self.arguments[name]
        declared = self.inputs.get(name)
        if declared is None:
            return None
        if declared.is_data:
            kind = declared.type if "type" in declared.where.mapping else None
            missing = declared.path is None
            return Traced(kind, declared.where, absent=missing and self.is_job, stored=not missing)
        absent = declared.default is None and self.is_job
        return Traced(declared.type, declared.where_default, declared.default, absent=absent)


def type_of_output(step: Step, name: str) -> str | None:
    """The type of a step's output; None where its component is not known."""
    setting = step.outputs.get(name)
    if isinstance(setting, Output) and isinstance(setting.where.value, dict) and "type" in setting.where.value:
        return setting.type
    declared = step.local_component.outputs.get(name) if step.local_component else None
    return declared.type if declared else None
