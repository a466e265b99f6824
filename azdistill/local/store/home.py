"""Where local state lives: ``./.azdistill``, or the folder that ``AZDISTILL_HOME`` names."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from azdistill.errors import MachineError
from azdistill.local.store.durable_files import disk_errors

FOLDER = ".azdistill"
#: Of a dry run, where what a run would fetch is said to be. Nothing ever is.
AWAITED = "awaited"
#: Written into the state folder so that git leaves it alone, as .venv and .ruff_cache do.
_IGNORE = "# Made by azdistill.\n*\n"
#: Why a folder cannot be made though the disk would take it.
_NO_PLACE = frozenset({errno.EEXIST, errno.ENOENT, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class Home:
    """The state folder and the places in it (architecture page, "Local state"). ``looking``: nothing is written."""

    root: Path
    looking: bool = False

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def hashes(self) -> Path:
        return self.root / "hashes.sqlite"

    def awaits(self, path: Path) -> bool:
        """Whether a run would fetch the file at ``path`` before its first step; so far nobody has."""
        return self.looking and path.parent.name == AWAITED and path.is_relative_to(self.downloads)

    def prepare(self) -> Home:
        """Make the folders; a MachineError where that cannot be."""
        doing, folders = f"cannot write the state folder {self.root}", (self.runs, self.cache / "tmp")
        for folder in folders:
            _refuse_lost(folder, doing)
        with disk_errors(doing, also=_NO_PLACE):
            # In a folder of the user's own, git would be told to pass over all that lies there.
            ours = self.root.name == FOLDER or not self.root.exists() or not any(self.root.iterdir())
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if ours and not ignore.exists():
                ignore.write_text(_IGNORE, encoding="utf-8")
        return self

    def standing(self, uri_path: str, datastore: str) -> Path:
        """The local folder of a standing output on ``datastore`` (architecture page, "Outputs")."""
        if uri_path == "azdistill" or uri_path.startswith("azdistill/"):
            return self.root / uri_path.removeprefix("azdistill").lstrip("/")
        return self.root / "datastores" / datastore / uri_path

    def is_store(self, standing: Path) -> bool:
        """Whether a standing place is azdistill's own, on no datastore of the user's."""
        return not standing.is_relative_to(self.root / "datastores")


def _refuse_lost(folder: Path, doing: str) -> None:
    """Raise for a link on the way to ``folder`` that leads nowhere: a disk that is not mounted, as a rule."""
    for path in (folder, *folder.parents):
        if os.path.islink(path) and not os.path.exists(path):
            hint = "make what it leads to, take it away, or name another folder with AZDISTILL_HOME"
            message = f"{doing}: {path} is a link that leads to nothing: {os.readlink(path)}"
            raise MachineError(message, code="AZD310", hint=hint)


def find_home() -> Home:
    """The state folder of this process (absolute, as steps run elsewhere)."""
    return Home(Path(os.environ.get("AZDISTILL_HOME") or FOLDER).expanduser().absolute())
