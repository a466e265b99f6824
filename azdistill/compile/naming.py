"""What the models of a distillation are called: ``<student>-distilled``, and ``<student>-baseline`` as it was."""

from __future__ import annotations

import os
import re
from pathlib import Path

DISTILLED, BASELINE = "-distilled", "-baseline"


def short_name(model: str) -> str:
    """A model's name without the folder, owner, registry or version around it."""
    asset = re.fullmatch(r"azureml:(?://.*/models/)?([^/:]+).*", model)
    return asset[1] if asset else model.rstrip("/").rpartition("/")[2] or model


def student_name(model: str, folder: Path) -> str:
    """What a student is called in the names of models: a folder has its own name, whichever way it is written.

    ``folder`` is what a relative path starts from. Characters that Azure ML refuses in names become ``-``.
    """
    place = folder / Path(model).expanduser()
    name = (
        Path(os.path.abspath(place)).name if model.startswith((".", "~", "/")) or place.is_dir() else short_name(model)
    )
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._") or "student"


def distilled_name(student: str) -> str:
    """The name of the distilled model of ``student`` (a name by :func:`student_name`)."""
    return student + DISTILLED
