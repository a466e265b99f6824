"""``azdistill runs pull`` and ``runs --azure``: the runs of a workspace, here and there."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from azdistill import strict_json
from azdistill.cli.workspace import workspace_options
from azdistill.errors import AzdistillError, MachineError, ServiceError, UserError

if TYPE_CHECKING:
    from azdistill.cloud.jobs.pull import Pulled, PulledRun
    from azdistill.cloud.workspace.connect import Connection
    from azdistill.local import PulledEntry, PulledStore

_SHOWN = 20


@click.command("pull")
@click.argument("runs", nargs=-1)
@click.option("--experiment", metavar="NAME", help="Every run of this experiment.")
@click.option("--since", metavar="WHEN", help="Every run since then: 7d, 12h, 2w or a date.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout; everything else on stderr.")
@workspace_options
def pull_command(runs: tuple[str, ...], experiment: str | None, since: str | None, as_json: bool, where: Any) -> None:
    """Bring runs of a workspace into the local MLflow store, for 'azdistill ui' and 'azdistill compare'.

    RUNS are names, or beginnings of names of runs submitted from this folder; without any, --experiment and --since
    choose, or else the run submitted last from this folder. Pulling a run again adds what is new of it.
    """
    from azdistill.cloud.jobs import recent
    from azdistill.cloud.workspace.connect import connect

    connection = connect(where)
    if runs or not (experiment or since):
        names = [recent.resolve(connection, run) for run in (runs or (None,))]
    else:
        names = _chosen(connection, experiment, since)
    pulled, failures = _pull_all(connection, list(dict.fromkeys(names)), as_json)
    if as_json:
        told: dict[str, Any] = {"runs": [{"name": name, "changed": changed} for name, changed in pulled.items()]}
        failed = [{"name": name, "code": error.code, "message": error.message} for name, error in failures.items()]
        click.echo(strict_json.dumps({**told, **({"failed": failed} if failed else {})}))
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


def _fail(failures: dict[str, AzdistillError], others: int) -> NoReturn:
    """Raise what the first failure was, in the name of all; a lone run's as it is."""
    first = next(iter(failures.values()))
    if len(failures) + others == 1:
        raise first
    message = f"{len(failures)} of {len(failures) + others} runs were not pulled: {', '.join(failures)}"
    raise type(first)(message, code=first.code, hint="azdistill runs pull takes up what is missing when called again")


def _chosen(connection: Connection, experiment: str | None, since: str | None) -> list[str]:
    from azdistill.cloud.jobs.listing import list_runs, moment_since

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
    steps = f"{len(children)} step{'s' * (len(children) != 1)}"
    click.echo(f"{name}: {pulled.job.status.lower()}, {steps if changed else 'unchanged'}", err=to_stderr)
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


def _entry(pulled: Pulled, run: PulledRun) -> PulledEntry:
    from azdistill.local import PulledEntry

    return PulledEntry(
        key=run.run_id,
        name=run.step or pulled.job.name,
        status=run.status,
        started=run.started,
        ended=run.ended,
        params=run.params,
        tags={**run.logged.tags, **run.tags},
        metrics=run.logged.metrics,
        artifacts=run.artifacts,
    )


def _is_kept(name: str) -> bool:
    """Whether ``compare`` knows how the run ended."""
    from azdistill.cli.pulled_runs import pulled_runs
    from azdistill.local import find_home

    ended = ("completed", "failed", "canceled")
    return any(run.run_id == name and run.status in ended for run in pulled_runs(find_home().root))


def _keep(pulled: Pulled, workspace: str) -> None:
    """Where ``compare`` and ``runs`` look."""
    from azdistill.cli.pulled_runs import PulledRun, PulledStep
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
        steps={run.step: PulledStep(run.logged.latest) for run in children},
        workspace=workspace,
    ).save(home.root)


def list_azure(connection: Connection, *, as_json: bool, everything: bool) -> None:
    """Print the runs of a workspace, newest first."""
    from itertools import islice

    from azdistill.cloud.jobs.listing import list_runs

    runs = list(islice(list_runs(connection), None if everything else _SHOWN + 1))
    shown = runs if everything else runs[:_SHOWN]
    if as_json:
        click.echo(strict_json.dumps([run.as_json() for run in shown]))
    elif not runs:
        click.echo(f"no pipeline has run in {connection.workspace_name} yet: azdistill submit FILE")
    else:
        _print(shown)
        if len(runs) > len(shown):
            click.echo("there are more: azdistill runs --azure --all")


def _print(runs: list[Any]) -> None:
    import sys
    from datetime import datetime

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("run", "status", "created", "experiment"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "experiment")
    for run in runs:
        created = datetime.fromtimestamp(run.created).strftime("%Y-%m-%d %H:%M") if run.created else ""
        table.add_row(Text(run.name), run.status.lower(), created, Text(run.experiment))
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
