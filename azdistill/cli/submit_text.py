"""A submit's plan as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from azdistill.cloud.submit.plan import PlannedStep, SubmitPlan
from azdistill.cloud.submit.uploads import Upload


def plan_lines(plan: SubmitPlan) -> Iterator[str]:
    """The plan as a person reads it."""
    yield f"workspace {plan.workspace}"
    yield from _table([_step(step) for step in plan.steps])
    yield "images"
    for image in plan.images:
        base = f" from {image.base}" if image.how == "built" and image.base else ""
        cuda = f" (CUDA {image.cuda})" if image.cuda else ""
        yield f"  {image.name}: {image.how}{base}{cuda}"
    yield f"uploads, unless the workspace has them: {size(plan.upload_size)}"
    yield from _table([_upload(upload) for upload in plan.uploads])
    yield from _earlier(plan)
    yield _bounds(plan)
    yield from (f"warning: {warning}" for warning in plan.warnings)


def _step(step: PlannedStep) -> list[str]:
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


def size(number: int) -> str:
    """Bytes in the largest unit that leaves a number above 1."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def _table(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width)
        yield "  " + "  ".join(cells).rstrip()
