"""A Docker engine and a small image, for every test that wants one; they say why where there is none."""

import os
from collections.abc import Iterator

import pytest

from azdistill.errors import MachineError
from azdistill.local.runners.docker.engine import Engine, connect

#: An image with bash and python3, for the tests that only need a container.
IMAGE = os.environ.get("AZDISTILL_DOCKER_IMAGE", "azdistill-test-base:bookworm")
REQUIRED = os.environ.get("AZDISTILL_REQUIRE_DOCKER") == "1"


def missing() -> str:
    try:
        engine = connect()
    except MachineError as error:
        return error.message
    present = engine.api.images(name=IMAGE)
    engine.api.close()
    return "" if present else f"the engine has no image {IMAGE} (AZDISTILL_DOCKER_IMAGE names another)"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    if reason := missing():
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    found = connect()
    yield found
    found.api.close()


@pytest.fixture(scope="session")
def image() -> str:
    return IMAGE
