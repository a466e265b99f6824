"""``azdistill endpoint``: what serving a teacher takes; making, listing and removing such an endpoint."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from azdistill.cli import options
from azdistill.cli.text import print_answer
from azdistill.errors import Interrupted, ServiceError, UserError
from azdistill.redact import redact

if TYPE_CHECKING:
    from azdistill.cloud.endpoints.inventory import Endpoint
    from azdistill.cloud.endpoints.plan import Wish
    from azdistill.cloud.endpoints.teacher import Teacher
    from azdistill.cloud.endpoints.up import Order
    from azdistill.cloud.workspace.connect import Connection, Where
    from azdistill.cloud.workspace.region import Region

_PRECISIONS = ("fp32", "bf16", "fp16", "fp8", "int8", "int4", "mxfp4")

_COUNT, _POSITIVE = click.IntRange(min=1), click.FloatRange(min=0, min_open=True)
_option = partial(click.option, show_default=True)

_size_options = options.add_options(
    click.option(
        "--config",
        type=click.Path(exists=True, path_type=Path),
        help="The model's config.json, or the folder with it, where the catalogue does not know its layers.",
    ),
    click.option("--parameters", type=_POSITIVE, help="Parameters of it, in billions."),
    click.option("--precision", type=click.Choice(_PRECISIONS), help="What its weights are stored in."),
    _option("--context", type=_COUNT, default=8192, help="Tokens of the longest request and its answer together."),
    _option("--concurrency", type=_COUNT, default=16, help="Requests in flight at once."),
    _option(
        "--kv-precision",
        type=click.Choice(["auto", "fp8"]),
        default="auto",
        help="What keys and values are stored in; fp8 takes half the memory.",
    ),
    _option("--max-tokens", type=_COUNT, default=512, help="Tokens of the longest answer."),
    _option(
        "--tokens-per-second",
        type=_POSITIVE,
        default=20.0,
        help="Speed of one answer, for the time limit of a request: an assumption until you have measured it.",
    ),
    click.option("--instance-type", metavar="SIZE", help="This size, rather than the cheapest that holds it."),
    click.option("--instances", type=_COUNT, help="At least so many machines."),
)


@click.group("endpoint")
def endpoint_command() -> None:
    """Serve an open teacher from a workspace: plan, up, list, down, reap."""


@endpoint_command.command("plan")
@click.argument("teacher")
@_size_options
@click.option("--in-job", is_flag=True, help="For the step teacher_in_job, rather than an endpoint.")
@_option("--for", "duration", default="8h", metavar="TIME", help="How long it is kept: 90m, 8h, 2d.")
@click.option("--offline", is_flag=True, help="Ask no workspace: no quota, no prices of its region.")
@click.option("--all", "everything", is_flag=True, help="Also each size that is too small, and why.")
@options.json_option
@options.workspace_options
def plan_command(teacher: str, where: Where, offline: bool, everything: bool, as_json: bool, **sizes: Any) -> None:
    """Work out memory, machines and price of serving TEACHER: a name of the catalogue, or a folder of weights."""
    from azdistill.cloud.endpoints.plan import lines, plan_endpoint

    plan = plan_endpoint(*_wished(teacher, sizes), None if offline else _region(where), _prices())
    print_answer(plan.as_json(), lambda: lines(plan, everything=everything), as_json=as_json, indent=2)


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
@click.option("--serverless", is_flag=True, help="Hosted by Microsoft, paid by the token (a registry's models only).")
@click.option(
    "--identity",
    is_flag=True,
    help="No key: who asks needs the role AzureML Data Scientist (on the endpoint), jobs a managed identity with it.",
)
@click.option("--name", help="The endpoint's name.  [default: made from teacher and workspace]")
@_option("--for", "duration", default="8h", metavar="TIME", help="When reap may remove it.")
@options.yes_option
@options.connection_options
def up_command(teacher: str, connection: Connection, yes: bool, **sizes: Any) -> None:
    """Serve TEACHER, wait until it answers, and print what goes into a recipe.

    A second call goes on where a first was ended, or keeps the endpoint for longer.
    """
    from azdistill.cloud.endpoints.up import up

    order = _order(teacher, connection, sizes)
    refusal = UserError("an endpoint costs money while it is there", code="AZD484", hint="--yes makes it unasked")
    options.confirm(f"Make {order.name}, to be kept until {order.expires}?", yes=yes, refusal=refusal)
    try:
        ready = up(connection, order, _say)
    except KeyboardInterrupt:
        hint = f"azdistill endpoint up goes on, azdistill endpoint down {order.name} removes it"
        message = f"what was made of {order.name} so far is kept, and costs"
        raise Interrupted(message, code="AZD482", hint=hint) from None
    click.echo(redact(ready.section()), nl=False)


@endpoint_command.command("list")
@options.json_option
@options.connection_options
def list_command(connection: Connection, as_json: bool) -> None:
    """List the endpoints that up made, incomplete ones too."""
    from azdistill.cloud.endpoints import inventory, ownership

    endpoints = inventory.list_endpoints(connection)

    def lines() -> list[str]:
        now = ownership.now()
        return [_line(endpoint, expired=endpoint.expired(now)) for endpoint in endpoints]

    content = [endpoint.as_json() for endpoint in endpoints]
    print_answer(content, lambda: lines() or ["there are no endpoints of ours"], as_json=as_json, indent=2)


@endpoint_command.command("down")
@click.argument("name")
@options.connection_options
def down_command(name: str, connection: Connection) -> None:
    """Remove what up made under NAME: its connection, its deployment, and the endpoint. Nothing else."""
    from azdistill.cloud.endpoints.inventory import down

    down(connection, name, _say)
    click.echo(f"{name} is gone")


@endpoint_command.command("reap")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@options.connection_options
def reap_command(connection: Connection, dry_run: bool) -> None:
    """Remove every expired endpoint that azdistill made."""
    from azdistill.cloud.endpoints import inventory, ownership

    failures = []
    expired = [endpoint for endpoint in inventory.list_endpoints(connection) if endpoint.expired(ownership.now())]
    for endpoint in expired:
        if dry_run:
            click.echo(f"{endpoint.name} expired {endpoint.expires}")
            continue
        try:
            inventory.down(connection, endpoint.name, _say)
            click.echo(f"{endpoint.name} is gone, it expired {endpoint.expires}")
        except (ServiceError, UserError) as error:
            # The others are to go all the same.
            failures.append(f"{endpoint.name}: {error.message}")
    if failures:
        raise ServiceError("; ".join(failures), code="AZD483", hint="azdistill endpoint list shows what is left")
    if not expired:
        click.echo("nothing has expired")


def _order(teacher: str, connection: Connection, sizes: dict[str, Any]) -> Order:
    from azdistill.cloud.endpoints import ownership
    from azdistill.cloud.endpoints.plan import lines, plan_endpoint
    from azdistill.cloud.endpoints.teacher import served_name
    from azdistill.cloud.endpoints.up import Order, deployed
    from azdistill.cloud.workspace.region import find_region

    name = ownership.checked_name(sizes["name"] or ownership.endpoint_name(Path(teacher).name, connection.workspace_id))
    plan, served_as = None, served_name(teacher)
    if not sizes["serverless"]:
        model, wish = _wished(teacher, sizes)
        plan = plan_endpoint(model, wish, find_region(connection), _prices())
        served_as = model.served_as
        for line in lines(plan):
            click.echo(redact(line), err=True)
        # What is deployed already has its share of the quota.
        if plan.quota_short and not deployed(connection, name):
            hint = "ask for more on the page Quota of Azure ML studio, or try another size: --instance-type"
            raise UserError(next(text for text in plan.warnings if text.startswith("quota")), code="AZD479", hint=hint)
    if not sizes["model"]:
        message = f"which model is {teacher}? The workspace or a registry has to hold its weights"
        hint = "--model azureml:NAME:VERSION (`az ml model create` uploads a folder), or azureml://registries/..."
        raise UserError(message, code="AZD478", hint=hint)
    return Order(
        name,
        Path(teacher).name,
        served_as,
        sizes["model"],
        ownership.expires(ownership.hours_of(sizes["duration"])),
        plan,
        sizes["environment"],
        sizes["identity"],
    )


def _say(text: str) -> None:
    click.echo(redact(text), err=True)


def _line(endpoint: Endpoint, *, expired: bool) -> str:
    machines = [f"{d.instances} x {d.instance_type} {d.state.lower()}" for d in endpoint.deployments]
    price = f", {endpoint.price:.2f} USD an hour" if endpoint.price else ""
    missing = f"; half made: no {', no '.join(endpoint.missing)}" if endpoint.missing else ""
    until = f"{'expired' if expired else 'expires'} {endpoint.expires or 'never'}"
    served_by = ", ".join(machines) or endpoint.kind
    return f"{endpoint.name}  {endpoint.teacher}  {endpoint.state.lower()}  {served_by}{price}  {until}{missing}"


def _wished(name: str, sizes: dict[str, Any]) -> tuple[Teacher, Wish]:
    from azdistill.cloud.endpoints.ownership import hours_of
    from azdistill.cloud.endpoints.plan import Wish
    from azdistill.cloud.endpoints.teacher import find_teacher

    teacher = find_teacher(name, config=sizes["config"], parameters=sizes["parameters"], precision=sizes["precision"])
    names = ("context", "concurrency", "kv_precision", "max_tokens", "tokens_per_second", "instance_type")
    wish = Wish(
        **{key: sizes[key] for key in names},
        instance_count=sizes["instances"],
        hours=hours_of(sizes["duration"]),
        in_job=sizes.get("in_job", False),
    )
    return teacher, wish


def _region(where: Where) -> Region:
    from azdistill.cloud.workspace.connect import connect
    from azdistill.cloud.workspace.region import find_region

    try:
        connection = connect(where)
    except UserError as error:
        hint = f"--offline plans without a workspace; {error.hint}"
        raise UserError(error.message, code=error.code, hint=hint) from None
    return find_region(connection)


def _prices() -> dict[str, float]:
    from azdistill.cloud.workspace.profiles import find_project

    return {name: float(price) for name, price in find_project(Path.cwd()).prices.items()}
