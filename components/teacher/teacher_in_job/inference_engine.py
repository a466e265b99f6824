"""An inference engine on this machine: vLLM, or ``transformers serve``, listening on loopback while the step lives."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from common.secrets import redact
from common.step import BadConfig, StepError, say
from gpus import gpu_memory, require_memory, size_of
from modelling import registered

#: Azure ML keeps what a step writes into this folder of its working directory; workers of one machine share it.
LOG = Path("logs", f"engine-{os.getpid()}.log")
TAIL = 25
STOP_SECONDS = 20.0
SAY_EVERY = 30.0
#: Options that are this step's to set, and the one that would run code which came with a model.
_OURS = ("--host", "--port", "--model", "--served-model-name", "--api-key", "--uds", "--trust-remote-code")
#: Left to itself on a CPU, the server lays out buffers for as many tokens as memory holds.
_ON_CPU = ("--device", "cpu", "--cb-num-blocks", "256", "--cb-block-size", "32", "--cb-max-batch-tokens", "1024")


@dataclass(frozen=True)
class Settings:
    """How a teacher is run. ``tensor_parallel_size`` 0: as many GPUs as the model divides over.

    ``longest`` is how many tokens the longest request and its answer take at most: what memory is laid out for where
    ``max_model_len`` does not say. Room for a context of 128,000 tokens that nobody uses would be missing elsewhere.
    """

    model: str
    folder: Path
    engine: str = "auto"
    dtype: str = "auto"
    tensor_parallel_size: int = 0
    max_model_len: int | None = None
    longest: int = 0
    engine_args: str = ""
    startup_timeout: float = 3600.0


class Engine:
    """``with Engine(settings) as engine``: it answers at ``engine.endpoint`` until the block ends, however it ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = choose_engine(settings.engine)
        self._port = _free_port()
        self._place = tempfile.TemporaryDirectory(prefix="azdistill-engine-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Engine:
        require_memory(size_of(self.settings.folder), f"the teacher {self.settings.model}")
        command = command_of(self.name, self.settings, Path(self._place.name), self._port)
        LOG.parent.mkdir(exist_ok=True)
        keeper = str(Path(__file__).with_name("engine_process.py"))
        say(f"starting {self.name}: {shlex.join(command)}")
        started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, keeper, str(LOG.resolve()), *command],
            cwd=self._place.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # Weights are on this machine by now; the hub is not asked again.
            env={**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
            process_group=0,
        )
        try:
            self._wait(started)
        except BaseException:
            self.stop()
            raise
        say(f"{self.name} answers after {time.monotonic() - started:.0f} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def health(self) -> StepError | None:
        """What is wrong with it; None while it lives."""
        assert self._process
        code = self._process.poll()
        return (
            None if code is None else StepError(f"{self.name} ended with exit code {code}; its last lines:\n{tail()}")
        )

    def stop(self) -> None:
        """End it with everything it started."""
        assert self._process
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._place.cleanup()

    def _wait(self, started: float) -> None:
        last_note = started
        while not self._answers():
            if error := self.health():
                raise error
            moment = time.monotonic()
            if moment - started > self.settings.startup_timeout:
                raise StepError(
                    f"{self.name} did not answer within {self.settings.startup_timeout:g} s (startup_timeout); "
                    f"its last lines:\n{tail()}"
                )
            if moment - last_note > SAY_EVERY:
                last_note = moment
                say(f"{self.name} is loading, {moment - started:.0f} s so far: {tail(1)}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        with suppress(OSError, urllib.error.URLError):
            # Straight to this machine, whatever proxy the environment names.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"{self.endpoint}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        return False


def choose_engine(engine: str) -> str:
    """``vllm`` or ``transformers``. Raises BadConfig where the one that is wanted is not installed."""
    installed = {name: importlib.util.find_spec(name) is not None for name in ("vllm", "transformers")}
    chosen = ("vllm" if installed["vllm"] else "transformers") if engine == "auto" else engine
    if not installed[chosen]:
        raise BadConfig(f"engine {chosen} is not installed here: use environments/vllm, or pip install {chosen}")
    if chosen == "transformers" and not _can_serve():
        raise BadConfig('transformers serve needs more packages: pip install "transformers[serving]"')
    return chosen


def _can_serve() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("fastapi", "uvicorn", "openai"))


def command_of(name: str, settings: Settings, place: Path, port: int) -> list[str]:
    """The engine's command, to be run in ``place``."""
    address = ["--host", "127.0.0.1", "--port", str(port)]
    extra = extra_arguments(settings.engine_args)
    gpus = len(gpu_memory())
    folder = whole(settings.folder.resolve(), place)
    if name == "vllm":
        size = settings.tensor_parallel_size or parallel_size(_config(settings.folder), gpus)
        length = min(settings.max_model_len or settings.longest, _positions(_config(settings.folder)))
        limit = ["--max-model-len", str(length)] if length else []
        served = ["--served-model-name", settings.model, "--tensor-parallel-size", str(size), "--dtype", settings.dtype]
        return [_vllm(), "serve", str(folder), *served, *limit, *address, *extra]
    if settings.max_model_len:
        say("max_model_len is not used: transformers serve has no such limit")
    # It takes the path that it serves for the model's name: a link gives it the right one.
    link = place / settings.model
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(folder, target_is_directory=True)
    dtype = "float32" if settings.dtype == "auto" and not gpus else settings.dtype
    start = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", settings.model]
    options = ["--continuous-batching", "--dtype", dtype, *(() if gpus else _ON_CPU)]
    return [*start, *options, *address, *extra]


def whole(folder: Path, place: Path) -> Path:
    """A model's folder with its tokenizer in it: ``folder``, or links in ``place`` where MLflow parted the two."""
    tokenizer = registered.tokenizer_for(folder)
    if tokenizer is None:
        return folder
    together = place / ".whole"
    together.mkdir()
    for file in {file.name: file for source in (folder, tokenizer) for file in source.iterdir()}.values():
        (together / file.name).symlink_to(file)
    return together


def _positions(config: dict[str, Any]) -> int:
    """The longest text that a model can read, in tokens; a large number where its configuration does not say."""
    return int((config.get("text_config") or config).get("max_position_embeddings") or 1 << 30)


def extra_arguments(text: str) -> list[str]:
    """``engine_args`` as words. Raises BadConfig for what is not the user's to set."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadConfig(f"engine_args cannot be read: {error}") from None
    for word in words:
        if word.partition("=")[0].replace("_", "-") in _OURS:
            raise BadConfig(f"engine_args may not hold {word.partition('=')[0]}")
    return words


def parallel_size(config: dict[str, Any], gpus: int) -> int:
    """The most GPUs, of ``gpus``, that the attention heads of a model can be laid over evenly, as vLLM demands."""
    text_config = config.get("text_config") or config
    heads = int(text_config.get("num_attention_heads") or gpus or 1)
    shared = int(text_config.get("num_key_value_heads") or heads)
    sizes = [n for n in range(1, gpus + 1) if heads % n == 0 and (shared % n == 0 or n % shared == 0)]
    return max(sizes, default=1)


def tail(lines: int = TAIL) -> str:
    """The end of the engine's log."""
    text = LOG.read_text(encoding="utf-8", errors="replace") if LOG.exists() else ""
    return redact("\n".join(text.rstrip().splitlines()[-lines:]))


def _vllm() -> str:
    program = Path(sys.executable).with_name("vllm")
    return str(program) if program.exists() else "vllm"


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
