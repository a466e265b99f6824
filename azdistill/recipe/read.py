"""From YAML, ``--set`` and keyword arguments to a Recipe, or to everything that is wrong with it."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from azdistill.aml import reader
from azdistill.aml.source import Steps
from azdistill.errors import Problem, SpecError, UserError, did_you_mean, did_you_mean_path
from azdistill.recipe import keys, microsoft
from azdistill.recipe.advice import advice
from azdistill.recipe.firings import findings
from azdistill.recipe.models import ENDPOINT_KEYS, Recipe
from azdistill.recipe.origin import COMMAND_LINE, Origin
from azdistill.recipe.refer import Role, weights_of

Tree = dict[str, Any]
#: The problem of a recipe whose teacher has no address.
NO_ENDPOINT = "AZD211"

_ENV = re.compile(r"\$\{env:([A-Za-z_]\w*)\}")
_DATA_PATHS = ("training_data", "validation_data", "test_data", "dataset", "system_prompt")
LOCAL_PATHS = (*(("data", name) for name in _DATA_PATHS), ("teacher", "prompts"))


@dataclass(frozen=True)
class Reading:
    """What reading a recipe gave: the recipe (None where it has errors), its folder, and all problems found."""

    recipe: Recipe | None
    origin: Origin
    problems: list[Problem] = field(default_factory=list)

    @property
    def sound(self) -> Recipe:
        """The recipe, where reading it found no errors."""
        assert self.recipe is not None
        return self.recipe

    @property
    def folder(self) -> Path:
        """What relative paths in the recipe start from."""
        return self.origin.source.base


def is_recipe(value: object) -> bool:
    """Whether a YAML value is a recipe of ours or a ``type: distillation`` job, rather than a pipeline or component."""
    if not isinstance(value, Mapping):
        return False
    if microsoft.is_distillation_job(value):
        return True
    return "jobs" not in value and "command" not in value and "teacher" in value and "type" not in value


def check(path: str | Path, sets: Mapping[str, str] | None = None) -> list[Problem]:
    """Everything wrong with the recipe at ``path``, warnings included, in the order it stands there.

    An environment variable that is not set is a warning here, since checking is done where it need not be known.
    """
    try:
        return read(path, sets, strict_env=False).problems
    except SpecError as error:
        return error.problems


def load(path: str | Path, sets: Mapping[str, str] | None = None) -> Reading:
    """The recipe at ``path`` with ``sets`` applied. SpecError with every problem where it has errors."""
    reading = read(path, sets, strict_env=True)
    if reading.recipe is None or any(problem.severity == "error" for problem in reading.problems):
        raise SpecError(reading.problems)
    return reading


def read(path: str | Path, sets: Mapping[str, str] | None = None, *, strict_env: bool = True) -> Reading:
    """As :func:`load`, but problems are returned and not raised. SpecError only where the file is no YAML mapping."""
    source = reader.read(path)
    origin = Origin(source)
    if not isinstance(source.data, dict):
        raise SpecError([origin.problem("AZD202", "a recipe is a mapping of keys to values")])
    return interpret(origin, dict(sets or {}), strict_env=strict_env)


def from_settings(settings: Mapping[str, Any], folder: Path, name: str) -> Reading:
    """A recipe from sections and single settings, as keyword arguments give them; relative paths start from ``folder``.

    UserError for one problem, SpecError for several. A teacher without an endpoint passes: a workspace may know it.
    """
    tree: Tree = {}
    # Whole sections first, so that a single setting goes into its section and not under it.
    for key, value in sorted(settings.items(), key=lambda item: item[0] not in Recipe.model_fields):
        if value is None:
            continue
        if key in Recipe.model_fields and isinstance(value, Mapping):
            tree[key] = {**tree.get(key, {}), **value}
        else:
            path = (key,) if key in Recipe.model_fields else keys.locate(key)
            keys.put(tree, path, str(value) if isinstance(value, Path) else value)
    reading = interpret(Origin(reader.plain(tree, folder, name)), {})
    errors = [problem for problem in reading.problems if problem.severity == "error" and problem.code != NO_ENDPOINT]
    if len(errors) == 1:
        raise UserError(errors[0].message, code=errors[0].code, hint=errors[0].hint)
    if errors:
        raise SpecError(errors)
    return reading


def interpret(origin: Origin, sets: Mapping[str, str], *, strict_env: bool = True) -> Reading:
    """Reading of a source that is at hand."""
    tree: Tree = copy.deepcopy(dict(origin.source.data))
    problems: list[Problem] = []
    translated = microsoft.is_distillation_job(tree)
    if translated:
        job = microsoft.translate(origin)
        tree, origin, problems = job.tree, job.origin, list(job.problems)
    origin, new_problems = _apply(tree, sets, origin)
    problems += new_problems
    if translated:
        microsoft.settle_key(tree)
    problems += _expand_env(tree, (), origin, "error" if strict_env else "warning")
    recipe, new_problems = _validate(tree, origin)
    problems += new_problems
    problems += _missing_files(tree, origin) + _unresolved(tree, origin)
    problems += advice(recipe, origin) if recipe is not None else []
    for finding in findings(recipe.schedule) if recipe is not None and recipe.schedule else ():
        place = ("schedule", *finding.path)
        problems.append(
            origin.problem(finding.code, finding.message, place, severity=finding.severity, hint=finding.hint)
        )
    order = sorted(problems, key=lambda problem: (problem.line, problem.column))
    return Reading(recipe, origin, order)


def _apply(tree: Tree, sets: Mapping[str, str], origin: Origin) -> tuple[Origin, list[Problem]]:
    """Write the sets into ``tree``; the origin then knows that these settings stand on the command line."""
    problems: list[Problem] = []
    overridden: set[Steps] = set()
    for name, text in sets.items():
        try:
            path = keys.locate(name)
        except UserError as error:
            problems.append(Problem(error.code, error.message, COMMAND_LINE, hint=error.hint))
            continue
        keys.put(tree, path, _typed(path, text, origin.source.base))
        overridden.add(path)
    return replace(origin, overridden=origin.overridden | overridden), problems


def _typed(path: keys.Path, text: str, folder: Path) -> Any:
    if path in LOCAL_PATHS and text.startswith("{"):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text
    if path in LOCAL_PATHS or path in {("student", "model"), ("teacher", "weights")}:
        return _from_here(text, folder)
    if path in {("teacher", "api_key"), ("teacher", "endpoint"), ("teacher", "model")} or path[0] in keys.FREE:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return text if isinstance(value, dict | list) or value is None else value


def _from_here(text: str, folder: Path) -> str:
    """A path on the command line is relative to where the user stands; failing that, to the recipe."""
    local_path = Path(text).expanduser()
    looks_local = text.startswith((".", "~", "/")) or local_path.exists()
    if not looks_local or re.match(r"\w[\w+.-]*:", text):
        return text
    return str(local_path.absolute()) if local_path.exists() or not (folder / local_path).exists() else text


def _expand_env(tree: Any, path: Steps, origin: Origin, severity: Any) -> list[Problem]:
    """Replace ``${env:NAME}`` in every value but the key's, which stays a reference until a step asks for it."""
    problems: list[Problem] = []
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(pairs):
        steps = (*path, key)
        if steps == ("teacher", "api_key"):
            continue
        if isinstance(value, dict | list):
            problems += _expand_env(value, steps, origin, severity)
        elif isinstance(value, str):
            for name in _ENV.findall(value):
                if name not in os.environ:
                    message = f"the environment variable {name} is not set"
                    hint = f"export {name}=..., or give {'.'.join(map(str, steps))} with --set"
                    problems.append(origin.problem("AZD206", message, steps, severity=severity, hint=hint))
            tree[key] = _ENV.sub(lambda match: os.environ.get(match[1], match[0]), value)
    return problems


