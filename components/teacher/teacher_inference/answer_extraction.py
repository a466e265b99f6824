"""Unwrapping an answer: what the student learns, and the reasoning that led to it.

Chain of thought comes as JSON, ``{"reasoning": ..., "answer": ...}``; chain of density as a JSON list of ever denser
summaries. Teachers wrap JSON in prose and fences, write LaTeX backslashes into it and cut it short, so what is there is
taken in the order: JSON, JSON that was mended, the fields by themselves, a marked answer in prose.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from common.rows import Row
from common.tasks import Task
from common.tasks.text import marked, visible

_ANSWER = ("answer", "answer_choice", "final_answer", "label", "response", "result")
_REASONING = ("reasoning", "reason", "explanation", "rationale", "thoughts", "thought", "steps")
_SUMMARY = ("denser_summary", "summary", "dense_summary")
#: What may follow a backslash in JSON. Form feeds and backspaces are never meant; tabs and line ends not before these.
_ESCAPE = re.compile(
    r'\\(["\\/]|u[0-9a-fA-F]{4}|t(?!ext|frac|imes|heta|an\b|o\b)|r(?!ight|ho\b|angle)|n(?!eq\b|u\b|ot\b)|)'
)
_STRING = r'"((?:[^"\\]|\\.)*)"'


class Unparsable(Exception):
    """The answer does not have the form that was asked for."""


@dataclass(frozen=True)
class Unwrapped:
    """What the student learns, and the teacher's reasoning (empty where it gave none)."""

    response: str
    reasoning: str


def unwrap(strategy: str, text: str, reasoning: str, task: Task, row: Row) -> Unwrapped:
    """The response in a teacher's text. ``reasoning`` is what the API gave beside it. Raises Unparsable."""
    shown = visible(text)
    hidden = reasoning or _thoughts(text, shown)
    if strategy == "chain_of_density":
        return _densest(shown, hidden)
    if strategy == "chain_of_thought":
        return _concluded(shown, hidden, task, row)
    return Unwrapped(shown, hidden)


def _thoughts(text: str, shown: str) -> str:
    """What :func:`visible` took away."""
    rest = text.replace(shown, "") if shown else text
    return re.sub(r"</?(think|thinking|reasoning)>", "", rest, flags=re.I).strip()


def _concluded(shown: str, hidden: str, task: Task, row: Row) -> Unwrapped:
    found = _json(shown, "{", "}")
    fields = {str(name).lower(): value for name, value in found.items()} if isinstance(found, dict) else {}
    answer = _first(fields, _ANSWER)
    answer = _field(shown, _ANSWER) if answer is None else answer
    reasoning = _first(fields, _REASONING) or _field(shown, _REASONING) or hidden
    if answer is None and not fields and (stated := marked(shown)):
        answer, reasoning = stated, hidden or shown
    if answer is None:
        raise Unparsable("the answer is not the JSON object that was asked for")
    parsed = task.parse(answer, row)
    if parsed is None:
        raise Unparsable(f"{answer[:60]!r} is no answer to a {task.name} question")
    return Unwrapped(parsed, reasoning)


def _densest(shown: str, hidden: str) -> Unwrapped:
    found = _json(shown, "[", "]")
    if not isinstance(found, list):
        found = _json(shown, "{", "}")
    steps = (
        next((value for value in found.values() if isinstance(value, list)), [found])
        if isinstance(found, dict)
        else found
    )
    summaries = [
        _first({str(k).lower(): v for k, v in step.items()}, _SUMMARY) for step in steps or [] if isinstance(step, dict)
    ]
    known = [summary for summary in summaries if summary] or _fields(shown, _SUMMARY)
    if not known:
        raise Unparsable("the answer is not the JSON list of summaries that was asked for")
    return Unwrapped(known[-1], hidden or "\n".join(known[:-1]))


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these fields as text."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            value = "\n".join(value)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def _json(text: str, opening: str, closing: str) -> Any:
    """The JSON value between the first ``opening`` and the last ``closing``; None where there is none."""
    start, end = text.find(opening), text.rfind(closing)
    if start < 0 or end < start:
        return None
    part = text[start : end + 1]
    escaped = _escaped(part)
    for attempt in (escaped, re.sub(r",\s*([}\]])", r"\1", escaped), part):
        try:
            return json.loads(attempt, strict=False)
        except (ValueError, RecursionError):
            continue
    return None


def _escaped(text: str) -> str:
    """Backslashes of LaTeX doubled: those that begin no escape, and those that begin one by chance (``\\frac``)."""
    return _ESCAPE.sub(lambda found: found.group(0) if found.group(1) else r"\\", text)


def _field(text: str, names: tuple[str, ...]) -> str | None:
    found = _fields(text, names)
    return found[-1] if found else None


def _fields(text: str, names: tuple[str, ...]) -> list[str]:
    """The values of fields of these names, wherever they stand in JSON that cannot be read as a whole."""
    pattern = rf'"(?:{"|".join(names)})"\s*:\s*(?:{_STRING}|(-?[0-9][0-9.,]*))'
    values = [quoted or number for quoted, number in re.findall(pattern, text, re.I)]
    return [_unescaped(value).strip() for value in values if value.strip()]


def _unescaped(text: str) -> str:
    try:
        value = json.loads(f'"{text}"', strict=False)
    except ValueError:
        return text
    return value if isinstance(value, str) else text
