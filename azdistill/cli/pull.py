"""``azdistill runs pull`` and ``runs --azure``: the runs of a workspace, there and brought here.

A pulled run is a JSON file beside the local runs, for ``compare`` and ``runs``, and a run of the local MLflow store.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from azdistill import strict_json
from azdistill.cli.options import connection_options, json_option
from azdistill.cli.runs_filter import Facts, RunFilter, moment_since
from azdistill.cli.text import plural, print_table
from azdistill.errors import AzdistillError, MachineError, ServiceError, UserError
from azdistill.permissions import make_private

if TYPE_CHECKING:
    from azdistill.cloud.jobs.pull import Pulled
    from azdistill.cloud.jobs.pull import PulledRun as LoggedRun
    from azdistill.cloud.jobs.run_history import Listed
    from azdistill.cloud.workspace.connect import Connection
    from azdistill.local import PulledEntry, PulledStore

_FOLDER = "pulled"


@dataclass(frozen=True, slots=True)
class PulledStep:
    """What is compared of a step."""

    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PulledRun:
    """What is listed and compared of a run; the words are a local run's."""

    run_id: str
    pipeline: str
    status: str
    started: float
    seconds: float
    params: dict[str, str]
    metrics: dict[str, float]
    steps: dict[str, PulledStep]
    workspace: str
    experiment: str = ""

    def save(self, home: Path) -> None:
        """Keep it under the state folder."""
        folder = home / _FOLDER
        make_private(folder)
        beside = folder / f".{uuid.uuid4().hex[:8]}"
        beside.write_text(strict_json.dumps({"version": 1, **asdict(self)}), encoding="utf-8")
        os.replace(beside, folder / f"{self.run_id}.json")


def pulled_runs(home: Path) -> list[PulledRun]:
    """Every run that was pulled, newest first."""
    folder = home / _FOLDER
    paths = folder.glob("*.json") if folder.is_dir() else ()
    runs = [run for path in paths if (run := _read(path))]
    return sorted(runs, key=lambda run: run.started, reverse=True)


def _read(path: Path) -> PulledRun | None:
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        stored.pop("version")
        stored["steps"] = {name: PulledStep(**step) for name, step in stored["steps"].items()}
        return PulledRun(**stored)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # A damaged file hides no other run.
        return None


@click.command("pull")
@click.argument("runs", nargs=-1)
@click.option("--experiment", metavar="NAME", help="Every run of this experiment.")
@click.option("--since", metavar="WHEN", help="Every run since then: 7d, 12h, 2w or a date.")
@json_option
@connection_options
def pull_command(
    runs: tuple[str, ...], experiment: str | None, since: str | None, as_json: bool, connection: Connection
) -> None:
    """Bring runs of a workspace into the local MLflow store, for 'azdistill ui' and 'azdistill compare'.

    RUNS are names, or beginnings of names of runs submitted from this folder; without any, --experiment and --since
    choose, or else the run submitted last from this folder. Pulling a run again adds what is new of it.
    """
    from azdistill.cloud.jobs import recent

    if runs or not (experiment or since):
        names = [recent.resolve(connection, run) for run in (runs or (None,))]
    else:
        names = _chosen(connection, experiment, since)
    pulled, failures = _pull_all(connection, list(dict.fromkeys(names)), as_json)
    if as_json:
        came = [{"name": name, "changed": changed} for name, changed in pulled.items()]
        failed = [{"name": name, "code": error.code, "message": error.message} for name, error in failures.items()]
        click.echo(strict_json.dumps({"runs": came, **({"failed": failed} if failed else {})}))
    if failures:
        _fail(failures, len(pulled))


def _pull_all(
    connection: Connection, names: list[str], as_json: bool
) -> tuple[dict[str, bool], dict[str, AzdistillError]]:
    """Which runs came, with whether they brought anything new, and which did not: one failure stops no other run."""
    pulled: dict[str, bool] = {}
    failures: dict[str, AzdistillError] = {}
    for name in names:
        try:
            pulled[name] = _pull(connection, name, as_json)
        except (UserError, ServiceError) as error:
            failures[name] = error
            if len(names) > 1:
                click.echo(f"{name}: not pulled: {error.message}", err=True)
    return pulled, failures


def _fail(failures: dict[str, AzdistillError], pulled: int) -> NoReturn:
    """Raise what the first failure was, in the name of all; a lone run's as it is."""
    first = next(iter(failures.values()))
    if len(failures) + pulled == 1:
        raise first
    message = f"{len(failures)} of {len(failures) + pulled} runs were not pulled: {', '.join(failures)}"
    raise type(first)(message, code=first.code, hint="azdistill runs pull takes up what is missing when called again")


