"""Images that a test has built go when it is over, and no others: tests run side by side on one engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import docker.errors
import pytest

from azdistill.local.runners.docker.engine import Engine
from azdistill.local.runners.docker.images import Images


@contextlib.contextmanager
def removed_when_over(engine: Engine) -> Iterator[None]:
    """Remove the images that this process builds meanwhile."""
    built: list[str] = []
    build = Images._build

    def noted(self: Images, made: Any, tag: str) -> str:
        built.append(tag)
        return build(self, made, tag)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Images, "_build", noted)
        yield
    for tag in built:
        with contextlib.suppress(docker.errors.NotFound):
            engine.api.remove_image(tag, force=True)
