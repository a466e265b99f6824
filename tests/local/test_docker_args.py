"""``docker_args``: what of them is honoured, and what is told."""

import pytest

from azdistill.local.runners.docker.limits import Limits, parse


@pytest.mark.parametrize(
    ("written", "limits", "left"),
    [
        (None, Limits(), ()),
        ("--memory=2g --pids-limit 100", Limits(memory="2g", pids=100), ()),
        ("-m 512M --cpus=1.5", Limits(memory="512M", cpus=1.5), ()),
        (["--shm-size", "1g", "--gpus=all"], Limits(shm_size="1g", gpus=True), ()),
        ("--gpus all --ipc=host", Limits(gpus=True), ("--ipc=host",)),
        ("--privileged -v /:/host", Limits(), ("--privileged", "-v /:/host")),
        ("--memory=plenty --pids-limit=0 --cpus 0", Limits(), ("--memory=plenty", "--pids-limit=0", "--cpus 0")),
        ("--memory", Limits(), ("--memory",)),
        ("--memory '1g", Limits(), ("--memory '1g",)),
    ],
)
def test_arguments_are_honoured_or_left(written: object, limits: Limits, left: tuple[str, ...]) -> None:
    assert parse(written, Limits()) == (limits, left)


def test_what_a_step_asks_for_stands_in_place_of_what_all_have() -> None:
    assert parse("--memory 1g", Limits(memory="8g", pids=9))[0] == Limits(memory="1g", pids=9)
