"""Which conditions each step of a pipeline is run under, and which steps run on Azure only: known while planning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from azdistill.aml.checks.control import place_of_kind
from azdistill.aml.control_flow import bindings_of
from azdistill.aml.models import Binding, Step
from azdistill.aml.source import Report
from azdistill.errors import Problem, SpecError
from azdistill.local.plan.bindings import Bound, Gate, Made, Text, Under

#: What a path of a binding stands for in the pipeline that is planned.
Follow = Callable[[tuple[str, ...]], Bound | None]


def under(jobs: Mapping[str, Step], prefix: str, follow: Follow, outer: Under, report: Report) -> dict[str, Under]:
    """What holds for each step of a pipeline, ``outer`` being what holds for the pipeline itself."""
    owners = {
        node.name: (step, wanted) for step in jobs.values() if step.choice for node, wanted in step.choice.nodes()
    }
    loops = {step.body.name: step for step in jobs.values() if step.body}
    conditions = {name: _condition(step, follow, report) for name, step in jobs.items() if step.choice}

    def gates(name: str) -> tuple[Gate, ...]:
        if name not in owners:
            return outer.gates
        owner, wanted = owners[name]
        return (*gates(owner.name), Gate(prefix + owner.name, conditions[owner.name], wanted))

    def elsewhere(step: Step) -> Problem | None:
        found = loops.get(step.name, step)
        return outer.elsewhere or (_refusal(found, prefix) if found.only_on_azure else None)

    return {name: Under(gates(name), elsewhere(step), _after(step, follow)) for name, step in jobs.items()}


def _condition(step: Step, follow: Follow, report: Report) -> Text | Made:
    condition = step.choice.condition if step.choice else None
    bound = follow(condition.path) if isinstance(condition, Binding) else Text(str(condition))
    if isinstance(bound, Text | Made):
        return bound
    report.error("AZD190", f"the condition of '{step.name}' is given no value", step.where / "condition")
    return Text("")


def _refusal(step: Step, prefix: str) -> Problem:
    report = Report()
    message = f"step '{prefix}{step.name}': {step.type} runs on Azure only"
    hint = "'azdistill submit' takes it; --only, --from and --until leave steps out"
    report.error("AZD336", message, place_of_kind(step), hint=hint)
    return report.problems[0]


def _after(step: Step, follow: Follow) -> frozenset[str]:
    """The steps that a step which runs on Azure only needs; of others that is said by their inputs."""
    if not step.only_on_azure:
        return frozenset()
    paths = [value.path for value in step.inputs.values() if isinstance(value, Binding)]
    paths += [path for path, _, _ in bindings_of(step)]
    found = (follow(path) for path in paths)
    return frozenset(maker.step for made in found if isinstance(made, Made) for maker in made.makers)


def in_one_round(step: Step) -> Step:
    """``step`` without what it hands itself, as the body of a loop does from one round to the next."""
    own = ("parent", "jobs", step.name)
    kept = {n: v for n, v in step.inputs.items() if not (isinstance(v, Binding) and v.path[:3] == own)}
    return step if len(kept) == len(step.inputs) else replace(step, inputs=kept)


def refuse_elsewhere(held: Iterable[Under]) -> None:
    """Raise one SpecError for all steps that would have to run on Azure."""
    problems = list(dict.fromkeys(each.elsewhere for each in held if each.elsewhere))
    if problems:
        raise SpecError(sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column)))
