"""A value reaches a step's command as it is or is refused, and never runs: proven with what a shell really does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from quoting import (
    ARGV,
    POSITIONS,
    TO_OUTPUT,
    batch_of,
    errors,
    harmless,
    payloads,
    pipeline,
    started,
    stays,
    values,
    written,
)

from azdistill import aml
from azdistill.aml.models import Pipeline
from azdistill.aml.quoting import PLAIN
from azdistill.cli.local_run import open_pipeline
from azdistill.errors import SpecError
from azdistill.local.pipeline_run import Options, run_pipeline

WITHOUT_CACHE = Options(use_cache=False)
batches = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.data_too_large, HealthCheck.too_slow],
)


@pytest.mark.slow
@batches
@given(tried=batch_of(harmless))
def test_a_value_between_single_quotes_is_a_programs_argument_unchanged(project: Path, tried: list[str]) -> None:
    arguments = " ".join(f"'${{{{inputs.v{number}}}}}'" for number in range(len(tried)))
    named = {f"v{number}": value for number, value in enumerate(tried)}
    path = pipeline(project / "pipeline.yml", f'python -I -S -c "{ARGV}" {arguments}', named)
    assert errors(path) == []
    assert json.loads(written(path, WITHOUT_CACHE)) == tried


@pytest.mark.slow
@batches
@given(tried=batch_of(values))
@pytest.mark.parametrize("position", POSITIONS)
def test_what_a_shell_would_take_for_more_than_data_is_refused_and_the_rest_arrives(
    project: Path, position: str, tried: list[str]
) -> None:
    real = started([POSITIONS[position].format(value) for value in tried])
    breaks = {n for n, value in enumerate(tried) if not stays(position, value, real[n])}
    named = {f"v{number}": value for number, value in enumerate(tried)}
    lines = {number: POSITIONS[position].format(f"${{{{inputs.v{number}}}}}") for number in range(len(tried))}
    found = errors(pipeline(project / "pipeline.yml", "\n".join(lines.values()), named))
    assert {problem.code for problem in found} <= {"AZD156"}
    refused = {int(re.findall(r"'v(\d+)'", problem.message)[0]) for problem in found}
    assert breaks <= refused
    assert not any(PLAIN.fullmatch(tried[number]) for number in refused)
    assert position != "single-quoted" or breaks == refused
    kept = [number for number in lines if number not in refused]
    command = TO_OUTPUT.format("\n".join(["probe 'first'", *(lines[number] for number in kept)]))
    path = pipeline(project / "pipeline.yml", command, {f"v{number}": tried[number] for number in kept})
    assert errors(path) == []
    arrived = [piece for number in kept for piece in real[number][1]]
    assert written(path, WITHOUT_CACHE).decode("utf-8", "surrogateescape") == "\0".join(["RUN", "first", *arrived, ""])


@pytest.mark.parametrize("given", ["written", "set"])
@pytest.mark.parametrize("position", POSITIONS)
def test_no_hostile_value_runs(project: Path, position: str, given: str) -> None:
    canary = project.parent / "canary"
    tried = payloads(canary)
    refused = {number for number, value in enumerate(tried) if not _opens(project, position, given, [value])}
    assert len(refused) >= len(tried) // 3
    kept = [value for number, value in enumerate(tried) if number not in refused]
    if kept:
        finished = run_pipeline(_open(project, position, given, kept), WITHOUT_CACHE)
        assert finished.error is None
    assert not canary.exists()


@pytest.mark.slow
@pytest.mark.parametrize("position", POSITIONS)
def test_a_hostile_value_that_no_check_has_seen_is_refused_where_it_is_used(project: Path, position: str) -> None:
    canary = project.parent / "canary"
    refused = [value for value in payloads(canary) if not _opens(project, position, "written", [value])]
    for value in refused[::4]:
        path = _pipeline(project, position, [value])
        finished = run_pipeline(aml.load_pipeline(path), WITHOUT_CACHE)
        assert finished.error is not None
        assert finished.error.code == "AZD156"
        assert not canary.exists()


@pytest.mark.parametrize("position", POSITIONS)
def test_no_hostile_file_name_runs(project: Path, position: str) -> None:
    tried = [value for value in payloads(Path("canary")) if not set("/\0") & set(value)]
    names = {f"v{number}": {"type": "uri_file", "path": f"./{value}"} for number, value in enumerate(tried)}
    for value in tried:
        (project / value).write_text(f"{len(value)} ")
    template = POSITIONS[position].replace("probe", "cat").replace("end", ">> O")
    lines = [template.format(f"${{{{inputs.{name}}}}}").replace("O", "'${{outputs.o}}'") for name in names]
    path = pipeline(project / "pipeline.yml", "\n".join(lines), names)
    # It is data with a strange name, and is read.
    assert written(path, WITHOUT_CACHE).split() == [str(len(value)).encode() for value in tried]
    assert [found for found in project.parent.rglob("canary") if found.parent != project] == []
    assert not (project / "canary").exists()


def test_what_a_value_holds_is_no_expression(project: Path) -> None:
    path = pipeline(
        project / "pipeline.yml", "printf %s '${{inputs.v}}' > '${{outputs.o}}'", {"v": "${{parent.inputs.v}}"}, v="x"
    )
    for value in ("${{inputs.v}}", "${{parent.inputs.v}}", "$[[x]]", "$[[${{inputs.v}}]]", "${{ inputs.v }"):
        finished = run_pipeline(open_pipeline(path, [f"v={value}"]), WITHOUT_CACHE)
        assert Path(finished.state.steps["a"].outputs["o"]).read_text() == value


def _pipeline(project: Path, position: str, tried: list[str], **inputs: str) -> Path:
    named = {f"v{number}": value for number, value in enumerate(tried)}
    lines = [POSITIONS[position].format(f"${{{{inputs.{name}}}}}") for name in named]
    return pipeline(project / "pipeline.yml", TO_OUTPUT.format("\n".join(lines)), named, **inputs)


def _open(project: Path, position: str, given: str, tried: list[str]) -> Pipeline:
    """A checked pipeline whose step has these values, as its file or ``--set`` gives them."""
    if given == "written":
        return open_pipeline(_pipeline(project, position, tried), [])
    names = [f"v{number}" for number in range(len(tried))]
    bound = [f"${{{{parent.inputs.{name}}}}}" for name in names]
    path = _pipeline(project, position, bound, **dict.fromkeys(names, "harmless"))
    return open_pipeline(path, [f"{name}={value}" for name, value in zip(names, tried, strict=True)])


def _opens(project: Path, position: str, given: str, tried: list[str]) -> bool:
    try:
        _open(project, position, given, tried)
    except SpecError as error:
        return {problem.code for problem in error.problems} != {"AZD156"}
    return True
