"""The names by which a program asks for models and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from azdistill.compile.naming import BASELINE, DISTILLED
from azdistill.errors import UserError, did_you_mean

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
#: Given without being asked for, beside the metrics' own names.
_ALWAYS = ("accuracy", "bleu_score", "inference_time")
_KNOWN = (
    *("accuracy", "exact_match", "macro_f1", "token_f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL"),
    *("compression_ratio", "density"),
    *("latency_ms_p50", "latency_ms_p95", "throughput", "tokens_per_second", "weights_bytes", "parameters"),
)


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
    for ending, column in ((DISTILLED, "distilled"), (BASELINE, "baseline")):
        if name.endswith(ending) and name != ending:
            return ModelName(name.removesuffix(ending), "distilled" if column == "distilled" else "baseline")
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
        named = {name: found for name in _ALWAYS if (found := _value(name, numbers)) is not None}
        return {**numbers, **named}
    wanted = [metrics] if isinstance(metrics, str) else metrics
    picked = {name: _value(name, numbers) for name in wanted}
    if missing := [name for name, value in picked.items() if value is None]:
        hint = f"measured were: {', '.join(sorted(numbers))}"
        raise UserError(f"the test data gives no {', '.join(missing)}", code="AZD492", hint=hint)
    return {name: value for name, value in picked.items() if value is not None}


def _value(name: str, numbers: Mapping[str, float]) -> float | None:
    return next((numbers[key] for key in ALIASES.get(name, (name,)) if key in numbers), None)
