"""The documentation's pages as the tests read them: links, headings, fenced blocks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: README stands on the package's index page too, where only absolute links lead anywhere.
ON_THE_WEB = (
    "https://github.com/azdistill/azdistill/blob/main/",
    "https://raw.githubusercontent.com/azdistill/azdistill/main/",
)
_FENCE = re.compile(r"^```(?P<info>.*)$")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: what stands behind its opening backticks, and its text."""

    info: str
    text: str


def pages() -> list[Path]:
    """README, the other pages at the root, and all of docs/."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, from top to bottom."""
    info: str | None = None
    lines: list[str] = []
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = _FENCE.match(line)
        if info is not None and line == "```":
            yield Block(info, "".join(f"{text}\n" for text in lines))
            info, lines = None, []
        elif info is not None:
            lines.append(line)
        elif fence:
            info = fence["info"].strip()
    assert info is None, f"{page}: a fence is not closed"


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> set[str]:
    """Where the links and images of a page lead."""
    return {match["target"] for match in _LINK.finditer(prose(page))}


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {_anchor(heading) for heading in headings}


def _anchor(heading: str) -> str:
    """GitHub keeps letters, digits, `-` and `_`, and puts a hyphen in place of each blank."""
    text = heading.strip().lower()
    return "".join("-" if c == " " else c for c in text if c in " -_" or unicodedata.category(c)[0] in "LN")


def source_paths(page: Path) -> set[str]:
    """The files and folders of this repository that a page names in its prose, from the root on."""
    named = re.findall(r"`((?:azdistill|components|environments|pipelines|tests|examples)/[\w./-]+)`", prose(page))
    return {path for path in named if "<" not in path}
