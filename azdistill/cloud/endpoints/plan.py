"""What serving a teacher takes: memory, machines, money, quota, and the limits that will bite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from azdistill import sizing
from azdistill.cloud.endpoints.region import Quota, Region
from azdistill.cloud.endpoints.teacher import Teacher
from azdistill.errors import UserError
from azdistill.sizing import Choice, Fit, Load, skus

#: Of managed online endpoints (how-to-manage-quotas, azure-ai-docs, 2026-01-27).
MOST_SECONDS, MOST_MEGABYTES, MOST_INSTANCES = 180, 5, 50
#: A model that no machine holds is tried on so many together, to say what would.
_STAGES = 4
#: UTF-8 bytes of one token of English prose, roughly.
_BYTES_A_TOKEN = 4


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
        return self.quota is not None and self.quota.left < self.cores

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
                {"instance_type": one.sku.name, "count": one.machines, "price": one.price} for one in self.choice.fits
            ],
            "misfits": [{"instance_type": one.sku.name, "reason": one.reason} for one in self.choice.misfits],
            "warnings": self.warnings,
            "notes": self.notes,
        }


def make_plan(
    teacher: Teacher, wish: Wish, region: Region | None = None, prices: Mapping[str, float] | None = None
) -> EndpointPlan:
    """The cheapest way to serve the teacher as wished. UserError AZD470, AZD473, AZD474."""
    shape, weights = teacher.shape(), teacher.weight_bytes()
    load = Load(_context(teacher, wish), wish.concurrency, wish.kv_precision)
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


def _context(teacher: Teacher, wish: Wish) -> int:
    most = teacher.model.context_length if teacher.model else None
    return min(wish.context, most) if most else wish.context


def _offered(wish: Wish, region: Region | None, prices: Mapping[str, float] | None) -> list[skus.Sku]:
    """Sizes to choose among, at the project's prices, else the region's, else ours."""
    own = {name.lower() for name in prices or {}}
    if wish.instance_type:
        found = [skus.get(wish.instance_type, prices)]
    else:
        # A size that is on no list of endpoints may still be granted: it is offered, and a warning says so.
        found = [sku for sku in skus.all_of(prices) if sku.gpus]
    if region is None:
        return found
    priced = [sku if sku.name.lower() in own else region.priced(sku) for sku in found]
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
    found = [] if plan.wish.in_job else _limits(plan)
    sku = plan.fit.sku
    if plan.quota is not None and plan.quota_short:
        found.append(
            f"quota: {plan.cores} cores of {plan.quota.family} are needed, {plan.quota.left:g} of {plan.quota.limit} "
            "are left; ask for more on the page Quota of Azure ML studio"
        )
    if not plan.wish.in_job and sku.online_endpoint is None:
        found.append(f"{sku.name} is not on Microsoft's list of sizes for managed online endpoints (2023-10-18)")
    if plan.region and not plan.region.offers(sku):
        found.append(f"{sku.name} is not offered in {plan.region.location}")
    return found


def _limits(plan: EndpointPlan) -> list[str]:
    wish, found = plan.wish, []
    seconds = wish.max_tokens / wish.tokens_per_second
    if seconds > MOST_SECONDS:
        most = int(MOST_SECONDS * wish.tokens_per_second)
        found.append(
            f"time: {wish.max_tokens} tokens at {wish.tokens_per_second:g} a second take {seconds:.0f} s, and a "
            f"managed online endpoint cuts a request after {MOST_SECONDS} s; set max_tokens to {most} or less, or run "
            "the teacher inside the job"
        )
    megabytes = plan.load.context * _BYTES_A_TOKEN / 1e6
    if megabytes > MOST_MEGABYTES:
        found.append(
            f"size: {plan.load.context} tokens are about {megabytes:.1f} MB, and a request may hold {MOST_MEGABYTES} MB"
        )
    if plan.instances > MOST_INSTANCES:
        found.append(f"a deployment has {MOST_INSTANCES} instances at most, without an exception")
    return found


def _notes(plan: EndpointPlan) -> list[str]:
    found = []
    if (entry := plan.teacher.hosting) is not None:
        until = f" until {entry.until}" if entry.until else ""
        found.append(
            f"Microsoft Foundry serves {plan.teacher.name} too{until}: a connection to it costs by the token and "
            "nothing has to be made"
        )
    if plan.region is None:
        found.append("quota: not asked (--offline)")
    else:
        found.extend(f"not known: {reason}" for reason in plan.region.silent)
        if plan.quota is None and plan.region.quotas is not None:
            found.append(f"quota: {plan.region.location} names none for {plan.fit.sku.family}")
    return found
