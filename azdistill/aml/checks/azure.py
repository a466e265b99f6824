"""What Azure ML accepts in a file and then drops, or refuses later."""

from __future__ import annotations

from azdistill.aml.checks.survey import Survey
from azdistill.aml.source import Report, Where


def dropped_keys(survey: Survey, report: Report) -> None:
    """AZD160 and AZD161."""
    # A command that is written in place, or in a job by itself (no steps lead to it), has its step's variables.
    inline = {id(step.component) for _, step in survey.steps() if step.inline or not step.where.steps}
    for component in survey.components:
        if id(component) not in inline and "environment_variables" in component.where.mapping:
            message = "a component has no environment_variables in Azure ML"
            hint = "set them on the step that runs the component"
            report.error("AZD160", message, component.where / "environment_variables", key=True, hint=hint)
    for _, step in survey.steps():
        # A job by itself refuses the key as unknown.
        retried = "retry_settings" in step.where.mapping and not step.only_on_azure
        if retried and step.type != "parallel" and step.where.steps:
            kind = f"step '{step.name}' is a {step.type}"
            message = f"{kind}: Azure ML retries parallel steps only and drops retry_settings"
            report.error("AZD161", message, step.where / "retry_settings", key=True, hint="take it out")


def local_compute(survey: Survey, report: Report) -> None:
    """AZD162."""
    places = [(f"step '{step.name}': ", step.where / "compute") for _, step in survey.steps() if step.compute]
    for scope in survey.scopes:
        # A command job by itself may ask for this machine.
        if scope.is_job and "jobs" in scope.where.mapping:
            places += [("", scope.where / "compute"), ("", scope.where / "settings" / "default_compute")]
    for subject, where in places:
        if str(where.value).lower() in ("local", "azureml:local"):
            hint = "leave it out; 'azdistill run' runs every step on this machine whatever it says"
            report.error("AZD162", f"{subject}Azure ML pipelines have no local compute", where, hint=hint)


def bare_references(survey: Survey, report: Report) -> None:
    """AZD176: what azure-ai-ml takes for no reference, since no ``azureml:`` is before it."""
    places = [(c.environment, c.place("environment")) for c in survey.components]
    places += [(step.environment, step.where / "environment") for _, step in survey.steps()]
    for named, where in places:
        if isinstance(named, str) and not _is_reference(named):
            report.error("AZD176", f"environment '{named}' is no reference", where, hint=_meant(named, where))
    for scope in survey.scopes:
        for key, words in (("default_compute", ("serverless", "local")), ("default_datastore", ())):
            where = scope.where / "settings" / key
            named = where.value if scope.is_job else None
            if isinstance(named, str) and not _is_reference(named) and named.lower() not in words:
                hint = f"did you mean 'azureml:{named}'?"
                report.error("AZD176", f"{key} '{named}' is no reference", where, hint=hint)


def _is_reference(text: str) -> bool:
    return text.startswith("${{") or (text.startswith("azureml:") and text != "azureml:")


def _meant(named: str, where: Where) -> str:
    if named.endswith((".yml", ".yaml")):
        return f"did you mean 'file:{named}'?"
    if "/" in named or ":" in named:
        return f"did you mean the image? 'environment: {{image: {named}}}'; one that is registered: 'azureml:{named}'"
    return f"did you mean 'azureml:{named}@latest'?"
