"""Who is to be served: what is known of the teacher, and whether it is ours to serve at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from azdistill import catalog, sizing
from azdistill.catalog import Architecture, Hosting, Model, Precision
from azdistill.errors import UserError, did_you_mean


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher to serve. ``parameters`` are billions; ``weights`` bytes, where the files themselves say how many."""

    name: str
    model: Model | None
    architecture: Architecture | None
    parameters: float | None
    precision: Precision
    weights: float | None = None

    @property
    def served_as(self) -> str:
        """The name that requests call it by."""
        return (self.model and self.model.served_as) or self.name

    @property
    def hosting(self) -> Hosting | None:
        """Where Azure itself serves it, if it does."""
        entry = self.model.hosted_at(None) if self.model else None
        return entry if entry and not entry.ends_before(date.today()) else None

    def weight_bytes(self) -> float:
        """Bytes of the weights. UserError AZD473 where nothing tells them."""
        if self.weights is not None:
            return self.weights
        if self.parameters is None:
            raise UserError(
                f"how many parameters {self.name} has is not known",
                code="AZD473",
                hint="say it: --parameters BILLIONS, or give the folder of its weights",
            )
        return sizing.weight_bytes(self.parameters * 1e9, self.precision, self.architecture)

    def shape(self) -> Architecture:
        """Its architecture. UserError AZD473 where it is not known."""
        if self.architecture is None:
            raise UserError(
                f"the layers and heads of {self.name} are not known",
                code="AZD473",
                hint="give its config.json: --config PATH (it lies beside the weights on the Hugging Face hub)",
            )
        return self.architecture


def find_teacher(
    name: str,
    *,
    config: Path | None = None,
    parameters: float | None = None,
    precision: Precision | None = None,
) -> Teacher:
    """The teacher ``name``: of the catalogue, a folder of weights, or any name whose ``config`` is given.

    UserError AZD472 for a model whose weights are not to be had; AZD473 where nothing is known of the name.
    """
    folder = Path(name)
    model = _servable(name)
    is_folder = model is None and folder.is_dir()
    if model is None and not is_folder and config is None:
        models = {each: catalog.find(each) for each in catalog.known_names("teacher")}
        names = [each for each, model in models.items() if model and model.hub_id]
        hint = did_you_mean(name, names)
        raise UserError(
            f"nothing is known of the teacher '{name}'",
            code="AZD473",
            hint=f"{hint}; or give --config (its config.json) and --parameters, or the folder of its weights",
        )
    source = config or (folder if is_folder else None)
    shape = sizing.read_config(source) if source else (model.architecture if model else None)
    as_stored = precision is None or (shape is not None and precision == shape.precision)
    return Teacher(
        name=folder.resolve().name if is_folder else (model.name if model else name),
        model=model,
        architecture=shape,
        parameters=parameters or (model.parameters if model else None),
        precision=precision or (shape.precision if shape else "bf16"),
        weights=_on_disk(folder) if is_folder and as_stored and parameters is None else None,
    )


def served_name(name: str) -> str:
    """What requests call the teacher ``name``, of which nothing need be known. UserError AZD472 as above."""
    model = _servable(name)
    return (model and model.served_as) or name


def _servable(name: str) -> Model | None:
    """The catalogue's model ``name``. UserError AZD472 for one whose weights nobody gives out."""
    model = catalog.find(name)
    if model is None or model.hub_id is not None:
        return model
    places = [_place(entry) for entry in model.hosting if entry.stage != "retired"]
    where = f": {'; '.join(places)}" if places else ""
    raise UserError(
        f"{model.name} ({model.publisher}) is hosted by others and used by a connection; its weights cannot be had, "
        f"so there is no endpoint to make{where}",
        code="AZD472",
        hint="put its endpoint into the recipe: teacher: {endpoint: https://..., key: ${connection:NAME}}",
    )


def _place(entry: Hosting) -> str:
    words = {"azure": "Microsoft Foundry (Azure OpenAI)", "anthropic": "Anthropic", "openai": "OpenAI"}
    until = f" until {entry.until}" if entry.until else ""
    return f"{words.get(entry.where, entry.where)}{until} ({entry.source}, {entry.as_of})"


def _on_disk(folder: Path) -> float | None:
    """Bytes of the weights as they lie there; None where there are none in safetensors."""
    sizes = [file.stat().st_size for file in folder.glob("*.safetensors")]
    return float(sum(sizes)) if sizes else None
