"""What the steps of a job print: read as it grows, only the new part, redacted and harmless for a terminal."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from azdistill.cloud.jobs.job import ENDED, Job, JobStep
from azdistill.cloud.jobs.run_history import History
from azdistill.cloud.jobs.storage import SignedFiles
from azdistill.cloud.workspace.errors import explain
from azdistill.redact import redact
from azdistill.terminal import harmless, telling

#: Where Azure ML keeps what a command prints, the newest layout first; then what happened before the command started.
_USER = (r"user_logs/std_log.*\.txt", r"logs/user/(?:stdout|stderr|error)/.*", r"azureml-logs/70_driver_log.*\.txt")
_BUILD = (
    r".*image_build_log.*\.txt",
    r"system_logs/.*error.*",
    r"azureml-logs/.*\.txt",
    r"logs/azureml/.*\.(?:txt|log)",
)
#: Of a step on several processes one log is followed: the first process's.
_FIRST_PROCESS = re.compile(r"user_logs/std_log\D*0*(?:_ps)?\.txt")
_PIECE = 1 << 20
#: Seconds between looks for a log that is listed and not there.
_MOVING = (0.1, 0.3, 0.6)
_LONGEST_LINE = 4000
#: How much of a failed step's log is looked at for what went wrong.
_END = 256 * 1024

OnLine = Callable[[str, str], None]


@dataclass(slots=True)
class _Open:
    """A log that is being read."""

    offset: int = 0
    line: str = ""
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))

    def take(self, piece: bytes) -> list[str]:
        """Take the next bytes; the lines that end in them."""
        self.offset += len(piece)
        *lines, self.line = (self.line + self.decoder.decode(piece)).split("\n")
        return lines


class LogTail:
    """Follows the logs of a job's steps; each call of :meth:`read` passes on what is new since the last.

    ``steps`` names the steps that are followed (all where None). The log of a reused step is an earlier run's and is
    passed over unless ``reused`` says otherwise.
    """

    def __init__(self, history: History, steps: Sequence[str] | None = None, *, reused: bool = False) -> None:
        self._history, self._steps, self._reused = history, steps, reused
        self._files: dict[tuple[str, str], _Open] = {}
        self._finished: set[str] = set()
        self._signed = SignedFiles()

    def read(self, job: Job, on_line: OnLine) -> int:
        """Pass on new lines; how many there were. Raises what azure-core raises; then nothing is lost or told twice."""
        count = 0
        for name, step in job.steps.items():
            for line in self._new_lines(step) if self._is_followed(name, step) else ():
                on_line(name, shown(line))
                count += 1
        return count

    def _is_followed(self, name: str, step: JobStep) -> bool:
        if not step.run_id or step.group or step.run_id in self._finished or (step.reused and not self._reused):
            return False
        return self._steps is None or any(name == each or name.startswith(f"{each}.") for each in self._steps)

    def _new_lines(self, step: JobStep) -> Iterator[str]:
        run_id = step.run_with_results
        for file, url in chosen(self._history.details(run_id).get("logFiles") or {}).items():
            log = self._files.setdefault((run_id, file), _Open())
            # Addresses run out; each answer brings fresh ones.
            while piece := _piece(self._signed, url, log.offset):
                yield from log.take(piece)
                if len(piece) < _PIECE:
                    break
        if step.status in ENDED:
            self._finished.add(step.run_id)
            # What no line break ends is a line too.
            logs = [log for (of, _), log in self._files.items() if of == run_id and log.line]
            yield from (line for log in logs for line in log.take(b"\n"))


def _piece(signed: SignedFiles, url: str, offset: int) -> bytes:
    """The next bytes of a log. One that is listed and not there yet, or being moved, is looked for again shortly."""
    from azure.core.exceptions import ResourceNotFoundError

    for pause in _MOVING:
        try:
            return signed.read(url, offset, offset + _PIECE)
        except ResourceNotFoundError:
            time.sleep(pause)
    return b""


def chosen(files: Mapping[str, str], *, every: bool = False) -> dict[str, str]:
    """Of a run's log files those that hold what its command printed, in order; ``every`` process's or the first's."""
    logs = _matching(files, _USER)
    first = next((name for name in logs if _FIRST_PROCESS.fullmatch(name)), None)
    return logs if every or first is None else {first: logs[first]}


def why(history: History, step: JobStep, limit: int = 5) -> list[str]:
    """The lines that say why a step failed: of its log, else of what happened before its command started, else what
    the service says.
    """
    with explain(f"reading the log of step {step.name}"):
        files = history.details(step.run_with_results).get("logFiles") or {}
        logs = chosen(files, every=True) or _matching(files, _BUILD)
        lines = [line for url in logs.values() for line in _end_of(url) if line.strip()]
    return [redact(line[:_LONGEST_LINE]) for line in (telling(lines, limit) or step.error.splitlines()[:limit])]


def shown(line: str) -> str:
    """A line of a log as a terminal may have it: the latest state of a progress bar, no secret, no control sequence."""
    line = line.rstrip("\r")
    return harmless(redact(line[line.rfind("\r") + 1 :]))[:_LONGEST_LINE]


def _matching(files: Mapping[str, str], patterns: Sequence[str]) -> dict[str, str]:
    for pattern in patterns:
        if matches := {name: url for name, url in sorted(files.items()) if re.fullmatch(pattern, name)}:
            return matches
    return {}


def _end_of(url: str) -> list[str]:
    """The lines at the end of a log; none where it has gone."""
    from azure.core.exceptions import ResourceNotFoundError

    signed = SignedFiles()
    try:
        content = signed.read(url, max(signed.size(url) - _END, 0))
    except ResourceNotFoundError:
        return []
    return [shown(line) for line in content.decode("utf-8", "replace").split("\n")]
