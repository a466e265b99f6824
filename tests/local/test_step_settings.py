"""Settings of a step that are bound to the pipeline's inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from local_helpers import log_of, statuses, step, write_pipeline

from azdistill import aml
from azdistill.errors import SpecError
from azdistill.local.pipeline_run import Finished
from azdistill.local.plan.planner import plan_pipeline
from azdistill.local.plan.steps import Plan
from azdistill.local.store.home import find_home

Run = Callable[..., Finished]


def planned(job: dict[str, Any], **more: Any) -> Plan:
    """The plan of a pipeline with one step, ``a``."""
    pipeline = aml.load_pipeline(write_pipeline(find_home().root.parent / "pipeline.yml", {"a": job}, **more))
    assert not [problem for problem in aml.check(pipeline) if problem.severity == "error"]
    return plan_pipeline(pipeline, find_home())


def test_a_variable_is_given_what_it_is_bound_to(run: Run) -> None:
    job = step('echo "$V, $W"', environment_variables={"V": "at ${{parent.inputs.v}}", "W": "$[[as it is]]"})

    def said(value: str) -> tuple[str, str]:
        finished = run({"a": job}, inputs={"v": value})
        return statuses(finished)["a"], log_of(finished, "a") if statuses(finished)["a"] == "completed" else ""

    assert said("one") == ("completed", "at one, $[[as it is]]\n")
    assert said("one") == ("cached", "")
    assert said("two") == ("completed", "at two, $[[as it is]]\n")


def test_a_secret_that_a_variable_is_bound_to_is_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITS_KEY", "correct-horse-battery")
    job = step('echo "$V $ITS_KEY"', environment_variables={"V": "${{parent.inputs.key}}"})
    finished = run({"a": job}, inputs={"key": "env:ITS_KEY"})
    assert log_of(finished, "a") == "env:ITS_KEY ***\n"


def test_a_variable_bound_to_an_optional_input_without_a_value_is_empty(run: Run) -> None:
    inner = {
        "type": "pipeline",
        "inputs": {"v": {"type": "string", "optional": True}},
        "jobs": {"deep": step('echo "[$V]"', environment_variables={"V": "${{parent.inputs.v}}"})},
    }
    write_pipeline(find_home().root.parent / "inner.yml", inner["jobs"], inputs=inner["inputs"])
    assert log_of(run({"a": {"type": "pipeline", "component": "./inner.yml"}}), "a.deep") == "[]\n"


def test_a_variable_that_is_bound_to_data_is_refused_by_line() -> None:
    find_home().root.parent.joinpath("rows").write_text("")
    job = step("true", environment_variables={"V": "${{parent.inputs.rows}}"})
    with pytest.raises(SpecError, match="is data: it cannot stand within an environment variable") as caught:
        planned(job, inputs={"rows": {"type": "uri_file", "path": "./rows"}})
    (problem,) = caught.value.problems
    assert (problem.code, problem.line > 1) == ("AZD337", True)


def test_a_timeout_may_be_bound_to_an_input() -> None:
    job = step("true", limits={"timeout": "${{parent.inputs.t}}"})
    assert planned(job, inputs={"t": 30}).steps["a"].timeout == 30
    with pytest.raises(SpecError, match="'timeout' should be a whole number from 1 on, not 'soon'") as caught:
        planned(job, inputs={"t": "soon"})
    assert [problem.code for problem in caught.value.problems] == ["AZD111"]
