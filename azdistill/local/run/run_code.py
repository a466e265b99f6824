"""The code of a run, as it was taken before the first step started: an edit while the run goes on changes nothing.

Each file is copied once (:mod:`azdistill.local.cache.code_store`), and from that copy into the folder of each attempt.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from azdistill.errors import MachineError, UserError
from azdistill.local.cache.hashes import Hashes
from azdistill.local.plan.steps import PlannedStep
from azdistill.snapshot import Snapshot, add_to_archive, executable_field, take
from azdistill.trees import CHUNK, Stat, hash_file, stat_of, tree_digest

#: The scripts of ours that start a distributed step, and a parallel one.
LAUNCH_SCRIPTS = ("launch.py",)
PARALLEL_SCRIPTS = ("parallel_driver.py", "parallel_worker.py", "parallel_journal.py", *LAUNCH_SCRIPTS)
#: Linux's request to let a file share the blocks of another.
_FICLONE = 0x40049409


#: Code, includes, the folder of the component: steps that have these in common have the same code.
Sources = tuple[object, ...]


class CodeOfSteps(Protocol):
    """What knows the code of the steps of a plan."""

    def fields(self, step: PlannedStep) -> dict[str, str]:
        """What the key of a step holds of its code."""


def sources_of(step: PlannedStep) -> Sources:
    """What the code of a step is taken from."""
    component = step.component
    return (component.code, tuple(component.additional_includes), step.base)


def take_code(step: PlannedStep) -> Snapshot:
    """The files that are the code of a step. Raises UserError for what is missing or leaves the project."""
    code = step.component.code
    try:
        return take(code if isinstance(code, Path) else None, step.component.additional_includes, base=step.base)
    except FileNotFoundError as error:
        message = f"step '{step.name}': {error.filename} is not there any more"
        raise UserError(message, code="AZD320") from None


class CodeAsItIs:
    """The code of the steps as it lies there: nothing is copied."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._fields: dict[Sources, dict[str, str]] = {}

    def fields(self, step: PlannedStep) -> dict[str, str]:
        sources = sources_of(step)
        if sources not in self._fields:
            code = take_code(step)
            self._fields[sources] = code.hashes(self._hashes) | code.executables()
        return self._fields[sources]


@dataclass(frozen=True, slots=True)
class RunCode:
    """The code that a run has taken. ``scripts``: those of ours that its steps need."""

    codes: Mapping[Sources, StepCode]
    scripts: StepCode

    def of(self, step: PlannedStep) -> StepCode:
        """The code of a step, or of a trial of it."""
        return self.codes[sources_of(step)]

    def fields(self, step: PlannedStep) -> dict[str, str]:
        return self.of(step).fields()


def scripts_of(step: PlannedStep) -> tuple[str, ...]:
    """The scripts of ours that a step needs."""
    return PARALLEL_SCRIPTS if step.parallel else LAUNCH_SCRIPTS if step.processes is not None else ()


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file of code: the hash of its content, and ``place``, the copy, with what stat says of it."""

    sha256: str
    executable: bool
    place: str
    stat: Stat

    def copy_to(self, target: str) -> None:
        """Copy it, as a file that may be written to. MachineError AZD313 where the copy is not what was taken."""
        self._verify()
        with open(self.place, "rb", buffering=0) as source, open(target, "wb", buffering=0) as file:
            if not clone(source, file):
                while chunk := source.read(CHUNK):
                    write_all(file, chunk)
        os.chmod(target, 0o755 if self.executable else 0o644)

    def read(self) -> bytes:
        """Its content."""
        self._verify()
        return Path(self.place).read_bytes()

    def _verify(self) -> None:
        try:
            if stat_of(os.stat(self.place)) == self.stat or hash_file(Path(self.place)) == self.sha256:
                return
            problem = "was changed"
        except FileNotFoundError:
            problem = "is gone"
        hint = "--resume takes the code anew"
        raise MachineError(f"the run's copy of its code {problem}: {self.place}", code="AZD313", hint=hint)


@dataclass(frozen=True, slots=True)
class StepCode:
    """The code of a step as its run has taken it, by POSIX path. ``archives``: name -> what the folder held that is to
    be zipped.
    """

    files: Mapping[str, CodeFile] = field(default_factory=dict)
    archives: Mapping[str, Mapping[str, CodeFile]] = field(default_factory=dict)

    def fields(self) -> dict[str, str]:
        """What a cache key holds of it: the same as of a :class:`azdistill.snapshot.Snapshot`."""
        archives = {name: f"zip:{tree_digest(_hashes(files))}" for name, files in self.archives.items()}
        executables = dict(executable_field(name) for name, file in self.files.items() if file.executable)
        return _hashes(self.files) | archives | executables

    def lay_out(self, folder: Path, names: Collection[str] | None = None) -> None:
        """Copy it into ``folder``, which is made; of its files only ``names``, where these are given."""
        chosen = self.files if names is None else {name: self.files[name] for name in names}
        for parent in dict.fromkeys(["", *map(os.path.dirname, chosen)]):
            os.makedirs(folder / parent, exist_ok=True)
        for name, file in chosen.items():
            file.copy_to(f"{folder}/{name}")
        for name, members in self.archives.items():
            # Imported here: few components have an archive among their includes.
            import zipfile

            with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
                for member, file in members.items():
                    add_to_archive(archive, f"{Path(name).stem}/{member}", file.read())

    def mentions(self, word: bytes, unless: bytes) -> bool:
        """True where a Python, shell or notebook file holds ``word`` and not ``unless``."""
        texts = (file.read() for name, file in self.files.items() if name.endswith((".py", ".sh", ".ipynb")))
        return any(word in text and unless not in text for text in texts)


def _hashes(files: Mapping[str, CodeFile]) -> dict[str, str]:
    return {name: file.sha256 for name, file in files.items()}


def write_all(file: BinaryIO, chunk: bytes) -> None:
    """Write ``chunk`` to an unbuffered file."""
    unwritten = memoryview(chunk)
    while unwritten:
        unwritten = unwritten[file.write(unwritten) :]


def clone(source: BinaryIO, target: BinaryIO) -> bool:
    """Let the empty ``target`` share the blocks of ``source``; False where that cannot be."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    return True
