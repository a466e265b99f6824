"""What the plan of a run would refuse of the places of a pipeline's data, for those who only look at the pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from azdistill.aml.models import Pipeline
from azdistill.errors import AzdistillError, Problem, SpecError
from azdistill.local.plan.local_settings import find_settings, stand_in
from azdistill.local.plan.planner import plan_pipeline
from azdistill.local.store.home import find_home

#: A file where a folder is expected, or the other way round: two outputs in one place among them. What is only not on
#: this machine, or not run on any, is no fault of the pipeline's.
_FAULTS = ("AZD346",)


def refused_places(pipeline: Pipeline) -> list[Problem]:
    """The problems with places that a run of ``pipeline`` would end with before its first step; nothing is written."""
    home = replace(find_home(), looking=True)
    try:
        settings = find_settings(pipeline.source.parent if pipeline.source else Path.cwd())
        plan_pipeline(stand_in(pipeline, settings.components), home, data=settings.data)
    except SpecError as error:
        return [problem for problem in error.problems if problem.code in _FAULTS]
    except AzdistillError:
        # Told when it is run: a file of settings, say, is no part of the pipeline.
        return []
    return []
