"""The expressions that Azure ML itself replaces when a job starts, in a whole pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from azdistill.aml.expressions import (
    NAME,
    SERVICE_WORDS,
    TRIGGER_TIME,
    Reference,
    ServiceWord,
    fill,
    references_in,
    spaced_or_unclosed,
)
from azdistill.aml.models import Input, Output, Pipeline
from azdistill.aml.source import Report, Where
from azdistill.errors import Problem, did_you_mean

#: What begins only words of the service.
_CONTEXT = "creation_context"


def texts_of(declared: Input) -> Iterator[tuple[str, Where]]:
    """What of a job's input may hold such expressions, a value or a path, and where it stands."""
    if declared.path is not None:
        yield declared.path, declared.where_path
    elif isinstance(declared.default, str):
        yield declared.default, declared.where_default


def misspelt(reference: Reference) -> str:
    """What was meant by a reference that is nearly one of the service's words, as a hint; else empty."""
    path = ".".join(reference.path)
    close = did_you_mean(path, list(SERVICE_WORDS)) if path not in SERVICE_WORDS else ""
    if close.startswith("did"):
        return close.replace("'", "'${{", 1).replace("'?", "}}'?")
    return "known: " + ", ".join(map(str, SERVICE_WORDS.values())) if reference.path[0] == _CONTEXT and close else ""


def meant_in(text: str) -> Iterator[tuple[str, str]]:
    """What looks like an expression, is none for its blanks or its end, and resembles a word of the service."""
    for raw, reference in spaced_or_unclosed(text):
        path = ".".join(reference.path)
        suggestion = f"did you mean '{SERVICE_WORDS[path]}'?" if path in SERVICE_WORDS else misspelt(reference)
        if suggestion:
            yield raw, suggestion


def harmless(text: str) -> str:
    """A value as a command gets it: what the service replaces comes to plain characters, all else is text.

    A misspelt word is told as one, and need not be told as text, too.
    """
    words = {
        ServiceWord(".".join(reference.path), ""): "x"
        for reference in references_in(text)
        if ".".join(reference.path) in SERVICE_WORDS or misspelt(reference)
    }
    for raw, _ in meant_in(text):
        text = text.replace(raw, "x")
    return fill(text, words)


def outputs_of(pipeline: Pipeline) -> Iterator[tuple[str, Output]]:
    """The outputs of a job and of its steps that may have a path of their own."""
    yield from pipeline.outputs.items()
    for step in pipeline.jobs.values():
        yield from ((name, output) for name, output in step.outputs.items() if isinstance(output, Output))


def uses(pipeline: Pipeline, word: ServiceWord) -> bool:
    """Whether an input of the pipeline holds ``word``."""
    texts = (text for declared in pipeline.inputs.values() for text, _ in texts_of(declared))
    return any(".".join(reference.path) == word.path for text in texts for reference in references_in(text))


def filled(pipeline: Pipeline, words: Mapping[ServiceWord, str]) -> Pipeline:
    """The pipeline whose inputs have what is ``words`` in the place of the expressions."""
    inputs = {name: _filled(declared, words) for name, declared in pipeline.inputs.items()}
    return replace(pipeline, inputs=inputs)


def _filled(declared: Input, words: Mapping[ServiceWord, str]) -> Input:
    if declared.path is not None:
        return replace(declared, path=fill(declared.path, words))
    text = declared.default
    return replace(declared, default=fill(text, words)) if isinstance(text, str) else declared


def unfired(pipeline: Pipeline) -> list[Problem]:
    """AZD158: inputs and paths that only a schedule fills in, in a pipeline that is started by hand."""
    report = Report()

    def look(subject: str, text: str, where: Where, advice: str) -> None:
        for reference in references_in(text):
            if ".".join(reference.path) == TRIGGER_TIME.path:
                message = f"{subject} {reference}, which only a schedule fills in when it fires"
                hint = f"start it with `azdistill schedule run|apply`, or {advice}"
                report.error("AZD158", message, where, hint=hint, needle=reference.raw)

    for name, output in outputs_of(pipeline):
        advice = f"write {NAME}, which differs at each start too"
        look(f"the path of output '{name}' holds", output.path or "", output.where / "path", advice)
    for name, declared in pipeline.inputs.items():
        for text, where in texts_of(declared):
            look(f"input '{name}' is", text, where, f"give the moment: --set {name}=2026-01-31T00:00:00Z")
    return report.problems
