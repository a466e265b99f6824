"""The plan of a local run: a pipeline flattened into command steps, every input bound to a value, a path or another
step.

Nested pipelines disappear: their steps get dotted names (``train.fit``), their inputs and outputs are followed to what
they stand for. What cannot be run here is found while planning, all of it at once, and raised as one SpecError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azdistill.aml import expressions, service, values
from azdistill.aml.expressions import DEFAULT_DATASTORE, fill
from azdistill.aml.models import (
    PRIMITIVES,
    Binding,
    CommandComponent,
    Input,
    Output,
    Parallel,
    Pipeline,
    PipelineComponent,
    Step,
)
from azdistill.aml.parallel_components import mini_batch_size
from azdistill.aml.source import Report, Where
from azdistill.errors import SpecError
from azdistill.local.plan import data_locations, not_honoured
from azdistill.local.plan.order import in_order
from azdistill.local.plan.scope import Scope, in_one_round, maker, under
from azdistill.local.plan.steps import (
    CACHE_IGNORE,
    EXCLUSIVE,
    FREE,
    HEADLINE,
    NETWORK,
    Bound,
    Feed,
    Local,
    Plan,
    PlannedOutput,
    PlannedStep,
    Text,
    Under,
)
from azdistill.local.plan.sweeps import plan_sweep
from azdistill.local.store.home import Home

#: The datastore of a workspace that no setting replaces.
DEFAULT_STORE = "workspaceblobstore"
#: Letters of a step's name, that a folder's may have beside what is added (of a trial, its number).
_LONGEST_NAME = 240


def make_plan(
    pipeline: Pipeline, home: Home, *, experiment: str | None = None, data: Mapping[str, Path] | None = None
) -> Plan:
    """The plan of a pipeline that :func:`azdistill.aml.check` has no errors for.

    ``data`` says what stands here for data of a workspace (see :mod:`azdistill.local.plan.data_locations`).
    """
    name = pipeline.name or pipeline.display_name or (pipeline.source.stem if pipeline.source else "pipeline")
    report = Report()
    report.extend(service.unfired(pipeline))
    datastore = (pipeline.settings.default_datastore or DEFAULT_STORE).removeprefix("azureml:")
    planner = _Planner(home, report, data or {}, datastore)
    pipeline = service.filled(pipeline, {DEFAULT_DATASTORE: datastore})
    given = {key: planner.job_input(key, value) for key, value in pipeline.inputs.items()}
    inputs = {key: bound for key, bound in given.items() if bound}
    standing = {key: planner.standing(output) for key, output in pipeline.outputs.items()}
    planner.flatten(pipeline.jobs, "", inputs, {key: path for key, path in standing.items() if path})
    outputs = {key: maker(pipeline.jobs, "", key) for key in pipeline.outputs}
    if any(problem.severity == "error" for problem in report.problems):
        raise SpecError(report.problems)
    return Plan(
        name=name,
        experiment=experiment or pipeline.experiment_name or name,
        steps=in_order(planner.steps),
        outputs={key: made for key, made in outputs.items() if made},
        params={key: bound.text if isinstance(bound, Text) else str(_shown(bound)) for key, bound in inputs.items()},
        continue_on_step_failure=bool(pipeline.settings.continue_on_step_failure),
        force_rerun=bool(pipeline.settings.force_rerun),
        notes=(*not_honoured.of_job(pipeline), *planner.notes),
    )


def _shown(bound: Bound) -> object:
    return bound.path if isinstance(bound, Local) else bound


@dataclass(slots=True)
class _Planner:
    home: Home
    report: Report
    data: Mapping[str, Path] = field(default_factory=dict)
    #: What ``${{default_datastore}}`` stands for.
    datastore: str = DEFAULT_STORE
    steps: dict[str, PlannedStep] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    claims: data_locations.Claims = field(init=False)

    def __post_init__(self) -> None:
        self.claims = data_locations.Claims(self.report)

    def job_input(self, name: str, declared: Input) -> Bound | None:
        """A pipeline job's own input."""
        if declared.path is not None:
            return self._path(f"input '{name}'", declared.path, declared.type, declared.where)
        return None if declared.default is None else Text(values.text(declared.default))

    def standing(self, output: Output) -> Path | None:
        """The folder of an output that is kept between runs; None for one that is not."""
        if not output.path:
            return None
        uri = fill(output.path, {DEFAULT_DATASTORE: self.datastore})
        return data_locations.standing(self.home, uri, output.where, self.report)

    def flatten(
        self,
        jobs: Mapping[str, Step],
        prefix: str,
        inputs: Mapping[str, Bound],
        standing: Mapping[str, Path],
        outer: Under = FREE,
    ) -> None:
        """Add the steps of one pipeline, whose inputs are bound already; ``outer`` is what holds for all of it."""
        scope = Scope(jobs, prefix, inputs, self.report, self._path)
        held = under(scope, outer)
        for step in map(in_one_round, jobs.values()):
            component = step.component
            if step.only_on_azure:
                # Planned for its place among the others, and never run.
                name, component = prefix + step.name, CommandComponent(where=step.where)
                self.steps[name] = PlannedStep(name, component, under=held[step.name])
            elif isinstance(component, CommandComponent):
                self._command(step, component, scope, standing, held[step.name])
            elif isinstance(component, PipelineComponent):
                inner = self._outputs(step, component, standing)
                kept = {name: output.standing for name, output in inner.items() if output.standing}
                given = scope.bound(step, component.inputs)
                self.flatten(component.jobs, f"{prefix}{step.name}.", given, kept, held[step.name])
            elif step.choice is None:
                self._registered(step)

    def _command(
        self, step: Step, component: CommandComponent, scope: Scope, standing: Mapping[str, Path], under: Under
    ) -> None:
        name = scope.prefix + step.name
        if len(name.encode()) > _LONGEST_NAME:
            message = f"step '{name[:40]}...': a name of {len(name)} letters is too long for the folder of its attempts"
            self.report.error("AZD341", message, step.where, key=True, hint=f"at most {_LONGEST_NAME}")
        if isinstance(component.code, str):
            self.report.error("AZD340", f"code at {component.code} cannot be run locally", component.place("code"))
        distribution = step.distribution or component.distribution
        self.notes += not_honoured.of_step(name, step, component)
        self.notes += not_honoured.of_size(name, step, component, scope.whole)
        tags = {**component.tags, **step.tags}
        timeout = None if step.sweep else step.limits.get("timeout")
        deterministic = component.is_deterministic if step.is_deterministic is None else step.is_deterministic
        self.steps[name] = PlannedStep(
            name=name,
            component=component,
            inputs=scope.bound(step, component.inputs),
            outputs=self._outputs(step, component, standing),
            environment=step.environment or component.environment,
            environment_variables={
                key: scope.variable(text, step.where / "environment_variables" / key)
                for key, text in step.environment_variables.items()
            },
            timeout=None if timeout is None else scope.whole(timeout, step.where / "limits" / "timeout"),
            deterministic=deterministic,
            exclusive=_is_on(tags.get(EXCLUSIVE)),
            headline=_is_on(tags.get(HEADLINE)),
            network=_is_on(tags.get(NETWORK)),
            shm_size=_text_of((step.resources or component.resources or {}).get("shm_size")),
            resources=step.resources or component.resources or {},
            resources_at=(step if step.resources else component).where / "resources",
            cache_ignore=frozenset(word.strip() for word in tags.get(CACHE_IGNORE, "").split(",") if word.strip()),
            distribution=distribution,
            processes=self._processes(step, component, scope) if distribution else None,
            parallel=self._feed(component, component.parallel, scope) if component.parallel else None,
            under=under,
            sweep=plan_sweep(step, step.sweep, scope) if step.sweep else None,
        )

    def _feed(self, component: CommandComponent, written: Parallel, scope: Scope) -> Feed:
        """The feed of a parallel step; a kind of task that is not run here is noted."""
        if written.kind != "run_function":
            message = f"a parallel task of type {written.kind} is not run locally"
            self.report.error("AZD349", message, component.where / "task" / "type", hint="locally: run_function")

        def whole(key: str, least: int) -> int:
            return scope.whole(getattr(written, key), component.where / key, least)

        most = -1 if written.error_threshold is None else whole("error_threshold", -1)
        size = mini_batch_size(scope.render(written.mini_batch_size)) if written.mini_batch_size else None
        if written.mini_batch_size and size is None:
            self.report.error("AZD172", "mini_batch_size is no size", component.where / "mini_batch_size")
        return Feed(
            entry_script=written.entry_script,
            input=_sole_name(written.input_data),
            append_row_to=_sole_name(written.append_row_to) or None,
            mini_batch_size=size[0] if size else None,
            in_bytes=bool(size and size[1]),
            partition_keys=written.partition_keys,
            workers=whole("max_concurrency_per_instance", 1),
            error_threshold=most,
            few_results_fail=most >= 0 or written.error_threshold is None,
            mini_batch_error_threshold=whole("mini_batch_error_threshold", -1),
            max_retries=whole("max_retries", 0),
            timeout=whole("timeout", 1),
        )

    def _processes(self, step: Step, component: CommandComponent, scope: Scope) -> int:
        """Processes of a distributed step; a kind that is not run here is noted."""
        where = (step if step.distribution else component).where / "distribution"
        distribution = step.distribution or component.distribution or {}
        kind, servers = distribution["type"], "parameter_server_count"
        hint = "'azdistill submit' takes it; locally: pytorch, and tensorflow without parameter servers"
        if kind not in ("pytorch", "tensorflow"):
            message = f"step '{step.name}': distribution of type {kind} is not run locally"
            self.report.error("AZD348", message, where / "type", hint=hint)
        elif scope.whole(distribution.get(servers, 0), where / servers, 0):
            message = f"step '{step.name}': parameter servers are not run locally"
            self.report.error("AZD348", message, where / servers, hint=hint)
        if kind == "tensorflow":
            instances = (step.resources or component.resources or {}).get("instance_count", 1)
            return scope.whole(distribution.get("worker_count", instances), where / "worker_count")
        return scope.whole(distribution.get("process_count_per_instance", 1), where / "process_count_per_instance")

    def _outputs(
        self, step: Step, component: CommandComponent | PipelineComponent, standing: Mapping[str, Path]
    ) -> dict[str, PlannedOutput]:
        planned = {}
        for name, declared in component.outputs.items():
            setting = step.outputs.get(name)
            kept = None
            if isinstance(setting, Output):
                kept = self.standing(setting)
            elif isinstance(setting, Binding):
                kept = standing.get(".".join(setting.path[2:]))
            # A value is handed on, never kept in a place of its own.
            kept = None if declared.type in PRIMITIVES else kept
            if kept and setting and isinstance(component, CommandComponent):
                self.claims.add(kept, declared.type, setting.where)
            planned[name] = PlannedOutput(declared.type, kept, bool(kept and self.home.is_store(kept)))
        return planned

    def _registered(self, step: Step) -> None:
        message = f"step '{step.name}' runs the registered component {step.component}"
        hint = "name the component's YAML file under local.components in azdistill.yml"
        self.report.error("AZD342", message, step.where / ("trial" if step.sweep else "component"), hint=hint)

    def _path(self, what: str, path: str, kind: str, where: Where) -> Bound | None:
        def tell(text: str) -> None:
            self.notes.append(not_honoured.Note.at(where, text))

        found = data_locations.local_input(self.home, what, path, kind, where, self.report, self.data, tell)
        return Local(found, kind) if found else None


def _sole_name(written: str | None) -> str:
    """The name in ``${{inputs.NAME}}`` or ``${{outputs.NAME}}``, alone or before the rest of a path."""
    found = [reference for reference, _ in expressions.references(expressions.parse(written or ""))]
    return found[0].name if found else ""


def _text_of(value: Any) -> str | None:
    return None if value is None else str(value)


def _is_on(value: object) -> bool:
    return str(value).lower() == "true"
