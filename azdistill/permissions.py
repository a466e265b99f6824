"""Who may do what with files: nothing that a step leaves lets anybody act as its user, and copies are the user's own.

A step is not trusted with its files' modes. A container without any capability can still mark a copy of a shell
set-user-ID, and on this machine that shell runs as whoever started azdistill.

The state folder, ``./.azdistill`` or where ``AZDISTILL_HOME`` leads, is its user's alone: rows, paid answers and logs
lie in it, and, while a step runs, whatever that writes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from azdistill.trees import walk_files

#: Set-user-ID, set-group-ID and the sticky bit.
SPECIAL = 0o7000
_OTHERS = 0o077
#: What grants rights beside the mode: capabilities of a program, and access lists.
_GRANTS = frozenset({"security.capability", "system.posix_acl_access", "system.posix_acl_default"})
FOLDER = ".azdistill"
#: What azdistill itself keeps there; the folders that a pipeline names lie beside it.
NAMES = (
    "runs",
    "cache",
    "downloads",
    "interpreters",
    "datastores",
    "pulled",
    "hashes.sqlite",
    "seal",
    "starts",
    "submitted.jsonl",
)
#: What may lie in a state folder that says nothing of whose it is.
_KNOWN = frozenset({*NAMES, "hashes.sqlite-journal", "hashes.sqlite-shm", "hashes.sqlite-wal", "answers"})
#: Written into the state folder so that git leaves it alone, as .venv and .ruff_cache do.
_IGNORE = "# Made by azdistill.\n*\n"
_IGNORED_BY = ".gitignore"


def make_private(folder: Path) -> bool:
    """Make a folder that its owner alone may enter, or close one of ours that is there; whether it had to be closed.

    One that cannot be closed stays as it is: :func:`is_open` tells.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        status = folder.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise
        mode = status.st_mode & 0o700
        if not status.st_mode & (SPECIAL | _OTHERS) or status.st_uid != os.geteuid():
            return False
    else:
        # Whatever the umask; and in a folder with the set-group-ID bit a new one has it too.
        mode = 0o700
    with contextlib.suppress(OSError):
        os.chmod(folder, mode)
        return True
    return False


def is_open(folder: Path) -> bool:
    """Whether others than its owner may enter a folder, or would be let in by its name."""
    return bool(folder.stat().st_mode & _OTHERS)


