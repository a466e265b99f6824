"""The processes of a distributed training: which of them this one is, what they share, and who speaks for all.

Azure ML starts the step's command once for each process and says in WORLD_SIZE, RANK and LOCAL_RANK which one it is;
accelerate reads the same variables.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from common.step import BadConfig, say


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def is_main() -> bool:
    """Whether this process writes what all of them have made."""
    return int(os.environ.get("RANK") or 0) == 0


def tell(text: str) -> None:
    """Say something once, not once for each process."""
    if is_main():
        say(text)


def speak_for_all() -> None:
    """Leave metrics to the first process: the others would log the same again."""
    if not is_main():
        for name in ("AZDISTILL_METRICS_FILE", "MLFLOW_TRACKING_URI"):
            os.environ.pop(name, None)


def choose(parallelism: str, processes: int) -> str:
    """How weights are spread: ``none``, ``ddp``, ``fsdp`` or ``deepspeed``. Raises BadConfig for what cannot be."""
    if processes == 1:
        if parallelism not in ("auto", "none"):
            say(f"parallelism {parallelism} has nothing to do: this is the only process")
        return "none"
    if parallelism == "none":
        raise BadConfig(
            f"parallelism is none, but {processes} processes were started: each would train the same student alone"
        )
    if parallelism == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        raise BadConfig('parallelism deepspeed needs a package that is not installed: pip install "deepspeed>=0.17"')
    return "ddp" if parallelism == "auto" else parallelism


def training_settings(strategy: str, device: str) -> dict[str, Any]:
    """The Trainer's settings for a strategy. Raises BadConfig for sharding without GPUs."""
    if strategy == "none":
        return {}
    if strategy != "ddp" and device == "cpu":
        raise BadConfig(f"parallelism {strategy} shards the student over GPUs, and this machine has none; use ddp")
    if strategy == "fsdp":
        # Wrapped layer by layer as the model itself says; the whole state is gathered for checkpoints and at the end.
        return {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "FULL_STATE_DICT"}}
    if strategy == "deepspeed":
        return {"deepspeed": _ZERO}
    return {"ddp_find_unused_parameters": False, **({"ddp_backend": "gloo"} if device == "cpu" else {})}


#: ZeRO stage 3 (Rajbhandari et al., 2020): weights, gradients and optimiser states in shards.
_ZERO = {
    "zero_optimization": {"stage": 3, "overlap_comm": True, "stage3_gather_16bit_weights_on_model_save": True},
    "bf16": {"enabled": "auto"},
    "fp16": {"enabled": "auto"},
    "gradient_clipping": "auto",
    "gradient_accumulation_steps": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "train_batch_size": "auto",
}


def agree(value: Any) -> Any:
    """The first process's ``value``, in all of them."""
    if world_size() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


#: Trainers that hold a process group are kept until the process ends: freeing one may hang (see ``common.step``).
_KEPT: list[Any] = []


def part(trainer: Any) -> None:
    """Leave the process group that ``trainer`` trained in, after which no process waits for another."""
    if world_size() > 1:
        from accelerate import PartialState

        _KEPT.append(trainer)
        PartialState().destroy_process_group()
