"""Families found by name: each file in a package is a member, and nothing else lists it."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from common.step import BadConfig


def names(package: str) -> list[str]:
    """The names of a family's members: those of the package's modules that do not begin with an underscore."""
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def find(package: str, word: str, what: str) -> ModuleType:
    """The member that ``word``, its name or one of its ``ALIASES``, means. Raises BadConfig naming those there are."""
    spelt = word.strip().lower().replace("-", "_")
    for name in names(package):
        module = importlib.import_module(f"{package}.{name}")
        if spelt == name or spelt in getattr(module, "ALIASES", ()):
            return module
    raise BadConfig(f"there is no {what} '{word}' (known: {', '.join(names(package))})")
