"""What a recipe says, as typed models. Every field that is left out is left to the component it feeds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from azdistill import assets, families
from azdistill.errors import did_you_mean
from azdistill.recipe.schedule import Schedule, number

#: The range of each of the two settings that a plain temperature may stand for.
TEMPERATURES = {"sampling_temperature": (0.0, 2.0), "distillation_temperature": (0.1, 100.0)}

_REFERENCE = re.compile(r"\$\{(env:[A-Za-z_]\w*|connection:[\w.-]+|keyvault:[\w.-]+/[\w-]+|entra(:\S+)?)\}")
REFERENCE_HINT = "write ${env:NAME}, ${connection:NAME}, ${keyvault:VAULT/SECRET} or ${entra}"


Whole = Annotated[int, BeforeValidator(number)]
Real = Annotated[float, BeforeValidator(number)]
Fraction = Annotated[Real, Field(ge=0, le=1)]
Positive = Annotated[Whole, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]
#: A choice that may be left to what the data shows; also written as a boolean.
Auto = Annotated[
    Literal["auto", "true", "false"],
    BeforeValidator(lambda value: str(value).lower() if isinstance(value, bool) else value),
]


def _range_of(temperature: str) -> Any:
    low, high = TEMPERATURES[temperature]
    return Field(ge=low, le=high)


def _member(folder: Path, word: str, what: str) -> str:
    """The name of the file in ``folder`` that ``word`` means. Raises ValueError."""
    member = families.member(folder, word)
    if member is None:
        raise ValueError(f"there is no {what} '{word}'; {did_you_mean(word, families.names(folder))}")
    return member.name


class Section(BaseModel):
    """A part of a recipe: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


#: Settings of a teacher that is run, not asked somewhere.
IN_JOB_KEYS = ("engine", "nodes", "tensor_parallel_size", "max_model_len", "engine_args", "startup_timeout", "revision")
#: Settings that mean nothing without an endpoint.
ENDPOINT_KEYS = ("api_key", "api", "deployment")


class Teacher(Section):
    """The model that answers: ``model`` names it, ``endpoint`` is where it is asked, ``weights`` its checkpoint.

    ``deployment`` is the name that the endpoint knows it by, where that is not the catalogue's. Without an endpoint an
    open model is run inside the job, by ``engine``, on as many machines as ``nodes`` says.
    """

    model: Text
    deployment: Text | None = None
    endpoint: Text | None = None
    api_key: Text | None = None
    api: Text | None = None
    weights: Text | None = None
    revision: Text | None = None
    engine: Literal["auto", "vllm", "transformers"] | None = None
    nodes: Positive | None = None
    tensor_parallel_size: Positive | None = None
    max_model_len: Positive | None = None
    engine_args: Text | None = None
    startup_timeout: Annotated[Real, Field(ge=1)] | None = None
    strategy: Literal["direct", "chain_of_thought", "chain_of_density"] | None = None
    chain_of_thought: bool | None = None
    chain_of_density: bool | None = None
    prompts: Text | None = None
    turns: Literal["last", "all"] | None = None
    max_tokens: Positive | None = None
    top_p: Annotated[Real, Field(gt=0, le=1)] | None = None
    stop: Text | list[Text] | None = None
    max_summary_words: Annotated[Whole, Field(ge=5)] | None = None
    concurrency: Annotated[Whole, Field(ge=1, le=1024)] | None = None
    max_retries: Annotated[Whole, Field(ge=0, le=100)] | None = None
    max_wait: Annotated[Real, Field(ge=1)] | None = None
    max_reasks: Annotated[Whole, Field(ge=0, le=10)] | None = None
    timeout: Annotated[Real, Field(ge=1)] | None = None
    min_success_ratio: Fraction | None = None

    @field_validator("api")
    @classmethod
    def _known_protocol(cls, value: str | None) -> str | None:
        return None if value is None else _member(assets.protocols(), value, "protocol")

    @field_validator("api_key")
    @classmethod
    def _by_reference(cls, value: str | None) -> str | None:
        if value is not None and not _REFERENCE.fullmatch(value):
            raise ValueError(f"a key is given by reference, never as text; {REFERENCE_HINT}")
        return value

    @field_validator("endpoint")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None or value.startswith("${env:"):
            return value
        if not re.match(r"https?://[^/\s]", value):
            raise ValueError("should be an address that starts with https:// or http://")
        if re.match(r"https?://[^/]*@", value) or re.search(
            r"[?&](api-?key|key|code|sig|token)=", value, re.IGNORECASE
        ):
            raise ValueError("the address holds a secret; put a reference into teacher.api_key instead")
        return value

    @model_validator(mode="after")
    def _says_one_thing(self) -> Teacher:
        in_job = [key for key in IN_JOB_KEYS if getattr(self, key) is not None]
        if self.endpoint is not None and in_job:
            raise ValueError(f"{in_job[0]} is for a teacher that runs inside the job, but an endpoint is given")
        if sum((bool(self.strategy), bool(self.chain_of_thought), bool(self.chain_of_density))) > 1:
            raise ValueError("give one of strategy, chain_of_thought and chain_of_density")
        return self

    @property
    def how(self) -> str | None:
        """The prompting strategy, from either way of writing it; None leaves it to the component."""
        if self.chain_of_thought:
            return "chain_of_thought"
        return "chain_of_density" if self.chain_of_density else self.strategy

    @property
    def key(self) -> str | None:
        """The reference as it travels: ``env:NAME`` for ``${env:NAME}``."""
        return self.api_key[2:-1] if self.api_key else None


