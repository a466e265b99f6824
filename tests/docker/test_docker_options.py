"""A part of a pipeline, and what a run would do, in containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from azdistill import aml, redact
from azdistill.aml.models import Pipeline
from azdistill.local.dry_run import foresee
from azdistill.local.pipeline_run import Options, run_pipeline
from azdistill.local.plan.selection import Selection
from azdistill.local.runners.docker.engine import Engine

DOCKER = Options(docker=True)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZDISTILL_HOME", raising=False)
    yield tmp_path
    redact.forget()


def pipeline(project: Path, image: str, **changed: Any) -> Pipeline:
    """a -> b, in containers of ``image``."""
    common = {"type": "command", "environment": {"image": image}, "outputs": {"x": {"type": "uri_file"}}}
    jobs = {
        "a": common | {"command": "echo a > ${{outputs.x}}"},
        "b": common
        | {
            "command": "cat ${{inputs.x}} > ${{outputs.x}}; echo b >> ${{outputs.x}}",
            "inputs": {"x": "${{parent.jobs.a.outputs.x}}"},
        },
    }
    for name, more in changed.items():
        jobs[name] |= more
    path = project / "pipeline.yml"
    path.write_text(yaml.safe_dump({"type": "pipeline", "display_name": "test", "jobs": jobs}))
    return aml.load_pipeline(path)


def test_a_selected_step_finds_what_it_needs_and_a_dry_run_says_so_before(project: Path, image: str) -> None:
    written = pipeline(project, image)
    assert {name: told.action for name, told in foresee(written, DOCKER)[1].items()} == {"a": "run", "b": "after"}
    first = run_pipeline(written, Options(docker=True, selection=Selection(until=("a",))))
    assert {name: step.status for name, step in first.state.steps.items()} == {"a": "completed"}
    assert {name: told.action for name, told in foresee(written, DOCKER)[1].items()} == {"a": "reuse", "b": "run"}
    second = run_pipeline(written, Options(docker=True, selection=Selection(only=("b",))))
    assert {name: step.status for name, step in second.state.steps.items()} == {"a": "cached", "b": "completed"}
    assert Path(second.state.steps["b"].outputs["x"]).read_text() == "a\nb\n"


def test_a_dry_run_builds_no_image(project: Path, image: str, engine: Engine) -> None:
    (project / "context").mkdir()
    (project / "context" / "Dockerfile").write_text(f"FROM {image}\nLABEL azdistill.test={project.name}\n")
    written = pipeline(project, image, a={"environment": {"build": {"path": "./context"}}})
    told = foresee(written, DOCKER)[1]
    assert (told["a"].action, told["a"].reason) == ("run", "its image is not on this machine yet")
    assert engine.api.images(filters={"label": f"azdistill.test={project.name}"}) == []
