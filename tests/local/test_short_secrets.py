"""A key of a few characters, which a server at home takes as well, leaves a run's records what they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from local_helpers import log_of, step

from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.store.runs import load_run

RECORDS = [
    {"kind": "metric", "name": "a", "value": 1},
    {"kind": "param", "name": "a", "value": "a"},
    {"kind": "tag", "name": "told", "value": "no such key: a"},
]


@pytest.mark.parametrize("key", ["a", "1", "value", "kind"])
def test_what_is_looked_up_by_its_name_is_found(
    key: str, run: Callable[..., Finished], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    (project / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    command = f"cat '{project}/records.jsonl' >> \"$AZDISTILL_METRICS_FILE\"; echo text > ${{{{outputs.a}}}}"
    jobs = {"a": step(f"{command}; echo kept, {key}", outputs=("a",), environment_variables={"MY_KEY": "env:MY_KEY"})}
    done = run(jobs)
    state = load_run(done.state.folder)
    assert {name: each.status for name, each in state.steps.items()} == {"a": "completed"}
    assert Path(state.steps["a"].outputs["a"]).read_text() == "text\n"
    assert state.steps["a"].metrics == {"a": 1.0}
    assert "kept, ***" in log_of(done, "a")
    again = run(jobs, options=Options(resume="latest"))
    assert again.state.steps["a"].status == "cached"


def test_its_value_is_hidden_in_records_and_nothing_else_of_them(
    run: Callable[..., Finished], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "a")
    (project / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    command = f"cat '{project}/records.jsonl' >> \"$AZDISTILL_METRICS_FILE\""
    done = run({"a": step(command, environment_variables={"MY_KEY": "env:MY_KEY"})})
    (file,) = project.rglob("attempts/1/metrics.jsonl")
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        RECORDS[0],
        RECORDS[1] | {"value": "***"},
        RECORDS[2] | {"value": "no such key: ***"},
    ]
    assert done.state.status == "completed"
