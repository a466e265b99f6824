"""All code of a run, taken into the run before its first step starts: an edit while it goes on changes nothing.

What a run has taken is listed in ``code.json`` in its folder. A run that is resumed takes its code anew, and says what
has changed since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from azdistill.errors import MachineError, UserError
from azdistill.local import in_step
from azdistill.local.cache.code_store import CodeStore, store_lock
from azdistill.local.cache.hashes import Hashes
from azdistill.local.plan.steps import PlannedStep
from azdistill.local.run.code_record import as_record, changes, read_record, write_record
from azdistill.local.run.run_code import CodeFile, RunCode, Sources, StepCode, scripts_of, sources_of, take_code
from azdistill.local.store.durable_files import disk_errors
from azdistill.local.store.home import Home
from azdistill.snapshot import Snapshot
from azdistill.trees import Stat, stat_of, walk_files

#: How often code that is written while it is copied is copied again.
_ROUNDS = 5
#: Bytes; code that is larger takes a moment to copy.
_LARGE = 100_000_000


def take_all(
    home: Home,
    hashes: Hashes,
    folder: Path,
    steps: Iterable[PlannedStep],
    say: Callable[[str], None],
    listed: Mapping[Sources, Snapshot] = MappingProxyType({}),
) -> tuple[RunCode, list[str]]:
    """Take the code of ``steps`` into the run in ``folder``; and what is to be told of that, a line each.

    ``say`` hears of code that takes long to copy, before it does; ``listed``: the files of code, where they were looked
    for just now.
    """
    by_sources: dict[Sources, list[PlannedStep]] = {}
    for step in steps:
        by_sources.setdefault(sources_of(step), []).append(step)
    firsts = {sources: sharing[0] for sources, sharing in by_sources.items()}
    with disk_errors(f"cannot keep the code of the run in {home.code}"), store_lock(home, shared=True):
        taking = _Taking(home, hashes, say)
        try:
            codes = taking.take(firsts, {sources: _listing(firsts[sources], code) for sources, code in listed.items()})
            scripts = taking.take_scripts(step for sharing in by_sources.values() for step in sharing)
        finally:
            taking.close()
        before = read_record(folder)
        records = {sources: as_record(code) for sources, code in codes.items()}
        record = {step.name: records[sources] for sources, sharing in by_sources.items() for step in sharing}
        write_record(folder, {**before, **record})
    return RunCode(codes, scripts), [*taking.notes, *changes(before, record)]


@dataclass(frozen=True, slots=True)
class _Listing:
    """What is to be copied: the files by name, and of each archive those to be zipped."""

    files: Mapping[str, Path]
    archives: Mapping[str, Mapping[str, Path]]

    def paths(self) -> list[Path]:
        members = (path for files in self.archives.values() for path in files.values())
        return [*self.files.values(), *members]


def _listing(step: PlannedStep, code: Snapshot | None = None) -> _Listing:
    code = code or take_code(step)
    try:
        return _Listing(code.files, {name: dict(walk_files(folder)) for name, folder in code.zipped.items()})
    except FileNotFoundError as error:
        raise UserError(f"step '{step.name}': {error.filename} is not there any more", code="AZD320") from None


#: A copy, with what stat said of its original before; None for what vanished before it was copied.
_Copy = tuple[Stat, CodeFile] | None


class _Taking:
    def __init__(self, home: Home, hashes: Hashes, say: Callable[[str], None]) -> None:
        self._store = CodeStore(home, hashes, self._copying)
        self._home, self._say = home, say
        self.notes: list[str] = []
        self._name, self._listing, self._bytes = "", _Listing({}, {}), 0

    def take(self, steps: Mapping[Sources, PlannedStep], listings: dict[Sources, _Listing]) -> dict[Sources, StepCode]:
        """The code of a step of each kind, all of it as it was at one time."""
        for round_ in range(1, _ROUNDS + 1):
            listings = {sources: listings.get(sources) or _listing(step) for sources, step in steps.items()}
            copies: dict[Path, _Copy] = {}
            for sources, step in steps.items():
                copies |= self._copies(step, listings[sources])
            changed = [path for path, copy in copies.items() if copy is None or not _is(path, copy[0])]
            before, listings = listings, self._list_again(steps, is_last=round_ == _ROUNDS)
            if before == listings and not changed:
                break
        else:
            self._tell_of_changes(copies, changed)
        files = {path: copy[1] for path, copy in copies.items() if copy}
        return {sources: _code(listing, files) for sources, listing in before.items()}

    def _copies(self, step: PlannedStep, listing: _Listing) -> dict[Path, _Copy]:
        self._name, self._listing, self._bytes = step.name, listing, 0
        with disk_errors(f"the code of step '{step.name}' cannot be copied to {self._home.code}"):
            return {path: self._copy(step.name, path) for path in listing.paths()}

    def _list_again(self, steps: Mapping[Sources, PlannedStep], *, is_last: bool) -> dict[Sources, _Listing]:
        listings: dict[Sources, _Listing] = {}
        for sources, step in steps.items():
            try:
                with disk_errors(f"step '{step.name}'"):
                    listings[sources] = _listing(step)
            except UserError:
                # What was removed just now may have been replaced when it is looked for again.
                if is_last:
                    raise
        return listings

    def _tell_of_changes(self, copies: Mapping[Path, _Copy], changed: Sequence[Path]) -> None:
        """Say that code was written all the time. UserError AZD320 where some of it has no copy."""
        if lost := next((path for path, copy in copies.items() if copy is None), None):
            hint = "run it again when what writes there has ended"
            raise UserError(f"code vanishes while it is copied: {lost}", code="AZD320", hint=hint)
        name = changed[0] if changed else "the code"
        self.notes.append(f"{name} is written all the time: the run has taken what was there")

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
            shares = [(name, count) for name, count in sizes.most_common(3) if count * 10 >= sizes.total()]
            largest = ", ".join(f"{name} {_size(count)}" for name, count in shares)
            self._say(f"{text} ({largest}): what the step does not need can be named in .amlignore")

    def _copy(self, step: str, path: Path) -> _Copy:
        try:
            return self._store.copy(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            if error.filename != str(path):
                raise
            if not isinstance(error, PermissionError):
                return None
            message = f"step '{step}': {path} cannot be read: {error.strerror}"
            hint = "let yourself read it, or name it in .amlignore"
            raise MachineError(message, code="AZD310", hint=hint) from error


def _code(listing: _Listing, files: Mapping[Path, CodeFile]) -> StepCode:
    def copied(names: Mapping[str, Path]) -> dict[str, CodeFile]:
        return {name: files[path] for name, path in names.items()}

    return StepCode(copied(listing.files), {name: copied(members) for name, members in listing.archives.items()})


def _is(path: Path, before: Stat) -> bool:
    try:
        return stat_of(path.stat()) == before
    except (FileNotFoundError, NotADirectoryError):
        return False


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
