"""The command of a component: what it refers to, and how."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from azdistill.aml import quoting
from azdistill.aml.checks.survey import Survey
from azdistill.aml.evaluation import FIRST, evaluated
from azdistill.aml.expressions import Reference, parse, pieces, references, references_in, unclosed
from azdistill.aml.models import ARTIFACTS, CommandComponent, Input, Output
from azdistill.aml.source import Report, Where
from azdistill.errors import did_you_mean

_CONTINUED = re.compile(r"\\[ \t]*\n")


def _references(survey: Survey) -> Iterator[tuple[CommandComponent, Reference, bool, int]]:
    """Each reference of each command, whether it is in an optional block, and which of its equals it is."""
    for component in survey.components:
        counts: dict[str, int] = {}
        for reference, optional in references(parse(component.command)):
            number = counts.get(reference.raw, 0)
            counts[reference.raw] = number + 1
            yield component, reference, optional, number


def declared(component: CommandComponent, reference: Reference) -> Input | Output | None:
    """What a command's ``inputs.x`` or ``outputs.x`` stands for; None where it is not declared."""
    if reference.path[0] == "inputs":
        return component.inputs.get(reference.name)
    return component.outputs.get(reference.name) if reference.path[0] == "outputs" else None


def undefined_references(survey: Survey, report: Report) -> None:
    """AZD150."""
    for component, reference, _, number in _references(survey):
        if declared(component, reference) is None:
            message, where = f"{reference} in the command is not declared", component.place("command")
            hint = _suggestion(component, reference)
            report.error("AZD150", message, where, hint=hint, needle=reference.raw, occurrence=number)


def _suggestion(component: CommandComponent, reference: Reference) -> str:
    if reference.path[0] == "parent":
        return "a command sees its own inputs and outputs only: bind them in the step, write ${{inputs.NAME}} here"
    if reference.path[0] == "search_space":
        return did_you_mean(reference.name, list(component.inputs)) or "hyperparameters stand in sweeps only"
    tables: dict[str, Mapping[str, object]] = {"inputs": component.inputs, "outputs": component.outputs}
    for section, table in tables.items():
        if reference.name in table:
            return f"did you mean '{section}.{reference.name}'?"
    # Of the name alone first: what all inputs begin with makes them look alike.
    close = did_you_mean(reference.name, list(tables.get(reference.path[0], ())))
    if close.startswith("did"):
        return close.replace("'", f"'{reference.path[0]}.", 1)
    names = [f"{kind}.{name}" for kind, table in tables.items() for name in table]
    return f"known: {', '.join(names)}" if names else "the component declares no inputs and outputs"


def optional_inputs(survey: Survey, report: Report) -> None:
    """AZD151 and AZD152: optional inputs stand in ``$[[ ]]``, required ones do not."""
    for component, reference, optional, number in _references(survey):
        port = declared(component, reference)
        where = component.place("command")
        if isinstance(port, Input) and port.optional and not optional:
            message = f"input '{reference.name}' is optional and stands outside $[[ ]]"
            hint = f"write $[[--{reference.name} {reference}]], so that the flag goes when the value does"
            report.error("AZD151", message, where, hint=hint, needle=reference.raw, occurrence=number)
        elif port is not None and optional and not (isinstance(port, Input) and port.optional):
            kind = "input" if isinstance(port, Input) else "output"
            message = f"{kind} '{reference.name}' is not optional and stands in $[[ ]]"
            hint = "take it out of the block" + (", or declare it optional: true" if kind == "input" else "")
            report.error("AZD152", message, where, hint=hint, needle=reference.raw, occurrence=number)


def unclosed_expressions(survey: Survey, report: Report) -> None:
    """AZD155."""
    for component in survey.components:
        for position in unclosed(parse(component.command)):
            opening = component.command[position : position + 3]
            before = component.command[:position].count(opening)
            message = f"'{opening}' opens no expression"
            hint = "an expression is ${{inputs.NAME}} or ${{outputs.NAME}}, a block $[[ ... ]]"
            where = component.place("command")
            report.error("AZD155", message, where, hint=hint, needle=opening, occurrence=before)


