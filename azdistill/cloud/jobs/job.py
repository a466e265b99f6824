"""What is known of a job in a workspace: the pipeline's run and its steps, as ARM and run history tell of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from azdistill.cloud.workspace.rest import parsed_time

#: Statuses after which nothing changes any more. ``Paused`` and ``NotResponding`` may still end.
ENDED = frozenset({"Completed", "Failed", "Canceled"})
#: A step that has not got a run yet, in the word of the service.
NOT_STARTED = "NotStarted"

_REUSED, _REUSED_FROM = "azureml.isreused", "azureml.reusedrunid"
_BINDING = re.compile(r"\$\{\{\s*parent\.outputs\.([A-Za-z0-9_.-]+)\s*\}\}")
_EXIT_CODE = re.compile(
    r"(?:exit(?:ed with)?(?: status)? code|returned non-zero exit status)[:\s]+(?:is )?(\d{1,3})", re.I
)


@dataclass(frozen=True, slots=True)
class JobStep:
    """One step. ``run_id`` is empty before it has one; ``reused_from`` is the run whose results it shows, if any.

    Times are seconds since 1970, None where unknown. A step of a pipeline within the pipeline is named ``outer.inner``.
    """

    name: str
    run_id: str = ""
    status: str = NOT_STARTED
    reused: bool = False
    reused_from: str = ""
    started: float | None = None
    ended: float | None = None
    compute: str = ""
    error: str = ""
    exit_code: int | None = None
    #: Whether this step is a pipeline: its work is in the steps under it.
    group: bool = False

    @property
    def seconds(self) -> float | None:
        """How long it ran; None while that is not known."""
        return None if self.started is None or self.ended is None else max(self.ended - self.started, 0.0)

    @property
    def run_with_results(self) -> str:
        """The run that holds logs and outputs: its own, or the one whose results were reused."""
        return self.reused_from or self.run_id

    def as_json(self) -> dict[str, Any]:
        """What ``azdistill status --json`` prints for a step."""
        return {
            **{"status": self.status, "run_id": self.run_id or None, "reused": self.reused},
            **{"reused_from": self.reused_from or None, "compute": self.compute or None},
            **{"started": iso(self.started), "ended": iso(self.ended), "seconds": self.seconds},
            **{"error": self.error or None, "exit_code": self.exit_code},
        }


@dataclass(frozen=True, slots=True)
class Job:
    """A run of a pipeline. ``steps`` are in the order of the pipeline; ``body`` is the job as ARM holds it."""

    name: str
    status: str
    display_name: str = ""
    experiment: str = ""
    started: float | None = None
    ended: float | None = None
    compute: str = ""
    error: str = ""
    studio_url: str = ""
    steps: dict[str, JobStep] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED

    @property
    def seconds(self) -> float | None:
        """How long it ran; None while that is not known."""
        return None if self.started is None or self.ended is None else max(self.ended - self.started, 0.0)

    @property
    def failed_step(self) -> JobStep | None:
        """The step to look at first: the one that failed earliest (a pipeline within only where nothing under it
        did).
        """
        failed = [step for step in self.steps.values() if step.status == "Failed"]
        return min(failed, key=lambda step: (step.group, step.ended or float("inf")), default=None)

    def as_json(self) -> dict[str, Any]:
        """What ``azdistill status --json`` prints."""
        return {
            **{"name": self.name, "display_name": self.display_name or None, "experiment": self.experiment or None},
            **{"status": self.status, "started": iso(self.started), "ended": iso(self.ended)},
            **{"seconds": self.seconds, "compute": self.compute or None, "studio_url": self.studio_url or None},
            **{"error": self.error or None, "tags": self.tags, "outputs": list(self.outputs)},
            "steps": {name: step.as_json() for name, step in self.steps.items()},
        }


def job_from(arm: Mapping[str, Any], run: Mapping[str, Any], steps: Mapping[str, JobStep], studio_url: str) -> Job:
    """A job out of ARM's answer and the details that run history has of its run."""
    properties = arm.get("properties") or {}
    return Job(
        name=str(arm.get("name") or run.get("runId") or ""),
        status=str(run.get("status") or properties.get("status") or "Unknown"),
        display_name=str(properties.get("displayName") or ""),
        experiment=str(properties.get("experimentName") or ""),
        started=moment(run.get("startTimeUtc") or run.get("createdTimeUtc") or run.get("createdUtc")),
        ended=moment(run.get("endTimeUtc")),
        compute=default_compute(properties),
        error=message_of(run),
        studio_url=(((properties.get("services") or {}).get("Studio") or {}).get("endpoint")) or studio_url,
        steps=ordered(steps, _names(properties.get("jobs") or {})),
        outputs={name: (out or {}).get("uri") or "" for name, out in (properties.get("outputs") or {}).items()},
        # Those that its steps have set while it ran are in run history at once.
        tags={str(k): str(v) for k, v in {**(properties.get("tags") or {}), **(run.get("tags") or {})}.items()},
        body=arm,
    )


