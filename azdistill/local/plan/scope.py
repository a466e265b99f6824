"""What holds within one pipeline while it is planned: what its bindings stand for, under which conditions each step is
run, and which steps run on Azure only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from azdistill.aml import expressions, values
from azdistill.aml.checks.control import place_of_kind
from azdistill.aml.control_flow import bindings_of
from azdistill.aml.models import PRIMITIVES, Binding, Data, Input, Literal, PipelineComponent, Step, Value
from azdistill.aml.source import Report, Where
from azdistill.errors import Problem, SpecError
from azdistill.local.plan.steps import Bound, Gate, Local, RunCondition, StepOutput, Text

FindData = Callable[[str, str, str, Where], Bound | None]


@dataclass(frozen=True, slots=True)
class Scope:
    """One pipeline while it is flattened: what ``parent`` stands for in its steps."""

    jobs: Mapping[str, Step]
    prefix: str
    inputs: Mapping[str, Bound]
    report: Report
    #: Where data lies, of what it is called in messages, its path, its type, and where that is written.
    find_data: FindData

    def bound(self, step: Step, declared: Mapping[str, Input]) -> dict[str, Bound]:
        """What a step's inputs are: as given, else the declared default; those without a value are left out."""
        bindings: dict[str, Bound] = {}
        for name, input_ in declared.items():
            binding = self._value(step.inputs[name], input_.type) if name in step.inputs else None
            default = None if binding or input_.is_data else values.default_text(input_.type, input_.default)
            bound = binding or (Text(default) if default is not None else None)
            if bound:
                bindings[name] = bound
        return bindings

    def _value(self, value: Value, kind: str) -> Bound | None:
        if isinstance(value, Binding):
            return self.follow(value.path)
        if isinstance(value, Data):
            return self.find_data("an input", value.path, value.type or kind, value.where)
        if isinstance(value.value, str) and kind not in PRIMITIVES:
            # A path written plainly, as component inputs of data types allow.
            path = value.value if "://" in value.value else str(value.where.resolve(value.value))
            return self.find_data("an input", path, kind, value.where)
        return self._literal(value)

    def _literal(self, value: Literal) -> Bound | None:
        if value.value is None:
            return None
        if isinstance(value.value, str):
            parts = expressions.parse(value.value)
            for reference, _ in expressions.references(parts):
                if isinstance(source := self.follow(reference.path), StepOutput):
                    message = (
                        f"{reference} is known only when step '{source.step}' has ended: it cannot stand within text"
                    )
                    hint = "bind it to an input of its own, and put the text around it in the command"
                    self.report.error("AZD337", message, value.where, hint=hint, needle=reference.raw)
            return Text(expressions.render(parts, self._text))
        return Text(values.text(value.value))

    def render(self, value: Any) -> str:
        """A setting as text, what it is bound to filled in."""
        return expressions.render(expressions.parse(value), self._text) if isinstance(value, str) else str(value)

    def variable(self, text: str, where: Where) -> str:
        """An environment variable's text, the values that it is bound to filled in; data has no text to stand there."""
        parts = expressions.parse(text)

        def look_up(reference: expressions.Reference) -> str | None:
            bound = self.follow(reference.path)
            if isinstance(bound, StepOutput | Local):
                what = "data" if isinstance(bound, Local) else f"known only when step '{bound.step}' has ended"
                message = f"{reference} is {what}: it cannot stand within an environment variable"
                hint = "bind it to an input of its own: of data, AZURE_ML_INPUT_<name> says where it lies"
                self.report.error("AZD337", message, where, hint=hint, needle=reference.raw)
            # An optional input that is given no value is no text.
            return None if bound is None and reference.path[:2] == ("parent", "inputs") else self._text(reference)

        return expressions.render(parts, look_up) if any(expressions.references(parts)) else text

    def whole(self, value: Any, where: Where, least: int = 1) -> int:
        """A setting that is a whole number, be it written or bound to an input; 1 (and a problem) where it is none."""
        text = self.render(value).strip()
        if text.removeprefix("-").isdigit() and int(text) >= least:
            return int(text)
        message = f"'{where.steps[-1]}' should be a whole number from {least} on, not {text!r}"
        self.report.error("AZD111", message, where)
        return 1

    def _text(self, reference: expressions.Reference) -> str | None:
        bound = self.follow(reference.path)
        return bound.text if isinstance(bound, Text) else reference.raw

    def follow(self, path: tuple[str, ...]) -> Bound | None:
        """What a binding stands for; None where that has no value."""
        match path:
            case ("parent", "inputs", *rest):
                return self.inputs.get(".".join(rest))
            case ("parent", "jobs", name, "outputs", *rest) if name in self.jobs:
                return _maker(self.jobs[name], self.prefix, ".".join(rest))
            case ("parent", "jobs", name, "inputs", *rest) if name in self.jobs:
                step, key = self.jobs[name], ".".join(rest)
                declared = step.component.inputs if not isinstance(step.component, str | None) else {}
                return self.bound(step, {key: declared[key]}).get(key) if key in declared else None
        return None


