"""Running a part of a pipeline: which steps are meant, and what they need of those that are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from azdistill.errors import UserError, did_you_mean
from azdistill.local.plan.steps import Plan, PlannedStep, StepOutput


@dataclass(frozen=True, slots=True)
class Selection:
    """Names of steps, or of nested pipelines and ``if_else`` steps (which mean all of their steps). ``only``: these
    alone; ``since``: these and all that needs them; ``until``: these and all that they need.
    """

    only: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    until: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.only or self.since or self.until)


EVERYTHING = Selection()


def select(plan: Plan, selection: Selection) -> Plan:
    """The plan of the steps that are meant, and of those whose results they need (``given``), which are not run.

    Outputs of the pipeline that come from other steps are left out. UserError for a name that is none,
    and where nothing is left.
    """
    if not selection:
        return plan
    chosen = _meant(plan, selection)
    needed = _closed(chosen, {name: step.needs for name, step in plan.steps.items()})
    steps = {name: step for name, step in plan.steps.items() if name in needed}
    outputs = {name: remainder for name, source in plan.outputs.items() if (remainder := _reachable(source, steps))}
    return replace(
        plan,
        steps=steps,
        outputs=outputs,
        given=frozenset(steps.keys() - chosen),
        left_out={name: source for name, source in plan.outputs.items() if name not in outputs},
        apart=tuple(name for name in plan.steps if name not in steps),
    )


def _reachable(source: StepOutput, steps: Mapping[str, PlannedStep]) -> StepOutput | None:
    """What is left of the makers of an output; None where none is."""
    makers = [maker for maker in source.makers if maker.step in steps]
    return replace(makers[0], others=tuple(makers[1:])) if makers else None


def left_out(plan: Plan) -> list[str]:
    """A line for each output of the pipeline that is not written."""
    return [
        f"skipping output '{name}': step '{source.step}' was not selected" for name, source in plan.left_out.items()
    ]


def missing(plan: Plan, names: Sequence[str]) -> UserError:
    """The error for steps that are not selected and whose results are not there."""
    lines = []
    for name in names:
        users = [user for user, step in plan.steps.items() if name in step.needs]
        need = f"{', '.join(map(repr, users))} need{'s' * (len(users) == 1)}"
        lines.append(f"step '{name}' is not selected, and its result, which {need}, is not there")
    name = names[0]
    hint = f"select it too (--only {name}), or run the pipeline once: it is then in the cache"
    if not plan.steps[name].deterministic:
        hint = f"it is not deterministic, so no cache has it: --resume RUN takes that run's, --only {name} makes it"
    return UserError("; ".join(lines), code="AZD375", hint=hint)


def _meant(plan: Plan, selection: Selection) -> set[str]:
    if selection.only and (selection.since or selection.until):
        raise UserError("--only says all: it goes with neither --from nor --until", code="AZD376")
    needs = {name: step.needs for name, step in plan.steps.items()}
    if selection.only:
        return _named(plan.steps, selection.only)
    after = set(needs)
    if selection.since:
        users = {name: [user for user, needed in needs.items() if name in needed] for name in needs}
        after = _closed(_named(plan.steps, selection.since), users)
    before = _closed(_named(plan.steps, selection.until), needs) if selection.until else set(needs)
    if not after & before:
        begin, end = ", ".join(selection.since), ", ".join(selection.until)
        raise UserError(f"no step lies between {begin} and {end}: the second does not need the first", code="AZD376")
    return after & before


def _named(steps: Mapping[str, PlannedStep], names: Iterable[str]) -> set[str]:
    chosen: set[str] = set()
    for name in names:
        these = {step for step in steps if step == name or step.startswith(f"{name}.")}
        these |= {step for step, planned in steps.items() if name in (gate.name for gate in planned.under.gates)}
        if not these:
            choices = [*steps, *dict.fromkeys(step.rpartition(".")[0] for step in steps if "." in step)]
            choices += dict.fromkeys(gate.name for planned in steps.values() for gate in planned.under.gates)
            raise UserError(f"the pipeline has no step '{name}'", code="AZD373", hint=did_you_mean(name, choices))
        chosen |= these
    return chosen


def _closed(names: Iterable[str], next_: Mapping[str, Iterable[str]]) -> set[str]:
    """``names`` and all that can be reached from them."""
    reached, waiting = set(names), list(names)
    while waiting:
        new = set(next_[waiting.pop()]) - reached
        reached |= new
        waiting += new
    return reached
