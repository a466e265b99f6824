"""A transformers Trainer for students: batches of rows of similar length, a loss over the tokens to be learnt.

The Trainer keeps what it is good at (devices, optimisers, schedules, checkpoints, resuming). Replaced are the order of
rows (a function of seed and epoch, so that a resumed run sees what an uninterrupted one would have seen), the loss
(divided by the number of learnt tokens of the whole batch, accumulated steps and processes together) and the
validation loss (divided by the number of learnt tokens of the whole file).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from checkpoints import damage, newest, prune, seal
from common.step import BadData, NotFinite, StepError
from distillation_losses import Teacher, cross_entropy, mixed
from modelling.examples import Example
from modelling.finite import first_not_finite
from modelling.logit_store import Distributions, LogitStore
from modelling.writing import writing
from sparse_head import Head
from step_guard import StepGuard
from torch import Tensor
from torch.utils.data import Sampler
from transformers import Trainer, TrainerCallback

IGNORED = -100
#: Batches whose rows are sorted by length together: enough to leave little padding, few enough to stay random.
_POOL = 50


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimised. Without ``store``, cross entropy alone."""

    temperature: float = 1.0
    alpha: float = 0.0
    store: LogitStore | None = None
    vocabulary: int = 0

    def loss(self, logits: Tensor, targets: Tensor, teacher: Teacher | None) -> Tensor:
        """The loss summed over tokens."""
        if teacher is None:
            return cross_entropy(logits, targets)
        # Columns behind the vocabulary are padding that neither side ever predicts.
        logits = logits[:, : self.vocabulary or None]
        return mixed(logits, targets, teacher, temperature=self.temperature, alpha=self.alpha)


