"""Secrets of local runs: an input ``env:NAME`` passes the caller's variable NAME to the step, and hides its value."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from azdistill import redact
from azdistill.errors import UserError

_REFERENCE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


def names(values: Iterable[str]) -> list[str]:
    """The variables that ``values`` refer to, in order."""
    return list(dict.fromkeys(match[1] for value in values if (match := _REFERENCE.fullmatch(value))))


def hide(variables: Iterable[str]) -> None:
    """Register the values of those ``variables`` that are set, so that no text shows them."""
    values = [os.environ.get(name, "") for name in variables]
    # A line of a few characters, such as a brace of a key file, is no secret by itself.
    lines = [line for value in values for line in value.splitlines() if len(line.strip()) >= redact.SHORTEST]
    # A shell, and many a program, strips what it is given.
    redact.register(*{form for line in (*values, *lines) for form in (line, line.strip())})


def unset(variables: Iterable[str]) -> list[str]:
    """Those of ``variables`` that have no value."""
    return [name for name in variables if not os.environ.get(name)]


def resolve(variables: Iterable[str]) -> dict[str, str]:
    """The values of ``variables``, which no text shows from now on; a UserError names those that are not set."""
    variables = list(variables)
    if missing := unset(variables):
        raise UserError(
            f"the environment variable {', '.join(missing)} is not set",
            code="AZD330",
            hint=f"the run needs its value: export {missing[0]}=...",
        )
    # Most are hidden since the run began; a trial's hyperparameters, or the default of an input, may name others.
    hide(variables)
    return {name: os.environ[name] for name in variables}
