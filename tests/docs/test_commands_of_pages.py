"""Every azdistill command that a page shows has its verb, its subcommand and its options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pages import ROOT, blocks, pages

from azdistill.cli import cli

HOW_TO = ROOT / "docs/contributing"


def commands() -> Iterator[tuple[Path, str]]:
    """Each command of a page and its page; how-to pages show verbs that are not there yet, and a test runs them."""
    for page in pages():
        for block in blocks(page):
            if block.info in ("sh", "console") and page.parent != HOW_TO:
                text = block.text.replace("\\\n", " ")
                lines = re.findall(r"(?:^|^\$ |&& )(azdistill [^&#\n]*)", text, re.MULTILINE)
                yield from ((page, line.strip()) for line in lines)


COMMANDS = sorted(set(commands()))


def test_the_pages_show_commands() -> None:
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: getattr(value, "name", value))
def test_a_command_of_a_page_is_one_of_the_programs(page: Path, line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        following = command.get_command(context, words[0])
        assert following is not None, f"{page.name}: there is no '{words[0]}'"
        command, words = following, words[1:]
    options = {spelling for option in command.get_params(context) for spelling in option.opts}
    named = {word.split("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
    assert named <= options
