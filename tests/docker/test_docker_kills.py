"""The runner of containers is killed at 66 moments, as the runner of processes is in ``tests/local/test_kills.py``;
runner, guard or both at 40 more, at random (``AZDISTILL_KILLS_IN_DOCKER``: or so many)."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from kills.killing import STEPS, VICTIMS, Clean, Ground, Moment

from azdistill.local.runners.docker.engine import LABEL, Engine


@pytest.fixture
def ground(tmp_path: Path, engine: Engine, image: str) -> Ground:
    def containers(ids: list[str]) -> list[str]:
        found = engine.api.containers(all=True, filters={"label": LABEL})
        return [one["Id"] for one in found if one["Labels"][LABEL] in ids]

    return Ground(tmp_path, {"image": image}, containers, ("--docker",))


@pytest.fixture
def clean(ground: Ground) -> Clean:
    return ground.clean()


def test_killed_once_in_a_step_and_once_in_its_commit(ground: Ground, clean: Clean) -> None:
    ground.kill_until(Moment("step", "b", 0.8), clean, 1)
    ground.kill_until(Moment("commit", "b", 0.9), clean, 1)


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_killed_anywhere(ground: Ground, clean: Clean, half: int) -> None:
    for number in range(half, 24, 2):
        ground.kill(Moment("run", "", (number + 1) / 25), clean)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_killed_in_a_step(ground: Ground, clean: Clean, step: str) -> None:
    ground.kill_until(Moment("step", step, 0.8), clean, 10)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_killed_in_a_commit(ground: Ground, clean: Clean, step: str) -> None:
    ground.kill_until(Moment("commit", step, 0.9), clean, 4)


@pytest.mark.slow
@pytest.mark.parametrize("victims", VICTIMS)
def test_runner_guard_or_both_killed_at_random(ground: Ground, clean: Clean, victims: str) -> None:
    moments = random.Random(f"kills of {victims}")
    for _ in range(int(os.environ.get("AZDISTILL_KILLS_IN_DOCKER", "40")) // len(VICTIMS)):
        ground.kill(Moment("run", "", moments.random()), clean, victims)
