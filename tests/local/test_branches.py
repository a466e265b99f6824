"""Which steps of any pipeline with conditions are run: held against a model of a few lines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_helpers import step

from azdistill import aml
from azdistill.local.plan.planner import plan_pipeline
from azdistill.local.plan.steps import Plan
from azdistill.local.run.result import BRANCH, Result, skipped
from azdistill.local.store.home import Home


@dataclass(frozen=True)
class Drawn:
    """Steps by number, each with the one that it needs, and gates: condition, and what its two blocks hold.

    A gate in a block has a higher number than the gate that the block is of.
    """

    needs: list[int | None]
    conditions: list[bool]
    owners: dict[str, tuple[int, bool]]


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    count, gates = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    needs = [draw(st.none() | st.integers(0, number - 1)) if number else None for number in range(count)]
    owners = {}
    for name, most in [*((f"s{n}", gates) for n in range(count)), *((f"g{n}", n) for n in range(gates))]:
        if most and draw(st.booleans()):
            owners[name] = (draw(st.integers(0, most - 1)), draw(st.booleans()))
    return Drawn(needs, [draw(st.booleans()) for _ in range(gates)], owners)


def jobs_of(case: Drawn) -> dict[str, Any]:
    jobs: dict[str, Any] = {}
    for number, need in enumerate(case.needs):
        inputs = {} if need is None else {"i": f"${{{{parent.jobs.s{need}.outputs.o}}}}"}
        jobs[f"s{number}"] = step("echo > ${{outputs.o}}", outputs=("o",), inputs=inputs)
    for number, condition in enumerate(case.conditions):
        # No gate is without a step.
        jobs[f"own{number}"] = step("true")
        held = {**case.owners, f"own{number}": (number, True)}
        blocks = {
            key: [f"${{{{parent.jobs.{name}}}}}" for name, owner in held.items() if owner == (number, value)]
            for key, value in (("true_block", True), ("false_block", False))
        }
        jobs[f"g{number}"] = {"type": "if_else", "condition": condition, **blocks}
    return jobs


def lets_through(case: Drawn, name: str) -> bool:
    if name not in case.owners:
        return True
    gate, wanted = case.owners[name]
    return case.conditions[gate] == wanted and lets_through(case, f"g{gate}")


def runs(case: Drawn, number: int) -> bool:
    need = case.needs[number]
    return lets_through(case, f"s{number}") and (need is None or runs(case, need))


def walked(plan: Plan) -> set[str]:
    """The steps that are run where none fails."""
    results: dict[str, Result] = {}
    for name, planned in plan.steps.items():
        told = skipped(planned, results)
        results[name] = Result("skipped", reason=BRANCH, detail=told) if told else Result("completed")
    return {name for name, result in results.items() if result.status == "completed" and not name.startswith("own")}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(case=drawn())
def test_what_is_run_is_what_every_condition_around_it_lets_through(case: Drawn, project: Path) -> None:
    pipeline = aml.pipeline_from({"type": "pipeline", "jobs": jobs_of(case)}, project, "p.yml")
    assert [problem for problem in aml.check(pipeline) if problem.severity == "error"] == []
    plan = plan_pipeline(pipeline, Home(project / ".azdistill"))
    assert walked(plan) == {f"s{number}" for number in range(len(case.needs)) if runs(case, number)}
