"""What ARM's schemas leave free and the service checks: the nodes of pipelines, and what jobs and components refer to.

``problems_of_job`` and ``problems_of_component`` say everything that is wrong; the service would answer 400.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .references import find, missing

if TYPE_CHECKING:
    from .workspace import Workspace

Body = Mapping[str, Any]
TYPES = ("command", "pipeline", "parallel", "sweep", "spark", "import", "automl", "data_transfer")
CONTROL = ("if_else", "do_while", "parallel_for")
DATA = ("uri_file", "uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model")
_BINDING = re.compile(r"\$\{\{\s*(?:parent\.)?(inputs|outputs|jobs)\.([^}\s]+?)\s*\}\}")
_USED = re.compile(r"\$\{\{\s*(inputs|outputs)\.([^}\s]+?)\s*\}\}")


def problems_of_job(ws: Workspace, properties: Body) -> list[str]:
    """What is wrong with the ``properties`` of a job."""
    found = list(_references(ws, properties, ("computeId", "environmentId", "codeId", "componentId", "sourceJobId")))
    if properties.get("jobType") == "Pipeline":
        settings = properties.get("settings") or {}
        found += _references(ws, settings, ("default_compute",))
        found += _Graph(ws, properties).problems()
    for name, given in (properties.get("inputs") or {}).items():
        gone = missing(ws, str((given or {}).get("uri") or ""))
        found += [f"input '{name}': {gone}"] if gone else []
    return found


def problems_of_component(ws: Workspace, spec: Body) -> list[str]:
    """What is wrong with the ``componentSpec`` of a component."""
    if spec.get("type", "command") == "pipeline" or "jobs" in spec:
        return list(_Graph(ws, spec).problems())
    found = list(_references(ws, spec, ("code", "environment")))
    for kind, path in _USED.findall(str(spec.get("command") or "")):
        if path.partition(".")[0] not in (spec.get(kind) or {}) and path not in (spec.get(kind) or {}):
            found.append(f"the command uses ${{{{{kind}.{path}}}}}, which the component does not declare")
    return found


class _Graph:
    """The jobs of a pipeline and how they are bound to each other and to its inputs and outputs."""

    def __init__(self, ws: Workspace, pipeline: Body) -> None:
        self._ws = ws
        self._inputs, self._outputs = pipeline.get("inputs") or {}, pipeline.get("outputs") or {}
        self._nodes: Body = pipeline.get("jobs") or {}
        self._copy = bool(pipeline.get("sourceJobId"))

    def problems(self) -> Iterator[str]:
        """Everything that is wrong."""
        if not self._nodes and not self._copy:
            yield "a pipeline needs at least one job"
        for name, node in self._nodes.items():
            for problem in self._node(node):
                yield f"job '{name}': {problem}"
        yield from self._cycle()

    def _node(self, node: Body) -> Iterator[str]:
        kind = str(node.get("type") or "command")
        if kind in CONTROL:
            return
        if kind not in TYPES:
            yield f"unknown type '{kind}'"
            return
        yield from _references(self._ws, node, ("componentId", "computeId", "environmentId"))
        yield from _references(self._ws, node.get("trial") or {}, ("componentId",))
        if kind in ("command", "pipeline", "parallel", "sweep") and not _component(node):
            yield "names no component"
        spec = self._spec(node)
        yield from self._bound(node)
        if spec is not None:
            yield from self._given(node, spec)

    def _spec(self, node: Body) -> Body | None:
        component = find(self._ws, str(_component(node) or ""))
        return component["properties"].get("componentSpec") if component else None

    def _given(self, node: Body, spec: Body) -> Iterator[str]:
        declared = spec.get("inputs") or {}
        # What a sweep searches is given to each trial.
        given = {**dict.fromkeys(node.get("search_space") or {}), **(node.get("inputs") or {})}
        for name in given:
            if name not in declared and name.partition(".")[0] not in declared:
                yield f"unknown input '{name}'; the component has {sorted(declared)}"
        for name, one in declared.items():
            needed = not one.get("optional") and one.get("default") is None and one.get("type") != "group"
            if needed and name not in given:
                yield f"required input '{name}' is not given"
            elif name in given:
                yield from _fits(name, one, given[name])
        for name in node.get("outputs") or {}:
            if name not in (spec.get("outputs") or {}):
                yield f"unknown output '{name}'; the component has {sorted(spec.get('outputs') or {})}"

    def _bound(self, node: Body) -> Iterator[str]:
        for kind, path in _bindings(node):
            name = path.partition(".")[0]
            if kind in ("inputs", "outputs"):
                held = self._inputs if kind == "inputs" else self._outputs
                if name not in held and path not in held:
                    yield f"is bound to ${{{{parent.{kind}.{path}}}}}, which the pipeline does not have"
            else:
                yield from self._bound_to_job(path)

    def _bound_to_job(self, path: str) -> Iterator[str]:
        name, _, rest = path.partition(".")
        if name not in self._nodes:
            yield f"is bound to job '{name}', which the pipeline does not have"
            return
        spec, output = self._spec(self._nodes[name]), rest.removeprefix("outputs.")
        if spec is not None and rest.startswith("outputs.") and output not in (spec.get("outputs") or {}):
            yield f"is bound to output '{output}' of job '{name}', which it does not have"

    def _cycle(self) -> Iterator[str]:
        after = {
            name: {path.partition(".")[0] for kind, path in _bindings(node) if kind == "jobs"}
            for name, node in self._nodes.items()
        }
        while after:
            ready = [name for name, needed in after.items() if not needed & after.keys()]
            if not ready:
                yield f"the jobs {sorted(after)} wait for each other"
                return
            for name in ready:
                del after[name]


def _component(node: Body) -> Any:
    return node.get("componentId") or (node.get("trial") or {}).get("componentId")


def _references(ws: Workspace, body: Body, fields: tuple[str, ...]) -> Iterator[str]:
    for field in fields:
        reference = body.get(field)
        if isinstance(reference, str) and "${{" not in reference:
            gone = missing(ws, reference)
            if gone:
                yield f"{field}: {gone}"


def _bindings(node: Body) -> Iterator[tuple[str, str]]:
    for group in ("inputs", "outputs"):
        for given in (node.get(group) or {}).values():
            text = given.get("value") if isinstance(given, Mapping) else given
            yield from _BINDING.findall(str(text or ""))
    for field in ("componentId", "computeId"):
        yield from _BINDING.findall(str(node.get(field) or ""))


def _fits(name: str, declared: Body, given: Any) -> Iterator[str]:
    """A literal must be what its input takes; a data input takes no literal but a binding."""
    value = given.get("value") if isinstance(given, Mapping) else given
    kind = declared.get("type", "string")
    if value is None or "${{" in str(value):
        return
    if kind in DATA:
        yield f"input '{name}' is a {kind}, not the value {value!r}"
        return
    number = _number(value)
    if kind in ("number", "integer") and (number is None or (kind == "integer" and number != int(number))):
        yield f"input '{name}': {value!r} is no {kind}"
    elif kind == "boolean" and str(value).lower() not in ("true", "false"):
        yield f"input '{name}': {value!r} is no boolean"
    elif declared.get("enum") and str(value) not in [str(one) for one in declared["enum"]]:
        yield f"input '{name}': {value!r} is not one of {declared['enum']}"
    elif number is not None and kind in ("number", "integer"):
        low, high = _number(declared.get("min")), _number(declared.get("max"))
        if (low is not None and number < low) or (high is not None and number > high):
            yield f"input '{name}': {value} is not within {declared.get('min')} and {declared.get('max')}"


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
