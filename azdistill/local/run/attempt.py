"""The attempts of a step: what one finds in its folder, prints and leaves there, and which of them still count."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from azdistill import strict_json
from azdistill.aml.models import ARTIFACTS
from azdistill.errors import UserError
from azdistill.local.cache.entries import METRICS
from azdistill.local.cache.key import ResultKey, same_key
from azdistill.local.outputs import manifest, mlflow_files
from azdistill.local.outputs.manifest import MANIFEST, Hash, Manifest
from azdistill.local.plan.steps import PlannedStep
from azdistill.local.run.listener import Record, read_record
from azdistill.local.store.durable_files import make_read_only, remove_tree, walk_files
from azdistill.permissions import copy_file, restrict
from azdistill.redact import clean, has_words, longest, redact
from azdistill.terminal import harmless

#: What Azure ML keeps of every job beside its outputs; the folders are there when it starts.
ARTIFACT_FOLDERS = ("outputs", "logs")
#: A line longer than this is cut on the terminal; the log has all of it.
_LONGEST_LINE = 4000
#: A longer run of text without a blank holds no word to wait for.
_LONGEST_WORD = 200


@dataclass(frozen=True, slots=True)
class Attempt:
    """The folder of one try of a step."""

    folder: Path

    @property
    def number(self) -> int:
        return int(self.folder.name)

    @property
    def home(self) -> Path:
        """The state folder that it lies in: ``runs/<run>/steps/<step>/attempts/<number>``."""
        return self.folder.parents[5]

    @property
    def attempt_id(self) -> str:
        """The id of the job that it is, which no other run has."""
        run, step = self.folder.parents[3].name, self.folder.parents[1].name
        return f"{run}.{step}.{self.number}"

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

    def make_places(self, step: PlannedStep) -> dict[str, Path]:
        """Where the outputs of a step are written: the folders are made, the files are not."""
        self.outputs.mkdir()
        return {name: make_room(step, name, self.outputs / name) for name in step.outputs}

    def discard(self) -> None:
        """Remove it: its command was never started."""
        self.remove_own_places()
        remove_tree(self.folder)

    def drop_outputs(self, step: PlannedStep) -> bool:
        """Make room on a full disk: remove what it wrote without succeeding; whether it was removed.

        What a parallel step has kept of its mini-batches stays: without it nothing would ever be done.
        """
        if step.parallel or (self.folder / MANIFEST).exists() or self.outputs.is_symlink():
            return False
        if self.outputs.is_dir():
            remove_tree(self.outputs)
        return True

    @property
    def own_places(self) -> Path:
        """Where its home and its folder for temporary files lie, beside those of the run's other steps."""
        return self.folder.parents[3] / "own" / f"{self.folder.parents[1].name}.{self.number}"

    def make_own_places(self) -> tuple[Path, Path]:
        """A home and a folder for temporary files, both empty: what other steps and the user keep in theirs is in no
        key.
        """
        places = self.own_places
        home, temporary = places / "home", places / "tmp"
        places.mkdir(parents=True)
        home.mkdir()
        temporary.mkdir()
        return home, temporary

    def remove_own_places(self) -> None:
        """Nobody looks for anything there once the command has ended."""
        # What escaped its step may still write there; it would be no reason to lose what the step made.
        with contextlib.suppress(OSError):
            remove_tree(self.own_places)

    def restrict(self, step: PlannedStep) -> None:
        """Take what a step whose command has ended might have left for others: set-user-ID programs and the like.

        Its outputs are made usable, whatever it did to their modes, and files of their own.
        """
        self.remove_own_places()
        restrict(self.outputs, usable=True, apart=True)
        restrict(self.folder)
        for place in step.standing.values():
            # Where the user has put a link to another disk, folders are as the user made them.
            restrict(place, folders=place.resolve().is_relative_to(self.home.resolve()))

    def append_logged(self, records: Sequence[Record] = ()) -> None:
        """Add what a step logged to MLflow files to its metrics file, and these ``records`` of it from elsewhere."""
        for path in mlflow_files.texts(self.mlflow):
            redact_file(path)
        logged = [*records, *(mlflow_files.records(self.mlflow) if self.mlflow.is_dir() else ())]
        if logged:
            with open(self.metrics, "a", encoding="utf-8") as file:
                file.writelines(strict_json.dumps(strict_json.exact(clean(record))) + "\n" for record in logged)

    def make_artifact_folders(self) -> None:
        """Make the folders beside a step's code, unless the code has such a name itself."""
        for name in ARTIFACT_FOLDERS:
            if not (self.snapshot / name).exists():
                (self.snapshot / name).mkdir()

    def fill_artifacts(self, step: PlannedStep, paths: Mapping[str, Path], *, follow: bool) -> None:
        """Give a step's output ``artifacts`` what the folders hold, as Azure ML does, unless the step wrote it itself.

        Links are kept as links unless it is safe to ``follow`` them (see :mod:`azdistill.local.outputs.manifest`).
        """
        output = paths.get(ARTIFACTS)
        if output is None or step.outputs[ARTIFACTS].standing or not output.is_dir() or any(output.iterdir()):
            return
        for name in ARTIFACT_FOLDERS:
            folder = self.snapshot / name
            if folder.is_dir() and (follow or not folder.is_symlink()):
                shutil.copytree(folder, output / name, symlinks=not follow, copy_function=copy_file)
                # The modes of folders are taken over.
                restrict(output / name, usable=True)

    def previous(self) -> Mapping[str, str]:
        """The variable that leads a step to what its previous attempt wrote (docs/contributing/local-runner.md).

        That is the last one before this that wrote anything, where it did not succeed. It is none where it was made of
        other code or data: its journal would answer another question.
        """
        for number in range(self.number - 1, 0, -1):
            last = self.folder.parent / str(number)
            outputs = last / "outputs"
            if (last / MANIFEST).exists() or outputs.is_symlink():
                return {}
            if outputs.is_dir() and next(walk_files(outputs), None):
                if not same_key(last, self.folder):
                    return {}
                make_read_only(outputs)
                return {"AZDISTILL_PREVIOUS_ATTEMPT": str(outputs)}
        return {}


