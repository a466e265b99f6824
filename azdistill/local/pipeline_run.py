"""A whole local run: plan, secrets, cache, scheduler, delivery of the outputs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from azdistill.aml import service
from azdistill.aml.expressions import NAME
from azdistill.aml.models import Environment, Pipeline
from azdistill.errors import AzdistillError, Interrupted, MachineError, RunFailed, UserError
from azdistill.local.cache.entries import Cache
from azdistill.local.cache.hashes import Hashes
from azdistill.local.cache.seal import open_seal
from azdistill.local.outputs.deliver import altered, deliver, delivered_name, refuse_foreign, withdraw
from azdistill.local.outputs.manifest import is_file
from azdistill.local.plan import not_honoured
from azdistill.local.plan.local_settings import LocalSettings, find_settings, stand_in
from azdistill.local.plan.order import thread_shares
from azdistill.local.plan.planner import plan_pipeline
from azdistill.local.plan.scope import refuse_elsewhere
from azdistill.local.plan.selection import EVERYTHING, Selection, left_out, missing, select
from azdistill.local.plan.steps import Plan
from azdistill.local.run.code_taking import take_all
from azdistill.local.run.context import RunContext
from azdistill.local.run.environment import counted, passed_on
from azdistill.local.run.interpreter import Interpreter, find_interpreter
from azdistill.local.run.listener import Listener, Tracking
from azdistill.local.run.prepare import hide_secrets, secret_values, unset_secrets
from azdistill.local.run.result import Result, given_out, is_worth_another_attempt, skip, skipped, withheld
from azdistill.local.run.run_code import Sources, sources_of, take_code
from azdistill.local.run.scheduler import Scheduler
from azdistill.local.run.step import find
from azdistill.local.runners import guard
from azdistill.local.runners.base import Cancellation, Runner
from azdistill.local.runners.process import ProcessRunner
from azdistill.local.store.durable_files import disk_errors
from azdistill.local.store.events import Event, RunState
from azdistill.local.store.home import Home, find_home, refuse_unwritable
from azdistill.local.store.runs import RunLog, new_run_id, run_to_resume
from azdistill.snapshot import Snapshot

if TYPE_CHECKING:
    from azdistill.local.run.containers import Containers


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. ``out``: where the pipeline's outputs go; ``jobs``: how many steps at a time; ``variables``: names of
    the caller's environment variables that steps see beside the usual ones; ``run_id``: the run's id, where the caller
    has one already (no other run may have it); ``home``: the state folder, in place of the one of the environment;
    ``docker``: in containers, with ``network`` in place of what each step asks for; ``resume``: go on with the run of
    this id (or its beginning, or ``latest``) instead of beginning one; ``retries``: how often a step ending with exit
    code 75 is tried again; ``keep_going``: what does not need a failed step is run all the same; ``selection``: the
    steps to run, where not all are; ``strict``: what would not be honoured is refused.
    """

    out: Path | None = None
    jobs: int = min(os.cpu_count() or 1, 4)
    use_cache: bool = True
    python: str | None = None
    experiment: str | None = None
    variables: tuple[str, ...] = ()
    run_id: str | None = None
    home: Path | None = None
    docker: bool = False
    network: str | None = None
    resume: str | None = None
    retries: int = 0
    keep_going: bool = False
    selection: Selection = EVERYTHING
    strict: bool = False

    @property
    def state_folder(self) -> Home:
        """The state folder of the run."""
        return Home(self.home) if self.home else find_home()


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended: its state, and the error that stands for its failure (None when it completed)."""

    state: RunState
    error: AzdistillError | None


def run_pipeline(
    pipeline: Pipeline,
    options: Options,
    listeners: Sequence[Listener] = (),
    tracking: Tracking | None = None,
) -> Finished:
    """Run a pipeline that has been checked. ``tracking`` says where its steps log to MLflow.

    Raises for what is wrong before any step has started; afterwards what went wrong is in the result.
    """
    try:
        finished = _run(pipeline, options, listeners, tracking)
    except MachineError as error:
        raise _advised(options, error) from error.__cause__
    return replace(finished, error=_advised(options, finished.error)) if finished.error else finished


def _advised(options: Options, error: AzdistillError) -> AzdistillError:
    """``error``; of a full disk it says as well what took the room."""
    # Imported here: few runs end so.
    from azdistill.local.cache.room import told

    return told(options.state_folder, error)


def _run(pipeline: Pipeline, options: Options, listeners: Sequence[Listener], tracking: Tracking | None) -> Finished:
    home = options.state_folder
    settings, plan = planned(pipeline, options, home)
    listed = _list_code(plan)
    resumed = run_to_resume(home, options.resume, plan.name).run_id if options.resume else None
    if service.uses(pipeline, NAME):
        options = replace(options, run_id=resumed or options.run_id or new_run_id(plan.name))
        settings, plan = planned(service.filled(pipeline, {NAME: str(options.run_id)}), options, home)
    standing_places = [place for step in plan.steps.values() for place in step.standing.values()]
    home.prepare(standing_places)
    hide_all_secrets(plan, options)
    variables = secret_values(options.variables)
    cancellation = Cancellation()
    containers = make_containers(options, settings, listeners, cancellation) if options.docker else None
    plan = with_notes(plan, containers, options.strict)
    plan = replace(plan, notes=(*plan.notes, *home.exposed(standing_places)))
    interpreters = interpreters_of(home, plan, settings, options)
    with disk_errors("the run cannot go on"), contextlib.ExitStack() as ending:
        with disk_errors("cannot start a run"):
            log = RunLog(home, plan.name, resumed or options.run_id, again=bool(resumed))
            ending.callback(log.close)
            hashes = Hashes(home.hashes)
            ending.callback(hashes.close)
            seal = open_seal(home)
            cache = Cache(home, hash_of=hashes.file)
            ending.callback(cache.close)
        if resumed:
            # The run's own guard ends these as well, within a moment that a quick user does not wait for.
            guard.sweep(_mark(log.run_id))
        code, code_notes = take_all(
            home, hashes, log.folder, plan.steps.values(), lambda line: _tell(listeners, line), listed
        )
        plan = replace(plan, notes=(*plan.notes, *code_notes))
        runner = _runner(log.run_id, containers)
        ending.callback(runner.close)
        jobs, inherited = max(options.jobs, 1), inherited_by(containers)
        substitutes = [
            interpreters[name].executable
            for name, step in plan.steps.items()
            if isinstance(step.environment, Environment) and not settings.python_of(step.environment)
        ]
        if substitutes and not containers:
            _tell(listeners, f"steps run with {substitutes[0]} (--docker: in their environments)")
        context = RunContext(
            plan=plan,
            log=log,
            cache=cache,
            hashes=hashes,
            code=code,
            interpreters=interpreters,
            containers=containers,
            runner=runner,
            cancellation=cancellation,
            use_cache=options.use_cache,
            variables=variables,
            counted=counted(inherited, variables, seal),
            seal=seal,
            inherited=inherited,
            threads=thread_shares(plan.steps, jobs),
            retries=options.retries,
            tracking=tracking,
        )
        scheduler = Scheduler(context, list(listeners), jobs=jobs)
        _refuse_unready(context)
        state = scheduler.run(lambda results: _deliver(plan, options.out, results, hashes))
    return Finished(state, _told(scheduler.undelivered) or _error(state, scheduler.results))


def planned(pipeline: Pipeline, options: Options, home: Home) -> tuple[LocalSettings, Plan]:
    """The settings that hold for a pipeline, and the plan of what the options leave of it."""
    source, out = pipeline.source or Path.cwd(), options.out or home.root
    refuse_unwritable(*(place.absolute() for place in (home.root, source, out)))
    settings = find_settings(pipeline.source.parent if pipeline.source else Path.cwd())
    pipeline = stand_in(pipeline, settings.components)
    plan = plan_pipeline(pipeline, home, experiment=options.experiment, data=settings.data)
    plan = select(plan, options.selection)
    # What no result can let through need not be refused.
    refuse_elsewhere(step.under for step in plan.steps.values() if not skipped(step, {}))
    if options.keep_going:
        plan = replace(plan, continue_on_step_failure=True)
    if options.out:
        refuse_foreign(options.out, plan.outputs, _files(plan))
    return settings, plan


def with_notes(plan: Plan, containers: Containers | None, strict: bool) -> Plan:
    """The plan, with a line for all that will not be honoured, and for the outputs that will not be written.

    ``strict``: what will not be honoured is a SpecError. So is an environment that no image is known for.
    """
    if containers:
        containers.refuse_unnamed(plan.steps.values())
    resources = {name: (step.resources, at) for name, step in plan.steps.items() if (at := step.resources_at)}
    runner_notes = [
        *not_honoured.of_runner(resources, containers is not None, bool(containers and containers.engine.gpus))
    ]
    ours = [note for note in plan.notes if note.partition(": ")[0] not in plan.apart]
    if strict:
        not_honoured.refuse([*ours, *runner_notes])
    return replace(plan, notes=(*ours, *runner_notes, *left_out(plan)))


def make_containers(
    options: Options,
    settings: LocalSettings,
    listeners: Sequence[Listener] = (),
    cancellation: Cancellation | None = None,
) -> Containers:
    """What the steps of a run are contained in. MachineError where there is no engine."""

    # Imported here: what talks to Docker takes a tenth of the time that a run in processes needs to start.
    from azdistill.local.run.containers import Containers
    from azdistill.local.runners.docker.engine import connect

    def say(text: str) -> None:
        _tell(listeners, text)

    network = options.network or settings.network
    return Containers(connect(), settings.images, network, say, settings.limits, cancellation)


def inherited_by(containers: Containers | None) -> dict[str, str]:
    """What the steps of a run see of the caller's environment unasked."""
    return containers.inherited(passed_on()) if containers else passed_on()


