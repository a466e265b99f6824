"""Several models in one process: the same rows, precision, token limit and batch; timed trials in turn.

Machines grow faster and slower by the minute. So no model is measured after another: each batch, and each single row,
is answered by every model before the next one comes, in an order that rotates.
"""

from __future__ import annotations

import os
import platform
import random
import secrets
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from answers import Answer, Measured, latency_facts
from common.progress import Progress
from common.rows import Row
from generating import Generator
from modelling.models import choose_device, choose_dtype, quiet

#: Answers that a model gives before the clock runs.
WARM_UP = 2


def measure(args: Namespace, rows: Sequence[Row]) -> dict[str, Measured]:
    """All columns that have weights, measured together."""
    quiet()
    torch.manual_seed(args.seed)
    device = choose_device(args.device)
    dtype = choose_dtype(args.dtype, device)
    models = {
        name: Generator(source, device, dtype, args.max_new_tokens, args.revision if name == "baseline" else None, name)
        for name, source in args.sources.items()
    }
    prompts = {name: [model.prompt(row) for row in rows] for name, model in models.items()}
    for name, model in models.items():
        model.check_logits(prompts[name])
    timed = _timed_rows(len(rows), args.latency_rows, args.seed)
    latencies = _latencies(models, prompts, timed)
    answers, seconds = _batched(models, prompts, args.batch_size)
    shared = {
        "source": "weights",
        "dtype": str(dtype).removeprefix("torch."),
        "device": device,
        "max_new_tokens": args.max_new_tokens,
        "batch_size": args.batch_size,
        "timing_group": secrets.token_hex(8),
        "machine": machine(device),
    }
    return {
        name: Measured(
            answers[name], model.facts() | _rates(answers[name], seconds[name], latencies[name], args) | shared
        )
        for name, model in models.items()
    }


def _rates(answers: list[Answer], seconds: float, latencies: list[float], args: Namespace) -> dict[str, Any]:
    tokens = sum(answer.tokens for answer in answers)
    return {
        **latency_facts(latencies, args.seed),
        "throughput": sum(answer.generated for answer in answers) / seconds if seconds else None,
        "tokens_per_second": tokens / seconds if seconds else None,
    }


def _timed_rows(count: int, sample: int, seed: int) -> list[int]:
    return sorted(random.Random(seed).sample(range(count), min(sample, count)))


def _latencies(models: dict[str, Generator], prompts: dict[str, list[Any]], rows: list[int]) -> dict[str, list[float]]:
    """Milliseconds from text to text, one row at a time; rows that some model cannot read count for none."""
    latencies: dict[str, list[float]] = {name: [] for name in models}
    if not rows:
        return latencies
    names = list(models)
    for row in rows[:WARM_UP]:
        for name in names:
            models[name].answer([prompts[name][row]])
    with Progress(len(rows), "timing single responses") as progress:
        for number, row in enumerate(rows):
            picked, generated = {}, True
            for name in _rotated(names, number):
                started = time.perf_counter()
                (answer,) = models[name].answer([prompts[name][row]])
                picked[name] = 1000 * (time.perf_counter() - started)
                generated = generated and answer.generated
            for name in names if generated else ():
                latencies[name].append(picked[name])
            progress.update()
    return latencies


def _batched(
    models: dict[str, Generator], prompts: dict[str, list[Any]], batch_size: int
) -> tuple[dict[str, list[Answer]], dict[str, float]]:
    """Every row's answer, and the seconds each model took for all of them. Rows of similar length share a batch."""
    names, count = list(models), len(next(iter(prompts.values())))
    order = sorted(range(count), key=lambda row: len(prompts[names[0]][row].text))
    answers: dict[str, dict[int, Answer]] = {name: {} for name in names}
    seconds = dict.fromkeys(names, 0.0)
    for name in names:
        models[name].answer([prompts[name][row] for row in order[:batch_size]], at_most=4)
    with Progress(count * len(names), "answering the test rows") as progress:
        for number, start in enumerate(range(0, count, batch_size)):
            batch = order[start : start + batch_size]
            for name in _rotated(names, number):
                started = time.perf_counter()
                batch_answers = models[name].answer([prompts[name][row] for row in batch])
                seconds[name] += time.perf_counter() - started
                answers[name].update(zip(batch, batch_answers, strict=True))
                progress.update(len(batch), name)
    return {name: [answers[name][row] for row in range(count)] for name in names}, seconds


def _rotated(names: list[str], by: int) -> list[str]:
    by %= len(names)
    return names[by:] + names[:by]


def machine(device: str) -> dict[str, Any]:
    """What the numbers were measured on."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": _processor(),
        "cores": usable,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if device.startswith("cuda") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
