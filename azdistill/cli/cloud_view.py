"""What a person sees of a run on Azure: the local run's table and lines, in the states that the service knows."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from azdistill.cli.board import Board, Row, duration
from azdistill.cloud.jobs.follow import FollowListener, Job, JobStep

_STATES = {
    **{"NotStarted": "pending", "Queued": "queued", "Preparing": "preparing", "Provisioning": "preparing"},
    **{"Starting": "preparing", "Running": "running", "Finalizing": "finalizing", "CancelRequested": "canceling"},
    **{"Completed": "completed", "Failed": "failed", "Canceled": "canceled"},
}


def state_of(step: JobStep, job: Job | None = None) -> str:
    """A step's state in the words of a local run; of a run that has ended, what never began was skipped."""
    if step.reused and step.status == "Completed":
        return "reused"
    if step.status == "NotStarted" and job is not None and job.has_ended:
        return "skipped"
    return _STATES.get(step.status, step.status.lower())


class CloudView(FollowListener):
    """A listener that shows; a context manager."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> CloudView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, text: str) -> None:
        """Show a line."""
        print(text, file=self._stream, flush=True)

    def trouble(self, text: str) -> None:
        """The service does not answer."""
        self.say(f"waiting: {text}")


class PlainCloudView(CloudView):
    """One line per thing that happens, for pipes and log files."""

    def started(self, job: Job) -> None:
        self.say(f"run {job.name}: {len(job.steps)} step{'s' * (len(job.steps) != 1)}, {job.status.lower()}")

    def step_changed(self, step: JobStep) -> None:
        ended = step.status in ("Completed", "Failed") and step.seconds is not None and not step.reused
        self.say(f"{step.name}: {state_of(step)}" + (f" in {duration(step.seconds or 0.0)}" if ended else ""))

    def line(self, step: str, text: str) -> None:
        self.say(f"{step} | {text}")

    def ended(self, job: Job) -> None:
        for line in step_lines(job):
            self.say(line)


class LiveCloudView(CloudView):
    """The table, drawn anew four times a second."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._board = Board(stream)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.stop()

    def say(self, text: str) -> None:
        self._board.print(text)

    def started(self, job: Job) -> None:
        self._board.start(f"{job.experiment}  ({job.name})", job.steps)

    def step_changed(self, step: JobStep) -> None:
        self._board.show(step.name, _row(step))

    def line(self, step: str, text: str) -> None:
        self._board.line(step, text)

    def ended(self, job: Job) -> None:
        for step in job.steps.values():
            self._board.show(step.name, _row(step, job))
        self._board.stop()
        self._board.print_table()


def make_cloud_view(*, to_stderr: bool) -> CloudView:
    """The view for this terminal."""
    stream = sys.stderr if to_stderr else sys.stdout
    return LiveCloudView(stream) if stream.isatty() else PlainCloudView(stream)


def step_lines(job: Job) -> list[str]:
    """A table of the steps: state, time, compute, and which run's results were reused."""
    rows = [
        (name, state_of(step, job), _time(step), step.compute, f"of {step.reused_from}" if step.reused_from else "")
        for name, step in job.steps.items()
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return [
        "  ".join([" ", *(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()[1:]
        for row in rows
    ]


def _time(step: JobStep) -> str:
    if step.reused or step.started is None:
        return ""
    return duration(step.seconds if step.seconds is not None else max(time.time() - step.started, 0.0))


def _row(step: JobStep, job: Job | None = None) -> Row:
    state = state_of(step, job)
    # The board counts by a clock that starts at any moment; the service says when it was.
    began = time.monotonic() - (time.time() - step.started) if step.started is not None else time.monotonic()
    return Row(state, began, step.seconds or 0.0)
