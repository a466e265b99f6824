"""A teacher on several machines gives what a teacher on one gives, row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from program import ROOT
from snapshots import chat, write_jsonl
from tiny_models import save_tiny

from azdistill import aml, assets, compile, redact
from azdistill.local.pipeline_run import Finished, Options, run_pipeline

#: What differs between two runs whatever they do: times, and what was asked twice because nobody knew of the other.
MEASURED = {"latency", "seconds", "requests", "reused", "shared", "retries", "prompt_tokens", "completion_tokens"}


def recipe(folder: Path, **teacher: Any) -> Path:
    path = folder / "recipe.yml"
    settings = {"model": "owner/tiny", "weights": str(folder / "teacher"), "max_tokens": 8, "min_success_ratio": 0.0}
    path.write_text(
        json.dumps(
            {
                "task": "conversation",
                "teacher": {**settings, "engine": "transformers", **teacher},
                "student": str(folder / "teacher"),
                "data": {"training_data": "rows.jsonl", "validation_fraction": 0.25, "test_fraction": 0.25},
            }
        )
    )
    return path


def answered(folder: Path, monkeypatch: pytest.MonkeyPatch, home: str, **teacher: Any) -> tuple[Finished, Path]:
    """Run what a recipe makes, up to the answered rows."""
    monkeypatch.setenv("AZDISTILL_HOME", str(folder / home))
    built = compile.compile_recipe(recipe(folder, **teacher))
    steps = ["prepare", "teacher_shards", "teacher_parallel", "teacher"]
    mapping = built.mapping
    jobs = {name: node for name, node in mapping["jobs"].items() if name in steps}
    outputs = ("train", "validation", "rejects", "summary")
    jobs["teacher"].setdefault("outputs", {}).update({name: f"${{{{parent.outputs.{name}}}}}" for name in outputs})
    mapping = {**mapping, "jobs": jobs, "outputs": {name: {"type": "uri_file"} for name in outputs}}
    pipeline = aml.pipeline_from(mapping, folder, "recipe.yml")
    assert [problem for problem in aml.check(pipeline) if problem.severity == "error"] == []
    finished = run_pipeline(pipeline, Options(out=folder / f"{home}-out"))
    redact.forget()
    return finished, folder / f"{home}-out"


def rows(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in MEASURED | {"file"}} for row in lines]


@pytest.mark.slow
def test_one_machine_and_several_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path / "teacher")
    write_jsonl(tmp_path / "rows.jsonl", [chat(f"Say {number}.") for number in range(40)])
    one, alone = answered(tmp_path, monkeypatch, "one")
    several, together = answered(tmp_path, monkeypatch, "several", nodes=2)
    assert (one.error, several.error) == (None, None)
    assert list(one.state.steps) == ["prepare", "teacher"]
    assert list(several.state.steps) == ["prepare", "teacher_shards", "teacher_parallel", "teacher"]
    counts = {}
    for name in ("train", "validation", "rejects"):
        assert rows(alone / name) == rows(together / name)
        counts[name] = len(rows(alone / name))
    first, second = (folder / "summary" for folder in (alone, together))
    plain = [
        {key: value for key, value in json.loads(path.read_text()).items() if key not in MEASURED}
        for path in (first, second)
    ]
    assert plain[0] == plain[1]
    assert counts["train"] > counts["validation"] > 0
    assert plain[0]["in"] == sum(counts.values())
    log = several.state.steps["teacher_parallel"].log
    assert log
    # Sixteen at most, each of one file of rows.
    assert int(Path(log).read_text().partition(" mini-batches")[0].rpartition(" ")[2]) > 8


def test_the_parallel_component_brings_the_code_it_imports_and_no_more() -> None:
    from azdistill import snapshot

    component = aml.load_component(assets.component("teacher_parallel"))
    assert isinstance(component, aml.CommandComponent)
    assert isinstance(component.code, Path)
    taken = snapshot.take(component.code, base=ROOT / "components" / "teacher" / "teacher_parallel")
    folders = {
        "/".join(name.split("/")[: 2 if name.startswith("teacher/") else 1]) for name in taken.files if "/" in name
    }
    teacher = {f"teacher/{name}" for name in ("teacher_inference", "teacher_in_job", "teacher_parallel")}
    assert folders == {"common", "modelling", *teacher}
