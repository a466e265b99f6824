"""What happens beside the training steps: metrics, progress, the last validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common import tracking
from common.progress import Progress
from transformers import TrainerCallback

_NAMES = {
    "loss": "train_loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "eval_loss": "validation_loss",
    "eval_token_accuracy": "validation_token_accuracy",
}


class Report(TrainerCallback):
    """Metrics to the tracking, steps to the progress."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._losses: dict[str, float] = {}
        self._progress: Progress | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress = Progress(self._total, "training", done=state.global_step)
        self._progress.__enter__()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress:
            self._progress.update()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        metrics = {_NAMES[name]: value for name, value in (logs or {}).items() if name in _NAMES}
        tracking.log_metrics(metrics, step=state.global_step)
        if self._progress and metrics:
            self._losses |= {name: value for name, value in metrics.items() if name.endswith("_loss")}
            self._progress.text = ", ".join(
                f"{name.replace('_', ' ')} {loss:.4f}" for name, loss in self._losses.items()
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress:
            self._progress.__exit__(None, None, None)


class LastStepEvaluation(TrainerCallback):
    """Validates after the last step too: the Trainer saves that state, and would not consider it as the best."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            control.should_evaluate = True


class MovedCheckpoints(TrainerCallback):
    """A resumed run's best checkpoint, where its folder has been moved since (each attempt has its own)."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.best_model_checkpoint:
            state.best_model_checkpoint = str(self._folder / Path(state.best_model_checkpoint).name)