def step_from(name: str, run: Mapping[str, Any], details: Mapping[str, Any] | None = None) -> JobStep:
    """A step out of a child run, and where they were asked for its details."""
    facts = {**run, **{key: value for key, value in (details or {}).items() if value is not None}}
    properties = facts.get("properties") or {}
    compute = facts.get("compute") or {}
    error = message_of(facts)
    return JobStep(
        name=name,
        run_id=str(run.get("runId") or ""),
        status=str(facts.get("status") or NOT_STARTED),
        reused=str(properties.get(_REUSED, "")).lower() == "true",
        reused_from=str(properties.get(_REUSED_FROM) or ""),
        started=moment(facts.get("startTimeUtc")),
        ended=moment(facts.get("endTimeUtc")),
        compute=str(compute.get("target") or compute.get("vmSize") or facts.get("target") or ""),
        error=error,
        exit_code=exit_code_in(error),
        group=is_group(run),
    )


def is_group(run: Mapping[str, Any]) -> bool:
    """Whether a child run is a pipeline's, with steps of its own."""
    kinds = (run.get("runType"), (run.get("runTypeV2") or {}).get("orchestrator"))
    return any(str(kind).lower() in ("azureml.pipelinerun", "pipelinerun", "pipeline") for kind in kinds)


#: Kinds of nodes that only decide which others run, and how often.
_DECIDING = ("if_else", "do_while", "parallel_for")


def _names(nodes: Mapping[str, Any]) -> list[str]:
    """The steps that will have a run each."""
    return [name for name, node in nodes.items() if str((node or {}).get("type")).lower() not in _DECIDING]


def ordered(steps: Mapping[str, JobStep], names: list[str]) -> dict[str, JobStep]:
    """The steps in the order of the pipeline, which is that of ``names``; those without a run yet are there too."""
    in_order: dict[str, JobStep] = {}
    for name in names:
        in_order[name] = steps.get(name, JobStep(name))
        in_order |= {key: step for key, step in steps.items() if key.startswith(f"{name}.")}
    return {**in_order, **steps}


def producer(body: Mapping[str, Any], output: str) -> tuple[str, str] | None:
    """The node and its output that a pipeline's output is bound to; None where the body does not tell."""
    for node, spec in ((body.get("properties") or {}).get("jobs") or {}).items():
        for name, value in ((spec or {}).get("outputs") or {}).items():
            text = value.get("value") or value.get("path") or "" if isinstance(value, Mapping) else value
            bound = _BINDING.fullmatch(str(text).strip())
            if bound and bound[1] == output:
                return str(node), str(name)
    return None


def default_compute(properties: Mapping[str, Any]) -> str:
    """The name of the compute that a pipeline's steps run on unless they say otherwise."""
    settings = properties.get("settings") or {}
    compute = settings.get("default_compute") or settings.get("defaultCompute") or properties.get("computeId") or ""
    return str(compute).rsplit("/", 1)[-1].removeprefix("azureml:")


def message_of(run: Mapping[str, Any]) -> str:
    """What run history says went wrong; empty where nothing did."""
    error = (run.get("error") or {}).get("error") or {}
    messages = [error.get("message"), *((detail or {}).get("message") for detail in error.get("details") or [])]
    return next((str(message).strip() for message in messages if message), str(error.get("code") or ""))


def exit_code_in(text: str) -> int | None:
    """The exit status of a step's command, where the service's message names it."""
    match = _EXIT_CODE.search(text)
    return int(match[1]) if match else None


def moment(text: Any) -> float | None:
    """Seconds since 1970 of a time as the service writes it (UTC, up to seven digits of a second)."""
    time = parsed_time(text)
    return time.timestamp() if time else None


def iso(seconds: float | None) -> str | None:
    """A time as JSON shows it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
