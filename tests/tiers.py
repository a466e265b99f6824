"""The three tiers of tests, and what keeps the fast one fast (docs/contributing/tests.md).

A test is ``quick`` when its file stands in `QUICK` below and it is not marked ``slow``. Nothing quick imports a
heavy library or opens a server: with ``-m quick`` the test that does fails by its name. Collecting the tests imports
no heavy library either, since every worker of a parallel run pays for it before its first test.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
HEAVY = ("torch", "transformers", "datasets", "peft", "pandas", "mlflow", "azure.ai.ml", "azure.identity")
#: Files and folders below `tests`; each file takes at most a few seconds.
QUICK = ("spec",)
imported_at_collection = pytest.StashKey[list[str]]()
_servers: list[str] = []


def heavy_modules() -> list[str]:
    """The heavy libraries that this process has imported."""
    return [name for name in HEAVY if name in sys.modules]


def is_quick(path: Path) -> bool:
    """Whether the tests of a file belong to the fast tier."""
    names = (path, *path.parents)
    return any(TESTS / name in names for name in QUICK)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick tests before ``-m`` selects."""
    for item in items:
        if is_quick(item.path) and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.quick)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note what collecting has imported; ``test_tiers.py`` refuses it."""
    session.config.stash[imported_at_collection] = heavy_modules()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Watch for servers where only quick tests run."""
    if session.config.option.markexpr == "quick":
        sys.addaudithook(_note_server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail the quick test that imports a heavy library or opens a server."""
    before = heavy_modules()
    yield
    servers, _servers[:] = list(_servers), []
    if item.config.option.markexpr == "quick" and (used := servers or [n for n in heavy_modules() if n not in before]):
        pytest.fail(f"{item.nodeid} is no quick test: it uses {', '.join(used)}", pytrace=False)


def _note_server(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.bind" and isinstance(arguments[1], tuple):
        _servers.append(f"a server at {arguments[1]}")
