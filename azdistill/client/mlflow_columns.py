"""Which metrics a table of runs shows at first sight, out of everything that a headline step logged."""

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