def _tell(listeners: Sequence[Listener], text: str) -> None:
    """Say what goes on before the run exists."""
    for listener in listeners:
        listener.hear(Event.of("preparing", text=text), RunState("", Path()))


def interpreters_of(home: Home, plan: Plan, settings: LocalSettings, options: Options) -> dict[str, Interpreter]:
    """The interpreter of each step: the one of its environment (``local.pythons``), or else the run's."""
    with disk_errors(f"cannot write the state folder {home.root}"):
        usual = find_interpreter(home, options.python)
        pythons = {name: settings.python_of(step.environment) for name, step in plan.steps.items()}
        named_by = "local.pythons in azdistill.yml"
        known = {
            python: find_interpreter(home, python, named_by=named_by)
            for python in dict.fromkeys(pythons.values())
            if python
        }
        return {name: known[python] if python else usual for name, python in pythons.items()}


def _runner(run_id: str, containers: Containers | None) -> Runner:
    if containers:
        from azdistill.local.runners.docker.runner import DockerRunner

        return DockerRunner(containers.engine, run_id, containers.of)
    return ProcessRunner(_mark(run_id))


def _mark(run_id: str) -> str:
    """What the environment of every step of a run holds."""
    return f"AZUREML_ROOT_RUN_ID={run_id}"


