"""``azdistill run``: a pipeline or recipe, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from azdistill import strict_json
from azdistill.cli.options import json_option, no_tracking_option, out_option, quiet_option, sets_option
from azdistill.cli.project_file import project_file
from azdistill.errors import AzdistillError
from azdistill.redact import redact


@click.command("run")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@sets_option
@out_option
@click.option("--jobs", type=click.IntRange(min=1), help="Steps at a time (default: processors, at most 4).")
@json_option
@click.option("--no-cache", is_flag=True, help="Run every step, and keep no result for later runs.")
@click.option(
    "--resume",
    metavar="RUN",
    help="Resume a run that did not complete: its id, the beginning of one, or 'latest'. Finished steps are kept.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=0,
    help="Try a step again that ends with exit code 75, or that Docker lost (default: 0).",
)
@click.option("--only", multiple=True, metavar="STEP", help="Run this step alone. Repeatable.")
@click.option("--from", "since", multiple=True, metavar="STEP", help="Run this step and all that needs it. Repeatable.")
@click.option("--until", multiple=True, metavar="STEP", help="Run this step and all that it needs. Repeatable.")
@click.option("--dry-run", is_flag=True, help="Say what would run or be reused, and why; start and write nothing.")
@click.option(
    "--strict", is_flag=True, help="Refuse settings that a local run does not honour, instead of listing them."
)
@click.option("--keep-going", is_flag=True, help="After a failure, run what does not need the step that failed.")
@click.option(
    "--env", "variables", multiple=True, metavar="NAME", help="Pass this variable of yours to the steps. Repeatable."
)
@click.option("--python", metavar="INTERPRETER", help="The Python that steps find as 'python' (default: this one).")
@click.option("--docker", is_flag=True, help="Run each step in a container of its environment's image.")
@click.option("--network", metavar="NAME", help="The network of every container (default: none, or what a step asks).")
@click.option("--experiment", metavar="NAME", help="MLflow experiment (default: the pipeline's).")
@no_tracking_option
@quiet_option
def run_command(
    file: Path | None, sets: tuple[str, ...], as_json: bool, dry_run: bool, no_tracking: bool, **options: Any
) -> None:
    """Run a recipe or pipeline on this machine.

    Without FILE, or with a folder in its place, the only recipe or pipeline in the folder is run.

    With --out, a folder ends as DIR/<output name>/ and a file as DIR/<output name> (with the file's extension, if
    it has one). Files there that azdistill did not make are never overwritten.

    STEP is the name of a step (train, or inner.train in a nested pipeline) or of a nested pipeline, which means all of
    its steps. Results that a selected step needs from other
    steps are taken from the cache, or from the run that --resume names.
    """
    from azdistill.cli import local_run

    if dry_run:
        local_run.print_dry_run(file, sets=sets, as_json=as_json, **options)
        return
    try:
        source = project_file(file)
        pipeline = local_run.open_pipeline(source, sets)
        chosen = local_run.options_of(**options)
        finished = local_run.run(pipeline, source, chosen, as_json=as_json, no_tracking=no_tracking)
    except AzdistillError as error:
        # Nothing ran: the object is printed all the same.
        if as_json:
            empty: dict[str, Any] = {"run_id": None, "status": "failed", "seconds": 0.0, "steps": {}, "outputs": {}}
            click.echo(strict_json.dumps({**empty, "error": redact(str(error))}))
        raise
    if finished.error:
        raise finished.error
