"""The Docker engine of this machine: finding it, and saying in our words what it answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azdistill.errors import MachineError
from azdistill.local.store.process_marks import LONG_AGO, is_alive, is_elsewhere

#: What containers of ours bear, so that only these are ever removed.
LABEL = "azdistill.run"
OWNER = "azdistill.owner"
#: One runner's containers. A run that is resumed keeps its id, and its first runner's guard may still be looking.
SESSION = "azdistill.session"
_START = "start it (on Linux: sudo systemctl start docker), or run without --docker"
#: Seconds that one answer of the engine may take. Pulling and building stream, and have no such limit.
_TIMEOUT = 120


@dataclass(frozen=True, slots=True)
class Engine:
    """A connection to the engine: ``api`` is docker's own low-level client, ``socket`` the path to the engine."""

    api: Any
    socket: str
    gpus: bool

    def connection(self, begun: Callable[[Any], None]) -> Any:
        """Another client of the engine; ``begun`` is given each of its responses before that is read."""
        api = _client(self.socket)
        api.hooks["response"].append(lambda response, **_: begun(response))
        return api


def connect() -> Engine:
    """The engine that DOCKER_HOST names, or the usual one. MachineError where there is none that can be used."""
    try:
        from docker.errors import DockerException
    except ImportError as error:
        raise MachineError(
            "the package 'docker' is not installed", code="AZD390", hint='pip install "azdistill[docker]"'
        ) from error
    socket = _socket()
    try:
        api = _client(socket)
        runtimes = api.info().get("Runtimes") or {}
    except (DockerException, OSError) as error:
        raise MachineError(
            f"no Docker engine answers at {socket}: {_first(error)}", code="AZD391", hint=_START
        ) from error
    return Engine(api, socket, "nvidia" in runtimes)


def _client(socket: str) -> Any:
    import docker

    return docker.APIClient(base_url=f"unix://{socket}", version="auto", timeout=_TIMEOUT)


def _socket() -> str:
    host = os.environ.get("DOCKER_HOST", "")
    if host and not host.startswith("unix://"):
        raise MachineError(
            f"DOCKER_HOST is {host}: steps see this machine's files, so the engine has to be on this machine",
            code="AZD392",
            hint="unset DOCKER_HOST, or give it a unix:// address",
        )
    own = Path.home() / ".docker" / "run" / "docker.sock"
    fallback = str(own) if own.exists() and not os.path.exists("/var/run/docker.sock") else "/var/run/docker.sock"
    return host.removeprefix("unix://") or fallback


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn what the engine refuses while ``doing`` into a MachineError."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        raise MachineError(f"Docker, while {doing}: {_first(error)}", code="AZD393") from error


def _first(error: BaseException) -> str:
    lines = str(getattr(error, "explanation", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def gateway(engine: Engine, network: str) -> str | None:
    """The address that this machine has in a network; None where it has none there, or there is no such network."""
    from docker.errors import NotFound

    with engine_errors(f"looking for network {network}"):
        try:
            settings = engine.api.inspect_network(network)
        except NotFound:
            return None
    configs = (settings.get("IPAM") or {}).get("Config") or []
    return next((str(config["Gateway"]) for config in configs if config.get("Gateway")), None)


def sweep_orphans(engine: Engine) -> int:
    """Remove the containers of runs whose runner is gone (it and its guard were both killed). How many there were.

    A runner may also be in a container of its own, where its number names it; what it has running is left alone.
    """
    with engine_errors("looking for containers of earlier runs"):
        listed = engine.api.containers(all=True, filters={"label": [LABEL]})
        orphans = [entry["Id"] for entry in listed if _is_orphan(engine, entry)]
    for identity in orphans:
        remove(engine, identity)
    return len(orphans)


def _is_orphan(engine: Engine, entry: dict[str, Any]) -> bool:
    from docker.errors import NotFound

    mark = entry["Labels"].get(OWNER, "")
    if not is_elsewhere(mark):
        return not is_alive(mark)
    if entry.get("State") not in ("created", "exited", "dead"):
        return False
    try:
        container = engine.api.inspect_container(entry["Id"])
    except NotFound:
        return False
    # Both are UTC, in a form that sorts; one that never ran ended in the year 1.
    last = max(container["Created"], container["State"]["FinishedAt"])
    return bool(last < f"{datetime.now(UTC) - timedelta(seconds=LONG_AGO):%Y-%m-%dT%H:%M:%S}")


def remove(engine: Engine, identity: str) -> None:
    """Remove a container, running or not, with its anonymous volumes. One that is gone already is no error."""
    from docker.errors import NotFound

    with engine_errors("removing a container"):
        try:
            engine.api.remove_container(identity, force=True, v=True)
        except NotFound:
            return
        except Exception as error:
            # The guard or another sweep is at it.
            if "already in progress" not in str(error):
                raise
