"""Heavy modules are imported by the test that uses them, not while the tests are collected."""

from __future__ import annotations

import importlib
from typing import Any


class Lazily:
    """``torch = Lazily("torch")`` at the top of a file; ``torch.zeros(3)`` in a test imports it."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest asks all that stands in a test file for some of these
            raise AttributeError(name)
        return getattr(importlib.import_module(self._module), name)
