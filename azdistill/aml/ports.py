"""Builds inputs and outputs from YAML data: as a component declares them, and as a job or a step sets them."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from azdistill.aml.expressions import Reference, sole_reference
from azdistill.aml.fields import Fields, absolute
from azdistill.aml.models import DATA, PRIMITIVES, TYPES, Binding, Data, Input, Literal, Output, Value
from azdistill.aml.source import Report, Where
from azdistill.aml.values import type_of_literal

#: What components declare; data that is given, and outputs elsewhere, have fewer.
_DECLARED_MODES = (
    *("mount", "ro_mount", "rw_mount", "download", "direct", "eval_mount", "eval_download", "upload", "link"),
)
_DATA_MODES, _TABLE_MODES = ("ro_mount", "download", "direct"), ("eval_mount", "eval_download")
_OUTPUT_MODES = ("rw_mount", "mount", "upload", "direct")
#: What folders were called at first; still accepted.
_LEGACY_TYPE = "path"
_INPUT_KEYS = {"type", "optional", "default", "description"}
_VALUE_KEYS, _RANGE_KEYS, _MODE_KEYS = {"enum"}, {"min", "max"}, {"mode"}
_DECLARED_OUTPUT_KEYS = {"type", "mode", "description", "is_control", "path", "name", "version", "early_available"}
_OUTPUT_KEYS = ("type", "mode", "path", "name", "version")
_DATA_KEYS = ("type", "path", "mode", "datastore", "path_on_compute")
_BRACES = re.compile(r"\s*\$?\{{1,2}\s*(parent(?:\.\w+)+)\s*\}{0,2}\s*")


def declared_input(where: Where, report: Report, family: Path | None = None) -> Input:
    """An input as a component declares it."""
    fields = Fields(where, report)
    if isinstance(where.value, dict):
        fields.require("an input", "type")
    kind = fields.choice("type", (*TYPES, _LEGACY_TYPE), exact=True)
    keys = _INPUT_KEYS | _keys_of_input(kind)
    fields.known(keys, f"an input of type {kind}" if kind else "an input")
    kind = kind or "string"
    for at, item in fields.list("enum"):
        if not isinstance(item, str):
            # azure-ai-ml refuses the file with a wall of text.
            fields.wrong(at, "text between quotes", item)
    enum = tuple(item for _, item in fields.list("enum"))
    return Input(
        type="uri_folder" if kind == _LEGACY_TYPE else kind,
        optional=fields.boolean("optional") or False,
        default=fields.data.get("default"),
        enum=enum if "enum" in fields.data else None,
        min=fields.data.get("min") if "min" in keys else None,
        max=fields.data.get("max") if "max" in keys else None,
        description=fields.text("description") or "",
        mode=fields.choice("mode", _DECLARED_MODES),
        family=family,
        where=where,
    )


def _keys_of_input(kind: str | None) -> set[str]:
    """Which keys an input of a type has, beside those of all."""
    if kind is None:
        return _VALUE_KEYS | _RANGE_KEYS | _MODE_KEYS
    if kind not in PRIMITIVES:
        return _MODE_KEYS
    return _VALUE_KEYS | (_RANGE_KEYS if kind in ("integer", "number") else set())


def declared_output(where: Where, report: Report) -> Output:
    """An output as a component declares it."""
    fields = Fields(where, report)
    fields.known(_DECLARED_OUTPUT_KEYS, "an output")
    if isinstance(where.value, dict):
        fields.require("an output", "type")
    return _output(fields, fields.choice("type", (*TYPES, _LEGACY_TYPE), exact=True), _DECLARED_MODES)


def job_input(where: Where, report: Report) -> Input:
    """An input of a pipeline job: a literal, ``{value: literal}``, or data."""
    value = where.value
    if not isinstance(value, dict):
        return Input(type=type_of_literal(value), default=value, where=where)
    fields = Fields(where, report)
    if "value" not in value and value.get("type") in PRIMITIVES:
        # As a component declares one, which people copy.
        hint = f"write the value alone: {where.steps[-1]}: {value.get('default', '...')}"
        report.error("AZD113", "a job's input that is a value declares no type", where / "type", hint=hint)
        return Input(type=value["type"], default=value.get("default"), where=where)
    fields.known(("value",) if "value" in value else _DATA_KEYS, "a pipeline job's input")
    if "value" in value:
        return Input(type=type_of_literal(value["value"]), default=value["value"], where=where)
    path = fields.path("path")
    kind = fields.choice("type", DATA) or "uri_folder"
    return Input(type=kind, path=None if path is None else str(path), mode=_data_mode(fields), where=where)


def job_output(where: Where, report: Report) -> Output:
    """An output of a job."""
    fields = Fields(where, report)
    fields.known(_OUTPUT_KEYS, "a pipeline job's output")
    return _set_output(fields)


def step_input(where: Where, report: Report) -> Value:
    """What a step gives to an input of its component."""
    value = where.value
    if not isinstance(value, dict):
        if isinstance(value, list):
            Fields(where, report)
        reference = sole_reference(value) or _misspelt(where, report)
        return Binding(path=reference.path, where=where) if reference else Literal(value=value, where=where)
    fields = Fields(where, report)
    fields.known(("value",) if "value" in value else _DATA_KEYS, "a step's input")
    if "value" in value:
        return Literal(value=value["value"], where=where)
    path = fields.text("path")
    if reference := sole_reference(path):
        return Binding(path=reference.path, mode=_data_mode(fields), type=fields.text("type"), where=where)
    if path is None:
        fields.require("a data input", "path")
        return Literal(value=None, where=where)
    return Data(path=str(absolute(where, path)), type=fields.choice("type", DATA), mode=_data_mode(fields), where=where)


def _misspelt(where: Where, report: Report) -> Reference | None:
    """The binding that is meant where its braces are not as they should be, which is noted."""
    braces = _BRACES.fullmatch(where.value) if isinstance(where.value, str) else None
    if braces is None:
        return None
    reference = Reference(tuple(braces[1].split(".")))
    report.error("AZD155", f"'{where.value}' is no binding", where, hint=f"did you mean '{reference}'?")
    return reference


def _data_mode(fields: Fields) -> str | None:
    """How data that a job or step gives is handed over; only tables are evaluated."""
    kind = str(fields.data.get("type", "mltable")).lower()
    return fields.choice("mode", (*_DATA_MODES, *(_TABLE_MODES if kind == "mltable" else ())))


def step_output(where: Where, report: Report) -> Binding | Output:
    """What a step does with an output of its component."""
    if reference := sole_reference(where.value):
        return Binding(path=reference.path, where=where)
    fields = Fields(where, report)
    fields.known(_OUTPUT_KEYS, "a step's output")
    if reference := sole_reference(fields.data.get("path")):
        mode = fields.choice("mode", _OUTPUT_MODES)
        return Binding(path=reference.path, mode=mode, type=fields.text("type"), where=where)
    return _set_output(fields)


def inline_output(where: Where) -> Output:
    """The output that a command written in place declares, by what its step does with it."""
    output = step_output(where, Report())
    return Output(type=output.type or "uri_folder", mode=output.mode, where=where)


def _set_output(fields: Fields) -> Output:
    """The settings of an output of a job or of a step."""
    kind = fields.choice("type", TYPES)
    if kind in PRIMITIVES:
        message = f"Azure ML takes no output of type {kind} here, only in a component's file"
        hint = "declare it in a component of its own, and leave the type out where the component is used"
        fields.report.warning("AZD113", message, fields.where / "type", hint=hint)
    return _output(fields, kind, _OUTPUT_MODES)


def _output(fields: Fields, kind: str | None, modes: Collection[str]) -> Output:
    return Output(
        type="uri_folder" if kind in (None, _LEGACY_TYPE) else kind,
        mode=fields.choice("mode", modes),
        **fields.texts("path", "name"),
        version=fields.text("version", scalar=True),
        is_control=fields.boolean("is_control") or False,
        description=fields.text("description") or "",
        where=fields.where,
    )
