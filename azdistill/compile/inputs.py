"""The pipeline's inputs: everything that a recipe sets, under the names of the component inputs it feeds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from azdistill import assets, catalog, strict_json
from azdistill.compile.naming import distilled_name, student_name
from azdistill.compile.teachers import in_job
from azdistill.recipe.models import Latest, Recipe, Section
from azdistill.recipe.read import Reading, is_local
from azdistill.recipe.refer import Role, weights_of

_DATA_FILES = ("training_data", "validation_data", "test_data", "system_prompt")
#: Settings of a teacher that have another name beside those of the student and of the whole run.
_OF_TEACHER = {"timeout": "teacher_timeout", "revision": "teacher_revision"}
#: Sections whose own key would say two things in one pipeline.
_RENAMED = {"batch_size": "evaluation_batch_size", "dtype": "evaluation_dtype"}


def inputs_of(reading: Reading) -> dict[str, Any]:
    """Name -> value, or ``{type, path}`` for data. Paths on this machine are absolute."""
    recipe = reading.sound
    teacher = catalog.find(recipe.teacher.model)
    inputs: dict[str, Any] = {
        **_data(recipe, reading.folder),
        "task_type": recipe.task,
        **_teacher(recipe, reading),
        **_weights("student", recipe.student.model, reading),
        "revision": recipe.student.revision,
        "method": recipe.method,
        **_set(recipe.curation),
        **_training(recipe),
        **{_RENAMED.get(key, key): value for key, value in _set(recipe.evaluation).items() if key != "gold_sft"},
        "model_name": distilled_name(student_name(recipe.student.model, reading.folder)),
        "teacher_licence": teacher.terms.licence if teacher else None,
    }
    return {name: _short(value) for name, value in inputs.items() if value is not None}


def _short(value: Any) -> Any:
    """3 for 3.0, so that an input of either number type takes it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _data(recipe: Recipe, folder: Path) -> dict[str, Any]:
    data = _set(recipe.data)
    for name in [name for name in _DATA_FILES if isinstance(data.get(name), Latest)]:
        data |= {f"{name}_{part}": value for part, value in _looked_up(data.pop(name), folder).items()}
        data.setdefault("as_of", "now")
    for name in _DATA_FILES:
        if name in data:
            data[name] = {"type": "uri_file", "path": _placed(data[name], folder)}
    if "dataset" in data:
        data["dataset"] = {"type": "uri_folder", "path": _placed(data["dataset"], folder)}
    return data


def _looked_up(lookup: Latest, folder: Path) -> dict[str, Any]:
    """What resolve_data is told: the reference, and the folder where a path of this machine starts."""
    offset = {"offset": lookup.offset} if lookup.offset else {}
    reference = lookup.latest
    if reference.startswith("azureml:"):
        asset = not reference.startswith("azureml://") and not reference.endswith("@latest")
        return {"reference": f"{reference}@latest" if asset else reference, **offset}
    fixed = re.split(r"[*?{]", reference, maxsplit=1)[0].rpartition("/")[0]
    start = fixed + "/" if fixed or reference.startswith("/") else ""
    place = {"type": "uri_folder", "path": _placed(start or ".", folder)}
    return {"reference": reference.removeprefix(start), "folder": place, **offset}


def _teacher(recipe: Recipe, reading: Reading) -> dict[str, Any]:
    teacher = recipe.teacher
    model = catalog.find(teacher.model)
    inputs: dict[str, Any] = {
        "teacher_model": teacher.deployment or (model and model.served_as) or _called(teacher.model, reading),
        "teacher_endpoint": teacher.endpoint,
        "teacher_key": teacher.key,
        "api": teacher.api or (model.api if model and model.api != "chat_completions" else None),
        "prompts": teacher.prompts and {"type": "uri_folder", "path": _placed(teacher.prompts, reading.folder)},
        "stop": strict_json.dumps(teacher.stop) if isinstance(teacher.stop, list) else teacher.stop,
        "strategy": teacher.how,
    }
    declared = assets.inputs_of("teacher_in_job" if in_job(recipe) else "teacher_inference")
    named = {name: value for name, value in _set(teacher).items() if name in declared}
    inputs = {_OF_TEACHER.get(name, name): value for name, value in named.items()} | inputs
    if in_job(recipe):
        return inputs | _weights("teacher", teacher.weights or teacher.model, reading)
    return inputs | (_weights("teacher", teacher.weights, reading) if teacher.weights else {})


def _called(model: str, reading: Reading) -> str:
    """A model's name: that of its folder for one that lies here."""
    place = reading.folder / Path(model).expanduser()
    return place.resolve().name if place.is_dir() else model


def _weights(role: Role, name: str, reading: Reading) -> dict[str, Any]:
    weights = weights_of(name, reading.folder, role)
    if weights.kind == "id":
        return {f"{role}_id": weights.value}
    return {f"{role}_weights": {"type": "custom_model", "path": weights.value}}


def _training(recipe: Recipe) -> dict[str, Any]:
    values = _set(recipe.hyperparameters)
    if "temperature" in values:
        values[recipe.temperature_means] = values.pop("temperature")
    if recipe.method != "logits":
        for name in ("top_k", "distillation_temperature", "distillation_alpha"):
            values.pop(name, None)
    return values


def _set(section: Section) -> dict[str, Any]:
    return {name: value for name, value in section if value is not None}


def _placed(path: str, folder: Path) -> str:
    return str((folder / Path(path).expanduser()).resolve()) if is_local(path) else path
