"""What serving a teacher takes: memory, machines, money, quota, and the limits that will bite; the plan in lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from azdistill import sizing
from azdistill.cloud.endpoints.teacher import Teacher
from azdistill.cloud.workspace.region import Quota, Region
from azdistill.errors import UserError
from azdistill.sizing import GIB, UTILIZATION, Choice, Fit, Load, skus
from azdistill.sizing.memory import BITS

#: Of managed online endpoints (how-to-manage-quotas, azure-ai-docs, 2026-01-27).
MOST_SECONDS, MOST_MEGABYTES, MOST_INSTANCES = 180, 5, 50
#: A model that no machine holds is tried on so many together, to say what would.
_STAGES = 4
#: UTF-8 bytes of one token of English prose, roughly.
_BYTES_A_TOKEN = 4
#: Columns of a line's name, and how many sizes that fit are shown beside the one picked.
_WIDTH, _ALTERNATIVES = 12, 4


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the endpoint. ``tokens_per_second`` is of one request, while all are answered: an assumption
    until it was measured. ``hours`` is how long it is kept.
    """

    context: int = 8192
    concurrency: int = 16
    kv_precision: str = "auto"
    max_tokens: int = 512
    tokens_per_second: float = 20.0
    hours: float = 8.0
    instance_type: str | None = None
    instance_count: int | None = None
    in_job: bool = False


@dataclass(frozen=True)
class EndpointPlan:
    """A plan that holds; ``fit`` is what would be made."""

    teacher: Teacher
    wish: Wish
    load: Load
    weights: float
    choice: Choice
    fit: Fit
    instances: int
    quota: Quota | None
    region: Region | None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def cores(self) -> int:
        """Cores of quota that it takes, with those that the service holds back for upgrades."""
        extra = 0.0 if self.wish.in_job else self.fit.sku.reserve
        return math.ceil(self.instances * (1 + extra)) * self.fit.sku.vcpus

    @property
    def quota_short(self) -> bool:
        """Whether the quota is known, and too small."""
        return self.quota is not None and self.quota.free < self.cores

    @property
    def price(self) -> float | None:
        """USD an hour; None: unknown."""
        return None if self.fit.sku.price is None else self.fit.sku.price * self.instances

    def as_json(self) -> dict[str, Any]:
        """The plan as data; memory in bytes, money in USD."""
        sku, need = self.fit.sku, self.fit.need
        return {
            "teacher": self.teacher.name,
            "precision": self.teacher.precision,
            "weights_bytes": self.weights,
            "context": self.load.context,
            "concurrency": self.load.concurrency,
            "kv_bytes_per_token": sizing.kv_bytes_per_token(self.teacher.shape(), self.load.kv_precision),
            "per_gpu": {"weights": need.weights, "kv": need.kv, "overhead": need.overhead, "usable": self.fit.usable},
            "instance_type": sku.name,
            "instance_count": self.instances,
            "tensor_parallel": self.fit.tensor_parallel,
            "price_per_hour": self.price,
            "price_as_of": sku.as_of.isoformat(),
            "price_source": sku.price_source,
            "cost": None if self.price is None else self.price * self.wish.hours,
            "cores": self.cores,
            "quota": None if self.quota is None else {"used": self.quota.used, "limit": self.quota.limit},
            "fits": [
                {"instance_type": fit.sku.name, "count": fit.machines, "price": fit.price} for fit in self.choice.fits
            ],
            "misfits": [{"instance_type": each.sku.name, "reason": each.reason} for each in self.choice.misfits],
            "warnings": self.warnings,
            "notes": self.notes,
        }


def plan_endpoint(
    teacher: Teacher, wish: Wish, region: Region | None = None, prices: Mapping[str, float] | None = None
) -> EndpointPlan:
    """The cheapest way to serve the teacher as wished. UserError AZD470, AZD473, AZD474."""
    shape, weights = teacher.shape(), teacher.weight_bytes()
    longest = (teacher.model and teacher.model.context_length) or wish.context
    load = Load(min(wish.context, longest), wish.concurrency, wish.kv_precision)
    offered = _offered(wish, region, prices)
    choice = sizing.choose(shape, weights, teacher.precision, load, offered)
    fit = choice.best
    if fit is None:
        raise _nothing_fits(teacher, load, choice, offered)
    instances = max(fit.machines, wish.instance_count or 1)
    quota = region.quota(fit.sku) if region else None
    plan = EndpointPlan(teacher, wish, load, weights, choice, fit, instances, quota, region)
    plan.warnings.extend(_warnings(plan))
    plan.notes.extend(_notes(plan))
    return plan


