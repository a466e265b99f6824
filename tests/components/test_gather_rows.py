"""gather_rows as it is run: every row once and in its order, and none lost where a shard was given up."""

from __future__ import annotations

import json

import pytest
from snapshots import chat, write_jsonl

COUNTS = ("requests", "retries", "answered", "reused", "shared", "prompt_tokens", "completion_tokens", "seconds")


@pytest.fixture
def answered_shards(component, tmp_path):
    """Inputs of gather_rows: twelve rows in three shards, each answered."""
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat(f"Say {number}.") for number in range(12)])
    sharded = component("shard_rows").run({"rows": rows, "shards": 3})
    assert sharded.returncode == 0, sharded.stderr
    index = json.loads(sharded.outputs["index"].read_text())
    for shard in index["shards"]:
        folder = tmp_path / "results" / shard["name"]
        folder.mkdir(parents=True)
        lines = (sharded.outputs["shards"] / shard["name"]).read_text()
        (folder / "train.jsonl").write_text(lines)
        (folder / "rejects.jsonl").write_text("")
        (folder / "summary.json").write_text(json.dumps(dict.fromkeys(COUNTS, 1)))
    inputs = {name: sharded.outputs[name] for name in ("shards", "index")}
    return inputs | {"results": tmp_path / "results", "teacher_model": "t", "min_success_ratio": 0.5}


def test_answered_shards_come_together_in_order(component, answered_shards):
    result = component("gather_rows").run(answered_shards)
    assert result.returncode == 0, result.stderr
    assert [row["messages"][-1]["content"] for row in result.rows("train")] == [f"Say {n}." for n in range(12)]
    assert result.summary["requests"] == 3


def test_a_shard_that_was_given_up_loses_no_row_and_is_no_success(component, answered_shards, tmp_path):
    lost = sorted((tmp_path / "results").iterdir())[1]
    (lost / "summary.json").unlink()
    result = component("gather_rows").run(answered_shards)
    assert result.returncode == 69
    assert f"1 of 3 shards were given up ({lost.name})" in result.stderr
    assert len(result.rows("train")) == 8
    assert result.summary["reasons"] == {"not_asked": 4}
    assert [row["line"] for row in result.rows("rejects")] == [5, 6, 7, 8]
