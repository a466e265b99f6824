"""Azure ML's own ``type: distillation`` job, read as a recipe.

The service behind that job type knew one teacher, Meta-Llama-3.1-405B-Instruct, which Azure retired on 2026-06-13. The
five files of its samples, and files like them, run here unchanged. What has no counterpart is said in a warning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from azdistill import catalog
from azdistill.aml.source import Steps
from azdistill.errors import Problem, did_you_mean
from azdistill.recipe import keys
from azdistill.recipe.origin import Origin

#: What ``learning_rate_multiplier`` multiplies: a usual rate for LoRA, which is what the service trained with.
BASE_LEARNING_RATE = 2e-4
#: The adapter that the service's own fine-tuning component was given.
SERVICE_LORA = {"lora": True, "lora_rank": 8, "lora_alpha": 128, "lora_dropout": 0.0}
#: The variable that takes the place of a key written out in the file.
KEY_VARIABLE = "TEACHER_API_KEY"
KEY_REFERENCE = f"${{env:{KEY_VARIABLE}}}"

Tree = dict[str, Any]

# Key of the job -> setting of a recipe.
_CONNECTION = ("teacher_model_endpoint_connection",)
_INFERENCE = ("teacher_model_settings", "inference_parameters")
_REQUESTS = ("teacher_model_settings", "endpoint_request_settings")
_MOVES: dict[Steps, Steps] = {
    **{(key,): (key,) for key in ("name", "description", "experiment_name", "tags")},
    ("data_generation_task_type",): ("task",),
    ("student_model",): ("student", "model"),
    (*_CONNECTION, "endpoint"): ("teacher", "endpoint"),
    (*_INFERENCE, "temperature"): ("hyperparameters", "sampling_temperature"),
    (*_INFERENCE, "max_tokens"): ("teacher", "max_tokens"),
    (*_INFERENCE, "max_new_tokens"): ("teacher", "max_tokens"),
    (*_INFERENCE, "top_p"): ("teacher", "top_p"),
    (*_INFERENCE, "stop"): ("teacher", "stop"),
    (*_REQUESTS, "request_batch_size"): ("teacher", "concurrency"),
    (*_REQUESTS, "min_endpoint_success_ratio"): ("teacher", "min_success_ratio"),
    ("prompt_settings", "enable_chain_of_thought"): ("teacher", "chain_of_thought"),
    ("prompt_settings", "enable_chain_of_density"): ("teacher", "chain_of_density"),
    ("prompt_settings", "max_len_summary"): ("teacher", "max_summary_words"),
    ("hyperparameters", "n_epochs"): ("hyperparameters", "num_epochs"),
    ("hyperparameters", "num_train_epochs"): ("hyperparameters", "num_epochs"),
    ("hyperparameters", "batch_size"): ("hyperparameters", "batch_size"),
    ("hyperparameters", "per_device_train_batch_size"): ("hyperparameters", "batch_size"),
    ("hyperparameters", "learning_rate"): ("hyperparameters", "learning_rate"),
    ("resources", "instance_type"): ("compute", "teacher"),
}
# Read by their own functions below, or without meaning outside the service.
_ELSEWHERE: set[Steps] = {
    *((key,) for key in ("type", "display_name", "properties", "outputs")),
    *((key,) for key in ("data_generation_type", "training_data", "validation_data")),
    *((*_CONNECTION, key) for key in ("type", "name", "api_key")),
    ("hyperparameters", "learning_rate_multiplier"),
}
_NOT_SENT = {(*_INFERENCE, "frequency_penalty"), (*_INFERENCE, "presence_penalty")}


@dataclass(frozen=True)
class Translated:
    """The recipe's tree, where each of its settings was written, and what there was to say about it."""

    tree: Tree
    origin: Origin
    problems: list[Problem] = field(default_factory=list)


def is_distillation_job(value: object) -> bool:
    """Whether a YAML value is an Azure ML distillation job."""
    return isinstance(value, Mapping) and value.get("type") == "distillation"


def translate(origin: Origin) -> Translated:
    """The job in ``origin`` as a recipe's tree."""
    job: Tree = origin.source.data
    problems = _unknown(job, origin)
    tree: Tree = {"teacher": {}, "student": {}, "data": {}, "hyperparameters": dict(SERVICE_LORA)}
    moves: dict[Steps, Steps] = {(): (), ("teacher",): _CONNECTION, ("student",): ("student_model",)}
    for old, new in _MOVES.items():
        value = _get(job, old)
        if value is not None and value is not False:
            keys.put(tree, tuple(str(part) for part in new), value)
            moves[new] = old
    for part in (_data, _teacher, _student, _rate, _kept):
        problems += part(job, tree, moves, origin)
    return Translated(tree, origin.moved(moves), problems)


def settle_key(tree: Tree) -> None:
    """Leave the stand-in for a literal key out where a teacher on this machine is asked and no key is at hand."""
    teacher = tree.get("teacher", {})
    stand_in = teacher.get("api_key") == KEY_REFERENCE and KEY_VARIABLE not in os.environ
    if stand_in and is_loopback(str(teacher.get("endpoint", ""))):
        del teacher["api_key"]


