"""The process that talks to MLflow, so that importing it and writing to its store delay no step.

Reads one JSON message a line on stdin: the store's URI, then what happened, in order, each with the Unix time in
milliseconds at which it did (``at``). Answers on what was stdout when it began: ``ready``, ``child`` with a step's run
id, ``logged`` with what a step logged itself, ``warning``, and ``done``. The end of stdin before ``done`` means that
the runner is gone: the runs that are open are marked as killed, within 1.2 seconds, and the process ends.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
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
#: Which of the metrics that a run logged its table shows, by the tags that its steps set.
Columns = Callable[[Sequence[str], Mapping[str, str]], list[str]]
_BATCH = 500
_LAST_CHANCE = 1.2
_ENDS = {"completed": "FINISHED", "cached": "FINISHED", "failed": "FAILED", "canceled": "KILLED", "killed": "KILLED"}
#: A trial that was ended early.
_ENDS["stopped"] = "KILLED"
_answers: TextIO = sys.stdout


def main() -> None:
    keep_stdout()
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    gone = threading.Event()
    threading.Thread(target=_listen, args=(inbox, gone), daemon=True).start()
    opening = inbox.get()
    if "uri" not in opening:
        return
    session = Session(opening["uri"])
    for message in _grouped(inbox):
        if gone.is_set():
            session.give_up()
            return
        session.take(message)
        if message["do"] == "end":
            say({"done": True})
            return


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


def _grouped(inbox: queue.SimpleQueue[Message]) -> Iterator[Message]:
    """The messages in order, metric records that wait behind one another as one: a batch costs a store what one value
    does.
    """
    held: Message | None = None
    while True:
        message, held = held or inbox.get(), None
        if message["do"] == "record":
            batch = [message]
            while held is None and len(batch) < _BATCH and not inbox.empty():
                following = inbox.get()
                if following["do"] == "record":
                    batch.append(following)
                else:
                    held = following
            message = {"do": "records", "records": batch, "at": batch[0]["at"]}
        yield message


class Session:
    """The runs of one pipeline run in one MLflow store. A call that fails is told once and passed over."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._told: set[str] = set()
        self._client: Any = None
        self._experiment = ""
        self._parent = ""
        self._children: dict[str, str] = {}
        self._open: set[str] = set()
        self._headline: set[str] = set()
        self._given: set[tuple[str, str]] = set()
        #: Run, kind and name of what is logged from here, not by a step itself.
        self._ours: set[tuple[str, str, str]] = set()
        self._at = 0

    def take(self, message: Message) -> None:
        """Do what one message asks for."""
        self._at = message["at"]
        with self._telling():
            getattr(self, f"_do_{message['do']}")(message)

    def give_up(self) -> None:
        """Mark what is open as killed."""
        for run_id in (*self._children.values(), self._parent):
            if run_id in self._open:
                self._client.set_terminated(run_id, "KILLED")

    def _do_run(self, message: Message) -> None:
        make_store(self._uri)
        self._client = _mlflow("client").MlflowClient(self._uri)
        self._experiment = self._experiment_id(message["experiment"])
        self._headline = set(message["headline"])
        self._parent = self._create(message["name"], message["tags"])
        self._log_params(self._parent, message["params"])
        say({"ready": True, "experiment": self._experiment, "run_id": self._parent})

    def _do_step(self, message: Message) -> None:
        if self._client is None:
            return
        run_id = self._child(message["step"], message["parent"])
        for name, value in message["tags"].items():
            self._client.set_tag(run_id, name, value)
        self._log_params(run_id, message["params"])

    def _do_child(self, message: Message) -> None:
        step, run_id = message["step"], None
        try:
            run_id = self._child(step) if self._client else None
        finally:
            # Somebody waits for this: the answer that there is none is an answer.
            say({"child": step, "run_id": run_id})

    def _do_records(self, message: Message) -> None:
        by_step: dict[str, list[Message]] = {}
        for each in message["records"]:
            by_step.setdefault(each["step"], []).append(each)
        for step, several in by_step.items() if self._client else ():
            with self._telling():
                self._log(self._child(step), [each["record"] for each in several if not each["known"]])
            if step in self._headline:
                with self._telling():
                    self._log(self._parent, [each["record"] for each in several if each["record"]["kind"] == "metric"])

    def _do_logged(self, message: Message) -> None:
        found: list[Message] = []
        try:
            found = self._logged(self._child(message["step"])) if self._client else []
        finally:
            say({"logged": message["step"], "records": found})

    def _logged(self, run_id: str) -> list[Message]:
        data = self._client.get_run(run_id).data

        def theirs(kind: str, found: Message) -> Message:
            return {name: value for name, value in found.items() if (run_id, kind, name) not in self._ours}

        metrics, params, tags = (theirs(kind, getattr(data, f"{kind}s")) for kind in ("metric", "param", "tag"))
        values = [each for name in metrics for each in self._client.get_metric_history(run_id, name)]
        tags = {name: value for name, value in tags.items() if not name.startswith(("mlflow.", "azdistill."))}
        return [
            *({"kind": "param", "name": n, "value": v} for n, v in params.items() if (run_id, n) not in self._given),
            *({"kind": "tag", "name": name, "value": value} for name, value in tags.items()),
            *(
                {
                    "kind": "metric",
                    "name": each.key,
                    "value": _written(each.value),
                    "step": each.step,
                    "timestamp": each.timestamp,
                }
                for each in sorted(values, key=lambda each: each.timestamp)
            ),
        ]

    def _do_step_end(self, message: Message) -> None:
        if self._client is None:
            return
        run_id = self._child(message["step"])
        for name, value in message["tags"].items():
            self._client.set_tag(run_id, name, value)
        if message["outputs"]:
            self._client.log_dict(run_id, message["outputs"], "outputs.json")
        self._keep(run_id, message["artifacts"])
        self._end(run_id, message["status"])

    def _do_end(self, message: Message) -> None:
        if self._client is None:
            return
        for name, value in message["tags"].items():
            self._client.set_tag(self._parent, name, value)
        if message["columns"]:
            # A server without such views loses nothing.
            with contextlib.suppress(Exception):
                show_columns(self._client, self._experiment, message["columns"], headline=message["compared"])
        self._keep(self._parent, message["artifacts"])
        for run_id in [run_id for run_id in self._children.values() if run_id in self._open]:
            self._end(run_id, message["status"])
        self._end(self._parent, message["status"])

    def _experiment_id(self, name: str) -> str:
        for _ in range(2):
            found = self._client.get_experiment_by_name(name)
            if found:
                return str(found.experiment_id)
            with contextlib.suppress(Exception):
                # Another run may make it at the same moment; then it is there the second time.
                return str(self._client.create_experiment(name))
        return str(self._client.create_experiment(name))

    def _create(self, name: str, tags: Message) -> str:
        # When it began, not when this process got round to it: a new store takes seconds to be made.
        run = self._client.create_run(self._experiment, start_time=self._at, run_name=name, tags=tags)
        self._open.add(run.info.run_id)
        return str(run.info.run_id)

    def _child(self, step: str, above: str | None = None) -> str:
        """The run of a step, or of a trial of the step ``above``."""
        if step not in self._children:
            parent = self._child(above) if above else self._parent
            self._children[step] = self._create(step, {"mlflow.parentRunId": parent, "azdistill.step": step})
        return self._children[step]

    def _end(self, run_id: str, status: str) -> None:
        self._open.discard(run_id)
        self._client.set_terminated(run_id, _ENDS.get(status, "FAILED"), end_time=self._at)

    def _log(self, run_id: str, records: list[Message]) -> None:
        sound = [record for each in records if (record := self._sound(each))]
        self._ours |= {(run_id, record["kind"], record["name"]) for record in sound}
        metrics = [
            _mlflow("entities").Metric(r["name"], r["value"], r["timestamp"], r["step"])
            for r in sound
            if r["kind"] == "metric"
        ]
        with self._telling():
            self._log_rows(run_id, metrics=metrics)
        self._log_params(run_id, {r["name"]: r["value"] for r in sound if r["kind"] == "param"})
        for record in sound:
            if record["kind"] == "tag":
                with self._telling():
                    self._client.set_tag(run_id, record["name"], record["value"])

    def _sound(self, record: Message) -> Message | None:
        """A record as MLflow takes it; None, and a warning, for one that it cannot."""
        with self._telling(f"the {record['kind']} {str(record['name'])[:250]}: "):
            return as_taken(record, self._at)
        return None

    def _log_params(self, run_id: str, params: Message) -> None:
        # A step may log an input of its own in another form (15 for 15.0), which MLflow refuses: what was given stands.
        fresh = {name: value for name, value in params.items() if (run_id, valid_name(name)) not in self._given}
        names = list(fresh)
        for some in (names[start : start + 100] for start in range(0, len(names), 100)):
            rows = [_mlflow("entities").Param(valid_name(name), str(fresh[name])[:_LIMIT]) for name in some]
            with self._telling():
                self._log_rows(run_id, params=rows)
                self._given |= {(run_id, valid_name(name)) for name in some}

    def _log_rows(self, run_id: str, **several: list[Any]) -> None:
        """Log rows of one kind in one call. A store that refuses one of them refuses all: then each goes by itself."""
        [(kind, rows)] = several.items()
        try:
            if rows:
                self._client.log_batch(run_id, **several)
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
            for path, folder in _files(Path(artifact["path"]), artifact.get("folder") or ""):
                size = path.stat().st_size
                if size <= COPY_UP_TO:
                    self._client.log_artifact(run_id, str(path), folder or None)
                else:
                    large.append({"path": str(path), "size": size, "sha256": _sha256(path)})
        if large:
            self._client.log_dict(run_id, {"files": large}, "large_files.json")

    @contextlib.contextmanager
    def _telling(self, of: str = "") -> Iterator[None]:
        """Tracking never fails a run, whatever MLflow or its store raises: that is told, and what is left goes on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (see above)
            self._warn(f"MLflow: {of}{_first_line(error)}")

    def _warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            say({"warning": text})


def first_logged(logged: Sequence[str], tags: Mapping[str, str]) -> list[str]:
    """As many of the metrics as a screen holds, in the order in which they were logged."""
    return list(dict.fromkeys(logged))[: _MOST_COLUMNS // 2]


def show_columns(client: Any, experiment_id: str, metrics: Sequence[str], *, headline: bool) -> None:
    """Store a view of the experiment with these columns: MLflow's page shows no metric until one is chosen.

    All runs of an experiment share the view. What pipelines are compared by (``headline``) joins what the view shows
    already; the metrics of single steps never take its place.
    """
    tags = client.get_experiment(experiment_id).tags
    stored = _stored_columns(tags)
    # Views of earlier versions are known by names such as "model.accuracy", which no single step logs.
    if COLUMNS_TAG in tags and not headline:
        return
    if headline and COLUMNS_TAG not in tags:
        stored = [name for name in stored if "." in name]
    elif not headline and any("." in name for name in stored):
        return
    names = [valid_name(name) for name in metrics]
    richer, other = (names, stored) if len(names) >= len(stored) else (stored, names)
    shown = list(dict.fromkeys([*richer, *other]))[:_MOST_COLUMNS]
    client.set_experiment_tag(experiment_id, VIEW_TAG, json.dumps(shared_view(shown), allow_nan=False))
    if headline:
        client.set_experiment_tag(experiment_id, COLUMNS_TAG, json.dumps(shown, allow_nan=False))


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
    taken = {"kind": record["kind"], "name": valid_name(record["name"])}
    if record["kind"] != "metric":
        return {**taken, "value": str(record["value"]).encode("utf-8", "replace").decode()}
    times = {"step": _long(record.get("step") or 0), "timestamp": _long(record.get("timestamp") or now)}
    return {**taken, "value": float(record["value"]), **times}


def _written(value: float) -> float | str:
    """A number as JSON can hold it: one that is not finite as a word that ``float()`` reads."""
    return value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _long(value: Any) -> int:
    number = int(value)
    if not -(1 << 63) <= number < 1 << 63:
        raise OverflowError(f"{number} is too large")
    return number


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"


def _files(root: Path, folder: str) -> list[tuple[Path, str]]:
    if root.is_file():
        return [(root, folder)]
    found = sorted(path for path in root.rglob("*") if path.is_file())[:MOST_FILES]
    return [(path, "/".join(part for part in (folder, _parent(path, root)) if part)) for path in found]


def _parent(path: Path, root: Path) -> str:
    relative = path.parent.relative_to(root).as_posix()
    return "" if relative == "." else relative


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
