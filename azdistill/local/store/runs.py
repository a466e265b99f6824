"""The run store: one folder per run, whose state is the fold of an append-only event log.

The log has one JSON line ``{"time", "event", ...}`` for everything that happens to the run. Whatever is left of it
after a kill, a full disk or a power cut can be read: its events up to the first line that is none. Nothing after such a
line is believed, as nothing is ever written after one: a line that a full disk cut short is taken back, and whoever
goes on with a log cuts it off where belief ends. One process at a time may write.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from azdistill import strict_json
from azdistill.errors import UserError, did_you_mean
from azdistill.local.store.durable_files import lock, remove_tree, write_whole
from azdistill.local.store.events import KEPT, Event, RunState
from azdistill.local.store.home import Home
from azdistill.local.store.process_marks import is_alive as is_alive
from azdistill.local.store.process_marks import is_elsewhere
from azdistill.local.store.process_marks import own_mark as own_mark
from azdistill.redact import clean


class EventLog:
    """A log that is written to. Raises UserError where another process writes to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if lock(self._file) is False:
                hint = "another process writes to its log; wait until it has ended"
                raise UserError(f"the run '{path.parent.name}' is going on", code="AZD312", hint=hint)
            self._cut_off()
        except BaseException:
            os.close(self._file)
            raise

    def write(self, line: bytes, *, durable: bool) -> None:
        """Add one event: all of it or, where the disk is full, nothing; half a line would hide what comes later."""
        before = os.fstat(self._file).st_size
        try:
            unwritten = memoryview(line)
            while unwritten:
                unwritten = unwritten[os.write(self._file, unwritten) :]
            if durable:
                os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise

    def close(self) -> None:
        """Close it; another may write then."""
        # The next file that is opened gets this number: whoever comes late must not write into that.
        file, self._file = self._file, -1
        os.close(file)

    def _cut_off(self) -> None:
        """Cut the log off where belief ends. More than the half line that a kill leaves is kept beside it."""
        log = self._path.read_bytes()
        length = _believed(log)[1]
        if b"\n" in log[length:]:
            self._path.with_suffix(".damaged").write_bytes(log)
        if length < len(log):
            os.ftruncate(self._file, length)


def read_events(path: Path) -> list[Event]:
    """The events of a log, up to the first line that is torn."""
    try:
        return _believed(path.read_bytes())[0]
    except FileNotFoundError:
        return []


def _believed(log: bytes) -> tuple[list[Event], int]:
    """The events of a log up to the first line that is none, and how many bytes they are."""
    events: list[Event] = []
    length = 0
    # The piece after the last newline is either empty or torn.
    for line in log.split(b"\n")[:-1]:
        event = _event(line)
        if event is None:
            break
        events.append(event)
        length += len(line) + 1
    return events, length


def _event(line: bytes) -> Event | None:
    """The event in a line. One that lacks what it should hold is as torn as half a line."""
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
            return None
        # Measured numbers are numbers again (:func:`strict_json.exact`).
        entry |= {name: strict_json.number(entry[name]) for name in ("metric", "seconds") if name in entry}
        if isinstance(entry.get("metrics"), dict):
            entry["metrics"] = {name: strict_json.number(value) for name, value in entry["metrics"].items()}
    except (ValueError, RecursionError):
        return None
    schema = KEPT.get(entry["event"])
    is_whole = schema is None or (
        all(isinstance(entry.get(name), kind) for name, kind in schema.must.items())
        and all(isinstance(entry[name], kind) for name, kind in schema.may.items() if name in entry)
        and all(isinstance(name, str) for several in ("steps", "headline") for name in entry.get(several, ()))
    )
    return Event.from_entry(entry) if is_whole else None


class RunLog:
    """The event log of a run that is going on: appends, and keeps the state folded.

    ``again`` goes on with the log of the run ``run_id``, as far as it can be believed; :attr:`state` is what it says.
    Raises UserError for an id that is taken, and for a run that is going on.
    """

    def __init__(self, home: Home, pipeline: str, run_id: str | None = None, *, again: bool = False) -> None:
        self.run_id = run_id or new_run_id(pipeline)
        self.resumed = again
        self.folder = home.runs / self.run_id
        try:
            self.folder.mkdir(parents=True, exist_ok=again)
        except FileExistsError:
            raise UserError(f"there is a run '{self.run_id}' already", code="AZD311") from None
        self._lock = threading.Lock()
        #: Of a run that begins: its place among the runs of the state folder.
        self.number = 0 if again else next_number(home)
        self._log = EventLog(self.folder / "events.jsonl")
        self.state = _fold(self.folder)

    def append(self, event: Event) -> None:
        """Write an event of a kind that is kept, make sure that it is on disk, and fold it.

        That a step has started outlives the runner but not a power cut, which leaves nothing of the step either.
        """
        entry = event.as_entry()
        if entry is None:
            return
        line = strict_json.dumps(strict_json.exact(clean(entry)), ensure_ascii=False) + "\n"
        with self._lock:
            self._log.write(line.encode("utf-8", "backslashreplace"), durable=event.kind != "step_started")
            self.state.apply(event)

    def close(self) -> None:
        """Write ``run.json``, a copy of the end state that other programs can read, and close.

        A run that never started leaves nothing.
        """
        self._log.close()
        state = self.state
        if not state.started:
            remove_tree(self.folder)
            return
        steps = {name: step.as_json() for name, step in state.steps.items()}
        summary = {"run_id": state.run_id, "pipeline": state.pipeline, "status": state.status, "seconds": state.seconds}
        document = clean({**summary, "steps": steps, "outputs": state.outputs})
        with contextlib.suppress(OSError):
            write_whole(self.folder / "run.json", strict_json.dumps(document, indent=2))


