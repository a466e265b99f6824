"""What a plan is made of: steps with everything bound, in an order in which each comes after what it needs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.aml import expressions, values
from azdistill.aml.models import CommandComponent, Distribution, Environment
from azdistill.aml.source import Where
from azdistill.aml.sweeps import SEARCHED, space_mapping
from azdistill.errors import Problem


@dataclass(frozen=True, slots=True)
class Text:
    """An input's value as the command line gets it."""

    text: str


@dataclass(frozen=True, slots=True)
class StepValue(Text):
    """A value that another step of this run wrote. Unlike one that a person wrote, it never names a secret."""

    step: str
    output: str


@dataclass(frozen=True, slots=True)
class Local:
    """An input that is a file or folder of this machine; ``kind`` is its Azure ML type."""

    path: Path
    kind: str


@dataclass(frozen=True, slots=True)
class StepOutput:
    """An input that another step of this run makes; ``others`` make it where that one is of a branch not taken."""

    step: str
    output: str
    others: tuple[StepOutput, ...] = ()

    @property
    def makers(self) -> tuple[StepOutput, ...]:
        """All that may make it, the first one first."""
        return (replace(self, others=()), *self.others) if self.others else (self,)


_SECRET = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")
Bound = Text | Local | StepOutput


@dataclass(frozen=True, slots=True)
class Gate:
    """An ``if_else`` step that lets a step run only where its condition is ``wanted``."""

    name: str
    condition: Text | StepOutput
    wanted: bool


@dataclass(frozen=True, slots=True)
class RunCondition:
    """What holds for a step beside its inputs: all ``gates`` must let it run; ``elsewhere`` says, of a step that runs
    on Azure only, that it does, and ``after`` names the steps that it needs.
    """

    gates: tuple[Gate, ...] = ()
    elsewhere: Problem | None = None
    after: frozenset[str] = frozenset()

    @property
    def needs(self) -> frozenset[str]:
        """Names of the steps that must have ended before it is known whether the step runs."""
        conditions = (gate.condition for gate in self.gates)
        return self.after | {
            maker.step for condition in conditions if isinstance(condition, StepOutput) for maker in condition.makers
        }


#: Nothing.
FREE = RunCondition()


EXCLUSIVE, CACHE_IGNORE, HEADLINE = "azdistill.exclusive", "azdistill.cache_ignore", "azdistill.headline"
NETWORK, STORE, EXIT_CODES = "azdistill.network", "azdistill.store", "azdistill.exit_codes"


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """A step's output; ``standing`` is its place where it is kept between runs.

    ``store``: its component says that it only grows and may be empty (``azdistill.store``), as a teacher's answers do;
    what the step that fills it wrote is not looked at.
    """

    kind: str
    standing: Path | None = None
    store: bool = False


@dataclass(frozen=True, slots=True)
class Feed:
    """How a parallel step's script is fed: see :class:`azdistill.aml.models.Parallel`; every value is known here."""

    entry_script: str
    input: str
    append_row_to: str | None
    mini_batch_size: int | None
    in_bytes: bool
    partition_keys: tuple[str, ...]
    workers: int
    error_threshold: int
    #: Whether a mini-batch with fewer results than items has failed: not where an error_threshold of -1 is written.
    few_results_fail: bool
    mini_batch_error_threshold: int
    max_retries: int
    timeout: int


