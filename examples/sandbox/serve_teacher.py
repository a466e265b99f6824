"""Serve a model folder over HTTP for as long as whoever started it lives: what `lazy_teacher.py` starts.

`python serve_teacher.py NAME PORT` runs `transformers serve NAME` in the current folder, where NAME is a model folder.
It ends when its standard input does, so a starter that is killed, however that happens, leaves no server behind.
"""

from __future__ import annotations

import os
import sys
import threading


def main() -> None:
    """Watch standard input in a thread and serve in the foreground."""
    name, port = sys.argv[1:]
    threading.Thread(target=_end_with_starter, daemon=True).start()
    from transformers.cli.transformers import main as transformers

    # float32: the sums of a model this small suffer from half precision, and a CPU gains nothing by it.
    options = ["--continuous-batching", "--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", port]
    # Left to itself the server lays out buffers for as many tokens as memory holds, and clears them at every step.
    options += ["--cb-num-blocks", "256", "--cb-block-size", "32", "--cb-max-batch-tokens", "1024"]
    sys.argv = ["transformers", "serve", name, *options]
    transformers()


def _end_with_starter() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
