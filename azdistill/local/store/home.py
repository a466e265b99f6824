"""Where local state lives: ``./.azdistill``, or the folder that ``AZDISTILL_HOME`` names."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from azdistill.errors import MachineError
from azdistill.local.store.durable_files import disk_errors
from azdistill.permissions import FOLDER as FOLDER
from azdistill.permissions import exposed, make_private, open_state_folder

#: Of a dry run, where what a run would fetch is said to be. Nothing ever is.
AWAITED = "awaited"
#: Why a folder cannot be made though the disk would take it.
_NO_PLACE = frozenset({errno.EEXIST, errno.ENOENT, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class Home:
    """The state folder and the places in it (docs/contributing/store.md). ``looking``: nothing is written."""

    root: Path
    looking: bool = False

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def answers(self) -> Path:
        """The teacher's answers, which no run pays for twice."""
        return self.root / "answers"

    @property
    def code(self) -> Path:
        return self.cache / "code"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def hashes(self) -> Path:
        return self.root / "hashes.sqlite"

    @property
    def seal(self) -> Path:
        return self.root / "seal"

    @property
    def starts(self) -> Path:
        """How many runs were started here."""
        return self.root / "starts"

    def awaits(self, path: Path) -> bool:
        """Whether a run would fetch the file at ``path`` before its first step; so far nobody has."""
        return self.looking and path.parent.name == AWAITED and path.is_relative_to(self.downloads)

    def exposed(self, places: Iterable[Path]) -> list[str]:
        """What to say where others can read what is kept here, or in ``places`` that lead out of it."""
        return exposed(self.root, places)

    def prepare(self, places: Iterable[Path] = ()) -> Home:
        """Make the folders, for the user alone, and those that hold ``places``; a MachineError where that
        cannot be.
        """
        doing, folders = f"cannot write the state folder {self.root}", (self.runs, self.cache, self.cache / "tmp")
        for folder in folders:
            _refuse_lost(folder, doing)
        with disk_errors(doing, also=_NO_PLACE):
            open_state_folder(self.root)
            ways = [place.relative_to(self.root).parts for place in places if place.is_relative_to(self.root)]
            # Of the places the folders directly in the state folder that they lie in.
            for folder in (*folders, *{self.root / way[0] for way in ways if len(way) > 1}):
                make_private(folder)
        return self

    def standing(self, uri_path: str, datastore: str) -> Path:
        """The local folder of a standing output on ``datastore`` (docs/contributing/local-runner.md)."""
        if uri_path == "azdistill" or uri_path.startswith("azdistill/"):
            return self.root / uri_path.removeprefix("azdistill").lstrip("/")
        return self.root / "datastores" / datastore / uri_path


def _refuse_lost(folder: Path, doing: str) -> None:
    """Raise for a link on the way to ``folder`` that leads nowhere: a disk that is not mounted, as a rule."""
    for path in (folder, *folder.parents):
        if os.path.islink(path) and not os.path.exists(path):
            hint = "make what it leads to, take it away, or name another folder with AZDISTILL_HOME"
            message = f"{doing}: {path} is a link that leads to nothing: {os.readlink(path)}"
            raise MachineError(message, code="AZD310", hint=hint)


def refuse_unwritable(*places: Path | None) -> None:
    """Raise a MachineError for a path that is no UTF-8: no record of a run could name it."""
    for place in places:
        path = str(place or "")
        try:
            path.encode()
        except UnicodeEncodeError:
            message = f"the path {os.fsencode(path).decode('utf-8', 'backslashreplace')} is not UTF-8"
            hint = "rename it, or work elsewhere; AZDISTILL_HOME moves the state folder"
            raise MachineError(message, code="AZD314", hint=hint) from None


def find_home() -> Home:
    """The state folder of this process (absolute, as steps run elsewhere)."""
    return Home(Path(os.environ.get("AZDISTILL_HOME") or FOLDER).expanduser().absolute())
