"""From the columns of a dataset to the messages and the gold answer of a row. Which columns: ``row_shapes.toml``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cells import Cells, text_of
from common.rows import BadRow, Row, json_limit, make_row
from common.step import BadConfig, BadData
from common.tasks import Task

TABLE: dict[str, Any] = tomllib.loads((Path(__file__).parent / "row_shapes.toml").read_text(encoding="utf-8"))
_NLI_PROMPT = (
    "Decide how the hypothesis relates to the premise: 'entailment', 'neutral' or 'contradiction'.\n\n"
    "Premise: {premise}\nHypothesis: {hypothesis}"
)
#: The part of a row that counts as not used where 'reference' says what the gold answer is.
_LAST_TURN = "the last assistant turn"


@dataclass(frozen=True)
class Columns:
    """Which columns make a row. ``form`` is one of messages, conversations, nli, choices, pair."""

    form: str
    needed: tuple[str, ...]
    gold: tuple[str, ...] = ()
    context: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """The column that holds the prompt, or what takes its place."""
        return self.needed[0]


def choose_columns(record: dict[str, Any], prompt: str | None, reference: str | None, file: str) -> Columns:
    """The columns of the dataset that ``record`` comes from. Raises BadData listing the columns that there are."""
    if reference and not prompt and "messages" not in record:
        raise BadConfig("'reference_column' needs 'prompt_column' beside it")
    names = [name for name in (prompt, reference) if name]
    if missing := [name for name in names if name not in record]:
        raise BadData(f"{file}: there is no column '{missing[0]}' (columns: {_names(record)})")
    if prompt:
        alike = (shape["context"] for shape in TABLE["shapes"] if shape["columns"][0] == prompt and "context" in shape)
        context = [name for name in next(alike, TABLE["context"]) if name not in names]
        return Columns("pair", tuple(names), tuple(names[1:]), tuple(context))
    for shape in TABLE["shapes"]:
        if all(name in record for name in shape["columns"]):
            gold = [reference] if reference else shape["gold"]
            return Columns(shape["form"], tuple(shape["columns"]), tuple(gold), tuple(shape.get("context", ())))
    raise BadData(
        f"{file}: no known columns (columns: {_names(record)}); a dataset has 'messages', or a pair such as "
        "'question' and 'answer', or names its own with 'prompt_column' and 'reference_column'"
    )


def _names(record: Any) -> str:
    return ", ".join(map(str, record)) or "none"


def to_row(cells: Cells, columns: Columns, task: Task, system: str | None) -> Row:
    """The row that a record stands for, its gold answer in the form the task wants. Raises BadRow.

    ``system`` is for rows that have no system message of their own. What of the record stays unused, ``cells`` knows.
    """
    for name in columns.needed:
        if name not in cells:
            raise BadRow("missing_column", f"there is no '{name}' (columns: {_names(cells.names)})")
    messages, reference = _READ[columns.form](cells, columns)
    messages = _with_system(messages, cells, columns, system)
    metadata = dict(cells.get("metadata")) if isinstance(cells.peek("metadata"), dict) else None
    return _with_gold(make_row(messages, reference, metadata), task)


def _with_gold(row: Row, task: Task) -> Row:
    reference = row.get("reference")
    if reference is None:
        return row
    gold = task.reference(reference, row)
    if gold is None:
        raise BadRow("reference", f"the reference {reference[:60]!r} is no answer that the task {task.name} can verify")
    metadata = dict(row.get("metadata") or {})
    if gold not in (reference, reference.strip()):
        metadata["reference_text"] = reference
    return make_row(row["messages"], gold, metadata or None)


def _with_system(messages: Any, cells: Cells, columns: Columns, system: str | None) -> Any:
    """``messages`` with the system message of the row's own column before what they begin with, or the step's."""
    own_columns = [name for name in TABLE["system"] if name not in (*columns.needed, *columns.gold)]
    name, value = cells.first(own_columns)
    row_system = text_of(value, name)
    if not isinstance(messages, list) or not messages:
        return messages
    first = messages[0]
    prompt = system if row_system is None else row_system
    if not (isinstance(first, dict) and first.get("role") == "system"):
        return messages if prompt is None else [{"role": "system", "content": prompt}, *messages]
    if prompt is not None and isinstance(first.get("content"), str) and not first["content"].strip():
        return [{"role": "system", "content": prompt}, *messages[1:]]
    if (
        row_system is None
        or not isinstance(first.get("content"), str)
        or row_system.strip() == first["content"].strip()
    ):
        return messages
    return [{"role": "system", "content": f"{row_system}\n\n{first['content']}"}, *messages[1:]]


# -- forms ------------------------------------------------------------------------------------------------------------


def _gold(cells: Cells, columns: Columns) -> str | None:
    name, value = cells.first(columns.gold)
    return text_of(value, name)


def _messages(cells: Cells, columns: Columns) -> tuple[Any, str | None]:
    return _turns(_listed(cells, "messages"), "messages", cells, columns)


def _listed(cells: Cells, name: str) -> Any:
    """A cell that holds a list, which a CSV has as text. Raises BadRow."""
    value = cells.get(name)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else json_limit(error)
        raise BadRow("json", f"'{name}' is not a JSON list: {reason}") from None


def _conversations(cells: Cells, columns: Columns) -> tuple[Any, str | None]:
    turns = _listed(cells, "conversations")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise BadRow("schema", "'conversations' is not a list of turns")
    messages = []
    for turn in turns:
        keys = ("from", "value") if "from" in turn else ("role", "content")
        who = turn.get(keys[0])
        role = TABLE["roles"].get(who, who) if isinstance(who, str) else who
        messages.append({"role": role, "content": turn.get(keys[1])})
        cells.inside("conversations[]", turn, keys)
    return _turns(messages, "conversations", cells, columns)


def _turns(messages: Any, name: str, cells: Cells, columns: Columns) -> tuple[Any, str | None]:
    """A conversation and its gold answer; keys of turns beside role and content are not used."""
    gold = _gold(cells, columns)
    turns = [turn for turn in messages if isinstance(turn, dict)] if isinstance(messages, list) else []
    for turn in turns:
        cells.inside(f"{name}[]", turn, ("role", "content"))
    if gold is not None and turns and turns[-1].get("role") == "assistant" and turns[-1].get("content") != gold:
        cells.leave(_LAST_TURN)
    return messages, gold


def _nli(cells: Cells, columns: Columns) -> tuple[Any, str | None]:
    parts = {name: _required(cells, name) for name in ("premise", "hypothesis")}
    return _user(_NLI_PROMPT.format(**parts)), _gold(cells, columns)


def _choices(cells: Cells, columns: Columns) -> tuple[Any, str | None]:
    choices = cells.get("choices")
    texts = choices.get("text") if isinstance(choices, dict) else choices
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise BadRow("schema", "'choices' is neither a list of texts nor {label: [...], text: [...]}")
    labels = (choices.get("label") or []) if isinstance(choices, dict) else []
    if isinstance(choices, dict):
        cells.inside("choices", choices, ("label", "text"))
    lines = [f"({chr(ord('A') + number)}) {text}" for number, text in enumerate(texts)]
    name, answer = cells.first(columns.gold)
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(texts):
        answer = chr(ord("A") + answer)
    elif answer in labels:
        answer = chr(ord("A") + labels.index(answer))
    text = f"Question: {_required(cells, 'question')}\nAnswer Choices:\n" + "\n".join(lines)
    return _user(_about(cells, columns, text)), text_of(answer, name)


def _pair(cells: Cells, columns: Columns) -> tuple[Any, str | None]:
    prompt = cells.get(columns.prompt)
    if isinstance(prompt, list):
        return _turns(prompt, columns.prompt, cells, columns)
    return _user(_about(cells, columns, _required(cells, columns.prompt))), _gold(cells, columns)


def _about(cells: Cells, columns: Columns, prompt: str) -> str:
    """The prompt with the text that it is about: behind an instruction, as Alpaca has it; else before the question."""
    name, value = cells.first(columns.context)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = "\n\n".join(value)
    text = text_of(value, name)
    if text is None:
        return prompt
    if columns.prompt == "instruction":
        return f"{prompt}\n\n{text}"
    if columns.form == "pair" and columns.prompt == "question":
        return f"Context: {text}\n\nQuestion: {prompt}"
    return f"Context: {text}\n\n{prompt}" if columns.form == "choices" else f"{text}\n\n{prompt}"


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _required(cells: Cells, name: str) -> str:
    value = text_of(cells.get(name), name)
    if value is None:
        raise BadRow("empty", f"'{name}' is empty")
    return value


_READ: dict[str, Callable[[Cells, Columns], tuple[Any, str | None]]] = {
    "messages": _messages,
    "conversations": _conversations,
    "nli": _nli,
    "choices": _choices,
    "pair": _pair,
}
