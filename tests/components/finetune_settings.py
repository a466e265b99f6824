"""The inputs of finetune_student, for tests that train in their own process."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any


def settings(folder: Path, student: Path, **changes: Any) -> Namespace:
    """Inputs that train a tiny student; outputs lie in ``folder``."""
    values: dict[str, Any] = {
        "student": str(student), "student_weights": str(student), "revision": None, "method": "sft", "logits": None,
        "target": "response", "loss_on": "response", "learning_rate": 1e-2, "batch_size": 8, "max_steps": -1,
        "gradient_accumulation_steps": 1, "num_epochs": 3, "warmup_ratio": 0.1, "weight_decay": 0.01,
        "lr_scheduler": "cosine", "max_length": 512, "distillation_temperature": 1.0, "distillation_alpha": 0.5,
        "lora": False, "lora_rank": 4, "lora_alpha": 8.0, "lora_dropout": 0.0, "lora_target_modules": None,
        "early_stopping_patience": 0, "eval_steps": 4, "dtype": "auto", "seed": 11, "parallelism": "none",
        "model": str(folder / "model"), "checkpoints": str(folder / "checkpoints"),
    }  # fmt: skip
    return Namespace(**(values | changes))
