"""Dependencies point one way: the import graph of the whole project, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "azdistill"

#: part -> the parts it may import. What is absent here is a leaf that everybody may use.
ALLOWED = {
    "spec": {"spec"},
    "local": {"local", "spec", "tracking"},
    "tracking": {"tracking"},
    "catalog": {"catalog"},
    "recipe": {"recipe", "spec", "catalog"},
    "build": {"build", "recipe", "spec", "catalog", "skus", "sizing"},
    "skus": {"skus"},
    "sizing": {"sizing", "skus", "catalog"},
    "cloud": {"cloud", "build", "recipe", "spec", "catalog", "skus", "sizing", "tracking"},
    "client": {"client", "build", "recipe", "local", "cloud", "spec", "tracking", "catalog"},
}
LEAVES = {"errors", "redact", "lines", "assets", "trees", "snapshot", "permissions", "state_folder", "strict_json", ""}
HEAVY = {"torch", "transformers", "peft", "accelerate", "datasets", "numpy"}


def imports_of(path: Path) -> set[str]:
    """Dotted names that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "azdistill" else {node.module}
            )
    return names


def part_of(dotted: str) -> str:
    """``azdistill.spec.expressions`` belongs to the part ``spec``."""
    return dotted.split(".")[1] if "." in dotted else ""


PACKAGE_FILES = sorted(PACKAGE.rglob("*.py"))
COMPONENT_FILES = sorted((ROOT / "components").rglob("*.py"))


def test_there_is_something_to_look_at() -> None:
    assert len(PACKAGE_FILES) > 20
    assert len(COMPONENT_FILES) > 20


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_arrow_of_the_package_runs_back(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    part = relative.parts[0].removesuffix(".py")
    used = {part_of(name) for name in imports_of(path) if name.split(".")[0] == "azdistill"}
    assert used - LEAVES <= ALLOWED.get(part, used), f"{relative} imports {sorted(used)}"


@pytest.mark.parametrize("path", PACKAGE_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_orchestrator_imports_no_training_library(path: Path) -> None:
    assert {name.split(".")[0] for name in imports_of(path)}.isdisjoint(HEAVY)


def test_only_the_cloud_part_imports_azure() -> None:
    users = {
        p.relative_to(PACKAGE).parts[0] for p in PACKAGE_FILES if any(n.startswith("azure.") for n in imports_of(p))
    }
    assert users <= {"cloud"}


@pytest.mark.parametrize("path", COMPONENT_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_components_import_neither_azdistill_nor_the_azure_ml_sdk(path: Path) -> None:
    assert not [name for name in imports_of(path) if name.startswith(("azdistill", "azure.ai"))]


def test_module_names_are_unique_across_components() -> None:
    names = [
        path.stem
        for path in COMPONENT_FILES
        if path.parent.parent.name == "components" and path.parent.name != "common"
    ]
    assert sorted(names) == sorted(set(names))