class Student(Section):
    """The model that learns: a catalogue name, a Hugging Face id, a local folder, or an ``azureml:`` id."""

    model: Text
    revision: Text | None = None


@dataclass(frozen=True)
class Latest:
    """Data that is looked up when a run starts: ``latest`` is where, ``offset`` moves the date in its path."""

    latest: str
    offset: str | None = None


def _looked_up(value: Any) -> Any:
    if isinstance(value, str) and value:
        return value
    keys = {"latest", "offset"}
    if not isinstance(value, dict) or set(value) - keys or not all(isinstance(part, str) for part in value.values()):
        raise ValueError("should be a path, or {latest: REFERENCE} with, where it is wanted, an offset such as -1d")
    reference, offset = value.get("latest"), value.get("offset")
    if not reference or (reference.startswith("azureml:") and not _FRESH.match(reference)):
        raise ValueError("latest takes azureml:NAME, azureml://datastores/NAME/paths/PATH, or a path of this machine")
    if offset is not None and not re.fullmatch(r"[+-]?\d{1,6}[mhd]", offset):
        raise ValueError(f"offset '{offset}' is a number and m, h or d, such as -1d")
    return Latest(reference, offset)


_FRESH = re.compile(r"azureml:([A-Za-z0-9][\w.-]*(@latest)?$|//(.*/)?datastores/[^/]+/paths/.)")
#: A path, or where the data is looked up when a run starts.
Looked = Annotated[str | Latest, BeforeValidator(_looked_up)]


def _moment(value: Any) -> Any:
    # YAML reads an unquoted moment as one.
    return value.isoformat() if isinstance(value, date) else value


class Data(Section):
    """What is asked and learned from. Paths are relative to the recipe; ``as_of``: the moment of what is looked up."""

    training_data: Looked | None = None
    validation_data: Looked | None = None
    test_data: Looked | None = None
    as_of: Annotated[Text, BeforeValidator(_moment)] | None = None
    dataset: Text | None = None
    prompt_column: Text | None = None
    reference_column: Text | None = None
    system_prompt: Text | None = None
    validation_fraction: Annotated[Real, Field(ge=0, le=0.9)] | None = None
    test_fraction: Annotated[Real, Field(ge=0, le=0.9)] | None = None
    split_seed: Annotated[Whole, Field(ge=0)] | None = None
    max_training_rows: Positive | None = None
    max_test_rows: Positive | None = None
    on_bad_rows: Literal["fail", "reject"] | None = None

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> Data:
        if bool(self.training_data) == bool(self.dataset):
            raise ValueError("give one of training_data and dataset")
        if self.as_of and not any(isinstance(value, Latest) for _, value in self):
            raise ValueError("as_of is the moment at which data is looked up, and none is: write {latest: REFERENCE}")
        return self


class Curation(Section):
    """Which of the teacher's answers are kept."""

    require_agreement: Auto | None = None
    max_response_words: Positive | None = None


