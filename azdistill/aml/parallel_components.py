"""Builds parallel components and steps from YAML data: a script whose ``run()`` is given mini-batches."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from azdistill.aml.arguments import on_one_line
from azdistill.aml.components import INTERFACE_KEYS, interface, resources
from azdistill.aml.environments import environment_of
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
_SIZE = re.compile(r"(\d+)((?:[kmg]b)?)", re.IGNORECASE)
_UNITS = {"": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def parallel_component(where: Where, report: Report) -> CommandComponent:
    """The parallel component written at ``where``."""
    fields = Fields(where, report)
    known = INTERFACE_KEYS | SETTING_KEYS | {"task", "resources", "environment_variables"}
    fields.known(known, "a parallel component", dropped=True)
    return CommandComponent(
        **interface(fields),
        **task(fields, "a parallel component"),
        resources=resources(fields, dropped=True),
        where=where,
    )


def task(fields: Fields, of: str) -> dict[str, Any]:
    """What parallel components and inline parallel steps share: the script, what it runs in, and how it is fed."""
    fields.require(of, "task", "input_data")
    inner = Fields(fields.where / "task", fields.report)
    inner.known(_TASK_KEYS, "a parallel task", dropped=True)
    kind = inner.choice("type", TASKS)
    if inner.data:
        inner.require("a parallel task", "type", "environment", *(("entry_script",) if kind != "model" else ()))
    return {
        "command": on_one_line(inner.text("program_arguments") or ""),
        "code": inner.path("code"),
        "environment": environment_of(inner, "environment"),
        "parallel": settings(
            fields,
            Parallel(
                kind=kind or "run_function",
                entry_script=inner.text("entry_script") or "",
                append_row_to=inner.text("append_row_to"),
            ),
        ),
    }


def settings(fields: Fields, base: Parallel) -> Parallel:
    """``base`` with what is written at ``fields``; a step's own settings come before its component's."""
    retries = Fields(fields.where / "retry_settings", fields.report)
    retries.known(("max_retries", "timeout"), "retry_settings")
    retries.whole("max_retries", at_least=0)
    retries.whole("timeout", at_least=1)
    fields.whole("max_concurrency_per_instance", at_least=1)
    for key in ("error_threshold", "mini_batch_error_threshold"):
        fields.whole(key, at_least=-1)
    given: dict[str, Any] = {
        "mini_batch_size": fields.text("mini_batch_size"),
        "input_data": fields.text("input_data"),
        "partition_keys": tuple(str(key) for _, key in fields.list("partition_keys")) or None,
        "max_concurrency_per_instance": fields.data.get("max_concurrency_per_instance"),
        "error_threshold": fields.data.get("error_threshold"),
        "mini_batch_error_threshold": fields.data.get("mini_batch_error_threshold"),
        "max_retries": retries.data.get("max_retries"),
        "timeout": retries.data.get("timeout"),
        "logging_level": fields.choice("logging_level", _LEVELS, exact=True),
    }
    return replace(base, **{name: value for name, value in given.items() if value is not None})


def mini_batch_size(text: str) -> tuple[int, bool] | None:
    """A mini-batch's size, and whether it is in bytes rather than files; None where ``text`` is none."""
    found = _SIZE.fullmatch(text.strip())
    if not found or int(found[1]) == 0:
        return None
    return int(found[1]) * _UNITS[found[2].lower()], bool(found[2])
