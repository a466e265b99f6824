"""Memory of weights and of keys and values, and what one GPU has to hold of both."""

from __future__ import annotations

import math
from dataclasses import dataclass

from azdistill.catalog import Architecture, Precision

GIB = 1024**3
#: The share of a GPU's memory that vLLM uses (its ``gpu_memory_utilization``; 0.9 unless told otherwise).
UTILIZATION = 0.9
#: Activations, CUDA graphs and communication buffers of one GPU, in GiB and as a share of it: an allowance of ours;
#: vLLM measures its own when it starts.
OVERHEAD_GIB = 2.0
OVERHEAD_SHARE = 0.04
#: Bits of one weight, scales included. int4: groups of 128 with a 16-bit scale and a 4-bit zero point (AWQ, GPTQ);
#: mxfp4: groups of 32 with an 8-bit scale (OCP Microscaling Formats 1.0); fp8: blocks of 128 x 128 with a 32-bit scale
#: (DeepSeek-V3 report, 3.3.2); int8: a 16-bit scale a row, which counts for nothing.
BITS: dict[Precision, float] = {
    "fp32": 32,
    "bf16": 16,
    "fp16": 16,
    "fp8": 8 + 32 / 128**2,
    "int8": 8,
    "int4": 4 + (16 + 4) / 128,
    "mxfp4": 4 + 8 / 32,
}
_WHOLE = ("fp32", "bf16", "fp16")
#: Bytes of one stored key or value.
_KV_BYTES: dict[str, int] = {"auto": 2, "fp8": 1}


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the server: tokens of a request and its answer together, requests at once, stored how."""

    context: int
    concurrency: int
    kv_precision: str = "auto"

    def __post_init__(self) -> None:
        if self.context < 1 or self.concurrency < 1 or self.kv_precision not in _KV_BYTES:
            raise ValueError(f"no such load: {self}")


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that one GPU has to hold."""

    weights: float
    kv: float
    overhead: float

    @property
    def total(self) -> float:
        return self.weights + self.kv + self.overhead


def weight_bytes(parameters: float, precision: Precision, architecture: Architecture | None = None) -> float:
    """Bytes of the weights of a model of so many ``parameters``.

    Quantised formats leave the embeddings and the output layer in 16 bits (AWQ, GPTQ, FP8 and MXFP4 checkpoints as
    published), which is counted where the architecture is known.
    """
    if precision in _WHOLE or architecture is None:
        return parameters * BITS[precision] / 8
    tables = 1 if architecture.tied_embeddings else 2
    embedding = min(parameters, tables * architecture.vocab_size * architecture.hidden_size)
    return (parameters - embedding) * BITS[precision] / 8 + embedding * 2


def kv_bytes_per_token(model: Architecture, kv_precision: str = "auto", tensor_parallel: int = 1) -> float:
    """Bytes that one more token takes on each GPU, over all layers, none of them a sliding one.

    ``2 * layers * kv_heads * head_dim * bytes`` (keys and values; fewer kv heads than attention heads are grouped-query
    attention, Ainslie et al. 2023). Kv heads are divided among the GPUs and, where there are fewer heads than GPUs,
    repeated (vLLM, ``get_num_kv_heads``). Multi-head latent attention stores ``kv_lora_rank + qk_rope_head_dim``
    numbers a layer instead (DeepSeek-V2 report, 2.1), the whole of them on every GPU.
    """
    return model.layers * _kv_bytes_per_layer(model, kv_precision, tensor_parallel)


def kv_bytes_per_sequence(
    model: Architecture, context: int, kv_precision: str = "auto", tensor_parallel: int = 1
) -> float:
    """Bytes that one request of ``context`` tokens takes on each GPU; sliding layers keep their window only."""
    window = min(context, model.sliding_window or context)
    tokens = (model.layers - model.sliding_layers) * context + model.sliding_layers * window
    return tokens * _kv_bytes_per_layer(model, kv_precision, tensor_parallel)


def _kv_bytes_per_layer(model: Architecture, kv_precision: str, tensor_parallel: int) -> float:
    size = _KV_BYTES[kv_precision]
    if model.latent:
        return model.latent * size + model.indexer
    return 2 * math.ceil(model.kv_heads / tensor_parallel) * model.head_dim * size + model.indexer


def splits(model: Architecture, gpus: int) -> int:
    """Among how many of ``gpus`` each layer can be divided: the largest number that vLLM accepts.

    The attention heads must divide evenly, and so must the kv heads, or be repeated evenly (vLLM,
    ``assert total_num_heads % tp_size == 0`` and its neighbours). Latent attention stores no heads.
    """
    return max(parts for parts in range(1, gpus + 1) if _divides(model, parts))


def _divides(model: Architecture, parts: int) -> bool:
    if model.attention_heads % parts:
        return False
    return model.latent is not None or model.kv_heads % parts == 0 or parts % model.kv_heads == 0


def need(
    model: Architecture, weights: float, load: Load, *, tensor_parallel: int, stages: int, gpu_memory_gib: float
) -> Need:
    """What each GPU holds when every layer is divided among ``tensor_parallel`` GPUs and the layers among ``stages``
    machines. Every stage keeps the keys and values of its layers for all requests.
    """
    sequence = kv_bytes_per_sequence(model, load.context, load.kv_precision, tensor_parallel)
    share = math.ceil(model.layers / stages) / model.layers
    overhead = (OVERHEAD_GIB + OVERHEAD_SHARE * gpu_memory_gib) * GIB
    return Need(weights * share / tensor_parallel, sequence * share * load.concurrency, overhead)
