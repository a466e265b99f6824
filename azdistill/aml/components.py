"""Builds command components from YAML data."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from azdistill.aml.environments import ASSET_KEYS, environment_of
from azdistill.aml.fields import Fields
from azdistill.aml.models import PRIMITIVES, TYPES, CommandComponent, Input, Output
from azdistill.aml.run_settings import distribution, resources
from azdistill.aml.source import Report, Where

#: What components declare; data that is given, and outputs elsewhere, have fewer.
INPUT_MODES = ("mount", "ro_mount", "rw_mount", "download", "direct", "eval_mount", "eval_download", "upload", "link")
_DATA_MODES, _TABLE_MODES = ("ro_mount", "download", "direct"), ("eval_mount", "eval_download")
OUTPUT_MODES = ("rw_mount", "mount", "upload", "direct")
#: What folders were called at first; still accepted.
LEGACY_TYPE = "path"
_INPUT_KEYS = {"type", "optional", "default", "description"}
_VALUE_KEYS, _RANGE_KEYS, _DATA_KEYS = {"enum"}, {"min", "max"}, {"mode"}
_OUTPUT_KEYS = {"type", "mode", "description", "is_control", "path", "name", "version", "early_available"}
#: Before the name of an input: the tag that names the folder whose files its values are called after.
FAMILY = "azdistill.family."
INTERFACE_KEYS = ASSET_KEYS | {"inputs", "outputs", "is_deterministic"}
RUN_KEYS = {"command", "code", "environment", "additional_includes", "distribution", "resources"}
COMPONENT_KEYS = INTERFACE_KEYS | RUN_KEYS
#: What a command that is written in place, as a step or a job, may leave out but not leave empty.
NEVER_EMPTY = {
    *("code", "compute", "limits", "resources", "distribution", "environment_variables", "identity", "services"),
    *("inputs", "outputs", "queue_settings", "display_name", "description", "name", "tags", "properties"),
}


def command_component(where: Where, report: Report) -> CommandComponent:
    """The command component written at ``where``."""
    fields = Fields(where, report)
    # environment_variables is Azure's business on nodes only; a check of its own says so.
    fields.known(COMPONENT_KEYS | {"environment_variables"}, "a command component", dropped=True)
    for key in ("command", "environment"):
        fields.require(key, "a command component")
    return CommandComponent(**interface(fields), **runnable(fields, of_component=True), where=where)


def interface(fields: Fields) -> dict[str, Any]:
    """What command and pipeline components share: name, inputs, outputs."""
    deterministic = fields.boolean("is_deterministic")
    return {
        "name": fields.text("name"),
        "version": fields.text("version", scalar=True),
        "display_name": fields.text("display_name"),
        "description": fields.text("description") or "",
        "inputs": {n: declared_input(at, fields.report, _family(fields, n)) for n, at, _ in fields.each("inputs")},
        "outputs": {n: declared_output(at, fields.report) for n, at, _ in fields.each("outputs")},
        "is_deterministic": True if deterministic is None else deterministic,
        "tags": fields.words("tags", strict=True),
        "properties": fields.mapping("properties"),
    }


def runnable(fields: Fields, *, of_component: bool = False) -> dict[str, Any]:
    """What command components and inline commands share: the command and what it runs in."""
    includes = [(at, item) for at, item in fields.list("additional_includes")]
    for at, item in includes:
        if not isinstance(item, str):
            fields.wrong(at, "a path", item)
    return {
        "command": fields.text("command") or "",
        "code": fields.path("code"),
        "environment": environment_of(fields, "environment"),
        "additional_includes": tuple(at.resolve(item) for at, item in includes if isinstance(item, str)),
        "distribution": distribution(fields),
        "resources": resources(fields, dropped=of_component),
    }


def data_mode(fields: Fields) -> str | None:
    """How data that a job or step gives is handed over; only tables are evaluated."""
    kind = str(fields.data.get("type", "mltable")).lower()
    return fields.choice("mode", (*_DATA_MODES, *(_TABLE_MODES if kind == "mltable" else ())))


def _family(fields: Fields, name: str) -> Path | None:
    """The folder whose files the values of an input are named after, which a tag of the component tells."""
    folder = fields.mapping("tags").get(FAMILY + name)
    return fields.where.resolve(folder) if isinstance(folder, str) else None


def declared_input(where: Where, report: Report, family: Path | None = None) -> Input:
    """An input as a component declares it."""
    fields = Fields(where, report)
    if isinstance(fields.where.value, dict):
        fields.require("type", "an input")
    kind = fields.choice("type", (*TYPES, LEGACY_TYPE), exact=True)
    keys = _INPUT_KEYS | _keys_of_input(kind)
    fields.known(keys, f"an input of type {kind}" if kind else "an input")
    kind = kind or "string"
    for at, item in fields.list("enum"):
        if not isinstance(item, str):
            # azure-ai-ml refuses the file with a wall of text.
            fields.wrong(at, "text between quotes", item)
    enum = tuple(item for _, item in fields.list("enum"))
    return Input(
        type="uri_folder" if kind == LEGACY_TYPE else kind,
        optional=fields.boolean("optional") or False,
        default=fields.data.get("default"),
        enum=enum if "enum" in fields.data else None,
        min=fields.data.get("min") if "min" in keys else None,
        max=fields.data.get("max") if "max" in keys else None,
        description=fields.text("description") or "",
        mode=fields.choice("mode", INPUT_MODES),
        family=family,
        where=where,
    )


def _keys_of_input(kind: str | None) -> set[str]:
    """Which keys an input of a type has, beside those of all."""
    if kind is None:
        return _VALUE_KEYS | _RANGE_KEYS | _DATA_KEYS
    if kind not in PRIMITIVES:
        return _DATA_KEYS
    return _VALUE_KEYS | (_RANGE_KEYS if kind in ("integer", "number") else set())


def declared_output(where: Where, report: Report) -> Output:
    """An output as a component declares it."""
    fields = Fields(where, report)
    fields.known(_OUTPUT_KEYS, "an output")
    if isinstance(where.value, dict):
        fields.require("type", "an output")
    return _output(fields, fields.choice("type", (*TYPES, LEGACY_TYPE), exact=True), INPUT_MODES)


def output(fields: Fields) -> Output:
    """The settings of an output of a job or of a step."""
    kind = fields.choice("type", TYPES)
    if kind in PRIMITIVES:
        message = f"Azure ML takes no output of type {kind} here, only in a component's file"
        hint = "declare it in a component of its own, and leave the type out where the component is used"
        fields.report.warning("AZD113", message, fields.where / "type", hint=hint)
    return _output(fields, kind, OUTPUT_MODES)


def _output(fields: Fields, kind: str | None, modes: Collection[str]) -> Output:
    return Output(
        type="uri_folder" if kind in (None, LEGACY_TYPE) else kind,
        mode=fields.choice("mode", modes),
        path=fields.text("path"),
        name=fields.text("name"),
        version=fields.text("version", scalar=True),
        is_control=fields.boolean("is_control") or False,
        description=fields.text("description") or "",
        where=fields.where,
    )
