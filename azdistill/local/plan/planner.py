"""The plan of a local run: a pipeline flattened into command steps, every input bound to a value, a path or another
step.

Nested pipelines disappear: their steps get dotted names (``train.fit``), their inputs and outputs are followed to what
they stand for. What cannot be run here is found while planning, all of it at once, and raised as one SpecError.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
from azdistill.aml.source import Report
from azdistill.errors import raise_errors
from azdistill.local.plan import not_honoured
from azdistill.local.plan.data_locations import DataLocations
from azdistill.local.plan.order import in_order
from azdistill.local.plan.scope import Scope, in_one_round, maker, under
from azdistill.local.plan.steps import (
    CACHE_IGNORE,
    EXCLUSIVE,
    EXIT_CODES,
    FREE,
    HEADLINE,
    NETWORK,
    STORE,
    Bound,
    Feed,
    Local,
    Plan,
    PlannedOutput,
    PlannedStep,
    RunCondition,
    Text,
)
from azdistill.local.plan.sweeps import plan_sweep
from azdistill.local.store.home import Home

#: The datastore of a workspace that no setting replaces.
DEFAULT_STORE = "workspaceblobstore"
#: Letters of a step's name, that a folder's may have beside what is added (of a trial, its number).
_LONGEST_NAME = 240


def plan_pipeline(
    pipeline: Pipeline, home: Home, *, experiment: str | None = None, data: Mapping[str, Path] | None = None
) -> Plan:
    """The plan of a pipeline that :func:`azdistill.aml.check` has no errors for.

    ``data`` says what stands here for data of a workspace (see :class:`DataLocations`).
    """
    name = pipeline.name or pipeline.display_name or (pipeline.source.stem if pipeline.source else "pipeline")
    report = Report()
    report.extend(service.unfired(pipeline))
    datastore = (pipeline.settings.default_datastore or DEFAULT_STORE).removeprefix("azureml:")
    planner = _Planner(home, report, data or {}, datastore)
    pipeline = service.filled(pipeline, {DEFAULT_DATASTORE: datastore})
    bindings = {key: planner.job_input(key, value) for key, value in pipeline.inputs.items()}
    inputs = {key: bound for key, bound in bindings.items() if bound}
    standing_paths = {key: planner.standing(output) for key, output in pipeline.outputs.items()}
    planner.flatten(pipeline.jobs, "", inputs, {key: path for key, path in standing_paths.items() if path})
    outputs = {key: maker(pipeline.jobs, "", key) for key in pipeline.outputs}
    raise_errors(report.problems)
    return Plan(
        name=name,
        experiment=experiment or pipeline.experiment_name or name,
        steps=in_order(planner.steps),
        outputs={key: source for key, source in outputs.items() if source},
        params={key: str(bound.path) if isinstance(bound, Local) else bound.text for key, bound in inputs.items()},
        continue_on_step_failure=bool(pipeline.settings.continue_on_step_failure),
        force_rerun=bool(pipeline.settings.force_rerun),
        sysexits=planner.sysexits,
        notes=(*not_honoured.of_job(pipeline), *planner.notes),
    )


class _Planner:
    """Flattens one pipeline; ``datastore`` is what ``${{default_datastore}}`` stands for."""

    def __init__(self, home: Home, report: Report, data: Mapping[str, Path], datastore: str) -> None:
        self._home, self._report, self._datastore = home, report, datastore
        self.steps: dict[str, PlannedStep] = {}
        self.sysexits = frozenset[str]()
        self.notes: list[str] = []
        self._locations = DataLocations(home, report, data, self.notes.append)

    def job_input(self, name: str, declared: Input) -> Text | Local | None:
        """A pipeline job's own input."""
        if declared.path is not None:
            return self._locations.find(f"input '{name}'", declared.path, declared.type, declared.where)
        return None if declared.default is None else Text(values.text(declared.default))

    def standing(self, output: Output) -> Path | None:
        """The folder of an output that is kept between runs; None for one that is not."""
        if not output.path:
            return None
        uri = fill(output.path, {DEFAULT_DATASTORE: self._datastore})
        return self._locations.standing(uri, output.where)

    def flatten(
        self,
        jobs: Mapping[str, Step],
        prefix: str,
        inputs: Mapping[str, Bound],
        standing_paths: Mapping[str, Path],
        conditions: RunCondition = FREE,
    ) -> None:
        """Add the steps of one pipeline, whose inputs are bound already; ``conditions`` is what holds for all of it."""
        scope = Scope(jobs, prefix, inputs, self._report, self._locations.find)
        step_conditions = under(scope, conditions)
        for step in map(in_one_round, jobs.values()):
            component = step.component
            if step.only_on_azure:
                # Planned for its place among the others, and never run.
                name, component = prefix + step.name, CommandComponent(where=step.where)
                self.steps[name] = PlannedStep(name, component, under=step_conditions[step.name])
            elif isinstance(component, CommandComponent):
                self._command(step, component, scope, standing_paths, step_conditions[step.name])
            elif isinstance(component, PipelineComponent):
                outputs = self._outputs(step, component, standing_paths)
                inner_paths = {name: output.standing for name, output in outputs.items() if output.standing}
                inner_inputs = scope.bound(step, component.inputs)
                self.flatten(
                    component.jobs, f"{prefix}{step.name}.", inner_inputs, inner_paths, step_conditions[step.name]
                )
            elif step.choice is None:
                self._registered(step)

    def _command(
        self,
        step: Step,
        component: CommandComponent,
        scope: Scope,
        standing_paths: Mapping[str, Path],
        conditions: RunCondition,
    ) -> None:
        name = scope.prefix + step.name
        if len(name.encode()) > _LONGEST_NAME:
            message = f"step '{name[:40]}...': a name of {len(name)} letters is too long for the folder of its attempts"
            self._report.error("AZD341", message, step.where, key=True, hint=f"at most {_LONGEST_NAME}")
        if isinstance(component.code, str):
            self._report.error("AZD340", f"code at {component.code} cannot be run locally", component.place("code"))
        distribution, _ = not_honoured.setting(step, component, "distribution")
        resources, resources_at = not_honoured.setting(step, component, "resources")
        self.notes += not_honoured.of_step(name, step, component)
        self.notes += not_honoured.of_size(name, step, component, scope.whole)
        tags = {**component.tags, **step.tags}
        self.sysexits |= {name} if tags.get(EXIT_CODES) == "sysexits" else set()
        timeout = None if step.sweep else step.limits.get("timeout")
        deterministic = component.is_deterministic if step.is_deterministic is None else step.is_deterministic
        self.steps[name] = PlannedStep(
            name=name,
            component=component,
            inputs=scope.bound(step, component.inputs),
            outputs=self._outputs(step, component, standing_paths),
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
            shm_size=None if resources.get("shm_size") is None else str(resources["shm_size"]),
            resources=resources,
            resources_at=resources_at,
            cache_ignore=_names(tags.get(CACHE_IGNORE)),
            distribution=distribution or None,
            processes=self._processes(step, component, scope) if distribution else None,
            parallel=self._feed(component, component.parallel, scope) if component.parallel else None,
            under=conditions,
            sweep=plan_sweep(step, step.sweep, scope) if step.sweep else None,
        )

    def _feed(self, component: CommandComponent, task: Parallel, scope: Scope) -> Feed:
        """The feed of a parallel step; a kind of task that is not run here is noted."""
        if task.kind != "run_function":
            message = f"a parallel task of type {task.kind} is not run locally"
            self._report.error("AZD349", message, component.where / "task" / "type", hint="locally: run_function")

        def whole(key: str, least: int) -> int:
            return scope.whole(getattr(task, key), component.where / key, least)

        error_threshold = -1 if task.error_threshold is None else whole("error_threshold", -1)
        size = mini_batch_size(scope.render(task.mini_batch_size)) if task.mini_batch_size else None
        if task.mini_batch_size and size is None:
            self._report.error("AZD172", "mini_batch_size is no size", component.where / "mini_batch_size")
        return Feed(
            entry_script=task.entry_script,
            input=_sole_name(task.input_data),
            append_row_to=_sole_name(task.append_row_to) or None,
            mini_batch_size=size[0] if size else None,
            in_bytes=bool(size and size[1]),
            partition_keys=task.partition_keys,
            workers=whole("max_concurrency_per_instance", 1),
            error_threshold=error_threshold,
            few_results_fail=error_threshold >= 0 or task.error_threshold is None,
            mini_batch_error_threshold=whole("mini_batch_error_threshold", -1),
            max_retries=whole("max_retries", 0),
            timeout=whole("timeout", 1),
        )

    def _processes(self, step: Step, component: CommandComponent, scope: Scope) -> int:
        """Processes of a distributed step; a kind that is not run here is noted."""
        distribution, where = not_honoured.setting(step, component, "distribution")
        kind, servers = distribution["type"], "parameter_server_count"
        hint = "'azdistill submit' takes it; locally: pytorch, and tensorflow without parameter servers"
        if kind not in ("pytorch", "tensorflow"):
            message = f"step '{step.name}': distribution of type {kind} is not run locally"
            self._report.error("AZD348", message, where / "type", hint=hint)
        elif scope.whole(distribution.get(servers, 0), where / servers, 0):
            message = f"step '{step.name}': parameter servers are not run locally"
            self._report.error("AZD348", message, where / servers, hint=hint)
        if kind == "tensorflow":
            instances = not_honoured.setting(step, component, "resources")[0].get("instance_count", 1)
            return scope.whole(distribution.get("worker_count", instances), where / "worker_count")
        return scope.whole(distribution.get("process_count_per_instance", 1), where / "process_count_per_instance")

    def _outputs(
        self, step: Step, component: CommandComponent | PipelineComponent, standing_paths: Mapping[str, Path]
    ) -> dict[str, PlannedOutput]:
        planned = {}
        stores = _names({**component.tags, **step.tags}.get(STORE))
        for name, declared in component.outputs.items():
            setting = step.outputs.get(name)
            path = None
            if isinstance(setting, Output):
                path = self.standing(setting)
            elif isinstance(setting, Binding):
                path = standing_paths.get(".".join(setting.path[2:]))
            # A value is handed on, never kept in a place of its own.
            path = None if declared.type in PRIMITIVES else path
            if path and setting and isinstance(component, CommandComponent):
                self._locations.claim(path, declared.type, setting.where)
            # Components of earlier versions, of which projects have copies, do not say what the answers are.
            is_store = path is not None and (name in stores or path == self._home.answers)
            planned[name] = PlannedOutput(declared.type, path, is_store)
        return planned

    def _registered(self, step: Step) -> None:
        message = f"step '{step.name}' runs the registered component {step.component}"
        hint = "name the component's YAML file under local.components in azdistill.yml"
        self._report.error("AZD342", message, step.where / ("trial" if step.sweep else "component"), hint=hint)


def _sole_name(expression: str | None) -> str:
    """The name in ``${{inputs.NAME}}`` or ``${{outputs.NAME}}``, alone or before the rest of a path."""
    references = [reference for reference, _ in expressions.references(expressions.parse(expression or ""))]
    return references[0].name if references else ""


def _names(tag: str | None) -> frozenset[str]:
    """The names in a tag, between commas."""
    return frozenset(word.strip() for word in (tag or "").split(",") if word.strip())


def _is_on(value: object) -> bool:
    return str(value).lower() == "true"