class LengthBuckets(Sampler[int]):
    """Every index once per epoch, batches of similar length in random order; a function of seed and epoch alone."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch's order comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        pool = self._batch_size * _POOL
        batches = []
        for start in range(0, len(order), pool):
            rows = sorted(order[start : start + pool], key=lambda row: self._lengths[row])
            batches += [rows[at : at + self._batch_size] for at in range(0, len(rows), self._batch_size)]
        full = [batch for batch in batches if len(batch) == self._batch_size]
        smaller = [batch for batch in batches if len(batch) < self._batch_size]
        for number in torch.randperm(len(full), generator=generator).tolist():
            yield from full[number]
        for batch in smaller:
            yield from batch


class Collator:
    """Examples as one padded batch; with a store, the teacher's distributions of its tokens in the same order."""

    def __init__(self, pad_id: int, store: LogitStore | None = None) -> None:
        self._pad_id, self._store = pad_id, store

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        width = max(example.length for example in examples)
        ids = torch.full((len(examples), width), self._pad_id)
        mask = torch.zeros((len(examples), width), dtype=torch.long)
        labels = torch.full((len(examples), width), IGNORED)
        for row, example in enumerate(examples):
            tokens = torch.tensor(example.encoded.ids)
            ids[row, : example.length] = tokens
            mask[row, : example.length] = 1
            learn = torch.tensor(example.encoded.learn, dtype=torch.bool)
            labels[row, : example.length] = tokens.masked_fill(~learn, IGNORED)
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        return batch | (self._teacher(examples) if self._store else {})

    def _teacher(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        assert self._store is not None
        distributions = [stored(self._store, example) for example in examples]
        return {
            "teacher_ids": torch.cat([torch.from_numpy(one.ids) for one in distributions]),
            "teacher_logprobs": torch.cat([torch.from_numpy(one.logprobs) for one in distributions]),
            "teacher_tails": torch.cat([torch.from_numpy(one.tails.copy()) for one in distributions]),
        }


def stored(store: LogitStore, example: Example) -> Distributions:
    """The teacher's distributions of an example. Raises BadData where they are not those of its tokens."""
    distributions = store.get(example.row_id, example.encoded.ids)
    count = len(distributions.ids)
    if count != example.encoded.targets:
        raise BadData(
            f"row {example.row_id} has {example.encoded.targets} tokens to learn, its stored logits {count}: "
            "run teacher_logits with the same 'target' and 'loss_on'"
        )
    return distributions


class StudentTrainer(Trainer):
    """The Trainer with the loss, order and validation described above. Datasets are lists of examples."""

    def __init__(self, *args: Any, objective: Objective, sharded: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.objective = objective
        # Shards are put together around calls of the whole model only.
        self.sharded = sharded
        self.head = Head(self.model, split=not sharded)
        # The loss is divided by the tokens of the whole batch: the Trainer must count those, and not divide again.
        self.model_accepts_loss_kwargs = True
        self.loss_is_scaled_for_ga = True
        # On a CPU float16 is asked for and no scaler is used; DeepSpeed has one of its own.
        scaled = self.accelerator.scaler is not None or (self.is_deepspeed_enabled and self.args.fp16)
        self.guard = StepGuard(scaled)
        self._scale = 0.0
        self._step_loss = torch.zeros((), device=self.args.device)
        self.add_callback(_AfterUpdate(self))

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        rows = self.train_dataset if train_dataset is None else train_dataset
        size = self.args.train_batch_size * max(1, self.args.world_size)
        return LengthBuckets([row.length for row in rows], size, self.args.seed)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward. The loss is noted for :meth:`_get_grad_norm`, the last look before the update."""
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._step_loss = self._step_loss + loss.detach()
        # In float16 such a step is passed over, or ends the training: the mean over the others stays what it is.
        return loss.nan_to_num(0.0, 0.0, 0.0) if self.guard.scaled else loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm)
        loss, self._step_loss = self._step_loss, torch.zeros_like(self._step_loss)
        # All processes judge the same loss, so that all of them stop: the gradient is the same to all already.
        self.guard.before_update(
            self.state.global_step + 1, float(self.accelerator.reduce(loss, reduction="mean")), _number(norm)
        )
        self._scale = self._scale_of_loss()
        return norm

    def after_update(self) -> None:
        """Tell the guard what became of the update."""
        # A fused optimiser is called for a skipped one as well, and counts as not skipped: then the scale tells.
        skipped = self.accelerator.optimizer_step_was_skipped or self._scale_of_loss() < self._scale
        self.guard.after_update(self.state.global_step + 1, skipped)

    def _scale_of_loss(self) -> float:
        return float(self.accelerator.scaler.get_scale()) if self.accelerator.scaler is not None else 1.0

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """What is logged and kept with checkpoints. The gradient of a step that the loss scaler skipped has no norm."""
        super().log({name: value for name, value in logs.items() if math.isfinite(value)}, *args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        trained = ((name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad)
        name = first_not_finite(trained)
        bad = self.accelerator.reduce(torch.tensor(float(name is not None), device=self.args.device), reduction="sum")
        if bad > 0:
            raise NotFinite(
                f"training stopped at step {self.state.global_step}: its update left weights that are not finite "
                f"({name or 'in another process'})"
            )
        checkpoint = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        last = newest(checkpoint.parent)
        fallback = f"; the last good checkpoint is {last}" if last else "; there is no other"
        with writing(f"checkpoint {checkpoint}", fallback):
            super()._save_checkpoint(model, trial)
            # Each process has written its own part by then.
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                seal(checkpoint)
                # Only now: until it is complete, the one before it is the last.
                prune(checkpoint.parent, {checkpoint.name, Path(self.state.best_model_checkpoint or "").name})

    def _load_best_model(self) -> None:
        best = Path(str(self.state.best_model_checkpoint))
        # The process that wrote it is the one that surely has it at hand.
        if self.args.should_save and (problem := damage(best)):
            raise StepError(f"the best checkpoint {best} cannot be read back: {problem}; no model is saved")
        super()._load_best_model()

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """An epoch; none of it where a training that had reached its end is resumed: the Trainer would add a step."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        total, _, count = self.summed_loss(model, inputs)
        tokens = count if num_items_in_batch is None else num_items_in_batch
        loss = total / max(float(tokens), 1.0)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, {}) if return_outputs else loss

    def summed_loss(self, model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, int]:
        """The loss summed over the tokens to be learnt, how many of them were predicted right, and their number."""
        labels = inputs["labels"][:, 1:]
        learn = labels.ne(IGNORED)
        keep = torch.nn.functional.pad(learn, (0, 1))
        with self.accelerator.autocast():
            logits = self.head.logits(model, {name: inputs[name] for name in ("input_ids", "attention_mask")}, keep)
        targets = labels[learn]
        total = self.objective.loss(logits, targets, _teacher_of(inputs))
        with torch.no_grad():
            right = logits.argmax(-1).eq(targets).sum() if not self.model.training else total.new_zeros(())
        return total, right, len(targets)

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """Mean loss and accuracy per learnt token of the validation rows, each token with the same weight."""
        rows = list(self.eval_dataset if eval_dataset is None else eval_dataset)
        rows.sort(key=lambda row: row.length)
        size, rank, world = self.args.per_device_eval_batch_size, self.args.process_index, max(1, self.args.world_size)
        model = self.model_wrapped if self.sharded else self.model
        sums = torch.zeros(3, dtype=torch.float64, device=self.args.device)
        self.model.eval()
        for turn in range(0, len(rows), size * world):
            local_rows = rows[turn + rank * size : turn + (rank + 1) * size]
            # Who has no rows left in this turn takes part all the same: shards are put together by all at once.
            batch = self._prepare_inputs(self.data_collator(local_rows or rows[:1]))
            with torch.no_grad():
                total, right, count = self.summed_loss(model, batch)
            if local_rows:
                sums += torch.tensor([float(total), float(right), count], dtype=torch.float64, device=sums.device)
        self.model.train()
        sums = self.accelerator.reduce(sums, reduction="sum")
        tokens = max(float(sums[2]), 1.0)
        metrics = {f"{metric_key_prefix}_loss": float(sums[0]) / tokens}
        if not math.isfinite(float(sums[0])):
            step, value = self.state.global_step, float(sums[0])
            raise NotFinite(f"training stopped at step {step}: the validation loss is {value:g}, not a finite number")
        metrics[f"{metric_key_prefix}_token_accuracy"] = float(sums[1]) / tokens
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: it walks over all parameters in every step, and nothing here reads it."""
        return 0


class _AfterUpdate(TrainerCallback):
    """Tells the trainer's guard what became of each update."""

    def __init__(self, trainer: StudentTrainer) -> None:
        self._trainer = trainer

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.after_update()


def _number(norm: Any) -> float | None:
    """A norm as a number, put together where it is spread over processes; None where there is none."""
    if norm is None:
        return None
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def _teacher_of(inputs: dict[str, Tensor]) -> Teacher | None:
    if "teacher_ids" not in inputs:
        return None
    return Teacher(inputs["teacher_ids"], inputs["teacher_logprobs"], inputs["teacher_tails"])


def evaluation_interval(rows: int, batch: int, epochs: float, max_steps: int, interval: int) -> tuple[int, int]:
    """Steps between two validations, and steps in all. ``interval`` 0: once an epoch, at most ten times in a run."""
    per_epoch = max(1, math.ceil(rows / batch))
    total = max_steps if max_steps > 0 else math.ceil(epochs * per_epoch)
    return interval or max(per_epoch, math.ceil(total / 10)), total
