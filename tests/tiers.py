"""The three tiers of tests, and what keeps the fast one fast (docs/contributing/tiers.md).

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
#: By folder of `tests`, the files ``test_NAME.py`` of the fast tier. Each takes a second or two at most.
QUICK = {
    "": (
        "build catalog client error_codes errors firings imports names permissions recipe recipe_robustness "
        "redact repository schedule_file sizing skus state_folder stream_guard surface tracking_worker"
    ),
    "cli": "failure not_better screens text validate view watch",
    "cloud": "loopback_translate quiet",
    "components": "manifest register_model rows tasks teacher_client teacher_parts",
    "docs": "pages",
    "local": (
        "artifacts attempts branches canary collect command_job deliver docker_args docker_guard dry_run "
        "environment hashes hostile_project interpreter launch leases leftover_modes links local_resume "
        "many mounted_links order orphans parallel_driver process_marks pythons registered run_endings "
        "select sets shell_safe_paths short_secrets snapshot step_settings store streams strict "
        "sweep_ends sweep_logged sweep_sampling sweep_stopping threads"
    ),
    "spec": (
        "arguments checks expressions inline loader long_chains moved_components odd_files project reader "
        "sieve sieve_in_constructs values"
    ),
}
slow_files = pytest.StashKey[set[Path]]()
imported_at_collection = pytest.StashKey[list[str]]()
_servers: list[str] = []


def heavy_modules() -> list[str]:
    """The heavy libraries that this process has imported."""
    return [name for name in HEAVY if name in sys.modules]


def quick_files() -> list[Path]:
    """The files of the fast tier."""
    return [TESTS / folder / f"test_{name}.py" for folder, names in QUICK.items() for name in names.split()]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect the files of the fast tier only where it is asked for."""
    is_other = collection_path.suffix == ".py" and collection_path not in quick_files()
    return True if config.option.markexpr == "quick" and is_other and TESTS in collection_path.parents else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the quick tests before ``-m`` selects, and note where the slow ones are."""
    config.stash[slow_files] = {item.path for item in items if item.get_closest_marker("slow")}
    files = set(quick_files())
    for item in items:
        if item.path in files and not item.get_closest_marker("slow"):
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
    # urllib3 binds ("::1", 0) when it is imported, to learn whether there is IPv6.
    if event == "socket.bind" and isinstance(arguments[1], tuple) and arguments[1][:2] != ("::1", 0):
        _servers.append(f"a server at {arguments[1]}")
