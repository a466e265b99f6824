"""Why a step ran again: the first field in which its key differs from that of an earlier run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from azdistill.local.cache.entries import Cache
from azdistill.local.cache.hashes import Hashes
from azdistill.local.cache.key import ResultKey, read_key, read_something_else
from azdistill.local.store.durable_files import digest
from azdistill.local.store.events import RunState, StepState
from azdistill.local.store.home import Home

#: The order in which fields are looked at: what people change on purpose comes first.
_ORDER = (
    *("command", "code", "inputs", "environment", "environment_variables", "variables", "outputs", "distribution"),
    *("interpreter", "version"),
)
#: How a difference is told whose path alone does not tell it: what went, and what came or changed.
_SENTENCES = {
    re.compile("variables/(.*)"): ("variable {} is not passed on any more", "variable {} is not what it was"),
    re.compile("code/(.*)/executable"): ("code: {} is not executable any more", "code: {} is executable now"),
    re.compile("inputs/([^/]+)/kind"): ("input {}: it is a {after} now",) * 2,
    re.compile("inputs/([^/]+)/name"): ("input {}: the file is called {after} now",) * 2,
    re.compile("inputs/([^/]+)/executable"): (
        "input {}: it is not executable any more",
        "input {}: it is executable now",
    ),
    re.compile("inputs/([^/]+)/executables/(.*)"): (
        "input {}: {} is not executable any more",
        "input {}: {} is executable now",
    ),
    re.compile("inputs/([^/]+)/empty/(.*)"): (
        "input {}: the empty folder {} is gone",
        "input {}: there is an empty folder {} now",
    ),
    re.compile("inputs/([^/]+)/others/(.*)"): ("input {}: {} is gone", "input {}: {} is {after} now"),
    # Of too many to name them.
    re.compile("inputs/([^/]+)/executables"): ("input {}: other files are executable now",) * 2,
    re.compile("inputs/([^/]+)/empty"): ("input {}: other folders are empty now",) * 2,
    re.compile("inputs/([^/]+)/others"): ("input {}: other things than files have come or gone",) * 2,
    re.compile("interpreter/contents/(.*)"): ("{} is not installed any more", "the installed {} is not what it was"),
    re.compile("interpreter/distributions"): ("what is installed is not what it was",) * 2,
    re.compile("version"): ("what counts is not what it was",) * 2,
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of two keys: ``path`` leads to it (``code/train.py``, ``inputs/rows``); None where it was absent."""

    path: str
    before: Any
    after: Any

    @property
    def said(self) -> str:
        """It as a sentence, without its end."""
        for pattern, sentence in _SENTENCES.items():
            if match := pattern.fullmatch(self.path):
                return sentence[self.after is not None].format(*match.groups(), after=self.after)
        return f"{self.path} is not what it was"

    def as_json(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {"field": self.path, "before": self.before, "after": self.after}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a step of a run did, why, and against which earlier run that was found out."""

    run_id: str
    step: str
    status: str
    reason: str
    compared_with: str | None
    differences: list[Difference]

    def as_json(self) -> dict[str, Any]:
        """The object that ``azdistill explain --json`` prints."""
        return {**asdict(self), "differences": [difference.as_json() for difference in self.differences]}


def explain(home: Home, run: RunState, step: str, runs: Sequence[RunState]) -> Explanation:
    """Why ``step`` of ``run`` was run or reused. ``step`` must be one of the run's; ``runs`` are all, newest first."""
    state = run.steps[step]

    def because(reason: str, earlier: str | None = None, differences: list[Difference] | None = None) -> Explanation:
        return Explanation(run.run_id, step, state.status, reason, earlier, differences or [])

    if state.status == "skipped" and state.detail:
        return because(f"it did not run: {state.detail}")
    if state.status in ("pending", "skipped") or (state.status == "canceled" and not state.attempts):
        return because("it did not run")
    if state.status == "failed" and not state.started:
        return because(f"it failed before it was started: {state.error}")
    key = read_key(home, run, step)
    if state.status == "cached":
        maker = _maker(home, state)
        return because(f"reused: nothing it depends on has changed since {maker}", maker)
    if key is None:
        return because("it runs every time: is_deterministic is false, or force_rerun or --no-cache was asked for")
    before = [earlier for earlier in runs if earlier.order < run.order]
    reason, earlier, changes = against(home, last_alike(home, before, run.pipeline, step), step, key, state.key)
    return because(reason, earlier, changes)


def against(
    home: Home, earlier: RunState | None, step: str, key: ResultKey, digest: str | None
) -> tuple[str, str | None, list[Difference]]:
    """Why a step with this ``key``, in which secrets are hidden, is run, seen from an earlier run: the reason, that
    run's id, what differs. ``digest`` is of the key as it is, where it is known.
    """
    if earlier is None:
        return "it had not run before", None, []
    before = read_key(home, earlier, step) or ResultKey({})
    changes = differences(before.fields, key.fields) if before.digest != key.digest else []
    earlier_digest = earlier.steps[step].key
    if changes:
        reason = changes[0].said
    elif digest and earlier_digest and digest != earlier_digest:
        reason = "a secret that it is handed is not what it was"
    elif earlier.steps[step].status not in ("completed", "cached"):
        reason = f"nothing it depends on has changed, but it did not succeed in {earlier.run_id}"
    elif read_something_else(earlier, step):
        read = "an input, or what is installed, was changed while it ran"
        reason = f"{read} in {earlier.run_id}, so that its result was not kept"
    else:
        reason = "nothing it depends on has changed, but what it had made is not kept any more"
    return reason, earlier.run_id, changes


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Every field in which two keys differ, the most telling first; a list of texts by the ones that went and came.

    Of keys that another version made the version alone: their fields mean something else.
    """
    if None is not before.get("version") != after.get("version"):
        return [Difference("version", before["version"], after.get("version"))]
    names = [*_ORDER, *sorted((before.keys() | after.keys()) - set(_ORDER))]
    return [difference for name in names for difference in _compare(name, before.get(name), after.get(name))]


def _compare(path: str, before: Any, after: Any) -> list[Difference]:
    if before == after:
        return []
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        # Of a folder in the place of a file all is another.
        if None not in (before.get("kind"), after.get("kind")) and before["kind"] != after["kind"]:
            return [Difference(f"{path}/kind", before["kind"], after["kind"])]
        # The digest of a content says nothing that the name of its input does not.
        return [
            difference
            for key in sorted(before.keys() | after.keys())
            for difference in _compare(f"{path}/{key}", before.get(key), after.get(key))
        ]
    if isinstance(before, list) and isinstance(after, list):
        gone, came = [x for x in before if x not in after], [x for x in after if x not in before]
        return [Difference(path, ", ".join(map(str, gone)) or None, ", ".join(map(str, came)) or None)]
    return [Difference(path.removesuffix("/content").removesuffix("/value"), before, after)]


def last_alike(home: Home, runs: Sequence[RunState], pipeline: str, step: str) -> RunState | None:
    """Of ``runs``, newest first, the first of a pipeline of this name in which the step had a key."""
    alike = (run for run in runs if run.pipeline == pipeline and step in run.steps)
    return next((run for run in alike if read_key(home, run, step) is not None), None)


def _maker(home: Home, state: StepState) -> str:
    with closing(Hashes(home.hashes, looking=True)) as hashes:
        entry = Cache(home, looking=True, hash_of=hashes.file).find(state.key) if state.key else None
    return str(entry.about().get("run_id", "an earlier run")) if entry else "an earlier run"


def short_value(value: Any) -> str:
    """A value of a key for people: hashes by their first letters, nothing as a dash."""
    if value is None:
        return "-"
    text = str(value) if isinstance(value, str | int | float | bool) else digest(value)
    is_hash = len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)
    return f"sha256 {text[:12]}" if is_hash else text
