"""The student of a run, and its training."""

from __future__ import annotations

import math
import re
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from checkpoints import checkpoint_folder, last_checkpoint, newest
from common import tracking
from common.rows import Row, Tally
from common.step import BadConfig, BadData, NotFinite, StepError
from distributed import agree, is_main, part, tell, training_settings, world_size
from finetune_callbacks import LastStepEvaluation, MovedCheckpoints, Report
from modelling.chat import Chat
from modelling.examples import Example, make_examples, require
from modelling.finite import check_saved, check_weights
from modelling.logit_store import LogitStore
from modelling.models import choose_device, choose_dtype, eos_ids, load_model, load_tokenizer, quiet, weight_of
from modelling.writing import writing
from student_trainer import Collator, Objective, StudentTrainer, evaluation_interval, stored
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments, set_seed

#: From this many parameters on, activations are computed twice rather than kept on a GPU.
_CHECKPOINTED_FROM = 1_000_000_000
#: How far apart, of the largest logit, a student's logits may be before and after its adapters are merged in float32.
_MERGED_WITHIN = 0.01
_ALL_LINEAR = "all-linear"


class Student:
    """The model being trained, its tokenizer and chat template."""

    def __init__(self, args: Namespace) -> None:
        quiet()
        set_seed(args.seed)
        self.args = args
        self.device = choose_device()
        self.dtype = choose_dtype(args.dtype, self.device)
        self.tokenizer = load_tokenizer(args.student, args.revision, "student")
        model = load_model(args.student, "auto", "cpu", revision=args.revision, what="student")
        # Saved as it came, so that baseline and distilled student are of the same size.
        self.saved_dtype = model.dtype
        # Small updates vanish in half precision: weights that are trained stay in float32, frozen ones need not.
        self.model = model.to(self.dtype if args.lora else torch.float32)
        self.chat = Chat(self.tokenizer, eos_ids(self.model))
        self.max_length = self._max_length()
        if self.device != "cpu" and weight_of(self.model)[1] >= _CHECKPOINTED_FROM:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
            self.model.config.use_cache = False
        if args.lora:
            self.model = add_lora(self.model, args)

    def _max_length(self) -> int:
        positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if positions and positions < self.args.max_length:
            tell(f"max_length {self.args.max_length} is lowered to {positions}, the longest text this student can read")
            return int(positions)
        return int(self.args.max_length)

    def examples(self, rows: list[Row], path: str) -> tuple[list[Example], Tally]:
        """The rows as tokens, and their count. Raises BadData where none can be learnt."""
        every_turn = self.args.loss_on == "assistant"
        examples, tally = make_examples(
            rows, self.chat, target=self.args.target, every_turn=every_turn, max_length=self.max_length
        )
        require(examples, tally, path)
        if tally.rejected:
            tell(f"{tally.rejected} of {tally.read} rows of {path} are not used: {dict(tally.reasons)}")
        return examples, tally

    def gather(self, trainer: StudentTrainer) -> None:
        """Put together what was trained in shards. Every process takes part; the first one has the model then."""
        if self.args.parallelism not in ("fsdp", "deepspeed"):
            return
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if is_main():
            model = load_model(self.args.student, "auto", "cpu", revision=self.args.revision, what="student")
            self.model = add_lora(model, self.args) if self.args.lora else model
            self.model = self.model.float()
            self.model.load_state_dict(state)

    def save(self) -> None:
        """Write weights (adapters merged), configuration, tokenizer and chat template, and read the weights back.

        Raises StepError where they cannot be written, and NotFinite; nothing is left in the folder then.
        """
        check_weights(self.model, "the trained student")
        model = self.model
        if self.args.lora:
            # Merged in float32: adding a small update to half-precision weights would round much of it away.
            trained = sample_logits(model.float())
            model = model.merge_and_unload()
            check_merged(trained, sample_logits(model))
        model = model.to(self.saved_dtype)
        check_weights(model, f"the trained student in {str(self.saved_dtype).removeprefix('torch.')}")
        try:
            with writing("the trained student"):
                self._write(model)
            check_saved(self.args.model, "the trained student")
        except StepError:
            _empty(Path(self.args.model))
            raise

    def _write(self, model: Any) -> None:
        model.config.use_cache = True
        model.config.dtype = self.saved_dtype
        generation = model.generation_config
        generation.eos_token_id, generation.pad_token_id = sorted(self.chat.stop_ids), self.chat.pad_id
        sampling = (generation.temperature, generation.top_p, generation.top_k)
        generation.do_sample = generation.do_sample or any(value is not None for value in sampling)
        model.save_pretrained(self.args.model)
        self.tokenizer.save_pretrained(self.args.model)


