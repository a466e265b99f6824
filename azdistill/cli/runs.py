"""``azdistill runs``, ``compare`` and ``ui``: what the run store and MLflow know of earlier runs."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

from azdistill import strict_json
from azdistill.cli.options import json_option, workspace_options
from azdistill.cli.pull import PulledRun, list_azure, pull_command, pulled_runs
from azdistill.cli.runs_filter import Facts, RunFilter, filter_options, run_filter
from azdistill.cli.text import aligned, brief, duration, print_table, safe_text
from azdistill.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from azdistill.local import RunState

_Run = TypeVar("_Run", bound="RunState | PulledRun")

_SHOWN = 20
#: Metrics of a run in the list of runs.
_METRICS_SHOWN = 5
#: What is told in the list of why a run failed; the run's log has all of it.
_REASON_LONGEST = 90


@click.group("runs", invoke_without_command=True)
@json_option
@filter_options
@click.option("--limit", type=click.IntRange(min=1), default=_SHOWN, show_default=True, help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="However many there are.")
@click.option("--azure", is_flag=True, help="The runs of the workspace in place of those here.")
@workspace_options
@click.pass_context
def runs_command(
    ctx: click.Context,
    /,
    as_json: bool,
    limit: int,
    everything: bool,
    azure: bool,
    where: Any,
    **chosen_by: Any,
) -> None:
    """List runs, newest first: with what they measured, or why they failed.

    Those of this folder and those that were pulled from a workspace; with --azure those that the workspace has.
    """
    if ctx.invoked_subcommand:
        return
    chosen, most = run_filter(**chosen_by), None if everything else limit
    if azure:
        from azdistill.cloud.workspace.connect import connect

        list_azure(connect(where), chosen, as_json=as_json, limit=most)
        return
    runs = list(chosen.chosen(known_runs(), _facts))
    latest = runs[:most]
    if as_json:
        click.echo(strict_json.dumps([_as_json(run) for run in latest]))
    elif not runs:
        click.echo("no run fits" if chosen != RunFilter() else "no runs yet: azdistill run FILE")
    else:
        _print_runs(latest)
        if len(latest) < len(runs):
            click.echo(f"{len(runs) - len(latest)} more: azdistill runs --all")


runs_command.add_command(pull_command)


@click.command("compare")
@click.argument("first")
@click.argument("second")
@json_option
def compare_command(first: str, second: str, as_json: bool) -> None:
    """Compare two runs: parameters that differ, and metrics with their change.

    FIRST and SECOND are run ids, the beginning of one, or 'latest'. Runs on Azure are known here after
    'azdistill runs pull'.
    """
    runs = known_runs()
    before, after = _meant(first, runs), _meant(second, runs)
    compared = compare(before, after)
    if as_json:
        click.echo(strict_json.dumps(compared))
        return
    click.echo(f"A  {before.run_id}  {before.status}\nB  {after.run_id}  {after.status}")
    _print_columns("parameter", [(r["name"], _text(r["a"]), _text(r["b"]), "") for r in compared["params"]])
    rows = [(r["name"], _text(r["a"]), _text(r["b"]), _change(r["name"], r["change"])) for r in compared["metrics"]]
    _print_columns("metric", rows)
    if not compared["params"] and not rows:
        click.echo("no parameter differs, and there are no metrics")


@click.command("ui")
@click.option("--port", type=click.IntRange(1, 65535), help="Port (default: a free one, 5000 if it is).")
def ui_command(port: int | None) -> None:
    """Open the MLflow UI of this folder's runs on 127.0.0.1; Ctrl-C ends it."""
    from azdistill.local import serve_ui, tracking_uri

    uri = tracking_uri()
    if uri.startswith(("http://", "https://", "azureml:", "databricks")):
        raise UserError(
            "MLFLOW_TRACKING_URI names a server, which has its own page", code="AZD381", hint="open it there"
        )
    if uri.startswith("sqlite:///") and not os.path.exists(uri.removeprefix("sqlite:///")):
        raise UserError(
            f"there are no runs in {uri.removeprefix('sqlite:///')} yet", code="AZD382", hint="azdistill run FILE"
        )
    click.echo("starting the MLflow UI; Ctrl-C ends it", err=True)

    def tell(chosen: int) -> None:
        click.echo(f"http://127.0.0.1:{chosen}{_newest_view(uri)}")
        sys.stdout.flush()

    sys.exit(serve_ui(uri, port, tell))


def known_runs() -> list[RunState | PulledRun]:
    """Local runs and pulled ones, newest first."""
    from azdistill.local import find_home, list_runs

    home = find_home()
    local_runs = list_runs(home)
    # No run began after one that was started later, whatever its clock said; nor has any begun in the future.
    moments = accumulate((run.started for run in local_runs), min, initial=time.time())
    begun = dict(zip((run.run_id for run in local_runs), islice(moments, 1, None), strict=True))
    runs: list[RunState | PulledRun] = [*local_runs, *pulled_runs(home.root)]
    return sorted(runs, key=lambda run: begun.get(run.run_id, run.started), reverse=True)


def find_run(name: str) -> RunState:
    """The local run that ``name`` stands for: an id, the beginning of exactly one, or ``latest``."""
    from azdistill.local import find_home, list_runs

    return _meant(name, list_runs(find_home()))