def _list_code(plan: Plan) -> dict[Sources, Snapshot]:
    """The files of all code. Raises for what cannot be taken, before anything is made for the run."""
    listed: dict[Sources, Snapshot] = {}
    for name, step in plan.steps.items():
        # Steps that share a folder of many files do not walk through it once each.
        if (sources := sources_of(step)) not in listed:
            with disk_errors(f"step '{name}'"):
                listed[sources] = take_code(step)
            refuse_unwritable(*listed[sources].files.values())
    return listed


def hide_all_secrets(plan: Plan, options: Options) -> None:
    """Let no text show the values that are passed to the steps of a run with these options."""
    hide_secrets([*options.variables, *(name for step in plan.steps.values() for name in step.secrets)])


def _known_results(context: RunContext) -> dict[str, Result]:
    """What steps come to that need not run, as far as that is known before any has."""
    results: dict[str, Result] = {}
    for name, step in context.plan.steps.items():
        # What does not fit is the failure of its step, which is told when that is to run.
        if result := skip(step, results):
            if result.well:
                results[name] = result
        elif step.needs <= results.keys():
            with contextlib.suppress(UserError):
                if result := find(context, step, results):
                    results[name] = result
    return results


def _refuse_unready(context: RunContext) -> None:
    """Raise, now rather than hours into the run, for a secret that is not set (a cached step needs none), and for steps
    that are not selected and whose results are needed and not there.
    """
    plan = context.plan
    unset = [name for name, step in plan.steps.items() if unset_secrets(step.secrets)]
    results = _known_results(context) if unset or plan.given else {}
    for name in unset:
        if name not in results:
            secret_values(plan.steps[name].secrets)
    lacking = (name for name in plan.steps if name in plan.given and name not in results)
    if names := [name for name in lacking if plan.steps[name].needs <= results.keys()]:
        raise missing(plan, names)


