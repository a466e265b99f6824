"""``azdistill endpoint``: what serving a teacher takes; making, listing and removing such an endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from azdistill.cli.workspace import workspace_options
from azdistill.redact import redact

if TYPE_CHECKING:
    from azdistill.cloud.connect import Where
    from azdistill.cloud.endpoints.plan import Wish
    from azdistill.cloud.endpoints.region import Region
    from azdistill.cloud.endpoints.teacher import Teacher

_T = TypeVar("_T", bound=Callable[..., Any])
_PRECISIONS = ("fp32", "bf16", "fp16", "fp8", "int8", "int4", "mxfp4")

_SIZE_OPTIONS = (
    click.option(
        "--config",
        type=click.Path(exists=True, path_type=Path),
        help="The model's config.json, or the folder with it, where the catalogue does not know its layers.",
    ),
    click.option("--parameters", type=click.FloatRange(min=0, min_open=True), help="Parameters of it, in billions."),
    click.option("--precision", type=click.Choice(_PRECISIONS), help="What its weights are stored in."),
    click.option(
        "--context",
        type=click.IntRange(min=1),
        default=8192,
        show_default=True,
        help="Tokens of the longest request and its answer together.",
    ),
    click.option(
        "--concurrency", type=click.IntRange(min=1), default=16, show_default=True, help="Requests in flight at once."
    ),
    click.option(
        "--kv-precision",
        type=click.Choice(["auto", "fp8"]),
        default="auto",
        show_default=True,
        help="What keys and values are stored in; fp8 takes half the memory.",
    ),
    click.option(
        "--max-tokens", type=click.IntRange(min=1), default=512, show_default=True, help="Tokens of the longest answer."
    ),
    click.option(
        "--tokens-per-second",
        type=click.FloatRange(min=0, min_open=True),
        default=20.0,
        show_default=True,
        help="Speed of one answer, for the time limit of a request: an assumption until you have measured it.",
    ),
    click.option("--instance-type", metavar="SIZE", help="This size, rather than the cheapest that holds it."),
    click.option("--instances", type=click.IntRange(min=1), help="At least so many machines."),
)


def _size_options(verb: _T) -> _T:
    for option in reversed(_SIZE_OPTIONS):
        verb = option(verb)
    return verb


@click.group("endpoint")
def endpoint_command() -> None:
    """Serve an open teacher from a workspace: plan, up, list, down, reap."""


@endpoint_command.command("plan")
@click.argument("teacher")
@_size_options
@click.option("--in-job", is_flag=True, help="For the step teacher_in_job, rather than an endpoint.")
@click.option(
    "--for", "kept", default="8h", show_default=True, metavar="TIME", help="How long it is kept: 90m, 8h, 2d."
)
@click.option("--offline", is_flag=True, help="Ask no workspace: no quota, no prices of its region.")
@click.option("--all", "everything", is_flag=True, help="Also each size that is too small, and why.")
@click.option("--json", "as_json", is_flag=True, help="As data.")
@workspace_options
def plan_command(teacher: str, where: Where, offline: bool, everything: bool, as_json: bool, **sizes: Any) -> None:
    """Work out memory, machines and price of serving TEACHER: a name of the catalogue, or a folder of weights."""
    from azdistill.cloud.endpoints import show
    from azdistill.cloud.endpoints.plan import make_plan

    found, wish = _wished(teacher, sizes)
    plan = make_plan(found, wish, None if offline else _region(where), _prices())
    if as_json:
        click.echo(json.dumps(plan.as_json(), indent=2))
        return
    for line in show.lines(plan, everything=everything):
        click.echo(redact(line))


def _wished(name: str, sizes: dict[str, Any]) -> tuple[Teacher, Wish]:
    from azdistill.cloud.endpoints.expiry import hours_of
    from azdistill.cloud.endpoints.plan import Wish
    from azdistill.cloud.endpoints.teacher import find_teacher

    found = find_teacher(name, config=sizes["config"], parameters=sizes["parameters"], precision=sizes["precision"])
    names = ("context", "concurrency", "kv_precision", "max_tokens", "tokens_per_second", "instance_type")
    wish = Wish(
        **{key: sizes[key] for key in names},
        instance_count=sizes["instances"],
        hours=hours_of(sizes["kept"]),
        in_job=sizes.get("in_job", False),
    )
    return found, wish


def _region(where: Where) -> Region:
    from azdistill.cloud.connect import connect
    from azdistill.cloud.endpoints.region import find_region

    return find_region(connect(where))


def _prices() -> dict[str, float]:
    from azdistill.cloud.profiles import find_project

    return {name: float(price) for name, price in find_project(Path.cwd()).prices.items()}
