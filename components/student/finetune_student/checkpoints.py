"""Checkpoints to go on from: only those of the same training, and only those that hold what was written.

The last file of a checkpoint is the list of all its others with their sha256. Without it the checkpoint was never
finished; where a file is not as listed, it was damaged since, and numbers of it would spoil the student unseen.
"""

from __future__ import annotations

import json
import os
import shutil
from hashlib import file_digest
from pathlib import Path
from typing import Any

from common import strict_json
from distributed import tell

CHECKSUMS = "checksums.json"
_STATE = "trainer_state.json"


def checkpoint_folder(root: Path, digest: str) -> Path:
    """Where checkpoints of these settings and rows lie: those of others are never mistaken for them."""
    folder = root / digest[:16]
    if not folder.is_dir() and any(root.glob("*/checkpoint-*")):
        tell("the checkpoints belong to other settings or rows: training starts afresh")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def seal(checkpoint: Path) -> None:
    """List the files of a checkpoint with their sha256: it is complete from then on."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    sums = {str(path.relative_to(checkpoint)): _digest(path) for path in files}
    unfinished = checkpoint / f"{CHECKSUMS}.tmp"
    unfinished.write_text(strict_json.dumps(sums, indent=1), encoding="utf-8")
    os.replace(unfinished, checkpoint / CHECKSUMS)


def prune(folder: Path, keep: set[str]) -> None:
    """Remove all checkpoints but those of these names."""
    for path in _by_step(folder):
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that is complete; whether it is still as it was written is not looked at."""
    return next((path for path in _by_step(folder) if (path / CHECKSUMS).is_file()), None)


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that is complete and undamaged. Says why others are passed over."""
    passed_over = False
    for path in _by_step(folder):
        problem = damage(path) or _damage_of_best(path)
        if not problem:
            return str(path)
        tell(f"{path.name} is not used: {problem}")
        passed_over = True
    if passed_over:
        tell("no checkpoint is left to go on from: training starts afresh")
    return None


def damage(checkpoint: Path) -> str:
    """Why a checkpoint cannot be used; an empty text where it can."""
    try:
        sums = json.loads((checkpoint / CHECKSUMS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "it was not finished"
    except (OSError, ValueError) as error:
        return f"it is damaged ({CHECKSUMS}: {error})"
    if not isinstance(sums, dict) or _STATE not in sums:
        return f"it is damaged ({CHECKSUMS} does not list its files)"
    for name, expected in sums.items():
        try:
            if _digest(checkpoint / name) != expected:
                return f"it is damaged ({name} is not as it was written)"
        except OSError as error:
            return f"it is damaged ({name}: {error.strerror or error})"
    return ""


def _damage_of_best(checkpoint: Path) -> str:
    """The same of the best checkpoint before it, which the student is taken from at the end."""
    state: dict[str, Any] = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    best = state.get("best_model_checkpoint")
    if not best or Path(best).name == checkpoint.name:
        return ""
    problem = damage(checkpoint.parent / Path(best).name)
    return f"the best one before it is {Path(best).name}, and {problem}" if problem else ""


def _by_step(folder: Path) -> list[Path]:
    """The checkpoints of a folder, the newest first."""
    folders = [path for path in folder.glob("checkpoint-*") if path.name.rpartition("-")[2].isdecimal()]
    return sorted(folders, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
