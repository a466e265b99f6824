"""``validate`` finds what ``run`` refuses of the places that outputs are written to, and data is read from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from local_helpers import step, write_pipeline

from azdistill import aml
from azdistill.cli import cli
from azdistill.errors import SpecError
from azdistill.local.pipeline_run import Options, run_pipeline
from azdistill.permissions import NAMES

SHORT, LONG = "azureml://datastores", "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores"
LEAVE = [
    *(f"{SHORT}/{store}/paths/{path}" for store in ("d", "${{default_datastore}}") for path in ("..", "a/../../b")),
    f"{LONG}/d/paths/a/../b",
    f"{SHORT}/d/paths/../azdistill/answers",
    f"{SHORT}/../paths/a",
    f"{SHORT}/./paths/a",
    f"{SHORT}/d/paths/azdistill",
    f"{SHORT}/d/paths/azdistill/",
    *(f"{LONG}/d/paths/azdistill/{name}/x" for name in NAMES),
]
NO_DATASTORE = [
    "/abs",
    "/etc/passwd",
    "file:///abs",
    "file:out",
    "./out",
    "out",
    "../out",
    "~/out",
    "C:\\out",
    "$HOME/x",
]
REMOTE = ["wasbs://c@a.blob.core.windows.net/x", "abfss://c@a.dfs.core.windows.net/x", "https://x.invalid/y"]
REMOTE += ["azureml:name:1", f"{SHORT}/d", f"{SHORT}//paths/a", "AZUREML://datastores/d/paths/a"]
FINE = [f"{SHORT}/d/paths/a", f"{LONG}/d/paths/a/b/", f"{SHORT}/d/paths/azdistill/answers", f"{SHORT}/d/paths/a..b"]
FINE += [
    f"{SHORT}/${{{{default_datastore}}}}/paths/a",
    "azureml://datastores/d/paths/${{name}}/../x",
    f"{SHORT}/d/paths/",
]


def of_job(path: str) -> dict[str, Any]:
    return {"outputs": {"o": {"type": "uri_folder", "path": path}}, "jobs": {"a": jobs("${{parent.outputs.o}}")}}


def of_step(path: str) -> dict[str, Any]:
    return {"jobs": {"a": jobs({"type": "uri_folder", "path": path})}}


def jobs(output: Any) -> dict[str, Any]:
    return {**step("echo x > ${{outputs.o}}/x"), "outputs": {"o": output}}


def validated(file: Path) -> tuple[int, set[tuple[str, str]]]:
    """What ``validate`` ends with, and what it says, by code and severity; each with a place."""
    told = CliRunner().invoke(cli, ["validate", str(file), "--json"])
    problems = json.loads(told.stdout)
    assert all(problem["line"] for problem in problems)
    return told.exit_code, {(problem["code"], problem["severity"]) for problem in problems}


def refused(file: Path) -> set[str]:
    """The codes with which a run refuses it, that looks at nothing but its own plan."""
    try:
        run_pipeline(aml.load_pipeline(file), Options())
    except SpecError as error:
        return {problem.code for problem in error.problems}
    return set()


@pytest.mark.parametrize("shape", [of_job, of_step])
@pytest.mark.parametrize(
    ("path", "severity"),
    [*((path, "error") for path in LEAVE + NO_DATASTORE), *((path, "warning") for path in REMOTE)],
)
def test_a_place_that_run_refuses_is_found(project: Path, path: str, severity: str, shape: Any) -> None:
    whole = shape(path)
    file = write_pipeline(project / "pipeline.yml", whole.pop("jobs"), **whole)
    [code] = refused(file)
    assert code in ("AZD343", "AZD344")
    status, problems = validated(file)
    assert (status, problems) == (2 if severity == "error" else 0, {(code, severity)})
    assert not (project / ".azdistill").exists()


@pytest.mark.parametrize("shape", [of_job, of_step])
@pytest.mark.parametrize("path", FINE)
def test_a_place_that_run_takes_is_valid(project: Path, path: str, shape: Any) -> None:
    whole = shape(path)
    file = write_pipeline(project / "pipeline.yml", whole.pop("jobs"), **whole)
    assert validated(file) == (0, set())
    pipeline = aml.load_pipeline(file)
    assert not [problem for problem in aml.check(pipeline) if problem.severity == "error"]


# Of inputs, a run does not know the word.
@pytest.mark.parametrize("path", [path for path in LEAVE if "${{" not in path])
@pytest.mark.parametrize("where", ["job", "step"])
def test_data_that_run_refuses_for_its_place_is_found(project: Path, path: str, where: str) -> None:
    data = {"type": "uri_folder", "path": path}
    given = {"job": "${{parent.inputs.d}}", "step": data}[where]
    whole = {"inputs": {"d": data}} if where == "job" else {}
    file = write_pipeline(project / "pipeline.yml", {"a": step("ls ${{inputs.d}}", inputs={"d": given})}, **whole)
    assert refused(file) == {"AZD344"}
    status, problems = validated(file)
    assert (status, problems) == (2, {("AZD344", "error")})


STORED = f"{SHORT}/d/paths/x"
CONFLICTS = {
    "a file and a folder in one place": {"a": ("uri_file", STORED), "b": ("uri_folder", STORED)},
    "a folder below a file": {"a": ("uri_file", STORED), "b": ("uri_folder", f"{STORED}/y")},
    "a file above a folder": {"a": ("uri_folder", f"{STORED}/y"), "b": ("uri_file", STORED)},
}


@pytest.mark.parametrize("places", CONFLICTS.values(), ids=CONFLICTS)
def test_outputs_that_need_two_things_in_one_place_are_found(project: Path, places: dict[str, tuple[str, str]]) -> None:
    file = write_pipeline(
        project / "pipeline.yml",
        {name: jobs({"type": kind, "path": path}) for name, (kind, path) in places.items()},
    )
    assert refused(file) == {"AZD346"}
    assert validated(file) == (2, {("AZD346", "error")})
    assert not (project / ".azdistill").exists()


@pytest.mark.parametrize(("kind", "made"), [("uri_file", "folder"), ("uri_folder", "file")])
def test_data_of_the_other_kind_is_found(project: Path, kind: str, made: str) -> None:
    (project / "folder").mkdir()
    (project / "file").write_text("x", encoding="utf-8")
    data = {"d": {"type": kind, "path": f"./{made}"}}
    file = write_pipeline(project / "pipeline.yml", {"a": step("ls ${{inputs.d}}", inputs=data)})
    assert refused(file) == {"AZD346"}
    assert validated(file) == (2, {("AZD346", "error")})


def test_what_only_this_machine_lacks_is_valid(project: Path) -> None:
    data = {"d": {"type": "uri_file", "path": "azureml:reviews:1"}}
    file = write_pipeline(project / "pipeline.yml", {"a": step("ls ${{inputs.d}}", inputs=data)})
    assert refused(file) == {"AZD347"}
    assert validated(file) == (0, set())
