"""What a step's result depends on, made here and nowhere else: the fields whose hash is its key in the cache.

Contents count, places do not: no path, run id or time is in a key, and no secret. Of the variables that a step sees it
has keyed hashes (:mod:`azdistill.local.run.environment`). The fields stand in the folder of each attempt as well, so
that a later run can be explained against it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.aml.models import Environment
from azdistill.errors import UserError
from azdistill.local.cache.hashes import Hashes
from azdistill.local.plan.steps import Bound, Local, PlannedStep, StepOutput, Text
from azdistill.local.run.context import PlanContext
from azdistill.local.run.result import Result, settled, text_of
from azdistill.local.store.durable_files import digest
from azdistill.local.store.events import RunState
from azdistill.local.store.home import Home
from azdistill.redact import clean
from azdistill.trees import shape_of

#: Raised when keys come to mean something else, so that no entry of an earlier version is taken.
VERSION = 2
#: So many files of an input are named where one word is said of each.
_MOST_NAMED = 100
#: Of a result that goes into the cache; of one that only its own run, resumed, may ever use again.
_FILE, _OWN_FILE = "key.json", "own-key.json"
#: In the folder of an attempt of which nobody knows (yet) that its inputs stayed as they were: a hash of their stamps.
_UNCONFIRMED = "unconfirmed-inputs"
#: In place of that hash, once it is known that they did not.
_CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class ResultKey:
    """All that the result of a step depends on."""

    fields: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """The name of its entry in the cache (sha256, hex)."""
        return digest(self.fields)

    def as_stored(self) -> ResultKey:
        """What is kept of it: secrets are hidden in its fields."""
        return ResultKey(clean(self.fields))

    def write(self, attempt: Path, *, reusable: bool = True, stamps: Any = None) -> None:
        """Keep the fields in the folder of an attempt. Secrets are in none of them, and are hidden all the same.

        ``reusable``: the result goes into the cache. ``stamps``: what stat said of its inputs before they were hashed;
        until :meth:`confirm` nobody takes it for granted that the attempt read just that.
        """
        if stamps:
            (attempt / _UNCONFIRMED).write_text(digest(stamps), encoding="utf-8")
        # Not worth a wait for the disk: half a file, after a power cut, is read as none.
        file = attempt / (_FILE if reusable else _OWN_FILE)
        file.write_text(strict_json.dumps(clean(self.fields), ensure_ascii=False), encoding="utf-8")

    def content(self, name: str) -> str | None:
        """The hash of what an input holds, where it is data."""
        content: str | None = self.fields["inputs"].get(name, {}).get("content")
        return content

    def is_of(self, attempt: Path) -> bool:
        """Whether an attempt was made with exactly these fields."""
        if (attempt / _UNCONFIRMED).exists():
            return False
        fields = json.loads(strict_json.dumps(clean(self.fields)))
        return fields in (_read(attempt / _FILE), _read(attempt / _OWN_FILE))


def key_of(context: PlanContext, step: PlannedStep, results: Mapping[str, Result]) -> ResultKey:
    """What the result of a step depends on, with what the steps before it came to."""
    return result_key(context, settled(step, results, context.plan), results)


def result_key(context: PlanContext, step: PlannedStep, results: Mapping[str, Result]) -> ResultKey:
    """The key of a step all of whose inputs are known (:func:`azdistill.local.run.result.settled`).

    Raises UserError AZD345 for an input that is not there any more.
    """
    component, hashes, containers = step.component, context.hashes, context.containers
    inputs = {}
    for name in (name for name in step.inputs if name not in step.cache_ignore):
        try:
            inputs[name] = _input(context, step.inputs[name], results) | _elsewhere(context, step, name, results)
        except FileNotFoundError as error:
            gone = f"step '{step.name}': input '{name}': {error.filename} is not there any more"
            raise UserError(gone, code="AZD345") from None
    interpreter = context.interpreters[step.trial_of or step.name]
    # The last of what can fail: it may build an image.
    fingerprint = containers.fingerprint(step) if containers else interpreter.fingerprint
    fields = {
        "version": VERSION,
        "command": component.command,
        # What is executable is laid out so: a command may tell the difference.
        "code": context.code.fields(step),
        "inputs": inputs,
        "outputs": {name: output.kind for name, output in step.outputs.items() if not output.standing},
        "environment": environment_content(step.environment, hashes),
        "environment_variables": dict(step.environment_variables),
        "distribution": _as_json(step.distribution),
        # An image, or an interpreter with what is installed in it.
        "interpreter": dict(fingerprint),
        **({"parallel": asdict(step.parallel)} if step.parallel else {}),
        # As the distribution says it, it may be bound to an input, or be the count of instances.
        **({} if step.processes is None else {"processes": step.processes}),
        **({"sweep": step.sweep.as_key(step.cache_ignore)} if step.sweep else {}),
        "variables": _variables(context, step),
    }
    return ResultKey(fields)


def installed_changed(context: PlanContext, step: PlannedStep) -> list[str]:
    """What is installed for a step and is not what it was when the run began. In a container, the image has it all."""
    seen = {} if context.containers else context.interpreters[step.trial_of or step.name].seen
    return [f"the installed {name}" if name else "what is installed" for name in seen if not seen[name].is_still_so()]


def _variables(context: PlanContext, step: PlannedStep) -> dict[str, str]:
    """What is said of the caller's variables that a step sees; what it sets itself hides them."""
    named = {name: context.seal.of(name, os.environ.get(name, "")) for name in step.counted_secrets}
    return {name: said for name, said in {**context.counted, **named}.items() if name not in step.environment_variables}


