"""Pipelines of thousands of steps, each of which needs the one that is written after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from azdistill import aml
from azdistill.aml.checks import wiring
from azdistill.aml.source import Where

PLACE: Any = Where


def edges(*pairs: tuple[str, str]) -> dict[str, dict[str, Where]]:
    found: dict[str, dict[str, Where]] = {}
    for name, needed in pairs:
        found.setdefault(name, {})[needed] = PLACE
    return found


def test_a_circle_at_the_end_of_a_long_chain_is_found() -> None:
    chain = [(f"s{number}", f"s{number + 1}") for number in range(3000)]
    assert wiring._circles(edges(*chain)) == []
    assert wiring._circles(edges(*chain, ("s3000", "s2999"))) == [["s2999", "s3000", "s2999"]]
    (whole,) = wiring._circles(edges(*chain, ("s3000", "s0")))
    assert len(whole) == 3002


def test_each_way_back_is_a_circle_of_its_own() -> None:
    found = wiring._circles(edges(("a", "b"), ("a", "c"), ("b", "a"), ("c", "c"), ("c", "b"), ("d", "a"), ("b", "c")))
    assert found == [["a", "b", "a"], ["c", "c"], ["b", "c", "b"]]


@pytest.mark.slow
def test_three_thousand_steps_written_last_first_are_checked(tmp_path: Path) -> None:
    def step(number: int) -> dict[str, Any]:
        needs = {"i": f"${{{{parent.jobs.s{number - 1}.outputs.o}}}}"} if number else {"i": "x"}
        command = "cp '${{inputs.i}}' '${{outputs.o}}'"
        written = {"o": {"type": "uri_file"}}
        return {"type": "command", "command": command, "environment": "azureml:any@latest", "inputs": needs} | {
            "outputs": written
        }

    path = tmp_path / "pipeline.yml"
    jobs = {f"s{number}": step(number) for number in reversed(range(3000))}
    path.write_text(yaml.safe_dump({"type": "pipeline", "jobs": jobs}, sort_keys=False))
    assert aml.check(aml.load_pipeline(path)) == []
