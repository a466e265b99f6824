"""In a container too a value reaches a command as it is, and never runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from quoting import ARGV, POSITIONS, TO_OUTPUT, batch_of, errors, harmless, payloads, pipeline, values, written

from azdistill.local.pipeline_run import Options
from azdistill.local.runners.docker.engine import Engine

DOCKER = Options(docker=True, use_cache=False)
#: One container each, of up to 60 values.
batches = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Path:
    folder = tmp_path / "a project, größer"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("AZDISTILL_HOME", raising=False)
    return folder


@pytest.mark.slow
@batches
@given(tried=batch_of(harmless))
def test_a_value_between_single_quotes_is_a_programs_argument_unchanged(
    project: Path, image: str, tried: list[str]
) -> None:
    arguments = " ".join(f"'${{{{inputs.v{number}}}}}'" for number in range(len(tried)))
    named = {f"v{number}": value for number, value in enumerate(tried)}
    command = f'python3 -I -S -c "{ARGV}" {arguments}'
    path = pipeline(project / "pipeline.yml", command, named, {"image": image})
    assert errors(path) == []
    assert json.loads(written(path, DOCKER)) == tried


@pytest.mark.slow
@batches
@given(tried=batch_of(values))
def test_what_is_not_refused_arrives_as_it_does_in_a_process(project: Path, image: str, tried: list[str]) -> None:
    named = {f"v{number}": value for number, value in enumerate(tried)}
    lines = {name: list(POSITIONS.values())[number % 3] for number, name in enumerate(named)}
    kept = [name for name in named if not errors(_lines(project, {name: lines[name]}, named, image))]
    path = _lines(project, {name: lines[name] for name in kept}, named, image)
    assert written(path, DOCKER) == written(path, Options(use_cache=False))


@pytest.mark.slow
@pytest.mark.parametrize("position", POSITIONS)
def test_no_hostile_value_runs(project: Path, image: str, position: str) -> None:
    named = {f"v{number}": value for number, value in enumerate(payloads(Path("canary")))}
    kept = [name for name in named if not errors(_lines(project, {name: POSITIONS[position]}, named, image))]
    assert len(kept) < len(named)
    path = _lines(project, dict.fromkeys(kept, POSITIONS[position]), named, image)
    assert written(path, DOCKER).count(b"RUN\0") == len(kept) + 1
    assert list(project.parent.rglob("canary")) == []


def _lines(project: Path, templates: dict[str, str], named: dict[str, str], image: str) -> Path:
    """A pipeline whose step gives each of these values to the probe, in its position."""
    lines = ["probe 'first'", *(template.format(f"${{{{inputs.{name}}}}}") for name, template in templates.items())]
    inputs = {name: named[name] for name in templates}
    return pipeline(project / "pipeline.yml", TO_OUTPUT.format("\n".join(lines)), inputs, {"image": image})
