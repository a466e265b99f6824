"""The keys of the JSON objects that verbs print, read from samples: values made of what a class declares of itself."""

from __future__ import annotations

import ast
import dataclasses
import datetime
import importlib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

_PLAIN: dict[Any, Any] = {
    **{str: "x", int: 1, float: 1.0, bool: True, Any: "x", Path: Path("x")},
    **{datetime.datetime: datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), datetime.date: datetime.date(2026, 1, 2)},
}


def json_keys(root: Path) -> dict[str, list[str]]:
    """``Finding: [level, name, said, ...]``: each class with a method ``as_json``, and every key of what it gives.

    A key within a key is written after it: ``steps.*.status``, with a star for each element of a list and each name.
    """
    printed = {cls.__name__: sample(cls).as_json() for cls in _classes(root)}
    return {name: sorted(set(_keys(content, ""))) for name, content in sorted(printed.items())}


def _classes(root: Path) -> Iterator[type]:
    for path in sorted((root / "azdistill").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            methods = node.body if isinstance(node, ast.ClassDef) else []
            if any(isinstance(method, ast.FunctionDef) and method.name == "as_json" for method in methods):
                module = importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
                yield getattr(module, typing.cast(ast.ClassDef, node).name)


def sample(kind: Any) -> Any:
    """A value of a type, with something in each of its fields, so that no key is left out for being empty."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin in (typing.Union, types.UnionType):
        return sample(next(each for each in arguments if each is not types.NoneType))
    if origin is typing.Literal:
        return arguments[0]
    if origin is tuple:
        return tuple(sample(each) for each in arguments if each is not ...)
    if origin is list:
        return [sample(arguments[0])]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {sample(arguments[0]): sample(arguments[1])}
    return _made(kind)


def _made(kind: Any) -> Any:
    hints = typing.get_type_hints(kind)
    if issubclass(kind, BaseModel):
        return kind.model_construct(**{name: sample(hints[name]) for name in kind.model_fields})
    # Past what checks its values, which samples do not pass.
    made = object.__new__(kind)
    for field in dataclasses.fields(kind):
        told = field.default not in (dataclasses.MISSING, None, "", False, ())
        object.__setattr__(made, field.name, field.default if told else sample(hints[field.name]))
    return made


def _keys(content: Any, prefix: str) -> Iterator[str]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            # What a sample is called by is a name of the user's.
            name = f"{prefix}{'*' if key in ('x', 1, '1') else key}"
            yield name
            yield from _keys(value, f"{name}.")
    elif isinstance(content, list | tuple):
        for element in content:
            yield from _keys(element, f"{prefix}*.")
