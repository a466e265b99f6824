"""What Azure ML accepts in a file and then drops, or refuses later."""

from __future__ import annotations

from azdistill.spec.checks.survey import Survey
from azdistill.spec.source import Report


def dropped_keys(survey: Survey, report: Report) -> None:
    """AZD160 and AZD161."""
    for component in survey.components:
        if component.name is not None and "environment_variables" in (component.where.value or {}):
            message = "a component has no environment_variables in Azure ML"
            hint = "set them on the step that runs the component"
            report.error("AZD160", message, component.where / "environment_variables", key=True, hint=hint)
    for _, step in survey.steps():
        if step.type != "parallel" and not step.only_on_azure and "retry_settings" in (step.where.value or {}):
            message = f"step '{step.name}' is a command: Azure ML retries parallel steps only and drops retry_settings"
            report.error("AZD161", message, step.where / "retry_settings", key=True, hint="take it out")


def local_compute(survey: Survey, report: Report) -> None:
    """AZD162."""
    for _, step in survey.steps():
        if step.compute in ("local", "azureml:local"):
            message = f"step '{step.name}': Azure ML pipelines have no local compute"
            hint = "leave 'compute' out; 'azdistill run' runs every step on this machine whatever it says"
            report.error("AZD162", message, step.where / "compute", hint=hint)
