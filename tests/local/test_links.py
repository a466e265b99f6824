"""Links that a step leaves in what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import statuses, step

from azdistill.local.outputs import mlflow_files
from azdistill.local.outputs.manifest import stray
from azdistill.local.pipeline_run import Finished

Run = Callable[..., Finished]


def test_a_link_is_kept_as_what_it_leads_to(run: Run, project: Path) -> None:
    (project / "kept").write_text("content")
    finished = run({"a": step(f"ln -s '{project}/kept' ${{{{outputs.o}}}}", outputs=("o",))})
    made = Path(finished.state.steps["a"].outputs["o"])
    assert not made.is_symlink()
    assert made.read_text() == "content"


@pytest.mark.parametrize("target", ["nowhere", "/no/such/place", "ring"])
def test_a_link_that_leads_nowhere_fails_its_step(run: Run, target: str) -> None:
    job: dict[str, Any] = step(f"ln -s {target} ${{{{outputs.o}}}}/ring; echo x > ${{{{outputs.o}}}}/file")
    finished = run({"a": job | {"outputs": {"o": {"type": "uri_folder"}}}})
    assert statuses(finished) == {"a": "failed"}
    assert finished.state.steps["a"].error == (f"output 'o' holds a link, o/ring -> {target}, that leads nowhere")


def test_links_may_lead_to_what_the_step_was_given_and_nowhere_else(tmp_path: Path) -> None:
    for name in ("outputs/o", "input", "outside"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    out = tmp_path / "outputs" / "o"
    seen = [tmp_path / "outputs", tmp_path / "input"]
    (out / "given").symlink_to(tmp_path / "input" / "file")
    (out / "own").symlink_to("file")
    assert stray({"o": out}, seen) == ""
    (out / "first").symlink_to("second")
    (out / "second").symlink_to(tmp_path / "outside")
    assert "o/first -> second, that leads out of what the step was given" in stray({"o": out}, seen)
    assert stray({"o": out}) == ""


@pytest.mark.parametrize("link", ["latest -> .", "a/up -> ../..", "a/b/up -> ../../../.."])
def test_a_link_to_a_folder_around_it_fails_its_step(run: Run, link: str) -> None:
    name, _, target = link.partition(" -> ")
    made = f"cd ${{{{outputs.o}}}} && mkdir -p a/b && echo x > file && ln -s {target} {name}"
    finished = run({"a": step(made) | {"outputs": {"o": {"type": "uri_folder"}}}})
    assert statuses(finished) == {"a": "failed"}
    told = f"output 'o' holds a link, o/{link}, that leads back to a folder around it: a copy would have no end"
    assert finished.state.steps["a"].error == told


def test_links_that_lead_to_each_other_have_no_end_and_two_to_one_folder_have(tmp_path: Path) -> None:
    for name in ("o/a", "o/b", "input/c/d"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    out = tmp_path / "o"
    (out / "first").symlink_to("a")
    (out / "second").symlink_to("a")
    (out / "given").symlink_to(tmp_path / "input")
    (tmp_path / "input" / "same").symlink_to("c/d")
    assert stray({"o": out}) == ""
    (out / "a" / "x").symlink_to("../b")
    (out / "b" / "y").symlink_to("../a")
    assert "leads back to a folder around it" in stray({"o": out})
    (out / "b" / "y").unlink()
    (tmp_path / "input" / "c" / "d" / "up").symlink_to(tmp_path / "input" / "c")
    assert "o/given" in stray({"o": out})


def test_links_in_mlflow_files_are_not_followed_and_torn_lines_passed_over(tmp_path: Path) -> None:
    run, secret = tmp_path / "mlflow" / "0" / "run", tmp_path / "secret"
    for name in ("params", "tags", "metrics", "artifacts"):
        (run / name).mkdir(parents=True)
    secret.write_text("not for you")
    (run / "meta.yaml").touch()
    (run / "params" / "rate").write_text("0.5")
    (run / "metrics" / "loss").write_text("1 0.25 0\n2 nothing 1\n3\n4 nan 2\n5 1e-3 3\n")
    for name in ("params/key", "tags/key", "artifacts/key"):
        (run / name).symlink_to(secret)
    (tmp_path / "mlflow" / "0" / "other").symlink_to(tmp_path)
    folder = tmp_path / "mlflow"
    found = [(record["kind"], record["name"], record["value"]) for record in mlflow_files.records(folder)]
    assert [row for row in found if row[2] == row[2]] == [
        *(("param", "rate", "0.5"), ("metric", "loss", 0.25), ("metric", "loss", 0.001))
    ]
    assert mlflow_files.texts(folder) == [run / "params" / "rate"]


def test_tags_that_mlflow_sets_itself_are_no_records(tmp_path: Path) -> None:
    tags = tmp_path / "0" / "run" / "tags"
    tags.mkdir(parents=True)
    (tags.parent / "meta.yaml").touch()
    for name in ("mlflow.user", "mine"):
        (tags / name).write_text("a")
    assert list(mlflow_files.records(tmp_path)) == [{"kind": "tag", "name": "mine", "value": "a"}]