def _chosen(connection: Connection, experiment: str | None, since: str | None) -> list[str]:
    from azdistill.cloud.jobs.run_history import list_runs

    begin = moment_since(since) if since else None
    names = [run.name for run in list_runs(connection, experiment=experiment, since=begin)]
    if not names:
        what = f"of the experiment '{experiment}'" if experiment else "so new"
        hint = "azdistill runs --azure lists what is there"
        raise UserError(f"{connection.workspace_name} has no run {what}", code="AZD447", hint=hint)
    return names


def _pull(connection: Connection, name: str, to_stderr: bool) -> bool:
    """Bring one run here; whether anything was new."""
    from azdistill.cloud.jobs.pull import pull
    from azdistill.local import tracking_uri

    store = _store(tracking_uri())
    with _storing(), tempfile.TemporaryDirectory(prefix="azdistill-pull-") as folder:
        if store.is_whole(name) and _is_kept(name):
            click.echo(f"{name}: unchanged", err=to_stderr)
            return False
        pulled = pull(connection, name, Path(folder))
        parent, *children = (_entry(pulled, run) for run in pulled.runs)
        changed = store.write(pulled.job.experiment or "Default", parent, children)
    _keep(pulled, connection.workspace_name)
    news = plural(len(children), "step") if changed else "unchanged"
    click.echo(f"{name}: {pulled.job.status.lower()}, {news}", err=to_stderr)
    return changed


@functools.cache
def _store(uri: str) -> PulledStore:
    from azdistill.client.headline import columns
    from azdistill.local import PulledStore

    with _storing():
        return PulledStore(uri, columns)


@contextlib.contextmanager
def _storing() -> Iterator[None]:
    """Turn what MLflow and its database raise into an error of ours."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("mlflow", "sqlalchemy", "alembic")):
            raise
        first = (str(error).splitlines() or [""])[0][:300]
        hint = "MLFLOW_TRACKING_URI names another store"
        raise MachineError(f"MLflow's store cannot be written: {first}", code="AZD446", hint=hint) from error


def _entry(pulled: Pulled, run: LoggedRun) -> PulledEntry:
    from azdistill.local import PulledEntry

    return PulledEntry(
        key=run.step.run_id,
        name=run.step.name or pulled.job.name,
        status=run.step.status,
        started=run.step.started,
        ended=run.step.ended,
        params=run.params,
        tags={**run.logged.tags, **run.tags},
        metrics=run.logged.metrics,
        artifacts=run.artifacts,
    )


def _is_kept(name: str) -> bool:
    """Whether ``compare`` knows how the run ended."""
    from azdistill.local import find_home

    ended = ("completed", "failed", "canceled")
    return any(run.run_id == name and run.status in ended for run in pulled_runs(find_home().root))


def _keep(pulled: Pulled, workspace: str) -> None:
    """Where ``compare`` and ``runs`` look."""
    from azdistill.local import find_home

    job, (parent, *children) = pulled.job, pulled.runs
    home = find_home().prepare()
    PulledRun(
        run_id=job.name,
        pipeline=job.display_name or job.experiment,
        status=job.status.lower(),
        started=job.started or 0.0,
        seconds=job.seconds or 0.0,
        params=parent.params,
        metrics=parent.logged.latest,
        steps={run.step.name: PulledStep(run.logged.latest) for run in children},
        workspace=workspace,
        experiment=job.experiment,
    ).save(home.root)


def list_azure(connection: Connection, chosen: RunFilter, *, as_json: bool, limit: int | None) -> None:
    """Print the runs of a workspace, newest first, at most ``limit`` of them."""
    from azdistill.cloud.jobs.run_history import list_runs

    listed = list_runs(connection, experiment=chosen.experiment or None, since=chosen.since)
    runs = list(islice(chosen.chosen(listed, _facts), None if limit is None else limit + 1))
    latest = runs[:limit]
    if as_json:
        click.echo(strict_json.dumps([run.as_json() for run in latest]))
    elif not runs:
        none = "no run here fits" if chosen != RunFilter() else "no pipeline has run here yet: azdistill submit FILE"
        click.echo(f"{connection.workspace_name}: {none}")
    else:
        created = [f"{datetime.fromtimestamp(run.created):%Y-%m-%d %H:%M}" if run.created else "" for run in latest]
        rows = [(run.name, run.status.lower(), at, run.experiment) for run, at in zip(latest, created, strict=True)]
        print_table(("run", "status", "created", "experiment"), rows)
        if len(runs) > len(latest):
            click.echo("there are more: azdistill runs --azure --all")


def _facts(run: Listed) -> Facts:
    return Facts(run.status.lower(), (run.name, run.display_name), run.experiment, run.created or 0.0)
