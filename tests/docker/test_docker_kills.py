"""The runner of containers is killed at 66 moments, as the runner of processes is in ``tests/local/test_kills.py``."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills.killing import STEPS, Clean, Ground, Moment, processes

from azdistill.local.runners.docker.engine import LABEL, Engine


@pytest.fixture
def ground(tmp_path: Path, engine: Engine, image: str) -> Ground:
    def living(ids: list[str]) -> list[str]:
        found = engine.api.containers(all=True, filters={"label": LABEL})
        containers = [one["Id"] for one in found if one["Labels"][LABEL] in ids]
        return containers + processes(ids)

    return Ground(tmp_path, {"image": image}, living, ("--docker",))


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