def _offered(wish: Wish, region: Region | None, prices: Mapping[str, float] | None) -> list[skus.Sku]:
    """Sizes to choose among, at the project's prices, else the region's, else ours."""
    project = {name.lower() for name in prices or {}}
    if wish.instance_type:
        sizes = [skus.get(wish.instance_type, prices)]
    else:
        # A size that is on no list of endpoints may still be granted: it is offered, and a warning says so.
        sizes = [sku for sku in skus.all_of(prices) if sku.gpus]
    if region is None:
        return sizes
    priced = [sku if sku.name.lower() in project else region.priced(sku) for sku in sizes]
    return [sku for sku in priced if region.offers(sku)] or priced


def _nothing_fits(teacher: Teacher, load: Load, choice: Choice, offered: list[skus.Sku]) -> UserError:
    shape, weights = teacher.shape(), teacher.weight_bytes()
    several = sizing.choose(shape, weights, teacher.precision, load, offered, most_stages=_STAGES).best
    reasons = "\n".join(f"    {misfit.sku.name}: {misfit.reason}" for misfit in choice.misfits)
    advice = "fewer tokens (--context), fewer requests (--concurrency) or fewer bits (--precision) take less"
    if several:
        advice += (
            f"; {several.stages} machines of {several.sku.name} together would hold it, but neither an endpoint nor "
            "the step teacher_in_job shares one copy among machines"
        )
    return UserError(
        f"no instance type that is known holds {teacher.name} in {teacher.precision} with {load.concurrency} requests "
        f"of {load.context} tokens\n{reasons}",
        code="AZD474",
        hint=advice,
    )


def _warnings(plan: EndpointPlan) -> list[str]:
    warnings = [] if plan.wish.in_job else _limits(plan)
    sku = plan.fit.sku
    if plan.quota is not None and plan.quota_short:
        warnings.append(
            f"quota: {plan.cores} cores of {plan.quota.family} are needed, {plan.quota.free:g} of {plan.quota.limit} "
            "are left; ask for more on the page Quota of Azure ML studio"
        )
    if not plan.wish.in_job and sku.online_endpoint is None:
        warnings.append(f"{sku.name} is not on Microsoft's list of sizes for managed online endpoints (2023-10-18)")
    if plan.region and not plan.region.offers(sku):
        warnings.append(f"{sku.name} is not offered in {plan.region.location}")
    return warnings


def _limits(plan: EndpointPlan) -> list[str]:
    wish, limits = plan.wish, []
    seconds = wish.max_tokens / wish.tokens_per_second
    if seconds > MOST_SECONDS:
        limits.append(
            f"time: {wish.max_tokens} tokens at {wish.tokens_per_second:g} a second take {seconds:.0f} s, and a "
            f"managed online endpoint cuts a request after {MOST_SECONDS} s; set max_tokens to "
            f"{int(MOST_SECONDS * wish.tokens_per_second)} or less, or run the teacher inside the job"
        )
    megabytes = plan.load.context * _BYTES_A_TOKEN / 1e6
    if megabytes > MOST_MEGABYTES:
        limits.append(
            f"size: {plan.load.context} tokens are about {megabytes:.1f} MB, and a request may hold {MOST_MEGABYTES} MB"
        )
    if plan.instances > MOST_INSTANCES:
        limits.append(f"a deployment has {MOST_INSTANCES} instances at most, without an exception")
    return limits


def _notes(plan: EndpointPlan) -> list[str]:
    notes = []
    if (hosting := plan.teacher.hosting) is not None:
        until = f" until {hosting.until}" if hosting.until else ""
        notes.append(
            f"Microsoft Foundry serves {plan.teacher.name} too{until}: a connection to it costs by the token and "
            "nothing has to be made"
        )
    if plan.region is None:
        return [*notes, "quota: not asked (--offline)"]
    notes.extend(f"not known: {reason}" for reason in plan.region.silent)
    if plan.quota is None and plan.region.quotas is not None:
        notes.append(f"quota: {plan.region.location} names none for {plan.fit.sku.family}")
    return notes


