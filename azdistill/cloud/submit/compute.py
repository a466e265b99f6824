"""Where each step runs and as whom: the pipeline's own words, then the profile, then what Azure needs to be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    chosen = _default_of(profile) or default or SERVERLESS
    _refuse_unknown(profile, kinds)
    jobs = {
        name: _node(name, dict(node), kinds.get(name, ""), str(default or SERVERLESS), str(chosen), profile)
        for name, node in mapping.get("jobs", {}).items()
    }
    placed = {key: value for key, value in mapping.items() if key != "compute"}
    return {**placed, "settings": {**settings, "default_compute": chosen}, **({"jobs": jobs} if jobs else {})}


def _default_of(profile: Profile) -> str | None:
    if profile.compute is None:
        return None
    return SERVERLESS if is_instance_type(profile.compute) else _named(profile.compute)


def _node(name: str, node: dict[str, Any], kind: str, before: str, default: str, profile: Profile) -> dict[str, Any]:
    if kind not in _RUNNING:
        return node
    placed = dict(_placed_by_profile(node, profile.computes.get(name), before, default, profile.compute))
    if profile.spot and compute_of(placed, default) == SERVERLESS:
        placed.setdefault("queue_settings", {"job_tier": "spot"})
    if kind != "parallel":
        placed["limits"] = {"timeout": DEFAULT_TIMEOUT, **(placed.get("limits") or {})}
    return _with_identity(placed, _identity_of(profile, name))


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
    rest = {key: value for key, value in node.items() if key not in ("compute", "resources")}
    if is_instance_type(where):
        elsewhere = {} if default == SERVERLESS else {"compute": SERVERLESS}
        return {**rest, **elsewhere, "resources": {**resources, "instance_type": where}}
    return {**rest, "compute": _named(where), **({"resources": resources} if resources else {})}


def compute_of(node: Mapping[str, Any], default: str) -> str:
    """The compute that a step runs on: its own, or the pipeline's default."""
    return str(node.get("compute") or default)


def _identity_of(profile: Profile, name: str) -> str | None:
    if isinstance(profile.identity, dict):
        return profile.identity.get(name)
    return profile.identity


def _with_identity(node: dict[str, Any], word: str | None) -> dict[str, Any]:
    if word is None:
        return node
    rest = {key: value for key, value in node.items() if key != "identity"}
    return rest if word == "none" else {**rest, "identity": {"type": IDENTITIES[word]}}


def _named(where: str) -> str:
    return where if where.startswith(("azureml:", "/subscriptions/")) else f"azureml:{where}"


def _refuse_unknown(profile: Profile, steps: Mapping[str, str]) -> None:
    by_step = profile.identity if isinstance(profile.identity, dict) else {}
    for name in (*profile.computes, *by_step):
        if name not in steps:
            raise _no_step(profile.name, name, steps)


def _no_step(profile: str, name: str, steps: Iterable[str]) -> UserError:
    message = f"profile {profile} names the step '{name}', which the pipeline does not have"
    return UserError(message, code="AZD419", hint=did_you_mean(name, list(steps)))
