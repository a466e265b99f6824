"""What links in a step's data lead to, so that its container sees it too: mounted where they lead to in there.

Only links that are the user's count. One that lies in a state folder may have been left by a container, and what it
leads to in there is not what it leads to here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from azdistill.errors import UserError
from azdistill.local.store.home import FOLDER, Home

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
    return {Path(inside): Path(here) for inside, here in search.found.items()}


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
            inside, here, above = todo.pop()
            for link in _links(here):
                target = self._add(link, inside + link[len(here) :], above)
                if target and os.path.isdir(real := self.found[target]):
                    todo.append((target, real, above | {real}))

    def _add(self, link: str, inside: str, above: frozenset[str]) -> str | None:
        """Note what ``link`` leads to, and say where that lies in the container, unless it is seen there anyway."""
        try:
            here, target = _follow(link, _own_text), _follow(inside, self._text)
        except (OSError, _Ours):
            return None
        # What leads nowhere, or round in a ring, is not counted as data either.
        if not os.path.exists(here) or here in above or f"{target}/".startswith(_PROGRAMS):
            return None
        known = self._here(target)
        if known is None:
            self._seen[target] = self.found[target] = here
            return target
        if os.path.realpath(known) != here:
            message = f"the link {link} leads to {here}, and in a container to {known}"
            raise UserError(message, code="AZD399", hint="put a copy in its place, or make it an absolute link")
        return None

    def _here(self, inside: str) -> str | None:
        """What lies at a place of the container; None for what is not of this machine."""
        above = inside
        while above not in self._seen:
            if above == "/":
                return None
            above = os.path.dirname(above)
        return self._seen[above] + inside[len(above) :]

    def _text(self, inside: str) -> str | None:
        here = self._here(inside)
        return os.readlink(here) if here and os.path.islink(here) else None


def _links(folder: str) -> Iterator[str]:
    """Every link under a folder, without those of a state folder."""
    for above, folders, names in os.walk(folder):
        if _is_state(above):
            folders.clear()
            continue
        yield from (path for name in (*folders, *names) if os.path.islink(path := os.path.join(above, name)))


def _follow(path: str, text_at: Callable[[str], str | None]) -> str:
    """Where ``path`` leads; ``text_at`` says what the link at a place holds, None where there is none."""
    at, todo, met = "/", path.split("/")[::-1], 0
    while todo:
        name = todo.pop()
        if name == "..":
            at = os.path.dirname(at)
        elif name not in ("", "."):
            text = text_at(there := os.path.join(at, name))
            if text is None:
                at = there
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
