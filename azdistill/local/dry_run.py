"""What a run would do, without doing it: which steps would run, which would be reused, and why. Nothing is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from azdistill.aml.models import Pipeline
from azdistill.local.cache.entries import Cache
from azdistill.local.cache.explain import Difference, against, last_alike
from azdistill.local.cache.hashes import Hashes
from azdistill.local.cache.key import ResultKey, key_of
from azdistill.local.cache.seal import open_seal
from azdistill.local.outputs.manifest import Manifest
from azdistill.local.pipeline_run import (
    Options,
    hide_all_secrets,
    inherited_by,
    interpreters_of,
    make_containers,
    planned,
    with_notes,
)
from azdistill.local.plan.selection import missing
from azdistill.local.plan.steps import Local, Plan, PlannedStep
from azdistill.local.run.attempt import finished, outputs_of
from azdistill.local.run.context import PlanContext
from azdistill.local.run.environment import counted
from azdistill.local.run.result import Result, skip
from azdistill.local.run.run_code import CodeAsItIs
from azdistill.local.run.step import may_reuse, reusable
from azdistill.local.store.events import RunState
from azdistill.local.store.home import Home
from azdistill.local.store.runs import list_runs, run_to_resume


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would become of one step. ``after``: the steps that would run before it and decide whether it does.

    ``skip``: it is of a branch that would not be taken.
    """

    action: Literal["run", "reuse", "after", "skip"]
    reason: str
    after: tuple[str, ...] = ()
    compared_with: str | None = None
    differences: list[Difference] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The object that ``azdistill run --dry-run --json`` prints for a step."""
        differences = [difference.as_json() for difference in self.differences]
        return {**asdict(self), "after": list(self.after), "differences": differences}


def foresee(pipeline: Pipeline, options: Options) -> tuple[Plan, dict[str, Forecast]]:
    """The plan of a run, and what would become of each of its steps, in order.

    Raises what the run itself would raise before its first step, but for secrets that are not set.
    """
    home = replace(options.state_folder, looking=True)
    settings, plan = planned(pipeline, options, home)
    hide_all_secrets(plan, options)
    resumed = run_to_resume(home, options.resume, plan.name) if options.resume else None
    containers = make_containers(options, settings) if options.docker else None
    plan = with_notes(plan, containers, options.strict)
    hashes = Hashes(home.hashes, looking=True)
    cache = Cache(home, looking=True, hash_of=hashes.file)
    seal = open_seal(home)
    context = PlanContext(
        plan=plan,
        cache=cache,
        hashes=hashes,
        code=CodeAsItIs(hashes),
        interpreters=interpreters_of(home, plan, settings, options),
        containers=containers,
        use_cache=options.use_cache,
        # One that is not set is told when the run is to start.
        counted=counted(inherited_by(containers), {name: os.environ.get(name, "") for name in options.variables}, seal),
        seal=seal,
    )
    try:
        return plan, _Foresight(home, context, resumed, list_runs(home)).steps()
    finally:
        hashes.close()


class _Foresight:
    def __init__(self, home: Home, context: PlanContext, resumed: RunState | None, runs: list[RunState]) -> None:
        self._home, self._context, self._resumed, self._runs = home, context, resumed, runs
        self._plan = context.plan
        self._results: dict[str, Result] = {}

    def steps(self) -> dict[str, Forecast]:
        foreseen = {name: self._step(step) for name, step in self._plan.steps.items()}
        lacking = [name for name in self._plan.steps if name in self._plan.given and foreseen[name].action == "run"]
        if lacking:
            raise missing(self._plan, lacking)
        return foreseen

    def _step(self, step: PlannedStep) -> Forecast:
        if result := skip(step, self._results):
            self._results[step.name] = result
            if result.failure:
                raise result.failure
            return Forecast("skip", result.detail)
        if waits := step.needs - self._results.keys():
            after = tuple(name for name in self._plan.steps if name in waits)
            return Forecast("after", f"what it needs of {', '.join(after)} is not known before", after)
        if names := [n for n, b in step.inputs.items() if isinstance(b, Local) and self._home.awaits(b.path)]:
            return Forecast("run", f"its input {', '.join(map(repr, names))} would be fetched first")
        containers = self._context.containers
        if containers and not containers.built(step):
            return Forecast("run", "its image is not on this machine yet")
        key = key_of(self._context, step, self._results)
        return self._reused(step, key) or self._run(step, key)

    def _reused(self, step: PlannedStep, key: ResultKey) -> Forecast | None:
        entry = reusable(self._context, step, key)
        if entry:
            self._keep(step, entry.manifest, entry.outputs)
            maker = entry.about().get("run_id")
            return Forecast(
                "reuse", f"nothing it depends on has changed since {maker or 'an earlier run'}", compared_with=maker
            )
        hash_of = self._context.hashes.file
        if self._resumed and (earlier := finished(self._resumed.folder, step, key, hash_of)):
            self._keep(step, earlier[1], outputs_of(earlier[0], list(earlier[1].outputs)))
            run_id = self._resumed.run_id
            return Forecast("reuse", f"it finished in {run_id}", compared_with=run_id)
        return None

    def _run(self, step: PlannedStep, key: ResultKey) -> Forecast:
        if not may_reuse(self._context, step):
            return Forecast("run", self._why_never(step))
        earlier = last_alike(self._home, self._runs, self._plan.name, step.name)
        reason, compared_with, changed = against(self._home, earlier, step.name, key.as_stored(), key.digest)
        return Forecast("run", reason, (), compared_with, changed)

    def _why_never(self, step: PlannedStep) -> str:
        if not step.deterministic:
            return "it runs every time: is_deterministic is false"
        option = "force_rerun" if self._plan.force_rerun else "--no-cache"
        return f"it runs every time: {option} was asked for"

    def _keep(self, step: PlannedStep, manifest: Manifest, outputs: Mapping[str, Path]) -> None:
        places = {**outputs, **step.standing}
        self._results[step.name] = Result("cached", outputs=places, manifest=manifest)
