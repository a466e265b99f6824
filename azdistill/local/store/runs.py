"""The run store: one folder per run, whose state is the fold of an append-only event log (``event_log.py``)."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from azdistill import strict_json
from azdistill.errors import UserError
from azdistill.local.store.durable_files import remove_tree, write_whole
from azdistill.local.store.event_log import EventLog, is_written
from azdistill.local.store.event_log import read_events as read_events
from azdistill.local.store.events import Event, RunState
from azdistill.local.store.home import Home
from azdistill.local.store.process_marks import is_alive as is_alive
from azdistill.local.store.process_marks import is_elsewhere
from azdistill.local.store.process_marks import own_mark as own_mark
from azdistill.redact import clean as clean


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
        whole = clean({**summary, "steps": steps, "outputs": state.outputs})
        with contextlib.suppress(OSError):
            write_whole(self.folder / "run.json", strict_json.dumps(whole, indent=2))


def load_run(folder: Path) -> RunState:
    """The state of a run from its event log. A run whose runner is gone without an end is ``lost``."""
    state = _fold(folder)
    if state.status == "running" and not _is_going_on(state):
        state.lose()
    return state


def _is_going_on(run: RunState) -> bool:
    # The lock on the log is seen in every world; on a file system that knows none the run is believed to go on.
    if is_elsewhere(run.runner):
        return is_written(run.folder / "events.jsonl")
    return is_alive(run.runner)


def _fold(folder: Path) -> RunState:
    state = RunState(folder.name, folder)
    for event in read_events(folder / "events.jsonl"):
        state.apply(event)
    return state


def list_runs(home: Home) -> list[RunState]:
    """All runs of a state folder, newest first."""
    if not home.runs.is_dir():
        return []
    runs = (load_run(folder) for folder in home.runs.iterdir() if (folder / "events.jsonl").is_file())
    return sorted((run for run in runs if run.started), key=lambda run: run.started, reverse=True)


class _Named(Protocol):
    @property
    def run_id(self) -> str: ...


_Run = TypeVar("_Run", bound=_Named)


def named(wanted: str, runs: Sequence[_Run]) -> _Run | None:
    """Of ``runs`` the one with this id, or the only one whose id begins so. UserError where several do."""
    found = [run for run in runs if run.run_id == wanted] or [run for run in runs if run.run_id.startswith(wanted)]
    if len(found) > 1:
        hint = ", ".join(run.run_id for run in found[:5])
        raise UserError(f"several runs begin with '{wanted}'", code="AZD384", hint=hint)
    return found[0] if found else None


def new_run_id(pipeline: str) -> str:
    """An id for a run of ``pipeline`` that no other run has."""
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in pipeline.lower())
    return f"{letters[:40].strip('_') or 'run'}_{datetime.now(UTC):%Y%m%d%H%M%S}_{secrets.token_hex(3)}"
