"""A step's arguments, as the ``component.yml`` beside its script declares them: names, types, defaults, enums, ranges.

The command (of a parallel component: its program arguments) says which option hands over which input or output. A path
is a ``Path``; an optional input that is left out, or handed over as an empty text, is None. What YAML cannot say, such
as which inputs contradict each other, is checked by the step itself.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from common.step import BadConfig

_OPTION = re.compile(r"--(?P<option>\w+)[ =]'?\$\{\{(?P<kind>inputs|outputs)\.(?P<name>\w+)\}\}")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are configuration errors (exit code 78, where argparse would end with 2)."""

    def joined(self, words: Sequence[str]) -> list[str]:
        """``words`` with each option and its value in one: a value may begin with a dash."""
        joined: list[str] = []
        for word in words:
            if joined and self._is_option(joined[-1]) and not self._is_option(word):
                joined[-1] += f"={word}"
            else:
                joined.append(word)
        return joined

    def _is_option(self, word: str) -> bool:
        return word in self._option_string_actions

    def error(self, message: str) -> NoReturn:
        raise BadConfig(message)


def of(script: str, *, with_others: bool = False) -> Namespace:
    """The arguments of the step whose script is ``script``. Raises BadConfig for a value that is not as declared.

    ``with_others``: more options may stand on the command line, such as those of Azure ML's driver of parallel steps.
    """
    with Path(script).with_name("component.yml").open(encoding="utf-8") as file:
        spec = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return parse(spec, sys.argv[1:], with_others=with_others)


def parse(spec: Mapping[str, Any], words: Sequence[str], *, with_others: bool = False) -> Namespace:
    """The arguments in ``words`` as the component ``spec`` declares them. Raises BadConfig."""
    parser = _parser(spec)
    joined = parser.joined(words)
    return parser.parse_known_args(joined)[0] if with_others else parser.parse_args(joined)


def _parser(spec: Mapping[str, Any]) -> _Parser:
    parser = _Parser(prog=spec["name"], description=_help(spec), allow_abbrev=False)
    for match in _OPTION.finditer(spec.get("command") or spec["task"]["program_arguments"]):
        declared: Mapping[str, Any] = spec[match["kind"]][match["name"]]
        convert, default = _converter(match["option"], declared), declared.get("default")
        needed = match["kind"] == "outputs" or not declared.get("optional")
        parser.add_argument(
            f"--{match['option']}",
            type=convert,
            required=needed and default is None,
            default=None if default is None else convert(_written(default)),
            help=_help(declared),
        )
    return parser


def _help(spec: Mapping[str, Any]) -> str:
    return str(spec.get("description") or "").replace("%", "%%")


def _written(value: Any) -> str:
    """A default as it would stand on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _converter(option: str, declared: Mapping[str, Any]) -> Callable[[str], Any]:
    convert = _CONVERTERS.get(declared["type"], Path)

    def converted(text: str) -> Any:
        if declared.get("optional") and not text.strip():
            return None
        value = convert(text)
        if "enum" in declared:
            return _one_of(text, declared["enum"])
        if isinstance(value, int | float):
            _require_range(option, value, text.strip(), declared)
        return value

    converted.__name__ = convert.__name__
    return converted


def _one_of(text: str, words: Sequence[str]) -> str:
    # Azure ML writes the true of a pipeline as True.
    word = next((word for word in (text, text.lower()) if word in words), None)
    if word is None:
        raise ArgumentTypeError(f"'{text}' is none of {', '.join(words)}")
    return word


def _require_range(option: str, value: float, text: str, declared: Mapping[str, Any]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        # No comparison would refuse what is no number.
        raise BadConfig(f"{option} must be a finite number, not {value:g}")
    lowest, highest = declared.get("min"), declared.get("max")
    if (lowest is not None and value < lowest) or (highest is not None and value > highest):
        limits = f"{lowest:g} or more" if highest is None else f"between {lowest:g} and {highest:g}"
        raise BadConfig(f"{option} must be {limits}, not {text}")


def _boolean(text: str) -> bool:
    """A boolean input as Azure ML writes it on a command line."""
    word = text.strip().lower()
    if word not in ("true", "false"):
        raise ArgumentTypeError(f"'{text}' is not a boolean (true or false)")
    return word == "true"


_CONVERTERS: Mapping[str, Callable[[str], Any]] = {"string": str, "integer": int, "number": float, "boolean": _boolean}
