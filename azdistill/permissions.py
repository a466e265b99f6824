"""Who may do what with files: nothing that a step leaves lets anybody act as its user, and copies are the user's own.

A step is not trusted with its files' modes. A container without any capability can still mark a copy of a shell
set-user-ID, and on this machine that shell runs as whoever started azdistill.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from azdistill.trees import walk_files

#: Set-user-ID, set-group-ID and the sticky bit.
SPECIAL = 0o7000
_OTHERS = 0o077
#: What grants rights beside the mode: capabilities of a program, and access lists.
_GRANTS = frozenset({"security.capability", "system.posix_acl_access", "system.posix_acl_default"})


def make_private(folder: Path) -> bool:
    """Make a folder that its owner alone may enter, or close one of ours that is there; whether it had to be closed.

    One that cannot be closed stays as it is: :func:`is_open` tells.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise
        mode = found.st_mode & 0o700
        if not found.st_mode & (SPECIAL | _OTHERS) or found.st_uid != os.geteuid():
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
    for made in reversed(missing):
        made.mkdir(exist_ok=True)
        mode = made.stat().st_mode
        if mode & SPECIAL:
            os.chmod(made, mode & 0o777)


def copy_file(source: Path | str, target: Path | str) -> None:
    """Copy content and time. ``target`` is a file of its own, with the rights of a new one: as the umask says, and
    executable where ``source`` is.
    """
    found = os.stat(source)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)
    executable = found.st_mode & 0o111
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if executable else 0o666))
    shutil.copyfile(source, target)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


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
            found = os.lstat(path)
            if _is_ours(found) and (folders or stat.S_ISREG(found.st_mode)):
                _restrict(root, path, found, usable=usable, apart=apart)


def _restrict(root: Path, path: str, found: os.stat_result, *, usable: bool, apart: bool) -> None:
    is_folder, is_file = stat.S_ISDIR(found.st_mode), stat.S_ISREG(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        return
    mode = stat.S_IMODE(found.st_mode)
    wanted = mode & ~SPECIAL
    # What cannot be looked into would pass for empty.
    wanted |= (0o700 if usable else 0o500) if is_folder else 0o600 if usable else 0
    grants = _grants(path)
    if is_file and found.st_nlink > 1 and (apart or wanted != mode or grants):
        _part(path)
    elif wanted != mode or grants:
        _set(root, path, wanted, grants)


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


def _part(path: str) -> None:
    beside = f"{path}.copying"
    copy_file(path, beside)
    os.replace(beside, path)


def _set(root: Path, path: str, mode: int, grants: list[str]) -> None:
    """Change the mode of ``path``, and nothing that a link in its place or on the way to it leads to."""
    if not hasattr(os, "O_PATH"):
        os.chmod(path, mode, follow_symlinks=False)
        return
    way = os.path.relpath(path, root).split("/") if path != str(root) else []
    descriptor = os.open(root, os.O_PATH | os.O_NOFOLLOW)
    try:
        for name in way:
            inner = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
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


def _is_ours(found: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or os.geteuid() in (found.st_uid, 0)
