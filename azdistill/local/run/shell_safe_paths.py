"""Paths as a command can hold them.

No path of data on Azure ML holds a space or anything else that a shell reads, so YAML written for it seldom quotes
``${{inputs.x}}``. A project on this machine may lie anywhere: where its path would not survive the place it stands at,
the command gets one that leads over a link, in a folder of the user's own under the system's folder for temporary
files. A link is named by what it points to, so there is one for each such folder, however often it is used.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path

from azdistill.aml import expressions
from azdistill.aml.quoting import NESTED, PLAIN, UNQUOTED, contexts
from azdistill.permissions import make_private

#: What stays what it is between quotes of either kind.
_QUOTED = re.compile(r"[^'\"$`\\\x00-\x1f\ud800-\udfff]+")
_NAME = re.compile(r"[^\w.-]+", re.ASCII)


def speller(command: str) -> Callable[[expressions.Reference, str], str]:
    """Gives a path as ``command`` can hold it where a reference stands."""
    found = contexts(expressions.parse(command))
    bare = {reference.position for reference, where in found if where in (UNQUOTED, NESTED)}

    def spell(reference: expressions.Reference, path: str) -> str:
        fits = PLAIN if reference.position in bare else _QUOTED
        return path if fits.fullmatch(path) else word(path)

    return spell


def word(path: str) -> str:
    """``path``, or one over a link to the same place, spelt so that a shell takes it for one word."""
    head, tail = path, ""
    while not PLAIN.fullmatch(head):
        above, _, name = head.rpartition("/")
        if not PLAIN.fullmatch(name):
            return _link(head) + tail
        # The link is as far up as can be: programs treat a folder and a link to one differently.
        head, tail = above, f"/{name}{tail}"
    return path


def _link(target: str) -> str:
    name = _NAME.sub("_", os.path.basename(target))[-80:]
    link = _folder() / f"{hashlib.sha256(os.fsencode(target)).hexdigest()[:12]}-{name}"
    if not link.is_symlink() or os.readlink(link) != target:
        fresh = link.with_name(f".{uuid.uuid4().hex}")
        fresh.symlink_to(target)
        fresh.replace(link)
    return str(link)


@cache
def _folder() -> Path:
    base = next(place for place in (tempfile.gettempdir(), "/tmp") if PLAIN.fullmatch(place) or place == "/tmp")
    folder = Path(base, f"azdistill-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        # The links in it name the user's projects.
        make_private(folder)
        _sweep(folder)
        return folder
    # Somebody else made it: what lies there cannot be trusted.
    return Path(tempfile.mkdtemp(prefix="azdistill-", dir=base))


def _sweep(folder: Path) -> None:
    """Remove links to what is no longer there."""
    for link in folder.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)
