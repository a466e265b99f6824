"""The entry script of a parallel step in which each worker runs the teacher itself and answers one shard after another.

Its code folder is the one around it, since parallel components know no additional_includes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "teacher_in_job"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "teacher_inference"))

from common import arguments
from common.step import StepError, say
from inference_engine import Engine
from teacher_in_job import check_engine, settings_of
from teacher_inference import ask

_engine: Engine | None = None
_args: argparse.Namespace


def init() -> None:
    """Read the arguments; the engine starts with the first shard, whose time limit has room for it."""
    global _args
    # Azure ML's driver adds arguments of its own.
    _args = arguments.of(__file__, with_others=True)
    check_engine(_args)
    # What each shard took is summed up by gather_rows, which logs it once.
    for name in ("AZDISTILL_METRICS_FILE", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)


def run(mini_batch: list[str]) -> list[str]:
    """Answer the shards of a mini-batch. What goes wrong is raised: the shard is then tried again."""
    try:
        return [answer(Path(path)) for path in mini_batch]
    except StepError as error:
        say(f"error[{error.code}]: {error}")
        if _engine is not None and _engine.health() is not None:
            shutdown()
        raise RuntimeError(str(error)) from None


def shutdown() -> None:
    """End the engine; when the worker is killed, it ends by itself."""
    global _engine
    engine, _engine = _engine, None
    if engine is not None:
        engine.stop()


def answer(shard: Path) -> str:
    """Ask for the rows of one shard; its name, when all of it is written."""
    global _engine
    if _engine is None:
        # The other shards beside this one may be longer.
        _engine = Engine(settings_of(_args, sorted(shard.parent.glob("*.jsonl")))).__enter__()
    with tempfile.TemporaryDirectory() as place:
        names = {name: Path(place, f"{name}.jsonl") for name in ("train", "validation", "rejects")}
        args = argparse.Namespace(**vars(_args), **names, rows=shard, validation_rows=None)
        args.summary, args.teacher_endpoint = Path(place, "summary.json"), _engine.endpoint
        # Whether enough was answered is judged over all shards.
        args.min_success_ratio = 0.0
        ask(args, _engine.health)
        target = _args.results / shard.name
        target.mkdir(parents=True, exist_ok=True)
        for name in ("train.jsonl", "rejects.jsonl", "summary.json"):
            shutil.copyfile(Path(place, name), target / name)
    return shard.name
