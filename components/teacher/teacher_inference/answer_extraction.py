"""Unwrapping an answer: what the student learns, and the reasoning that led to it.

The response is what the teacher said, character by character. Taken off is only what wraps it:

- a thought that opens the text, where the API did not give the reasoning apart (``common.text``),
- under chain of thought the JSON ``{"reasoning": ..., "answer": ...}``: the response is the answer's value; where the
  task asks for a label, a letter or a number, its normal form,
- under chain of density the JSON list of ever denser summaries: the response is the last one's value.

Teachers wrap JSON in prose and fences, write LaTeX backslashes into it and cut it short. JSON that is valid is read as
it is; else it is mended, or its fields are taken by themselves, or what a short answer in prose marks as its result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from common.rows import Row
from common.tasks import Task
from common.text import marked, split_thoughts

_ANSWER = ("answer", "answer_choice", "final_answer", "label", "response", "result")
_REASONING = ("reasoning", "reason", "explanation", "rationale", "thoughts", "thought", "steps")
_SUMMARY = ("denser_summary", "summary", "dense_summary")
#: What may follow a backslash in JSON that is being mended. Form feeds and backspaces are not meant there; tabs and
#: line ends not before these.
_ESCAPE = re.compile(
    r'\\(["\\/]|u[0-9a-fA-F]{4}|t(?!ext|frac|imes|heta|an\b|o\b)|r(?!ight|ho\b|angle)|n(?!eq\b|u\b|ot\b)|)'
)
#: LaTeX whose backslash was not doubled, as valid JSON reads it: a form feed and "rac", a tab and "imes".
_LATEX = re.compile(
    "\f(?:rac|orall|box|lat)|\b(?:eta|egin|inom|oxed|ar|ig|mod|ullet|oldsymbol|ecause)|"
    "\t(?:ext\\{|imes|frac|heta|riangle)|\r(?:ight|ho\\b|angle)"
)
#: A comma too many before a bracket; strings are passed over.
_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*")|,\s*(?=[}\]])')
_CLOSING = {"{": "}", "[": "]"}
_STRING = r'"((?:[^"\\]|\\.)*)"'
_NUMBER = r"(-?[0-9](?:[0-9.,]*[0-9])?(?:[eE][+-]?[0-9]+)?)"
#: What follows a value: another field, or the end. A quotation mark before anything else was not the text's last.
_AFTER = r'(?=\s*(?:,\s*"[^"\n]*"\s*:|,?\s*[}\]]|$))'


class Unparsable(Exception):
    """The answer does not have the form that was asked for."""


@dataclass(frozen=True)
class Unwrapped:
    """What the student learns, and the teacher's reasoning (empty where it gave none)."""

    response: str
    reasoning: str


def unwrap(strategy: str, text: str, reasoning: str, task: Task, row: Row) -> Unwrapped:
    """The response in a teacher's text. ``reasoning`` is what the API gave beside it. Raises Unparsable."""
    opening = {"chain_of_thought": "{", "chain_of_density": "["}.get(strategy)
    # A tag inside the JSON that was asked for ends no thought.
    is_json = opening is not None and _json(text, opening) is not None
    thought, answer = ("", text) if reasoning else split_thoughts(text, lone=not is_json)
    hidden = reasoning or thought
    if strategy == "chain_of_density":
        return _densest(answer, hidden)
    if strategy == "chain_of_thought":
        return _concluded(answer, hidden, task, row)
    return Unwrapped(answer, hidden)


def _concluded(reply: str, hidden: str, task: Task, row: Row) -> Unwrapped:
    parsed = _json(reply, "{")
    fields = {str(name).lower(): value for name, value in parsed.items()} if isinstance(parsed, dict) else {}
    answer = _first(fields, _ANSWER)
    answer = _field(reply, _ANSWER) if answer is None else answer
    reasoning = _first(fields, _REASONING) or _field(reply, _REASONING) or hidden
    if answer is None and not fields and _is_short(task) and (stated := marked(reply)):
        answer, reasoning = stated, hidden or reply
    if answer is None:
        raise Unparsable("the answer is not the JSON object that was asked for")
    response = task.parse(answer, row) if task.closed(row) else answer
    if response is None:
        raise Unparsable(f"its answer is none to a {task.name} question")
    return Unwrapped(response, reasoning)


def _is_short(task: Task) -> bool:
    """Whether an answer is right or wrong, and may stand marked at the end of prose. Else the prose is the answer."""
    return "accuracy" in task.metrics


def _densest(reply: str, hidden: str) -> Unwrapped:
    parsed = _json(reply, "[")
    if not isinstance(parsed, list):
        parsed = _json(reply, "{")
    steps = (
        next((value for value in parsed.values() if isinstance(value, list)), [parsed])
        if isinstance(parsed, dict)
        else parsed
    )
    summaries = [
        _first({str(k).lower(): v for k, v in step.items()}, _SUMMARY) for step in steps or [] if isinstance(step, dict)
    ]
    texts = [summary for summary in summaries if summary] or _fields(reply, _SUMMARY)
    if not texts:
        raise Unparsable("the answer is not the JSON list of summaries that was asked for")
    return Unwrapped(texts[-1], hidden or "\n".join(texts[:-1]))


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these fields as text."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            value = "\n".join(value)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and str(value).strip():
            return str(value)
    return None


def _json(text: str, opening: str) -> Any:
    """The JSON value between the first ``opening`` and the last bracket of its kind; None where there is none."""
    start, end = text.find(opening), text.rfind(_CLOSING[opening])
    if start < 0 or end < start:
        return None
    part = text[start : end + 1]
    exact = _read(part)
    if exact is not None and not any(_LATEX.search(string) for string in _strings(exact)):
        return exact
    escaped = _escaped(part)
    for mended in (escaped, _TRAILING.sub(lambda match: match.group(1) or "", escaped)):
        if (value := _read(mended)) is not None:
            return value
    return exact


def _read(text: str) -> Any:
    """JSON, its numbers as they are written; None where it is none."""
    try:
        return json.loads(text, strict=False, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return None


def _strings(value: Any) -> Iterator[str]:
    # No recursion: a teacher may nest deeper than Python calls.
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, (dict, list)):
            pending += part.values() if isinstance(part, dict) else part


def _escaped(text: str) -> str:
    """Backslashes of LaTeX doubled: those that begin no escape, and those that begin one by chance (``\\frac``)."""
    return _ESCAPE.sub(lambda match: match.group(0) if match.group(1) else r"\\", text)


def _field(text: str, names: tuple[str, ...]) -> str | None:
    texts = _fields(text, names)
    return texts[-1] if texts else None


def _fields(text: str, names: tuple[str, ...]) -> list[str]:
    """The values of fields of these names, wherever they stand in JSON that cannot be read as a whole."""
    pattern = rf'"(?:{"|".join(names)})"\s*:\s*(?:{_STRING}|{_NUMBER}){_AFTER}'
    values = [quoted or number for quoted, number in re.findall(pattern, text, re.I)]
    return [_unescaped(value) for value in values if value.strip()]


def _unescaped(text: str) -> str:
    """The inside of a JSON string as text, LaTeX in it mended as in :func:`_json`."""
    exact = _read(f'"{text}"')
    mended = _read(f'"{_escaped(text)}"') if exact is None or _LATEX.search(exact) else exact
    return next((value for value in (mended, exact) if isinstance(value, str)), text)
