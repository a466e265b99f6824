"""ARM's JSON Schemas: every body sent to ARM is checked against the one for its api-version and resource."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .messages import Request

PLATFORM = "https://schema.management.azure.com/schemas/"


@dataclass(frozen=True)
class Violation:
    """A place in a body that does not fit; ``where`` is the path to it."""

    route: str
    version: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.route} ({self.version}) {self.where}: {self.message}"


class Schemas:
    """The schemas in a folder: ``<api-version>/Microsoft.MachineLearningServices.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions = sorted(one.name for one in folder.iterdir() if one.name[:2] == "20")

    @classmethod
    def find(cls, shared: str | Path | None) -> Schemas | None:
        """The schemas in ``shared`` or ``$AZDISTILL_SHARED``, or None."""
        root = Path(__file__).parents[2]
        folder = Path(shared or os.environ.get("AZDISTILL_SHARED") or root.parent / "shared") / "arm-schemas"
        return cls(folder) if folder.is_dir() else None

    def nearest(self, version: str) -> str:
        """The version itself, or the nearest that is here (the newest before it, else the oldest)."""
        older = [one for one in self.versions if one <= version]
        return version if version in self.versions else (older or self.versions)[-1 if older else 0]


class Checker:
    """Counts and checks bodies; see ``Workspace.checked`` and its neighbours."""

    def __init__(self, schemas: Schemas | None) -> None:
        self.schemas = schemas
        self.checked = self.sent = 0
        self.violations: list[Violation] = []
        self.known: list[Violation] = []

    def body(self, request: Request, definition: str) -> None:
        """Check a body that was sent to ARM against a resource's definition."""
        self.sent += 1
