"""``--set name=value``: gives a pipeline's inputs other values, typed by what they feed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from azdistill.aml import values
from azdistill.aml.checks.secrets import hidden, refuse
from azdistill.aml.fields import is_remote
from azdistill.aml.models import Binding, Input, Pipeline, Step
from azdistill.aml.source import Source, Where
from azdistill.errors import UserError, did_you_mean


def parse_sets(texts: Iterable[str]) -> dict[str, str]:
    """``["a=1", "b=x=y"]`` -> ``{"a": "1", "b": "x=y"}``. What looks like a secret is refused, and not repeated."""
    sets = {}
    for text in texts:
        name, equals, value = text.partition("=")
        refuse(text, f"--set {name}" if equals else "--set")
        if not equals or not name:
            raise UserError(f"--set {hidden(text)!r} is not of the form name=value", code="AZD360")
        sets[name.strip()] = value
    return sets


def apply_sets(pipeline: Pipeline, sets: Mapping[str, str]) -> Pipeline:
    """``pipeline`` with some inputs replaced. Paths start at the working directory. UserError for unknown names."""
    inputs = dict(pipeline.inputs)
    for name, text in sets.items():
        if name not in inputs:
            message = f"--set {name}: the pipeline has no input '{name}'"
            raise UserError(message, code="AZD361", hint=did_you_mean(name, list(inputs)))
        inputs[name] = _replaced(inputs[name], name, text, _fed(pipeline.jobs, name))
    return replace(pipeline, inputs=inputs)


def _replaced(old: Input, name: str, text: str, fed: Input | None) -> Input:
    if old.is_data:
        path = text if "://" in text or is_remote(text) else str(Path(text).expanduser().absolute())
        return replace(old, path=path, where=_given(name, {**old.where.mapping, "path": text}))
    kind = fed.type if fed and not fed.is_data else old.type
    try:
        value = values.parse(kind, _written(kind, text))
    except ValueError as error:
        raise UserError(f"--set {name}={text}: {error} ({kind})", code="AZD362") from error
    return replace(old, type=kind, default=value, where=_given(name, value))


def _given(name: str, value: object) -> Where:
    """The place of a value that is written in no file: what is wrong with it is no fault of the file's."""
    return Where(Source(f"--set {name}", Path.cwd(), value))


def _written(kind: str, text: str) -> object:
    # A number is read as YAML reads it, so that 1e-5 and 2e-5 stay what they are in the file.
    if kind in ("integer", "number"):
        value = yaml.safe_load(text) if text.strip() else text
        return value if isinstance(value, int | float) else text
    return text


def _fed(jobs: Mapping[str, Step], name: str) -> Input | None:
    """The component input that a pipeline's input goes to, the first of them."""
    for step in jobs.values():
        declared = step.local_component.inputs if step.local_component else {}
        for key, value in step.inputs.items():
            if isinstance(value, Binding) and value.path == ("parent", "inputs", name) and key in declared:
                return declared[key]
    return None
