"""How much memory a teacher takes to serve, and the machines that hold it. Pure arithmetic: nothing is asked.

The engine is vLLM's way of using a GPU: a fixed share of its memory, of which weights and activations take their part
and the rest holds keys and values. Each formula names where it is from.
"""

from azdistill.sizing.choice import Choice, Fit, choose, engine_refuses
from azdistill.sizing.config import read_config
from azdistill.sizing.memory import (
    GIB,
    UTILIZATION,
    Load,
    kv_bytes_per_sequence,
    kv_bytes_per_token,
    need,
    splits,
    weight_bytes,
)

__all__ = [
    "GIB",
    "UTILIZATION",
    "Choice",
    "Fit",
    "Load",
    "choose",
    "engine_refuses",
    "kv_bytes_per_sequence",
    "kv_bytes_per_token",
    "need",
    "read_config",
    "splits",
    "weight_bytes",
]
