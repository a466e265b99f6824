"""Puts a pipeline's outputs where ``--out`` says, replacing only what an earlier run put there.

Beside each output lies ``.<name>.azdistill-output``, which says what was delivered. A file or folder that has none, or
that was changed since, belongs to the user: it is refused before the run starts, never overwritten.

Runs may deliver into one folder at the same time: what lies there is only looked at and replaced by the one that has
the folder's lock, so that the last of them wins as a whole, as it would if they had come one after the other.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from azdistill import strict_json
from azdistill.errors import MachineError, UserError
from azdistill.local.outputs.manifest import Manifest, record
from azdistill.local.store.durable_files import disk_errors, lock, remove_tree, write_whole
from azdistill.local.store.process_marks import from_name, in_name, is_abandoned, own_mark
from azdistill.permissions import copy_out, make_folders, restrict

_BUILDING = ".azdistill-tmp"


@dataclass(frozen=True, slots=True)
class _Delivered:
    """What a marker says lies at ``path``."""

    path: Path
    manifest: Manifest

    def is_there(self, name: str) -> bool:
        return self.path.exists() and self.manifest.matches({name: self.path})

    def holds(self, name: str, content: str | None) -> bool:
        return name in self.manifest.outputs and self.manifest.content(name) == content and self.is_there(name)


def refuse_foreign(out: Path, names: Iterable[str], files: Mapping[str, str] | None = None) -> None:
    """Raise a UserError where delivering outputs of these names would overwrite something that is not ours. ``files``:
    the names that they will have in ``out``, of those of which that is another and known.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file", code="AZD350")
    if not out.exists():
        return
    with _locked(out):
        for name in names:
            deliveries = _delivered(out, name)
            for path in {out / (files or {}).get(name, name), *(delivered.path for delivered in deliveries)}:
                _refuse_foreign(path, name, deliveries)


def deliver(
    out: Path, outputs: Mapping[str, Path], contents: Mapping[str, str] | None = None, *, move: bool = False
) -> dict[str, str]:
    """Copy ``outputs`` into ``out``: a folder as ``out/<name>/``, a file as ``out/<name>`` and its extension if it has
    one. What lies there with these ``contents`` (:meth:`Manifest.content`) is left. ``move``: they are on the same
    disk and nobody needs them where they are.
    """
    with disk_errors(f"cannot write to --out {out}", hint="free some space there, or choose another folder"):
        make_folders(out)
        arrivals = [
            _Output(
                name,
                path,
                out / delivered_name(name, path, path.is_file()),
                _aside(out, name),
                (contents or {}).get(name),
            )
            for name, path in outputs.items()
        ]
        try:
            # Copied before the lock is taken: others would wait for as long as that takes.
            for each in _outdated(out, arrivals):
                each.build(move)
            with _locked(out):
                for each in arrivals:
                    each.put(move)
        finally:
            for path in [path for each in arrivals for path in (each.building, *each.replaced)]:
                if os.path.lexists(path):
                    remove_tree(path)
        return {each.name: str(each.target) for each in arrivals}


def altered(name: str) -> MachineError:
    """The error for an output that is not what its step had written."""
    message = f"output '{name}' was changed after the step that made it had ended"
    hint = "run it again, which makes it anew; a program that the step left behind may write to it"
    return MachineError(message, code="AZD352", hint=hint)


def delivered_name(name: str, path: Path, is_file: bool) -> str:
    """What an output that lies at ``path`` is called in ``--out``."""
    return name + path.suffix if is_file else name


def withdraw(out: Path, names: Iterable[str]) -> None:
    """Remove what an earlier run delivered of outputs that this one does not give out: it would pass for this run's.

    What was changed since is the user's, and stays.
    """
    if not out.exists():
        return
    with disk_errors(f"cannot write to --out {out}"), _locked(out):
        for name in names:
            deliveries = _delivered(out, name)
            gone = {_aside(out, name): path for path in _standing(deliveries, name)}
            for aside, path in gone.items():
                path.rename(aside)
            if deliveries:
                _marker(out, name).unlink(missing_ok=True)
            for aside in gone:
                remove_tree(aside)


def delivered(out: Path, name: str, files: Mapping[str, str]) -> Path | None:
    """Where ``out`` holds an output of exactly these files (relative path -> sha256) already; else None."""
    for each in _delivered(out, name):
        hashes = {path: mark.sha256 for path, mark in each.manifest.outputs.get(name, {}).items()}
        if hashes == dict(files) and each.is_there(name):
            return each.path
    return None


