"""Reads YAML into plain data with the place of every key and value.

Only what Azure ML's YAML needs is accepted: one document, plain scalars, lists and mappings with string keys. Tags,
duplicate keys and anything larger than a spec can be are refused, each with its place. Parsing is libyaml's, by events,
so depth is checked before anything recurses.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from azdistill.aml.source import Place, Source, Steps
from azdistill.errors import Problem, SpecError, did_you_mean_path

MAX_BYTES = 4_000_000
MAX_NODES = 200_000
MAX_DEPTH = 100
#: So many files are named in place of one that is not there.
_NAMED = 8

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: str | Path) -> Source:
    """The YAML file at ``path``. Raises :class:`SpecError` where it cannot be read, is no UTF-8, or no safe YAML."""
    file = str(path)
    try:
        status = os.stat(path)
        # A pipe or a device may never end.
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise _error("AZD101", f"cannot read {file}: it is no file but a pipe, a socket or a device", file)
        if status.st_size > MAX_BYTES:
            raise _error("AZD106", f"{status.st_size} bytes are too many for a spec (the limit is {MAX_BYTES})", file)
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        link = f" (it is a link to {os.readlink(path)})" if os.path.islink(path) else ""
        raise _error("AZD101", f"no such file: {file}{link}", file, hint=_nearest(Path(path))) from None
    except OSError as error:
        raise _error("AZD101", f"cannot read {file}: {error.strerror or error}", file) from None
    return read_text(_decode(raw, file), file, Path(path).resolve().parent)


def _nearest(path: Path) -> str:
    """What may have been meant by a file that is not there; else which there are."""
    if hint := did_you_mean_path(path):
        return hint
    names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in (".yml", ".yaml"))
    return f"there are: {', '.join(names[:_NAMED])}" if names else ""


def read_text(text: str, file: str, base: Path) -> Source:
    """``text`` as if it stood in ``file``, its relative paths starting at ``base``."""
    return _Composer(text, file).source(base)


def plain(mapping: Mapping[str, Any], base: Path, name: str) -> Source:
    """Data made in memory, as a source without lines."""
    return Source(name, base.resolve(), mapping)


def _decode(raw: bytes, file: str) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        hint = "save the file as UTF-8" + (" (it looks like UTF-16)" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "")
        raise _error("AZD102", message, file, line, column, hint) from None
    return text.replace("\r\n", "\n")


def _error(code: str, message: str, file: str, line: int = 0, column: int = 0, hint: str = "") -> SpecError:
    return SpecError([Problem(code, message, file, line, column, hint=hint)])


class _Composer:
    """Builds data and places from the parser's events."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.values: dict[Steps, Place] = {}
        self.keys: dict[Steps, Place] = {}
        self.aliases: dict[Steps, Steps] = {}
        self.anchors: dict[str, tuple[Steps, Any, int]] = {}
        self.problems: list[Problem] = []
        self.nodes = 0

    def source(self, base: Path) -> Source:
        data = self._document()
        if self.problems:
            raise SpecError(self.problems)
        return Source(self.file, base, data, self.text, self.values, self.keys, self.aliases)

    def _document(self) -> Any:
        try:
            self.loader = _Loader(self.text)
            self.loader.get_event()  # stream start
            if self.loader.check_event(yaml.StreamEndEvent):
                return None
            self.loader.get_event()  # document start
            data = self._node((), 0)
            self.loader.get_event()  # document end
            if not self.loader.check_event(yaml.StreamEndEvent):
                event = self.loader.get_event()
                self._fail("AZD103", "a second YAML document starts here; a spec is one document", event)
        except yaml.YAMLError as error:
            raise self._syntax(error) from None
        return data

    def _node(self, steps: Steps, depth: int) -> Any:
        event = self.loader.get_event()
        before = self._count(event, depth)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, steps)
        self._refuse_tag(event)
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_nul(event)
            value: Any = self._scalar(event)
            end = event.end_mark
        elif isinstance(event, yaml.SequenceStartEvent):
            value, end = self._sequence(steps, depth)
        else:
            value, end = self._mapping(steps, depth)
        self.values[steps] = _place(event.start_mark, end)
        if event.anchor:
            self.anchors[event.anchor] = (steps, value, self.nodes - before)
        return value

    def _count(self, event: Any, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise self._fail("AZD106", f"nested more than {MAX_DEPTH} deep", event)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            message = f"more than {MAX_NODES} values (aliases count each time they are used)"
            raise self._fail("AZD106", message, event)
        return self.nodes

    def _sequence(self, steps: Steps, depth: int) -> tuple[list[Any], Any]:
        items: list[Any] = []
        while not self.loader.check_event(yaml.SequenceEndEvent):
            items.append(self._node((*steps, len(items)), depth + 1))
        return items, self.loader.get_event().end_mark

    def _mapping(self, steps: Steps, depth: int) -> tuple[dict[str, Any], Any]:
        data: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not self.loader.check_event(yaml.MappingEndEvent):
            event = self.loader.peek_event()
            key = self._key(steps, depth)
            if key in data:
                self._fail("AZD104", f"duplicate key '{key}': the first value would be lost", event)
            child = (*steps, key)
            self.keys[child] = _place(event.start_mark, event.end_mark)
            value = self._node(child, depth + 1)
            if key == "<<" and not event.style:
                merged = {**self._merged(value, child, event, merged.keys()), **merged}
            else:
                data[key] = value
        return {**merged, **data}, self.loader.get_event().end_mark

    def _key(self, steps: Steps, depth: int) -> str:
        event = self.loader.peek_event()
        if not isinstance(event, yaml.ScalarEvent):
            raise self._fail("AZD103", "a key is a single word, not a list, mapping or alias", event)
        self._count(self.loader.get_event(), depth)
        self._refuse_tag(event)
        self._refuse_nul(event)
        return str(event.value)

    def _merged(self, value: Any, child: Steps, event: Any, own_keys: Collection[str]) -> dict[str, Any]:
        """What a ``<<`` merges in, without the keys that are ``own_keys``."""
        merged: dict[str, Any] = {}
        several = value if isinstance(value, list) else [value]
        for number, each in enumerate(several):
            if not isinstance(each, dict):
                self._fail("AZD103", "'<<' merges mappings only", event)
                continue
            origin = (*child, number) if isinstance(value, list) else child
            for key, content in each.items():
                if key not in merged and key not in own_keys:
                    merged[key] = content
                    self.aliases[(*child[:-1], key)] = (*self.aliases.get(origin, origin), key)
        return merged

    def _alias(self, event: Any, steps: Steps) -> Any:
        if event.anchor not in self.anchors:
            raise self._fail("AZD103", f"alias '*{event.anchor}' has no anchor before it", event)
        origin, value, size = self.anchors[event.anchor]
        self.nodes += size
        self.values[steps] = _place(event.start_mark, event.end_mark)
        self.aliases[steps] = origin
        return value

    def _scalar(self, event: Any) -> Any:
        tag = self.loader.resolve(yaml.ScalarNode, event.value, event.implicit)
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        try:
            return self.loader.construct_object(node)
        except (ValueError, yaml.YAMLError):
            self._fail("AZD103", f"'{event.value}' looks like a {tag.rpartition(':')[2]} but is none", event)
            return event.value

    def _refuse_tag(self, event: Any) -> None:
        if event.tag and event.tag != "!":
            self._fail("AZD105", f"tag '{event.tag}' is not allowed", event)

    def _refuse_nul(self, event: Any) -> None:
        """Note a NUL, which escapes can write into a text."""
        if "\0" in event.value:
            self._fail("AZD103", "a text with a NUL character, which no command, path or variable can hold", event)

    def _fail(self, code: str, message: str, event: Any) -> SpecError:
        """Note a problem; what it returns is raised where nothing can be read after it."""
        mark = event.start_mark
        self.problems.append(Problem(code, message, self.file, mark.line + 1, mark.column + 1))
        return SpecError(self.problems)

    def _syntax(self, error: yaml.YAMLError) -> SpecError:
        if isinstance(error, yaml.reader.ReaderError):
            return SpecError([*self.problems, self._unprintable()])
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error)
        context = getattr(error, "context", None)
        message = f"not YAML: {what}" + (f" ({context})" if context else "")
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        lines = self.text.split("\n")
        hint = _syntax_hint(lines[line - 1], column - 1) if 0 < line <= len(lines) else ""
        return SpecError([*self.problems, Problem("AZD103", message, self.file, line, column, hint=hint)])

    def _unprintable(self) -> Problem:
        # The parser counts bytes, and names no line.
        match = yaml.reader.Reader.NON_PRINTABLE.search(self.text)
        position = match.start() if match else 0
        before = self.text[:position]
        message = f"not YAML: a control character (U+{ord(self.text[position]):04X})"
        line, column = before.count("\n") + 1, position - before.rfind("\n")
        return Problem("AZD103", message, self.file, line, column, hint="a spec is text: is this another kind of file?")


def _syntax_hint(line: str, column: int) -> str:
    """What most often is behind a line that is no YAML."""
    if "\t" in line[: column + 1]:
        return "indent with spaces: YAML takes no tabs there"
    if re.search(r"[{,:]\s*\$\{\{", line):
        return "between { and } write an expression in quotes: '${{parent.inputs.NAME}}'"
    if re.search(r"(:|-)\s+[*&!%@`|>{\[]", line) or re.search(r":\s+\S.*:\s", line):
        return "write a value that holds ': ' or begins with one of * & ! % @ ` in quotes"
    return ""


def _place(start: Any, end: Any) -> Place:
    return Place(start.line + 1, start.column + 1, start.index, end.index)
