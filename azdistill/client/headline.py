"""What the headline step of a distillation logs, in the names of ``components/evaluation/compare``: the columns of
MLflow's table of runs, and the verdict on a student that has not gained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: How many columns a screen holds.
MOST = 12
#: The models that are compared, then what they are compared by, in the words of ``comparison.json``.
_MODELS = ("teacher", "baseline", "distilled", "gold_sft")
_NUMBERS = (
    *("retention", "latency_reduction", "memory_reduction", "p_value_distilled_vs_baseline"),
    *("throughput_ratio", "gap_recovered", "rows"),
)
#: The tag of a pipeline's run, and of a registered version.
NOT_BETTER = "azdistill.not_better"
#: The metric of a pipeline's run: 1 or 0; absent where student and baseline were not compared.
_BETTER = "better_than_baseline"
SENTENCE = "NOT BETTER: the distilled student is not above the student as it was (the report has the numbers)"


def columns(logged: Sequence[str], tags: Mapping[str, str] | None = None) -> list[str]:
    """At most a dozen of the metrics ``logged``, the telling ones first.

    ``tags`` are those that the steps set; ``retention_metric`` is what models are judged by. Metrics of another kind of
    pipeline are shown in the order in which they were logged.
    """
    metric = (tags or {}).get("retention_metric", "")
    judged_by = [name for name in (metric, "accuracy", "rougeL") if name]
    chosen = next((name for name in judged_by if any(f"{model}.{name}" in logged for model in _MODELS)), "")
    telling = [name for name in (*(f"{model}.{chosen}" for model in _MODELS), *_NUMBERS) if name in logged]
    return (telling if len(telling) > 1 else list(dict.fromkeys(logged)))[:MOST]


def verdict_of_metrics(metrics: Mapping[str, float]) -> str:
    """The last line of a run here; empty where there is nothing to say."""
    return SENTENCE if metrics.get(_BETTER) == 0 else ""


def verdict_of_tags(tags: Mapping[str, str]) -> str:
    """The last line of a run on Azure; empty where there is nothing to say."""
    return SENTENCE if tags.get(NOT_BETTER) == "true" else ""
