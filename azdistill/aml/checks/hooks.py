"""The steps that a pipeline job's ``on_init`` and ``on_finalize`` name, which run before and after all others."""

from __future__ import annotations

from azdistill.aml.checks.survey import Survey
from azdistill.aml.checks.wiring import steps_needed
from azdistill.aml.scope import Scope
from azdistill.aml.source import Report
from azdistill.errors import did_you_mean

HOOKS = ("on_init", "on_finalize")


def first_and_last_steps(survey: Survey, report: Report) -> None:
    """AZD140 and AZD193: each names a step of its own that is bound to no other (azure-ai-ml, ``PipelineJob``)."""
    for scope in survey.scopes:
        places = [scope.where / "settings" / hook for hook in HOOKS] if scope.is_job else []
        named = [where for where in places if isinstance(where.value, str)]
        for where in named:
            hook, name = where.steps[-1], where.value
            if name not in scope.jobs:
                report.error("AZD140", f"there is no step '{name}'", where, hint=did_you_mean(name, list(scope.jobs)))
            elif wrong := _wrong(scope, name, {other.value for other in named}):
                hint = f"{hook} needs a step of its own that is bound to no other"
                report.error("AZD193", f"step '{name}' cannot be {hook}: {wrong}", where, hint=hint)
        if len(named) > 1 and len({where.value for where in named}) == 1:
            message = f"step '{named[0].value}' is both on_init and on_finalize"
            report.error("AZD193", message, named[1], hint="name two steps")


def _wrong(scope: Scope, name: str, hooks: set[str]) -> str:
    step = scope.jobs[name]
    if step.choice or step.body:
        return f"it is of type {step.type}"
    if needed := next(iter(steps_needed(step)), None):
        return f"it needs step '{needed}'"
    if user := next((other.name for other in scope.jobs.values() if name in steps_needed(other)), None):
        return f"step '{user}' needs it"
    return "" if scope.jobs.keys() - hooks else "the pipeline has no other steps"