def new_attempt(run_folder: Path, step: str) -> Attempt:
    """The folder of one more attempt of a step. Earlier ones are left as a runner should leave them."""
    folder = run_folder / "steps" / step / "attempts"
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    for earlier in attempts(run_folder, step):
        number = max(number, 1 + int(earlier.name))
        # A runner that was killed has hidden nothing in what the step wrote, nor looked at its modes.
        Attempt(earlier).remove_own_places()
        restrict(earlier)
        redact_file(earlier / METRICS)
    (folder / str(number)).mkdir()
    return Attempt(folder / str(number))


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


def strange(metrics: Path) -> list[str]:
    """What to say of lines of a metrics file that are no records, and so reach nobody."""
    try:
        lines = metrics.read_bytes().splitlines()
    except OSError:
        return []
    wrong = [number for number, line in enumerate(lines, 1) if line.strip() and not read_record(line)]
    if not wrong:
        return []
    summary = (
        f"{len(wrong)} line{'s' * (len(wrong) != 1)} of the metrics file passed over, the first is line {wrong[0]}"
    )
    first_line = lines[wrong[0] - 1][:200].decode("utf-8", "replace")
    return [f'{summary}: {first_line} (a record is {{"kind": "metric", "name": "loss", "value": 0.5, "step": 1}})']


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
        fresh = path.with_name(f".{path.name}.anew")
        fresh.write_bytes(after)
        fresh.replace(path)


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


def attempts(run_folder: Path, step: str) -> Iterator[Path]:
    """The folders of a step's attempts, the newest first."""
    folder = run_folder / "steps" / step / "attempts"
    numbers = [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    for number in sorted(numbers, reverse=True):
        yield folder / str(number)


def finished(run_folder: Path, step: PlannedStep, key: ResultKey, hash_of: Hash) -> tuple[Path, Manifest] | None:
    """The attempt of this run that succeeded with this very key, if its outputs are what it wrote."""
    names = [name for name, output in step.outputs.items() if not output.standing]
    for attempt in attempts(run_folder, step.name):
        manifest = Manifest.read(attempt)
        if not manifest or not key.is_of(attempt):
            continue
        if manifest.matches(outputs_of(attempt, names), hash_of) and manifest.holds(step.in_place, hash_of):
            return attempt, manifest
    return None


def outputs_of(attempt: Path, names: list[str]) -> dict[str, Path]:
    """Where the outputs of an attempt lie, those that went into the cache by their place there."""
    outputs = (attempt / "outputs").resolve()
    return {name: outputs / name for name in names}


class LogWriter:
    """Takes a step's output in pieces of any size; a context manager. ``on_line`` gets each finished line, harmless.

    Text that may be the beginning of a secret is held back until the rest has come.
    """

    def __init__(self, path: Path, on_line: Callable[[str], None]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        # Bytes that are no UTF-8 reach the log as they came.
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._held = ""
        self._line = ""
        self._on_line = on_line

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""
        self._held += self._decode(chunk)
        cut = self._safe_cut()
        self._write(redact(self._held[:cut]))
        self._held = self._held[cut:]

    def note(self, line: str) -> None:
        """Add a line of the runner's own."""
        self._flush()
        self._write(f"[azdistill] {redact(line)}\n")

    def close(self) -> None:
        """Write what was held back."""
        self._flush()
        if self._line:
            self._show()
        # The next file that is opened gets this number: a thread that still reads must not write into that.
        file, self._file = self._file, -1
        os.close(file)

    def _flush(self) -> None:
        self._held += self._decode(b"", final=True)
        self._write(redact(self._held))
        self._held = ""

    def _safe_cut(self) -> int:
        pending, longest_word = self._held, longest()
        # Every line of a secret is registered by itself, so a line that has ended holds no half of one.
        cut = max(len(pending) - max(longest_word - 1, 0), pending.rfind("\n") + 1)
        redacted = redact(pending)
        start = cut
        while cut > 0 and not (
            self._is_between_words(cut, start) and redact(pending[:cut]) + redact(pending[cut:]) == redacted
        ):
            cut -= 1
        return cut

    def _is_between_words(self, cut: int, start: int) -> bool:
        """Whether what begins at ``cut`` can be looked at without what stands before it, where words are hidden."""
        return not has_words() or self._held[cut - 1].isspace() or start - cut > _LONGEST_WORD

    def _write(self, text: str) -> None:
        if not text:
            return
        data = memoryview(text.encode("utf-8", "surrogateescape"))
        while data:
            data = data[os.write(self._file, data) :]
        *lines, last = (self._line + text).split("\n")
        for line in lines:
            self._line = line
            self._show()
        # A progress bar rewrites its line: only its latest state is kept.
        self._line = last[last.rstrip("\r").rfind("\r") + 1 :][-_LONGEST_LINE:]

    def _show(self) -> None:
        line = self._line.rstrip("\r")
        # Once more: a secret with a control sequence in it is whole only now.
        self._on_line(redact(harmless(line[line.rfind("\r") + 1 :]))[:_LONGEST_LINE])
        self._line = ""