def lines(plan: EndpointPlan, *, everything: bool = False) -> Iterator[str]:
    """The plan for people; ``everything``: also each size that does not fit, and why."""
    yield _line("teacher", plan.teacher.name + (f", served as {plan.teacher.served_as}" if plan.teacher.model else ""))
    yield _line("weights", _weights(plan))
    yield _line("KV cache", _cache(plan))
    yield _line("each GPU", _gpu(plan))
    yield _line("machines", _machines(plan))
    yield _line("price", _price(plan))
    yield _line("quota", _quota(plan))
    if not plan.wish.in_job:
        yield _line("limits", f"{MOST_SECONDS} s and {MOST_MEGABYTES} MB a request (managed online endpoints)")
    yield from (_line("warning", text) for text in plan.warnings)
    yield from (_line("note", text) for text in plan.notes)
    for fit in plan.choice.fits[1 : 1 + _ALTERNATIVES]:
        price = "price unknown" if fit.price is None else f"{fit.price:.2f} {fit.sku.currency} an hour"
        yield _line("fits too", f"{fit.machines} x {fit.sku.name} ({fit.sku.gpus} x {fit.sku.gpu}), {price}")
    if everything:
        yield from (_line("too small", f"{misfit.sku.name}: {misfit.reason}") for misfit in plan.choice.misfits)
    elif plan.choice.misfits:
        yield _line("too small", f"{len(plan.choice.misfits)} other sizes (--all says why)")


def _line(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}"


def _weights(plan: EndpointPlan) -> str:
    teacher, gib = plan.teacher, plan.weights / GIB
    if teacher.weights is not None:
        return f"{gib:.1f} GiB, as they lie on the disk"
    embeddings = "" if teacher.precision in ("fp32", "bf16", "fp16") else ", embeddings in 16"
    bits = f"{BITS[teacher.precision]:g} bits ({teacher.precision}{embeddings})"
    return f"{teacher.parameters:g}B parameters x {bits} = {gib:.1f} GiB"


def _cache(plan: EndpointPlan) -> str:
    shape, parts = plan.teacher.shape(), plan.fit.tensor_parallel
    token = sizing.kv_bytes_per_token(shape, plan.load.kv_precision, parts)
    size = 1 if plan.load.kv_precision == "fp8" else 2
    if shape.latent:
        sum_ = f"{shape.layers} layers x {shape.latent} (latent) x {size} bytes"
    else:
        heads = -(-shape.kv_heads // parts)
        sum_ = f"2 x {shape.layers} layers x {heads} of {shape.kv_heads} kv heads x {shape.head_dim} x {size} bytes"
    if shape.sliding_layers:
        sum_ += f" ({shape.sliding_layers} layers keep {shape.sliding_window} tokens only)"
    sequence = sizing.kv_bytes_per_sequence(shape, plan.load.context, plan.load.kv_precision, parts) / GIB
    return f"{sum_} = {token / 1024:.1f} KiB a token; {plan.load.context} tokens = {sequence:.2f} GiB on each GPU"


def _gpu(plan: EndpointPlan) -> str:
    fit, need = plan.fit, plan.fit.need
    return (
        f"{need.weights / GIB:.1f} weights + {need.kv / GIB:.1f} KV of {fit.requests} requests + "
        f"{need.overhead / GIB:.1f} overhead = {need.total / GIB:.1f} of {fit.usable / GIB:.1f} GiB "
        f"({UTILIZATION:g} of {fit.sku.gpu_memory_gib:g})"
    )


def _machines(plan: EndpointPlan) -> str:
    sku = plan.fit.sku
    idle = f", {plan.fit.idle_gpus} GPUs idle: the heads divide no further" if plan.fit.idle_gpus else ""
    link = f", {sku.interconnect}" if sku.interconnect else ""
    parts = plan.fit.tensor_parallel
    spread = "on one GPU" if parts == 1 else f"each layer over {parts} GPUs"
    return f"{plan.instances} x {sku.name} ({sku.gpus} x {sku.gpu} {sku.gpu_memory_gib:g} GB{link}), {spread}{idle}"


def _price(plan: EndpointPlan) -> str:
    sku = plan.fit.sku
    if plan.price is None:
        return f"unknown for {sku.name}; say it under prices: in azdistill.yml"
    total = plan.price * plan.wish.hours
    return (
        f"{plan.price:.2f} {sku.currency} an hour, {total:.2f} for {plan.wish.hours:g} hours "
        f"({sku.price_source}, {sku.as_of})"
    )


def _quota(plan: EndpointPlan) -> str:
    reserve = "" if plan.wish.in_job or not plan.fit.sku.reserve else f" (with {plan.fit.sku.reserve:.0%} for upgrades)"
    demand = f"{plan.cores} cores of {plan.fit.sku.family}{reserve}"
    if plan.quota is None:
        return f"{demand}; what is left is not known"
    if plan.quota.limit is None:
        return f"{demand}; there is no limit"
    return f"{demand}; {plan.quota.free:g} of {plan.quota.limit} are left"
