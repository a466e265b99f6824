"""Change the program in one place at a time, and see whether a test notices.

    python tests/mutants.py [--count 60] [--seed 1] [--tests tests/local tests/spec] MODULE_OR_FOLDER...

Each mutant is written into a copy of the tree, never into this one. The test files that name the module run first, then
the other ``--tests``, until one fails; a mutant is caught when one does that passes without it. Prints a line for each
and those that survived at the end; the exit status is 0 whatever survives, since a survivor may be an equal program.
``--list`` only prints the mutants; ``--only 3 17`` tries those numbers of the list.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("azdistill", "components", "environments", "pipelines", "examples", "tests", "docs", "benchmarks")
FILES = ("pyproject.toml", "README.md", "Makefile", "CHANGELOG.md")
#: Seconds for the tests of one mutant: one that hangs is caught.
LIMIT = 600
OPPOSITE: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
}


@dataclass(frozen=True)
class Mutant:
    """One change: the ``index``-th place of a file that can be changed."""

    path: Path
    index: int
    line: int
    change: str


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every node that can be changed, and how it is; in the same order for equal trees."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in OPPOSITE:
            yield node, f"{type(node.ops[0]).__name__} -> {OPPOSITE[type(node.ops[0])].__name__}"
        elif isinstance(node, (ast.BoolOp, ast.BinOp)) and type(node.op) in OPPOSITE:
            yield node, f"{type(node.op).__name__} -> {OPPOSITE[type(node.op)].__name__}"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, "without not"
        elif isinstance(node, ast.Constant) and type(node.value) in (bool, int):
            yield node, f"{node.value} -> {_other(node.value)}"
        elif isinstance(node, ast.If):
            yield node, "condition always true"
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield node, "without the call"
        elif isinstance(node, ast.Return) and node.value is not None:
            yield node, "return None"


def _other(constant: bool | int) -> bool | int:
    return not constant if isinstance(constant, bool) else constant + 1


def changed(source: str, index: int) -> str:
    """The source with its ``index``-th place changed."""
    tree = ast.parse(source)
    node, _ = list(places(tree))[index]
    if isinstance(node, ast.Compare):
        node.ops[0] = OPPOSITE[type(node.ops[0])]()  # type: ignore[assignment]
    elif isinstance(node, (ast.BoolOp, ast.BinOp)):
        node.op = OPPOSITE[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
        node.operand = ast.Call(ast.Name("bool", ast.Load()), [copy.deepcopy(node.operand)], [])
    elif isinstance(node, ast.Constant):
        node.value = _other(node.value)  # type: ignore[arg-type]
    elif isinstance(node, ast.If):
        node.test = ast.Constant(True)
    elif isinstance(node, (ast.Expr, ast.Return)):
        node.value = ast.Constant(None)
    return ast.unparse(ast.fix_missing_locations(tree))


def drawn(targets: list[Path], count: int, seed: int) -> list[Mutant]:
    """``count`` mutants of the targets, the same for the same seed and source."""
    files = sorted({file for target in targets for file in ([target] if target.is_file() else target.rglob("*.py"))})
    every = [
        Mutant(file, index, getattr(node, "lineno", 0), change)
        for file in files
        for index, (node, change) in enumerate(places(ast.parse(file.read_text(encoding="utf-8"))))
    ]
    return random.Random(seed).sample(every, min(count, len(every)))


def ordered_tests(module: Path, folders: list[str]) -> list[str]:
    """Test files that name the module in an import, then those that name it at all, then the others."""
    files = sorted({file for folder in folders for file in _test_files(ROOT / folder)})
    name = module.stem if module.stem != "__init__" else module.parent.name
    imported = re.compile(rf"^(from|import) .*\b{name}\b", re.MULTILINE)
    text = {file: file.read_text(encoding="utf-8") for file in files}
    rank = {file: 0 if imported.search(text[file]) else 1 if name in text[file] else 2 for file in files}
    return [str(file.relative_to(ROOT)) for file in sorted(files, key=lambda file: rank[file])]


def _test_files(target: Path) -> list[Path]:
    return [target] if target.is_file() else list(target.rglob("test_*.py"))


def first_failure(tree: Path, tests: list[str], jobs: int) -> str:
    """The first of the tests that fails in ``tree``; empty where none does."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", "-n", str(jobs)]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        ran = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return "a limit of time"
    failures = [line for line in ran.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if failures:
        return failures[0].partition(" ")[2].split(" - ")[0]
    return f"exit status {ran.returncode}" if ran.returncode else ""


def caught_by(mutant: Mutant, tree: Path, folders: list[str], jobs: int) -> str:
    """The test that fails with the mutant in ``tree`` and passes without it; empty where none does."""
    target = tree / mutant.path.relative_to(ROOT)
    source = target.read_text(encoding="utf-8")
    target.write_text(changed(source, mutant.index), encoding="utf-8")
    try:
        failed = first_failure(tree, ordered_tests(mutant.path, folders), jobs)
        # What an unparsed module fails, such as a test that reads its comments, does not notice the change.
        target.write_text(ast.unparse(ast.parse(source)), encoding="utf-8")
        fails_anyway = "::" in failed and first_failure(tree, [failed], 0)
    finally:
        target.write_text(source, encoding="utf-8")
    return f"{failed}, WHICH FAILS WITHOUT IT TOO" if fails_anyway else failed


def main() -> None:
    """Draw mutants, try each, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tests", nargs="+", default=["tests/local", "tests/spec"])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only", nargs="+", type=int)
    args = parser.parse_args()
    mutants = dict(enumerate(drawn([target.resolve() for target in args.targets], args.count, args.seed), 1))
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        for name in COPIED:
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copy2(ROOT / name, tree / name)
        for number in args.only or mutants:
            mutant = mutants[number]
            place = f"{mutant.path.relative_to(ROOT)}:{mutant.line}: {mutant.change}"
            test = "" if args.list else caught_by(mutant, tree, args.tests, args.jobs)
            if not test:
                survivors.append(place)
            print(f"{number:3} {place}" + ("" if args.list else f": {test or 'SURVIVED'}"), flush=True)
    if not args.list:
        print(f"{len(survivors)} survived", *survivors, sep="\n  ")


if __name__ == "__main__":
    main()
