"""The process that talks to MLflow, so that importing it and writing to its store delay no step.

Reads one JSON message a line on stdin: the store's URI, then calls of the methods of :class:`Session` (``do`` and its
arguments), in order, each with the Unix time in milliseconds at which it was made (``at``). Answers on what was stdout
when it began: ``answer`` to a call with a ``question``, ``warning``, and ``done``. The end of stdin before ``done``
means that the runner is gone: the runs that are open are marked as killed, within 1.2 seconds, and the process ends.
Started as a plain file and imports nothing of azdistill: what it is told has been redacted already.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import math
import os
import queue
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

Message = dict[str, Any]
#: Files up to this size are copied into the store; of larger ones path, size and hash are kept.
COPY_UP_TO = 5 * 1024 * 1024
MOST_FILES = 1000
_LIMIT = 5000
#: The view that a link to the runs page names with ``viewStateShareKey=azdistill``.
VIEW_TAG = "mlflow.sharedViewState.azdistill"
#: The experiment's tag that lists the columns of that view which pipelines are compared by.
COLUMNS_TAG = "azdistill.headline_columns"
#: Of several kinds of pipeline in one experiment each has its columns in the view, up to so many in all.
_MOST_COLUMNS = 24
_BATCH = 500
_LAST_CHANCE = 1.2
#: A trial that was ended early has stopped; what is not here has failed.
_ENDS = {"completed": "FINISHED", "cached": "FINISHED", "canceled": "KILLED", "killed": "KILLED", "stopped": "KILLED"}
_answers: TextIO = sys.stdout


def main() -> None:
    keep_stdout()
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    gone = threading.Event()
    threading.Thread(target=_listen, args=(inbox, gone), daemon=True).start()
    greeting = inbox.get()
    if "uri" not in greeting:
        return
    session = Session(greeting["uri"])
    while True:
        message = inbox.get()
        if gone.is_set():
            session.give_up()
            return
        session.take(message)
        if message["do"] == "run_ended":
            say({"done": True})
            return
        if inbox.empty():
            session.flush()


def keep_stdout() -> None:
    """Keep stdout for answers: what MLflow prints ("View run ... at") goes where its warnings go."""
    global _answers
    _answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)


def say(answer: Message) -> None:
    """Write one answer. Nobody may be left to read it."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(answer, allow_nan=False), file=_answers, flush=True)


def _listen(inbox: queue.SimpleQueue[Message], gone: threading.Event) -> None:
    for line in sys.stdin.buffer:
        inbox.put(json.loads(line))
    # Whatever the main thread is doing (an import, a migration, a slow server), nothing outlives the runner. The
    # kernel's alarm ends a process that holds the interpreter's lock, too.
    signal.setitimer(signal.ITIMER_REAL, _LAST_CHANCE)
    gone.set()
    inbox.put({"do": "gone"})


