"""Every check of a spec that needs no network. A check is a function; all of them run, whatever the others find."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from azdistill.aml.checks import (
    azure,
    commands,
    control,
    files,
    names,
    parallel,
    secrets,
    service,
    sweep,
    values,
    wiring,
)
from azdistill.aml.checks.survey import Survey, survey
from azdistill.aml.loader import gather
from azdistill.aml.models import Spec
from azdistill.aml.source import Report
from azdistill.errors import Problem
from azdistill.redact import redact

Check = Callable[[Survey, Report], None]

_MODULES = (azure, commands, control, files, names, parallel, secrets, service, sweep, values, wiring)


def _checks() -> Iterator[Check]:
    """The public functions of the modules above that take a survey and a report."""
    for module in _MODULES:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_public = function.__module__ == module.__name__ and not name.startswith("_")
            if is_public and list(inspect.signature(function).parameters) == ["survey", "report"]:
                yield function


CHECKS = tuple(_checks())


def check(spec: Spec) -> list[Problem]:
    """Everything wrong in ``spec`` and in the components that it uses, in the order of files and lines."""
    report = Report()
    surveyed = survey(spec)
    for run_check in CHECKS:
        run_check(surveyed, report)
    return _in_order(report.problems)


def examine(path: str | Path) -> tuple[Spec | None, list[Problem]]:
    """What is in ``path`` as far as it can be read, and everything wrong in it, in shape and in meaning."""
    spec, report = gather(path)
    return spec, _in_order([*(check(spec) if spec else []), *report.problems])


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    # A value that one check shows may be what another found to be a secret.
    redacted = [replace(problem, message=redact(problem.message), hint=redact(problem.hint)) for problem in problems]
    return sorted(dict.fromkeys(redacted), key=lambda p: (p.file, p.line, p.column, p.code))
