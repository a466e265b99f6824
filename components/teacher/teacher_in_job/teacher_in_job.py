"""Run a teacher on this machine, and ask it for the answer to every row."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from common import arguments
from common.rows import read_lines
from common.step import BadConfig, Interrupted, NoInput, StepError, Unavailable, run_step, say
from gpus import require_disk, require_memory
from inference_engine import Engine, Settings
from modelling.models import check_source

# The very code that asks a teacher behind an endpoint: its modules find each other in their own folder.
sys.path.insert(0, str(Path(__file__).parent / "teacher_inference"))

from teacher_inference import ask

#: Room for the words of a prompt's template and of the chat's.
PROMPT_BYTES = 8192
#: What an engine reads of a model's repository: safetensors and text, no code.
PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken"]


def check_engine(args: argparse.Namespace) -> None:
    """Raises for a teacher that cannot be; fills in what the asking code wants to know of an endpoint."""
    args.source = check_source(args.teacher_weights, args.teacher_id, "teacher")
    if args.source is None:
        raise BadConfig("no teacher: give teacher_weights or teacher_id")
    args.tensor_parallel_size = _size(args.tensor_parallel_size)
    args.api, args.teacher_key = "chat_completions", None


def settings_of(args: argparse.Namespace, files: list[Path]) -> Settings:
    """How the teacher is run, its weights on this machine; ``files`` are what it is asked for."""
    return Settings(
        args.teacher_model,
        fetch(args.source, args.revision),
        engine=args.engine,
        dtype=args.dtype,
        tensor_parallel_size=args.tensor_parallel_size,
        max_model_len=args.max_model_len,
        longest=longest_request(files, args.max_tokens, args.max_summary_words),
        engine_args=args.engine_args or "",
        startup_timeout=args.startup_timeout,
    )


def longest_request(files: list[Path], max_tokens: int, summary_words: int) -> int:
    """Tokens that no request and its answers exceed: a token is a byte at least, and prompts add their own words."""
    longest = max((len(line) for file in files for _, line in read_lines(file)), default=0)
    turns = max((line.count(b'"role"') for file in files for _, line in read_lines(file)), default=1)
    return longest + PROMPT_BYTES + max(max_tokens, 16 * summary_words) * max(1, turns)


def _size(text: str) -> int:
    if text.strip() == "auto":
        return 0
    if not text.strip().isdigit() or int(text) < 1:
        raise BadConfig(f"tensor_parallel_size: '{text}' is neither auto nor a number of GPUs")
    return int(text)


def main() -> None:
    """Weights, engine, answers; the engine ends with the step, whatever happens."""
    args = arguments.of(__file__)
    check_engine(args)
    if not any(True for _ in read_lines(args.rows)):
        raise NoInput(f"{args.rows} holds no rows")
    signal.signal(signal.SIGTERM, _stop)
    files = [path for path in (args.rows, args.validation_rows) if path]
    with Engine(settings_of(args, files)) as engine:
        args.teacher_endpoint = engine.endpoint
        ask(args, engine.health)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted("stopped while the teacher was being started")


def fetch(source: str, revision: str | None) -> Path:
    """The folder of a model: ``source`` itself, or where its download from the hub lies. Raises StepError."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    say(f"downloading {source}")
    try:
        if not constants.HF_HUB_OFFLINE:
            files = HfApi().model_info(source, revision=revision, files_metadata=True).siblings or []
            size = sum(file.size or 0 for file in files if file.rfilename.endswith(".safetensors"))
            require_memory(size, source)
            require_disk(size, source, Path(constants.HF_HUB_CACHE))
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=PATTERNS))
    except GatedRepoError:
        raise NoInput(
            f"{source} is gated: accept its terms on the hub and set HF_TOKEN, or register its weights"
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise NoInput(f"the teacher '{source}' is not on the hub: {_first_line(error)}") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise Unavailable(
            f"the teacher '{source}' cannot be downloaded: {str(error).strip().splitlines()[0]}"
        ) from None
    if not any(folder.glob("*.safetensors")):
        raise StepError(f"{source} holds no safetensors; other weights are not read")
    return folder


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    run_step(main)
