"""``azdistill init``: a small project to own, with everything a person will want to edit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jinja2

from azdistill import assets, families
from azdistill.errors import UserError

#: How a task's teacher and student are asked where its file has no SAMPLE.
_SAMPLE = {"strategy": "direct", "max_tokens": 512, "max_new_tokens": 256}


def create(folder: Path, task: str, *, force: bool = False) -> tuple[list[Path], list[Path]]:
    """Write the project; returns the files written and those kept since they were there.

    UserError AZD251 where ``folder`` is a file, or is not empty and not ``force``. Nothing is ever overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file", code="AZD251")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise UserError(f"{folder} is not empty", code="AZD251", hint="--force adds what is missing and keeps the rest")
    new: list[Path] = []
    old: list[Path] = []
    for name, text in _files(folder.resolve().name, task):
        path = folder / name
        if path.exists():
            old.append(path)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        new.append(path)
    return new, old


def _files(name: str, task: str) -> Iterator[tuple[str, str]]:
    rows = assets.sample_data(task).read_text(encoding="utf-8")
    member = families.member(assets.tasks(), task)
    words: dict[str, object] = {
        "name": name,
        "task": task,
        "tasks": ", ".join(families.names(assets.tasks())),
        **_SAMPLE,
        **(member.header.get("SAMPLE", {}) if member else {}),
        "rows": rows.count("\n"),
    }
    home = assets.template("project")
    yield "recipe.yml", _render(home / "recipe.yml.jinja2", words)
    yield "README.md", _render(home / "README.md.jinja2", words)
    yield ".gitignore", (home / "gitignore").read_text(encoding="utf-8")
    yield f"data/{task}.jsonl", rows
    for prompt in sorted((assets.component("teacher_inference").parent / "prompts" / task).glob("*.jinja2")):
        yield f"prompts/{task}/{prompt.name}", prompt.read_text(encoding="utf-8")


def _render(template: Path, words: dict[str, object]) -> str:
    text = template.read_text(encoding="utf-8")
    return str(jinja2.Template(text, keep_trailing_newline=True, undefined=jinja2.StrictUndefined).render(words))
