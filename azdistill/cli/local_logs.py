"""``azdistill logs`` of a run on this machine: which one is meant, and what its steps printed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click

from azdistill.cli.view import why_failed
from azdistill.errors import AzdistillError, Interrupted, RunFailed, UserError, did_you_mean
from azdistill.local import Cache, Hashes, RunState, StepState, find_home, list_runs, load_run, named, trial_name
from azdistill.redact import redact
from azdistill.terminal import harmless

_LOOK_EVERY = 0.2


def meant_here(run: str | None, step: str | None, submitted: float | None) -> tuple[RunState | None, str | None]:
    """The local run that is meant, and the step of it: the run by its id or the beginning of one, or the newest where
    ``run`` is None or ``latest`` and nothing was submitted (Unix time) after it began. None: it is one on Azure.

    Raises UserError where several local runs begin so.
    """
    runs = list_runs(find_home())
    if run is None and step in [each.run_id for each in runs]:
        # A run's name where a step's is expected can only mean the run.
        run, step = step, None
    if run is None or run == "latest":
        return (runs[0] if runs and runs[0].started > (submitted or 0) else None), step
    return named(run, runs), step


def print_logs(run: RunState, step: str | None, *, follows: bool) -> None:
    """Print what the steps of ``run``, or one of them, printed; with ``follows`` until the run ends, as it ended.

    Raises UserError for a step that it has not, and with ``follows`` RunFailed or Interrupted.
    """
    _refuse_unknown(run, step)
    if not follows or run.status != "running":
        _show(why_failed(run))
    logs = Logs(step)
    told, watched = logs.read(run), follows and run.status == "running"
    while follows and run.status == "running":
        time.sleep(_LOOK_EVERY)
        run = load_run(run.folder)
        told = logs.read(run) or told
    if watched:
        _show(why_failed(run), err=True)
    if not told:
        waiting = "nothing is printed yet" if run.status == "running" else "nothing was printed"
        click.echo(waiting + _reused(run, step), err=True)
    if follows and (error := _error(run)):
        raise error


class Logs:
    """Prints the logs of a run's steps, of each what came since it was asked last."""

    def __init__(self, step: str | None) -> None:
        self._step = step
        self._read: dict[Path, int] = {}

    def read(self, run: RunState) -> bool:
        """Whether there was anything."""
        told = False
        for name, log in self._logs(run):
            for line in self._lines(log, whole=run.status == "running"):
                _show([f"{name} | {line}"])
                told = True
        return told

    def _logs(self, run: RunState) -> Iterator[tuple[str, Path]]:
        for name, step in run.steps.items():
            if self._step is not None and not _is_of(name, step, self._step):
                continue
            if self._step in (None, name) or name.startswith(f"{self._step}."):
                # The log of a reused step is shown where it is asked for: it is of an earlier run.
                yield from ((name, log) for log in _log_of(step, reused=self._step is not None))
            for trial in step.trials.values():
                full = trial_name(name, trial.number)
                if trial.log and self._step in (None, name, full):
                    yield full, Path(trial.log)

    def _lines(self, log: Path, *, whole: bool) -> list[str]:
        try:
            with open(log, "rb") as file:
                file.seek(self._read.get(log, 0))
                data = file.read()
        except OSError:
            return []
        # Of a run that goes on the last line may not be all there yet.
        kept = data[: data.rfind(b"\n") + 1] if whole else data
        self._read[log] = self._read.get(log, 0) + len(kept)
        return kept.decode("utf-8", "replace").splitlines()


def _is_of(name: str, step: StepState, wanted: str) -> bool:
    trials = (trial_name(name, number) for number in step.trials)
    return name == wanted or name.startswith(f"{wanted}.") or wanted in trials


def _log_of(step: StepState, *, reused: bool) -> list[Path]:
    if step.status != "cached":
        return [Path(step.log)] if step.log else []
    home = find_home()
    with closing(Hashes(home.hashes, looking=True)) as hashes:
        entry = Cache(home, looking=True, hash_of=hashes.file).find(step.key) if reused and step.key else None
    outputs = entry.about().get("outputs") if entry else None
    return [Path(outputs).with_name("log.txt")] if outputs else []


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
    return RunFailed(message, code="AZD370", step_exit_code=(step.exit_code or None) if step else None)


def _show(lines: list[str], *, err: bool = False) -> None:
    for line in lines:
        click.echo(harmless(redact(line)), err=err)
