"""All code of a run, taken into the run before its first step starts: an edit while it goes on changes nothing.

What a run has taken is listed in ``code.json`` in its folder. A run that is resumed takes its code anew, and says what
has changed since.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.errors import MachineError, UserError
from azdistill.local import in_step
from azdistill.local.cache.code_store import CodeStore, store_lock
from azdistill.local.cache.hashes import Hashes
from azdistill.local.plan.steps import PlannedStep
from azdistill.local.run.run_code import CodeFile, RunCode, Sources, StepCode, scripts_of, sources_of, take_code
from azdistill.local.store.durable_files import disk_errors
from azdistill.local.store.home import Home
from azdistill.snapshot import Snapshot
from azdistill.trees import Stat, digest, stat_of, walk_files

FILE = "code.json"
#: How often code that is written while it is copied is copied again.
_ROUNDS = 5
_SHOWN = 3
#: Bytes; code that is larger takes a moment to copy.
_LARGE = 100_000_000

Record = Mapping[str, Any]


def take_all(
    home: Home, hashes: Hashes, folder: Path, steps: Iterable[PlannedStep], say: Callable[[str], None]
) -> tuple[RunCode, list[str]]:
    """Take the code of ``steps`` into the run in ``folder``; and what is to be told of that, a line each.

    ``say`` hears of code that takes long to copy, before it does.
    """
    by_sources: dict[Sources, list[PlannedStep]] = {}
    for step in steps:
        by_sources.setdefault(sources_of(step), []).append(step)
    with disk_errors(f"cannot keep the code of the run in {home.code}"), store_lock(home, shared=True):
        taking = _Taking(home, hashes, say)
        try:
            codes = {sources: taking.take(sharing) for sources, sharing in by_sources.items()}
            scripts = taking.take_scripts(step for sharing in by_sources.values() for step in sharing)
        finally:
            taking.close()
        before = read_record(folder)
        records = {sources: _as_record(code) for sources, code in codes.items()}
        record = {step.name: records[sources] for sources, sharing in by_sources.items() for step in sharing}
        _write_record(folder, {**before, **record})
    return RunCode(codes, scripts), [*taking.notes, *_changes(before, record)]


class _Taking:
    def __init__(self, home: Home, hashes: Hashes, say: Callable[[str], None]) -> None:
        self._store = CodeStore(home, hashes, self._copying)
        self._home, self._say = home, say
        self.notes: list[str] = []
        self._bytes = 0
        self._listing = Snapshot({}, {})
        self._name = ""

    def take(self, steps: list[PlannedStep]) -> StepCode:
        """The code that ``steps`` share, all of it as it was at one time."""
        name = steps[0].name
        with disk_errors(f"the code of step '{name}' cannot be copied to {self._home.code}"):
            listing = take_code(steps[0])
            self._name, self._listing, self._bytes = name, listing, 0
            for _ in range(_ROUNDS):
                copies = {path: self._copy(name, path) for path in _paths(listing)}
                before, listing = listing, take_code(steps[0])
                changed = [path for path, copy in copies.items() if copy is None or not _is(path, copy[0])]
                if before == listing and not changed:
                    break
        lost = next((path for path, copy in copies.items() if copy is None), None)
        if lost:
            hint = "run it again when what writes there has ended"
            raise UserError(f"step '{name}': {lost} comes and goes while it is copied", code="AZD320", hint=hint)
        if changed:
            self.notes.append(f"step '{name}': {changed[0]} is written all the time: the run has what was there")
        files = {path: copy[1] for path, copy in copies.items() if copy}
        return StepCode(
            {name: files[path] for name, path in before.files.items()},
            {
                archive: {name: files[path] for name, path in walk_files(folder) if path in files}
                for archive, folder in before.zipped.items()
            },
        )

    def take_scripts(self, steps: Iterable[PlannedStep]) -> StepCode:
        """The scripts of ours that ``steps`` need."""
        names = {name for step in steps for name in scripts_of(step)}
        place = Path(in_step.__file__)
        return StepCode({name: self._store.copy(place.with_name(name))[1] for name in sorted(names)})

    def close(self) -> None:
        self._store.close()

    def _copying(self, path: Path, size: int) -> None:
        """Say so where much is copied: most often it is data that lies beside the code."""
        before, self._bytes = self._bytes, self._bytes + size
        if before < _LARGE <= self._bytes:
            sizes = Counter[str]()
            for name, file in self._listing.files.items():
                sizes[name.partition("/")[0] + "/" * ("/" in name)] += file.stat().st_size if file.exists() else 0
            text = f"step '{self._name}': its code is {_size(sizes.total())} in {len(self._listing.files)} files"
            largest = ", ".join(f"{name} {_size(count)}" for name, count in sizes.most_common(2))
            self._say(f"{text} ({largest}): what the step does not need can be named in .amlignore")

    def _copy(self, step: str, path: Path) -> tuple[Stat, CodeFile] | None:
        try:
            return self._store.copy(path)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            if error.filename != str(path):
                raise
            message = f"step '{step}': {path} cannot be read: {error.strerror}"
            hint = "let yourself read it, or name it in .amlignore"
            raise MachineError(message, code="AZD310", hint=hint) from error


def _paths(listing: Snapshot) -> Iterator[Path]:
    yield from listing.files.values()
    for folder in listing.zipped.values():
        yield from (path for _, path in walk_files(folder))


def _is(path: Path, before: Stat) -> bool:
    try:
        return stat_of(path.stat()) == before
    except FileNotFoundError:
        return False


def _as_record(code: StepCode) -> Record:
    archives = {
        name: {member: file.sha256 for member, file in members.items()} for name, members in code.archives.items()
    }
    return {"code": code.fields(), "archives": archives}


def _write_record(folder: Path, records: Mapping[str, Record]) -> None:
    """Write down the code of each step, once where steps share it."""
    names = {id(record): digest(record) for record in records.values()}
    document = {
        "steps": {step: names[id(record)] for step, record in records.items()},
        "code": {names[id(record)]: record for record in records.values()},
    }
    (folder / FILE).write_text(strict_json.dumps(document, ensure_ascii=False), encoding="utf-8")


def read_record(folder: Path) -> dict[str, Record]:
    """What the run in ``folder`` has taken, by step; of a run of an earlier version nothing is known."""
    try:
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {step: document["code"][name] for step, name in document["steps"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _changes(before: Mapping[str, Record], after: Mapping[str, Record]) -> list[str]:
    """A line for each code that is not what it was."""
    steps: dict[tuple[str, ...], list[str]] = {}
    for step in (step for step in after if step in before):
        earlier, now = before[step]["code"], after[step]["code"]
        fields = sorted(name for name in earlier.keys() | now.keys() if earlier.get(name) != now.get(name))
        if names := tuple(dict.fromkeys(name.removesuffix("/executable") for name in fields)):
            steps.setdefault(names, []).append(step)
    return [
        f"the code of {_listed(sharing)} has changed since the run took it: {_listed(names)}"
        for names, sharing in steps.items()
    ]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
