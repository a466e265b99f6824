"""The folder of one try of a step, and what the step finds and leaves there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from azdistill import strict_json
from azdistill.errors import UserError
from azdistill.local.cache.entries import METRICS
from azdistill.local.outputs import manifest, mlflow_files
from azdistill.local.plan.steps import PlannedStep
from azdistill.local.run.listener import Record, is_record
from azdistill.local.store.durable_files import remove_tree
from azdistill.local.store.runs import clean
from azdistill.permissions import restrict
from azdistill.redact import redact


@dataclass(frozen=True, slots=True)
class Attempt:
    """The folder of one try of a step."""

    number: int
    folder: Path
    attempt_id: str

    @property
    def home(self) -> Path:
        """The state folder that it lies in: ``runs/<run>/steps/<step>/attempts/<number>``."""
        return self.folder.parents[5]

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot"

    @property
    def outputs(self) -> Path:
        return self.folder / "outputs"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def metrics(self) -> Path:
        return self.folder / METRICS

    @property
    def mlflow(self) -> Path:
        """Where a step logs to MLflow that is not to reach MLflow's own store, or not known to log at all."""
        return self.folder / "mlflow"


def make_places(step: PlannedStep, attempt: Attempt) -> dict[str, Path]:
    """Where the outputs of a step are written: the folders are made, the files are not."""
    attempt.outputs.mkdir()
    return {name: make_room(step, name, attempt.outputs / name) for name in step.outputs}


def make_room(step: PlannedStep, name: str, fresh: Path | None = None) -> Path:
    """Where output ``name`` of a step is written, with the folders that it needs: its own place, or else ``fresh``."""
    output = step.outputs[name]
    path = output.standing or fresh
    assert path
    try:
        (path.parent if manifest.is_file(output.kind) else path).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        message = f"step '{step.name}': output '{name}': {error.filename} is, or lies below, a file"
        raise UserError(message, code="AZD346", hint="give it a place of its own") from None
    return path


def restrict_attempt(step: PlannedStep, attempt: Attempt) -> None:
    """Take what a step whose command has ended might have left for others: set-user-ID programs and the like.

    Its outputs are made usable, whatever it did to their modes, and files of their own.
    """
    restrict(attempt.outputs, usable=True, apart=True)
    restrict(attempt.folder)
    for place in step.standing.values():
        # Where the user has put a link to another disk, folders are as the user made them.
        restrict(place, folders=place.resolve().is_relative_to(attempt.home.resolve()))


def append_logged(attempt: Attempt, known: Sequence[Record] = ()) -> None:
    """Add what a step logged to MLflow files to its metrics file, and what is ``known`` from elsewhere."""
    for path in mlflow_files.texts(attempt.mlflow):
        redact_file(path)
    logged = [*known, *(mlflow_files.records(attempt.mlflow) if attempt.mlflow.is_dir() else ())]
    if logged:
        with open(attempt.metrics, "a", encoding="utf-8") as file:
            file.writelines(strict_json.dumps(strict_json.exact(clean(record))) + "\n" for record in logged)


def strange(metrics: Path) -> list[str]:
    """What to say of lines of a metrics file that are no records, and so reach nobody."""
    try:
        lines = metrics.read_bytes().splitlines()
    except OSError:
        return []
    wrong = [number for number, line in enumerate(lines, 1) if line.strip() and not is_record(line)]
    if not wrong:
        return []
    told = f"{len(wrong)} line{'s' * (len(wrong) != 1)} of the metrics file passed over, the first is line {wrong[0]}"
    shown = lines[wrong[0] - 1][:200].decode("utf-8", "replace")
    return [f'{told}: {shown} (a record is {{"kind": "metric", "name": "loss", "value": 0.5, "step": 1}})']


def settle(metrics: Path) -> str:
    """Make the metrics file of a command that has ended fit to be kept: secrets are hidden, and its last line ends.

    What to say of a step that put something else in its place, which is removed; else an empty text.
    """
    if metrics.is_symlink() or (metrics.exists() and not metrics.is_file()):
        remove_tree(metrics)
        return "the command replaced the file of its metrics ($AZDISTILL_METRICS_FILE) by something that is no file"
    redact_file(metrics, end=True)
    return ""


def redact_file(path: Path, *, end: bool = False) -> None:
    """Hide secrets that a step wrote into a file of metrics, which is kept and sent on. Lines stay lines.

    ``end``: and give the last line its end.
    """
    if not path.is_file():
        return
    # Not by read_text, to which every kind of line end is one.
    before = path.read_bytes()
    text = before.decode("utf-8", "surrogateescape")
    after = "\n".join(map(_redact_line, text.split("\n"))).encode("utf-8", "surrogateescape")
    if end and after and not after.endswith(b"\n"):
        after += b"\n"
    if after != before:
        # Another file, in one go: what reads along knows by its inode that places in it have moved.
        beside = path.with_name(f".{path.name}.anew")
        beside.write_bytes(after)
        beside.replace(path)


def _redact_line(line: str) -> str:
    """A record without secrets is still one: a short secret is no reason to change its names and numbers."""
    try:
        record = json.loads(line)
        hidden = clean(record)
    except (ValueError, RecursionError):
        return redact(line)
    if not isinstance(record, dict):
        return redact(line)
    return redact(line if hidden == record else strict_json.dumps(strict_json.exact(hidden)), names=True)
