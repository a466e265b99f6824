"""MLflow: one parent run per pipeline, one child per step, everything sent by a process of its own.

Nothing here waits for MLflow but :meth:`Tracker.ask` and :meth:`Tracker.close`; nothing here raises because of it. A
store that cannot be written costs a warning.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azdistill import redact, strict_json

__all__ = ["Tracker", "tracking_uri"]

#: Which of the metrics that a run logged its table shows, by the tags that its steps set.
Columns = Callable[[Sequence[str], Mapping[str, str]], list[str]]
#: How many columns a screen holds.
_MOST_COLUMNS = 12
_WORKER = Path(__file__).with_name("worker.py")
#: Seconds after which somebody at a terminal wonders what is going on.
_NOTICED = 1.5
_SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABRICKS_TOKEN")

#: What any program needs, and MLflow's own settings.
_BASICS = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_*", "XDG_*"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PYTHON*", "VIRTUAL_ENV", "MLFLOW_*"),
    *("NETRC", "OPENSSL_CONF"),
)
#: What MLflow reads to write artifacts, which a store of any kind may keep in a cloud, and to ask a database.
_STORAGE = (
    *("AWS_*", "AZURE_STORAGE_*", "AZURE_CLIENT_*", "AZURE_TENANT_ID", "AZURE_FEDERATED_*", "AZURE_AUTHORITY_HOST"),
    # Of a managed identity, and where `az login` and `gcloud` keep theirs.
    *("IDENTITY_*", "MSI_*", "AZURE_CONFIG_DIR", "CLOUDSDK_CONFIG", "GOOGLE_CLOUD_PROJECT"),
    *("GOOGLE_APPLICATION_CREDENTIALS", "DATABRICKS_*", "KRB5*", "PG*", "MYSQL*"),
)
#: The schemes of MLflow's own stores; another is a plugin's, which reads nobody knows what.
_OWN = frozenset({"sqlite", "file", "http", "https", "databricks", "uc", "postgresql", "mysql", "mssql"})


def tracking_uri() -> str:
    """Where runs are logged, as it reads from any working directory: ``MLFLOW_TRACKING_URI``, or ``mlflow.db`` here."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if uri.startswith("sqlite:///"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    if uri.startswith("file:") and not uri.startswith("file:/"):
        return Path(uri.removeprefix("file:")).absolute().as_uri()
    if "://" not in uri and not uri.startswith(("file:", "databricks", "uc:")):
        return Path(uri).absolute().as_uri()
    return uri


def first_logged(logged: Sequence[str], tags: Mapping[str, str]) -> list[str]:
    """As many of the metrics as a screen holds, in the order in which they were logged."""
    return list(dict.fromkeys(logged))[:_MOST_COLUMNS]


class Tracker:
    """Sends one pipeline run to MLflow: names of :class:`azdistill.local.tracking.worker.Session`'s methods, and what
    they get. Every method but the two that wait returns at once.
    """

    def __init__(self, uri: str, warn: Callable[[str], None]) -> None:
        self.uri = uri
        self._warn = warn
        self._outbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._questions = itertools.count()
        #: The questions that somebody waits for, and what was answered to them.
        self._answers: dict[int, Any] = {}
        self._asked: set[int] = set()
        self._answered = threading.Condition()
        self._over = False
        #: The later of the two messages that begin and end a run.
        self._last = ""
        _hide_credentials(uri)
        self._process = _start(uri)
        # Not an argument, which every user of this machine can read; not redacted, as what is sent is.
        self._outbox.put({"uri": uri})
        self._writer = threading.Thread(target=self._write, name="tracking-out", daemon=True)
        self._reader = threading.Thread(target=self._read, name="tracking-in", daemon=True)
        self._writer.start()
        self._reader.start()

    def send(self, method: str, **arguments: Any) -> None:
        """Have ``method`` of the session called, as of now."""
        if method in ("run_started", "run_ended"):
            self._last = method
        message = redact.clean({"do": method, **arguments})
        self._outbox.put(message | {"at": int(time.time() * 1000)})

    def ask(self, method: str, timeout: float, **arguments: Any) -> Any:
        """What ``method`` of the session gives back; None when MLflow does not answer in ``timeout`` seconds."""
        question = next(self._questions)
        with self._answered:
            self._asked.add(question)
        self.send(method, question=question, **arguments)
        with self._answered:
            self._answered.wait_for(lambda: self._over or question in self._answers, timeout)
            self._asked.discard(question)
            return self._answers.pop(question, None)

    def close(self, timeout: float = 120.0, waiting: Callable[[], None] = lambda: None) -> None:
        """Wait until everything has arrived; a warning if it has not after ``timeout`` seconds.

        ``waiting`` is called when the wait becomes one that a person notices.
        """
        if self._last != "run_ended":
            # No run was started, or none that has ended: there is nothing more to come.
            self._outbox.put(None)
        with self._answered:
            arrived = self._answered.wait_for(lambda: self._over, min(_NOTICED, timeout))
            if not arrived:
                waiting()
                arrived = self._answered.wait_for(lambda: self._over, timeout - _NOTICED)
        if not arrived:
            self._tell("MLflow does not answer: the run may be incomplete there")
        self._outbox.put(None)
        self._writer.join(2)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join(2)

    def _write(self) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            while message := self._outbox.get():
                self._process.stdin.write(strict_json.dumps(strict_json.exact(message)).encode() + b"\n")
                self._process.stdin.flush()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout
        is_done = False
        for line in self._process.stdout:
            message = _message(line)
            if "warning" in message:
                self._tell(message["warning"])
            is_done = is_done or "done" in message
            with self._answered:
                if message.get("question") in self._asked:
                    self._answers[message["question"]] = message["answer"]
                self._over = is_done
                self._answered.notify_all()
        if not is_done and self._last:
            self._tell("MLflow tracking ended early")
        with self._answered:
            self._over = True
            self._answered.notify_all()

    def _tell(self, text: str) -> None:
        self._warn(redact.redact(text))


def _message(line: bytes) -> dict[str, Any]:
    """What the process says; nothing where a library has printed into it."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _start(uri: str) -> subprocess.Popen[bytes]:
    # Not in the terminal's group: Ctrl-C must not end it before it has told MLflow how the run ended.
    return subprocess.Popen(
        [sys.executable, "-P", str(_WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment(uri)
        | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore", "GIT_PYTHON_REFRESH": "quiet"},
    )


def environment(uri: str) -> dict[str, str]:
    """The caller's variables that MLflow needs for the store ``uri``: of keys, those of stores and no others."""
    if uri.partition(":")[0].partition("+")[0] not in _OWN or os.environ.get("MLFLOW_TRACKING_AUTH"):
        return dict(os.environ)
    patterns = (*_BASICS, *_STORAGE)
    return {name: text for name, text in os.environ.items() if any(fnmatchcase(name, each) for each in patterns)}


def _hide_credentials(uri: str) -> None:
    try:
        password = urlsplit(uri).password
    except ValueError:
        password = None
    for value in (password, *(os.environ.get(name) for name in _SECRET_VARIABLES)):
        if value:
            redact.register(value)
