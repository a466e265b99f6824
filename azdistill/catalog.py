"""Known teachers and students: ids, sizes, terms, and where they are hosted until when.

The facts stand in ``catalog.yml``, each with the page it was read from and the date of that page. What was read nowhere
is null there, never a guess, and :data:`UNKNOWN` in print. A model that is not here works just as well by its Hugging
Face id, its path or its deployment's name.
"""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field

UNKNOWN = "unknown"
#: Hosts that serve models, by the place a hosting entry names. Anything else, so a managed online endpoint
#: (``*.inference.ml.azure.com``) or a gateway too, is the user's own server, where nothing is retired.
DOMAINS = {
    "azure": (
        *(".services.ai.azure.com", ".models.ai.azure.com", ".inference.ai.azure.com", ".inference.ai.azure.us"),
        *(".openai.azure.com", ".openai.azure.us", ".openai.azure.cn"),
        *(".services.ai.azure.us", ".services.ai.azure.cn"),
        *(".cognitiveservices.azure.com", ".cognitiveservices.azure.us", ".cognitiveservices.azure.cn"),
        *(".api.cognitive.microsoft.com", ".api.cognitive.microsoft.us", ".api.cognitive.azure.cn"),
    ),
    "anthropic": (".anthropic.com",),
    "openai": (".openai.com",),
    "deepseek": (".deepseek.com",),
}


class _Fact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(min_length=1, description="title of the page, in words")
    as_of: date = Field(description="date of the page, or of the day it was read")


class Hosting(_Fact):
    """One place that serves the model. ``until`` is the day of retirement; null where none is announced or known."""

    where: Literal["azure", "anthropic", "openai", "deepseek"]
    stage: Literal["preview", "available", "legacy", "deprecated", "retired"]
    until: date | None = None
    replacement: str | None = None
    note: str = ""

    def ends_before(self, day: date) -> bool:
        """Whether the host will have stopped answering by ``day``, as far as the entry knows."""
        return self.stage == "retired" or (self.until is not None and self.until <= day)


class Terms(_Fact):
    """The licence or terms, and whether they let other models be trained on what the model writes."""

    licence: str
    outputs_may_train: Literal["yes", "conditions", "no", "unknown"]
    note: str = ""


class ChatTemplate(BaseModel):
    """What is particular about the model's chat template, where the page that the whole entry names tells it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system_role: bool
    note: str = ""


class Price(_Fact):
    """USD for a million tokens, at the place named."""

    where: str
    input: float = Field(ge=0)
    output: float = Field(ge=0)


#: What weights are stored in. ``mxfp4`` is gpt-oss's: four bits, and a scale for each 32 of them.
Precision = Literal["fp32", "bf16", "fp16", "fp8", "int8", "int4", "mxfp4"]


class Architecture(_Fact):
    """The numbers of a model's config.json that decide how much memory it takes to serve it."""

    layers: int = Field(gt=0)
    attention_heads: int = Field(gt=0)
    kv_heads: int = Field(
        gt=0, description="heads that keys and values are stored for; fewer than attention heads: GQA"
    )
    head_dim: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    vocab_size: int = Field(gt=0)
    precision: Precision = Field(description="what the weights are published in")
    tied_embeddings: bool = False
    latent: int | None = Field(default=None, gt=0, description="MLA: numbers a token and layer, for keys and values")
    indexer: int = Field(default=0, ge=0, description="numbers that sparse attention stores beside them")
    sliding_window: int | None = Field(default=None, gt=0, description="tokens")
    sliding_layers: int = Field(default=0, ge=0, description="how many layers see that window only")


class Model(BaseModel):
    """One entry. ``served_as`` is the name that endpoints know the model by; ``hub_id`` its weights' public home."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    roles: tuple[Literal["teacher", "student"], ...] = Field(min_length=1)
    publisher: str
    aliases: tuple[str, ...] = ()
    hub_id: str | None = None
    served_as: str | None = None
    api: str = "chat_completions"
    parameters: float | None = Field(default=None, gt=0, description="in billions")
    active_parameters: float | None = Field(default=None, gt=0, description="in billions, for a mixture of experts")
    context_length: int | None = Field(default=None, gt=0, description="tokens")
    architecture: Architecture | None = None
    source: str = Field(min_length=1, description="the page or pages that the sizes and lengths are from")
    as_of: date
    terms: Terms
    hosting: tuple[Hosting, ...] = ()
    chat_template: ChatTemplate | None = None
    price: Price | None = None
    suggestions: tuple[str, ...] = Field(default=(), description="ours, where the host names no replacement")

    def hosted_at(self, endpoint: str | None) -> Hosting | None:
        """Where an endpoint of this model is, as far as the catalogue knows; Azure where no endpoint is given yet."""
        host = (urlsplit(endpoint).hostname or "").rstrip(".") if endpoint else ""
        if not endpoint:
            return self.hosted_by("azure")
        return next((hosting for hosting in self.hosting if host.endswith(DOMAINS[hosting.where])), None)

    def hosted_by(self, where: str) -> Hosting | None:
        """What is known of the model at one host."""
        return next((hosting for hosting in self.hosting if hosting.where == where), None)


@cache
def models() -> tuple[Model, ...]:
    """Every entry, in the file's order."""
    text = files("azdistill").joinpath("catalog.yml").read_text(encoding="utf-8")
    return tuple(Model.model_validate(entry) for entry in yaml.safe_load(text)["models"])


@cache
def _by_word() -> dict[str, Model]:
    table: dict[str, Model] = {}
    for model in models():
        for word in (model.name, *model.aliases, model.hub_id, model.served_as):
            if word:
                table.setdefault(word.lower(), model)
    return table


def find(name: str) -> Model | None:
    """The model of that name, alias, Hugging Face id or deployment name, in any case."""
    return _by_word().get(name.strip().lower())


def known_names(role: Literal["teacher", "student"]) -> list[str]:
    """The names of all teachers, or of all students."""
    return [model.name for model in models() if role in model.roles]


def by_asset_name(name: str) -> Model | None:
    """The model that an Azure name belongs to, such as the connection ``Meta-Llama-3-1-405B-Instruct-vkn``."""
    word = _squeezed(name)
    names = {_squeezed(name): model for name, model in _by_word().items()}
    # People append a suffix of their own; a short name is too easily the start of another model's.
    starts = (name for name in names if name == word or (len(name) >= 16 and word.startswith(name)))
    longest = max(starts, key=len, default="")
    return names.get(longest)


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.rpartition("/")[2].lower())
