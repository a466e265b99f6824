"""Removes the endpoints of a workspace that azdistill made and whose time is over.

What is ours carries the tags of ``azdistill endpoint up``: ``azdistill.endpoint`` and ``azdistill.expires``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from common import arguments, strict_json
from common.step import StepError, run_step, say
from reaping_calls import Workspace

OWNER, EXPIRES = "azdistill.endpoint", "azdistill.expires"
KINDS = ("onlineEndpoints", "serverlessEndpoints")


@dataclass
class Reaped:
    """What became of one endpoint: removed, expired (a dry run), or failed, and why."""

    name: str
    kind: str
    expires: str
    outcome: str
    reason: str = ""


def main() -> None:
    """Look at every endpoint, remove what is over, and fail last where one could not be removed."""
    args = arguments.of(__file__)
    workspace = Workspace(args.timeout)
    current_time = datetime.now(UTC)
    reaped = [_reap(workspace, one, args.dry_run) for one in expired(workspace, current_time)]
    for one in reaped:
        say(f"{one.outcome:<8} {one.name} ({one.kind}), its time was over at {one.expires} {one.reason}".rstrip())
    if not reaped:
        say("nothing has expired")
    summary = {"step": "reap_endpoints", "time": current_time.isoformat(), "endpoints": [asdict(one) for one in reaped]}
    args.summary.write_text(strict_json.dumps(summary, indent=2) + "\n")
    failures = [f"{one.name}: {one.reason}" for one in reaped if one.outcome == "failed"]
    if failures:
        raise StepError("; ".join(failures))


def expired(workspace: Workspace, current_time: datetime) -> list[Reaped]:
    """Ours whose time is over, in the order of their names; what carries no readable time never expires."""
    endpoints: dict[str, Reaped] = {}
    for kind in (*KINDS, "connections"):
        for resource in workspace.listed(kind):
            tags = tags_of(resource)
            moment = moment_of(tags.get(EXPIRES, ""))
            if OWNER in tags and moment is not None and moment <= current_time:
                # A connection without its endpoint is what an interrupted removal leaves.
                endpoints.setdefault(tags[OWNER], Reaped(tags[OWNER], kind, tags[EXPIRES], "expired"))
    alive = {str(one["name"]) for kind in KINDS for one in workspace.listed(kind)}
    return [one for name, one in sorted(endpoints.items()) if one.kind != "connections" or name not in alive]


def _reap(workspace: Workspace, one: Reaped, dry_run: bool) -> Reaped:
    if dry_run:
        return one
    try:
        if one.kind == "onlineEndpoints":
            foreign = _others(workspace, one.name)
            if foreign:
                raise StepError(f"somebody else deployed {', '.join(foreign)} to it")
        for link in workspace.listed("connections"):
            if tags_of(link).get(OWNER) == one.name:
                workspace.delete(f"connections/{link['name']}")
        if one.kind in KINDS:
            # An endpoint takes its deployments with it.
            workspace.delete(f"{one.kind}/{one.name}")
    except StepError as error:
        one.outcome, one.reason = "failed", str(error)
        return one
    one.outcome = "removed"
    return one


def _others(workspace: Workspace, endpoint: str) -> list[str]:
    deployments = workspace.listed(f"onlineEndpoints/{endpoint}/deployments")
    return [str(one["name"]) for one in deployments if OWNER not in tags_of(one)]


def tags_of(resource: dict[str, Any]) -> dict[str, str]:
    """The tags of a resource; a connection keeps them in its metadata."""
    metadata = (resource.get("properties") or {}).get("metadata")
    return {**(metadata if isinstance(metadata, dict) else {}), **(resource.get("tags") or {})}


def moment_of(text: str) -> datetime | None:
    """The moment that a tag says; None for what is none."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


if __name__ == "__main__":
    run_step(main)
