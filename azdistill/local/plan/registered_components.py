"""Components of a workspace or registry, and the files that stand for them here (``local.components``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from azdistill import aml
from azdistill.aml.models import Pipeline, PipelineComponent, Step
from azdistill.aml.pipelines import kind_of_component
from azdistill.aml.sweeps import searched
from azdistill.errors import SpecError
from azdistill.local.plan.data_locations import mapped

_Holder = TypeVar("_Holder", Pipeline, PipelineComponent)


def stand_in(pipeline: Pipeline, components: Mapping[str, Path]) -> Pipeline:
    """``pipeline`` with the files that ``components`` names in place of registered components, at any depth.

    SpecError where a file is no component, or where the pipeline uses it otherwise than it declares.
    """
    if not components:
        return pipeline
    replaced = _filled(pipeline, components, ())
    if replaced is pipeline:
        return pipeline
    problems = aml.check(replaced)
    if any(problem.severity == "error" for problem in problems):
        raise SpecError(problems)
    return replaced


def _filled(holder: _Holder, components: Mapping[str, Path], above: tuple[Path, ...]) -> _Holder:
    jobs = {name: _step(step, components, above) for name, step in holder.jobs.items()}
    same = all(jobs[name] is step for name, step in holder.jobs.items())
    return holder if same else replace(holder, jobs=jobs)


def _step(step: Step, components: Mapping[str, Path], above: tuple[Path, ...]) -> Step:
    component = step.component
    if isinstance(component, str):
        file = mapped(component, components)
        # A file that stands for something within itself is left as it is: planning names the step.
        if file is None or file in above:
            return step
        component, above = aml.load_component(file), (*above, file)
    if isinstance(component, PipelineComponent):
        component = _filled(component, components, above)
    if component is step.component:
        return step
    if step.sweep:
        return searched(replace(step, component=component), step.sweep)
    return replace(step, component=component, type=kind_of_component(component) or step.type)