def _deliver(plan: Plan, out: Path | None, results: Mapping[str, Result], hashes: Hashes) -> dict[str, str]:
    makers = given_out(plan, results)
    paths = {name: results[maker.step].outputs[maker.output] for name, maker in makers.items()}
    # What is known of the outputs that nobody changes any more.
    manifests = {name: (results[maker.step].manifest, maker.output) for name, maker in makers.items()}
    known = {name: (made, output) for name, (made, output) in manifests.items() if output in made.outputs}
    contents = {name: made.content(output) for name, (made, output) in known.items()}
    for name, (made, output) in known.items():
        if not made.has(output, paths[name], hashes.file):
            raise altered(name)
    if out is None:
        return {name: str(path) for name, path in paths.items()}
    withdraw(out.absolute(), withheld(plan, results))
    return deliver(out.absolute(), paths, contents)


def _files(plan: Plan) -> dict[str, str]:
    """What the outputs are called in ``--out`` whose place has a name of its own."""
    planned = {name: plan.steps[maker.step].outputs[maker.output] for name, maker in plan.outputs.items()}
    return {
        name: delivered_name(name, output.standing, is_file(output.kind))
        for name, output in planned.items()
        if output.standing
    }


def _told(failure: BaseException | None) -> AzdistillError | None:
    """A failure as the error that stands for it; a defect of ours is raised as it is."""
    if failure is None or isinstance(failure, AzdistillError):
        return failure
    raise failure


def _error(state: RunState, results: Mapping[str, Result]) -> AzdistillError | None:
    if state.status == "canceled":
        return Interrupted(
            "the run was interrupted", code="AZD371", hint="to go on with it, run it again with --resume latest"
        )
    # Of several the first in the pipeline's order, whichever ended first.
    failed = {name: results[name] for name in state.steps if name in results and results[name].status == "failed"}
    for name, result in failed.items():
        if result.failure:
            return _told(result.failure)
        is_temporary = is_worth_another_attempt(result.exit_code)
        hint = "--retries 3 tries again what ends with exit code 75" if is_temporary else ""
        return _failed(f"step '{name}': {result.error}", name in state.sysexits, result.exit_code, hint)
    # Of a part of a run that was resumed: what failed was left as it was.
    for name, step in state.steps.items() if state.status == "failed" else ():
        if step.status == "failed":
            hint = f"what was selected has succeeded; --resume {state.run_id} runs the rest"
            return _failed(state.error, name in state.sysexits, step.exit_code, hint)
    return None


def _failed(message: str, sysexits: bool, exit_code: int | None, hint: str) -> RunFailed:
    # Of any other step a number says what its program means by it, which nobody here knows.
    told = exit_code if sysexits else None
    return RunFailed(message, code="AZD370", hint=hint, step_exit_code=told)