def load_run(folder: Path) -> RunState:
    """The state of a run from its event log. A run whose runner is gone without an end is ``lost``."""
    state = _fold(folder)
    if state.status == "running" and not _is_going_on(state):
        state.lose()
    return state


def _is_going_on(run: RunState) -> bool:
    if not is_elsewhere(run.runner):
        return is_alive(run.runner)
    # The lock on the log is seen in every world; on a file system that knows none the run is believed to go on.
    try:
        with open(run.folder / "events.jsonl", "rb") as file:
            return lock(file.fileno(), shared=True) is not True
    except OSError:
        return True


def _fold(folder: Path) -> RunState:
    state = RunState(folder.name, folder)
    for event in read_events(folder / "events.jsonl"):
        state.apply(_here(event, folder))
    return state


def _here(event: Event, folder: Path) -> Event:
    """The event with its log where the run's folder lies now: a project may have been moved since."""
    log = event.fields.get("log")
    parts = Path(log).parts if isinstance(log, str) else ()
    if folder.name not in parts:
        return event
    within = parts[len(parts) - parts[::-1].index(folder.name) :]
    return replace(event, fields={**event.fields, "log": str(folder.joinpath(*within))})


def list_runs(home: Home) -> list[RunState]:
    """All runs of a state folder, newest first."""
    if not home.runs.is_dir():
        return []
    runs = (load_run(folder) for folder in home.runs.iterdir() if (folder / "events.jsonl").is_file())
    return sorted((run for run in runs if run.started), key=lambda run: run.order, reverse=True)


def next_number(home: Home) -> int:
    """A number for a run that is about to start, higher than that of every run before it."""
    handle = os.open(home.starts, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # Where nothing can be locked, runs that start in the same moment are told apart by their clock.
        lock(handle, wait=True)
        text = os.read(handle, 32).strip()
        last = int(text) if text.isdigit() else max((run.number for run in list_runs(home)), default=0)
        # As long as any other, so that it is never half of one.
        os.pwrite(handle, b"%020d\n" % (last + 1), 0)
        return last + 1
    finally:
        os.close(handle)


class _Named(Protocol):
    @property
    def run_id(self) -> str: ...


_Run = TypeVar("_Run", bound=_Named)


def named(name: str, runs: Sequence[_Run]) -> _Run | None:
    """Of ``runs`` the one with this id, or the only one whose id begins so. UserError where several do."""
    matches = [run for run in runs if run.run_id == name] or [run for run in runs if run.run_id.startswith(name)]
    if len(matches) > 1:
        hint = ", ".join(run.run_id for run in matches[:5])
        raise UserError(f"several runs begin with '{name}'", code="AZD384", hint=hint)
    return matches[0] if matches else None


def new_run_id(pipeline: str) -> str:
    """An id for a run of ``pipeline`` that no other run has."""
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in pipeline.lower())
    return f"{letters[:40].strip('_') or 'run'}_{datetime.now(UTC):%Y%m%d%H%M%S}_{secrets.token_hex(3)}"


_SHOWN = 20


def run_to_resume(home: Home, name: str, pipeline: str) -> RunState:
    """The run that ``name`` stands for: an id, the beginning of exactly one, or ``latest`` of this pipeline.

    UserError where there is none, or where it is of another pipeline.
    """
    runs = list_runs(home)
    own_runs = [run for run in runs if run.pipeline == pipeline]
    if name == "latest":
        if own_runs:
            return own_runs[0]
        raise UserError(f"there is no run of {pipeline} to resume", code="AZD383", hint="run it without --resume")
    run = named(name, runs)
    if run is None:
        hint = did_you_mean(name, [run.run_id for run in own_runs[:_SHOWN]])
        raise UserError(f"no run '{name}'", code="AZD385", hint=hint)
    if run.pipeline != pipeline:
        message = f"{run.run_id} is a run of {run.pipeline}, not of {pipeline}"
        raise UserError(message, code="AZD374", hint="give --resume with the file that it was started with")
    return run
