"""Parallel components: what feeds the script, the script itself, and where its results go."""

from __future__ import annotations

import ast
from pathlib import Path

from azdistill.aml.checks.survey import Survey
from azdistill.aml.expressions import parse, references, sole_reference
from azdistill.aml.models import CommandComponent, Parallel
from azdistill.aml.parallel_components import mini_batch_size, no_argument
from azdistill.aml.source import Report, Where
from azdistill.errors import did_you_mean


def _parallel(survey: Survey) -> list[tuple[CommandComponent, Parallel, Where]]:
    """Every parallel component, its settings, and the place of the step that changes them where there is one."""
    stepped = [
        (step.component, step.component.parallel, step.where)
        for _, step in survey.steps()
        if isinstance(step.component, CommandComponent) and step.component.parallel
    ]
    in_steps = {id(component) for component, _, _ in stepped}
    alone = [(one, one.parallel, one.where) for one in survey.components if one.parallel and id(one) not in in_steps]
    return stepped + alone


def _at(component: CommandComponent, where: Where, key: str) -> Where:
    return where / key if key in where.mapping else component.where / key


def input_data(survey: Survey, report: Report) -> None:
    """AZD171."""
    for component, parallel, where in _parallel(survey):
        if parallel.input_data is None:
            continue
        reference = sole_reference(parallel.input_data)
        place = _at(component, where, "input_data")
        data = [name for name, declared in component.inputs.items() if declared.is_data]
        if reference is None or reference.path[0] != "inputs":
            hint = f"write ${{{{inputs.{data[0] if data else 'NAME'}}}}}"
            message = f"input_data is '{parallel.input_data}', not a reference to an input"
            report.error("AZD171", message, place, hint=hint)
        elif reference.name not in component.inputs:
            hint = did_you_mean(reference.name, data)
            report.error("AZD171", f"there is no input '{reference.name}'", place, hint=hint)
        elif not component.inputs[reference.name].is_data:
            message = f"input '{reference.name}' is a value, which cannot be split into mini-batches"
            report.error("AZD171", message, place, hint=f"its type is {component.inputs[reference.name].type}")


def batch_sizes(survey: Survey, report: Report) -> None:
    """AZD172."""
    for component, parallel, where in _parallel(survey):
        size = parallel.mini_batch_size
        if size is not None and "${{" not in size and mini_batch_size(size) is None:
            place = _at(component, where, "mini_batch_size")
            hint = "a number of files (10), or of bytes of a table (10kb, 1mb)"
            report.error("AZD172", f"mini_batch_size '{size}' is no size", place, hint=hint)


def entry_scripts(survey: Survey, report: Report) -> None:
    """AZD173: a script that is absent, or has no ``run()`` or ``init()``."""
    for component, parallel, _ in _parallel(survey):
        if not isinstance(component.code, Path) or not component.code.is_dir() or not parallel.entry_script:
            continue
        place = component.where / "task" / "entry_script"
        script = component.code / parallel.entry_script
        if not script.is_file():
            near = did_you_mean(script.name, sorted(path.name for path in script.parent.glob("*.py")))
            report.error("AZD173", f"no entry script {parallel.entry_script} in the code", place, hint=near)
        elif missing := [name for name in ("init", "run") if name not in _names(script, name)]:
            names = " and ".join(f"{name}()" for name in missing)
            report.error("AZD173", f"{parallel.entry_script} has no {names}", place)


def _names(script: Path, default: str) -> set[str]:
    """The names that a module binds at its top; ``default`` alone where that cannot be told."""
    try:
        tree = ast.parse(script.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return {default}
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {default if alias.name == "*" else alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def appended_output(survey: Survey, report: Report) -> None:
    """AZD174."""
    for component, parallel, _ in _parallel(survey):
        if parallel.append_row_to is None:
            continue
        targets = [reference for reference, _ in references(parse(parallel.append_row_to))]
        place = component.where / "task" / "append_row_to"
        if len(targets) != 1 or targets[0].path[0] != "outputs":
            hint = f"write ${{{{outputs.{next(iter(component.outputs), 'NAME')}}}}}"
            message = f"append_row_to is '{parallel.append_row_to}', not a reference to an output"
            report.error("AZD174", message, place, hint=hint)
        elif targets[0].name not in component.outputs:
            hint = did_you_mean(targets[0].name, list(component.outputs))
            report.error("AZD174", f"there is no output '{targets[0].name}'", place, hint=hint)


def program_arguments(survey: Survey, report: Report) -> None:
    """AZD178."""
    for component in survey.components:
        problem = no_argument(component.command) if component.parallel else None
        if problem is None:
            continue
        position, what = problem
        char = component.command[position : position + 1]
        message = f"program_arguments hold {what}: they are words for the script, and no command"
        hint = "write it between single quotes, if it is part of an argument"
        before = component.command[:position].count(char) if char else 0
        report.error("AZD178", message, component.place("command"), hint=hint, needle=char, occurrence=before)