def is_loopback(endpoint: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(endpoint).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _data(job: Tree, tree: Tree, moves: dict[Steps, Steps], origin: Origin) -> list[Problem]:
    problems = []
    for name in ("training_data", "validation_data"):
        value = job.get(name)
        if value is None:
            continue
        path = value.get("path") if isinstance(value, dict) else value
        tree["data"][name] = path
        moves[("data", name)] = (name, "path") if isinstance(value, dict) else (name,)
        moves.setdefault(("data",), (name,))
    if job.get("data_generation_type", "label_generation") != "label_generation":
        message = "data_generation_type: the teacher labels rows that exist; it does not make up new ones"
        problems.append(origin.problem("AZD221", message, ("data_generation_type",), hint="write label_generation"))
    return problems


def _teacher(job: Tree, tree: Tree, moves: dict[Steps, Steps], origin: Origin) -> list[Problem]:
    connection = job.get(_CONNECTION[0])
    if not isinstance(connection, dict):
        return []
    name = str(connection.get("name", ""))
    model = catalog.by_asset_name(name)
    tree["teacher"]["model"] = model.name if model else name
    moves[("teacher", "model")] = (*_CONNECTION, "name")
    key = connection.get("api_key")
    if key is None:
        return []
    steps = (*_CONNECTION, "api_key")
    moves[("teacher", "api_key")] = steps
    is_reference = re.fullmatch(r"\$\{(env|connection|keyvault|entra)\b.*\}", str(key))
    tree["teacher"]["api_key"] = str(key) if is_reference else KEY_REFERENCE
    if is_reference:
        return []
    message = f"the teacher's key stands in the file; it is not copied, {KEY_REFERENCE} takes its place"
    hint = f"set {KEY_VARIABLE}, take the key out of the file, and have a new one issued if the file was shared"
    return [origin.problem("AZD220", message, steps, severity="warning", hint=hint)]


def _student(job: Tree, tree: Tree, moves: dict[Steps, Steps], origin: Origin) -> list[Problem]:
    value = job.get("student_model")
    path = value.get("path") if isinstance(value, dict) else value
    if path is None:
        tree.pop("student")
        return []
    match = re.fullmatch(r"azureml://registries/[^/]+/models/([^/]+)/(versions|labels)/[^/]+", str(path))
    model = catalog.by_asset_name(match[1]) if match else None
    tree["student"]["model"] = model.name if model else path
    return []


def _rate(job: Tree, tree: Tree, moves: dict[Steps, Steps], origin: Origin) -> list[Problem]:
    steps = ("hyperparameters", "learning_rate_multiplier")
    factor = _get(job, steps)
    if factor is None:
        return []
    try:
        rate = float(f"{float(factor) * BASE_LEARNING_RATE:.12g}")
    except (TypeError, ValueError):
        return [origin.problem("AZD205", f"{'.'.join(steps)}: should be a number; it is {factor!r}", steps)]
    if tree["hyperparameters"].get("learning_rate") is not None:
        return [origin.problem("AZD205", "give one of learning_rate and learning_rate_multiplier", steps)]
    tree["hyperparameters"]["learning_rate"] = rate
    moves[("hyperparameters", "learning_rate")] = steps
    message = f"learning_rate_multiplier {factor} becomes learning_rate {rate:g}: {factor} x {BASE_LEARNING_RATE:g}"
    hint = "--set learning_rate=... says it outright"
    return [origin.problem("AZD222", message, steps, severity="warning", hint=hint)]


def _kept(job: Tree, tree: Tree, moves: dict[Steps, Steps], origin: Origin) -> list[Problem]:
    """The name that the distilled model was to be registered under stays with the job, as a tag."""
    name = _get(job, ("outputs", "registered_model", "name"))
    tags = tree.get("tags", {})
    if name and isinstance(tags, dict):
        tree["tags"] = {**tags, "azdistill.registered_model": str(name)}
    return []


def _unknown(job: Tree, origin: Origin) -> list[Problem]:
    problems = []
    paths = set(_MOVES) | _ELSEWHERE | _NOT_SENT
    heads = {path[:depth] for path in paths for depth in range(1, len(path))}
    for steps in _leaves(job, heads):
        if steps in paths or any(steps[:depth] in paths for depth in range(1, len(steps))):
            if steps in _NOT_SENT and _get(job, steps):
                problems.append(_left_out(steps, origin))
        elif steps[0] == "hyperparameters":
            problems.append(_left_out(steps, origin))
        else:
            depth = len(steps) - 1
            peers = {str(path[depth]) for path in paths | heads if len(path) > depth and path[:depth] == steps[:depth]}
            hint = did_you_mean(str(steps[-1]), sorted(peers))
            message = f"a distillation job has no key '{'.'.join(map(str, steps))}'"
            problems.append(origin.problem("AZD203", message, steps, key=True, hint=hint))
    return problems


def _left_out(steps: Steps, origin: Origin) -> Problem:
    message = f"{'.'.join(map(str, steps))} has no counterpart here and is left out"
    return origin.problem("AZD223", message, steps, key=True, severity="warning")


def _leaves(value: Any, heads: set[Steps], steps: Steps = ()) -> list[Steps]:
    if not isinstance(value, dict) or (steps and steps not in heads):
        return [steps]
    return [leaf for key, child in value.items() for leaf in _leaves(child, heads, (*steps, str(key)))]


def _get(tree: Any, steps: Steps) -> Any:
    for step in steps:
        tree = tree.get(step) if isinstance(tree, dict) else None
    return tree
