"""What a headline step says of a student that has not gained, in the names that ``components/compare`` logs."""

from __future__ import annotations

from collections.abc import Mapping

#: The tag of a pipeline's run, and of a registered version.
NOT_BETTER = "azdistill.not_better"
#: The metric of a pipeline's run: 1 or 0; absent where student and baseline were not compared.
_BETTER = "better_than_baseline"
SENTENCE = "NOT BETTER: the distilled student is not above the student as it was (the report has the numbers)"


def of_metrics(metrics: Mapping[str, float]) -> str:
    """The last line of a run here; empty where there is nothing to say."""
    return SENTENCE if metrics.get(_BETTER) == 0 else ""


def of_tags(tags: Mapping[str, str]) -> str:
    """The last line of a run on Azure; empty where there is nothing to say."""
    return SENTENCE if tags.get(NOT_BETTER) == "true" else ""
