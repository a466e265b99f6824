"""Turns a job as the service received it (an ARM body and what it refers to) into a pipeline that can be run here.

Pure but for the folder it writes components to: what a reference stands for is asked of :class:`Resources`.
"""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

Body = Mapping[str, Any]
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?")
_BINDING = re.compile(r"\$\{\{\s*parent\.inputs\.([\w.]+)\s*\}\}")
_OUTPUT = re.compile(r"\$\{\{\s*parent\.outputs\.([\w.]+)\s*\}\}")
#: What a parallel step may say in place of its component.
_PARALLEL = (
    *("mini_batch_size", "partition_keys", "input_data", "retry_settings", "max_concurrency_per_instance"),
    *("error_threshold", "mini_batch_error_threshold", "logging_level"),
)
#: What a sweep step says beside its trial.
_SWEEP = ("search_space", "objective", "limits", "sampling_algorithm", "queue_settings")
_KINDS = ("command", "pipeline", "parallel", "sweep")


class Refused(Exception):
    """What the service says about a job that it does not take."""


class Resources(Protocol):
    """What a workspace holds. Every method raises :class:`Refused` for what is not there."""

    def component(self, reference: str) -> Body:
        """The ``properties`` of a component version."""

    def environment(self, reference: str) -> Body:
        """The ``properties`` of an environment version."""

    def code(self, reference: str) -> Path:
        """The folder that holds a code version's files."""

    def data(self, uri: str) -> Path:
        """The file or folder that a data input stands for."""


def pipeline_of(job: Body, folder: Path, resources: Resources) -> dict[str, Any]:
    """The pipeline that ``job`` (the ``properties`` of a job) asks for; its components are written below ``folder``."""
    kind = job.get("jobType")
    if kind == "Command":
        return _Translation(folder, resources).command_job(job)
    if kind != "Pipeline":
        raise Refused(f"jobs of type {kind} cannot be run in this workspace")
    return _Translation(folder, resources).pipeline_job(job)


