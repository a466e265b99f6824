"""Builds command components and environments from YAML data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from azdistill.spec.fields import Fields, is_remote
from azdistill.spec.models import TYPES, CommandComponent, Environment, Input, Output
from azdistill.spec.source import Report, Where

INPUT_MODES = ("mount", "ro_mount", "rw_mount", "download", "direct", "eval_mount", "eval_download", "upload", "link")
#: What folders were called at first; still accepted.
LEGACY_TYPE = "path"
_INPUT_KEYS = {"type", "optional", "default", "enum", "min", "max", "description", "mode"}
_OUTPUT_KEYS = {"type", "mode", "description", "is_control", "path", "name", "version", "early_available"}
_ASSET_KEYS = {"$schema", "type", "name", "version", "display_name", "description", "tags", "properties"}
#: Kinds of distribution -> their keys (azure-ai-ml, ``_schema/job/distribution.py``).
DISTRIBUTIONS = {
    "pytorch": ("process_count_per_instance",),
    "mpi": ("process_count_per_instance",),
    "tensorflow": ("parameter_server_count", "worker_count"),
    "ray": (
        *("port", "address", "include_dashboard", "dashboard_port", "head_node_additional_args"),
        "worker_node_additional_args",
    ),
}
INTERFACE_KEYS = _ASSET_KEYS | {"inputs", "outputs", "is_deterministic"}
RUN_KEYS = {"command", "code", "environment", "additional_includes", "distribution", "resources"}
COMPONENT_KEYS = INTERFACE_KEYS | RUN_KEYS
_ENVIRONMENT_KEYS = {
    *_ASSET_KEYS - {"type", "display_name"},
    *("image", "conda_file", "build", "os_type", "inference_config", "datastore"),
}


def command_component(where: Where, report: Report) -> CommandComponent:
    """The command component written at ``where``."""
    fields = Fields(where, report)
    # environment_variables is Azure's business on nodes only; a check of its own says so.
    fields.known(COMPONENT_KEYS | {"environment_variables"}, "a command component", dropped=True)
    for key in ("command", "environment"):
        fields.require(key, "a command component")
    return CommandComponent(**interface(fields), **runnable(fields), where=where)


def interface(fields: Fields) -> dict[str, Any]:
    """What command and pipeline components share: name, inputs, outputs."""
    deterministic = fields.boolean("is_deterministic")
    return {
        "name": fields.text("name"),
        "version": fields.text("version", scalar=True),
        "display_name": fields.text("display_name"),
        "description": fields.text("description") or "",
        "inputs": {n: declared_input(at, fields.report) for n, at, _ in fields.each("inputs")},
        "outputs": {n: declared_output(at, fields.report) for n, at, _ in fields.each("outputs")},
        "is_deterministic": True if deterministic is None else deterministic,
        "tags": fields.words("tags", strict=True),
        "properties": fields.mapping("properties"),
    }


def runnable(fields: Fields) -> dict[str, Any]:
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
        "resources": resources(fields),
    }


def distribution(fields: Fields) -> dict[str, Any] | None:
    """How many processes run the command, and how they find each other."""
    inner = Fields(fields.where / "distribution", fields.report)
    if not inner.data:
        return None
    inner.require("type", "a distribution")
    kind = inner.choice("type", tuple(DISTRIBUTIONS))
    if kind in DISTRIBUTIONS:
        inner.known(("type", *DISTRIBUTIONS[kind]), f"a distribution of type {kind}")
    for key in ("process_count_per_instance", "worker_count", "parameter_server_count"):
        inner.whole(key, at_least=0 if key == "parameter_server_count" else 1)
    return {**inner.data, "type": kind}


def resources(fields: Fields) -> dict[str, Any] | None:
    """Where a command runs, and on how many machines."""
    inner = Fields(fields.where / "resources", fields.report)
    inner.whole("instance_count", at_least=1)
    return dict(inner.data) or None


def declared_input(where: Where, report: Report) -> Input:
    """An input as a component declares it."""
    fields = Fields(where, report)
    fields.known(_INPUT_KEYS, "an input")
    if isinstance(fields.where.value, dict):
        fields.require("type", "an input")
    kind = fields.choice("type", (*TYPES, LEGACY_TYPE)) or "string"
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
        min=fields.data.get("min"),
        max=fields.data.get("max"),
        description=fields.text("description") or "",
        mode=fields.choice("mode", INPUT_MODES),
        where=where,
    )


def declared_output(where: Where, report: Report) -> Output:
    """An output as a component declares it."""
    fields = Fields(where, report)
    fields.known(_OUTPUT_KEYS, "an output")
    if isinstance(where.value, dict):
        fields.require("type", "an output")
    return output(fields)


def output(fields: Fields) -> Output:
    """An output's settings."""
    kind = fields.choice("type", (*TYPES, LEGACY_TYPE))
    return Output(
        type="uri_folder" if kind in (None, LEGACY_TYPE) else kind,
        mode=fields.choice("mode", INPUT_MODES),
        path=fields.text("path"),
        name=fields.text("name"),
        version=fields.text("version", scalar=True),
        is_control=fields.boolean("is_control") or False,
        description=fields.text("description") or "",
        where=fields.where,
    )


def environment_of(fields: Fields, key: str) -> str | Environment | None:
    """The environment under ``key``: the reference as written, or an inline one."""
    value = fields.data.get(key)
    if isinstance(value, dict):
        return environment(fields.where / key, fields.report)
    text = fields.text(key)
    if text and not is_remote(text) and text.startswith("file:"):
        from azdistill.spec.loader import read_environment

        return read_environment(fields.where / key, text.removeprefix("file:"), fields.report)
    return text


def environment(where: Where, report: Report) -> Environment:
    """The environment written at ``where``."""
    fields = Fields(where, report)
    fields.known(_ENVIRONMENT_KEYS, "an environment")
    build = Fields(where / "build", report)
    build.known({"path", "dockerfile_path"}, "'build'")
    if not fields.data.get("image") and not fields.data.get("build"):
        report.error("AZD112", "an environment needs 'image' or 'build'", where)
    return Environment(
        name=fields.text("name"),
        version=fields.text("version", scalar=True),
        image=fields.text("image"),
        conda_file=_conda(fields),
        build_path=_local(build, "path"),
        dockerfile_path=build.text("dockerfile_path") or "Dockerfile",
        description=fields.text("description") or "",
        tags=fields.words("tags"),
        where=where,
    )


def _conda(fields: Fields) -> Path | dict[str, Any] | None:
    value = fields.data.get("conda_file")
    return value if isinstance(value, dict) else _local(fields, "conda_file")


def _local(fields: Fields, key: str) -> Path | None:
    path = fields.path(key)
    return path if isinstance(path, Path) else None
