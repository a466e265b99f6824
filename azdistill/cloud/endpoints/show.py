"""A plan in lines that show the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

from azdistill import sizing
from azdistill.cloud.endpoints.plan import MOST_MEGABYTES, MOST_SECONDS, EndpointPlan
from azdistill.sizing import GIB, UTILIZATION
from azdistill.sizing.memory import BITS

_WIDTH = 12
#: Sizes that fit and are shown beside the one picked.
_OTHERS = 4


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
    yield from _others(plan)
    if everything:
        yield from (_line("too small", f"{one.sku.name}: {one.reason}") for one in plan.choice.misfits)
    elif plan.choice.misfits:
        yield _line("too small", f"{len(plan.choice.misfits)} other sizes (--all says why)")


def _line(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}"


def _weights(plan: EndpointPlan) -> str:
    teacher, gib = plan.teacher, plan.weights / GIB
    if teacher.weights is not None:
        return f"{gib:.1f} GiB, as they lie on the disk"
    kept = "" if teacher.precision in ("fp32", "bf16", "fp16") else ", embeddings in 16"
    bits = f"{BITS[teacher.precision]:g} bits ({teacher.precision}{kept})"
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
    joined = f", {sku.interconnect}" if sku.interconnect else ""
    return (
        f"{plan.instances} x {sku.name} ({sku.gpus} x {sku.gpu} {sku.gpu_memory_gib:g} GB{joined}), "
        f"{_divided(plan.fit.tensor_parallel)}{idle}"
    )


def _divided(parts: int) -> str:
    return "on one GPU" if parts == 1 else f"each layer over {parts} GPUs"


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
    held = "" if plan.wish.in_job or not plan.fit.sku.reserve else f" (with {plan.fit.sku.reserve:.0%} for upgrades)"
    asked = f"{plan.cores} cores of {plan.fit.sku.family}{held}"
    if plan.quota is None:
        return f"{asked}; what is left is not known"
    if plan.quota.limit is None:
        return f"{asked}; there is no limit"
    return f"{asked}; {plan.quota.left:g} of {plan.quota.limit} are left"


def _others(plan: EndpointPlan) -> Iterator[str]:
    for one in plan.choice.fits[1 : 1 + _OTHERS]:
        price = "price unknown" if one.price is None else f"{one.price:.2f} {one.sku.currency} an hour"
        yield _line("fits too", f"{one.machines} x {one.sku.name} ({one.sku.gpus} x {one.sku.gpu}), {price}")