def sample_logits(model: Any) -> Any:
    """What a model predicts for a few tokens."""
    ids = torch.arange(16, device=model.device).unsqueeze(0) % model.config.get_text_config().vocab_size
    with torch.no_grad():
        return model.eval()(input_ids=ids, use_cache=False).logits


def check_merged(trained: Any, merged: Any) -> None:
    """Raises StepError unless a student with its adapters merged predicts what it predicted when it was trained."""
    apart, scale = float((trained - merged).abs().max()), float(trained.abs().max())
    if not apart <= _MERGED_WITHIN * scale:
        raise StepError(
            f"with its adapters merged the student is not the one that was trained: logits differ by {apart:g} "
            f"(the largest is {scale:g}), nothing is saved; try other lora_target_modules, or lora false"
        )


def _empty(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def add_lora(model: Any, args: Namespace) -> Any:
    """``model`` with low-rank adapters (Hu et al., 2021), all else frozen. Raises BadConfig for unknown modules."""
    from peft import LoraConfig, get_peft_model

    modules = target_modules(model, args.lora_target_modules)
    config = LoraConfig(
        r=args.lora_rank,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules=modules,
        task_type="CAUSAL_LM",
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise BadConfig(f"lora_target_modules: {str(error).strip().splitlines()[0]}") from None
    refuse_shared_targets(adapted)
    return adapted


def target_modules(model: Any, text: str | None) -> Any:
    """What ``lora_target_modules`` asks for, as peft takes it. Raises BadConfig.

    Peft passes over a name that no layer has, as long as another one of the list has some.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if not names or names == [_ALL_LINEAR]:
        return _ALL_LINEAR
    if _ALL_LINEAR in names:
        raise BadConfig(f"lora_target_modules: {_ALL_LINEAR} stands alone, it cannot be one of several names")
    layers = [name for name, _ in model.named_modules()]
    for name in names:
        if not any(layer == name or layer.endswith(f".{name}") for layer in layers):
            raise BadConfig(
                f"lora_target_modules names {name}, and no layer of this student is called so; "
                f"name layers such as q_proj,v_proj, or {_ALL_LINEAR}"
            )
    return names


def _unwrapped(name: str) -> str:
    """The name of a layer without those of the wrappers that peft put around it: a layer of experts has several."""
    return re.sub(r"(\.base_layer)+$", "", name)


def refuse_shared_targets(adapted: Any) -> None:
    """Raises BadConfig where an adapter sits on a weight that another layer uses too.

    Merged, its update would reach the other layer, which was trained without it: the model that is saved would not be
    the model that was trained.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    owners: dict[int, list[str]] = {}
    for name, module in adapted.get_base_model().named_modules():
        for weight in module.parameters(recurse=False):
            owners.setdefault(id(weight), []).append(_unwrapped(name))
    for name, module in adapted.get_base_model().named_modules():
        if not isinstance(module, BaseTunerLayer):
            continue
        for weight in module.get_base_layer().parameters(recurse=False):
            sharers = [owner for owner in owners[id(weight)] if owner != _unwrapped(name)]
            if sharers:
                raise BadConfig(
                    f"lora_target_modules names {name}, whose weights this student shares with {sharers[0]} (tied): "
                    "an adapter of one cannot be merged without changing the other. Leave lora_target_modules out "
                    "(all linear layers but the output layer), or name layers between the two, such as q_proj,v_proj"
                )


def train(student: Student, rows: list[Example], validation: list[Example], digest: str) -> dict[str, Any]:
    """Train to the end, from the last checkpoint where there is one. Returns what the summary tells."""
    args = student.args
    objective = make_objective(student, [*rows, *validation])
    batch = args.batch_size * args.gradient_accumulation_steps * world_size()
    every, total = evaluation_interval(len(rows), batch, args.num_epochs, args.max_steps, args.eval_steps)
    every = min(every, total)
    folder = checkpoint_folder(Path(args.checkpoints), digest)
    callbacks: list[Any] = [*([Report(total)] if is_main() else []), MovedCheckpoints(str(folder))]
    if validation:
        callbacks.append(LastStepEvaluation())
    if args.early_stopping_patience > 0:
        callbacks.append(EarlyStoppingCallback(args.early_stopping_patience))
    trainer = StudentTrainer(
        model=student.model,
        args=training_arguments(student, folder, bool(validation), every, total),
        train_dataset=rows,
        eval_dataset=validation or None,
        data_collator=Collator(student.chat.pad_id, objective.store),
        callbacks=callbacks,
        objective=objective,
        sharded=args.parallelism in ("fsdp", "deepspeed"),
    )
    trainer.remove_callback(PrinterCallback)
    size, count = weight_of(student.model)
    trained = sum(p.numel() for p in student.model.parameters() if p.requires_grad)
    params = settings_of(args) | {"parameters": count, "trained_parameters": trained}
    tracking.log_params(params)
    checkpoint = agree(last_checkpoint(folder) if is_main() else None)
    if checkpoint:
        tell(f"resuming from {Path(checkpoint).name}")
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except NotFinite as error:
        raise NotFinite(f"{error}; {what_is_left(folder)}; {advice(student, objective)}") from None
    state = trainer.state
    student.gather(trainer)
    part(trainer)
    return {
        "method": args.method,
        "steps": state.global_step,
        "epochs": round(float(state.epoch or 0), 3),
        "resumed_from_step": int(checkpoint.rpartition("-")[2]) if checkpoint else 0,
        "best_step": state.best_global_step or state.global_step,
        "skipped_steps": trainer.guard.skipped,
        "validation_loss": state.best_metric,
        "train_loss": next((e["loss"] for e in reversed(state.log_history) if "loss" in e), None),
        "target_tokens": sum(row.encoded.targets for row in rows),
        "tokens": sum(row.length for row in rows),
        "parameters": count,
        "trained_parameters": trained,
        "weights_bytes": size,
        "processes": world_size(),
        "effective_batch_size": batch,
        "settings": params,
    }


def settings_of(args: Namespace) -> dict[str, Any]:
    """What was set, by a value that is no path: all of what ``component.yml`` declares, and the student."""
    return {name: value for name, value in vars(args).items() if isinstance(value, str | int | float)}


def what_is_left(folder: Path) -> str:
    """What a training that stopped has left to go on from."""
    last = newest(folder)
    return f"no model is saved, the last good checkpoint is {last}" if last else "no model and no checkpoint is saved"


def advice(student: Student, objective: Objective) -> str:
    """What to try after a loss or a gradient that was not finite."""
    tries = [f"a learning_rate below {student.args.learning_rate:g}"]
    if student.dtype == torch.float16:
        tries.append("dtype float32 or bfloat16")
    if objective.store:
        tries.append("teacher_logits again")
    return f"try {' or '.join(tries)}"


def make_objective(student: Student, examples: list[Example]) -> Objective:
    """What is minimised; for ``logits``, after making sure that every row has its teacher's distributions."""
    args = student.args
    if args.method == "sft":
        return Objective()
    store = LogitStore(args.logits, args.distillation_temperature)
    if not store.has_checksums:
        tell("the stored logits have no checksums (an earlier version wrote them): damage that still fits is not seen")
    vocabulary = store.vocabulary
    if vocabulary != len(student.tokenizer):
        raise BadData(
            f"the stored logits are over {vocabulary} tokens, the student's tokenizer has {len(student.tokenizer)}"
        )
    for example in examples:
        stored(store, example)
    return Objective(args.distillation_temperature, args.distillation_alpha, store, vocabulary)


def training_arguments(student: Student, folder: Path, validated: bool, every: int, total: int) -> TrainingArguments:
    """The Trainer's settings: quiet, no workers, few checkpoints; the step's own callbacks report."""
    args, half = student.args, student.device != "cpu" or student.dtype != torch.float32
    strategy = "steps" if validated else "no"
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=2 * args.batch_size,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        num_train_epochs=args.num_epochs,
        max_steps=args.max_steps,
        learning_rate=args.learning_rate,
        lr_scheduler_type=args.lr_scheduler,
        warmup_steps=math.ceil(args.warmup_ratio * total),
        weight_decay=args.weight_decay,
        optim="adamw_torch_fused",
        bf16=half and student.dtype == torch.bfloat16,
        fp16=half and student.dtype == torch.float16,
        use_cpu=student.device == "cpu",
        eval_strategy=strategy,
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        load_best_model_at_end=validated,
        metric_for_best_model="loss" if validated else None,
        greater_is_better=False if validated else None,
        logging_steps=max(1, total // 100),
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=student.device != "cpu",
        seed=args.seed,
        **training_settings(args.parallelism, student.device),
    )
