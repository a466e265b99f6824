"""A component's code as Azure would take it: the ``code`` folder without what is ignored, includes laid beside its
files.

Rules, read from azure-ai-ml's ``ComponentIgnoreFile`` and ``AdditionalIncludes``: ``.amlignore``, or else
``.gitignore``, of the code folder is applied to the whole snapshot; ``__pycache__`` never travels; ignore files of
inner folders count only where a component has additional includes; an include ``x.zip`` that does not exist while a
folder ``x`` does is that folder, zipped. Our own state folder never travels either,
whatever its name.

Code stays in its project: the git repository around the file that names it; where there is none, the nearest folder
with an ``azdistill.yml`` or a ``pyproject.toml``; where there is none of these either, the folder of the file that was
given to azdistill. Nothing says that this one is a project, so a file in it may name what lies near it: it may be of an
unpacked archive of a repository.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from azdistill.errors import UserError
from azdistill.trees import hash_file, tree_digest, walk_files

if TYPE_CHECKING:
    from zipfile import ZipFile

    from pathspec import PathSpec


#: Where the code is the project itself, the state folder lies in it: each run would hold a copy of all before it, and
#: be new to the cache.
_NEVER = frozenset({"__pycache__", ".azdistill"})
#: What a state folder of another name holds, and one of which it has: the secret of its keys lies in it.
_STATE_FOLDERS, _STATE_FILES = frozenset({"runs", "cache"}), frozenset({"seal", "hashes.sqlite"})
_MARKS = ("azdistill.yml", "pyproject.toml")
#: The components of azdistill itself, which every project may use: in an installed package, and in a checkout.
_PACKAGE = Path(os.path.realpath(__file__)).parent
_OURS = (_PACKAGE / "_data", *(_PACKAGE.parent / name for name in ("components", "environments", "pipelines")))


class StrayLink(UserError):
    """A link in code leads out of the project, or in a ring."""


class Hashing(Protocol):
    """What knows content hashes; one may remember them, as local runs do."""

    def file(self, path: Path) -> str:
        """sha256 (hex) of a file's content."""

    def tree(self, root: Path) -> str:
        """One hash over the names and contents of all files under ``root``."""


class Reading(Hashing):
    """Hashes by reading, each time."""

    def file(self, path: Path) -> str:
        return hash_file(path)

    def tree(self, root: Path) -> str:
        return tree_digest({name: hash_file(path) for name, path in walk_files(root)})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A component's files by POSIX path in the snapshot. ``zipped`` maps an archive's name to the folder in it."""

    files: dict[str, Path]
    zipped: dict[str, Path]

    def hashes(self, hashes: Hashing) -> dict[str, str]:
        """The content hash of every file; of an archive, the hash of what it holds."""
        files = {name: hashes.file(path) for name, path in self.files.items()}
        return files | {name: f"zip:{hashes.tree(folder)}" for name, folder in self.zipped.items()}

    def executables(self) -> dict[str, str]:
        """The fields of the files that are executable."""
        return dict(executable_field(name) for name, path in self.files.items() if is_executable(path))

    def tree_hash(self, hashes: Hashing) -> str:
        """One hash over all names and contents."""
        return tree_digest(self.hashes(hashes))

    def lay_out(self, folder: Path) -> None:
        """Copy the files into ``folder``, which is made, keeping which of them are executable."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in self.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            os.chmod(target, 0o755 if is_executable(source) else 0o644)
        for name, source in self.zipped.items():
            _zip(source, folder / name)

    def mentions(self, word: bytes, unless: bytes) -> bool:
        """True where a Python, shell or notebook file holds ``word`` and not ``unless``."""
        texts = (path.read_bytes() for name, path in self.files.items() if name.endswith((".py", ".sh", ".ipynb")))
        return any(word in text and unless not in text for text in texts)


def take(code: Path | None, includes: Iterable[Path] = (), *, base: Path) -> Snapshot:
    """The snapshot of a component whose YAML lies in ``base``. Raises UserError for what is missing or leaves the
    project.
    """
    includes = list(includes)
    if not (code or includes):
        return Snapshot({}, {})
    root = root_of(base)
    ignored = _Ignored(code if code and code.is_dir() else base, nested=bool(includes))
    files: dict[str, Path] = {}
    zipped: dict[str, Path] = {}
    if code:
        inside = (root, Path(os.path.realpath(code)))
        files |= _folder(code, "", ignored, inside) if code.is_dir() else _file(code, code.name, ignored, inside)
    for include in includes:
        name = include.name
        if include.suffix == ".zip" and not include.exists() and include.with_suffix("").is_dir():
            zipped[name] = include.with_suffix("")
            for _, path in walk_files(include.with_suffix("")):
                _refuse_leaving(path, (root, include.with_suffix("")))
        elif include.is_dir():
            files |= _folder(include, f"{name}/", ignored, (root, Path(os.path.realpath(include))))
        else:
            files |= _file(include, name, ignored, (root,))
    return Snapshot(dict(sorted(files.items())), dict(sorted(zipped.items())))


