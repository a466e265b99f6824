"""Which machines hold a teacher, the cheapest first, and why the others do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from azdistill.catalog import Architecture, Precision
from azdistill.sizing.memory import GIB, UTILIZATION, Load, Need, kv_bytes_per_sequence, need, splits
from azdistill.sizing.skus import Sku

#: More machines than this for one teacher are more likely a mistake than a plan.
MOST_MACHINES = 16
#: Compute capability of NVIDIA's GPUs (CUDA GPU compute capability page).
CAPABILITY = {"V100": 7.0, "T4": 7.5, "A100": 8.0, "A10": 8.6, "H100": 9.0, "H100 NVL": 9.0, "H200": 9.0}
#: The least that vLLM runs on at all (its installation page for CUDA; the images' pin is in ``environments/vllm``).
ENGINE_LEAST = 7.5
#: The least that a precision runs on in vLLM (its tables of supported hardware; fp8 below 8.9 through Marlin kernels).
_LEAST: dict[Precision, float] = {
    **dict.fromkeys(("fp32", "fp16"), ENGINE_LEAST),
    **dict.fromkeys(("bf16", "fp8", "mxfp4"), 8.0),
    **dict.fromkeys(("int8", "int4"), 7.5),
}


@dataclass(frozen=True, slots=True)
class Fit:
    """A way to serve the teacher: ``replicas`` groups of ``stages`` machines, each layer divided among
    ``tensor_parallel`` GPUs. ``need`` is of one GPU, at the share of the requests that one replica gets.
    """

    sku: Sku
    tensor_parallel: int
    stages: int
    replicas: int
    requests: int
    need: Need

    @property
    def machines(self) -> int:
        return self.stages * self.replicas

    @property
    def usable(self) -> float:
        """Bytes of one GPU that the engine uses."""
        return UTILIZATION * (self.sku.gpu_memory_gib or 0.0) * GIB

    @property
    def price(self) -> float | None:
        """For an hour of all machines; None: unknown."""
        return None if self.sku.price is None else self.sku.price * self.machines

    @property
    def idle_gpus(self) -> int:
        """GPUs of a machine that the model's heads cannot be divided among."""
        return self.sku.gpus - self.tensor_parallel


@dataclass(frozen=True, slots=True)
class Misfit:
    """An instance type that does not hold it, and why."""

    sku: Sku
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What fits, the cheapest first and then those without a price; and what does not."""

    fits: tuple[Fit, ...]
    misfits: tuple[Misfit, ...]

    @property
    def best(self) -> Fit | None:
        return self.fits[0] if self.fits else None


def choose(
    model: Architecture,
    weights: float,
    precision: Precision,
    load: Load,
    skus: Sequence[Sku],
    *,
    most_stages: int = 1,
) -> Choice:
    """Try every GPU size. ``most_stages`` is how many machines may share one copy of the model (1 on an endpoint)."""
    fits: list[Fit] = []
    misfits: list[Misfit] = []
    for sku in (sku for sku in skus if sku.gpus):
        fit = _try(model, weights, precision, load, sku, most_stages)
        fits.append(fit) if isinstance(fit, Fit) else misfits.append(Misfit(sku, fit))
    fits.sort(key=lambda fit: (fit.price is None, fit.price or 0.0, fit.machines, fit.sku.total_gpu_memory_gib))
    return Choice(tuple(fits), tuple(misfits))


def _try(
    model: Architecture, weights: float, precision: Precision, load: Load, sku: Sku, most_stages: int
) -> Fit | str:
    if refusal := _refusal(sku, precision):
        return refusal
    # Machines that no fast network joins cannot share a model.
    limit = most_stages if "infiniband" in (sku.interconnect or "") else 1
    attempts = (_replicate(model, weights, load, sku, stages) for stages in range(1, min(limit, model.layers) + 1))
    fits = [fit for fit in attempts if fit is not None]
    if fits:
        return min(fits, key=lambda fit: (fit.machines, fit.stages))
    return _why_not(model, weights, load, sku, most_stages)


def _refusal(sku: Sku, precision: Precision) -> str:
    if refusal := engine_refuses(sku):
        return refusal
    capability = CAPABILITY[sku.gpu or ""]
    if capability < _LEAST[precision]:
        half = "; in fp16 it would do" if precision == "bf16" else ""
        return f"{sku.gpu} has compute capability {capability}, and {precision} needs {_LEAST[precision]}{half}"
    return ""


def engine_refuses(sku: Sku) -> str:
    """Why vLLM does not run on the GPUs of a size, whatever the model; empty where it does."""
    capability = CAPABILITY.get(sku.gpu or "")
    if capability is None:
        return f"the engine's image is built for NVIDIA GPUs, not for {sku.gpu}"
    if capability < ENGINE_LEAST:
        return f"{sku.gpu} has compute capability {capability}, and vLLM needs {ENGINE_LEAST} or higher"
    return ""


def _replicate(model: Architecture, weights: float, load: Load, sku: Sku, stages: int) -> Fit | None:
    """The fewest replicas that share the requests so that each fits."""
    single = _need(model, weights, replace(load, concurrency=1), sku, stages)
    room = UTILIZATION * (sku.gpu_memory_gib or 0.0) * GIB - single.weights - single.overhead
    each = min(load.concurrency, math.floor(room / single.kv)) if single.kv else load.concurrency
    if each < 1:
        return None
    replicas = math.ceil(load.concurrency / each)
    if replicas * stages > MOST_MACHINES:
        return None
    share = math.ceil(load.concurrency / replicas)
    shared = _need(model, weights, replace(load, concurrency=share), sku, stages)
    return Fit(sku, splits(model, sku.gpus), stages, replicas, share, shared)


def _need(model: Architecture, weights: float, load: Load, sku: Sku, stages: int) -> Need:
    parallel, memory = splits(model, sku.gpus), sku.gpu_memory_gib or 0.0
    return need(model, weights, load, tensor_parallel=parallel, stages=stages, gpu_memory_gib=memory)


def _why_not(model: Architecture, weights: float, load: Load, sku: Sku, most_stages: int) -> str:
    gpu, parallel = sku.gpu_memory_gib or 0.0, splits(model, sku.gpus)
    usable = UTILIZATION * gpu
    single = _need(model, weights, replace(load, concurrency=1), sku, 1)
    fixed = (single.weights + single.overhead) / GIB
    where = f"{parallel} x {sku.gpu} {gpu:g} GB"
    if fixed > usable:
        copies = "" if most_stages > 1 else "; a deployment puts one copy on one machine"
        return f"weights and overhead take {fixed:.1f} GiB of the {usable:.1f} GiB usable on each GPU ({where}){copies}"
    if fixed + single.kv / GIB > usable:
        sequence = kv_bytes_per_sequence(model, load.context, load.kv_precision, parallel) / GIB
        remainder = f"{usable - fixed:.1f} GiB remain on each GPU ({where})"
        return f"{remainder}, and one request of {load.context} tokens takes {sequence:.1f}"
    return f"{load.concurrency} requests at once would take more than {MOST_MACHINES} machines"