def make_folders(folder: Path) -> None:
    """Make a folder and those above it as the umask says, without the set-group-ID bit of the one that they are in."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        mode = new.stat().st_mode
        if mode & SPECIAL:
            os.chmod(new, mode & 0o777)


def copy_file(source: Path | str, target: Path | str) -> None:
    """Copy content and time. ``target`` is a file of its own, with the rights of a new one: as the umask says, and
    executable where ``source`` is.
    """
    status = os.stat(source)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)
    executable = status.st_mode & 0o111
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if executable else 0o666))
    shutil.copyfile(source, target)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_out(source: Path, target: Path) -> None:
    """Copy a file, or all files of a folder, for the user: what is kept read-only is not read-only there."""
    make_folders(target if source.is_dir() else target.parent)
    for name, path in {"": source}.items() if source.is_file() else walk_files(source):
        copy = target / name if name else target
        make_folders(copy.parent)
        copy_file(path, copy)


def restrict(root: Path, *, usable: bool = False, apart: bool = False, folders: bool = True) -> None:
    """Take the special bits, capabilities and access lists from all that is ours under ``root``, and ``root`` itself.

    ``usable``: and let the owner read, write and enter all of it. ``apart``: files that have other names too become
    copies, as what happens to them would happen there as well. Without ``folders`` these are left as they are. Links
    are never followed.
    """
    for path in _everything(root):
        # A process that has left its step may still be at work there.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(path)
            if _is_ours(status) and (folders or stat.S_ISREG(status.st_mode)):
                _restrict(root, path, status, usable=usable, apart=apart)


def _restrict(root: Path, path: str, status: os.stat_result, *, usable: bool, apart: bool) -> None:
    is_folder, is_file = stat.S_ISDIR(status.st_mode), stat.S_ISREG(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return
    old_mode = stat.S_IMODE(status.st_mode)
    mode = old_mode & ~SPECIAL
    # What cannot be looked into would pass for empty.
    mode |= (0o700 if usable else 0o500) if is_folder else 0o600 if usable else 0
    grants = _grants(path)
    if is_file and status.st_nlink > 1 and (apart or mode != old_mode or grants):
        # A file of its own takes the place of this name.
        copy_file(path, copy := f"{path}.copying")
        os.replace(copy, path)
    elif mode != old_mode or grants:
        _set(root, path, mode, grants)


def _everything(root: Path) -> Iterator[str]:
    """``root`` and all below it; a folder comes before what it holds, so that it may be opened up first."""
    try:
        is_link = stat.S_ISLNK(os.lstat(root).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    yield str(root)
    if is_link:
        return
    for folder, folders, names in os.walk(root, onerror=_raise):
        yield from (os.path.join(folder, name) for name in (*folders, *names))


def _raise(error: OSError) -> None:
    # What is gone meanwhile is no trouble; what cannot be looked into must not pass for looked at.
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _set(root: Path, path: str, mode: int, grants: list[str]) -> None:
    """Change the mode of ``path``, and nothing that a link in its place or on the way to it leads to."""
    if not hasattr(os, "O_PATH"):
        os.chmod(path, mode, follow_symlinks=False)
        return
    way = os.path.relpath(path, root).split("/") if path != str(root) else []
    descriptor = os.open(root, os.O_PATH | os.O_NOFOLLOW)
    try:
        for name in way:
            parent, descriptor = descriptor, os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(parent)
        if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
            itself = f"/proc/self/fd/{descriptor}"
            for grant in grants:
                os.removexattr(itself, grant)
            os.chmod(itself, mode)
    finally:
        os.close(descriptor)


def _grants(path: str) -> list[str]:
    if not hasattr(os, "listxattr"):
        return []
    try:
        return [name for name in os.listxattr(path, follow_symlinks=False) if name in _GRANTS]
    except OSError:
        # A file system without them.
        return []


def _is_ours(status: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or os.geteuid() in (status.st_uid, 0)


def open_state_folder(root: Path) -> None:
    """Make the state folder, or close to others the one that is there. In a folder of the user's own, which holds other
    things too, only what is azdistill's is closed.
    """
    is_whole = _is_state_folder(root)
    if is_whole:
        if make_private(root):
            # An earlier version left what steps made as they made it.
            restrict(root)
        if not (root / _IGNORED_BY).exists():
            (root / _IGNORED_BY).write_text(_IGNORE, encoding="utf-8")
    for name in NAMES:
        folder = root / name
        # A link to a folder for datastores may lead to data that others work with as well.
        if (
            folder.is_dir()
            and (folder.is_symlink() or not is_whole)
            and not (folder.is_symlink() and name == "datastores")
        ):
            make_private(folder)


def exposed(root: Path, places: Iterable[Path] = ()) -> list[str]:
    """What to say of a state folder that others can enter all the same, and of ``places`` in it that lie elsewhere."""
    warnings = []
    if is_open(root):
        mode = stat.S_IMODE(root.stat().st_mode)
        why = "it cannot be closed" if _is_state_folder(root) else "it holds other things too, so it is not closed"
        warnings.append(
            f"others can enter the state folder {root} (mode {mode:04o}; {why}): name another, AZDISTILL_HOME"
        )
    real = root.resolve()
    for place in places:
        if not place.resolve().is_relative_to(real):
            warnings.append(
                f"{place} leads out of the state folder, to {place.resolve()}: who may read it is said there"
            )
    return warnings


def _is_state_folder(root: Path) -> bool:
    """Whether a state folder is azdistill's, and no folder of the user's that holds the state among other things."""
    if root.name == FOLDER or not root.exists():
        return True
    with contextlib.suppress(OSError):
        if (root / _IGNORED_BY).read_text(encoding="utf-8", errors="replace") == _IGNORE:
            return True
    # Nor one that is everybody's, such as /tmp, however empty it is.
    is_shared = root.stat().st_mode & stat.S_ISVTX
    return not is_shared and all(path.name in _KNOWN for path in root.iterdir())
