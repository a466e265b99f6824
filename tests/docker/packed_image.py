"""An image that holds the packages of the Python that runs the tests, so that the components' environments can be built
without a network: their Dockerfiles start from it, and pip finds that everything is there.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from azdistill.local.runners.docker.engine import Engine

#: Where Python looks for packages, and whether it is one that takes those of ours.
_PLACE = "import site, sys; print('.'.join(map(str, sys.version_info[:2])), site.getsitepackages()[0])"


@contextlib.contextmanager
def packed(engine: Engine, base: str) -> Iterator[str]:
    """The name of the image, which goes when it is no longer needed. Skips where ``base`` has another Python."""
    name, tag = f"azdistill-test-packed-{uuid.uuid4().hex[:8]}", "1"
    container = engine.api.create_container(
        base, ["sh", "-c", f'python3 -c "{_PLACE}" && ln -s python3 /usr/bin/python']
    )
    try:
        version, place = _run(engine, container).split()
        if version != f"{sys.version_info[0]}.{sys.version_info[1]}":
            pytest.skip(f"{base} has Python {version}, and the packages here are for another")
        packages = sysconfig.get_paths()["purelib"]
        with subprocess.Popen(
            ["tar", "-C", packages, "--exclude=__pycache__", "-c", "."], stdout=subprocess.PIPE
        ) as tar:
            assert engine.api.put_archive(container, place, tar.stdout)
        # Debian lets pip install nothing beside its own packages, not even what is there.
        engine.api.commit(container, name, tag, changes=["ENV PIP_BREAK_SYSTEM_PACKAGES=1"])
    finally:
        engine.api.remove_container(container, force=True)
    try:
        yield f"{name}:{tag}"
    finally:
        engine.api.remove_image(f"{name}:{tag}", force=True)


def _run(engine: Engine, container: Any) -> str:
    engine.api.start(container)
    assert engine.api.wait(container)["StatusCode"] == 0
    return str(engine.api.logs(container).decode())
