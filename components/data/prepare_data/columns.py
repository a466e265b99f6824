"""From the columns of a dataset to the messages and the gold answer of a row."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from common.rows import BadRow, Row, make_row
from common.step import BadConfig, BadData
from common.tasks import Task

#: Pairs of columns that datasets use for a prompt and its gold answer, in the order they are looked for.
PAIRS = (
    ("question", "answer"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "output"),
    ("article", "highlights"),
    ("article", "summary"),
    ("document", "summary"),
    ("dialogue", "summary"),
)
_NLI_PROMPT = (
    "Decide how the hypothesis relates to the premise: 'entailment', 'neutral' or 'contradiction'.\n\n"
    "Premise: {premise}\nHypothesis: {hypothesis}"
)
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


@dataclass(frozen=True)
class Columns:
    """Which columns make a row. ``form`` is one of messages, conversations, nli, choices, pair."""

    form: str
    prompt: str = ""
    reference: str = ""

    def needed(self) -> list[str]:
        """The columns that each record must have."""
        return {
            "messages": ["messages"],
            "conversations": ["conversations"],
            "nli": ["premise", "hypothesis"],
            "choices": ["question", "choices"],
        }.get(self.form, [name for name in (self.prompt, self.reference) if name])


def choose_columns(record: dict[str, Any], prompt: str | None, reference: str | None, file: str) -> Columns:
    """The columns of the dataset that ``record`` comes from. Raises BadData listing the columns that there are."""
    if reference and not prompt and "messages" not in record:
        raise BadConfig("'reference_column' needs 'prompt_column' beside it")
    wanted = [name for name in (prompt, reference) if name]
    if missing := [name for name in wanted if name not in record]:
        raise BadData(f"{file}: there is no column '{missing[0]}' (columns: {_names(record)})")
    if prompt:
        return Columns("pair", prompt, reference or "")
    for form, names in _FORMS.items():
        if all(name in record for name in names):
            return Columns(form, reference=reference or "")
    for question, answer in PAIRS:
        if question in record and answer in record:
            return Columns("pair", question, answer)
    raise BadData(
        f"{file}: no known columns (columns: {_names(record)}); a dataset has 'messages', or a pair such as "
        "'question' and 'answer', or names its own with 'prompt_column' and 'reference_column'"
    )


_FORMS = {
    "messages": ("messages",),
    "conversations": ("conversations",),
    "nli": ("premise", "hypothesis"),
    "choices": ("question", "choices"),
}


def _names(record: dict[str, Any]) -> str:
    return ", ".join(map(str, record)) or "none"


def to_row(record: dict[str, Any], columns: Columns, task: Task, system: str | None) -> Row:
    """The row that a record stands for, its gold answer in the form the task wants. Raises BadRow."""
    for name in columns.needed():
        if name not in record:
            raise BadRow("missing_column", f"there is no '{name}' (columns: {_names(record)})")
    messages, reference = _READ[columns.form](record, columns)
    if system is not None and not _has_system(messages):
        messages = [{"role": "system", "content": system}, *messages]
    metadata = record.get("metadata")
    row = make_row(messages, _text(reference), dict(metadata) if isinstance(metadata, dict) else None)
    return _with_gold(row, task)


def _with_gold(row: Row, task: Task) -> Row:
    given = row.get("reference")
    if given is None:
        return row
    gold = task.reference(given, row)
    if gold is None:
        raise BadRow("reference", f"the reference {given[:60]!r} is no answer that the task {task.name} can verify")
    metadata = dict(row.get("metadata") or {})
    if gold != given.strip():
        metadata["reference_text"] = given
    return make_row(row["messages"], gold, metadata or None)


def _has_system(messages: Any) -> bool:
    first = messages[0] if isinstance(messages, list) and messages else None
    return not isinstance(messages, list) or (isinstance(first, dict) and first.get("role") == "system")


def _messages(record: dict[str, Any], columns: Columns) -> tuple[Any, Any]:
    value = record["messages"]
    if isinstance(value, str):
        # A CSV holds the list as text.
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise BadRow("json", f"'messages' is not a JSON list: {error.msg}") from None
    return value, record.get(columns.reference or "reference")


def _conversations(record: dict[str, Any], columns: Columns) -> tuple[Any, Any]:
    turns = record["conversations"]
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise BadRow("schema", "'conversations' is not a list of turns")
    messages = [
        {"role": _ROLES.get(turn.get("from"), turn.get("from")), "content": turn.get("value")} for turn in turns
    ]
    return messages, record.get(columns.reference) if columns.reference else None


def _nli(record: dict[str, Any], columns: Columns) -> tuple[Any, Any]:
    parts = {name: _required(record, name) for name in ("premise", "hypothesis")}
    return _user(_NLI_PROMPT.format(**parts)), record.get(columns.reference or "label")


def _choices(record: dict[str, Any], columns: Columns) -> tuple[Any, Any]:
    choices = record["choices"]
    texts = choices.get("text") if isinstance(choices, dict) else choices
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadRow("schema", "'choices' is neither a list of texts nor {label: [...], text: [...]}")
    lines = [f"({chr(ord('A') + number)}) {text}" for number, text in enumerate(texts)]
    answer = record.get(columns.reference or "answerKey", record.get("answer"))
    if isinstance(answer, int) and 0 <= answer < len(texts):
        answer = chr(ord("A") + answer)
    elif isinstance(choices, dict) and answer in (choices.get("label") or []):
        answer = chr(ord("A") + choices["label"].index(answer))
    return _user(f"Question: {_required(record, 'question')}\nAnswer Choices:\n" + "\n".join(lines)), answer


def _pair(record: dict[str, Any], columns: Columns) -> tuple[Any, Any]:
    prompt = record[columns.prompt]
    reference = record[columns.reference] if columns.reference else None
    if isinstance(prompt, list):
        return prompt, reference
    text = _required(record, columns.prompt)
    # Alpaca's datasets keep what an instruction is about in a column of its own.
    if columns.prompt == "instruction" and (about := _text(record.get("input"))):
        text = f"{text}\n\n{about}"
    return _user(text), reference


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _required(record: dict[str, Any], name: str) -> str:
    value = _text(record[name])
    if value is None:
        raise BadRow("empty", f"'{name}' is empty")
    return value


def _text(value: Any) -> str | None:
    """A cell as text; None for what tables write where there is nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (dict, list)):
        raise BadRow("schema", f"a text is expected, not {'an object' if isinstance(value, dict) else 'a list'}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if str(value).strip() else None


_READ = {
    "messages": _messages,
    "conversations": _conversations,
    "nli": _nli,
    "choices": _choices,
    "pair": _pair,
}