class Hyperparameters(Section):
    """How the student is trained, and the two temperatures. A plain ``temperature`` is one of them, by the method."""

    learning_rate: Annotated[Real, Field(gt=0, le=1)] | None = None
    batch_size: Positive | None = None
    gradient_accumulation_steps: Positive | None = None
    num_epochs: Annotated[Real, Field(gt=0)] | None = None
    max_steps: Annotated[Whole, Field(ge=-1)] | None = None
    warmup_ratio: Fraction | None = None
    weight_decay: Annotated[Real, Field(ge=0)] | None = None
    lr_scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] | None = None
    max_length: Annotated[Whole, Field(ge=8)] | None = None
    loss_on: Literal["response", "assistant"] | None = None
    temperature: Annotated[Real, Field(ge=0)] | None = None
    sampling_temperature: Annotated[Real, _range_of("sampling_temperature")] | None = None
    distillation_temperature: Annotated[Real, _range_of("distillation_temperature")] | None = None
    distillation_alpha: Fraction | None = None
    top_k: Positive | None = None
    lora: bool | None = None
    lora_rank: Positive | None = None
    lora_alpha: Annotated[Real, Field(gt=0)] | None = None
    lora_dropout: Fraction | None = None
    lora_target_modules: Text | None = None
    early_stopping_patience: Annotated[Whole, Field(ge=0)] | None = None
    eval_steps: Annotated[Whole, Field(ge=0)] | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    parallelism: Literal["auto", "none", "ddp", "fsdp", "deepspeed"] | None = None
    seed: Annotated[Whole, Field(ge=0)] | None = None


class Evaluation(Section):
    """How teacher, baseline and distilled student are measured. ``min_retention`` fails the run below it."""

    gold_sft: Auto = "auto"
    max_new_tokens: Positive | None = None
    batch_size: Positive | None = None
    latency_rows: Annotated[Whole, Field(ge=0)] | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None = None
    device: Literal["auto", "cpu", "cuda"] | None = None
    min_retention: Annotated[Real, Field(ge=0)] | None = None
    title: Text | None = None


class Compute(Section):
    """Where steps run: the name of a compute, or an instance type (``Standard_...``) for serverless compute.

    ``teacher`` is where it runs, or its endpoint is asked from; ``teacher_logits`` where its weights are scored.
    ``student_nodes`` machines with ``student_gpus`` processes each train the student. ``spot`` puts serverless steps on
    spare capacity, which Azure may take back; ``identity`` is whose rights a step has: the user's who submits it, the
    compute's managed identity, or none (Azure's default).
    """

    default: Text | None = None
    teacher: Text | None = None
    teacher_logits: Text | None = None
    student: Text | None = None
    evaluate: Text | None = None
    student_nodes: Positive | None = None
    student_gpus: Positive | None = None
    spot: bool = False
    identity: Literal["user", "managed", "none"] | None = None


class Limits(Section):
    """``timeout``: seconds after which a step is ended, the same for every step. ``max_gpu_hours``: a run on Azure that
    may take more, by the time limits of its steps, is not submitted.
    """

    timeout: Positive | None = None
    max_gpu_hours: Annotated[Real, Field(ge=0)] | None = None


class Recipe(Section):
    """A distillation as a person writes it down."""

    name: Text | None = None
    experiment_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")] | None = None
    description: Text | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    task: Text
    method: Literal["sft", "logits"] = "sft"
    teacher: Teacher
    student: Student
    data: Data
    curation: Curation = Curation()
    hyperparameters: Hyperparameters = Hyperparameters()
    evaluation: Evaluation = Evaluation()
    compute: Compute = Compute()
    limits: Limits = Limits()
    schedule: Schedule | None = None

    @field_validator("tags", mode="before")
    @classmethod
    def _tags_are_text(cls, value: Any) -> Any:
        return {str(key): str(tag) for key, tag in value.items()} if isinstance(value, dict) else value

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str) -> str:
        return _member(assets.tasks(), value, "task")

    @model_validator(mode="after")
    def _one_temperature(self) -> Recipe:
        value, name = self.hyperparameters.temperature, self.temperature_means
        if value is None:
            return self
        if getattr(self.hyperparameters, name) is not None:
            raise ValueError(f"hyperparameters.temperature means {name} for method {self.method}; give one of the two")
        low, high = TEMPERATURES[name]
        if not low <= value <= high:
            limits = f"should be from {low:g} to {high:g}"
            raise ValueError(f"hyperparameters.temperature means {name} for method {self.method} and {limits}")
        return self

    @model_validator(mode="after")
    def _weights_for_logits(self) -> Recipe:
        if self.method == "logits" and not self.teacher.weights:
            raise ValueError("teacher.weights is missing: method logits reads the distributions of a checkpoint")
        return self

    @property
    def temperature_means(self) -> Literal["sampling_temperature", "distillation_temperature"]:
        """What a plain ``hyperparameters.temperature`` stands for under this recipe's method."""
        return "distillation_temperature" if self.method == "logits" else "sampling_temperature"
