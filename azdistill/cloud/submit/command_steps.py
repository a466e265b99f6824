"""The steps of a pipeline that run something, nested pipelines' among them: where each runs, and as whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from azdistill.aml.expressions import sole_reference
from azdistill.aml.models import Binding, CommandComponent, Environment, Input, Pipeline, PipelineComponent, Step
from azdistill.cloud.workspace.profiles import Profile
from azdistill.compile.compute import IDENTITIES, SERVERLESS, is_instance_type
from azdistill.errors import UserError, did_you_mean

#: Seconds after which a step ends that has no limit of its own: one that hangs must not bill for weeks.
DEFAULT_TIMEOUT = 24 * 3600
#: Kinds of steps that run something, and so have a compute; the others hold further steps.
_RUNNING = ("command", "sweep", "parallel")


@dataclass(frozen=True)
class Leaf:
    """A step that runs something. ``name`` is ``outer.inner`` in a nested pipeline; ``nodes`` is how many machines.

    ``compute`` is the name of a cluster, or None for serverless compute; ``instance_type`` is None where nobody says.
    """

    name: str
    step: Step
    compute: str | None
    instance_type: str | None
    nodes: int
    timeout: float | None
    spot: bool
    identity: str | None

    @property
    def component(self) -> CommandComponent | None:
        """The component that it runs; None for one that is registered in a workspace."""
        component = self.step.component
        return component if isinstance(component, CommandComponent) else None

    @property
    def environment(self) -> str | Environment | None:
        """What it runs in: its own environment, or its component's."""
        return self.step.environment or (self.component.environment if self.component else None)

    @property
    def deterministic(self) -> bool:
        """Whether Azure may show the results of an earlier run instead of running it."""
        if self.step.is_deterministic is not None:
            return self.step.is_deterministic
        return self.component is None or self.component.is_deterministic


def leaves(pipeline: Pipeline) -> list[Leaf]:
    """Every step that runs something, in the order of the file."""
    default = pipeline.settings.default_compute or pipeline.compute or SERVERLESS
    values = {name: declared.default for name, declared in pipeline.inputs.items()}
    return list(_walk(pipeline.jobs, "", default, values))


def _walk(
    jobs: Mapping[str, Step], prefix: str, default: str, values: Mapping[str, Any], rounds: int | None = 1
) -> Iterator[Leaf]:
    """``rounds``: how often the steps may run; None where nobody knows."""
    loops = {step.body.name: step for step in jobs.values() if step.body}
    for name, step in jobs.items():
        times = _times(rounds, loops.get(name))
        if step.choice or step.body:
            # It runs nothing itself.
            continue
        if isinstance(step.component, PipelineComponent):
            nested = _nested_values(step, step.component.inputs, values)
            yield from _walk(step.component.jobs, f"{prefix}{name}.", default, nested, times)
        else:
            leaf = _leaf(prefix + name, step, default, values)
            yield replace(leaf, timeout=leaf.timeout * times if leaf.timeout and times else None)


def _times(rounds: int | None, loop: Step | None) -> int | None:
    """How often a step may run: so many rounds around it, and those of a ``do_while`` of its own."""
    if loop is None:
        return rounds
    limit = loop.limits.get("max_iteration_count") if loop.type == "do_while" else None
    return rounds * limit if rounds and isinstance(limit, int) else None


def _nested_values(step: Step, declared: Mapping[str, Input], values: Mapping[str, Any]) -> dict[str, Any]:
    """What the inputs of a nested pipeline hold."""

    def value_of(name: str) -> Any:
        written = step.inputs.get(name)
        return _bound(written.path, values) if isinstance(written, Binding) else getattr(written, "value", None)

    return {name: value_of(name) or each.default for name, each in declared.items()}


def _leaf(name: str, step: Step, default: str, values: Mapping[str, Any]) -> Leaf:
    resources = {**(getattr(step.component, "resources", None) or {}), **(step.resources or {})}
    compute = str(_value(step.compute, values) or default)
    instance_type = _value(resources.get("instance_type"), values)
    return Leaf(
        name=name,
        step=step,
        compute=None if compute == SERVERLESS else compute.removeprefix("azureml:").rpartition("/")[2],
        instance_type=str(instance_type) if instance_type else None,
        nodes=_whole(_value(resources.get("instance_count"), values)) * _side_by_side(step, values),
        timeout=_seconds(step),
        spot=str((step.queue_settings or {}).get("job_tier", "")).lower() == "spot",
        identity=str((step.identity or {}).get("type", "")) or None,
    )


