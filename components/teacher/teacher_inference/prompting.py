"""What a teacher is told: jinja2 templates, one per task and strategy.

``prompts/<task>/<strategy>.jinja2`` renders the system message. It may have the blocks ``system`` and ``user`` instead:
the second then takes the place of the user's last turn. A template that renders nothing sends no system message. The
student never sees any of it: its rows keep the user's own messages. A folder of the user's own overrides the
templates here, file by file.

A row's system message reaches the teacher under every strategy: the templates here place it before their own words. A
template of the user's own has it as ``system``; a warning says where it leaves it out.

Variables: ``system`` (the row's own system message, or ""), ``prompt`` (the last turn), ``messages``, ``choices``
(letter and text, for multiple choice), ``max_summary_words``, ``metadata``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from common.rows import Message, Row
from common.step import BadConfig, say
from common.tasks.qa import choices_of
from jinja2.sandbox import SandboxedEnvironment

BUILT_IN = Path(__file__).parent / "prompts"


class Prompts:
    """The template of one task and strategy."""

    def __init__(self, task: str, strategy: str, folder: Path | None, max_summary_words: int) -> None:
        self._words = max_summary_words
        self._warned = False
        name = f"{task}/{strategy}.jinja2"
        folders = [path for path in (folder, BUILT_IN) if path is not None]
        environment = SandboxedEnvironment(
            loader=jinja2.FileSystemLoader(folders),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        try:
            self._template = environment.get_template(name)
        except jinja2.TemplateNotFound:
            raise BadConfig(f"there is no prompt {name}; {task} has: {', '.join(_strategies(folders, task))}") from None
        except jinja2.TemplateSyntaxError as error:
            raise BadConfig(f"{error.filename}:{error.lineno}: {error.message}") from None
        if folder is not None:
            say(f"prompt: {self._template.filename}")

    def render(self, row: Row, messages: list[Message]) -> list[Message]:
        """The messages that the teacher gets in place of ``messages``. Raises BadConfig when the template fails."""
        system = messages[0]["content"] if messages[0]["role"] == "system" else ""
        variables = {
            "system": system,
            "prompt": messages[-1]["content"],
            "messages": messages,
            "choices": choices_of({"messages": messages}),
            "max_summary_words": self._words,
            "metadata": row.get("metadata") or {},
        }
        text = self._rendered(variables)
        turns = messages[1:] if messages[0]["role"] == "system" else messages
        if "user" in self._template.blocks:
            turns = [*turns[:-1], {"role": "user", "content": self._block("user", variables)}]
        rendered = [{"role": "system", "content": text}, *turns] if text else list(turns)
        if not self._warned and not any(system.strip() in turn["content"] for turn in rendered):
            self._warned = True
            say(f"warning: {self._template.filename} leaves out the rows' system messages")
        return rendered

    def _rendered(self, variables: dict[str, Any]) -> str:
        if "system" in self._template.blocks:
            return self._block("system", variables)
        if "user" in self._template.blocks:
            raise BadConfig(f"{self._template.filename}: a template with a block 'user' needs a block 'system' too")
        return self._guarded(lambda: self._template.render(variables))

    def _block(self, name: str, variables: dict[str, Any]) -> str:
        block = self._template.blocks[name]
        return self._guarded(lambda: "".join(block(self._template.new_context(variables))))

    def _guarded(self, render: Any) -> str:
        try:
            text: str = render()
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise BadConfig(f"{self._template.filename}: {error}") from None
        return text.strip()


def _strategies(folders: list[Path], task: str) -> list[str]:
    return sorted({path.stem for folder in folders for path in (folder / task).glob("*.jinja2")}) or ["none"]