class Session:
    """The runs of one pipeline run in one MLflow store. A call that fails is told once and passed over."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._warnings: set[str] = set()
        self._client: Any = None
        self._experiment = ""
        #: MLflow's ids of the runs by step; the pipeline's, which comes first, is that of "".
        self._runs: dict[str, str] = {}
        self._open: set[str] = set()
        self._headline: set[str] = set()
        #: Records that are not logged yet, each with its step.
        self._records: list[tuple[str, Message]] = []
        #: Run, kind and name of what is logged from here, not by a step itself.
        self._ours: set[tuple[str, str, str]] = set()
        #: Parameters that the store has: one that failed is sent again when it is logged again.
        self._arrived: set[tuple[str, str]] = set()
        self._at = 0

    def take(self, message: Message) -> None:
        """Do what one message asks for. Nothing is done after a start that failed."""
        method, self._at = message["do"], message["at"]
        arguments = {name: value for name, value in message.items() if name not in ("do", "at", "question")}
        if method != "record" or len(self._records) >= _BATCH:
            self.flush()
        answer = None
        with self._telling():
            if self._runs or method == "run_started":
                answer = getattr(self, method)(**arguments)
        if "question" in message:
            # Somebody waits for this: the answer that there is none is an answer.
            say({"question": message["question"], "answer": answer})

    def flush(self) -> None:
        """Log the records that have come meanwhile: a batch costs a store what one value does."""
        records, self._records = self._records, []
        for step in dict.fromkeys(step for step, _ in records):
            with self._telling():
                self._log(self._run(step), [record for owner, record in records if owner == step])

    def give_up(self) -> None:
        """Mark what is open as killed."""
        for run_id in reversed(self._runs.values()):
            if run_id in self._open:
                self._client.set_terminated(run_id, "KILLED")

    def run_started(self, name: str, experiment: str, params: Message, tags: Message, headline: list[str]) -> None:
        """The parent run. Metrics of the steps in ``headline`` are logged to it too."""
        make_store(self._uri)
        self._client = _mlflow("client").MlflowClient(self._uri)
        self._experiment = experiment_id(self._client, experiment)
        self._headline = set(headline)
        self._runs[""] = self._create(name, tags)
        self._log_params(self._runs[""], params)

    def step_started(self, step: str, params: Message, tags: Message, parent: str = "") -> None:
        """A child run; ``parent`` is the step that a trial belongs to."""
        run_id = self._run(step, parent)
        self._set_tags(run_id, tags)
        self._log_params(run_id, params)

    def record(self, step: str, record: Message, known: bool = False) -> None:
        """A metric, parameter or tag of a step (docs/contributing/tracking.md).

        ``known``: the step's run has it, and only the parent may be without.
        """
        with self._telling(f"the {record['kind']} {str(record['name'])[:250]}: "):
            sound = as_taken(record, self._at)
            if not known:
                self._records.append((step, sound))
            if step in self._headline and sound["kind"] == "metric":
                self._records.append(("", sound))

    def child_run_id(self, step: str) -> str:
        """The id of a step's run, which is made now if it has to be."""
        return self._run(step)

    def logged(self, step: str) -> list[Message]:
        """Metrics, parameters and tags that the step's run has and that did not come from here, as records."""
        run_id = self._run(step)
        data = self._client.get_run(run_id).data

        def theirs(kind: str, texts: Message) -> list[Message]:
            names = [name for name in texts if (run_id, kind, name) not in self._ours]
            return [{"kind": kind, "name": name, "value": texts[name]} for name in names]

        tags = {name: text for name, text in data.tags.items() if not name.startswith(("mlflow.", "azdistill."))}
        names = [record["name"] for record in theirs("metric", data.metrics)]
        points = [point for name in names for point in self._client.get_metric_history(run_id, name)]
        metrics = [
            {"kind": "metric", "name": p.key, "value": _written(p.value), "step": p.step, "timestamp": p.timestamp}
            for p in sorted(points, key=lambda point: point.timestamp)
        ]
        return [*theirs("param", data.params), *theirs("tag", tags), *metrics]

    def step_ended(self, step: str, status: str, tags: Message, outputs: Message, artifacts: list[Message]) -> None:
        """``outputs`` is kept as JSON; of ``artifacts`` (``path``, ``folder``) small files are copied."""
        run_id = self._run(step)
        self._set_tags(run_id, tags)
        if outputs:
            self._client.log_dict(run_id, outputs, "outputs.json")
        self._keep(run_id, artifacts)
        self._end(run_id, status)

    def run_ended(
        self, status: str, tags: Message, artifacts: list[Message], columns: list[str], compared: bool
    ) -> None:
        """The end of the parent, and of children that have not ended. The experiment's table shows ``columns``.

        ``compared``: they are what pipelines are compared by, not only metrics of single steps.
        """
        self._set_tags(self._runs[""], tags)
        if columns:
            # A server without such views loses nothing.
            with contextlib.suppress(Exception):
                show_columns(self._client, self._experiment, columns, headline=compared)
        self._keep(self._runs[""], artifacts)
        for run_id in reversed(self._runs.values()):
            if run_id in self._open:
                self._end(run_id, status)

    def _run(self, step: str, parent: str = "") -> str:
        """The run of a step, or of a trial of the step ``parent``."""
        if step not in self._runs:
            above = self._run(parent)
            self._runs[step] = self._create(step, {"mlflow.parentRunId": above, "azdistill.step": step})
        return self._runs[step]

    def _create(self, name: str, tags: Message) -> str:
        # When it began, not when this process got round to it: a new store takes seconds to be made.
        run = self._client.create_run(self._experiment, start_time=self._at, run_name=name, tags=tags)
        self._open.add(run.info.run_id)
        return str(run.info.run_id)

    def _end(self, run_id: str, status: str) -> None:
        self._open.discard(run_id)
        self._client.set_terminated(run_id, _ENDS.get(status, "FAILED"), end_time=self._at)

    def _set_tags(self, run_id: str, tags: Message) -> None:
        for name, text in tags.items():
            self._client.set_tag(run_id, name, text)

    def _log(self, run_id: str, records: list[Message]) -> None:
        kinds = {kind: [record for record in records if record["kind"] == kind] for kind in ("metric", "param", "tag")}
        metric = _mlflow("entities").Metric
        with self._telling():
            points = [metric(r["name"], r["value"], r["timestamp"], r["step"]) for r in kinds["metric"]]
            self._log_rows(run_id, "metrics", points)
        self._log_params(run_id, {record["name"]: record["value"] for record in kinds["param"]})
        for tag in kinds["tag"]:
            with self._telling():
                self._client.set_tag(run_id, tag["name"], tag["value"])
        self._ours |= {(run_id, record["kind"], record["name"]) for record in records}

    def _log_params(self, run_id: str, params: Message) -> None:
        # A step may log an input of its own in another form (15 for 15.0), which MLflow refuses: the first one stands.
        texts = {valid_name(name): str(value)[:_LIMIT] for name, value in params.items()}
        names = [name for name in texts if (run_id, name) not in self._arrived]
        for batch in (names[start : start + 100] for start in range(0, len(names), 100)):
            with self._telling():
                self._log_rows(run_id, "params", [_mlflow("entities").Param(name, texts[name]) for name in batch])
                self._arrived |= {(run_id, name) for name in batch}

    def _log_rows(self, run_id: str, kind: str, rows: list[Any]) -> None:
        """Log rows of one kind in one call. A store that refuses one of them refuses all: then each goes by itself."""
        try:
            if rows:
                self._client.log_batch(run_id, **{kind: rows})
        except Exception as error:
            if getattr(error, "error_code", "") != "INVALID_PARAMETER_VALUE" or len(rows) == 1:
                raise
            for row in rows:
                with self._telling():
                    self._client.log_batch(run_id, **{kind: [row]})

    def _keep(self, run_id: str, artifacts: list[Message]) -> None:
        """Copy small files into the store, and list the large ones."""
        large = []
        for artifact in artifacts:
            for path, folder in _files(Path(artifact["path"]), artifact.get("folder", "")):
                size = path.stat().st_size
                if size <= COPY_UP_TO:
                    self._client.log_artifact(run_id, str(path), folder or None)
                else:
                    with open(path, "rb") as file:
                        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                    large.append({"path": str(path), "size": size, "sha256": sha256})
        if large:
            self._client.log_dict(run_id, {"files": large}, "large_files.json")

    @contextlib.contextmanager
    def _telling(self, of: str = "") -> Iterator[None]:
        """Tracking never fails a run, whatever MLflow or its store raises: that is told, and what is left goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (see above)
            first_line = (str(error).splitlines() or [""])[0]
            text = f"MLflow: {of}{type(error).__name__}: {first_line[:300]}"
            if text not in self._warnings:
                self._warnings.add(text)
                say({"warning": text})


def show_columns(client: Any, experiment: str, metrics: Sequence[str], *, headline: bool) -> None:
    """Store a view of the experiment with these columns: MLflow's page shows no metric until one is chosen.

    All runs of an experiment share the view. What pipelines are compared by (``headline``) joins what the view shows
    already; the metrics of single steps never take its place.
    """
    tags = client.get_experiment(experiment).tags
    stored = _stored_columns(tags)
    # Views of earlier versions are known by names such as "model.accuracy", which no single step logs.
    if not headline and (COLUMNS_TAG in tags or any("." in name for name in stored)):
        return
    if headline and COLUMNS_TAG not in tags:
        stored = [name for name in stored if "." in name]
    names = [valid_name(name) for name in metrics]
    richer, poorer = (names, stored) if len(names) >= len(stored) else (stored, names)
    columns = list(dict.fromkeys([*richer, *poorer]))[:_MOST_COLUMNS]
    client.set_experiment_tag(experiment, VIEW_TAG, json.dumps(shared_view(columns), allow_nan=False))
    if headline:
        client.set_experiment_tag(experiment, COLUMNS_TAG, json.dumps(columns, allow_nan=False))


def _stored_columns(tags: Mapping[str, str]) -> list[str]:
    """The metrics that the stored view shows; none where it cannot be read."""
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
        chosen = json.loads(tags[VIEW_TAG])["selectedColumns"]
        return [name[len("metrics.`") : -1] for name in chosen if name.startswith("metrics.`")]
    return []


def shared_view(metrics: list[str]) -> Message:
    """What MLflow 3 keeps of a shared view of an experiment's runs: newest first, with ``metrics`` as columns."""
    chosen = ["attributes.`Created`", "attributes.`Duration`", *(f"metrics.`{name}`" for name in metrics)]
    return {
        **{"searchFilter": "", "orderByKey": "attributes.start_time", "orderByAsc": False, "startTime": "ALL"},
        **{"lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs"},
        **{"selectedColumns": chosen, "runsExpanded": {}, "runsPinned": [], "runsHidden": []},
        **{"runListHidden": False, "viewMaximized": False},
    }