def _side_by_side(step: Step, values: Mapping[str, Any]) -> int:
    """How many trials of a sweep run at a time, each on machines of its own; Azure ML runs all where none is said."""
    if step.sweep is None:
        return 1
    limits = step.sweep.limits
    return _whole(_value(limits.get("max_concurrent_trials", limits.get("max_total_trials")), values))


def _seconds(step: Step) -> float | None:
    """The time limit of a step; a parallel step has none in Azure ML, only its mini-batches have.

    Kinds that are not looked into have none that is known.
    """
    if isinstance(timeout := step.limits.get("timeout"), int | float):
        return float(timeout)
    return None if step.type == "parallel" or step.only_on_azure else float(DEFAULT_TIMEOUT)


def _value(text: Any, values: Mapping[str, Any]) -> Any:
    """``text``, or what the pipeline's input holds that it is bound to."""
    reference = sole_reference(text)
    return text if reference is None else _bound(reference.path, values)


def _bound(path: tuple[str, ...], values: Mapping[str, Any]) -> Any:
    return values.get(".".join(path[2:])) if path[:2] == ("parent", "inputs") else None


def _whole(value: Any) -> int:
    try:
        return max(int(value), 1)
    except (TypeError, ValueError):
        return 1


def place(mapping: Mapping[str, Any], profile: Profile, kinds: Mapping[str, str]) -> dict[str, Any]:
    """``mapping`` with computes, capacity, identities and limits settled. ``kinds`` names each step's kind.

    UserError AZD419 where the profile names a step that the pipeline does not have.
    """
    settings = dict(mapping.get("settings") or {})
    default = settings.get("default_compute") or mapping.get("compute")
    chosen = default or SERVERLESS
    if profile.compute is not None:
        chosen = SERVERLESS if is_instance_type(profile.compute) else _compute_reference(profile.compute)
    for name in (*profile.computes, *(profile.identity if isinstance(profile.identity, dict) else ())):
        if name not in kinds:
            message = f"profile {profile.name} names the step '{name}', which the pipeline does not have"
            raise UserError(message, code="AZD419", hint=did_you_mean(name, list(kinds)))
    jobs = {
        name: _node(name, dict(node), kinds.get(name, ""), str(default or SERVERLESS), str(chosen), profile)
        for name, node in mapping.get("jobs", {}).items()
    }
    placed = {key: value for key, value in mapping.items() if key != "compute"}
    return {**placed, "settings": {**settings, "default_compute": chosen}, **({"jobs": jobs} if jobs else {})}


def _node(name: str, node: dict[str, Any], kind: str, before: str, default: str, profile: Profile) -> dict[str, Any]:
    if kind not in _RUNNING:
        return node
    placed = dict(_placed_by_profile(node, profile.computes.get(name), before, default, profile.compute))
    if profile.spot and (placed.get("compute") or default) == SERVERLESS:
        placed.setdefault("queue_settings", {"job_tier": "spot"})
    if kind != "parallel":
        placed["limits"] = {"timeout": DEFAULT_TIMEOUT, **(placed.get("limits") or {})}
    identity = profile.identity.get(name) if isinstance(profile.identity, dict) else profile.identity
    if identity is not None:
        placed.pop("identity", None)
    return {**placed, "identity": {"type": IDENTITIES[identity]}} if identity in IDENTITIES else placed


def _placed_by_profile(
    node: dict[str, Any], by_step: str | None, before: str, default: str, general: str | None
) -> dict[str, Any]:
    if by_step is not None:
        return _at(node, by_step, default)
    typed = bool((node.get("resources") or {}).get("instance_type"))
    if "compute" in node or general is None:
        return node
    if typed and before == SERVERLESS and default != SERVERLESS:
        # It asked for a machine of its own, which the profile's default would take from it.
        return {**node, "compute": SERVERLESS}
    return _at(node, general, default) if is_instance_type(general) and not typed else node


def _at(node: dict[str, Any], where: str, default: str) -> dict[str, Any]:
    """``node`` on the compute or instance type ``where``."""
    resources = {key: value for key, value in (node.get("resources") or {}).items() if key != "instance_type"}
    unplaced = {key: value for key, value in node.items() if key not in ("compute", "resources")}
    if is_instance_type(where):
        compute = {} if default == SERVERLESS else {"compute": SERVERLESS}
        return {**unplaced, **compute, "resources": {**resources, "instance_type": where}}
    return {**unplaced, "compute": _compute_reference(where), **({"resources": resources} if resources else {})}


def _compute_reference(where: str) -> str:
    return where if where.startswith(("azureml:", "/subscriptions/")) else f"azureml:{where}"
