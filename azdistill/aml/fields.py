"""Takes typed values out of a mapping as read, noting what is misspelt, missing or of the wrong kind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from azdistill.aml.source import Report, Where
from azdistill.errors import Severity, did_you_mean

REMOTE = ("azureml:", "http:", "https:", "wasb:", "wasbs:", "abfs:", "abfss:", "adl:", "git+", "git:")

#: What only a step has, and is written into components all the same.
STEP_KEYS = ("compute", "limits", "services", "identity", "queue_settings", "retry_settings", "experiment_name")
_OF_STEPS = "set it on the step that runs the component"
#: Words that Azure ML has in other places: where they are dropped, nothing else was meant by them.
_ELSEWHERE = ("command", "code", "component", "trial", "task", "jobs", "settings", "environment", "distribution")


def kind_of(value: Any) -> str:
    """A word for the kind of a YAML value."""
    kinds = {bool: "a boolean", int: "an integer", float: "a number", str: "text", list: "a list", dict: "a mapping"}
    return "nothing" if value is None else kinds.get(type(value), f"a {type(value).__name__}")


def is_remote(path: str) -> bool:
    """Whether ``path`` names something that is not on this machine's disk."""
    return path.lower().startswith(REMOTE)


class Fields:
    """The mapping at ``where``. Each method gives a key's value, or its empty value where it is absent or wrong."""

    def __init__(self, where: Where, report: Report) -> None:
        self.where, self.report = where, report
        data = where.value
        self.data: Mapping[str, Any] = data if isinstance(data, dict) else {}
        if data is not None and not isinstance(data, dict):
            self.wrong(where, "a mapping", data)

    def wrong(self, where: Where, expected: str, value: Any, hint: str = "") -> None:
        """Note that ``value`` is not ``expected``."""
        name = f"'{where.steps[-1]}'" if where.steps else "the file"
        self.report.error("AZD111", f"{name} should be {expected}, not {kind_of(value)}", where, hint=hint)

    def known(
        self,
        keys: Collection[str],
        of: str,
        *,
        dropped: bool = False,
        harmless: bool = False,
        hints: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Note every key that ``of`` does not have; ``hints`` say of some what to do instead.

        Where Azure ML drops unknown keys in silence (``dropped``), one that is no near miss is a warning only: public
        YAML has such keys, and runs. Where a key cannot change what a step makes (``harmless``), a near miss is too.
        """
        for key in self.data:
            if key not in keys:
                near = did_you_mean(key, sorted(keys))
                missed = near.startswith("did") and key not in _ELSEWHERE and key not in hints
                dropped_only = dropped and (harmless or not missed)
                near = _OF_STEPS if dropped_only and key in STEP_KEYS else near
                message = f"unknown key '{key}' in {of}" + (": Azure ML drops it in silence" if dropped_only else "")
                severity: Severity = "warning" if dropped_only else "error"
                hint = hints.get(key, near if missed or key not in _ELSEWHERE else "")
                self.report.note("AZD110", message, self.where / key, severity=severity, key=True, hint=hint)

    def require(self, of: str, *keys: str) -> None:
        """Note each of ``keys`` that is missing; what is no mapping has been told of."""
        if self.where.value is None or isinstance(self.where.value, dict):
            for key in keys:
                if self.data.get(key) is None:
                    self.report.error("AZD112", f"{of} needs '{key}'", self.where)

    def filled(self, keys: Collection[str]) -> None:
        """Note those of ``keys`` that have nothing after them, which azure-ai-ml takes for no absent ones."""
        for key in self.data:
            if key in keys and self.data[key] is None:
                self.wrong(self.where / key, "given a value", None, "take the key out, or out of use with a '#'")

    def text(self, key: str, *, scalar: bool = False) -> str | None:
        """Text; with ``scalar`` also a number or boolean, as text."""
        value = self.data.get(key)
        if value is None or isinstance(value, str):
            return value
        if scalar and not isinstance(value, list | dict):
            return str(value)
        single = value is not None and not isinstance(value, list | dict)
        self.wrong(self.where / key, "text", value, f'write "{value}" between quotes' if single else "")
        return None

    def texts(self, *keys: str) -> dict[str, Any]:
        """The texts under some keys, by key."""
        return {key: self.text(key) for key in keys}

    def boolean(self, key: str) -> bool | None:
        """A boolean, also written as text."""
        value = self.data.get(key)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if value is None or isinstance(value, bool):
            return value
        self.wrong(self.where / key, "true or false", value)
        return None

    def whole(self, key: str, *, at_least: int | None = None) -> None:
        """Note a value that is neither a whole number (text that spells one will do) nor bound to an input."""
        value = self.data.get(key)
        bound = isinstance(value, str) and (value.startswith("${{") or value.strip().isdigit())
        if value is not None and not bound and (isinstance(value, bool) or not isinstance(value, int)):
            self.wrong(self.where / key, "a whole number", value)
        elif value is not None and at_least is not None and not str(value).startswith("${{") and int(value) < at_least:
            self.report.error("AZD134", f"'{key}' is {value}, below the smallest allowed: {at_least}", self.where / key)

    def choice(self, key: str, allowed: Collection[str], *, exact: bool = False) -> str | None:
        """One of ``allowed``, in any case unless ``exact``."""
        value = self.text(key)
        if value is None or value.startswith("${{"):
            return value
        word = value if exact else value.lower()
        if word in allowed:
            return word
        hint = did_you_mean(value, list(allowed))
        self.report.error("AZD113", f"unknown {key} '{value}'", self.where / key, hint=hint)
        return None

    def mapping(self, key: str) -> dict[str, Any]:
        """A mapping as it is."""
        value = self.data.get(key)
        if value is None or isinstance(value, dict):
            return value or {}
        self.wrong(self.where / key, "a mapping", value)
        return {}

    def words(self, key: str, *, strict: bool = False) -> dict[str, str]:
        """A mapping of names to text; numbers and booleans become text unless ``strict``, as Azure ML is with tags."""
        values: dict[str, str] = {}
        for name, value in self.mapping(key).items():
            if isinstance(value, list | dict) or (strict and value is not None and not isinstance(value, str)):
                self.wrong(self.where / key / name, "text", value)
            else:
                values[name] = "" if value is None else str(value)
        return values

    def list(self, key: str) -> Iterator[tuple[Where, Any]]:
        """The items of a list, each with its place."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, list):
            self.wrong(self.where / key, "a list", value)
        elif value:
            yield from ((self.where / key / number, item) for number, item in enumerate(value))

    def each(self, key: str) -> Iterator[tuple[str, Where, Any]]:
        """The entries of a mapping, each with its place."""
        for name, value in self.mapping(key).items():
            yield name, self.where / key / name, value

    def path(self, key: str) -> Path | str | None:
        """A local path made absolute (``file:`` removed), or a remote one as written."""
        value = self.text(key)
        return None if value is None else absolute(self.where, value)


def absolute(where: Where, path: str) -> Path | str:
    """``path`` from the file at ``where``: absolute when local, as written when remote or bound."""
    if is_remote(path) or path.startswith("${{"):
        return path
    return where.resolve(path.removeprefix("file://").removeprefix("file:"))
