"""What the containers of a run are made of: the image of each step, what it sees of this machine, and its network."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from azdistill.aml.source import Report
from azdistill.errors import SpecError
from azdistill.local.plan.steps import PlannedStep
from azdistill.local.run.container_mounts import linked
from azdistill.local.runners.base import Cancellation, Job
from azdistill.local.runners.docker.engine import Engine, gateway
from azdistill.local.runners.docker.images import NAME_ONE, Images, Settings, unnamed
from azdistill.local.runners.docker.limits import Limits, parse
from azdistill.local.runners.docker.runner import Container

#: Variables of the caller that name this machine's places or devices, which a container does not have.
_PLACES = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_*", "XDG_*", "CUDA_*", "NVIDIA_*"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_ASSETS_CACHE", "TRANSFORMERS_CACHE", "TORCH_HOME"),
)
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: Where a step that asks for the network is put. Only the host's own network, on Linux, reaches a teacher that listens
#: on this machine's loopback; elsewhere Docker runs in a machine of its own and has a name for this one.
_NETWORK = "host" if sys.platform == "linux" else "bridge"
#: The name that containers have for this machine.
HOST = "host.docker.internal"
NO_LIMITS = Limits()


class Containers:
    """The containers of one run. ``network``: the network of every step, in place of what each asks for; ``limits``:
    those of every step that asks for no others; ``cancellation``: what ends the making of images.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        network: str | None = None,
        say: Callable[[str], None] = print,
        limits: Limits = NO_LIMITS,
        cancellation: Cancellation | None = None,
    ) -> None:
        self.engine, self._limits = engine, limits
        self._images = Images(engine, settings, say, cancellation)
        self._network = network
        self._lock = threading.Lock()
        self._known: dict[str, Container] = {}

    def fingerprint(self, step: PlannedStep) -> dict[str, Any]:
        """What stands in a cache key where the process runner has its interpreter: the id of the step's image."""
        return {"image": self._images.identity(step.environment, step.name)}

    def refuse_unnamed(self, steps: Iterable[PlannedStep]) -> None:
        """Raise one SpecError for all steps whose environment no image is known for."""
        report = Report()
        for step in steps:
            if not self._images.is_named(step.environment):
                where = step.component.place("environment")
                report.error("AZD396", unnamed(step.environment, step.name), where, hint=NAME_ONE)
        if report.problems:
            raise SpecError(report.problems)

    def built(self, step: PlannedStep) -> bool:
        """Whether the step's image is there already."""
        return bool(self._images.known(step.environment, step.name))

    def inherited(self, variables: Mapping[str, str]) -> dict[str, str]:
        """What containers see of the caller's variables."""
        kept = {name: value for name, value in variables.items() if not _matches(name, _PLACES)}
        # Whoever starts a container is seldom known in its image, and would have no home.
        return {"HOME": "/tmp", **kept}

    def network(self, step: PlannedStep) -> str:
        """The network of a step's container: none, unless the step or the command line asks for one."""
        return self._network or (_NETWORK if step.network else "none")

    def keep(
        self, job: Job, step: PlannedStep, read: Iterable[str], write: Iterable[str | Path], data: Iterable[str] = ()
    ) -> Job:
        """Remember what the container of ``job`` is made of; gives the job as a container can run it.

        ``data``: what it reads and is the user's, so that it reads what links in there lead to as well.
        """
        network = self.network(step)
        written = {Path(path) for path in write}
        seen = {Path(path) for path in read} - written
        variables = dict(job.environment)
        for name in _CERTIFICATES:
            found = variables.get(name)
            if found and network != "none" and os.path.exists(found):
                seen.add(Path(found))
            else:
                variables.pop(name, None)
        container = Container(
            image=self.fingerprint(step)["image"],
            read=tuple(sorted(seen)),
            write=tuple(sorted(written)),
            linked=linked((Path(path) for path in data), (job.folder, *seen, *written)),
            network=network,
            hosts=self._hosts(network),
            limits=self._limits_of(step),
            gpus=True,
        )
        with self._lock:
            self._known[job.attempt_id] = container
        return Job(job.attempt_id, job.command, job.folder, variables, job.timeout)

    def _limits_of(self, step: PlannedStep) -> Limits:
        limits, _ = parse(step.resources.get("docker_args"), self._limits)
        return replace(limits, shm_size=step.shm_size or limits.shm_size)

    def _hosts(self, network: str) -> dict[str, str]:
        """This machine's name in a container; Docker gives it itself where it runs in a machine of its own."""
        if sys.platform != "linux" or network == "none":
            return {}
        address = "127.0.0.1" if network == "host" else gateway(self.engine, network)
        return {HOST: address} if address else {}

    def of(self, job: Job) -> Container:
        """What the container of a job that was kept is made of."""
        with self._lock:
            return self._known[job.attempt_id]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
