"""``azdistill submit``: a recipe or pipeline, on Azure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from azdistill import strict_json
from azdistill.cli import options
from azdistill.cli.text import aligned, print_answer, print_findings
from azdistill.errors import UserError
from azdistill.redact import redact
from azdistill.terminal import size

if TYPE_CHECKING:
    from azdistill.cloud.submit.plan import StepEstimate, SubmitPlan
    from azdistill.cloud.submit.prepare import Submission
    from azdistill.cloud.submit.uploads import Upload
    from azdistill.cloud.workspace.connect import Connection, Where


@click.command("submit")
@options.file_argument
@options.sets_option
@click.option("--stream", is_flag=True, help="Follow the run to its end; the exit code is the run's.")
@options.yes_option
@click.option("--dry-run", is_flag=True, help="Print the plan and submit nothing.")
@options.json_option
@options.experiment_option
@options.workspace_options
def submit_command(
    file: Path,
    sets: tuple[str, ...],
    stream: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    experiment: str | None,
    where: Where,
) -> None:
    """Submit a recipe or pipeline to an Azure ML workspace.

    Everything is checked, and a plan is shown, before anything is uploaded: where steps run, what is uploaded, what is
    reused, and what it may cost.
    """
    from azdistill.cloud.workspace.connect import begin_import, connect
    from azdistill.compile.sets import parse_sets

    begin_import()
    from azdistill.cloud.submit.plan import plan_submission
    from azdistill.cloud.submit.prepare import prepare

    prepared = prepare(file, parse_sets(sets), profile=where.profile, experiment=experiment)
    print_findings(prepared.warnings, prepared.notes)
    connection = connect(where, file.resolve().parent)
    plan = plan_submission(connection, prepared)
    if dry_run and as_json:
        click.echo(strict_json.dumps(plan.as_json(), default=str))
    else:
        for line in plan_lines(plan):
            click.echo(redact(line), err=True)
    plan.raise_for_problems()
    if not dry_run:
        _confirm(plan, yes)
        _send(connection, prepared, plan, stream=stream, as_json=as_json)


def _confirm(plan: SubmitPlan, yes: bool) -> None:
    upload = f" and upload {plan.upload_size / 1e9:.0f} GB" if plan.needs_agreement else ""
    again = " again" if plan.earlier else ""
    message = "submitting needs confirmation, and there is no terminal to ask on"
    refusal = UserError(message, code="AZD425", hint="--yes submits without asking; --dry-run shows the plan only")
    options.confirm(f"Submit{again}{upload}?", yes=yes, refusal=refusal, default=not (upload or again))


def _send(connection: Connection, prepared: Submission, plan: SubmitPlan, *, stream: bool, as_json: bool) -> None:
    from azdistill.cloud.submit.submit import make_name, submit

    name = make_name(prepared)
    url = connection.studio_url(name)
    # Printed before the upload: whoever is cut off knows what to look for.
    click.echo(f"run {name}\n{url}", err=True)
    submitted = submit(connection, prepared, name=name)
    if not stream:
        names = {"name": name, "studio_url": url, "fingerprint": submitted.fingerprint}
        print_answer(names, lambda: [name], as_json=as_json)
        click.echo(f"submitted; follow it with: azdistill logs -f {name}", err=True)
        return
    from azdistill.cli import watch

    job = watch.stream(connection, name, as_json=as_json)
    if as_json:
        click.echo(watch.as_json(job))
    watch.finish(connection, job)


def plan_lines(plan: SubmitPlan) -> Iterator[str]:
    """The plan as a person reads it."""
    yield f"workspace {plan.workspace}"
    yield from (f"  {line}" for line in aligned([_step(step) for step in plan.steps]))
    yield "images"
    for image in plan.images:
        base = f" from {image.base}" if image.how == "built" and image.base else ""
        cuda = f" (CUDA {image.cuda})" if image.cuda else ""
        yield f"  {image.name}: {image.how}{base}{cuda}"
    yield f"uploads, unless the workspace has them: {size(plan.upload_size)}"
    yield from (f"  {line}" for line in aligned([_upload(upload) for upload in plan.uploads]))
    yield from _earlier(plan)
    yield _bounds(plan)
    yield from (f"warning: {warning}" for warning in plan.warnings)


def _step(step: StepEstimate) -> list[str]:
    where = " ".join(word for word in (step.compute, step.size or "", "spot" if step.spot else "") if word)
    nodes = f"{step.nodes} nodes" if step.nodes > 1 else ""
    gpus = f"{step.gpus} x {step.gpu}" if step.gpus else ""
    hours = f"at most {step.hours:g} h" if step.hours else "no time limit"
    return [step.name, where, nodes, gpus, hours, f"as {step.identity}" if step.identity else ""]


def _upload(upload: Upload) -> list[str]:
    ignored = f"{upload.ignored} ignored" if upload.ignored else ""
    return [upload.what, f"{upload.files} files", size(upload.size), ignored]


def _earlier(plan: SubmitPlan) -> Iterator[str]:
    for run in plan.earlier[:1]:
        yield f"the same was submitted before: {run.name} ({run.status}) {run.studio_url}"
    if plan.reusable:
        yield f"Azure will show earlier results of: {', '.join(plan.reusable)}"


def _bounds(plan: SubmitPlan) -> str:
    hours = "unknown" if plan.gpu_hours is None else f"at most {plan.gpu_hours:g}"
    text = f"GPU hours {hours}"
    if plan.max_gpu_hours is not None:
        text += f" (ceiling {plan.max_gpu_hours:g})"
    priced = [step for step in plan.steps if step.cost is not None]
    if priced:
        day = min((step.as_of for step in priced if step.as_of), default=None)
        text += f"; cost at most {plan.known_cost:,.2f} {priced[0].currency}, at prices of {day}"
    if plan.unpriced:
        text += f"; not known for {', '.join(plan.unpriced)} (no instance type, price or time limit)"
    return text
