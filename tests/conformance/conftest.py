"""One suite, two runners: pipelines written by the tests, run as processes and in containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance_helpers import Project, refuse_open_state
from engine_fixtures import engine, image

from azdistill import redact

__all__ = ["engine", "image"]


@pytest.fixture(scope="module")
def runner(request: pytest.FixtureRequest) -> str:
    """``process`` or ``docker``, as the row says."""
    if request.param == "docker":
        request.getfixturevalue("engine")
    return str(request.param)


@pytest.fixture(scope="module")
def shared_project(runner: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose one run proves many rows; its name needs quoting."""
    made = Project(runner, tmp_path_factory.mktemp("a project, größer"))
    yield made
    redact.forget()
    refuse_open_state(made)


@pytest.fixture
def project(runner: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project of the test's own."""
    made = Project(runner, tmp_path_factory.mktemp("a project, größer"))
    yield made
    redact.forget()
    refuse_open_state(made)
