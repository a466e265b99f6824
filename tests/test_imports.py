"""Dependencies point one way: the import graph of the whole project, read from the source.

Every part of ``azdistill/`` has a line that says what it may import, and may import nothing else. Files import each
other in no circle. What reads, checks and runs any Azure ML YAML works without the rest of the package.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from azdistill import local

ROOT = Path(__file__).parents[1]

LEAVES = frozenset(
    {"error_codes", "errors", "families", "permissions", "redact", "snapshot", "strict_json"} | {"terminal", "trees"}
)
#: part -> the parts whose arrows lead from it; it may import what they may, and the leaves.
ARROWS: dict[str, frozenset[str]] = {
    # The whole package: what `import azdistill` hands on when it is asked for.
    "": frozenset({"client"}),
    "error_codes": frozenset(),
    "errors": frozenset(),
    "families": frozenset(),
    "redact": frozenset({"strict_json"}),
    "terminal": frozenset(),
    "trees": frozenset({"errors"}),
    "snapshot": frozenset({"errors", "trees"}),
    "permissions": frozenset({"trees"}),
    "strict_json": frozenset(),
    "aml": LEAVES,
    "local": frozenset({"aml"}),
    "catalog": LEAVES,
    "sizing": frozenset({"catalog"}) | LEAVES,
    "recipe": frozenset({"aml", "assets", "catalog"}),
    "assets": LEAVES,
    "compile": frozenset({"recipe", "sizing", "assets"}),
    "cloud": frozenset({"compile"}),
    "client": frozenset({"local", "cloud"}),
    "project": frozenset({"assets"}) | LEAVES,
    "cli": frozenset({"client", "project"}),
    "__main__": frozenset({"cli"}),
}
HEAVY = frozenset({"torch", "transformers", "peft", "accelerate", "datasets", "numpy"})
#: What the generic half declares to need of other packages: the package's own dependencies but Azure's and recipes'.
GENERIC = ("aml", "local", *sorted(LEAVES))


def may_import(part: str) -> frozenset[str]:
    """Every part that ``part`` may import: what its arrows lead to, and what theirs do."""
    arrows = ARROWS[part]
    return arrows.union(*(may_import(other) for other in arrows))


class Package:
    """The Python files of a checkout's ``azdistill/`` and what they import of each other, inside functions too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        paths = sorted((root / "azdistill").rglob("*.py"))
        self.files = {self._dotted(path): path for path in paths}

    def _dotted(self, path: Path) -> str:
        return ".".join(path.relative_to(self.root).with_suffix("").parts).removesuffix(".__init__")

    @cache  # noqa: B019 - two packages at most live as long as the tests
    def imports(self, module: str) -> frozenset[str]:
        """The modules of the package that ``module`` imports."""
        return frozenset(name for name in self._imports(module) if name != module)

    def _imports(self, module: str) -> Iterator[str]:
        for name in imported_names(self.files[module]):
            parts = name.split(".")
            # The longest beginning that is a file: the rest is what is taken from it.
            ends = range(len(parts), 0, -1)
            inside = next((".".join(parts[:end]) for end in ends if ".".join(parts[:end]) in self.files), None)
            if inside:
                yield inside

    def against_the_arrows(self) -> list[str]:
        """Each import that no line allows, as ``file -> module``."""
        return [
            f"{module} -> {other}"
            for module in self.files
            for other in sorted(self.imports(module))
            if part_of(other) not in {part_of(module), *may_import(part_of(module))}
        ]

    def circle(self) -> list[str]:
        """Files that import each other in a circle; none where there is no circle."""
        try:
            TopologicalSorter({module: self.imports(module) for module in self.files}).prepare()
        except CycleError as error:
            circle: list[str] = error.args[1]
            return circle
        return []


def imported_names(path: Path) -> set[str]:
    """Dotted names that a file imports: modules, and what is taken from them."""
    return names_in(path.read_text(encoding="utf-8"), path.name)


