"""``azdistill help``: what people type who do not know of --help."""

from __future__ import annotations

import click


@click.command("help")
@click.argument("verbs", metavar="[VERB]...", nargs=-1)
@click.pass_context
def help_command(ctx: click.Context, verbs: tuple[str, ...]) -> None:
    """Show the help of azdistill, or of VERB: azdistill help schedule apply."""
    shown = ctx.find_root()
    for verb in verbs:
        group = shown.command
        if not isinstance(group, click.Group):
            raise click.UsageError(f"'{shown.info_name}' has no verbs of its own", ctx)
        # It says which there are, where there is none of that name.
        name, command, _ = group.resolve_command(shown, [verb])
        assert command is not None
        shown = click.Context(command, info_name=name, parent=shown)
    click.echo(shown.get_help())
