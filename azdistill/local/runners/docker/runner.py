"""Steps as containers: create, attach, start, read to the end, wait, remove.

Never with auto-remove, which loses exit codes, and attached before the start, so that no line is missed. Files are
mounted where they are on this machine: command and variables are the same text in a container as in a process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azdistill.errors import AzdistillError, MachineError
from azdistill.local.runners.base import Cancellation, Ended, GuardProcess, Job, Watch
from azdistill.local.runners.docker import guard
from azdistill.local.runners.docker.engine import LABEL, OWNER, SESSION, Engine, engine_errors, remove, sweep_orphans
from azdistill.local.runners.docker.limits import Limits
from azdistill.local.store.runs import own_mark

_POLL = 0.1
#: Process 1 of a container ignores the signals it has no handler for, so a shell stands there that hands them on to the
#: command's process group and ends with the command's exit code: at once, for the container ends with it, or, once a
#: signal was handed on, when all of the group have ended, who may have work to put away.
_INIT = (
    'exec 2>&1; set -m; /bin/bash -c "$0" < /dev/null & child=$!; exec > /dev/null 2>&1; '
    "trap 'told=1; kill -TERM -\"$child\"' TERM; "
    'wait "$child"; while kill -0 "$child"; do wait "$child"; done; '
    # A wait that the signal interrupts gives its number: the code is what it gives once the command has ended.
    'wait "$child"; code=$?; '
    'while [ -n "$told" ] && kill -0 -"$child" && sleep 0.05; do :; done; exit "$code"'
)
_PIDS = 4096
_OUT_OF_MEMORY = b"[azdistill] the container met its memory limit (local.docker.memory, docker_args --memory)\n"


@dataclass(frozen=True, slots=True)
class Container:
    """What a step's container is made of, beside its job.

    ``image`` is an id or a name; ``read`` and ``write`` are paths of this machine that it sees under the same names;
    ``linked`` says what of this machine lies, to be read, at places in there; ``network`` is a Docker network, ``none``
    or ``host``; ``hosts`` gives names their addresses.
    """

    image: str
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    linked: Mapping[Path, Path] = field(default_factory=dict)
    network: str = "none"
    hosts: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    gpus: bool = False


class DockerRunner:
    """Runs steps as containers of ``engine``. ``container_of`` says what a job's container is made of."""

    name = "docker"

    def __init__(self, engine: Engine, run_id: str, container_of: Callable[[Job], Container]) -> None:
        self._engine, self._run_id, self._container_of = engine, run_id, container_of
        sweep_orphans(engine)
        self._session = secrets.token_hex(16)
        self._guard = GuardProcess(guard.__file__, engine.socket, f"{SESSION}={self._session}")

    def run(self, job: Job, output: Callable[[bytes], None], cancellation: Cancellation) -> Ended:
        """See :class:`azdistill.local.runners.base.Runner`."""
        started = time.monotonic()
        identity = self._create(job)
        try:
            watch = _ContainerWatch(self._engine, identity, job, cancellation)
            watch.follow(output)
            code = self._exit_code(identity, output)
        finally:
            remove(self._engine, identity)
        return Ended(code, time.monotonic() - started, watch.timed_out, watch.canceled)

    def close(self) -> None:
        """Remove what is left of the run and dismiss the guard."""
        with engine_errors("ending the run"):
            for entry in self._engine.api.containers(all=True, filters={"label": [f"{SESSION}={self._session}"]}):
                remove(self._engine, entry["Id"])
        # Again: the engine may have been at one when the runner and guard of an earlier run were killed.
        sweep_orphans(self._engine)
        self._guard.close(guard.DONE.encode())

    def _create(self, job: Job) -> str:
        self._guard.check()
        container = self._container_of(job)
        with engine_errors("creating a container"):
            return str(self._engine.api.create_container_from_config(self._config(job, container))["Id"])

    def _config(self, job: Job, container: Container) -> dict[str, Any]:
        return {
            "Image": container.image,
            "Entrypoint": ["/bin/bash", "-c", _INIT],
            "Cmd": [job.command],
            "WorkingDir": str(job.folder),
            "User": f"{os.getuid()}:{os.getgid()}",
            "Env": [f"{name}={value}" for name, value in job.environment.items()],
            "Labels": {
                LABEL: self._run_id,
                OWNER: own_mark(),
                SESSION: self._session,
                "azdistill.attempt": job.attempt_id,
            },
            "AttachStdout": True,
            "HostConfig": self._host(job, container),
        }

    def _host(self, job: Job, container: Container) -> dict[str, Any]:
        read, limits = {path: path for path in container.read} | dict(container.linked), container.limits
        mounts = [_mount(place, path, read_only=True) for place, path in read.items()]
        host = self._engine.api.create_host_config(
            network_mode=container.network,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            pids_limit=limits.pids or _PIDS,
            shm_size=limits.shm_size,
            mem_limit=limits.memory,
            nano_cpus=round(limits.cpus * 1e9) if limits.cpus else None,
            extra_hosts=dict(container.hosts),
            mounts=[*mounts, *(_mount(path, path) for path in (job.folder, *container.write))],
            # What it prints comes over the attached stream; a second copy would only fill the disk.
            log_config={"type": "none", "config": {}},
        )
        if container.gpus and self._engine.gpus:
            host["DeviceRequests"] = [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]
        config: dict[str, Any] = host
        return config

    def _exit_code(self, identity: str, output: Callable[[bytes], None]) -> int:
        with engine_errors("waiting for a container"):
            ended = self._engine.api.wait(identity)
            state = self._engine.api.inspect_container(identity)["State"]
        if error := state.get("Error"):
            raise MachineError(f"Docker could not run the step: {error}", code="AZD394")
        if state.get("OOMKilled"):
            output(_OUT_OF_MEMORY)
        return int(ended["StatusCode"])


class _ContainerWatch(Watch):
    """Reads a container to the end of its output, and ends it when it is time."""

    def __init__(self, engine: Engine, identity: str, job: Job, cancellation: Cancellation) -> None:
        super().__init__(job, cancellation)
        self._engine, self._identity = engine, identity
        self._failure: BaseException | None = None

    def follow(self, output: Callable[[bytes], None]) -> None:
        with engine_errors("starting a container"):
            stream = self._engine.api.attach(self._identity, stdout=True, stderr=True, stream=True, logs=False)
            self._engine.api.start(self._identity)
        reader = threading.Thread(target=self._read, args=(stream, output), daemon=True)
        reader.start()
        while reader.is_alive():
            reader.join(_POLL)
            self.check_time()
        if isinstance(self._failure, AzdistillError | OSError):
            raise self._failure
        if self._failure:
            raise MachineError(f"the output of a container was lost: {self._failure}", code="AZD395")

    def terminate(self) -> None:
        self._signal("SIGTERM")

    def kill(self) -> None:
        self._signal("SIGKILL")

    def _read(self, stream: Any, output: Callable[[bytes], None]) -> None:
        try:
            for chunk in stream:
                output(chunk)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that follows
            self._failure = error

    def _signal(self, name: str) -> None:
        from docker.errors import APIError

        # A container that has just ended takes no signal.
        with contextlib.suppress(APIError):
            self._engine.api.kill(self._identity, name)


def _mount(place: Path, path: Path, read_only: bool = False) -> Any:
    from docker.types import Mount

    return Mount(target=str(place), source=str(path), type="bind", read_only=read_only)
