"""``models.evaluate``: the names of models and metrics, and the pipeline that measures one model.

The pipeline is ``pipelines/evaluate.yml``, with what this model does not need left out.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from azdistill import assets, families
from azdistill.compile.naming import BASELINE, DISTILLED
from azdistill.errors import RunFailed, UserError, did_you_mean
from azdistill.recipe.read import is_local
from azdistill.recipe.refer import Weights, weights_of

Column = Literal["distilled", "baseline"]

#: What programs call a metric -> its name in ``comparison.json``, in order of preference.
ALIASES: dict[str, tuple[str, ...]] = {
    # Free text has no right answer: there it is the share of responses that equal the reference.
    "accuracy": ("accuracy", "exact_match"),
    "bleu_score": ("bleu",),
    "chrf_score": ("chrf",),
    "rouge": ("rougeL",),
    "rouge_score": ("rougeL",),
    "rouge1_score": ("rouge1",),
    "rouge2_score": ("rouge2",),
    "rougeL_score": ("rougeL",),
    # Milliseconds for one response, the median.
    "inference_time": ("latency_ms_p50",),
    "latency": ("latency_ms_p50",),
    "model_size": ("weights_bytes",),
}
#: Values that a program gets unasked, beside the metrics' own names.
_ALWAYS = ("accuracy", "bleu_score", "inference_time")
_KNOWN = (
    *("accuracy", "exact_match", "macro_f1", "token_f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL"),
    *("compression_ratio", "density"),
    *("latency_ms_p50", "latency_ms_p95", "throughput", "tokens_per_second", "weights_bytes", "parameters"),
)
#: How the name of a model ends, and which column of a comparison it is.
_COLUMNS: dict[str, Column] = {DISTILLED: "distilled", BASELINE: "baseline"}
#: What a run that made a model says about its rows and how it was measured, so that others are measured alike:
#: inputs of prepare_data, and those of evaluate (``mine=theirs``, as the pipeline that distils names them).
_ROWS = ("prompt_column", "reference_column", "system_prompt", "on_bad_rows")
_MEASURED = {
    **{"max_new_tokens": "max_new_tokens", "batch_size": "evaluation_batch_size", "latency_rows": "latency_rows"},
    **{"dtype": "evaluation_dtype", "device": "device", "seed": "seed"},
}
_MODELS = ("distilled", "baseline_weights", "baseline_id", "revision")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from: its weights, and the inputs of the run that made it (empty where there is none).

    ``where`` is what that run's pipeline says of the compute of its evaluation.
    """

    weights: Weights
    inputs: Mapping[str, Any]
    where: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure, and the task that it is measured on: ``task_type``, or that of its run."""

    name: str
    column: Column
    origin: Origin
    task_type: str | None = None

    @property
    def task(self) -> str:
        """The task's name. UserError AZD490 where the model's own run names none, and nobody else does."""
        word = self.task_type or self.origin.inputs.get("task_type")
        task = families.member(assets.tasks(), str(word or ""))
        if task is None:
            raise UserError(
                f"what '{self.name}' is to be measured on is not known: no run that made it is here",
                code="AZD490",
                hint=f"give task_type= (one of {', '.join(families.names(assets.tasks()))})",
            )
        return task.name


class Models(ABC):
    """``models`` of a client, as far as it measures them. ``until`` is when patience ends (monotonic clock)."""

    def evaluate(
        self,
        model_name: str,
        test_data: str | Path,
        metrics: Sequence[str] | None = None,
        timeout: float | None = None,
        *,
        task_type: str | None = None,
    ) -> dict[str, float]:
        """Measure a model on ``test_data``: ``<student>-distilled``, or ``<student>-baseline``, the student as it was.

        ``metrics`` are names of :data:`ALIASES` or of comparison.json (None: all there are). Waits for the run that
        makes the model, then for the one that measures it, with progress on stderr; ``timeout`` is for both together,
        in seconds. ServiceError AZD493 where it runs out (what was submitted goes on), UserError for a name that leads
        nowhere, RunFailed where the run or the measuring failed. On this machine the run that makes a model has ended
        before its job is known: there is nothing to wait for, and ``timeout`` is for Azure.
        """
        check_metrics(metrics)
        until = None if timeout is None else time.monotonic() + timeout
        subject = self._subject(model_name, task_type, until)
        report = self._measure(model_name, evaluation_of(subject, test_data), until)
        return pick(measured(report, subject.column), metrics)

    def _subject(self, name: str, task_type: str | None, until: float | None) -> Subject:
        runs_by_model = self._makers()
        models = sorted(ending for distilled in runs_by_model for ending in both(distilled))
        model = model_name(name, models)
        runs = runs_by_model.get(model.distilled, [])
        if model.column == "distilled":
            return Subject(name, "distilled", self._distilled(name, runs, models, until), task_type)
        inputs, where = self._settings(runs)
        weights = source_of(inputs) or weights_of(model.student, Path.cwd(), "student")
        return Subject(name, "baseline", Origin(weights, inputs, where), task_type)

    @abstractmethod
    def _makers(self) -> Mapping[str, Sequence[Any]]:
        """The names of distilled models, each with the runs that make it, newest first."""

    @abstractmethod
    def _settings(self, runs: Sequence[Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The inputs of the newest of these runs, and the compute of its evaluation."""

    @abstractmethod
    def _distilled(self, name: str, runs: Sequence[Any], models: Sequence[str], until: float | None) -> Origin:
        """The distilled model ``name`` that these runs make."""

    @abstractmethod
    def _measure(self, name: str, mapping: dict[str, Any], until: float | None) -> bytes:
        """Run the pipeline that measures a model; the text of its comparison.json."""


