"""The options that say which workspace, the same for every verb that works on Azure."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

_T = TypeVar("_T", bound=Callable[..., Any])

_OPTIONS = (
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


def workspace_options(verb: _T) -> _T:
    """Add the options to a verb, which is called with one ``where`` in their place."""

    @wraps(verb)
    def with_where(**options: Any) -> Any:
        from azdistill.cloud.workspace.connect import Where
        from azdistill.cloud.workspace.quiet import quiet

        context = click.get_current_context(silent=True)
        verbose = context.obj.get("verbose", 0) if context and isinstance(context.obj, dict) else 0
        quiet(show=verbose >= 2)
        names = ("subscription", "resource_group", "workspace", "tenant", "auth", "cloud", "profile")
        return verb(where=Where(**{name: options.pop(name) for name in names}), **options)

    decorated: Any = with_where
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]
