"""The command line. Each verb lives in a module that is imported only when the verb is used."""

from __future__ import annotations

import importlib
import select
import sys
from typing import Any

import click

from azdistill.cli.options import quiet_option
from azdistill.cli.text import brief, safe_text
from azdistill.errors import AzdistillError, MachineError, did_you_mean
from azdistill.redact import redact

#: verb -> (module, one line for --help). The line stands here so that --help imports no verb.
VERBS = {
    "init": ("azdistill.cli.recipe", "Write a small project to own."),
    "validate": ("azdistill.cli.validate", "Report everything wrong in a recipe, pipeline, component or environment."),
    "compile": ("azdistill.cli.recipe", "Write the Azure ML pipeline that a recipe stands for."),
    "run": ("azdistill.cli.run", "Run a recipe or pipeline on this machine."),
    "status": ("azdistill.cli.jobs", "Show a run on Azure: its steps, states and times."),
    "logs": ("azdistill.cli.logs", "Print the logs of a run, here or on Azure."),
    "cancel": ("azdistill.cli.jobs", "Cancel a run on Azure."),
    "submit": ("azdistill.cli.submit", "Submit a recipe or pipeline to an Azure ML workspace."),
    "resume": ("azdistill.cli.jobs", "Resubmit an Azure run that did not complete."),
    "download": ("azdistill.cli.download", "Download the outputs of a run on Azure."),
    "runs": ("azdistill.cli.runs", "List runs; copy a workspace's runs here (runs pull)."),
    "compare": ("azdistill.cli.runs", "Compare two runs side by side."),
    "explain": ("azdistill.cli.cache", "Explain why a step ran again or was reused."),
    "cache": ("azdistill.cli.cache", "List what the cache holds, or free its disk space."),
    "doctor": ("azdistill.cli.doctor", "Find what would prevent a run on Azure."),
    "schedule": ("azdistill.cli.schedule", "Run a recipe or pipeline on a schedule, in a workspace."),
    "endpoint": ("azdistill.cli.endpoint", "Plan, create and remove an endpoint for an open teacher."),
    "publish": ("azdistill.cli.publish", "Register components and environments in a workspace or registry."),
    "ui": ("azdistill.cli.runs", "Open the MLflow UI on loopback."),
    "help": ("azdistill.cli.help", "Show the help of azdistill, or of a verb."),
}


class LazyVerbs(click.Group):
    """A group that imports a verb's module when the verb is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(VERBS[name][0]), f"{name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            ctx.fail(f"no such command '{args[0]}'; {did_you_mean(args[0], list(VERBS))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # click takes every broken pipe for that of stdout: it says nothing and ends with exit code 1.
            if _reader_is_gone():
                raise
            raise MachineError(
                f"a process or service went away in the middle of a request: {error}", code="AZD900"
            ) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


def _reader_is_gone() -> bool:
    """Whether nobody reads stdout or stderr any more (head, less)."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        try:
            poll.register(stream.fileno(), 0)
        except (AttributeError, OSError, ValueError):
            # A program's own stream is no pipe of ours.
            continue
    return bool(poll.poll(0))


@click.group(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(None, "-V", "--version", package_name="azdistill")
@click.option("-v", "--verbose", count=True, help="Say more; -vv adds tracebacks.")
@quiet_option
@click.pass_context
def cli(ctx: click.Context, verbose: int) -> None:
    """Distil a large language model into a small one on Azure Machine Learning, on a laptop first."""
    ctx.obj = {"verbose": verbose}


def main(args: list[str] | None = None) -> None:
    """Entry point: errors are printed without a traceback and become exit codes (0, 1, 2, 3, 4, 130)."""
    arguments = sys.argv[1:] if args is None else args
    try:
        # Without its standalone mode, click gives back what ctx.exit() was called with.
        status = cli.main(args=arguments, prog_name="azdistill", standalone_mode=False)
    except click.exceptions.Exit as exit_request:
        sys.exit(exit_request.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AzdistillError as error:
        _tell(error, arguments)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, MemoryError, RuntimeError) as error:
        from azdistill.local import machine_error

        refusal = machine_error("the operating system refused something", error)
        if refusal is None:
            raise
        _tell(refusal, arguments, error)
        sys.exit(refusal.exit_code)
    sys.exit(status if isinstance(status, int) else 0)


def _tell(error: AzdistillError, arguments: list[str], cause: BaseException | None = None) -> None:
    click.echo(brief(safe_text(str(error))), err=True)
    if "-vv" in arguments:
        import traceback

        click.echo(redact("".join(traceback.format_exception(cause or error))), err=True)
