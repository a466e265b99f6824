"""Builds parallel components and steps from YAML data: a script whose ``run()`` is given mini-batches.

Azure ML's driver hands the script its ``program_arguments``, which are words where a command is a text for a shell;
here bash takes them apart, as it does a command. What has another meaning between words than between commands is seen
to here: line breaks are blanks, and what would end the words, or run something of its own, is found for the checks.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from azdistill.aml.components import INTERFACE_KEYS, interface, resources
from azdistill.aml.environments import environment_of
from azdistill.aml.expressions import parse, references
from azdistill.aml.fields import Fields
from azdistill.aml.models import CommandComponent, Parallel
from azdistill.aml.source import Report, Where

SETTING_KEYS = {
    *("mini_batch_size", "partition_keys", "input_data", "retry_settings", "max_concurrency_per_instance"),
    *("error_threshold", "mini_batch_error_threshold", "logging_level"),
}
_TASK_KEYS = {"type", "code", "entry_script", "program_arguments", "model", "append_row_to", "environment"}
_LEVELS = ("DEBUG", "INFO", "WARNING")
TASKS = ("run_function", "function", "model")
#: What expands, or runs something, outside single quotes; ``${NAME}`` alone does no harm.
_EXPANDS = r"`|\$(?!\{\w+\})[({\[]"
#: What stands between quotes (those of ``$'`` may be escaped in it), an escaped character, a variable, any other.
_TOKEN = re.compile(
    rf"""
      (?P<open> (?:\$'(?:\\.|[^'\\])* | '[^']* | "(?:\\.|[^"\\])*)\Z )
    | \$'(?:\\.|[^'\\])*' | '[^']*' | (?P<double> "(?:\\.|[^"\\])*" )
    | \\. | \$(?:[$#]|\{{\w+\}}) | (?P<expands> {_EXPANDS} ) | (?P<operator> [;&|<>()] ) | (?P<hash> \# ) | .
    """,
    re.VERBOSE | re.DOTALL,
)
_EXPANDS_IN_QUOTES = re.compile(rf"(?:\\.|[^\\])*?(?P<expands>{_EXPANDS})", re.DOTALL)
_SIZE = re.compile(r"(\d+)((?:[kmg]b)?)", re.IGNORECASE)
_UNITS = {"": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def parallel_component(where: Where, report: Report) -> CommandComponent:
    """The parallel component written at ``where``."""
    fields = Fields(where, report)
    keys = INTERFACE_KEYS | SETTING_KEYS | {"task", "resources", "environment_variables"}
    fields.known(keys, "a parallel component", dropped=True)
    return CommandComponent(
        **interface(fields),
        **task(fields, "a parallel component"),
        resources=resources(fields, dropped=True),
        where=where,
    )


def task(fields: Fields, of: str) -> dict[str, Any]:
    """What parallel components and inline parallel steps share: the script, what it runs in, and how it is fed."""
    fields.require(of, "task", "input_data")
    section = Fields(fields.where / "task", fields.report)
    section.known(_TASK_KEYS, "a parallel task", dropped=True)
    kind = section.choice("type", TASKS)
    if section.data:
        section.require("a parallel task", "type", "environment", *(("entry_script",) if kind != "model" else ()))
    return {
        "command": on_one_line(section.text("program_arguments") or ""),
        "code": section.path("code"),
        "environment": environment_of(section, "environment"),
        "parallel": settings(
            fields,
            Parallel(
                kind=kind or "run_function",
                entry_script=section.text("entry_script") or "",
                append_row_to=section.text("append_row_to"),
            ),
        ),
    }


def settings(fields: Fields, base: Parallel) -> Parallel:
    """``base`` with what is written at ``fields``; a step's own settings come before its component's."""
    retries = Fields(fields.where / "retry_settings", fields.report)
    retries.known(("max_retries", "timeout"), "retry_settings")
    retries.whole("max_retries", at_least=0)
    retries.whole("timeout", at_least=1)
    numbers = {"max_concurrency_per_instance": 1, "error_threshold": -1, "mini_batch_error_threshold": -1}
    for key, least in numbers.items():
        fields.whole(key, at_least=least)
    overrides: dict[str, Any] = {
        **fields.texts("mini_batch_size", "input_data"),
        **{key: fields.data.get(key) for key in numbers},
        **{key: retries.data.get(key) for key in ("max_retries", "timeout")},
        "partition_keys": tuple(str(key) for _, key in fields.list("partition_keys")) or None,
        "logging_level": fields.choice("logging_level", _LEVELS, exact=True),
    }
    return replace(base, **{name: value for name, value in overrides.items() if value is not None})


def mini_batch_size(text: str) -> tuple[int, bool] | None:
    """A mini-batch's size, and whether it is in bytes rather than files; None where ``text`` is none."""
    size = _SIZE.fullmatch(text.strip())
    if not size or int(size[1]) == 0:
        return None
    return int(size[1]) * _UNITS[size[2].lower()], bool(size[2])


def on_one_line(text: str) -> str:
    """Arguments with blanks for the line breaks between its words; those in quotes are part of an argument."""
    return "".join(" " if token[0] == "\n" else token[0] for token in _TOKEN.finditer(text))


def no_argument(text: str) -> tuple[int, str] | None:
    """Where ``text`` (on one line) has what is no part of a word, and what that is; None where all of it is words."""
    words, before = _words(text), " "
    for token in _TOKEN.finditer(words):
        kind, at = token.lastgroup, token.start()
        quoted_expansion = _EXPANDS_IN_QUOTES.match(token[0]) if kind == "double" else None
        if kind == "open":
            return len(text), "a quote that is not closed"
        if kind == "operator":
            return at, f"'{token[0]}'"
        if kind == "hash" and before in " \t":
            return at, "'#', which starts a comment"
        if kind == "expands" or quoted_expansion:
            return _expansion(words, at + (quoted_expansion.start("expands") if quoted_expansion else 0))
        before = token[0]
    return None


def _words(text: str) -> str:
    """``text`` with letters for references, and blanks for what opens and closes optional blocks."""
    for reference, _ in references(parse(text)):
        end = reference.position + len(reference.raw)
        text = f"{text[: reference.position]}{'x' * len(reference.raw)}{text[end:]}"
    return re.sub(r"\$\[\[(.*?)\]\]", r"   \1  ", text, flags=re.DOTALL)


def _expansion(text: str, at: int) -> tuple[int, str]:
    return (at, "a backtick") if text[at] == "`" else (at + 1, f"'{text[at + 1]}' after a '$'")
