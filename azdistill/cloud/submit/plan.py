"""What a submit would do, known before anything is uploaded: machines, images, uploads, reuse, hours and cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from azdistill import sizing
from azdistill.aml.source import Report
from azdistill.cloud.jobs.run_history import Earlier, earlier_runs
from azdistill.cloud.submit.command_steps import Leaf, leaves
from azdistill.cloud.submit.prepare import Submission
from azdistill.cloud.submit.uploads import ASK_ABOVE, Image, Upload, images, uploads
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.region import Cluster, Facts, squeezed
from azdistill.compile.graph import STEPS
from azdistill.errors import Problem, SpecError, did_you_mean
from azdistill.sizing import skus

HOUR = 3600
#: Components that train or run models: slow without a GPU.
_WANT_GPU = frozenset(step.component for step in STEPS.values() if step.gpu)
#: Components that answer with vLLM, which not every GPU runs.
_RUN_THE_ENGINE = frozenset({"teacher_in_job", "teacher_parallel"})


@dataclass(frozen=True)
class StepEstimate:
    """Where a step runs and what it may come to. ``hours`` is its time limit; None where something is not known."""

    name: str
    compute: str
    size: str | None
    nodes: int
    hours: float | None
    gpus: int | None
    gpu: str | None
    spot: bool
    identity: str | None
    price: float | None
    currency: str = ""
    as_of: date | None = None
    reusable: bool = False

    @property
    def gpu_hours(self) -> float | None:
        """The most GPU hours that it can take: nodes, GPUs of each, and the time limit."""
        if self.gpus == 0:
            return 0.0
        return None if self.gpus is None or self.hours is None else self.nodes * self.gpus * self.hours

    @property
    def cost(self) -> float | None:
        """The most that it can cost."""
        return None if self.price is None or self.hours is None else self.nodes * self.price * self.hours

    def as_json(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {
            **{"name": self.name, "compute": self.compute, "instance_type": self.size, "nodes": self.nodes},
            **{"time_limit_hours": self.hours, "gpus_per_node": self.gpus, "gpu": self.gpu, "spot": self.spot},
            **{"identity": self.identity, "max_gpu_hours": self.gpu_hours, "max_cost": self.cost},
            **{"currency": self.currency or None, "price_as_of": self.as_of.isoformat() if self.as_of else None},
            "reusable": self.reusable,
        }


@dataclass(frozen=True)
class SubmitPlan:
    """What would happen. ``problems`` are reasons why it cannot; ``warnings`` are things to know."""

    workspace: str
    fingerprint: str
    steps: list[StepEstimate]
    images: list[Image]
    uploads: list[Upload]
    earlier: list[Earlier] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    max_gpu_hours: float | None = None

    @property
    def gpu_hours(self) -> float | None:
        """The most GPU hours of all steps together; None where one of them is not known."""
        hours = [step.gpu_hours for step in self.steps if step.gpu_hours is not None]
        return sum(hours) if len(hours) == len(self.steps) else None

    @property
    def cost(self) -> float | None:
        """The most that all steps together can cost; None where one of them is not known."""
        return None if self.unpriced else self.known_cost

    @property
    def unpriced(self) -> list[str]:
        """Steps whose cost is not known."""
        return [step.name for step in self.steps if step.cost is None]

    @property
    def known_cost(self) -> float:
        """The most that the other steps can cost."""
        return sum(step.cost or 0.0 for step in self.steps)

    @property
    def upload_size(self) -> int:
        """Bytes of everything that is sent unless the workspace has it."""
        return sum(upload.size for upload in self.uploads)

    @property
    def needs_agreement(self) -> bool:
        """Whether so much is uploaded that somebody has to agree to just that."""
        return self.upload_size > ASK_ABOVE

    @property
    def reusable(self) -> list[str]:
        """Steps whose results Azure takes from an earlier run that said the same and ended well."""
        completed = any(run.status == "Completed" for run in self.earlier)
        return [step.name for step in self.steps if step.reusable] if completed else []

    def raise_for_problems(self) -> None:
        """SpecError where something would not work."""
        if self.problems:
            raise SpecError(self.problems)

    def as_json(self) -> dict[str, Any]:
        """The object of ``azdistill submit --dry-run --json``."""
        return {
            "workspace": self.workspace,
            "fingerprint": self.fingerprint,
            "steps": [step.as_json() for step in self.steps],
            "environments": [image.as_json() for image in self.images],
            "uploads": [upload.as_json() for upload in self.uploads],
            "upload_bytes": self.upload_size,
            "earlier": [vars(run) for run in self.earlier],
            "reusable": self.reusable,
            "max_gpu_hours": self.gpu_hours,
            "max_cost": self.cost,
            "warnings": self.warnings,
            "problems": [problem.as_json() for problem in self.problems],
        }


def plan_submission(connection: Connection, prepared: Submission) -> SubmitPlan:
    """The plan of submitting ``prepared``. Asks the workspace and changes nothing; finds all problems at once.

    ServiceError AZD404 where there is no such workspace.
    """
    facts = Facts(connection)
    workspace = connection.workspace
    steps = leaves(prepared.pipeline)
    builder = _Builder(facts, prepared)
    planned = [builder.step(leaf) for leaf in steps]
    environments, unregistered = images(steps, prepared.profile, facts)
    builder.report.extend(unregistered)
    builder.quota(planned)
    builder.ceiling(planned)
    builder.image_build(workspace)
    sent = uploads(prepared.pipeline, steps, frozenset(prepared.profile.environments))
    return SubmitPlan(
        workspace=connection.workspace_name,
        fingerprint=prepared.fingerprint,
        steps=planned,
        images=environments,
        uploads=sent,
        earlier=earlier_runs(connection, prepared.fingerprint),
        warnings=[*builder.warnings, *_large(sent)],
        problems=builder.report.problems,
        max_gpu_hours=prepared.max_gpu_hours,
    )


def _large(sent: Iterable[Upload]) -> list[str]:
    return [
        f"{upload.what}: {name} has {size / 1e6:.0f} MB"
        + ("; leave it out with .amlignore if no step reads it" if upload.what.startswith("code") else "")
        for upload in sent
        for name, size in upload.large
    ]


class _Builder:
    """Looks every step's machine up, and collects what is wrong."""

    def __init__(self, facts: Facts, prepared: Submission) -> None:
        self.facts, self.prepared = facts, prepared
        self.report = Report(list(prepared.unfired))
        self.warnings: list[str] = []
        self._clusters: dict[str, Cluster | None] = {}
        prices = prepared.project.prices
        self._prices = {name: float(price) for name, price in prices.items() if isinstance(price, int | float)}

    def step(self, leaf: Leaf) -> StepEstimate:
        """Where ``leaf`` runs."""
        cluster = self._cluster(leaf) if leaf.compute else None
        size = cluster.size if cluster else leaf.instance_type
        spot = leaf.spot or bool(cluster and cluster.low_priority)
        sku = self._sku(size)
        self._fits(leaf, cluster, size, sku)
        return StepEstimate(
            name=leaf.name,
            compute=leaf.compute or "serverless",
            size=size,
            nodes=leaf.nodes,
            hours=leaf.timeout / HOUR if leaf.timeout else None,
            gpus=sku.gpus if sku else _gpus(size, is_default=leaf.compute is None or cluster is not None),
            gpu=sku.gpu if sku else None,
            spot=spot,
            identity=leaf.identity,
            price=_price(sku, spot) if sku else self._own_price(size),
            currency=sku.currency if sku else "USD",
            as_of=sku.as_of if sku else date.today(),
            reusable=leaf.deterministic and not self.prepared.pipeline.settings.force_rerun,
        )

    def _sku(self, size: str | None) -> skus.Sku | None:
        return skus.find(size, self._prices) if size else None

    def _own_price(self, size: str | None) -> float | None:
        return next((price for name, price in self._prices.items() if name.lower() == (size or "").lower()), None)

    def _cluster(self, leaf: Leaf) -> Cluster | None:
        name = str(leaf.compute)
        if name not in self._clusters:
            self._clusters[name] = self.facts.cluster(name)
            if self._clusters[name] is None:
                message = f"the workspace has no compute '{name}' (step '{leaf.name}')"
                hint = did_you_mean(name, self.facts.cluster_names()) or "it has no computes"
                hint += "; serverless compute needs none: azureml:serverless"
                self.report.error("AZD421", message, leaf.step.where, hint=hint)
        return self._clusters[name]

    def _fits(self, leaf: Leaf, cluster: Cluster | None, size: str | None, sku: skus.Sku | None) -> None:
        if cluster and cluster.state.lower() not in ("succeeded", ""):
            self.report.error("AZD422", f"the compute '{cluster.name}' is in state {cluster.state}", leaf.step.where)
        if cluster and cluster.nodes is not None and leaf.nodes > cluster.nodes:
            message = f"step '{leaf.name}' wants {leaf.nodes} nodes; '{cluster.name}' has at most {cluster.nodes}"
            hint = "ask for fewer, or raise the cluster's max_instances"
            self.report.error("AZD422", message, leaf.step.where, hint=hint)
        if leaf.compute is None and size and sku is None:
            near = did_you_mean(size, [each.name for each in skus.all_of()])
            hint = f"; {near}" if near.startswith("did") else ""
            self.warnings.append(f"{leaf.name}: nothing is known of the instance type {size}{hint}")
        if size and (sku.gpus if sku else _gpus(size)) == 0 and leaf.component and leaf.component.name in _WANT_GPU:
            self.warnings.append(f"{leaf.name}: {size} has no GPU, and this step runs models")
        engine = leaf.component is not None and leaf.component.name in _RUN_THE_ENGINE
        if engine and sku and sku.gpus and (refused := sizing.engine_refuses(sku)):
            self.report.error("AZD422", f"step '{leaf.name}' cannot run on {sku.name}: {refused}", leaf.step.where)

    def quota(self, steps: list[StepEstimate]) -> None:
        """Whether the region's quota holds what serverless steps ask for; clusters have theirs already."""
        demands = {
            (sku.family, step.nodes * sku.vcpus): step.name
            for step in steps
            if step.compute == "serverless" and (sku := self._sku(step.size))
        }
        for (family, cores), name in demands.items():
            quota = self.facts.quotas.get(squeezed(family))
            if quota is None or quota.limit is None:
                continue
            if quota.limit < cores:
                place = f"in {self.facts.connection.location} is {quota.limit}"
                message = f"step '{name}' wants {cores} cores of {family}; the quota {place}"
                hint = "ask for quota in the portal (Machine Learning, Quotas), or choose another instance type"
                self.report.extend([Problem("AZD426", message, hint=hint)])
            elif quota.free < cores:
                free = f"{quota.free:g} of {quota.limit}"
                self.warnings.append(f"{name}: waits for {cores} cores of {family}; {free} are free")

    def ceiling(self, steps: list[StepEstimate]) -> None:
        """Whether the run stays under the GPU hours that it may take."""
        ceiling = self.prepared.max_gpu_hours
        if ceiling is None:
            return
        unknown = [step.name for step in steps if step.gpu_hours is None]
        hours = sum(step.gpu_hours or 0.0 for step in steps)
        if unknown:
            message = f"max_gpu_hours is {ceiling:g}, but it is not known what {', '.join(unknown)} may take"
            hint = "name an instance type that is known (`azdistill endpoint plan` lists them) and a time limit"
            self.report.extend([Problem("AZD420", message, hint=hint)])
        elif hours > ceiling:
            message = f"the run may take {hours:g} GPU hours, and max_gpu_hours is {ceiling:g}"
            hint = "lower the steps' limits.timeout, or raise the ceiling"
            self.report.extend([Problem("AZD420", message, hint=hint)])

    def image_build(self, workspace: Mapping[str, Any]) -> None:
        """What the profile says of where images are built, and what the workspace does."""
        compute = self.prepared.profile.image_build_compute
        current = workspace.get("properties", {}).get("imageBuildCompute")
        if compute and compute != current:
            if self.facts.cluster(compute) is None:
                message = f"image_build_compute: the workspace has no compute '{compute}'"
                hint = did_you_mean(compute, self.facts.cluster_names())
                self.report.extend([Problem("AZD421", message, hint=hint)])
            self.warnings.append(f"the workspace will build its images on {compute} (now: {current or 'ACR tasks'})")


def _price(sku: skus.Sku, spot: bool) -> float | None:
    """For an hour; where the price of spare capacity is not known, the full one, which it never passes."""
    return sku.low_priority_price if spot and sku.low_priority_price is not None else sku.price


def _gpus(size: str | None, is_default: bool = True) -> int | None:
    """GPUs of a machine that the table does not know: none, unless its family is N (Azure's naming of sizes).

    A serverless step that names no size gets one without GPUs.
    """
    if size is None:
        return 0 if is_default else None
    return None if re.match(r"standard_n[a-z]", size, re.IGNORECASE) else 0
