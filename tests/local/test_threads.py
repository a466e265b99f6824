"""Steps that may run side by side share the processors; one that is alone has them all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from local_helpers import step

from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan.order import thread_shares

Run = Callable[..., Finished]
PRINT = "echo ${OMP_NUM_THREADS} > '${{outputs.x}}'"


def shares(plan_steps: dict[str, tuple[set[str], bool]], jobs: int, processors: int) -> dict[str, int]:
    """Shares of steps given as ``name: (needs, exclusive)``."""

    class Fake:
        workers = 1
        sweep = None

        def __init__(self, needs: set[str], exclusive: bool) -> None:
            self.needs, self.exclusive = frozenset(needs), exclusive

    return thread_shares({name: Fake(*about) for name, about in plan_steps.items()}, jobs, processors)  # type: ignore[misc]


def test_a_chain_has_all_processors_at_each_step() -> None:
    assert shares({"a": (set(), False), "b": ({"a"}, False), "c": ({"b"}, False)}, 4, 8) == {"a": 8, "b": 8, "c": 8}


def test_two_branches_have_half_each_and_what_joins_them_has_all() -> None:
    steps = {"a": (set(), False), "b": ({"a"}, False), "c": ({"a"}, False), "d": ({"b", "c"}, False)}
    assert shares(steps, 4, 8) == {"a": 8, "b": 4, "c": 4, "d": 8}


def test_an_exclusive_step_has_all_and_takes_none_from_others() -> None:
    assert shares({"a": (set(), False), "b": (set(), True)}, 4, 8) == {"a": 8, "b": 8}


def test_no_more_shares_are_made_than_steps_may_run_and_each_has_a_thread() -> None:
    four = {name: (set[str](), False) for name in "abcd"}
    assert shares(four, 2, 8) == dict.fromkeys("abcd", 4)
    assert shares(four, 4, 2) == dict.fromkeys("abcd", 1)


def test_a_step_is_told_its_share_and_the_callers_own_choice_stands(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = {"a": step(PRINT) | {"outputs": {"x": "${{parent.outputs.one}}"}}}

    def told() -> str:
        finished = run(jobs, outputs={"one": {"type": "uri_file"}}, options=Options(use_cache=False))
        return Path(finished.state.outputs["one"]).read_text().strip()

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert told() == str(os.cpu_count())
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert told() == "3"
