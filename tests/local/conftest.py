"""A project folder of its own for each test, and pipelines written in a line or two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_helpers import write_pipeline

from azdistill import aml, redact
from azdistill.local.pipeline_run import Finished, Options, run_pipeline


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, empty, with a name that needs quoting."""
    folder = tmp_path / "a project, größer"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("AZDISTILL_HOME", raising=False)
    yield folder
    redact.forget()


@pytest.fixture
def run(project: Path) -> Callable[..., Finished]:
    """Writes a pipeline of steps and runs it: ``run({"a": step("true")}, inputs=..., options=Options())``."""

    def run_steps(
        jobs: dict[str, Any] | Path, *, listeners: Any = (), options: Options | None = None, **more: Any
    ) -> Finished:
        path = jobs if isinstance(jobs, Path) else write_pipeline(project / "pipeline.yml", jobs, **more)
        pipeline = aml.load_pipeline(path)
        problems = [problem for problem in aml.check(pipeline) if problem.severity == "error"]
        assert not problems, "\n".join(map(str, problems))
        return run_pipeline(pipeline, options or Options(), listeners)

    return run_steps
