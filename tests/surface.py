"""What people and their scripts rely on, read from the program as it is: ``python tests/surface.py`` prints it as JSON.

``surface.json`` beside this file is what was promised. A later version may add to it; ``test_surface.py`` fails when
anything of it goes. Where a component lies may change, and is not part of it.
"""

from __future__ import annotations

import importlib
import json
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml
from json_samples import json_keys
from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
PROMISED = Path(__file__).with_suffix(".json")
#: Variables that steps and their code may read or set. Those that only tests set are no promise.
_VARIABLE = re.compile(r"\b(?:AZDISTILL|AZUREML)_[A-Z][A-Z_]*[A-Z]\b")
_TAG = re.compile(r"[\"'](azdistill\.[a-z_.]*[a-z])[\"'.]")

#: Without one of these an input takes more than it did.
_BOUNDS = ("enum", "min", "max")


def sources(*folders: str) -> Iterator[str]:
    """The text of every Python file in these folders of the project."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.read_text(encoding="utf-8")


def error_codes() -> list[str]:
    """Every code of an error that the program can print."""
    return sorted({code for text in sources("azdistill") for code in re.findall(r"\bAZD\d{3}\b", text)})


def exit_statuses() -> dict[str, int]:
    """The exit status of each kind of error, by the name of its class."""
    import azdistill.errors as errors

    kinds = (kind for kind in vars(errors).values() if isinstance(kind, type))
    statuses = {kind.__name__: kind.exit_code for kind in kinds if issubclass(kind, errors.AzdistillError)}
    return dict(sorted(statuses.items()))


def verbs() -> dict[str, list[str]]:
    """``azdistill run`` and so on: the options and arguments of each verb."""
    from azdistill.cli import cli

    return dict(sorted(_verbs("azdistill", cli)))


def _verbs(name: str, command: click.Command) -> Iterator[tuple[str, list[str]]]:
    spellings = (
        [*parameter.opts, *parameter.secondary_opts]
        if isinstance(parameter, click.Option)
        else [parameter.human_readable_name]
        for parameter in command.params
    )
    yield name, sorted(spelling for parameter in spellings for spelling in parameter)
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for verb in command.list_commands(context):
            child = command.get_command(context, verb)
            assert child is not None
            yield from _verbs(f"{name} {verb}", child)


def recipe_keys() -> list[str]:
    """``hyperparameters.learning_rate`` and so on: every key of a recipe."""
    from azdistill.recipe.models import Recipe

    return sorted(set(_keys(Recipe, "")))


def _keys(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        yield key
        for section in _models(field.annotation):
            yield from _keys(section, f"{key}.")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for argument in typing.get_args(annotation):
        yield from _models(argument)


def environment_variables() -> list[str]:
    """Variables that azdistill and its components read or set."""
    return sorted({name for text in sources("azdistill", "components") for name in _VARIABLE.findall(text)})


def components() -> dict[str, dict[str, Any]]:
    """Each component by its name: version, inputs with type and default, outputs with type."""
    read = [
        yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "components").rglob("component.yml"))
    ]
    return {document["name"]: _component(document) for document in sorted(read, key=lambda each: each["name"])}


def _component(document: dict[str, Any]) -> dict[str, Any]:
    promises = ("type", "default", "optional", *_BOUNDS)
    return {
        "version": str(document["version"]),
        "inputs": {
            name: {key: value for key, value in port.items() if key in promises}
            for name, port in sorted(document.get("inputs", {}).items())
        },
        "outputs": {name: port["type"] for name, port in sorted(document.get("outputs", {}).items())},
    }


def python_names() -> dict[str, list[str]]:
    """What ``azdistill`` hands to Python programs."""
    return {name: sorted(importlib.import_module(name).__all__) for name in ("azdistill",)}


def files_of_a_run(state: Path) -> list[str]:
    """The files of a run under its state folder, with what differs from run to run left out."""
    paths = (path.relative_to(state) for path in state.rglob("*") if path.is_file())
    return sorted({"/".join(_general(part) for part in path.parts) for path in paths})


def _general(part: str) -> str:
    part = re.sub(r"[0-9a-f]{64}", "KEY", part)
    part = re.sub(r"^[0-9a-f]{16}(?=\.json$)", "INTERPRETER", part)
    return re.sub(r"^\w+_\d{14}_[0-9a-f]{6}$", "RUN", re.sub(r"^[0-9a-f]{2}$", "KE", part))


def tags() -> list[str]:
    """Tags and properties of runs, models, endpoints and data, by which a later version finds what an earlier made."""
    named = {name for text in sources("azdistill", "components") for name in _TAG.findall(text)}
    return sorted(name for name in named if name != "azdistill.yml" and not _is_module(name))


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def surface() -> dict[str, Any]:
    """All of it but the files of a run, which the test makes."""
    return {
        "components": components(),
        "environment_variables": environment_variables(),
        "error_codes": error_codes(),
        "exit_statuses": exit_statuses(),
        "json_keys": json_keys(ROOT),
        "python": python_names(),
        "recipe_keys": recipe_keys(),
        "tags": tags(),
        "verbs": verbs(),
    }


def missing(promised: Any, present: Any, place: str = "") -> list[str]:
    """Where ``present`` has less than was ``promised``, or something else in its place."""
    if isinstance(promised, dict):
        if not isinstance(present, dict):
            return [place]
        lost = [f"{place}/{key}" for key in promised if key not in present and key not in _BOUNDS]
        both = [key for key in promised if key in present]
        return [*lost, *(line for key in both for line in missing(promised[key], present[key], f"{place}/{key}"))]
    if isinstance(promised, list):
        return [f"{place}/{each}" for each in promised if each not in present]
    return [] if promised == present else [f"{place}: {promised!r} is {present!r} now"]


if __name__ == "__main__":
    print(json.dumps(surface(), indent=1, sort_keys=True))