Template = tuple[expressions.Part, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """When a trial is ended. ``kind`` is Azure ML's word; intervals count the values that the trial has reported."""

    kind: str
    every: int
    not_before: int
    slack_factor: float = 0.0
    slack_amount: float = 0.0
    percentage: int = 0


@dataclass(frozen=True, slots=True)
class PlannedSweep:
    """What a sweep step does. ``templates`` are the inputs that hold hyperparameters, besides those of their names.

    ``logbase`` is the base of the distributions that are drawn as exponents. Times are in seconds.
    """

    space: Mapping[str, Distribution]
    sampling: str
    sobol: bool
    seed: int | None
    logbase: float
    maximize: bool
    primary_metric: str
    total: int
    concurrent: int
    timeout: float | None
    trial_timeout: float | None
    policy: Policy | None
    templates: Mapping[str, Template]

    def as_key(self, ignored: Collection[str] = ()) -> dict[str, Any]:
        """What a cache key holds of it: all that may decide which trial is the best, but for ``ignored`` inputs."""
        plain = {
            key: getattr(self, key)
            for key in ("sampling", "sobol", "seed", "logbase", "maximize", "primary_metric", "total", "concurrent")
        }
        policy = asdict(self.policy) if self.policy else None
        # Text that looks like a reference is another thing than one.
        wired = {
            name: [part.text if isinstance(part, expressions.Text) else {"bound": str(part)} for part in template]
            for name, template in self.templates.items()
            if name not in ignored
        }
        optional = {"policy": policy, "trial_timeout": self.trial_timeout, **({"inputs": wired} if wired else {})}
        return {**plain, "space": space_mapping(self.space), **optional}

    def choices(self) -> list[str]:
        """All that may be chosen, as text."""
        return list(_texts(self.space.values()))

    def inputs(self, chosen: Mapping[str, Any]) -> dict[str, str]:
        """The inputs that a trial is given, for the hyperparameters ``chosen``, as text."""

        def look_up(reference: expressions.Reference) -> str | None:
            return text_of(chosen[reference.name]) if reference.path[0] == SEARCHED else reference.raw

        filled = {name: expressions.render(template, look_up) for name, template in self.templates.items()}
        return {**{name: text_of(value) for name, value in chosen.items()}, **filled}


def _texts(choices: Iterable[Any]) -> Iterator[str]:
    for value in choices:
        if isinstance(value, Distribution):
            yield from _texts(value.values)
        elif isinstance(value, Mapping):
            yield from _texts(value.values())
        else:
            yield values.text(value)


def text_of(value: Any) -> str:
    """A hyperparameter as the command line gets it; a mapping as JSON."""

    return strict_json.dumps(value) if isinstance(value, Mapping) else values.text(value)


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One command to run. ``inputs`` holds those that have a value."""

    name: str
    component: CommandComponent
    inputs: Mapping[str, Bound] = field(default_factory=dict)
    outputs: Mapping[str, PlannedOutput] = field(default_factory=dict)
    environment: str | Environment | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    deterministic: bool = True
    exclusive: bool = False
    headline: bool = False
    cache_ignore: frozenset[str] = frozenset()
    distribution: Mapping[str, Any] | None = None
    #: How many times the command is started, as the processes of a distributed job; None for a job that is not one.
    processes: int | None = None
    parallel: Feed | None = None
    sweep: PlannedSweep | None = None
    #: Of a trial: the sweep step that it belongs to.
    trial_of: str | None = None
    #: What only a container makes a difference for: whether it has a network, and its shared memory (``2g``).
    network: bool = False
    shm_size: str | None = None
    #: ``resources`` as written, and where.
    resources: Mapping[str, Any] = field(default_factory=dict)
    resources_at: Where | None = None
    under: RunCondition = FREE

    @property
    def secrets(self) -> list[str]:
        """Names of the caller's variables that its inputs and variables refer to as ``env:NAME``."""
        return self._secrets(self.inputs)

    @property
    def counted_secrets(self) -> list[str]:
        """Those of them that its result depends on: all but those of inputs that do not count themselves."""
        return self._secrets(self.inputs.keys() - self.cache_ignore)

    def _secrets(self, names: Collection[str]) -> list[str]:
        bindings = (bound for name, bound in self.inputs.items() if name in names)
        literals = [bound.text for bound in bindings if isinstance(bound, Text) and not isinstance(bound, StepValue)]
        searched = self.sweep.choices() if self.sweep else ()
        values = (*literals, *searched, *self.environment_variables.values())
        return list(dict.fromkeys(match[1] for value in values if (match := _SECRET.fullmatch(value))))

    @property
    def workers(self) -> int:
        """Processes of it that work at the same time."""
        return self.parallel.workers if self.parallel else self.processes or 1

    @property
    def needs(self) -> frozenset[str]:
        """Names of the steps that must end well, or be skipped for their branch, before this one can start."""
        makers = (maker for bound in self.inputs.values() if isinstance(bound, StepOutput) for maker in bound.makers)
        return self.under.needs.union(maker.step for maker in makers)

    @property
    def standing(self) -> dict[str, Path]:
        """The outputs that are kept between runs, and where."""
        return {name: output.standing for name, output in self.outputs.items() if output.standing}

    @property
    def in_place(self) -> dict[str, Path]:
        """Those of them that count by what they hold: all but stores."""
        return {name: path for name, path in self.standing.items() if not self.outputs[name].store}

    @property
    def base(self) -> Path:
        """The folder that the component's own paths start from."""
        return self.component.where.source.base


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline, ready to run. ``steps`` are in an order in which each comes after what it needs."""

    name: str
    experiment: str
    steps: Mapping[str, PlannedStep]
    outputs: Mapping[str, StepOutput]
    params: Mapping[str, str]
    continue_on_step_failure: bool
    force_rerun: bool
    #: The steps whose components say that their exit codes are those of sysexits.
    sysexits: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    #: Of a selection: steps whose result has to be there already, and those that have no part in the run.
    given: frozenset[str] = frozenset()
    apart: tuple[str, ...] = ()
    #: Outputs of the pipeline that no step of the selection leads to.
    left_out: Mapping[str, StepOutput] = field(default_factory=dict)
