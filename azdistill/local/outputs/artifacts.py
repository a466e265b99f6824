"""What Azure ML keeps of every job beside its outputs: ``./outputs`` and ``./logs``, which are there when it starts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from azdistill.aml.models import ARTIFACTS
from azdistill.local.plan.steps import PlannedStep
from azdistill.permissions import copy_file, restrict

FOLDERS = ("outputs", "logs")


def make_folders(snapshot: Path) -> None:
    """Make the folders beside a step's code, unless the code has such a name itself."""
    for name in FOLDERS:
        if not (snapshot / name).exists():
            (snapshot / name).mkdir()


def fill(step: PlannedStep, snapshot: Path, paths: Mapping[str, Path], *, follow: bool) -> None:
    """Give a step's output ``artifacts`` what the folders hold, as Azure ML does, unless the step wrote it itself.

    Links are kept as links unless it is safe to ``follow`` them (see :mod:`azdistill.local.outputs.links`).
    """
    output = paths.get(ARTIFACTS)
    if output is None or step.outputs[ARTIFACTS].standing or not output.is_dir() or any(output.iterdir()):
        return
    for name in FOLDERS:
        if (snapshot / name).is_dir() and (follow or not (snapshot / name).is_symlink()):
            shutil.copytree(snapshot / name, output / name, symlinks=not follow, copy_function=copy_file)
            # The modes of folders are taken over.
            restrict(output / name, usable=True)