def environment_content(environment: str | Environment | None, hashes: Hashes) -> Any:
    """What an environment is made of: its image, conda file and build context; its name does not matter."""
    if not isinstance(environment, Environment):
        return environment
    conda, build = environment.conda_file, environment.build_path
    return {
        "image": environment.image,
        "conda": hashes.file(conda) if isinstance(conda, Path) and conda.is_file() else _as_json(conda),
        "build": hashes.tree(build) if build and build.is_dir() else None,
        "dockerfile": environment.dockerfile_path if build else None,
    }


def _input(context: PlanContext, bound: Bound, results: Mapping[str, Result]) -> dict[str, Any]:
    """What is said of an input: all that a step sees of it but for where it lies, times and owners."""
    if isinstance(bound, Text):
        return {"value": bound.text}
    path, content = Path(text_of(bound, results)), _content(context, bound, results)
    if not path.is_dir():
        # Programs choose a reader by a file's extension, and write down its name.
        executable = {"executable": "yes"} if path.stat().st_mode & 0o111 else {}
        return {"kind": "file", "content": content, "name": _readable(path.name), **executable}
    shape = shape_of(path)
    return {
        "kind": "folder",
        "content": content,
        "executables": _named(dict.fromkeys(shape.executables, "yes")),
        "empty": _named(dict.fromkeys(shape.empty, "yes")),
        "others": _named(shape.others),
    }


def _elsewhere(
    context: PlanContext, step: PlannedStep, name: str, results: Mapping[str, Result]
) -> dict[str, Mapping[str, str] | str]:
    """What is said of the files outside of an input that it names."""
    places = places_of(step, name, results)
    contents = {spelt: _hash(context, place) for spelt, place in places.items() if spelt and place.exists()}
    return {"elsewhere": _named(contents)} if contents else {}


def places_of(step: PlannedStep, name: str, results: Mapping[str, Result]) -> dict[str, Path]:
    """All that a data input makes a step read: where it lies (named ""), and files that a table names elsewhere."""
    path = Path(text_of(step.inputs[name], results))
    if step.component.inputs[name].type != "mltable" or isinstance(step.inputs[name], Text):
        return {"": path}
    # Imported here: few pipelines have a table.
    from azdistill.local.plan.mltables import files_elsewhere

    return {"": path, **files_elsewhere(path)}


def _hash(context: PlanContext, path: Path) -> str:
    return context.hashes.tree(path) if path.is_dir() else context.hashes.file(path)


def _named(things: Mapping[str, str]) -> Mapping[str, str] | str:
    """Each by its name, so that ``explain`` can tell it; where they are many, their hash."""
    return {_readable(name): said for name, said in things.items()} if len(things) <= _MOST_NAMED else digest(things)


def _readable(name: str) -> str:
    """A file's name as text; what is no UTF-8 in it is spelt out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _content(context: PlanContext, bound: Local | StepOutput, results: Mapping[str, Result]) -> str:
    """The hash of what an input holds."""
    if isinstance(bound, StepOutput):
        output = context.plan.steps[bound.step].outputs[bound.output]
        if not output.standing:
            path = Path(text_of(bound, results))
            return results[bound.step].manifest.content_at(bound.output, path, context.hashes.file)
    # A place may hold more, or other things, than when the step that filled it had ended.
    return _hash(context, Path(text_of(bound, results)))


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _as_json(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(element) for element in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def confirm(attempt: Path, *, unchanged: bool) -> None:
    """Note of an attempt whose command has ended whether its inputs are still what they were before they were hashed.

    With inputs that were changed, what it made is of nobody knows what, whatever its key says.
    """
    if unchanged:
        (attempt / _UNCONFIRMED).unlink(missing_ok=True)
    else:
        (attempt / _UNCONFIRMED).write_text(_CHANGED, encoding="utf-8")


def same_key(earlier: Path, latest: Path) -> bool:
    """Whether an earlier attempt was made with the fields of the latest, as far as is known of both, and of the very
    same inputs where a kill kept the runner from looking at them again.
    """
    try:
        if (earlier / _UNCONFIRMED).read_bytes() != (latest / _UNCONFIRMED).read_bytes():
            return False
    except FileNotFoundError:
        if (earlier / _UNCONFIRMED).exists():
            return False
    fields = [_read(attempt / _FILE) or _read(attempt / _OWN_FILE) for attempt in (earlier, latest)]
    return fields[0] is not None and fields[0] == fields[1]


def read_key(home: Home, run: RunState, step: str) -> ResultKey | None:
    """The key of a step in a run: from its last attempt, or from the cache entry that it found."""
    key, attempt = run.steps[step].key, _last_attempt(run, step)
    if attempt and (fields := _read(attempt / _FILE)) is not None:
        return ResultKey(fields)
    stored = _read(home.cache / key[:2] / key / _FILE) if key else None
    return ResultKey(stored["fields"]) if stored and stored.get("fields") is not None else None


def read_something_else(run: RunState, step: str) -> bool:
    """Whether the inputs of a step were changed while it ran, so that nobody may take its result."""
    attempt = _last_attempt(run, step)
    return attempt is not None and (attempt / _UNCONFIRMED).exists()


def _last_attempt(run: RunState, step: str) -> Path | None:
    attempts = run.folder / "steps" / step / "attempts"
    numbers = [int(path.name) for path in attempts.iterdir() if path.name.isdigit()] if attempts.is_dir() else []
    return attempts / str(max(numbers)) if numbers else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return fields if isinstance(fields, dict) else None
