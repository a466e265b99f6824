"""Where the teacher is: behind an endpoint, or inside the job on machines that hold it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from azdistill import catalog, sizing
from azdistill.catalog import Architecture
from azdistill.compile.compute import named_for
from azdistill.errors import UserError
from azdistill.recipe.models import Recipe
from azdistill.recipe.read import Reading
from azdistill.recipe.refer import weights_of
from azdistill.sizing import skus

#: What a teacher gets of whose size nothing is known.
HIGH_MEMORY_INSTANCE = "Standard_ND96isr_H100_v5"
#: Tokens of a prompt and its answer, and requests at once, that a machine must hold beside the weights.
CONTEXT, CONCURRENCY = 8192, 8


@dataclass(frozen=True)
class Placed:
    """The instance type that a teacher inside the job gets, and why it is that one."""

    instance_type: str
    why: str


def in_job(recipe: Recipe) -> bool:
    """Whether the teacher is run by a step of the pipeline: an open model, and no endpoint."""
    return recipe.teacher.endpoint is None


def nodes_of(recipe: Recipe) -> int:
    """On how many machines the teacher runs at once."""
    return recipe.teacher.nodes or 1


def placed(reading: Reading) -> Placed | None:
    """The cheapest single machine that holds the teacher; None where the recipe names a compute for it."""
    recipe = reading.sound
    if not in_job(recipe) or named_for(recipe.compute, "teacher"):
        return None
    model = _in_catalog(reading) or _in_folder(reading)
    if model is None:
        return Placed(HIGH_MEMORY_INSTANCE, "its size is not known here")
    return _cheapest(recipe, *model)


def _in_catalog(reading: Reading) -> tuple[Architecture, float] | None:
    """What the catalogue knows of the teacher, and the bytes of its weights."""
    teacher = reading.sound.teacher
    for name in (teacher.weights, teacher.model):
        model = catalog.find(name) if name else None
        if model and model.architecture and model.parameters:
            shape = model.architecture
            return shape, sizing.weight_bytes(model.parameters * 1e9, shape.precision, shape)
    return None


def _in_folder(reading: Reading) -> tuple[Architecture, float] | None:
    """The same of a teacher that lies on this machine; None where its files do not say."""
    teacher = reading.sound.teacher
    weights = weights_of(teacher.weights or teacher.model, reading.folder, "teacher")
    if weights.kind != "path" or weights.value.startswith("azureml:"):
        return None
    folder = Path(weights.value)
    size = float(sum(file.stat().st_size for file in folder.rglob("*.safetensors")))
    configs = (folder / "config.json", *sorted(folder.rglob("config.json")))
    config = next((file for file in configs if file.is_file()), None)
    try:
        return (sizing.read_config(config), size) if config and size else None
    except UserError:
        return None


def _cheapest(recipe: Recipe, architecture: Architecture, size: float) -> Placed:
    load = sizing.Load(recipe.teacher.max_model_len or CONTEXT, CONCURRENCY)
    fits = sizing.choose(architecture, size, architecture.precision, load, skus.all_of()).fits
    about = f"its weights take {size / sizing.GIB:.3g} GiB in {architecture.precision}"
    alone = next((fit for fit in fits if fit.machines == 1), None)
    if alone is None:
        hint = "name a compute that does with compute.teacher, or give teacher.endpoint"
        message = f"no instance type that is known here holds the teacher {recipe.teacher.model}: {about}"
        raise UserError(message, code="AZD212", hint=hint)
    sku = alone.sku
    price = f", {sku.price:g} {sku.currency} an hour ({sku.as_of})" if sku.price is not None else ", price unknown"
    return Placed(sku.name, f"{about}; {sku.gpus} x {sku.gpu} {sku.gpu_memory_gib:g} GB{price}")
