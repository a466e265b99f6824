"""What a model's name means: a catalogue entry, a Hugging Face id, a local folder or an Azure ML asset."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from azdistill import catalog
from azdistill.errors import UserError, did_you_mean, did_you_mean_path

Role = Literal["teacher", "student"]


@dataclass(frozen=True)
class Weights:
    """Where weights come from: ``path`` (a folder, or ``azureml:...``) or ``id`` (on the Hugging Face hub)."""

    kind: Literal["path", "id"]
    value: str


def weights_of(name: str, folder: Path, role: Role) -> Weights:
    """The weights that ``name`` stands for; relative paths start from ``folder``. UserError AZD209: none."""
    if name.startswith("azureml:"):
        return Weights("path", name)
    place = folder / Path(name).expanduser()
    if name.startswith((".", "/", "~")) or place.is_dir():
        return Weights("path", _model_folder(name, place))
    model = catalog.find(name)
    if model is not None:
        if model.hub_id is None:
            raise UserError(f"the weights of {model.name} are not public", code="AZD209")
        return Weights("id", model.hub_id)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return Weights("id", name)
    hint = did_you_mean(name, catalog.known_names(role)) + "; or a Hugging Face id (owner/name), or a folder"
    raise UserError(f"there is no {role} '{name}'", code="AZD209", hint=hint)


def _model_folder(name: str, place: Path) -> str:
    if not place.exists():
        raise UserError(f"there is no folder {name}", code="AZD209", hint=did_you_mean_path(place))
    # A model that MLflow laid out keeps its configuration further down.
    as_mlflow = any(place.glob("MLmodel")) or any(place.glob("*/MLmodel"))
    if not (place / "config.json").is_file() and not as_mlflow:
        raise UserError(f"{name} is not a model: it has no config.json", code="AZD209")
    return str(place.resolve())
