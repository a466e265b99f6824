"""MLflow: one parent run per pipeline, one child per step, everything sent by a process of its own.

Nothing here waits for MLflow but :meth:`Tracker.child_run_id` and :meth:`Tracker.close`; nothing here raises because of
it. A store that cannot be written costs a warning.
"""

from __future__ import annotations

import contextlib
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

_WORKER = Path(__file__).with_name("worker.py")
#: Seconds after which somebody at a terminal wonders what is going on.
_NOTICED = 1.5
_SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABRICKS_TOKEN")

#: What any program needs, and MLflow's own settings.
_PLAIN = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_*", "XDG_*"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PYTHON*", "VIRTUAL_ENV", "MLFLOW_*"),
)
#: What MLflow reads to write artifacts, which a store of any kind may keep in a cloud, and to ask a database.
_STORAGE = (
    *("AWS_*", "AZURE_STORAGE_*", "AZURE_CLIENT_*", "AZURE_TENANT_ID", "AZURE_FEDERATED_*", "AZURE_AUTHORITY_HOST"),
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


class Tracker:
    """Sends one pipeline run to MLflow. Every method but the two that wait returns at once."""

    def __init__(self, uri: str, warn: Callable[[str], None]) -> None:
        self.uri = uri
        self._warn = warn
        self._outbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._children: dict[str, str] = {}
        self._logged: dict[str, list[dict[str, Any]]] = {}
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

    def run_started(
        self, name: str, experiment: str, params: Mapping[str, str], tags: Mapping[str, str], headline: Sequence[str]
    ) -> None:
        """The parent run. Metrics of the steps in ``headline`` are logged to it too."""
        self._send(
            {
                "do": "run",
                "name": name,
                "experiment": experiment,
                "params": params,
                "tags": tags,
                "headline": list(headline),
            }
        )

    def step_started(
        self, step: str, params: Mapping[str, str], tags: Mapping[str, str], *, parent: str | None = None
    ) -> None:
        """A child run, made when MLflow is ready; ``parent`` is the step that a trial belongs to."""
        self._send({"do": "step", "step": step, "params": params, "tags": tags, "parent": parent})

    def record(self, step: str, record: Mapping[str, Any], *, known: bool = False) -> None:
        """A metric, parameter or tag of a step (docs/contributing/tracking.md); other kinds are left out.

        ``known``: the step's run has it, and only the parent may be without.
        """
        if record.get("kind") in ("metric", "param", "tag") and "name" in record and "value" in record:
            self._send({"do": "record", "step": step, "record": dict(record), "known": known})

    def step_ended(
        self,
        step: str,
        status: str,
        tags: Mapping[str, str],
        outputs: Mapping[str, Any],
        artifacts: Sequence[Mapping[str, str]],
    ) -> None:
        """``outputs`` is kept as JSON; of ``artifacts`` (``path``, ``folder``) small files are copied."""
        self._send(
            {
                **{"do": "step_end", "step": step, "status": status, "tags": tags},
                **{"outputs": outputs, "artifacts": [dict(artifact) for artifact in artifacts]},
            }
        )

    def run_ended(
        self,
        status: str,
        tags: Mapping[str, str],
        artifacts: Sequence[Mapping[str, str]],
        columns: Sequence[str] = (),
        *,
        compared: bool = True,
    ) -> None:
        """The end of the parent, and of children that have not ended. The experiment's table shows ``columns``.

        ``compared``: they are what pipelines are compared by, not only metrics of single steps.
        """
        self._send(
            {
                **{"do": "end", "status": status, "tags": tags, "columns": list(columns), "compared": compared},
                "artifacts": [dict(artifact) for artifact in artifacts],
            }
        )

    def child_run_id(self, step: str, timeout: float) -> str | None:
        """The MLflow run id of a step, made now; None when MLflow does not answer in ``timeout`` seconds."""
        self._send({"do": "child", "step": step})
        with self._answered:
            self._answered.wait_for(lambda: self._over or step in self._children, timeout)
            return self._children.get(step) or None

    def logged(self, step: str, timeout: float) -> list[dict[str, Any]]:
        """Metrics, parameters and tags that the step's run has and that did not come from here, as records; none when
        MLflow does not answer in ``timeout`` seconds.
        """
        with self._answered:
            self._logged.pop(step, None)
        self._send({"do": "logged", "step": step})
        with self._answered:
            self._answered.wait_for(lambda: self._over or step in self._logged, timeout)
            return self._logged.pop(step, [])

    def close(self, timeout: float = 120.0, waiting: Callable[[], None] = lambda: None) -> None:
        """Wait until everything has arrived; a warning if it has not after ``timeout`` seconds.

        ``waiting`` is called when the wait becomes one that a person notices.
        """
        if self._last != "end":
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

    def _send(self, message: dict[str, Any]) -> None:
        if message["do"] in ("run", "end"):
            self._last = message["do"]
        self._outbox.put(redact.clean(message) | {"at": int(time.time() * 1000)})

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
        done = False
        for line in self._process.stdout:
            answer = _answer(line)
            if "warning" in answer:
                self._tell(answer["warning"])
            done = done or "done" in answer
            with self._answered:
                if "child" in answer:
                    self._children[answer["child"]] = answer["run_id"] or ""
                if "logged" in answer:
                    self._logged[answer["logged"]] = answer["records"]
                self._over = done
                self._answered.notify_all()
        if not done and self._last:
            self._tell("MLflow tracking ended early")
        with self._answered:
            self._over = True
            self._answered.notify_all()

    def _tell(self, text: str) -> None:
        self._warn(redact.redact(text))


def _answer(line: bytes) -> dict[str, Any]:
    """What the process says; nothing where a library has printed into it."""
    try:
        answer = json.loads(line)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _start(uri: str) -> subprocess.Popen[bytes]:
    # Not in the terminal's group: Ctrl-C must not end it before it has told MLflow how the run ended.
    return subprocess.Popen(
        [sys.executable, "-P", str(_WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={
            **environment(uri),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONWARNINGS": "ignore",
            "GIT_PYTHON_REFRESH": "quiet",
        },
    )


def environment(uri: str) -> dict[str, str]:
    """The caller's variables that MLflow needs for the store ``uri``: of keys, those of stores and no others."""
    if uri.partition(":")[0].partition("+")[0] not in _OWN or os.environ.get("MLFLOW_TRACKING_AUTH"):
        return dict(os.environ)
    names = (*_PLAIN, *_STORAGE)
    return {name: value for name, value in os.environ.items() if any(fnmatchcase(name, each) for each in names)}


def _hide_credentials(uri: str) -> None:
    try:
        password = urlsplit(uri).password
    except ValueError:
        password = None
    for value in (password, *(os.environ.get(name) for name in _SECRET_VARIABLES)):
        if value:
            redact.register(value)
