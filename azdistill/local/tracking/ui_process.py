"""MLflow's UI as a process group of its own, which ends with whoever started it.

Started by ``ui.py`` as ``python -P ui_process.py PORT`` in a session of its own, its store named by
``MLFLOW_BACKEND_STORE_URI``. Its stdin is a pipe that only its starter holds: when that ends, so does the group, which
is mlflow's command, its server and the server's workers.
"""

import os
import signal
import sys
import threading
import time

_GRACE = 5.0


def main() -> None:
    # Not ignored, which the server would inherit: this process ends when the server has.
    signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=_end_with_starter, daemon=True).start()
    from mlflow.cli import cli

    sys.argv = ["mlflow", "ui", "--host", "127.0.0.1", "--port", sys.argv[1]]
    cli()


def _end_with_starter() -> None:
    sys.stdin.buffer.read()
    # That its server was ended is an error to mlflow's command, with a traceback.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.killpg(0, signal.SIGTERM)
    time.sleep(_GRACE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