def _mlflow(module: str) -> Any:
    # Untyped in part, and slow: imported by the first message that needs it.
    return importlib.import_module(f"mlflow.{module}")


def valid_name(name: str) -> str:
    """``name`` with what MLflow refuses in names of metrics, parameters and tags replaced."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:250] or "_"


def as_taken(record: Message, now: int) -> Message:
    """A record as every store takes it, at the time ``now`` where it has none. Raises for what no store can hold."""
    sound = {"kind": record["kind"], "name": valid_name(record["name"])}
    if record["kind"] != "metric":
        return {**sound, "value": str(record["value"]).encode("utf-8", "replace").decode()}
    times = {"step": _long(record.get("step") or 0), "timestamp": _long(record.get("timestamp") or now)}
    return {**sound, "value": float(record["value"]), **times}


def _written(value: float) -> float | str:
    """A number as JSON can hold it: one that is not finite as a word that ``float()`` reads."""
    return value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _long(value: Any) -> int:
    number = int(value)
    if not -(1 << 63) <= number < 1 << 63:
        raise OverflowError(f"{number} is too large")
    return number


def _files(root: Path, folder: str) -> list[tuple[Path, str]]:
    if root.is_file():
        return [(root, folder)]
    paths = sorted(path for path in root.rglob("*") if path.is_file())[:MOST_FILES]
    return [(path, "/".join(Path(folder, path.parent.relative_to(root)).parts)) for path in paths]


def experiment_id(client: Any, name: str) -> str:
    """The id of an experiment, which is made where there is none."""
    for _ in range(2):
        if experiment := client.get_experiment_by_name(name):
            return str(experiment.experiment_id)
        with contextlib.suppress(Exception):
            # Another run may make it at the same moment; then it is there the second time.
            return str(client.create_experiment(name))
    return str(client.create_experiment(name))


def make_store(uri: str) -> None:
    """Make a new sqlite store whole or not at all: a kill during its migrations would leave one that MLflow refuses."""
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or path.exists():
        return
    open_store = _mlflow("store.tracking.sqlalchemy_store").SqlAlchemyStore
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        fresh = Path(folder, path.name)
        store = open_store(f"sqlite:///{fresh}", (path.parent / "mlruns").as_uri())
        store.engine.dispose()
        with contextlib.suppress(FileExistsError):
            # Unlike a rename, a link never takes the place of a store that another run made meanwhile.
            os.link(fresh, path)


if __name__ == "__main__":
    main()