def source_of(inputs: Mapping[str, Any]) -> Weights | None:
    """The student as it was, as the inputs of the run that taught it say."""
    if weights := inputs.get("student_weights"):
        return Weights("path", str(weights))
    return Weights("id", str(inputs["student_id"])) if inputs.get("student_id") else None


def measured(comparison: bytes, column: Column) -> dict[str, Any]:
    """What the text of comparison.json says of one model. RunFailed where it is not of ours."""
    try:
        return dict(json.loads(comparison)[column])
    except (ValueError, KeyError, TypeError) as error:
        raise RunFailed(f"the report compares no {column} model: {error!r}", code="AZD496") from None


def evaluation_of(subject: Subject, test_data: str | Path) -> dict[str, Any]:
    """The pipeline as plain data, with absolute paths. UserError AZD494 where the test data is not there."""
    ready = assets.pipeline("evaluate")
    mapping: dict[str, Any] = yaml.safe_load(ready.read_text(encoding="utf-8"))
    inputs, jobs = _inputs(subject, test_data), mapping["jobs"]
    for node in jobs.values():
        node["component"] = str((ready.parent / node["component"]).resolve())
    jobs["prepare"]["inputs"] |= {name: _bound(name) for name in _ROWS if name in inputs}
    names = ["task_type", *(name for name in (*_MODELS, *_MEASURED) if name in inputs)]
    rows = {"test_rows": "${{parent.jobs.prepare.outputs.train}}"}
    jobs["evaluate"]["inputs"] = rows | {name: _bound(name) for name in names}
    if subject.origin.where:
        jobs["evaluate"].pop("resources", None)
        jobs["evaluate"] |= dict(subject.origin.where)
    about = {"display_name": f"evaluate: {subject.name}", "experiment_name": f"evaluate-{subject.task}"}
    return {**mapping, **about, "description": f"Measures {subject.name}.", "inputs": inputs}


def _inputs(subject: Subject, test_data: str | Path) -> dict[str, Any]:
    of_run = {name: value for name, value in subject.origin.inputs.items() if value not in (None, "")}
    inputs: dict[str, Any] = {
        "test_data": {"type": "uri_file", "path": _placed(test_data)},
        "task_type": subject.task,
        **{name: of_run[name] for name in _ROWS if name in of_run},
        **{mine: of_run[theirs] for mine, theirs in _MEASURED.items() if theirs in of_run},
    }
    if "system_prompt" in inputs and not isinstance(inputs["system_prompt"], dict):
        inputs["system_prompt"] = {"type": "uri_file", "path": inputs["system_prompt"]}
    weights = subject.origin.weights
    if weights.kind == "path":
        column = "distilled" if subject.column == "distilled" else "baseline_weights"
        inputs[column] = {"type": "custom_model", "path": weights.value}
    else:
        inputs["baseline_id"] = weights.value
        inputs |= {"revision": of_run["revision"]} if "revision" in of_run else {}
    return inputs


def _placed(test_data: str | Path) -> str:
    text = str(test_data)
    if not is_local(text):
        return text
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise UserError(f"there is no file {text}", code="AZD494", hint="test_data is a file of rows")
    return str(path)


def _bound(name: str) -> str:
    return f"${{{{parent.inputs.{name}}}}}"


@dataclass(frozen=True, slots=True)
class ModelName:
    """``phi-4-mini-distilled`` taken apart: which student, before or after."""

    student: str
    column: Column

    @property
    def distilled(self) -> str:
        """The name of the distilled model of the same student."""
        return self.student + DISTILLED


def model_name(name: str, known: Sequence[str] = ()) -> ModelName:
    """The parts of a model's name; ``known`` are names to suggest. UserError AZD490 where it is of another form."""
    for ending, column in _COLUMNS.items():
        if name.endswith(ending) and name != ending:
            return ModelName(name.removesuffix(ending), column)
    hint = f"<student>{DISTILLED} is the distilled model, <student>{BASELINE} the student as it was"
    close = did_you_mean(name, known) if known else ""
    raise UserError(f"'{name}' names no model", code="AZD490", hint=f"{close} {hint}".strip())


def both(distilled: str) -> tuple[str, ...]:
    """The names of a distilled model and of the student it came from."""
    student = distilled.removesuffix(DISTILLED)
    return student + DISTILLED, student + BASELINE


def check_metrics(metrics: Sequence[str] | None) -> None:
    """UserError AZD491 for a metric that no model has: before hours are spent on measuring it."""
    for name in [metrics] if isinstance(metrics, str) else metrics or ():
        if name not in ALIASES and name not in _KNOWN:
            raise UserError(
                f"there is no metric '{name}'", code="AZD491", hint=did_you_mean(name, sorted({*ALIASES, *_KNOWN}))
            )


def pick(measured: Mapping[str, Any], metrics: Sequence[str] | None) -> dict[str, float]:
    """The ``metrics`` out of what was measured of one model; all of them for None.

    UserError AZD492 for one that this model has no value of (rows without references have no BLEU).
    """
    numbers = {
        name: float(value)
        for name, value in measured.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    if metrics is None:
        named = {name: number for name in _ALWAYS if (number := _number(name, numbers)) is not None}
        return {**numbers, **named}
    names = [metrics] if isinstance(metrics, str) else metrics
    picked = {name: number for name in names if (number := _number(name, numbers)) is not None}
    if missing := [name for name in names if name not in picked]:
        hint = f"measured were: {', '.join(sorted(numbers))}"
        raise UserError(f"the test data gives no {', '.join(missing)}", code="AZD492", hint=hint)
    return picked


def _number(name: str, numbers: Mapping[str, float]) -> float | None:
    return next((numbers[key] for key in ALIASES.get(name, (name,)) if key in numbers), None)
