"""The arguments and options that several verbs take, and the question that some verbs ask."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from azdistill.cli.text import QUIET
from azdistill.errors import UserError

_T = TypeVar("_T", bound=Callable[..., Any])

file_argument = click.argument("file", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout; the rest goes to stderr.")
sets_option = click.option(
    "--set", "sets", multiple=True, metavar="NAME=VALUE", help="Give an input or setting another value. Repeatable."
)


def _be_quiet(ctx: click.Context, parameter: click.Parameter, quiet: bool) -> None:
    if quiet:
        ctx.meta[QUIET] = True


#: Before the verb, and after it, where most people write it.
quiet_option = click.option(
    *("-q", "--quiet"),
    is_flag=True,
    expose_value=False,
    callback=_be_quiet,
    help="Say less: no notes, and of a run only how it ended.",
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask; required without a terminal.")
out_option = click.option("--out", type=click.Path(path_type=Path), help="Copy the pipeline's outputs here.")
experiment_option = click.option("--experiment", metavar="NAME", help="Experiment (default: the pipeline's).")
no_tracking_option = click.option("--no-tracking", is_flag=True, help="Log nothing to MLflow.")

_WORKSPACE_OPTIONS = (
    click.option("--subscription", metavar="ID", help="Azure subscription (default: environment, config.json)."),
    click.option("--resource-group", metavar="NAME", help="Resource group of the workspace."),
    click.option("--workspace", metavar="NAME", help="Azure ML workspace."),
    click.option("--tenant", metavar="ID", help="Entra tenant to ask for tokens."),
    click.option(
        "--auth",
        type=click.Choice(["cli", "device", "msi", "oidc"]),
        help="How to log in (default: whatever DefaultAzureCredential finds).",
    ),
    click.option("--cloud", metavar="NAME", help="AzureCloud, AzureChinaCloud, AzureUSGovernment, or a private one."),
    click.option("--profile", metavar="NAME", help="Settings of this name in azdistill.yml."),
)


def add_options(*options: Callable[[Any], Any]) -> Callable[[_T], _T]:
    """A decorator that gives a verb all of ``options``, in this order."""

    def decorate(verb: _T) -> _T:
        for option in reversed(options):
            verb = option(verb)
        return verb

    return decorate


def workspace_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which workspace; the verb is called with one ``where`` in their place."""

    @add_options(*_WORKSPACE_OPTIONS)
    @wraps(verb)
    def with_where(**options: Any) -> Any:
        from azdistill.cloud.workspace.connect import Where
        from azdistill.cloud.workspace.quiet import quiet

        context = click.get_current_context(silent=True)
        verbose = context.obj.get("verbose", 0) if context and isinstance(context.obj, dict) else 0
        quiet(show=verbose >= 2)
        names = ("subscription", "resource_group", "workspace", "tenant", "auth", "cloud", "profile")
        return verb(where=Where(**{name: options.pop(name) for name in names}), **options)

    return with_where


def connection_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the same options; the verb is called with the ``connection`` to that workspace."""

    @workspace_options
    @wraps(verb)
    def with_connection(where: Any, **options: Any) -> Any:
        from azdistill.cloud.workspace.connect import connect

        return verb(connection=connect(where), **options)

    return with_connection


def azure_run_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument RUN too; the verb is called with the connection and the run's whole ``name``."""

    @click.argument("run", required=False)
    @connection_options
    @wraps(verb)
    def with_run(connection: Any, run: str | None, **options: Any) -> Any:
        from azdistill.cloud.jobs import recent

        return verb(connection=connection, name=recent.resolve(connection, run), **options)

    return with_run


def confirm(question: str, *, yes: bool, refusal: UserError, default: bool = False) -> None:
    """Ask a person whether to go on. Raises ``refusal`` where there is no terminal, click.Abort for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise refusal
    if not click.confirm(question, default=default, err=True):
        raise click.Abort
