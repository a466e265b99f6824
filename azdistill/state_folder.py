"""The state folder, ``./.azdistill`` or where ``AZDISTILL_HOME`` leads: made here, for its user alone.

Rows, paid answers and logs lie in it, and, while a step runs, whatever that writes.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable
from pathlib import Path

from azdistill.permissions import is_open, make_private, restrict

FOLDER = ".azdistill"
#: What azdistill itself keeps there; the folders that a pipeline names lie beside it.
NAMES = ("runs", "cache", "downloads", "interpreters", "datastores", "pulled", "hashes.sqlite", "submitted.jsonl")
#: What may lie in a state folder that says nothing of whose it is.
_KNOWN = frozenset({*NAMES, "hashes.sqlite-journal", "hashes.sqlite-shm", "hashes.sqlite-wal", "answers"})
#: Written into the state folder so that git leaves it alone, as .venv and .ruff_cache do.
_IGNORE = "# Made by azdistill.\n*\n"
_IGNORED_BY = ".gitignore"


def open_state_folder(root: Path) -> None:
    """Make the state folder, or close to others the one that is there. In a folder of the user's own, which holds other
    things too, only what is azdistill's is closed.
    """
    ours = _is_ours(root)
    if ours:
        if make_private(root):
            # An earlier version left what steps made as they made it.
            restrict(root)
        if not (root / _IGNORED_BY).exists():
            (root / _IGNORED_BY).write_text(_IGNORE, encoding="utf-8")
    for name in NAMES:
        folder = root / name
        # A link to a folder for datastores may lead to data that others work with as well.
        if folder.is_dir() and (folder.is_symlink() or not ours) and not (folder.is_symlink() and name == "datastores"):
            make_private(folder)


def exposed(root: Path, places: Iterable[Path] = ()) -> list[str]:
    """What to say of a state folder that others can enter all the same, and of ``places`` in it that lie elsewhere."""
    found = []
    if is_open(root):
        mode = stat.S_IMODE(root.stat().st_mode)
        why = "it cannot be closed" if _is_ours(root) else "it holds other things too, so it is not closed"
        found.append(f"others can enter the state folder {root} (mode {mode:04o}; {why}): name another, AZDISTILL_HOME")
    real = root.resolve()
    for place in places:
        if not place.resolve().is_relative_to(real):
            found.append(f"{place} leads out of the state folder, to {place.resolve()}: who may read it is said there")
    return found


def _is_ours(root: Path) -> bool:
    """Whether a state folder is azdistill's, and no folder of the user's that holds the state among other things."""
    if root.name == FOLDER or not root.exists():
        return True
    with contextlib.suppress(OSError):
        if (root / _IGNORED_BY).read_text(encoding="utf-8", errors="replace") == _IGNORE:
            return True
    # Nor one that is everybody's, such as /tmp, however empty it is.
    is_shared = root.stat().st_mode & stat.S_ISVTX
    return not is_shared and all(path.name in _KNOWN for path in root.iterdir())