@cache
def names_in(text: str, file: str) -> set[str]:
    """Dotted names that a text imports. Copies of a tree are read by many tests, and parsed once."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative imports are not followed here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(module: str) -> str:
    """``azdistill.aml.expressions`` belongs to the part ``aml``; ``azdistill`` itself to the part without a name."""
    return module.split(".")[1] if "." in module else ""


PACKAGE = Package(ROOT)
COMPONENT_FILES = sorted((ROOT / "components").rglob("*.py"))


def test_every_part_has_a_line_and_every_line_its_part() -> None:
    assert {part_of(module) for module in PACKAGE.files} == set(ARROWS)


def test_no_import_is_against_the_arrows() -> None:
    assert PACKAGE.against_the_arrows() == []


def test_no_files_import_each_other_in_a_circle() -> None:
    assert PACKAGE.circle() == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("aml/values.py", "from azdistill.recipe import models"),
        ("aml/checks/names.py", "from azdistill.local.store import home"),
        ("local/run/result.py", "from azdistill.catalog import find"),
        ("local/plan/order.py", "import azdistill.compile"),
        ("local/tracking/worker.py", "from azdistill.cli import main"),
        ("cloud/publish.py", "from azdistill.local.store.runs import RunLog"),
        ("recipe/keys.py", "from azdistill import compile"),
        ("snapshot.py", "from azdistill.cloud.workspace import connect"),
        ("trees.py", "from azdistill.cli import validate"),
        ("project.py", "from azdistill.local.store import home"),
        ("sizing/memory.py", "from azdistill.recipe import models"),
        ("compile/graph.py", "from azdistill.client import MLClient"),
    ],
)
def test_an_import_against_the_arrows_is_found(tmp_path: Path, file: str, line: str) -> None:
    edited = tmp_path / "azdistill" / file
    # The whole tree stands there, so that names are followed; one file is another.
    for module, path in PACKAGE.files.items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8") if module else "", encoding="utf-8")
    assert Package(tmp_path).against_the_arrows() == []
    edited.write_text(f"def late():\n    {line}\n\n\n{edited.read_text(encoding='utf-8')}", encoding="utf-8")
    assert len(Package(tmp_path).against_the_arrows()) == 1


def test_a_circle_is_found(tmp_path: Path) -> None:
    lines = {"a.py": "from azdistill import b", "b.py": "from azdistill.c import name", "c.py": "import azdistill.a"}
    (tmp_path / "azdistill").mkdir()
    for name, line in lines.items():
        (tmp_path / "azdistill" / name).write_text(line, encoding="utf-8")
    assert set(Package(tmp_path).circle()) == {"azdistill.a", "azdistill.b", "azdistill.c"}


def test_the_generic_half_works_where_the_rest_is_removed(tmp_path: Path) -> None:
    package = tmp_path / "azdistill"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    for part in GENERIC:
        source = ROOT / "azdistill" / part
        if source.is_dir():
            shutil.copytree(source, package / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source.with_suffix(".py"), package)
    modules = [module for module in Package(tmp_path).files if part_of(module)]
    program = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("module", sorted(PACKAGE.files))
def test_the_orchestrator_imports_no_training_library(module: str) -> None:
    assert {name.split(".")[0] for name in imported_names(PACKAGE.files[module])}.isdisjoint(HEAVY)


def test_only_the_cloud_part_imports_azure() -> None:
    users = {
        part_of(module)
        for module, path in PACKAGE.files.items()
        if any(name.startswith("azure.") for name in imported_names(path))
    }
    assert users <= {"cloud"}


def test_local_runs_are_used_through_one_face() -> None:
    users = [
        path for part in ("azdistill/cli", "azdistill/client", "benchmarks") for path in (ROOT / part).rglob("*.py")
    ]
    used = {(path.name, name) for path in users for name in imported_names(path) if name.startswith("azdistill.local")}
    assert used
    face = {"azdistill.local", *(f"azdistill.local.{name}" for name in local.__all__)}
    assert sorted((file, name) for file, name in used if name not in face) == []


def test_the_face_of_local_runs_has_what_it_says() -> None:
    assert all(getattr(local, name) for name in local.__all__)
    source = ast.parse(Path(local.__file__).read_text(encoding="utf-8"))
    typed = [alias for node in ast.walk(source) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert {alias.asname or alias.name for alias in typed} >= set(local.__all__)


@pytest.mark.parametrize("path", COMPONENT_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_components_import_neither_azdistill_nor_the_azure_ml_sdk(path: Path) -> None:
    assert not [name for name in imported_names(path) if name.startswith(("azdistill", "azure.ai"))]


def test_module_names_are_unique_across_components() -> None:
    names = [path.stem for path in COMPONENT_FILES if (path.parent / "component.yml").is_file()]
    assert sorted(names) == sorted(set(names))