def _meant(name: str, runs: list[_Run]) -> _Run:
    """Of ``runs``, newest first, the one that ``name`` stands for."""
    if not runs:
        raise UserError("there are no runs here yet", code="AZD383", hint="azdistill run FILE")
    if name == "latest":
        return runs[0]
    from azdistill.local import named

    if run := named(name, runs):
        return run
    raise UserError(f"no run '{name}'", code="AZD385", hint=did_you_mean(name, [run.run_id for run in runs[:_SHOWN]]))


def compare(before: RunState | PulledRun, after: RunState | PulledRun) -> dict[str, Any]:
    """What differs: ``params`` by name, ``metrics`` with ``change`` (a fraction of the first; None where undefined)."""
    params = [
        {"name": name, "a": before.params.get(name), "b": after.params.get(name)}
        for name in dict.fromkeys([*before.params, *after.params])
        if before.params.get(name) != after.params.get(name)
    ]
    old, new = before.metrics or _all_metrics(before), after.metrics or _all_metrics(after)
    metrics = [
        {"name": name, "a": old.get(name), "b": new.get(name), "change": _ratio(old.get(name), new.get(name))}
        for name in dict.fromkeys([*old, *new])
    ]
    return {"a": before.run_id, "b": after.run_id, "params": params, "metrics": metrics}


def _all_metrics(run: RunState | PulledRun) -> dict[str, float]:
    """Metrics of every step under dotted names, for a pipeline without a headline step."""
    return {f"{step}.{name}": value for step, state in run.steps.items() for name, value in state.metrics.items()}


def _ratio(old: float | None, new: float | None) -> float | None:
    if old is None or new is None or old == 0 or not math.isfinite(old) or not math.isfinite(new):
        return None
    return (new - old) / abs(old)


def _as_json(run: RunState | PulledRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "status": run.status,
        "started": datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
        "seconds": round(run.seconds, 3),
        "metrics": run.metrics,
        **({"error": reason} if (reason := _reason(run)) else {}),
        **({"workspace": run.workspace} if hasattr(run, "workspace") else {}),
    }


def _facts(run: RunState | PulledRun) -> Facts:
    return Facts(run.status, (run.run_id, run.pipeline), run.experiment, run.started)


def _reason(run: RunState | PulledRun) -> str:
    """Why a run of this machine failed, in one line: its first step that did, and what that says."""
    if run.status != "failed" or isinstance(run, PulledRun):
        return ""
    name, step = next(((name, step) for name, step in run.steps.items() if step.status == "failed"), ("", None))
    if step is None:
        text = run.error
    else:
        from azdistill.cli.run_view import error_lines

        said = error_lines(Path(step.log)) if step.log else []
        text = f"{name}: {said[0] if said and step.exit_code else step.error}"
    text = brief(safe_text(" ".join(text.split())))
    return text if len(text) <= _REASON_LONGEST else f"{text[: _REASON_LONGEST - 3]}..."


def _print_runs(runs: Sequence[RunState | PulledRun]) -> None:
    from azdistill.client.headline import columns

    rows = []
    for run in runs:
        started = datetime.fromtimestamp(run.started).strftime("%Y-%m-%d %H:%M")
        measured = run.metrics or _all_metrics(run)
        metrics = [f"{name} {_text(measured[name])}" for name in columns(list(measured))[:_METRICS_SHOWN]]
        result = _reason(run) or "  ".join(metrics)
        rows.append((run.run_id, run.status, started, duration(run.seconds), result))
    print_table(("run", "status", "started", "time", "metrics, or why it failed"), rows)


def _print_columns(heading: str, rows: list[tuple[str, str, str, str]]) -> None:
    if rows:
        click.echo("\n".join(["", *aligned([(heading, "A", "B", ""), *rows], right=True)]))


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return str(value)


def _change(name: str, change: float | None) -> str:
    # How much smaller one probability is than another says nothing, nor does a percentage of more than three digits.
    if not change or "p_value" in name:
        return ""
    return f"{change:+.1%}" if change < 10 else "> +999%"


def _newest_view(uri: str) -> str:
    """The page of the experiment that ran last, with its headline metrics as columns; empty where none is known."""
    if not uri.startswith("sqlite:///"):
        return ""
    from azdistill.local import VIEW_TAG

    query = (
        "SELECT r.experiment_id FROM runs r JOIN experiment_tags t ON t.experiment_id = r.experiment_id "
        "JOIN experiments e ON e.experiment_id = r.experiment_id WHERE t.key = ? AND r.lifecycle_stage = 'active' "
        "AND e.lifecycle_stage = 'active' ORDER BY r.start_time DESC LIMIT 1"
    )
    # Asked of the file itself: importing MLflow for it would take seconds.
    address = f"file:{quote(uri.removeprefix('sqlite:///'))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=2)) as store:
            newest = store.execute(query, (VIEW_TAG,)).fetchone()
    except sqlite3.Error:
        return ""
    return f"/#/experiments/{newest[0]}/runs?viewStateShareKey={VIEW_TAG.rpartition('.')[2]}" if newest else ""