def evaluated_inputs(survey: Survey, report: Report) -> None:
    """AZD159, a warning: text that bash runs or computes once more, such as ``eval '${{inputs.x}}'``."""
    for component in survey.components:
        if not component.parallel:
            raws = {r.name: r.raw for r, _ in references(parse(component.command)) if r.path[0] == "inputs"}
            names = [
                name for name in raws if _is_free(declared := component.inputs.get(name)) and not _is_literal(declared)
            ]
            for name, what in _evaluated(component, names, {}).items():
                message, hint = f"the command evaluates the value of input '{name}'", quoting.evaluates(what)
                report.warning("AZD159", message, component.place("command"), hint=hint, needle=raws[name])


def evaluated_variables(survey: Survey, report: Report) -> None:
    """AZD159, a warning, for text that reaches a command by a variable of its step's environment."""
    for scope, step in survey.steps():
        bound = {
            name: name
            for name, text in step.environment_variables.items()
            if any(_is_free(scope.inputs.get(".".join(r.path[2:]))) for r in references_in(text))
        }
        if bound and isinstance(step.component, CommandComponent) and not step.component.parallel:
            for name, what in _evaluated(step.component, [], bound).items():
                message, hint = f"the command evaluates the variable '{name}'", quoting.evaluates(what)
                report.warning("AZD159", message, step.where / "environment_variables" / name, hint=hint)


def _is_free(declared: Input | None) -> bool:
    """Whether an input takes any text."""
    if declared is None or declared.type != "string" or declared.family:
        return False
    if declared.enum is not None:
        return not all(quoting.PLAIN.fullmatch(str(word)) for word in declared.enum)
    return True


def _is_literal(declared: Input | None) -> bool:
    """Whether it is an input of an inline command with text that stands beside the command, its author's own."""
    return declared is not None and isinstance(declared.where.value, str) and "${{" not in declared.where.value


def _evaluated(component: CommandComponent, names: list[str], variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the inputs ``names``, and of ``variables``, that the command evaluates, each with what does so."""
    labels = [*names, *variables]

    def value(reference: Reference) -> str:
        is_free = reference.path[0] == "inputs" and reference.name in names
        return chr(FIRST + labels.index(reference.name)) if is_free else "x"

    template = "".join(text for text, _ in pieces(parse(component.command), value))
    found = evaluated(template, {name: labels.index(name) for name in variables})
    return {labels[number]: what for number, what in found.items()}


def outputs_never_written(survey: Survey, report: Report) -> None:
    """AZD153, a warning: code may still find the output by its environment variable."""
    for component in survey.components:
        appended = component.parallel.append_row_to or "" if component.parallel else ""
        text = f"{component.command} {appended}"
        if appended and not any(declared(component, r) for r, _ in references(parse(appended))):
            # What is wrong there is told by itself, and which output was meant is not known.
            continue
        used = {r.name for r, _ in references(parse(text)) if r.path[0] == "outputs"}
        for name, output in component.outputs.items():
            by_itself = name == ARTIFACTS or "AZURE_ML_OUTPUT_" in component.command
            if text.strip() and name not in used and not by_itself:
                message = f"the command never mentions output '{name}'"
                hint = f"pass ${{{{outputs.{name}}}}} to the program, or take the output away"
                report.warning("AZD153", message, output.where, key=True, hint=hint)


def line_continuations(survey: Survey, report: Report) -> None:
    """AZD154, a warning. In folded text ('>') it does harm: it escapes the space that the line end became."""
    for component in survey.components:
        where = component.place("command")
        source_text, message = _written(where), "a '\\' at the end of a line is not supported in commands"
        hint = "fold the text with '>-' and leave the '\\' out"
        if source_text.startswith('"'):
            # Between double quotes it is YAML's own, unless it is escaped.
            if _CONTINUED.search(component.command):
                report.warning("AZD154", message, where, hint=hint)
            continue
        for number, continuation in enumerate(_CONTINUED.finditer(source_text)):
            report.warning("AZD154", message, where, hint=hint, needle=continuation[0], occurrence=number)


def _written(where: Where) -> str:
    """The command as it stands in the file, or its value where there is no file."""
    place = where.source.place(where.steps)
    return where.source.text[place.start : place.end] if place and place.end else str(where.value or "")