class _Translation:
    """One job: remembers which components were written already."""

    def __init__(self, folder: Path, resources: Resources) -> None:
        self._folder, self._resources = folder, resources
        self._written: dict[str, str] = {}

    def pipeline_job(self, job: Body) -> dict[str, Any]:
        if job.get("sourceJobId"):
            raise Refused("jobs that are copies of other jobs cannot be run in this workspace")
        nodes = job.get("jobs") or {}
        if not nodes:
            raise Refused("a pipeline job needs at least one job")
        types = self._types(nodes)
        settings = job.get("settings") or {}
        return {
            "type": "pipeline",
            "inputs": {name: self._input(given, types.get(name)) for name, given in (job.get("inputs") or {}).items()},
            "outputs": {name: _output(given) for name, given in (job.get("outputs") or {}).items()},
            "settings": {key: settings[key] for key in ("continue_on_step_failure", "force_rerun") if key in settings},
            "jobs": {name: self._node(name, node) for name, node in nodes.items()},
        }

    def command_job(self, job: Body) -> dict[str, Any]:
        """A job of one command, as the only step of a pipeline."""
        outputs = {name: given for name, given in (job.get("outputs") or {}).items() if name != "default"}
        step = {
            "type": "command",
            "command": job["command"],
            "environment": self._environment(job["environmentId"]),
            "inputs": {name: self._input(given, None) for name, given in (job.get("inputs") or {}).items()},
            "outputs": {name: "${{parent.outputs." + name + "}}" for name in outputs},
            "environment_variables": job.get("environmentVariables"),
            "limits": _limits(job.get("limits")),
            "resources": _resources(job.get("resources")),
            "distribution": _distribution(job.get("distribution")),
            # A job by itself is never a copy of an earlier one.
            "is_deterministic": False,
        }
        if job.get("codeId"):
            step["code"] = str(self._code(job["codeId"], self._folder / "command"))
        return {
            "type": "pipeline",
            "outputs": {name: _output(given) for name, given in outputs.items()},
            "jobs": {"command": _without_nothing(step)},
        }

    def _node(self, name: str, node: Body) -> dict[str, Any]:
        kind = str(node.get("type", "command")).lower()
        if kind == "if_else":
            return {key: node[key] for key in ("type", "condition", "true_block", "false_block") if key in node}
        if kind not in _KINDS:
            raise Refused(f"job '{name}': jobs of type {kind} cannot be run in this workspace")
        if not (reference := _reference(node)):
            raise Refused(f"job '{name}' names no component")
        declared = self._resources.component(reference)["componentSpec"].get("inputs") or {}
        step = {
            "type": kind,
            "trial" if kind == "sweep" else "component": self._component(reference),
            "inputs": {
                key: self._input(given, (declared.get(key) or {}).get("type"))
                for key, given in (node.get("inputs") or {}).items()
            },
            "outputs": {key: _output(given) for key, given in (node.get("outputs") or {}).items()},
            "environment_variables": node.get("environment_variables"),
            "limits": _limits(node.get("limits")) if kind != "sweep" else None,
            "resources": _resources(node.get("resources")),
            "distribution": _distribution(node.get("distribution")),
            "tags": node.get("tags"),
            "display_name": node.get("display_name"),
        }
        if kind == "parallel":
            step |= {key: node.get(key) for key in _PARALLEL}
            # A number in a request, but text in YAML.
            step["mini_batch_size"] = None if (size := step["mini_batch_size"]) is None else str(size)
        if kind == "sweep":
            step |= {key: node.get(key) for key in _SWEEP} | {"early_termination": _policy(node)}
        return _without_nothing(step)

    def _component(self, reference: str) -> str:
        """Write the component that is referred to; its file."""
        if reference not in self._written:
            folder = self._folder / "components" / str(len(self._written))
            self._written[reference] = str(folder / "component.yml")
            folder.mkdir(parents=True)
            stored = self._resources.component(reference)
            spec = self._plain(stored["componentSpec"], folder)
            if tags := {**(stored.get("tags") or {}), **(stored["componentSpec"].get("tags") or {})}:
                spec["tags"] = tags
            (folder / "component.yml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
        return self._written[reference]

    def _plain(self, spec: Body, folder: Path) -> dict[str, Any]:
        """A component's specification with what it refers to in place of the references."""
        # What a component includes was laid into its code when that was uploaded.
        dropped = ("$schema", "_source", "sourceJobId", "tags", "additional_includes")
        plain = {key: copy.deepcopy(value) for key, value in spec.items() if key not in dropped and value is not None}
        if jobs := plain.get("jobs"):
            plain["jobs"] = {name: self._node(name, node) for name, node in jobs.items()}
        for part in (plain, plain["task"] if isinstance(plain.get("task"), dict) else {}):
            if part.get("code"):
                part["code"] = str(self._code(part["code"], folder))
            if part.get("environment"):
                part["environment"] = self._environment(part["environment"])
        for key, convert in (("distribution", _distribution), ("resources", _resources)):
            if plain.get(key):
                plain[key] = convert(plain[key])
        return plain

    def _code(self, reference: str, folder: Path) -> Path:
        # A copy: what a later upload does to the stored files is no business of a job that was submitted before it.
        shutil.copytree(self._resources.code(reference), folder / "code")
        return folder / "code"

    def _environment(self, reference: str) -> str | dict[str, Any]:
        """An environment by what is in it, so that two names for the same image are the same."""
        stored = self._resources.environment(reference)
        if not stored.get("image"):
            return reference
        conda = yaml.safe_load(stored["condaFile"]) if stored.get("condaFile") else None
        return {"image": stored["image"]} | ({"conda_file": conda} if conda else {})

    def _input(self, given: Body | None, declared: str | None) -> Any:
        given = given or {}
        kind = str(given.get("job_input_type") or given.get("jobInputType") or "literal").lower()
        uri = given.get("uri")
        if kind == "literal" or uri is None:
            return _typed(given.get("value"), declared)
        data = {"type": kind, "path": str(self._resources.data(uri)), "mode": _mode(given.get("mode"))}
        return _without_nothing(data)

    def _types(self, nodes: Body) -> dict[str, str]:
        """The types of the pipeline's inputs, which arrive as text: those of the inputs that they are bound to."""
        found: dict[str, str] = {}
        for node in nodes.values():
            if not (reference := _reference(node)):
                continue
            declared = self._resources.component(reference)["componentSpec"].get("inputs") or {}
            for key, given in (node.get("inputs") or {}).items():
                bound = _BINDING.fullmatch(str((given or {}).get("value")))
                if bound and declared.get(key):
                    found.setdefault(bound[1], declared[key].get("type", "string"))
        return found


def _reference(node: Body) -> str | None:
    """The component of a node; of a sweep, its trial."""
    found = node.get("componentId") or (node.get("trial") or {}).get("componentId")
    return str(found) if found else None


def _policy(node: Body) -> dict[str, Any] | None:
    """Early termination, whose kind travels under a name of its own, in words that are joined."""
    given = dict(node.get("early_termination") or {})
    kind = str(given.pop("policy_type", given.pop("policyType", given.pop("type", ""))))
    # What was not written arrives as 0; of a slack that is none.
    kept = {key: value for key, value in given.items() if value or not key.startswith("slack")}
    return {"type": kind, **kept} if kind else None


def seconds(duration: str) -> int:
    """The seconds in an ISO 8601 duration such as ``PT1H30M``."""
    found = _DURATION.fullmatch(duration)
    if not found:
        raise Refused(f"'{duration}' is not a duration")
    days, hours, minutes, rest = (float(part or 0) for part in found.groups())
    return int(days * 86400 + hours * 3600 + minutes * 60 + rest)


def output_settings(job: Body, resources: Resources) -> dict[tuple[str, str], dict[str, Any]]:
    """Where outputs are asked to go: (step, output) -> ``uri``, ``name``, ``version``, as far as they are given.

    An output that is bound to one of the pipeline's takes that one's settings; steps of nested pipelines have dotted
    names. A job of one command is a step named ``command``.
    """
    own = {name: _setting(given) for name, given in (job.get("outputs") or {}).items()}
    if job.get("jobType") == "Command":
        return {("command", name): setting for name, setting in own.items()}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    _settings_of(job.get("jobs") or {}, "", own, resources, found)
    return found


def _settings_of(
    nodes: Body,
    prefix: str,
    own: Mapping[str, dict[str, Any]],
    resources: Resources,
    found: dict[tuple[str, str], dict[str, Any]],
) -> None:
    for name, node in nodes.items():
        outputs = {}
        for key, given in (node.get("outputs") or {}).items():
            bound = _OUTPUT.fullmatch(str((given or {}).get("value")))
            outputs[key] = own.get(bound[1], {}) if bound else _setting(given)
        spec = resources.component(reference)["componentSpec"] if (reference := _reference(node)) else {}
        if spec.get("jobs"):
            _settings_of(spec["jobs"], f"{prefix}{name}.", outputs, resources, found)
        else:
            found |= {(prefix + name, key): setting for key, setting in outputs.items()}


def _setting(given: Body | None) -> dict[str, Any]:
    given = given or {}
    asked = {
        "uri": given.get("uri"),
        "name": given.get("assetName") or given.get("name"),
        "version": given.get("assetVersion") or given.get("version"),
    }
    return _without_nothing(asked)


def _output(given: Body | None) -> Any:
    given = given or {}
    if "value" in given:
        return given["value"]
    written = {
        "type": str(given.get("job_output_type") or given.get("jobOutputType") or "uri_folder").lower(),
        "mode": {"readwritemount": "rw_mount", "upload": "upload"}.get(str(given.get("mode")).lower()),
        "path": given.get("uri"),
        "name": given.get("name") or given.get("assetName"),
        "version": given.get("version") or given.get("assetVersion"),
    }
    return _without_nothing(written)


def _typed(value: Any, declared: str | None) -> Any:
    """A literal, which travels as text, as its type says."""
    if not isinstance(value, str) or "${{" in value:
        return value
    text = value.strip().lower()
    try:
        if declared == "boolean" and text in ("true", "false"):
            return text == "true"
        if declared in ("integer", "number"):
            return int(value) if re.fullmatch(r"[+-]?\d+", text) else float(value)
    except ValueError:
        return value
    return value


def _mode(mode: Any) -> str | None:
    names = {"readonlymount": "ro_mount", "readwritemount": "rw_mount", "download": "download", "direct": "direct"}
    return names.get(str(mode).lower())


def _limits(limits: Body | None) -> dict[str, Any] | None:
    timeout = (limits or {}).get("timeout")
    if timeout is None:
        return None
    return {"timeout": seconds(timeout) if isinstance(timeout, str) else int(timeout)}


def _distribution(given: Body | None) -> dict[str, Any] | None:
    kind = (given or {}).get("distribution_type") or (given or {}).get("distributionType") or (given or {}).get("type")
    if not kind:
        return None
    return {"type": str(kind).lower()} | _snake(given, ("distribution_type", "type"))


def _resources(given: Body | None) -> dict[str, Any] | None:
    return _snake(given, ()) or None


def _snake(given: Body | None, without: tuple[str, ...]) -> dict[str, Any]:
    named = {re.sub(r"(?<!^)([A-Z])", r"_\1", key).lower(): value for key, value in (given or {}).items()}
    return {key: value for key, value in named.items() if key not in without and value is not None}


def _without_nothing(mapping: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value not in (None, {}, "")}
