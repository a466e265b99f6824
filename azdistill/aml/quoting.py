"""Where in a command a value stands for bash, and whether it would stay there.

A command is a template; values are put in as text, as Azure ML does, and ``/bin/bash -c`` reads the result. A value
*breaks out* when bash would take some of it for more than data: it closes the quotes around it, starts an expansion or
a comment, separates commands, redirects, or escapes what follows. Between quotes that is exact: a value that does not
break out arrives unchanged. Outside quotes a value may still be several words, hold pairs of quotes and escapes of its
own, and be a pattern that matches file names. Where the template lets it say what runs, it does: at the place of a
command's name, and as what a command runs or evaluates (``eval``, ``bash -c``, ``let``, ``[[ x -eq ... ]]``).

In ``"${...}"`` and in arithmetic (so in ``${A[...]}`` and ``${A:...}``) quotes are not what they are elsewhere; a value
that holds a character which bash may read there breaks out whatever quotes stand around it (:data:`NESTED`). What reads
the command is in ``bash.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from azdistill.aml.bash import COMMENT as COMMENT
from azdistill.aml.bash import DOUBLE as DOUBLE
from azdistill.aml.bash import HEREDOC as HEREDOC
from azdistill.aml.bash import NESTED as NESTED
from azdistill.aml.bash import SINGLE as SINGLE
from azdistill.aml.bash import UNQUOTED as UNQUOTED
from azdistill.aml.bash import Pieces, read
from azdistill.aml.expressions import Lookup, Part, Reference, parse, pieces
from azdistill.errors import UserError


@dataclass(frozen=True, slots=True)
class Breakout:
    """A value that would not stay data, and what in it is the reason."""

    reference: Reference
    context: str
    reason: str


def breakouts(rendered: Pieces) -> list[Breakout]:
    """The values in a rendered command (see :func:`expressions.pieces`) that would break out, in order."""
    where, reasons = read(rendered)
    found = []
    for number, reason in sorted(reasons.items()):
        reference = rendered[number][1]
        assert reference is not None
        found.append(Breakout(reference, where[number], reason))
    return found


def contexts(parts: tuple[Part, ...]) -> list[tuple[Reference, str]]:
    """Each reference of a command with the quoting that it stands in; optional blocks count as kept."""
    rendered = pieces(parts, lambda reference: "x")
    where, _ = read(rendered)
    return [(origin, where[number]) for number, (_, origin) in enumerate(rendered) if origin]


def would_break_out(parts: tuple[Part, ...], reference: Reference, value: str) -> Breakout | None:
    """Whether ``value`` would break out where ``reference`` stands, every other value being harmless."""
    rendered = pieces(parts, lambda other: value if other.path == reference.path else "x")
    return next((found for found in breakouts(rendered) if found.reference.path == reference.path), None)


def render_command(command: str, lookup: Lookup) -> str:
    """The text for ``/bin/bash -c``. Raises :class:`UserError` AZD156 for a value that would break out."""
    rendered = pieces(parse(command), lookup)
    for found in breakouts(rendered):
        raise UserError(
            f"the value of {found.reference} holds {found.reason}: {found.context} in the command, it would break out",
            code="AZD156",
            hint=hint(found),
        )
    return "".join(text for text, _ in rendered)


def hint(found: Breakout) -> str:
    """What to do about a value that breaks out."""
    if found.context == UNQUOTED:
        return f"write '{found.reference}' between single quotes in the command"
    if found.context == NESTED:
        return f"give it to a variable in a line of its own, NAME='{found.reference}', and write $NAME here"
    return "pass free text in a file (uri_file), not on the command line"
