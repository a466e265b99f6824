"""How a command is run, from YAML data: by how many processes and machines, as whom, and how it waits for them."""

from __future__ import annotations

import re
from typing import Any

from azdistill.aml.fields import Fields

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


def resources(fields: Fields, *, dropped: bool = False) -> dict[str, Any] | None:
    """Where a command runs, and on how many machines. Of a component Azure ML drops unknown keys in silence."""
    inner = Fields(fields.where / "resources", fields.report)
    inner.known(_RESOURCE_KEYS, "resources", dropped=dropped)
    inner.whole("instance_count", at_least=1)
    inner.text("instance_type")
    inner.text("shm_size")
    return dict(inner.data) or None


def identity(fields: Fields) -> dict[str, Any] | None:
    """Whom a command or job runs as."""
    inner = Fields(fields.where / "identity", fields.report)
    if inner.data:
        inner.require("type", "an identity")
        kind = _HUMP.sub("_", str(inner.data.get("type"))).lower()
        kind = kind if kind in _OF_IDENTITIES else inner.choice("type", tuple(_OF_IDENTITIES), exact=True) or ""
        if kind in _OF_IDENTITIES:
            # What a parallel step that is written in place says of it, azure-ai-ml hands on as it is.
            more = ("msi_resource_id",) if "task" in fields.data else ()
            inner.known(("type", *_OF_IDENTITIES[kind], *more), f"an identity of type {kind}")
    return dict(inner.data) or None


def queue_settings(fields: Fields) -> dict[str, Any]:
    """How a job waits for its compute."""
    inner = Fields(fields.where / "queue_settings", fields.report)
    inner.known(("job_tier", "priority"), "queue_settings")
    inner.choice("job_tier", _TIERS)
    inner.choice("priority", _PRIORITIES)
    return dict(inner.data)
