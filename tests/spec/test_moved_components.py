"""A component that was named by the folder it lay in before is told where it lies now."""

from __future__ import annotations

from pathlib import Path

import pytest

from azdistill import SpecError, aml

ROOT = Path(__file__).parents[2]
COMPONENTS = sorted(ROOT.glob("components/*/*/component.yml"))


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda path: path.parent.name)
def test_the_message_holds_the_path_that_works(component: Path) -> None:
    before = f"../components/{component.parent.name}/component.yml"
    job = {"type": "pipeline", "jobs": {"step": {"type": "command", "component": before}}}
    with pytest.raises(SpecError) as caught:
        aml.pipeline_from(job, ROOT / "pipelines", "old.yml")
    (problem,) = [problem for problem in caught.value.problems if problem.code == "AZD121"]
    now = problem.hint.removeprefix("it lies at ")
    assert (ROOT / "pipelines" / now).resolve() == component