def _validate(tree: Tree, origin: Origin) -> tuple[Recipe | None, list[Problem]]:
    for section in ("teacher", "student"):
        if isinstance(tree.get(section), str):
            tree[section] = {"model": tree[section]}
    try:
        return Recipe.model_validate(tree), []
    except ValidationError as error:
        return None, [_problem(detail, origin) for detail in error.errors(include_url=False)]


def _problem(detail: Any, origin: Origin) -> Problem:
    """One of pydantic's findings in our words, at its place."""
    path: Steps = tuple(part for part in detail["loc"] if isinstance(part, int) or "[" not in part)
    dotted, kind = ".".join(str(part) for part in path), detail["type"]
    if kind == "extra_forbidden":
        return _unknown_key(path, origin)
    if kind == "missing":
        return origin.problem("AZD204", f"{dotted} is missing", path)
    phrases = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").split("; did you mean")
    hint = f"did you mean{phrases[1]}" if len(phrases) > 1 else ""
    message = f"{dotted}: {phrases[0]}" if dotted else phrases[0]
    if not path and "." in phrases[0].split()[0]:
        # What a recipe says of two sections together begins with the setting to look at.
        path = tuple(phrases[0].split()[0].split("."))
    if kind != "value_error" and path != ("teacher", "api_key") and not isinstance(detail["input"], dict | list):
        message += f"; it is {str(detail['input'])[:60]!r}"
    return origin.problem("AZD207" if path == ("teacher", "api_key") else "AZD205", message, path, hint=hint)


