"""From a row to a teacher row: each turn asked, unwrapped, and asked again where that is allowed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from answer_extraction import Unparsable, Unwrapped, unwrap
from chat_api import Answer
from common.rows import UNWRITABLE, Message, Row
from common.secrets import redact
from common.tasks import Task
from prompting import Prompts
from teacher_client import Asked, RowFailed, TeacherClient

#: So many characters of a rejected answer stand in the reject.
SHOWN = 300


@dataclass
class _Spent:
    """What the answers of one row took together."""

    usage: dict[str, int] = field(default_factory=lambda: {"prompt_tokens": 0, "completion_tokens": 0})
    latency: float = 0.0
    reused: bool = True
    finish_reason: str = "stop"

    def add(self, reply: Asked) -> None:
        for name in self.usage:
            self.usage[name] += reply.answer.usage[name]
        self.latency += reply.latency
        self.reused = self.reused and reply.reused

    def accept(self, answer: Answer) -> None:
        # One turn cut short spoils the conversation.
        if self.finish_reason == "stop":
            self.finish_reason = UNWRITABLE.sub("\ufffd", answer.finish_reason)


class Answered(NamedTuple):
    """A teacher row, and whether all of it came from the store."""

    row: Row
    reused: bool


@dataclass(frozen=True)
class Answering:
    """How rows are answered."""

    teacher: TeacherClient
    prompts: Prompts
    task: Task
    strategy: str
    all_turns: bool
    max_reasks: int

    async def answer(self, row: Row) -> Answered:
        """The teacher row for ``row``. Raises RowFailed."""
        spent = _Spent()
        history: list[Message] = []
        unwrapped = Unwrapped("", "")
        for position, turn in enumerate(row["messages"]):
            last = position == len(row["messages"]) - 1
            if turn["role"] == "assistant" and self.all_turns:
                history.append({"role": "assistant", "content": unwrapped.response})
                continue
            history.append(dict(turn))
            if turn["role"] == "user" and (last or self.all_turns):
                unwrapped = await self._ask({**row, "messages": list(history)}, spent)
        teacher_row = {
            **row,
            "messages": history,
            "teacher": self.teacher.api.model,
            "response": unwrapped.response,
            "reasoning": unwrapped.reasoning,
            "usage": spent.usage,
            "finish_reason": spent.finish_reason,
            "latency": round(spent.latency, 6),
            "status": "ok",
        }
        return Answered(teacher_row, spent.reused)

    async def _ask(self, row: Row, spent: _Spent) -> Unwrapped:
        """The answer to the last turn of ``row``; one that cannot be used is asked for again, as another sample."""
        messages = self.prompts.render(row, row["messages"])
        for sample in range(self.max_reasks + 1):
            last = sample == self.max_reasks
            answer = await self.teacher.ask(messages, sample)
            spent.add(answer)
            try:
                unwrapped = self._unwrapped(answer.answer, row)
            except RowFailed:
                if last:
                    raise
                continue
            # The last sample is handed on whatever the task's rules say: dropping it is curate's decision.
            if last or self.task.check(row, unwrapped.response) is None:
                spent.accept(answer.answer)
                return unwrapped
        raise AssertionError("unreachable")

    def _unwrapped(self, answer: Answer, row: Row) -> Unwrapped:
        if answer.finish_reason == "content_filter":
            raise RowFailed("content_filter", "the teacher's answer was filtered")
        try:
            unwrapped = unwrap(self.strategy, answer.text, answer.reasoning, self.task, row)
        except Unparsable as error:
            # A text cut short by max_tokens is no fault of its form.
            reason = "finish_length" if answer.finish_reason == "length" else "unparsable"
            raise RowFailed(reason, f"{error}; the teacher said {_excerpt(answer.text)}") from None
        if not unwrapped.response.strip():
            reason = "finish_length" if answer.finish_reason == "length" else "empty"
            thought = f"holds a thought and no answer: {_excerpt(answer.text)}" if answer.text.strip() else "is empty"
            raise RowFailed(reason, f"the teacher's answer {thought}")
        if match := UNWRITABLE.search(unwrapped.response):
            near = _excerpt(unwrapped.response[max(0, match.start() - SHOWN // 2) :])
            raise RowFailed("characters", f"the answer holds a NUL character, or half of a surrogate pair: {near}")
        return Unwrapped(unwrapped.response, UNWRITABLE.sub("\ufffd", unwrapped.reasoning))


def _excerpt(text: str) -> str:
    """The beginning of what a teacher said, for whoever reads the rejects."""
    text = text.strip()
    # Secrets are hidden before anything is cut or escaped, which would leave a part of one.
    excerpt = redact(text[: 20 * SHOWN])[:SHOWN]
    return repr(excerpt) + (f"... ({len(text)} characters)" if len(text) > SHOWN else "")
