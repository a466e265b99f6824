"""What only Azure has: a run says in one line that it is not honoured, and goes on."""

from __future__ import annotations

from typing import Any

import pytest
from conformance_helpers import Project, Ran, command_step
from conformance_table import HONOURED, IGNORED, row

JOBS: dict[str, Any] = {
    "a": command_step(
        "true ${{inputs.data}}; mkdir -p ${{outputs.model}}; touch ${{outputs.model}}/weights",
        {"model": {"type": "custom_model", "name": "reviews"}},
        inputs={"data": {"type": "uri_folder", "path": "./data", "mode": "direct"}},
        identity={"type": "user_identity"},
        services={"my_vscode": {"type": "vs_code"}},
        queue_settings={"job_tier": "spot", "priority": "low"},
        resources={
            "instance_count": 3,
            "instance_type": "Standard_NC6s_v3",
            "shm_size": "96m",
            "docker_args": "--privileged --memory=256m",
            "locations": ["westeurope"],
        },
    )
}


@pytest.fixture(scope="module")
def ran(shared_project: Project) -> Ran:
    shared_project.write({"data/one.txt": "1"})
    done = shared_project.run(JOBS, identity={"type": "managed"})
    assert done.finished.error is None, done.finished.error
    return done


def the_line(ran: Ran, *words: str) -> str:
    """The one note that holds all ``words``."""
    (found,) = [note for note in ran.told.notes if all(word in note for word in words)]
    return found


@row("identity", "identity", "identity", process=IGNORED, docker=IGNORED)
def test_identity_is_told(ran: Ran) -> None:
    assert the_line(ran, "a:", "identity (user_identity)")
    assert the_line(ran, "the pipeline:", "identity (managed)")


@row("services", "services beside a step", "services", process=IGNORED, docker=IGNORED)
def test_services_are_told(ran: Ran) -> None:
    assert the_line(ran, "services (my_vscode)")


@row("queue", "tier and priority in a queue", "queue_settings", process=IGNORED, docker=IGNORED)
def test_queue_settings_are_told(ran: Ran) -> None:
    assert the_line(ran, "queue_settings", "job_tier spot", "priority low")


@row("instances", "several machines", "resources.instance_count", process=IGNORED, docker=IGNORED, remark="one is used")
def test_several_instances_are_told(ran: Ran) -> None:
    assert the_line(ran, "3 instances are run as one")


@row("other-resources", "other resources", "resources.locations, ...", process=IGNORED, docker=IGNORED)
def test_other_resources_are_told(ran: Ran) -> None:
    assert the_line(ran, "resources.locations")


@row("registration", "outputs registered as assets", "outputs.*.name", process=IGNORED, docker=IGNORED)
def test_outputs_that_would_be_registered_are_told(ran: Ran) -> None:
    assert the_line(ran, "output 'model' is not registered as reviews")


@row("direct", "an input as a URI", "mode: direct", process=IGNORED, docker=IGNORED, remark="it is a path")
def test_a_direct_input_is_told(ran: Ran) -> None:
    assert the_line(ran, "input 'data' is given as a path")


@row("other-docker-args", "other arguments of `docker run`", "resources.docker_args", process=IGNORED, docker=IGNORED)
def test_arguments_that_are_not_honoured_are_told(ran: Ran, runner: str) -> None:
    assert the_line(ran, "docker_args", "--privileged" if runner == "docker" else "(--docker has)")


@row("no-gpu", "a GPU, where Docker has none", "resources.instance_type", process=None, docker=IGNORED)
def test_a_gpu_that_docker_has_not_is_told(ran: Ran, request: pytest.FixtureRequest) -> None:
    if request.getfixturevalue("engine").gpus:
        pytest.skip("this engine has GPUs")
    assert the_line(ran, "a GPU is asked for")


@row("shm-size-process", "shared memory of a size", "resources.shm_size", process=IGNORED, docker=HONOURED)
def test_shared_memory_is_as_asked_or_told(ran: Ran, project: Project) -> None:
    if not project.docker:
        assert the_line(ran, "resources.shm_size")
        return
    assert not [note for note in ran.told.notes if "shm_size" in note]
    measured = project.one("df -B1M /dev/shm | awk 'NR==2 {print $2}'", resources={"shm_size": "96m"})
    assert measured.log() == "96\n"
