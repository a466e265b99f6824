"""``azdistill endpoint``: what serving a teacher takes; making, listing and removing such an endpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from azdistill import strict_json
from azdistill.cli.workspace import workspace_options
from azdistill.errors import Interrupted, ServiceError, UserError
from azdistill.redact import redact

if TYPE_CHECKING:
    from azdistill.cloud.endpoints.existing import Endpoint
    from azdistill.cloud.endpoints.plan import Wish
    from azdistill.cloud.endpoints.teacher import Teacher
    from azdistill.cloud.endpoints.up import Order
    from azdistill.cloud.workspace.connect import Connection, Where
    from azdistill.cloud.workspace.region import Region

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
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@workspace_options
def plan_command(teacher: str, where: Where, offline: bool, everything: bool, as_json: bool, **sizes: Any) -> None:
    """Work out memory, machines and price of serving TEACHER: a name of the catalogue, or a folder of weights."""
    from azdistill.cloud.endpoints.plan import lines, make_plan

    found, wish = _wished(teacher, sizes)
    plan = make_plan(found, wish, None if offline else _region(where), _prices())
    if as_json:
        click.echo(strict_json.dumps(plan.as_json(), indent=2))
        return
    for line in lines(plan, everything=everything):
        click.echo(redact(line))


@endpoint_command.command("up")
@click.argument("teacher")
@click.option("--model", metavar="REF", help="What to serve: azureml:NAME:VERSION, or azureml://registries/...")
@_size_options
@click.option(
    "--environment",
    metavar="WHAT",
    help="The server: vllm (our image), model (what the model brings), or azureml:NAME:VERSION.  "
    "[default: model for a registry's, else vllm]",
)
@click.option(
    "--serverless", is_flag=True, help="Hosted by Microsoft and paid by the token (a registry's models only)."
)
@click.option(
    "--identity",
    is_flag=True,
    help="No key: who asks needs the role AzureML Data Scientist (on the endpoint), jobs a managed identity with it.",
)
@click.option("--name", help="The endpoint's name.  [default: made from teacher and workspace]")
@click.option("--for", "kept", default="8h", show_default=True, metavar="TIME", help="When reap may remove it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; required without a terminal.")
@workspace_options
def up_command(teacher: str, where: Where, yes: bool, **sizes: Any) -> None:
    """Serve TEACHER, wait until it answers, and print what goes into a recipe.

    A second call goes on where a first was ended, or keeps the endpoint for longer.
    """
    from azdistill.cloud.endpoints.up import up
    from azdistill.cloud.workspace.connect import connect

    connection = connect(where)
    order = _order(teacher, connection, sizes)
    _agree(order, yes)
    try:
        ready = up(connection, order, _say)
    except KeyboardInterrupt:
        raise Interrupted(
            f"what was made of {order.name} so far is kept, and costs",
            code="AZD482",
            hint=f"azdistill endpoint up goes on, azdistill endpoint down {order.name} removes it",
        ) from None
    click.echo(redact(ready.section()), nl=False)


@endpoint_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@workspace_options
def list_command(where: Where, as_json: bool) -> None:
    """List the endpoints that up made, incomplete ones too."""
    from azdistill.cloud.endpoints import existing, names
    from azdistill.cloud.workspace.connect import connect

    found = existing.list_endpoints(connect(where))
    if as_json:
        click.echo(strict_json.dumps([one.as_json() for one in found], indent=2))
        return
    for one in found:
        click.echo(redact(_line(one, expired=one.expired(names.now()))))
    if not found:
        click.echo("there are no endpoints of ours")


@endpoint_command.command("down")
@click.argument("name")
@workspace_options
def down_command(name: str, where: Where) -> None:
    """Remove what up made under NAME: its connection, its deployment, and the endpoint. Nothing else."""
    from azdistill.cloud.endpoints.existing import down
    from azdistill.cloud.workspace.connect import connect

    down(connect(where), name, _say)
    click.echo(f"{name} is gone")


@endpoint_command.command("reap")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@workspace_options
def reap_command(where: Where, dry_run: bool) -> None:
    """Remove every expired endpoint that azdistill made."""
    from azdistill.cloud.endpoints import existing, names
    from azdistill.cloud.workspace.connect import connect

    connection, failures = connect(where), []
    over = [one for one in existing.list_endpoints(connection) if one.expired(names.now())]
    for one in over:
        if dry_run:
            click.echo(f"{one.name} expired {one.expires}")
            continue
        try:
            existing.down(connection, one.name, _say)
            click.echo(f"{one.name} is gone, it expired {one.expires}")
        except (ServiceError, UserError) as error:
            # The others are to go all the same.
            failures.append(f"{one.name}: {error.message}")
    if failures:
        raise ServiceError("; ".join(failures), code="AZD483", hint="azdistill endpoint list shows what is left")
    if not over:
        click.echo("nothing has expired")


def _order(teacher: str, connection: Connection, sizes: dict[str, Any]) -> Order:
    from azdistill.cloud.endpoints import names
    from azdistill.cloud.endpoints.plan import lines, make_plan
    from azdistill.cloud.endpoints.teacher import served_name
    from azdistill.cloud.endpoints.up import Order, deployed
    from azdistill.cloud.workspace.region import find_region

    served_as = served_name(teacher)
    name = names.checked_name(sizes["name"] or names.endpoint_name(Path(teacher).name, connection.workspace_id))
    plan = None
    if not sizes["serverless"]:
        found, wish = _wished(teacher, sizes)
        plan = make_plan(found, wish, find_region(connection), _prices())
        served_as = found.served_as
        for line in lines(plan):
            click.echo(redact(line), err=True)
        # What is deployed already has its share of the quota.
        there = plan.quota_short and deployed(connection, name)
        if plan.quota_short and not there:
            hint = "ask for more on the page Quota of Azure ML studio, or try another size: --instance-type"
            raise UserError(next(text for text in plan.warnings if text.startswith("quota")), code="AZD479", hint=hint)
    if not sizes["model"]:
        raise UserError(
            f"which model is {teacher}? The workspace or a registry has to hold its weights",
            code="AZD478",
            hint="--model azureml:NAME:VERSION (`az ml model create` uploads a folder), or azureml://registries/...",
        )
    return Order(
        name,
        Path(teacher).name,
        served_as,
        sizes["model"],
        names.expires(names.hours_of(sizes["kept"])),
        plan,
        sizes["environment"],
        sizes["identity"],
    )


def _agree(order: Order, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("an endpoint costs money while it is there", code="AZD484", hint="--yes makes it unasked")
    if not click.confirm(f"Make {order.name}, to be kept until {order.expires}?", default=False, err=True):
        raise click.Abort


def _say(text: str) -> None:
    click.echo(redact(text), err=True)


def _line(one: Endpoint, *, expired: bool) -> str:
    made = ", ".join(f"{d.instances} x {d.instance_type} {d.state.lower()}" for d in one.deployments) or one.kind
    price = f", {one.price:.2f} USD an hour" if one.price else ""
    missing = f"; half made: no {', no '.join(one.missing)}" if one.missing else ""
    until = f"{'expired' if expired else 'expires'} {one.expires or 'never'}"
    return f"{one.name}  {one.teacher}  {one.state.lower()}  {made}{price}  {until}{missing}"


def _wished(name: str, sizes: dict[str, Any]) -> tuple[Teacher, Wish]:
    from azdistill.cloud.endpoints.names import hours_of
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
    from azdistill.cloud.workspace.connect import connect
    from azdistill.cloud.workspace.region import find_region

    try:
        connection = connect(where)
    except UserError as error:
        raise UserError(
            error.message, code=error.code, hint=f"--offline plans without a workspace; {error.hint}"
        ) from None
    return find_region(connection)


def _prices() -> dict[str, float]:
    from azdistill.cloud.workspace.profiles import find_project

    return {name: float(price) for name, price in find_project(Path.cwd()).prices.items()}
