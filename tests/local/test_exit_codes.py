"""What exit code a run ends with when a step fails: a number means what its component says that it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_helpers import step, write_pipeline

from azdistill import aml
from azdistill.errors import RunFailed, UserError, exit_code_of_step
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan.selection import Selection
from azdistill.local.runners.docker.images import Images, Settings

Run = Callable[..., Finished]
ROOT = Path(__file__).parents[2]
SYSEXITS = {"azdistill.exit_codes": "sysexits"}


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 64, 65, 69, 75, 77, 78, 130])
def test_a_number_of_a_users_step_is_the_runs_failure(run: Run, code: int) -> None:
    error = run({"a": step(f"exit {code}")}).error
    assert isinstance(error, RunFailed)
    assert (error.exit_code, error.code) == (1, "AZD370")
    assert f"exit code {code}" in error.message


@pytest.mark.parametrize(("code", "expected"), [(1, 1), (65, 2), (77, 4), (130, 1)])
def test_a_component_may_say_that_it_follows_sysexits(run: Run, code: int, expected: int) -> None:
    error = run({"a": step(f"exit {code}", tags=SYSEXITS)}).error
    assert error
    assert (error.exit_code, exit_code_of_step(code)) == (expected, expected)


def test_what_failed_before_keeps_its_exit_code_in_a_part_of_the_run(run: Run) -> None:
    jobs = {"a": step("exit 77", tags=SYSEXITS), "b": step("true")}
    run(jobs, options=Options(keep_going=True))
    error = run(jobs, options=Options(resume="latest", selection=Selection(("b",)))).error
    assert error
    assert error.exit_code == 4


@pytest.mark.parametrize(
    "path", sorted((ROOT / "components").rglob("component.yml")), ids=lambda path: path.parent.name
)
def test_every_component_of_ours_says_so(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["tags"]["azdistill.exit_codes"] == "sysexits"


GOOD = [
    "python",
    "python:3.11-slim",
    "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:20230120.v2",
    "localhost:5000/a/b",
]
GOOD += ["Registry.Example:443/a__b/c-d.e:V1_x", "a@sha256:" + "0" * 64, "[::1]:5000/a"]
BAD = [
    "UPPER/Case:@@",
    "Python",
    "a b",
    "a:",
    "a/",
    "/a",
    "a//b",
    "a:b:c",
    "-a",
    "a@sha256:12",
    "a:" + "b" * 129,
    "a\nb",
    "a;b",
]


@pytest.mark.parametrize(("image", "good"), [*((name, True) for name in GOOD), *((name, False) for name in BAD)])
def test_a_name_that_no_image_can_have_is_the_users(project: Path, image: str, good: bool) -> None:
    file = write_pipeline(project / "pipeline.yml", {"a": step("true") | {"environment": {"image": image}}})
    problems = [problem for problem in aml.check(aml.load_pipeline(file)) if problem.severity == "error"]
    assert [problem.code for problem in problems] == ([] if good else ["AZD115"])
    engine: Any = None
    settings = Settings(instead={"azureml:e:1": image})
    if not good:
        with pytest.raises(UserError) as caught:
            Images(engine, settings, print).known("azureml:e:1", "a")
        assert (caught.value.exit_code, caught.value.code) == (2, "AZD115")