@dataclass(slots=True)
class _Output:
    """An output on its way from ``source`` by way of ``building`` to ``target``."""

    name: str
    source: Path
    target: Path
    building: Path
    content: str | None
    manifest: Manifest | None = None
    #: Where what was there before it lies until it is removed, and where it was.
    replaced: dict[Path, Path] = field(default_factory=dict)

    def build(self, move: bool) -> Manifest:
        if move:
            self.source.rename(self.building)
            restrict(self.building)
        else:
            copy_out(self.source, self.building)
        self.manifest = record({self.name: self.building})
        copied = self.manifest.content(self.name)
        if self.content not in (None, copied):
            raise altered(self.name)
        self.content = copied
        return self.manifest

    def is_current(self, deliveries: list[_Delivered]) -> bool:
        return any(each.path == self.target and each.holds(self.name, self.content) for each in deliveries)

    def put(self, move: bool) -> None:
        """Replace what is there by this one; the folder is locked."""
        out, name = self.target.parent, self.name
        if self.is_current(_delivered(out, name)):
            return
        # Not built yet: it was there already, and another run has put its own in that place since.
        new = _Delivered(self.target, self.manifest or self.build(move))
        before = _delivered(out, name)
        current = _standing(before, name)
        if self.target not in current and os.path.lexists(self.target):
            _refuse_changed(self.target)
        # Both are named while one replaces the other: a kill in between leaves nothing that the next run takes for
        # foreign. Nor does it leave a half of either.
        _mark(out, name, [*before, new])
        self.replaced = {_aside(out, name): path for path in current}
        try:
            for aside, path in self.replaced.items():
                # Where nothing can be locked, another run may be at it too.
                with contextlib.suppress(FileNotFoundError):
                    path.rename(aside)
            _put(self.building, self.target)
        except BaseException:
            for aside, path in self.replaced.items():
                if os.path.lexists(aside) and not os.path.lexists(path):
                    aside.rename(path)
            raise
        # Its new name is a change of a file, as stat tells it.
        _mark(out, name, [_Delivered(self.target, new.manifest.seen_at({name: self.target}))])


def _outdated(out: Path, arrivals: list[_Output]) -> list[_Output]:
    """Those that are not there yet. Raises UserError where what is there is the user's."""
    outdated = []
    with _locked(out):
        for each in arrivals:
            _sweep(out, each.name)
            deliveries = _delivered(out, each.name)
            _refuse_foreign(each.target, each.name, deliveries)
            if not each.is_current(deliveries):
                outdated.append(each)
    return outdated


def _put(building: Path, target: Path) -> None:
    try:
        building.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _refuse_changed(target)


def _refuse_changed(target: Path) -> NoReturn:
    message, hint = f"{target} was changed by another run or program meanwhile", "give each run a folder with --out"
    raise UserError(message, code="AZD351", hint=hint) from None


def _standing(deliveries: list[_Delivered], name: str) -> list[Path]:
    """What lies there as it was delivered."""
    return list({each.path: None for each in deliveries if each.is_there(name)})


def _aside(out: Path, name: str) -> Path:
    """A place in ``out`` for what is on its way; see :func:`_sweep`."""
    return out / f".{name}.{in_name(own_mark())}.{uuid.uuid4().hex[:8]}{_BUILDING}"


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep other runs away from what is delivered to ``out``, where the file system knows locks."""
    with contextlib.ExitStack() as stack:
        # The folder itself is what is locked: a file of its own would have to stay among the user's.
        with contextlib.suppress(OSError):
            handle = os.open(out, os.O_RDONLY)
            stack.callback(os.close, handle)
            lock(handle, wait=True)
        yield


def _sweep(out: Path, name: str) -> None:
    """Remove what a run that was killed has left half built."""
    for folder in out.iterdir():
        head, tail = f".{name}.", folder.name.removesuffix(_BUILDING)
        if not folder.name.startswith(head) or tail == folder.name:
            continue
        mark = tail.removeprefix(head).partition(".")[0]
        if mark[:1].isdigit() and is_abandoned(from_name(mark), folder):
            remove_tree(folder)


def _refuse_foreign(path: Path, name: str, deliveries: list[_Delivered]) -> None:
    # A link that leads nowhere, to a disk that is not mounted say, is the user's too.
    if os.path.lexists(path) and not any(
        delivered.path == path and delivered.is_there(name) for delivered in deliveries
    ):
        raise UserError(
            f"{path} was not made by azdistill, or has been changed since",
            code="AZD351",
            hint="move it away, or choose another folder with --out",
        )


def _marker(out: Path, name: str) -> Path:
    return out / f".{name}.azdistill-output"


def _delivered(out: Path, name: str) -> list[_Delivered]:
    try:
        stored = json.loads(_marker(out, name).read_text(encoding="utf-8"))["delivered"]
        return [_Delivered(out / _name(each["path"]), Manifest.from_json(each["manifest"])) for each in stored]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _name(path: str) -> str:
    """What a marker says lies beside it, and nowhere else. Raises ValueError."""
    if path in ("", ".", "..") or os.path.basename(path) != path:
        raise ValueError(f"{path} leads out of the folder")
    return path


def _mark(out: Path, name: str, delivered: list[_Delivered]) -> None:
    rows = [{"path": each.path.name, "manifest": each.manifest.outputs} for each in delivered]
    write_whole(_marker(out, name), strict_json.dumps({"version": 1, "delivered": rows}))