def _unknown_key(path: Steps, origin: Origin) -> Problem:
    owner: type[BaseModel] = Recipe
    for part in path[:-1]:
        owner = keys.section_of(owner.model_fields[str(part)].annotation) or owner
    where = f"{'.'.join(str(part) for part in path[:-1])} has" if path[:-1] else "a recipe has"
    hint = did_you_mean(str(path[-1]), list(owner.model_fields))
    return origin.problem("AZD203", f"{where} no key '{path[-1]}'", path, key=True, hint=hint)


def _text_at(tree: Tree, section: str, name: str) -> str | None:
    """A setting where it is text: looked up in the tree, so that other mistakes do not hide one in this."""
    settings = tree.get(section)
    value = settings.get(name) if isinstance(settings, dict) else None
    return value if isinstance(value, str) else None


def _missing_files(tree: Tree, origin: Origin) -> list[Problem]:
    problems = []
    for section, name in LOCAL_PATHS:
        value = _text_at(tree, section, name)
        if value and is_local(value) and not (origin.source.base / Path(value).expanduser()).exists():
            message = f"{section}.{name}: there is no {value}"
            near = did_you_mean_path(origin.source.base / Path(value).expanduser())
            hint = f"{near}; or --set {name}=PATH" if near else f"--set {name}=PATH takes another"
            problems.append(origin.problem("AZD208", message, (section, name), hint=hint))
    return problems


def _unresolved(tree: Tree, origin: Origin) -> list[Problem]:
    """Models that lead nowhere."""
    problems = _no_teacher(tree, origin)
    models: tuple[tuple[Role, str], ...] = (("student", "model"), ("teacher", "weights"))
    for role, key in models:
        name = _text_at(tree, role, key)
        if name and "${env:" not in name:
            try:
                weights_of(name, origin.source.base, role)
            except UserError as error:
                message = f"{role}.{key}: {error.message}"
                problems.append(origin.problem(error.code, message, (role, key), hint=error.hint))
    return problems


def _no_teacher(tree: Tree, origin: Origin) -> list[Problem]:
    """The problem of a teacher that is neither asked somewhere nor can be run inside the job."""
    teacher = tree.get("teacher")
    if not isinstance(teacher, dict) or teacher.get("endpoint") is not None:
        return []
    needs = [name for name in ENDPOINT_KEYS if teacher.get(name) is not None]
    hint = "write endpoint: https://... under teacher, or --set teacher.endpoint=..."
    if needs:
        message = f"teacher.endpoint is missing: teacher.{needs[0]} is for a teacher that is asked at an address"
        return [origin.problem(NO_ENDPOINT, message, ("teacher",), hint=hint)]
    name = _text_at(tree, "teacher", "model")
    if name is None or _text_at(tree, "teacher", "weights") is not None or "${env:" in name:
        return []
    try:
        weights_of(name, origin.source.base, "teacher")
    except UserError as error:
        message = f"teacher.endpoint is missing, and the teacher cannot run inside the job: {error.message}"
        hint += f"; or teacher.weights ({error.hint})" if error.hint else ""
        return [origin.problem(NO_ENDPOINT, message, ("teacher",), hint=hint)]
    return []


def is_local(value: str) -> bool:
    """Whether a path is on this machine, rather than ``azureml:...`` or an address."""
    return not re.match(r"(azureml|https?|wasbs?|abfss?|adl):", value) and "${env:" not in value
