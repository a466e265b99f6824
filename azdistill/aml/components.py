"""Builds command components from YAML data: what they declare, what they run, and how it is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from azdistill.aml.environments import ASSET_KEYS, environment_of
from azdistill.aml.fields import Fields
from azdistill.aml.models import CommandComponent
from azdistill.aml.ports import declared_input, declared_output
from azdistill.aml.source import Report, Where

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
_RESOURCE_KEYS = {
    *("instance_count", "instance_type", "properties", "locations", "shm_size", "max_instance_count", "docker_args"),
}
#: Kinds of identity -> their keys (azure-ai-ml, ``_schema/identity.py``).
_OF_IDENTITIES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("managed", "managed_identity"), ("client_id", "object_id")),
    **dict.fromkeys(("user_identity", "aml_token"), ()),
}
#: Where the parts of a kind of identity begin that is written in capitals, as azure-ai-ml sees them (``AMLToken``).
_HUMP = re.compile(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z0-9])(?=[A-Z])")
_TIERS, _PRIORITIES = ("spot", "basic", "standard", "premium", "null"), ("low", "medium", "high")


def command_component(where: Where, report: Report) -> CommandComponent:
    """The command component written at ``where``."""
    fields = Fields(where, report)
    # environment_variables is Azure's business on nodes only; a check of its own says so.
    fields.known(COMPONENT_KEYS | {"environment_variables"}, "a command component", dropped=True)
    fields.require("a command component", "command", "environment")
    return CommandComponent(**interface(fields), **runnable(fields, of_component=True), where=where)


def interface(fields: Fields) -> dict[str, Any]:
    """What command and pipeline components share: name, inputs, outputs."""
    deterministic = fields.boolean("is_deterministic")
    return {
        **fields.texts("name", "display_name"),
        "version": fields.text("version", scalar=True),
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


def _family(fields: Fields, name: str) -> Path | None:
    """The folder whose files the values of an input are named after, which a tag of the component tells."""
    folder = fields.mapping("tags").get(FAMILY + name)
    return fields.where.resolve(folder) if isinstance(folder, str) else None


def distribution(fields: Fields) -> dict[str, Any] | None:
    """How many processes run the command, and how they find each other."""
    section = Fields(fields.where / "distribution", fields.report)
    if not section.data:
        return None
    section.require("a distribution", "type")
    kind = section.choice("type", tuple(DISTRIBUTIONS))
    if kind in DISTRIBUTIONS:
        section.known(("type", *DISTRIBUTIONS[kind]), f"a distribution of type {kind}")
    for key in ("process_count_per_instance", "worker_count", "parameter_server_count"):
        section.whole(key, at_least=0 if key == "parameter_server_count" else 1)
    return {**section.data, "type": kind}


def resources(fields: Fields, *, dropped: bool = False) -> dict[str, Any] | None:
    """Where a command runs, and on how many machines. Of a component Azure ML drops unknown keys in silence."""
    section = Fields(fields.where / "resources", fields.report)
    section.known(_RESOURCE_KEYS, "resources", dropped=dropped)
    section.whole("instance_count", at_least=1)
    section.text("instance_type")
    section.text("shm_size")
    return dict(section.data) or None


def identity(fields: Fields) -> dict[str, Any] | None:
    """Whom a command or job runs as."""
    section = Fields(fields.where / "identity", fields.report)
    if section.data:
        section.require("an identity", "type")
        kind = _HUMP.sub("_", str(section.data.get("type"))).lower()
        kind = kind if kind in _OF_IDENTITIES else section.choice("type", tuple(_OF_IDENTITIES), exact=True) or ""
        if kind in _OF_IDENTITIES:
            # What a parallel step that is written in place says of it, azure-ai-ml hands on as it is.
            extras = ("msi_resource_id",) if "task" in fields.data else ()
            section.known(("type", *_OF_IDENTITIES[kind], *extras), f"an identity of type {kind}")
    return dict(section.data) or None


def queue_settings(fields: Fields) -> dict[str, Any]:
    """How a job waits for its compute."""
    section = Fields(fields.where / "queue_settings", fields.report)
    section.known(("job_tier", "priority"), "queue_settings")
    section.choice("job_tier", _TIERS)
    section.choice("priority", _PRIORITIES)
    return dict(section.data)
