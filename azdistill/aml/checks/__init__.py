"""Every check of a spec that needs no network. A check is a function; all of them run, whatever the others find."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

CHECKS: tuple[Check, ...] = (
    names.names_that_azure_refuses,
    names.reserved_names,
    values.defaults_that_do_not_fit,
    commands.undefined_references,
    commands.optional_inputs,
    commands.unclosed_expressions,
    commands.outputs_never_written,
    commands.line_continuations,
    wiring.unknown_bindings,
    wiring.unknown_inputs_and_outputs,
    wiring.missing_inputs,
    wiring.types_that_do_not_fit,
    wiring.cycles,
    wiring.outputs_without_a_step,
    control.outputs_of_two_steps,
    values.values_that_do_not_fit,
    values.values_that_read_otherwise,
    values.dates,
    values.values_that_break_out,
    service.unknown_service_words,
    files.missing_code,
    files.missing_includes,
    files.missing_environment_files,
    files.missing_data,
    files.paths_that_leave,
    files.links_in_code,
    parallel.input_data,
    parallel.batch_sizes,
    parallel.entry_scripts,
    parallel.appended_output,
    parallel.program_arguments,
    control.conditions_that_decide_nothing,
    control.unknown_steps,
    control.steps_in_two_blocks,
    control.first_and_last_steps,
    control.kinds_that_run_on_azure_only,
    sweep.unknown_hyperparameters,
    sweep.distributions,
    sweep.sampling,
    sweep.terminations,
    sweep.limits,
    sweep.searched_values,
    azure.dropped_keys,
    azure.local_compute,
    azure.bare_references,
    secrets.literal_secrets,
)


def check(spec: Spec) -> list[Problem]:
    """Everything wrong in ``spec`` and in the components that it uses, in the order of files and lines."""
    report = Report()
    surveyed = survey(spec)
    for each in CHECKS:
        each(surveyed, report)
    return _in_order(report.problems)


def examine(path: str | Path) -> tuple[Spec | None, list[Problem]]:
    """What is in ``path`` as far as it can be read, and everything wrong in it, in shape and in meaning."""
    spec, report = gather(path)
    found = (check(spec) if spec else []) + report.problems
    return spec, _in_order(found)


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    # A value that one check shows may be what another found to be a secret.
    shown = [replace(problem, message=redact(problem.message), hint=redact(problem.hint)) for problem in problems]
    return sorted(dict.fromkeys(shown), key=lambda p: (p.file, p.line, p.column, p.code))
