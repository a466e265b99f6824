"""What Azure ML YAML says, as frozen data. Paths are absolute; everything keeps the place it was written at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azdistill.aml.source import Where

PRIMITIVES = ("string", "integer", "number", "boolean")
FOLDERS = ("uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model")
DATA = ("uri_file", *FOLDERS)
TYPES = (*PRIMITIVES, *DATA)
#: Steps that run other steps again and again, and all kinds of steps that only Azure runs.
LOOPS = ("do_while", "parallel_for")
AZURE_ONLY = ("spark", "automl", "import", "data_transfer", *LOOPS)
#: Kinds of distributions -> their keys, all of which must be there (azure-ai-ml, ``_schema/_sweep/search_space``).
KINDS: dict[str, tuple[str, ...]] = {
    "choice": ("values",),
    **dict.fromkeys(("uniform", "loguniform"), ("min_value", "max_value")),
    **dict.fromkeys(("quniform", "qloguniform"), ("min_value", "max_value", "q")),
    **dict.fromkeys(("normal", "lognormal"), ("mu", "sigma")),
    **dict.fromkeys(("qnormal", "qlognormal"), ("mu", "sigma", "q")),
    "randint": ("upper",),
}
SAMPLINGS = ("random", "grid", "bayesian")
GOALS = ("minimize", "maximize")
#: Kinds of early termination -> their own keys (``_schema/_sweep/sweep_termination.py``).
TERMINATIONS: dict[str, tuple[str, ...]] = {
    "bandit": ("slack_factor", "slack_amount"),
    "median_stopping": (),
    "truncation_selection": ("truncation_percentage",),
}
LIMITS = ("max_total_trials", "max_concurrent_trials", "timeout", "trial_timeout")
#: The output that is there without a step's doing: what it left in ``./outputs`` and ``./logs``.
ARTIFACTS = "artifacts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a file says. ``where`` is the place that it was written at."""

    where: Where = field(compare=False, repr=False)

    @property
    def where_path(self) -> Where:
        """The place of its path, which may be all that is written."""
        return self.where / "path" if isinstance(self.where.value, dict) else self.where


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(Written):
    """What a file of its own may hold."""

    @property
    def source(self) -> Path | None:
        """The file that it was read from; None when made in memory."""
        return self.where.source.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Input(Written):
    """An input that a component declares, or a pipeline job's input with its value.

    A pipeline job's literal is its ``default``; its data is ``path`` (an absolute local path, or a URI as written).
    ``family``: a folder, one of whose files the value names.
    """

    type: str
    optional: bool = False
    default: Any = None
    enum: tuple[Any, ...] | None = None
    min: Any = None
    max: Any = None
    description: str = ""
    mode: str | None = None
    path: str | None = None
    family: Path | None = None

    @property
    def is_data(self) -> bool:
        """Whether the command sees a path rather than a value."""
        return self.type not in PRIMITIVES

    @property
    def where_default(self) -> Where:
        """The place of its default, or of the literal that a pipeline job writes."""
        return self.where / "default" if isinstance(self.where.value, dict) else self.where


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Written):
    """An output that is declared, or a pipeline's or step's setting of one. ``name`` and ``version`` register it."""

    type: str = "uri_folder"
    mode: str | None = None
    path: str | None = None
    name: str | None = None
    version: str | None = None
    is_control: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Document):
    """An environment: a Docker image, a build context, or an image with a conda file (a path or its content)."""

    name: str | None = None
    version: str | None = None
    image: str | None = None
    conda_file: Path | Mapping[str, Any] | None = None
    build_path: Path | None = None
    dockerfile_path: str = "Dockerfile"
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """How a parallel component's script is fed. Values are as written, with Azure ML's defaults.

    ``input_data`` and ``append_row_to`` are references to an input and an output; ``mini_batch_size`` counts files, or
    bytes (``10kb``) of a table; a threshold of -1 ignores every failure. ``error_threshold`` is None where it is not
    written, which is -1 too, but for mini-batches whose script gives back less than it was given.
    """

    kind: str = "run_function"
    entry_script: str = ""
    append_row_to: str | None = None
    input_data: str | None = None
    mini_batch_size: str | None = None
    partition_keys: tuple[str, ...] = ()
    max_concurrency_per_instance: Any = 1
    error_threshold: Any = None
    mini_batch_error_threshold: Any = -1
    max_retries: Any = 2
    timeout: Any = 60
    logging_level: str = "INFO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface(Document):
    """What every component declares."""

    name: str | None = None
    version: str | None = None
    display_name: str | None = None
    description: str = ""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    is_deterministic: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandComponent(Interface):
    """A component that runs one command. ``code`` is a folder or file, a URI as written, or None.

    A parallel component is one too: ``parallel`` says how its script is fed, ``command`` is the script's arguments.
    """

    command: str = ""
    code: Path | str | None = None
    environment: str | Environment | None = None
    additional_includes: tuple[Path, ...] = ()
    distribution: Mapping[str, Any] | None = None
    resources: Mapping[str, Any] | None = None
    parallel: Parallel | None = None

    def place(self, key: str) -> Where:
        """Where ``command``, ``code`` or another key stands: in a parallel component, under its task."""
        if self.parallel is None:
            return self.where / key
        return self.where / "task" / {"command": "program_arguments"}.get(key, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal(Written):
    """A value written at a step's input. Text may hold expressions beside other words; render them."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding(Written):
    """A step's input or output bound to something of the pipeline: ``path`` is ``("parent", "inputs", "x")``."""

    path: tuple[str, ...]
    mode: str | None = None
    type: str | None = None

    def __str__(self) -> str:
        return "${{" + ".".join(self.path) + "}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Data(Written):
    """Data at a step's input: an absolute local path, or a URI as written."""

    path: str
    type: str | None = None
    mode: str | None = None


Value = Literal | Binding | Data


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution(Written):
    """How one hyperparameter is drawn. Numbers are as written, or text that is bound to an input of the pipeline.

    A choice has ``values`` (a mapping among them may hold distributions of its
    own), every other kind ``numbers`` (``min_value`` ...).
    """

    kind: str
    values: tuple[Any, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """``rule`` and ``logbase`` matter to random sampling only; without a ``seed`` it has a fixed one of its own."""

    kind: str = "random"
    rule: str = "random"
    seed: Any = None
    logbase: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """When a trial that is doing badly is ended. Intervals count the values that a trial reports."""

    kind: str
    evaluation_interval: Any = None
    delay_evaluation: Any = None
    slack_factor: Any = None
    slack_amount: Any = None
    truncation_percentage: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep(Written):
    """A sweep over the inputs of its trial. ``where`` is the step, or the job, that it is written in."""

    search_space: Mapping[str, Distribution]
    sampling: Sampling = field(default_factory=Sampling)
    goal: str = "minimize"
    primary_metric: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict)
    termination: Termination | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node(Written):
    """A step that is named as ``${{parent.jobs.NAME}}``: one of an ``if_else``'s blocks, or the body of a loop."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an ``if_else`` step chooses by, and the steps that run for either value; they run under no other.

    ``condition`` is None where it is missing or neither a boolean nor a binding, which is noted when it is read.
    """

    condition: bool | Binding | None
    true_block: tuple[Node, ...] = ()
    false_block: tuple[Node, ...] = ()

    def nodes(self) -> Iterator[tuple[Node, bool]]:
        """Every step of the blocks, and the value that it runs for."""
        yield from ((node, True) for node in self.true_block)
        yield from ((node, False) for node in self.false_block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Written):
    """A step of a pipeline. ``component`` is a reference (a string) when it is registered in a workspace or registry.

    An inline command is given as a component too, its inputs typed by what they are bound to. The component of a sweep
    step is its trial; an input that is searched is bound to ``search_space.NAME``. An ``if_else`` step is its
    ``choice``. Of a step that only Azure runs, inputs and outputs are known and the rest is not looked into; a loop
    among these has a ``body``.
    """

    name: str
    type: str
    component: CommandComponent | PipelineComponent | str | None = None
    inputs: Mapping[str, Value] = field(default_factory=dict)
    outputs: Mapping[str, Binding | Output] = field(default_factory=dict)
    inline: bool = False
    sweep: Sweep | None = None
    compute: str | None = None
    environment: str | Environment | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] | None = None
    distribution: Mapping[str, Any] | None = None
    identity: Mapping[str, Any] | None = None
    services: Mapping[str, Any] = field(default_factory=dict)
    queue_settings: Mapping[str, Any] = field(default_factory=dict)
    display_name: str | None = None
    description: str = ""
    is_deterministic: bool | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    choice: Choice | None = None
    body: Node | None = None

    @property
    def local_component(self) -> CommandComponent | PipelineComponent | None:
        """The component, where it was read from a file and is no reference to one that is registered."""
        return None if isinstance(self.component, str) else self.component

    @property
    def only_on_azure(self) -> bool:
        """Whether a local run refuses it, whatever it says."""
        return self.type in AZURE_ONLY


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``settings:`` of a pipeline job; None where Azure's own default holds."""

    default_compute: str | None = None
    default_datastore: str | None = None
    continue_on_step_failure: bool | None = None
    force_rerun: bool | None = None
    on_init: str | None = None
    on_finalize: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline(Document):
    """A pipeline job."""

    name: str | None = None
    display_name: str | None = None
    experiment_name: str | None = None
    description: str = ""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    outputs: Mapping[str, Output] = field(default_factory=dict)
    jobs: Mapping[str, Step] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    compute: str | None = None
    identity: Mapping[str, Any] | None = None
    services: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineComponent(Interface):
    """A pipeline that is a step of another: declares inputs and outputs as a command component does."""

    jobs: Mapping[str, Step] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureOnly(Document):
    """A job or component of a kind that only Azure runs; it is not looked into."""

    kind: str
    name: str | None = None


Component = CommandComponent | PipelineComponent
Spec = CommandComponent | PipelineComponent | Pipeline | Environment | AzureOnly
