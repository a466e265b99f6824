"""Keeps what the mini-batches of a parallel step gave, while it runs, for the attempt that comes after a failure."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

NAME = ".azdistill-mini-batches.jsonl"


class Journal:
    """The journal in ``folder``, the folder that all outputs of the attempt lie in (None: nothing is kept).

    ``previous`` is that folder of the attempt before this one, where it has one: see AZDISTILL_PREVIOUS_ATTEMPT.
    ``target`` is the file in ``folder`` that the results are put into in the end.
    """

    def __init__(self, folder: str | None, previous: str | None, target: str | None) -> None:
        self._path = os.path.join(folder, NAME) if folder else None
        self._previous = previous
        self._own = (NAME, os.path.relpath(target, folder)) if folder and target else (NAME,)

    def begin(self, batches: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """What the previous attempt kept of these mini-batches: by number, the answers of their workers.

        An attempt is the previous one only where code, settings and inputs are the same. Nothing where the script had
        written files of its own: those of a mini-batch that is not run again would be missing from the outputs.
        """
        if self._path is None:
            return {}
        mark = _mark(batches)
        answers = dict(_read(self._previous, mark)) if self._previous and not self._others(self._previous) else {}
        draft = f"{self._path}.part"
        with open(draft, "w", encoding="utf-8") as file:
            file.write(json.dumps({"of": mark}, allow_nan=False) + "\n")
            file.writelines(_line(number, answer) for number, answer in answers.items())
        # Whole or not at all: what an attempt takes over must not be less for the one after it.
        os.replace(draft, self._path)
        return answers

    def add(self, number: int, answer: dict[str, Any]) -> None:
        """Keep the answer of a mini-batch that needs no other try."""
        if self._path:
            with open(self._path, "ab", buffering=0) as file:
                file.write(_line(number, answer).encode())

    def remove(self) -> None:
        """Take the journal away: the step has succeeded, and it is none of its outputs."""
        if self._path and os.path.exists(self._path):
            os.remove(self._path)

    def _others(self, folder: str) -> bool:
        """Whether there is a file in ``folder`` that the script itself wrote."""
        files = (os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)
        return any(file.removesuffix(".part") not in self._own for file in files)


def _line(number: int, answer: dict[str, Any]) -> str:
    return json.dumps({"batch": number, "answer": answer}, allow_nan=False) + "\n"


def _mark(batches: list[dict[str, Any]]) -> str:
    """A hash of how the input is split."""
    counts = [batch["count"] for batch in batches]
    return hashlib.sha256(json.dumps(counts, allow_nan=False).encode()).hexdigest()


def _read(folder: str, mark: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The answers in a journal; what a kill left half written, and what follows it, is passed over."""
    try:
        with open(os.path.join(folder, NAME), encoding="utf-8") as file:
            lines = file.read().split("\n")[:-1]
        if json.loads(lines[0])["of"] != mark:
            return
        for line in lines[1:]:
            record = json.loads(line)
            yield record["batch"], record["answer"]
    except (OSError, ValueError, LookupError, TypeError):
        return