class _Ignored:
    """Which paths of the snapshot do not travel."""

    def __init__(self, folder: Path, *, nested: bool) -> None:
        self._nested = nested
        self._specs: list[tuple[str, PathSpec[Any]]] = []
        self._left_out: tuple[str, ...] = ()
        self._read(folder, "")

    def enter(self, folder: Path, prefix: str) -> None:
        """Take an inner folder's own ignore file into account."""
        if self._nested and prefix:
            self._read(folder, prefix)

    def leave_out(self, prefix: str) -> None:
        """Let nothing travel whose name begins so."""
        self._left_out += (prefix,)

    def __contains__(self, name: str) -> bool:
        if name.startswith(self._left_out) or not _NEVER.isdisjoint(PurePosixPath(name).parts):
            return True
        return any(name.startswith(prefix) and spec.match_file(name[len(prefix) :]) for prefix, spec in self._specs)

    def _read(self, folder: Path, prefix: str) -> None:
        for name in (".amlignore", ".gitignore"):
            if (folder / name).is_file():
                # Imported here: most components have no ignore file.
                from pathspec import PathSpec

                lines = (folder / name).read_text(encoding="utf-8-sig").splitlines()
                self._specs.append((prefix, PathSpec.from_lines("gitignore", [line.rstrip() for line in lines])))
                return


def _folder(folder: Path, prefix: str, ignored: _Ignored, inside: tuple[Path, ...]) -> dict[str, Path]:
    """The files of a folder by their names in the snapshot."""
    for place, folders, names in os.walk(folder, followlinks=False):
        relative = Path(place).relative_to(folder).as_posix()
        where = prefix if relative == "." else f"{prefix}{relative}/"
        if where and _STATE_FOLDERS.issubset(folders) and not _STATE_FILES.isdisjoint(names):
            ignored.leave_out(where)
        ignored.enter(Path(place), where)
    files: dict[str, Path] = {}
    for name, path in walk_files(folder):
        files |= _file(path, prefix + name, ignored, inside)
    return files


def _file(path: Path, name: str, ignored: _Ignored, inside: tuple[Path, ...]) -> dict[str, Path]:
    """One file by its name in the snapshot; nothing where that is ignored."""
    if name in ignored:
        return {}
    if path.is_symlink() and not path.exists():
        hint = "take it away, or name it in .amlignore"
        raise StrayLink(f"{path} is a link that leads to nothing: {os.readlink(path)}", code="AZD321", hint=hint)
    if not path.is_file():
        raise UserError(f"{path} does not exist", code="AZD320", hint="it is named by 'code' or 'additional_includes'")
    _refuse_leaving(path, inside)
    return {name: path}


def _refuse_leaving(path: Path, inside: tuple[Path, ...]) -> None:
    """Raise AZD321 for a link to somewhere outside of the folders ``inside``, the first of which is the project."""
    real = os.path.realpath(path)
    if real != os.path.abspath(path) and all(leaves(path, folder) for folder in inside):
        hint = f"it leads to {real}: copy that into the project, or name the link in .amlignore"
        raise StrayLink(f"{path} is a link that leaves the project ({inside[0]})", code="AZD321", hint=hint)


def is_executable(path: Path) -> bool:
    """Whether a file is laid out as one that can be executed."""
    return os.access(path, os.X_OK)


def executable_field(name: str) -> tuple[str, str]:
    """What says in a cache key that the file ``name`` is executable: no file is called so where ``name`` is one."""
    return f"{name}/executable", "yes"


def _zip(folder: Path, target: Path) -> None:
    # Imported here: few components have an archive among their includes.
    import zipfile

    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in walk_files(folder):
            add_to_archive(archive, f"{folder.name}/{name}", path.read_bytes())


def add_to_archive(archive: ZipFile, name: str, content: bytes) -> None:
    """Add a file to the archive that an include becomes."""
    from zipfile import ZipInfo

    # A fixed date: the archive depends on contents alone.
    archive.writestr(ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def root_of(folder: Path, start: Path | None = None) -> Path:
    """The project of a file in ``folder``; ``start`` is the folder of the file that led there."""
    folder = Path(os.path.realpath(folder))
    for marks in ((".git",), _MARKS):
        for root in (folder, *folder.parents):
            if any(os.path.exists(root / mark) for mark in marks):
                return root
    if folder.is_relative_to(_OURS[0]):
        return _OURS[0]
    return start if start and folder.is_relative_to(start) else folder


def is_marked(root: Path) -> bool:
    """Whether something says that ``root`` is a project."""
    return root == _OURS[0] or any(os.path.exists(root / mark) for mark in (".git", *_MARKS))


def is_near(path: Path, root: Path) -> bool:
    """Whether a folder that holds ``path``, its links followed, and ``root`` is less than somebody's whole disk: the
    root of the file system, a home, the folder for temporary files.
    """
    # Imported here: few files name what lies outside.
    import tempfile

    shared = Path(os.path.commonpath((os.path.realpath(path), root)))
    homes = (Path.home(), tempfile.gettempdir())
    return not any(Path(os.path.realpath(folder)).is_relative_to(shared) for folder in homes)


def leaves(path: Path, root: Path) -> bool:
    """Whether ``path``, its links followed, lies neither in the project ``root`` nor among azdistill's own files."""
    real = Path(os.path.realpath(path))
    return not any(real.is_relative_to(folder) for folder in (root, *_OURS))
