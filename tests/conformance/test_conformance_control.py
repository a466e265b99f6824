"""Steps that are run or not, and values that one step hands to the next."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conformance_helpers import Project, Ran, command_step
from conformance_table import row

FLAG = "${{parent.jobs.check.outputs.flag}}"
CONTROL = json.dumps({"kind": "tag", "name": "azureml.pipeline.control", "value": '{"logged": 3}'})


def _gate(condition: Any, true: str, false: str) -> dict[str, Any]:
    blocks = {"true_block": f"${{{{parent.jobs.{true}}}}}", "false_block": [f"${{{{parent.jobs.{false}}}}}"]}
    return {"type": "if_else", "condition": condition, **blocks}


JOBS: dict[str, Any] = {
    "check": command_step(
        f"echo False > ${{{{outputs.flag}}}}; echo größer als > ${{{{outputs.word}}}}; test ${{{{outputs.logged}}}}; "
        f"echo '{CONTROL}' >> \"$AZDISTILL_METRICS_FILE\"",
        {
            "flag": {"type": "boolean"},
            "word": {"type": "string"},
            "logged": {"type": "integer"},
        },
    ),
    "gate": _gate(FLAG, "big", "small"),
    "big": command_step("echo big > ${{outputs.o}}", ("o",)),
    "small": command_step("echo small > ${{outputs.o}}", ("o",)),
    "after": command_step("cat ${{inputs.i}}", inputs={"i": "${{parent.jobs.big.outputs.o}}"}),
    "use": command_step(
        "printf '<%s> %s' '${{inputs.word}}' '${{inputs.n}}'",
        inputs={"word": "${{parent.jobs.check.outputs.word}}", "n": "${{parent.jobs.check.outputs.logged}}"},
    ),
}


@pytest.fixture(scope="module")
def ran(shared_project: Project) -> Ran:
    return shared_project.run(JOBS)


@row("if-else", "one branch is run; the other, and what needs it, is skipped", "type: if_else")
def test_one_branch_is_run(ran: Ran) -> None:
    assert ran.finished.error is None
    assert {name: ran.statuses[name] for name in ("big", "small", "after")} == {
        "big": "skipped",
        "small": "completed",
        "after": "skipped",
    }
    assert ran.finished.state.steps["big"].reason == "branch"


@row("if-else-literal", "conditions that are written, or given to the pipeline", "condition")
def test_conditions_may_be_written_or_given(project: Project) -> None:
    jobs = {
        **{name: command_step(f"echo {name}") for name in ("a", "b", "c", "d")},
        "written": _gate(True, "a", "b"),
        "given": _gate("${{parent.inputs.flag}}", "c", "d"),
    }
    ran = project.run(jobs, inputs={"flag": False})
    assert ran.statuses == {"a": "completed", "b": "skipped", "c": "skipped", "d": "completed"}


@row("values", "outputs that are values, handed on as text", "outputs.type: string, ...")
def test_values_are_handed_on(ran: Ran) -> None:
    assert ran.log("use").startswith("<größer als>"), ran.error("use")


@row("values-logged", "values that a step only logs, as mldesigner does", "azureml.pipeline.control")
def test_logged_values_are_handed_on(ran: Ran) -> None:
    assert ran.log("use").endswith(" 3"), ran.error("check")


@row("values-checked", "a value that is not of its type fails its step", "outputs.type: integer")
def test_values_are_held_to_their_type(project: Project) -> None:
    ran = project.one("echo many > ${{outputs.n}}", outputs={"n": {"type": "integer"}})
    assert ran.statuses == {"a": "failed"}
    assert "is declared integer; what was written, 'many', is not a number" in ran.error()
