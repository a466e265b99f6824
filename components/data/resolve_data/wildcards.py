"""Paths with wildcards: ``*`` and ``?`` within one folder, ``**`` across folders."""

from __future__ import annotations

import re

FORMS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_WILD = re.compile(r"[*?]")


def root_of(path: str) -> str:
    """What stands before the first wildcard: every file that fits begins with it."""
    match = _WILD.search(path)
    return path[: match.start()] if match else path


def has_wildcard(path: str) -> bool:
    """Whether ``path`` may lead to several files."""
    return _WILD.search(path) is not None


def fitting(pattern: str, paths: list[str]) -> list[str]:
    """Those of ``paths`` that ``pattern`` describes and that hold data, in order; hidden files do not."""
    fits = re.compile(_expression(pattern))
    return sorted(path for path in paths if fits.fullmatch(path) and is_data(path))


def is_data(path: str) -> bool:
    """Whether a file's name is that of data: a known ending, and no part that begins with a dot or underscore."""
    parts = path.split("/")
    return path.lower().endswith(FORMS) and not any(part.startswith((".", "_")) for part in parts)


def _expression(pattern: str) -> str:
    patterns = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return "".join(patterns.get(part, re.escape(part)) for part in parts)
