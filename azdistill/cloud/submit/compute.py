"""Where each step runs and as whom: the pipeline's own words, then the profile, then what Azure needs to be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azdistill.cloud.workspace.profiles import Profile
from azdistill.compile.compute import IDENTITIES, SERVERLESS, is_instance_type
from azdistill.errors import UserError, did_you_mean

#: Seconds after which a step ends that has no limit of its own: one that hangs must not bill for weeks.
DEFAULT_TIMEOUT = 24 * 3600
#: Kinds of steps that run something, and so have a compute; the others hold further steps.
_RUNNING = ("command", "sweep", "parallel")


def place(mapping: Mapping[str, Any], profile: Profile, kinds: Mapping[str, str]) -> dict[str, Any]:
    """``mapping`` with computes, capacity, identities and limits settled. ``kinds`` names each step's kind.

    UserError AZD419 where the profile names a step that the pipeline does not have.
    """
    settings = dict(mapping.get("settings") or {})
    default = settings.get("default_compute") or mapping.get("compute")
    chosen = default or SERVERLESS
    if profile.compute is not None:
        chosen = SERVERLESS if is_instance_type(profile.compute) else _named(profile.compute)
    _refuse_unknown(profile, kinds)
    jobs = {
        name: _node(name, dict(node), kinds.get(name, ""), str(default or SERVERLESS), str(chosen), profile)
        for name, node in mapping.get("jobs", {}).items()
    }
    placed = {key: value for key, value in mapping.items() if key != "compute"}
    return {**placed, "settings": {**settings, "default_compute": chosen}, **({"jobs": jobs} if jobs else {})}


def _node(name: str, node: dict[str, Any], kind: str, before: str, default: str, profile: Profile) -> dict[str, Any]:
    if kind not in _RUNNING:
        return node
    placed = dict(_placed_by_profile(node, profile.computes.get(name), before, default, profile.compute))
    if profile.spot and (placed.get("compute") or default) == SERVERLESS:
        placed.setdefault("queue_settings", {"job_tier": "spot"})
    if kind != "parallel":
        placed["limits"] = {"timeout": DEFAULT_TIMEOUT, **(placed.get("limits") or {})}
    identity = profile.identity.get(name) if isinstance(profile.identity, dict) else profile.identity
    return _with_identity(placed, identity)


def _placed_by_profile(
    node: dict[str, Any], own: str | None, before: str, default: str, general: str | None
) -> dict[str, Any]:
    if own is not None:
        return _at(node, own, default)
    typed = bool((node.get("resources") or {}).get("instance_type"))
    if "compute" in node or general is None:
        return node
    if typed and before == SERVERLESS and default != SERVERLESS:
        # It asked for a machine of its own, which the profile's default would take from it.
        return {**node, "compute": SERVERLESS}
    return _at(node, general, default) if is_instance_type(general) and not typed else node


def _at(node: dict[str, Any], where: str, default: str) -> dict[str, Any]:
    """``node`` on the compute or instance type ``where``."""
    resources = {key: value for key, value in (node.get("resources") or {}).items() if key != "instance_type"}
    unplaced = {key: value for key, value in node.items() if key not in ("compute", "resources")}
    if is_instance_type(where):
        compute = {} if default == SERVERLESS else {"compute": SERVERLESS}
        return {**unplaced, **compute, "resources": {**resources, "instance_type": where}}
    return {**unplaced, "compute": _named(where), **({"resources": resources} if resources else {})}


def _with_identity(node: dict[str, Any], word: str | None) -> dict[str, Any]:
    if word is None:
        return node
    anonymous = {key: value for key, value in node.items() if key != "identity"}
    return anonymous if word == "none" else {**anonymous, "identity": {"type": IDENTITIES[word]}}


def _named(where: str) -> str:
    return where if where.startswith(("azureml:", "/subscriptions/")) else f"azureml:{where}"


def _refuse_unknown(profile: Profile, steps: Mapping[str, str]) -> None:
    by_step = profile.identity if isinstance(profile.identity, dict) else {}
    for name in (*profile.computes, *by_step):
        if name not in steps:
            message = f"profile {profile.name} names the step '{name}', which the pipeline does not have"
            raise UserError(message, code="AZD419", hint=did_you_mean(name, list(steps)))
