"""Where local state lives: ``./.azdistill``, or the folder that ``AZDISTILL_HOME`` names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from azdistill.local.files import disk_errors

FOLDER = ".azdistill"
#: Of a dry run, where what a run would fetch is said to be. Nothing ever is.
AWAITED = "awaited"
#: Written into the state folder so that git leaves it alone, as .venv and .ruff_cache do.
_IGNORE = "# Made by azdistill.\n*\n"


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
        with disk_errors(f"cannot write the state folder {self.root}"):
            # In a folder of the user's own, git would be told to pass over all that lies there.
            ours = self.root.name == FOLDER or not self.root.exists() or not any(self.root.iterdir())
            for folder in (self.runs, self.cache / "tmp"):
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


def find_home() -> Home:
    """The state folder of this process (absolute, as steps run elsewhere)."""
    return Home(Path(os.environ.get("AZDISTILL_HOME") or FOLDER).expanduser().absolute())
