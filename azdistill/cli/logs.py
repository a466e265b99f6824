"""``azdistill logs``: what the steps of a run printed, here or on Azure."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from azdistill import local
from azdistill.cli.options import workspace_options
from azdistill.cli.text import safe_text
from azdistill.errors import AzdistillError, Interrupted, RunFailed, UserError, did_you_mean

if TYPE_CHECKING:
    from azdistill.cloud.jobs.follow import Job
    from azdistill.cloud.workspace.connect import Connection, Where
    from azdistill.local import RunState, StepState

_LOOK_EVERY = 0.2


@click.command("logs")
@click.argument("step", required=False)
@click.option("--run", metavar="RUN", help="The run, here or on Azure (default: the one begun last from here).")
@click.option("-f", "--follow", "follows", is_flag=True, help="Keep printing new lines until the run ends.")
@workspace_options
def logs_command(step: str | None, run: str | None, follows: bool, where: Any) -> None:
    """Print the logs of a run, of all steps or of STEP, each line behind the name of its step.

    RUN is a run here or on Azure: its name, the beginning of one, or 'latest'. When it failed, the failed step and the
    lines that say why come first; with -f the exit code is the run's. Reused steps show the log of the run that made
    their results when they are named.
    """
    if _is_here(step, run, where, follows):
        return
    from azdistill.cli import watch
    from azdistill.cloud.jobs import recent
    from azdistill.cloud.jobs.follow import get_job
    from azdistill.cloud.workspace.connect import connect

    try:
        connection = connect(where)
    except UserError as error:
        raise _nowhere(error, run) from None
    if run is None and step is not None and step in recent.recent(connection):
        # A run's name where a step's is expected can only mean the run.
        run, step = step, None
    name = recent.resolve(connection, run)
    job = get_job(connection, name)
    refuse_unknown_step(job, step)
    for line in watch.why_failed(connection, job):
        click.echo(line)
    if not follows or job.has_ended:
        _print(connection, job, step)
    else:
        job = _follow(connection, name, step)
        for line in watch.why_failed(connection, job):
            click.echo(line, err=True)
    if follows and (failure := watch.error_of(job)):
        raise failure


def _is_here(step: str | None, run: str | None, where: Where, follows: bool) -> bool:
    """Print the logs of a run on this machine, if that is what is meant: a workspace that is named has the others."""
    from azdistill.cloud.jobs import recent

    submitted = recent.submitted()
    if any(dataclasses.astuple(where)) or (run is None and step in submitted):
        return False
    local_run, step = _meant_here(run, step, max(submitted.values(), default=None))
    if not local_run:
        return False
    if run is None or run == "latest":
        click.echo(f"run {local_run.run_id}, on this machine", err=True)
    _print_local(local_run, step, follows=follows)
    return True


def _nowhere(error: UserError, run: str | None) -> UserError:
    """The error where no workspace is named, and nothing here is meant either."""
    if error.code != "AZD411":
        return error
    latest = [local_run.run_id for local_run in local.list_runs(local.find_home())][:5]
    if run is None or not latest:
        hint = f"azdistill run FILE; on Azure: {error.hint}"
        return UserError("there are no runs here yet", code="AZD383", hint=hint)
    hint = f"{did_you_mean(run, latest)}; for one on Azure name its workspace (azdistill logs --help)"
    return UserError(f"no run '{run}' here", code="AZD385", hint=hint)


def refuse_unknown_step(job: Job, step: str | None) -> None:
    """Raise UserError AZD437 where the run has no such step."""
    if step is None or step in job.steps or any(name.startswith(f"{step}.") for name in job.steps):
        return
    hint = did_you_mean(step, list(job.steps))
    raise UserError(f"the run {job.name} has no step '{step}'", code="AZD437", hint=hint)


def _print(connection: Connection, job: Job, step: str | None) -> None:
    from azdistill.cloud.jobs.logs import LogTail
    from azdistill.cloud.jobs.run_history import History
    from azdistill.cloud.workspace.errors import explain

    tail = LogTail(History(connection), [step] if step else None, reused=step is not None)
    with explain("reading logs"):
        count = tail.read(job, lambda name, text: click.echo(f"{name} | {text}"))
    if not count:
        waiting = "nothing was printed" if job.has_ended else f"nothing is printed yet ({job.status.lower()})"
        click.echo(waiting, err=True)


def _follow(connection: Connection, name: str, step: str | None) -> Job:
    from azdistill.cli import watch
    from azdistill.cloud.jobs.follow import FollowListener, follow

    class Lines(FollowListener):
        def line(self, step: str, text: str) -> None:
            click.echo(f"{step} | {text}")

        def trouble(self, text: str) -> None:
            click.echo(f"waiting: {text}", err=True)

    try:
        return follow(connection, name, Lines(), steps=[step] if step else None)
    except KeyboardInterrupt:
        raise watch.left_alone(name) from None


def _meant_here(run: str | None, step: str | None, submitted: float | None) -> tuple[RunState | None, str | None]:
    """The local run that is meant, and the step of it: the run by its id or the beginning of one, or the newest where
    ``run`` is None or ``latest`` and nothing was submitted (Unix time) after it began. None: it is one on Azure.

    Raises UserError where several local runs begin so.
    """
    runs = local.list_runs(local.find_home())
    if run is None and step in [each.run_id for each in runs]:
        # A run's name where a step's is expected can only mean the run.
        run, step = step, None
    if run is None or run == "latest":
        # One that says that it began in the future had a wrong clock, which says nothing about what was submitted.
        is_newest = runs and (submitted is None or submitted < runs[0].started <= time.time())
        return (runs[0] if is_newest else None), step
    return local.named(run, runs), step


def _print_local(run: RunState, step: str | None, *, follows: bool) -> None:
    """Print what the steps of ``run``, or one of them, printed; with ``follows`` until the run ends, as it ended.

    Raises UserError for a step that it has not, and with ``follows`` RunFailed or Interrupted.
    """
    from azdistill.cli.run_view import why_failed

    _refuse_unknown(run, step)
    if not follows or run.status != "running":
        _show(why_failed(run))
    logs = _LocalLogs(step)
    count, watched = logs.read(run), follows and run.status == "running"
    while follows and run.status == "running":
        time.sleep(_LOOK_EVERY)
        run = local.load_run(run.folder)
        count += logs.read(run)
    if watched:
        failed = (name for name, state in run.steps.items() if state.status == "failed")
        _show(why_failed(run, next(failed, None) if run.status == "failed" else None), err=True)
    if not count:
        waiting = "nothing is printed yet" if run.status == "running" else "nothing was printed"
        click.echo(waiting + _reused(run, step), err=True)
    if follows and (error := _error(run)):
        raise error


class _LocalLogs:
    """Prints the logs of a run's steps, of each what came since it was asked last."""

    def __init__(self, step: str | None) -> None:
        self._step = step
        self._read: dict[Path, int] = {}

    def read(self, run: RunState) -> int:
        """How many lines came."""
        count = 0
        for name, log in self._logs(run):
            lines = self._lines(log, ended=run.status != "running")
            _show([f"{name} | {line}" for line in lines])
            count += len(lines)
        return count

    def _logs(self, run: RunState) -> Iterator[tuple[str, Path]]:
        for name, step in run.steps.items():
            if self._step is not None and not _is_of(name, step, self._step):
                continue
            if self._step in (None, name) or name.startswith(f"{self._step}."):
                # The log of a reused step is shown where it is asked for: it is of an earlier run.
                yield from ((name, log) for log in _log_of(step, reused=self._step is not None))
            for trial in step.trials.values():
                full = local.trial_name(name, trial.number)
                if trial.log and self._step in (None, name, full):
                    yield full, Path(trial.log)

    def _lines(self, log: Path, *, ended: bool) -> list[str]:
        try:
            with open(log, "rb") as file:
                file.seek(self._read.get(log, 0))
                text = file.read()
        except OSError:
            return []
        # Of a run that goes on the last line may not be all there yet.
        text = text if ended else text[: text.rfind(b"\n") + 1]
        self._read[log] = self._read.get(log, 0) + len(text)
        return text.decode("utf-8", "replace").splitlines()


