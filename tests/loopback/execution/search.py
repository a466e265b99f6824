"""The filters of MLflow searches, as far as the service knows them.

Azure ML has no ``OR``, no ``!=`` on tags, no metrics with special characters, and orders by attributes only.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from ..messages import ServiceError

#: (attributes, metrics, params, tags, the thing itself)
Look = tuple[dict[str, Any], dict[str, float], dict[str, str], dict[str, str], Any]
_CLAUSE = re.compile(
    r"""\s*(?:(?P<kind>\w+)\.)?(?P<key>`[^`]+`|"[^"]+"|[\w.-]+)\s*
    (?P<op>!=|>=|<=|=|>|<|LIKE\b|ILIKE\b|IN\b)\s*
    (?P<value>'[^']*'|"[^"]*"|\([^)]*\)|[-+\w.]+)\s*(?:AND\b|$)""",
    re.IGNORECASE | re.VERBOSE,
)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "LIKE": lambda value, pattern: fnmatch.fnmatchcase(str(value), str(pattern).replace("%", "*").replace("_", "?")),
    "ILIKE": lambda value, pattern: _OPERATORS["LIKE"](str(value).lower(), str(pattern).lower()),
    "IN": lambda value, wanted: str(value) in wanted,
}
_KINDS = {
    "attribute": 0,
    "attributes": 0,
    "attr": 0,
    "run": 0,
    "metric": 1,
    "metrics": 1,
    "param": 2,
    "params": 2,
    "parameter": 2,
    "parameters": 2,
    "tag": 3,
    "tags": 3,
}


def refused(message: str) -> ServiceError:
    """A search that the service does not do."""
    from .tracking import bad

    return bad(message)


def matching(filter_: str | None, looks: Iterable[Look]) -> list[Any]:
    """What fits a filter such as ``metrics.loss < 1 and tags.`mlflow.parentRunId` = 'x'``."""
    clauses = list(_clauses(filter_ or ""))
    return [look[4] for look in looks if all(_fits(look, *clause) for clause in clauses)]


def ordered(order_by: Any, found: list[Any], attributes: Callable[[Any], dict[str, Any]]) -> list[Any]:
    """In the order asked for; newest first without one."""
    found = sorted(found, key=lambda one: attributes(one)["created"], reverse=True)
    orders = [order_by] if isinstance(order_by, str) else list(order_by or [])
    for order in reversed(orders):
        field, _, direction = order.strip().partition(" ")
        kind, _, key = field.rpartition(".")
        known = {"start_time", "end_time", "status", "run_id", "run_name"}
        key = key.strip('`"')
        if (kind and _KINDS.get(kind.lower()) != 0) or key not in known:
            raise refused(f"Ordering by '{field}' is not supported: only attributes can be ordered by.")
        down = direction.strip().upper() == "DESC"
        found = sorted(found, key=lambda one: (attributes(one)[key] is None, attributes(one)[key]), reverse=down)
    return found


def _clauses(text: str) -> Iterable[tuple[int, str, str, Any]]:
    position = 0
    while text[position:].strip():
        found = _CLAUSE.match(text, position)
        if found is None:
            raise refused(f"Invalid filter '{text}'.")
        kind = _KINDS.get((found["kind"] or "attributes").lower())
        key, op = found["key"].strip('`"'), found["op"].upper()
        if kind is None:
            raise refused(f"Invalid entity type '{found['kind']}' in filter '{text}'.")
        if kind == 3 and op == "!=":
            raise refused("The operator != is not supported on tags.")
        if kind == 1 and re.search(r"[^\w.-]", key):
            raise refused(f"Filtering by metric '{key}' is not supported: its name holds special characters.")
        yield kind, key, op, _value(found["value"], kind)
        position = found.end()


def _value(text: str, kind: int) -> Any:
    if text.startswith("("):
        return [part.strip().strip("'\"") for part in text[1:-1].split(",")]
    if text[:1] in "'\"":
        return text[1:-1]
    if kind != 0 and kind != 1:
        raise refused(f"Expected a quoted string, found {text}.")
    return float(text)


def _fits(look: Look, kind: int, key: str, op: str, wanted: Any) -> bool:
    value = look[kind].get(key)
    if value is None:
        return False
    return _OPERATORS[op](value, wanted)
