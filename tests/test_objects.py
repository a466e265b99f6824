"""Nothing of ours is changed from outside: read from the source of the whole package.

An object sets its own attributes, in its methods. Nobody else does, but on objects of libraries. A function gives back
what it makes: it takes no dict, list or set to be filled.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "azdistill"

#: File and object -> whose it is. Their own way of being used is to be changed.
OF_LIBRARIES = {
    ("cli/__init__.py", "ctx"): "click's context",
    ("cloud/endpoints/serving.py", "environment"): "an entity of azure-ai-ml",
    ("cloud/publish.py", "entity"): "an entity of azure-ai-ml",
    ("cloud/schedules/apply.py", "job"): "a job of azure-ai-ml",
    ("cloud/schedules/changes.py", "job"): "a job of azure-ai-ml",
    ("cloud/schedules/changes.py", "data"): "an input of azure-ai-ml",
    ("cloud/schedules/changes.py", "declared"): "an input of azure-ai-ml",
    ("cloud/submit/sdk_job.py", "node"): "a step of azure-ai-ml",
    ("cloud/submit/sdk_job.py", "component"): "a component of azure-ai-ml",
    ("cloud/submit/submit.py", "job"): "a job of azure-ai-ml",
    ("cloud/workspace/quiet.py", "logger"): "a logger",
    ("cloud/workspace/quiet.py", "sys"): "Python's streams",
    (
        "local/in_step/parallel_worker.py",
        "sys",
    ): "Python's own, as the user's script sees them",
    ("local/in_step/parallel_worker.py", "EntryScript.logger"): "a logger",
    ("local/in_step/parallel_worker.py", "module"): "a module made for the user's script",
    ("local/in_step/parallel_worker.py", "package"): "a module made for the user's script",
    ("local/runners/docker/images.py", "entry"): "an entry of a tar file",
    ("local/tracking/ui_process.py", "sys"): "the arguments of MLflow's own program",
}
#: File and function -> why it fills what it is given.
FILLS = {
    ("recipe/microsoft.py", "_data"): "its parts translate one job into one recipe, and note which key came from where",
    ("recipe/microsoft.py", "_teacher"): "as _data",
    ("recipe/microsoft.py", "_rate"): "as _data",
    ("recipe/keys.py", "put"): "writes at a path into a recipe that is being read: that is all it does",
}
CHANGES = frozenset(
    {
        *("append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "discard"),
        *("sort", "reverse"),
    }
)
COLLECTIONS = ("dict", "list", "set", "deque", "MutableMapping", "MutableSequence", "MutableSet")


def assigned(tree: ast.AST) -> Iterator[str]:
    """The objects whose attributes are set, as they are written; not those that a method sets of its own object."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield ast.unparse(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "object.__setattr__"):
            yield ast.unparse(node.args[0])


def filled(tree: ast.AST) -> Iterator[str]:
    """Names of functions that change a dict, list or set that they are given."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            kinds = {each.arg: ast.unparse(each.annotation) for each in arguments if each.annotation}
            given = {name for name, kind in kinds.items() if kind.partition("[")[0] in COLLECTIONS}
            if any(changed(node) in given for node in ast.walk(function)):
                yield function.name


def changed(node: ast.AST) -> str | None:
    """The name of what an expression or a statement changes in its place."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        return ast.unparse(node.func.value)
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        return ast.unparse(node.value)
    return ast.unparse(node.target) if isinstance(node, ast.AugAssign) else None


def sources() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_nobody_sets_an_attribute_of_an_object_of_ours() -> None:
    places = {(file, name) for file, tree in sources() for name in assigned(tree) if name not in ("self", "cls")}
    assert places == set(OF_LIBRARIES)


def test_nothing_takes_a_dict_list_or_set_to_be_filled() -> None:
    assert {(file, name) for file, tree in sources() for name in filled(tree)} == set(FILLS)


@pytest.mark.parametrize(
    "line",
    [
        *("other.a = 1", "other.a += 1", "other.a: int = 1", "other.b.a = 1", "x, other.a = 1, 2", "del other.a"),
        *("setattr(other, 'a', 1)", "for other.a in (): pass", "with f() as other.a: pass"),
    ],
)
def test_an_attribute_that_is_set_is_found(line: str) -> None:
    assert [name.partition(".")[0] for name in assigned(ast.parse(line))] == ["other"]


@pytest.mark.parametrize("line", ["items.append(1)", "items[0] = 1", "items += [1]", "del items[0]", "items[0] += 1"])
def test_a_list_that_is_filled_is_found(line: str) -> None:
    assert list(filled(ast.parse(f"def fill(items: list[int]) -> None:\n    {line}"))) == ["fill"]