def _maker(step: Step, prefix: str, output: str) -> StepOutput | None:
    """The command step's output that ``output`` of ``step`` is, through any number of nested pipelines."""
    if isinstance(step.component, PipelineComponent):
        return maker(step.component.jobs, f"{prefix}{step.name}.", output)
    return StepOutput(prefix + step.name, output)


def maker(jobs: Mapping[str, Step], prefix: str, output: str) -> StepOutput | None:
    """The command step's output that is bound to a pipeline's own output: the first of them, unless that is skipped."""
    path = ("parent", "outputs", *output.split("."))
    makers: list[StepOutput] = []
    for step in jobs.values():
        for name, setting in step.outputs.items():
            if isinstance(setting, Binding) and setting.path == path and (source := _maker(step, prefix, name)):
                makers += source.makers
    alternatives = tuple(makers[1:]) if any(step.choice for step in jobs.values()) else ()
    return StepOutput(makers[0].step, makers[0].output, alternatives) if makers else None


def under(scope: Scope, parent: RunCondition) -> dict[str, RunCondition]:
    """What holds for each step of a pipeline, ``parent`` being what holds for the pipeline itself."""
    jobs, prefix = scope.jobs, scope.prefix
    owners = {
        node.name: (step, branch) for step in jobs.values() if step.choice for node, branch in step.choice.nodes()
    }
    loops = {step.body.name: step for step in jobs.values() if step.body}
    conditions = {name: _condition(step, scope) for name, step in jobs.items() if step.choice}

    def gates(name: str) -> tuple[Gate, ...]:
        if name not in owners:
            return parent.gates
        owner, branch = owners[name]
        return (*gates(owner.name), Gate(prefix + owner.name, conditions[owner.name], branch))

    def elsewhere(step: Step) -> Problem | None:
        owner = loops.get(step.name, step)
        return parent.elsewhere or (_refusal(owner, prefix) if owner.only_on_azure else None)

    return {name: RunCondition(gates(name), elsewhere(step), _after(step, scope)) for name, step in jobs.items()}


def _condition(step: Step, scope: Scope) -> Text | StepOutput:
    condition = step.choice.condition if step.choice else None
    bound = scope.follow(condition.path) if isinstance(condition, Binding) else Text(str(condition))
    if isinstance(bound, Text | StepOutput):
        return bound
    scope.report.error("AZD190", f"the condition of '{step.name}' is given no value", step.where / "condition")
    return Text("")


def _refusal(step: Step, prefix: str) -> Problem:
    report = Report()
    message = f"step '{prefix}{step.name}': {step.type} runs on Azure only"
    hint = "'azdistill submit' takes it; --only, --from and --until leave steps out"
    report.error("AZD336", message, place_of_kind(step), hint=hint)
    return report.problems[0]


def _after(step: Step, scope: Scope) -> frozenset[str]:
    """The steps that a step which runs on Azure only needs; of others that is said by their inputs."""
    if not step.only_on_azure:
        return frozenset()
    paths = [value.path for value in step.inputs.values() if isinstance(value, Binding)]
    paths += [path for path, _, _ in bindings_of(step)]
    sources = (scope.follow(path) for path in paths)
    return frozenset(maker.step for source in sources if isinstance(source, StepOutput) for maker in source.makers)


def in_one_round(step: Step) -> Step:
    """``step`` without what it hands itself, as the body of a loop does from one round to the next."""
    own_path = ("parent", "jobs", step.name)
    inputs = {n: v for n, v in step.inputs.items() if not (isinstance(v, Binding) and v.path[:3] == own_path)}
    return step if len(inputs) == len(step.inputs) else replace(step, inputs=inputs)


def refuse_elsewhere(conditions: Iterable[RunCondition]) -> None:
    """Raise one SpecError for all steps that would have to run on Azure."""
    problems = list(dict.fromkeys(each.elsewhere for each in conditions if each.elsewhere))
    if problems:
        raise SpecError(sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column)))
