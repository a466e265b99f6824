"""What the containers of a run are made of: the image of each step, what it sees of this machine, and its network."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from azdistill.aml.source import Report
from azdistill.errors import SpecError, UserError
from azdistill.local.plan.steps import PlannedStep
from azdistill.local.run.environment import CERTIFICATES
from azdistill.local.runners.base import Cancellation, Job
from azdistill.local.runners.docker.engine import Engine, gateway
from azdistill.local.runners.docker.images import NAME_ONE, Images, Settings, unnamed
from azdistill.local.runners.docker.limits import Limits, parse
from azdistill.local.runners.docker.runner import Container
from azdistill.local.store.home import FOLDER, Home

#: Variables of the caller that name this machine's places or devices, which a container does not have.
_PLACES = (
    *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_*", "XDG_*", "CUDA_*", "NVIDIA_*"),
    *("AZURE_CONFIG_DIR", "PYTHONUSERBASE"),
    *("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_ASSETS_CACHE", "TRANSFORMERS_CACHE", "TORCH_HOME"),
)
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
        passed_on = {
            name: value for name, value in variables.items() if not any(fnmatchcase(name, place) for place in _PLACES)
        }
        # Whoever starts a container is seldom known in its image, and would have no home.
        return {"HOME": "/tmp", **passed_on}

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
        writable = {Path(path) for path in write}
        readable = {Path(path) for path in read} - writable
        variables = dict(job.environment)
        for name in CERTIFICATES:
            certificates = variables.get(name)
            if certificates and network != "none" and os.path.exists(certificates):
                readable.add(Path(certificates))
            else:
                variables.pop(name, None)
        limits, _ = parse(step.resources.get("docker_args"), self._limits)
        container = Container(
            image=self.fingerprint(step)["image"],
            read=tuple(sorted(readable)),
            write=tuple(sorted(writable)),
            linked=linked((Path(path) for path in data), (job.folder, *readable, *writable)),
            network=network,
            hosts=self._hosts(network),
            limits=replace(limits, shm_size=step.shm_size or limits.shm_size),
            gpus=True,
        )
        with self._lock:
            self._known[job.attempt_id] = container
        return Job(job.attempt_id, job.command, job.folder, variables, job.timeout)

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


#: What a link leads to in these is the machine's own, and in a container the container's: the python of a venv.
_PROGRAMS = tuple(
    f"{above}/{name}/" for above in ("", "/usr", "/usr/local") for name in ("bin", "lib", "lib64", "sbin")
)
#: What a state folder of any name holds.
_KNOWN_BY = Home(Path()).hashes.name
#: How many links may lead on to one another, as for the system.
_MOST = 40


def linked(roots: Iterable[Path], places: Iterable[Path]) -> dict[Path, Path]:
    """What else has to be mounted in a container that sees ``places`` of this machine: place in there -> place here.

    ``roots``: the data among the places that is the user's.
    """
    search = _Search(places)
    for root in roots:
        search.look(str(root))
    return {Path(inside): Path(target) for inside, target in search.found.items()}


class _Ours(Exception):
    """A link lies in a state folder."""


class _Search:
    """Goes through folders for links that leave what the container sees; ``found`` is what these lead to."""

    def __init__(self, places: Iterable[Path]) -> None:
        self._seen = {os.path.normpath(place): os.path.realpath(place) for place in places}
        self.found: dict[str, str] = {}

    def look(self, root: str) -> None:
        real = os.path.realpath(root)
        todo = [] if _is_ours(real) else [(os.path.normpath(root), real, frozenset({real}))]
        while todo:
            inside, folder, ancestors = todo.pop()
            for link in _links(folder):
                target = self._add(link, inside + link[len(folder) :], ancestors)
                if target and os.path.isdir(real := self.found[target]):
                    todo.append((target, real, ancestors | {real}))

    def _add(self, link: str, inside: str, ancestors: frozenset[str]) -> str | None:
        """Note what ``link`` leads to, and say where that lies in the container, unless it is seen there anyway."""
        try:
            host_target, target = _follow(link, _own_text), _follow(inside, self._text)
        except (OSError, _Ours):
            return None
        # What leads nowhere, or round in a ring, is not counted as data either.
        if not os.path.exists(host_target) or host_target in ancestors or f"{target}/".startswith(_PROGRAMS):
            return None
        host_place = self._here(target)
        if host_place is None:
            self._seen[target] = self.found[target] = host_target
            return target
        if os.path.realpath(host_place) != host_target:
            message = f"the link {link} leads to {host_target}, and in a container to {host_place}"
            raise UserError(message, code="AZD399", hint="put a copy in its place, or make it an absolute link")
        return None

    def _here(self, inside: str) -> str | None:
        """What lies at a place of the container; None for what is not of this machine."""
        ancestor = inside
        while ancestor not in self._seen:
            if ancestor == "/":
                return None
            ancestor = os.path.dirname(ancestor)
        return self._seen[ancestor] + inside[len(ancestor) :]

    def _text(self, inside: str) -> str | None:
        host_place = self._here(inside)
        return os.readlink(host_place) if host_place and os.path.islink(host_place) else None


def _links(folder: str) -> Iterator[str]:
    """Every link under a folder, without those of a state folder."""
    for parent, folders, names in os.walk(folder):
        if _is_state(parent):
            folders.clear()
            continue
        yield from (path for name in (*folders, *names) if os.path.islink(path := os.path.join(parent, name)))


def _follow(path: str, text_at: Callable[[str], str | None]) -> str:
    """Where ``path`` leads; ``text_at`` says what the link at a place holds, None where there is none."""
    at, todo, met = "/", path.split("/")[::-1], 0
    while todo:
        name = todo.pop()
        if name == "..":
            at = os.path.dirname(at)
        elif name not in ("", "."):
            text = text_at(place := os.path.join(at, name))
            if text is None:
                at = place
                continue
            if (met := met + 1) > _MOST:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            at = "/" if text.startswith("/") else at
            todo += text.split("/")[::-1]
    return at


def _own_text(path: str) -> str | None:
    if not os.path.islink(path):
        return None
    if _is_ours(os.path.dirname(path)):
        raise _Ours
    return os.readlink(path)


def _is_ours(folder: str) -> bool:
    """Whether a folder lies in a state folder, or is one."""
    while not _is_state(folder):
        if folder == "/":
            return False
        folder = os.path.dirname(folder)
    return True


def _is_state(folder: str) -> bool:
    return os.path.basename(folder) == FOLDER or os.path.exists(os.path.join(folder, _KNOWN_BY))
