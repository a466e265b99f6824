"""What is run again and what is not, what goes on after a failure, and metrics."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conformance_helpers import Project, Ran, command_step
from conformance_table import row

LINE = json.dumps({"kind": "metric", "name": "rows", "value": 3, "step": 0, "timestamp": 1})
JOBS: dict[str, Any] = {
    "made": command_step(
        f"echo one > '${{{{outputs.o}}}}'; echo '{LINE}' >> \"$AZDISTILL_METRICS_FILE\"",
        ("o",),
    ),
    "read": command_step("cat '${{inputs.i}}'", inputs={"i": "${{parent.jobs.made.outputs.o}}"}),
    "fresh": command_step("date +%N", is_deterministic=False),
}


@pytest.fixture(scope="module")
def twice(shared_project: Project) -> tuple[Ran, Ran]:
    return shared_project.run(JOBS), shared_project.run(JOBS)


@row("cache", "a step that did not change is not run again", "is_deterministic: true")
def test_a_second_run_is_answered_from_the_cache(twice: tuple[Ran, Ran]) -> None:
    first, second = twice
    assert set(first.statuses.values()) == {"completed"}
    assert (second.statuses["made"], second.statuses["read"]) == ("cached", "cached")
    assert second.output("made", "o").read_text() == "one\n"


@row("not-deterministic", "a step that says it is not deterministic", "is_deterministic: false")
def test_what_is_not_deterministic_runs_again(twice: tuple[Ran, Ran]) -> None:
    assert twice[1].statuses["fresh"] == "completed"


@row("force-rerun", "all steps again", "settings.force_rerun")
def test_force_rerun_takes_nothing_from_the_cache(shared_project: Project, twice: tuple[Ran, Ran]) -> None:
    again = shared_project.run(JOBS, settings={"force_rerun": True})
    assert set(again.statuses.values()) == {"completed"}


@row("continue", "other branches go on after a failure", "settings.continue_on_step_failure")
def test_other_branches_go_on_where_the_settings_say_so(project: Project) -> None:
    jobs = {
        "bad": command_step("false; exit 3 > '${{outputs.o}}'", ("o",)),
        "after": command_step("cat '${{inputs.i}}'", inputs={"i": "${{parent.jobs.bad.outputs.o}}"}),
        "other": command_step("echo > '${{outputs.o}}'", ("o",)),
        "last": command_step("cat '${{inputs.i}}'", inputs={"i": "${{parent.jobs.other.outputs.o}}"}),
    }
    ran = project.run(jobs, {"jobs": 1}, settings={"continue_on_step_failure": True})
    assert ran.statuses == {"bad": "failed", "after": "skipped", "other": "completed", "last": "completed"}
    assert ran.finished.error is not None


@row("metrics-file", "metrics without a package", "AZDISTILL_METRICS_FILE")
def test_metrics_come_through_the_file_and_from_the_cache(twice: tuple[Ran, Ran]) -> None:
    assert [ran.finished.state.steps["made"].metrics for ran in twice] == [{"rows": 3}, {"rows": 3}]
