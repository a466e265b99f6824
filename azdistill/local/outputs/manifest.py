"""A step's outputs: whether they are all there, and the manifest that says what they are.

Links in them are followed when they are kept, so where they lead is looked at first. A step in a container sees few
places of this machine, and none of them by a link: ``/etc/passwd`` in there is not the one out here.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from azdistill import strict_json
from azdistill.aml.models import PRIMITIVES
from azdistill.local.cache.hashes import tree_digest
from azdistill.local.store.durable_files import hash_file, sync, walk_files, write_whole
from azdistill.permissions import copy_file, restrict
from azdistill.trees import Stat, outwait, stat_of

#: Name of a standing output -> relative path -> what stat said.
Seen = Mapping[str, Mapping[str, Stat]]
#: Reads a file's content, or knows its hash.
Hash = Callable[[Path], str]
MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"


class FileMark(NamedTuple):
    """One file of an output, a row in the manifest: what it holds, and what stat said when that was found out.

    Marks of earlier versions lack the last two, without which a file is not known by its stat: anybody may set the time
    of a change to the content.
    """

    sha256: str
    size: int
    mtime_ns: int
    ctime_ns: int = 0
    inode: int = 0

    @property
    def stat(self) -> Stat:
        return self[1:]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a step wrote: output name -> relative path -> mark. A ``uri_file`` has one entry, named ``""``.

    ``standing``: the same of outputs in folders of their own, that other steps and runs may write to as well.
    """

    outputs: dict[str, dict[str, FileMark]]
    standing: dict[str, dict[str, FileMark]] = field(default_factory=dict)

    def content(self, output: str) -> str:
        """The hash of one output's content, by names and bytes; equal contents have equal hashes wherever they lie."""
        return _content({name: mark.sha256 for name, mark in self.outputs[output].items()})

    def content_at(self, output: str, path: Path, hash_of: Hash) -> str:
        """The hash of what an output holds now, at ``path``; of what is as it was written nothing is read."""
        marks = self.outputs[output]
        path.stat()
        return _content(
            {
                name: marks[name].sha256 if name in marks and marks[name].stat == _stat(file) else hash_of(file)
                for name, file in _files(path).items()
            }
        )

    @staticmethod
    def from_json(rows: Any, standing: Any = None) -> Manifest:
        """The manifest with outputs as JSON has them. Raises TypeError, ValueError or AttributeError for other rows."""
        return Manifest(_from_json(rows), _from_json(standing or {}))

    def write(self, folder: Path, durable: bool = True) -> None:
        """Write it, last of all, into ``folder``, with the hash of the metrics that lie there.

        ``durable``: and make sure that both are on disk.
        """
        stored: dict[str, Any] = {"version": 1, "outputs": self.outputs}
        if self.standing:
            stored["standing"] = self.standing
        metrics = folder / METRICS
        if metrics.is_file():
            if durable:
                sync(metrics)
            stored["metrics"] = hash_file(metrics)
        text = strict_json.dumps(stored)
        if durable:
            write_whole(folder / MANIFEST, text)
        else:
            (folder / MANIFEST).write_text(text, encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> Manifest | None:
        """The manifest in ``folder``; None where there is none that can be read, or the metrics are not what it says.

        Manifests of earlier versions say nothing of metrics.
        """
        try:
            stored = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if stored.get("metrics") and hash_file(folder / METRICS) != stored["metrics"]:
                return None
            return Manifest.from_json(stored["outputs"], stored.get("standing"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def matches(self, paths: Mapping[str, Path], hash_of: Hash = hash_file) -> bool:
        """Whether the outputs at ``paths`` still are what was written. Reads only files whose stat has changed, as that
        of a copy has.
        """
        return set(paths) == set(self.outputs) and all(self.has(name, paths[name], hash_of) for name in self.outputs)

    def has(self, output: str, path: Path, hash_of: Hash) -> bool:
        """Whether the output at ``path`` still is what was written."""
        return _has(path, self.outputs[output], hash_of, alone=True)

    def seen_at(self, paths: Mapping[str, Path]) -> Manifest:
        """The same of outputs at ``paths`` of which all but the content was changed, such as who may write to them."""
        return replace(self, outputs={name: _seen(paths[name], files) for name, files in self.outputs.items()})

    def wrote_as(self, manifest: Manifest) -> bool:
        """Whether it says of standing folders what ``manifest`` says."""
        return _contents(self.standing) == _contents(manifest.standing)

    def holds(self, places: Mapping[str, Path], hash_of: Hash = hash_file) -> bool:
        """Whether all that was written to these standing folders is there still; others may have added to them."""
        return all(name in self.standing and _has(path, self.standing[name], hash_of) for name, path in places.items())


def is_file(kind: str) -> bool:
    """Whether an output of this Azure ML type is one file, as values are too (all others are folders)."""
    return kind == "uri_file" or kind in PRIMITIVES


def missing(paths: dict[str, Path], kinds: dict[str, str]) -> list[str]:
    """Names of the outputs that a step has not written: a file that is not there, a folder that is empty."""
    return [name for name, path in paths.items() if not _is_there(path, is_file(kinds[name]))]


def record(
    paths: Mapping[str, Path], standing_places: Mapping[str, Path] | None = None, before: Seen | None = None
) -> Manifest:
    """Hash the outputs and make sure that they are on disk. Links become copies: what is kept stands by itself.

    What lies in ``standing_places`` is left as it is. Of what was there ``before`` (:func:`look_at`), and is so still,
    the manifest says nothing.
    """
    marks = {name: _record(path) for name, path in paths.items()}
    return Manifest(
        marks, {name: _written(path, (before or {}).get(name, {})) for name, path in (standing_places or {}).items()}
    )


def look_at(places: Mapping[str, Path]) -> Seen:
    """What stat says of all that lies in standing folders."""
    return {name: {key: _stat(file) for key, file in _files(path).items()} for name, path in places.items()}


def untouched(places: Mapping[str, Path], before: Seen) -> list[str]:
    """Names of the standing outputs that hold something, and exactly what they held ``before``."""
    return [name for name, files in look_at(places).items() if files and files == before[name]]


def _written(path: Path, before: Mapping[str, Stat]) -> dict[str, FileMark]:
    files = _files(path)
    # A step that found all of it there already, and left it so, relies on all of it.
    changed = {name: file for name, file in files.items() if before.get(name) != _stat(file)} or files
    return {name: _mark(file) for name, file in changed.items()}


def _is_there(path: Path, single: bool) -> bool:
    if single:
        return path.is_file()
    return path.is_dir() and next(walk_files(path), None) is not None


def _record(path: Path) -> dict[str, FileMark]:
    _replace_links(path)
    files = _files(path)
    # What escaped the step may write on: its next write has to show.
    outwait(map(_stat, files.values()))
    marks = {name: _mark(file) for name, file in files.items()}
    for folder, _, _ in os.walk(path):
        sync(Path(folder))
    sync(path.parent)
    return marks


def _files(path: Path) -> dict[str, Path]:
    return {"": path} if path.is_file() else dict(walk_files(path)) if path.is_dir() else {}


def _content(hashes: Mapping[str, str]) -> str:
    return hashes[""] if "" in hashes else tree_digest(hashes)


def _stat(path: Path) -> Stat:
    return stat_of(path.stat())


def _mark(path: Path) -> FileMark:
    sync(path)
    stat = _stat(path)
    return FileMark(hash_file(path), *stat)


def _seen(path: Path, files: dict[str, FileMark]) -> dict[str, FileMark]:
    marks = {name: FileMark(mark.sha256, *_stat(path / name)) for name, mark in files.items()}
    # Of what has another time the content may be another.
    return {name: marks[name] if marks[name].stat[:2] == mark.stat[:2] else mark for name, mark in files.items()}


def _replace_links(root: Path) -> None:
    for link in list(links(root)):
        target = link.resolve(strict=True)
        copy = link.with_name(link.name + ".copying")
        if target.is_dir():
            shutil.copytree(target, copy, copy_function=copy_file)
            # The modes of folders are taken over.
            restrict(copy, usable=True)
        else:
            copy_file(target, copy)
        link.unlink()
        copy.rename(link)


def _has(path: Path, files: dict[str, FileMark], hash_of: Hash, *, alone: bool = False) -> bool:
    """Whether these files are still what they were; ``alone``: and no others lie there."""
    try:
        if alone and (not os.path.lexists(path) or _files(path).keys() != files.keys()):
            return False
        return all(_unchanged(path / name, mark, hash_of) for name, mark in files.items())
    except OSError:
        return False


def _unchanged(path: Path, mark: FileMark, hash_of: Hash) -> bool:
    stat = _stat(path)
    return stat == mark.stat or (stat[0] == mark.size and hash_of(path) == mark.sha256)


def _contents(outputs: dict[str, dict[str, FileMark]]) -> dict[str, dict[str, str]]:
    return {output: {name: mark.sha256 for name, mark in files.items()} for output, files in outputs.items()}


def _from_json(rows: Any) -> dict[str, dict[str, FileMark]]:
    return {output: {name: FileMark(*mark) for name, mark in files.items()} for output, files in rows.items()}


def stray(paths: Mapping[str, Path], within: Collection[Path] | None = None) -> str:
    """What is wrong with the links in outputs (name -> place); empty where nothing is.

    ``within``: the places that the step was given, where it could not see the whole machine.
    """
    visible = None if within is None else [place.resolve() for place in within]
    for name, path in paths.items():
        for link in links(path):
            if problem := _wrong(link, visible):
                relative = os.path.relpath(link, path.parent)
                return f"output '{name}' holds a link, {relative} -> {os.readlink(link)}, {problem}"
    return ""


def links(root: Path) -> Iterator[Path]:
    """Every link under ``root``, and ``root`` if it is one; what a link leads to is not looked into."""
    if root.is_symlink():
        yield root
        return
    for folder, folders, names in os.walk(root):
        yield from (path for name in (*folders, *names) if (path := Path(folder, name)).is_symlink())


def is_own(path: Path, folder: Path) -> bool:
    """Whether ``path`` lies in ``folder`` when all links are followed."""
    return path.resolve().is_relative_to(folder.resolve())


def _wrong(link: Path, visible: Iterable[Path] | None) -> str:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return "that leads nowhere"
    if visible is not None and not any(target.is_relative_to(place) for place in visible):
        return "that leads out of what the step was given: in its container it stood for another file"
    return "that leads back to a folder around it: a copy would have no end" if _is_endless(link, target) else ""


def _is_endless(link: Path, target: Path) -> bool:
    """Whether what ``link`` leads to, links in there followed too, leads back to a folder that is being copied."""
    around = {str(folder) for folder in (link.parent.resolve() / link.name).parents}
    finished: set[str] = set()
    # A folder comes up a second time, with True, when all that it holds is done.
    todo = [(str(target), False)] if target.is_dir() else []
    while todo:
        folder, is_done = todo.pop()
        if is_done:
            around.discard(folder)
            finished.add(folder)
        elif folder in around:
            return True
        elif folder not in finished:
            around.add(folder)
            todo.append((folder, True))
            todo += [(os.path.realpath(subfolder), False) for subfolder in _folders(folder)]
    return False


def _folders(folder: str) -> list[str]:
    try:
        return [path for name in os.listdir(folder) if os.path.isdir(path := os.path.join(folder, name))]
    except PermissionError:
        # Copying it says so.
        return []