def _is_of(name: str, state: StepState, step: str) -> bool:
    trials = (local.trial_name(name, number) for number in state.trials)
    return name == step or name.startswith(f"{step}.") or step in trials


def _log_of(step: StepState, *, reused: bool) -> list[Path]:
    if step.status != "cached":
        return [Path(step.log)] if step.log else []
    home = local.find_home()
    with closing(local.Hashes(home.hashes, looking=True)) as hashes:
        entry = local.Cache(home, looking=True, hash_of=hashes.file).find(step.key) if reused and step.key else None
    outputs = entry.about().get("outputs") if entry else None
    # RUN/steps/STEP/attempts/N/outputs, below the folder of the runs, wherever that lies now.
    return [home.runs.joinpath(*Path(outputs).parts[-6:]).with_name("log.txt")] if outputs else []


def _refuse_unknown(run: RunState, step: str | None) -> None:
    if step is not None and not any(_is_of(name, state, step) for name, state in run.steps.items()):
        hint = did_you_mean(step, list(run.steps))
        raise UserError(f"the run {run.run_id} has no step '{step}'", code="AZD386", hint=hint)


def _reused(run: RunState, step: str | None) -> str:
    reused = [name for name, state in run.steps.items() if state.status == "cached"]
    return f" (reused: {', '.join(reused)}; name one to see its log)" if reused and step is None else ""


def _error(run: RunState) -> AzdistillError | None:
    if run.status in ("canceled", "lost"):
        hint = "to go on with it, run it again with --resume latest"
        return Interrupted(f"the run {run.run_id} was interrupted", code="AZD371", hint=hint)
    if run.status != "failed":
        return None
    failed = {name: step for name, step in run.steps.items() if step.status == "failed"}
    name, step = next(iter(failed.items()), ("", None))
    message = f"step '{name}': {step.error}" if step else run.error
    told = step.exit_code or None if step and name in run.sysexits else None
    return RunFailed(message, code="AZD370", step_exit_code=told)


def _show(lines: list[str], *, err: bool = False) -> None:
    for line in lines:
        click.echo(safe_text(line), err=err)
