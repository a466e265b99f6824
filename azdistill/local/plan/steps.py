"""What a plan is made of: steps with everything bound, in an order in which each comes after what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azdistill.aml.models import CommandComponent, Environment
from azdistill.aml.source import Where
from azdistill.local.plan.bindings import FREE, Bound, Made, Under
from azdistill.local.plan.sweeps import PlannedSweep

EXCLUSIVE, CACHE_IGNORE, HEADLINE = "azdistill.exclusive", "azdistill.cache_ignore", "azdistill.headline"
NETWORK = "azdistill.network"


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """A step's output; ``standing`` is its place where it is kept between runs.

    ``store``: that is azdistill's own (``azdistill/answers``), which only grows: what is in it counts in no key.
    """

    kind: str
    standing: Path | None = None
    store: bool = False


@dataclass(frozen=True, slots=True)
class Feed:
    """How a parallel step's script is fed: see :class:`azdistill.aml.Parallel`; every value is known here."""

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


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One command to run. ``inputs`` holds those that have a value."""

    name: str
    component: CommandComponent
    inputs: Mapping[str, Bound]
    outputs: Mapping[str, PlannedOutput]
    environment: str | Environment | None
    environment_variables: Mapping[str, str]
    timeout: float | None
    deterministic: bool
    exclusive: bool
    headline: bool
    cache_ignore: frozenset[str]
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
    under: Under = FREE

    @property
    def workers(self) -> int:
        """Processes of it that work at the same time."""
        return self.parallel.workers if self.parallel else self.processes or 1

    @property
    def needs(self) -> frozenset[str]:
        """Names of the steps that must end well, or be skipped for their branch, before this one can start."""
        makers = (maker for bound in self.inputs.values() if isinstance(bound, Made) for maker in bound.makers)
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
    outputs: Mapping[str, Made]
    params: Mapping[str, str]
    continue_on_step_failure: bool
    force_rerun: bool
    notes: tuple[str, ...] = ()
    #: Of a selection: steps whose result has to be there already, and those that have no part in the run.
    given: frozenset[str] = frozenset()
    apart: tuple[str, ...] = ()
    #: Outputs of the pipeline that no step of the selection leads to.
    left_out: Mapping[str, Made] = field(default_factory=dict)
