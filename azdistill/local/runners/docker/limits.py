"""``resources.docker_args`` of a step, which Azure ML hands to ``docker run``: those that are honoured here too.

What would open the container (``--privileged``, ``--network``, ``--volume``, ...) is not among them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

#: A size as Docker takes it: bytes, or with a unit.
SIZE = re.compile(r"\d+[bkmg]?", re.IGNORECASE)
_NOTHING = re.compile(r"(?!)")
_GREATER_THAN_0 = r"(?=.*[1-9])"
#: Argument -> the limit that it sets, what its value has to look like, and how that is read.
_ARGUMENTS: dict[str, tuple[str, re.Pattern[str], Callable[[str], Any]]] = {
    "-m": ("memory", SIZE, str),
    "--memory": ("memory", SIZE, str),
    "--shm-size": ("shm_size", SIZE, str),
    "--pids-limit": ("pids", re.compile(rf"{_GREATER_THAN_0}\d+"), int),
    "--cpus": ("cpus", re.compile(rf"{_GREATER_THAN_0}\d+(\.\d+)?"), float),
    "--gpus": ("gpus", re.compile(r"(?s).*"), lambda text: True),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use at most; None: as much as there is. Sizes as Docker takes them (``2g``)."""

    memory: str | None = None
    pids: int | None = None
    shm_size: str | None = None
    cpus: float | None = None
    #: Whether GPUs were asked for; containers see those that there are, asked or not.
    gpus: bool = False


def parse(arguments: Any, limits: Limits) -> tuple[Limits, tuple[str, ...]]:
    """``limits`` with what ``arguments`` (text or a list) set in its place, and those that are not honoured."""
    try:
        words = list(map(str, arguments)) if isinstance(arguments, list) else shlex.split(str(arguments or ""))
    except ValueError:
        return limits, (str(arguments),)
    not_honoured: list[str] = []
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        # -e A=b: a value of its own belongs to the word before it.
        following = [words.pop(0)] if not equals and words and not words[0].startswith("-") else []
        text = value if equals else "".join(following)
        limit, pattern, read = _ARGUMENTS.get(name, ("", _NOTHING, str))
        if pattern.fullmatch(text):
            limits = replace(limits, **{limit: read(text)})
        else:
            not_honoured.append(" ".join([word, *following]))
    return limits, tuple(not_honoured)
