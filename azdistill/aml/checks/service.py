"""Expressions in a job's inputs and in the paths of outputs, which only Azure ML's own may be."""

from __future__ import annotations

from azdistill.aml.checks.survey import Survey
from azdistill.aml.expressions import SERVICE_WORDS, Reference, references_in
from azdistill.aml.models import Output
from azdistill.aml.service import meant_in, misspelt, texts_of
from azdistill.aml.source import Report, Where
from azdistill.errors import Severity

#: Bindings that a path may hold, which are another check's business.
_BOUND = ("parent", "inputs", "outputs", "search_space")


def unknown_service_words(survey: Survey, report: Report) -> None:
    """AZD157; a warning for what is like none of Azure ML's words, and may be meant as text."""
    jobs = [scope for scope in survey.scopes if scope.is_job]
    for scope in jobs:
        for name, declared in scope.inputs.items():
            for text, where in texts_of(declared):
                for raw, suggestion in meant_in(text):
                    message = f"input '{name}' holds {raw}, which Azure ML does not know"
                    report.error("AZD157", message, where, hint=suggestion, needle=raw)
                for reference in references_in(text):
                    if not (declared.is_data and reference.path[0] in _BOUND):
                        _known(report, f"input '{name}'", reference, where, in_inputs=True)
    for component in survey.pipelines:
        for name, declared in component.inputs.items():
            for reference in references_in(declared.default) if isinstance(declared.default, str) else ():
                message = f"the default of input '{name}' holds {reference}, which nothing replaces there"
                hint = "Azure ML's own expressions stand in a job's inputs, and in the paths of outputs"
                if ".".join(reference.path) in SERVICE_WORDS or misspelt(reference):
                    report.error("AZD157", message, declared.where_default, hint=hint, needle=reference.raw)
    outputs = [(name, output) for scope in jobs for name, output in scope.outputs.items()]
    outputs += [(n, o) for _, step in survey.steps() for n, o in step.outputs.items() if isinstance(o, Output)]
    for name, output in outputs:
        for raw, suggestion in meant_in(output.path or ""):
            message = f"the path of output '{name}' holds {raw}, which Azure ML does not know"
            report.error("AZD157", message, output.where / "path", hint=suggestion, needle=raw)
        for reference in references_in(output.path or ""):
            if reference.path[0] not in _BOUND:
                _known(report, f"the path of output '{name}'", reference, output.where / "path", in_inputs=False)


def _known(report: Report, what: str, reference: Reference, where: Where, *, in_inputs: bool) -> None:
    word = SERVICE_WORDS.get(".".join(reference.path))
    allowed = [one for one in SERVICE_WORDS.values() if (one.in_inputs if in_inputs else one.in_outputs)]
    if word in allowed:
        return
    if word is not None:
        place = "the path of an output" if in_inputs else "an input"
        message = f"{what} holds {reference}, which stands in {place} only"
        report.error("AZD157", message, where, needle=reference.raw)
        return
    meaning = misspelt(reference)
    words = "known: " + ", ".join(f"{one} ({one.stands_for})" for one in allowed)
    message = f"{what} holds {reference}, which Azure ML does not know" + ("" if meaning else ": it stays text")
    severity: Severity = "error" if meaning else "warning"
    report.note("AZD157", message, where, severity=severity, hint=meaning or words, needle=reference.raw)
