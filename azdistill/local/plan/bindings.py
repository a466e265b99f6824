"""What an input of a planned step is, and under which conditions a step is run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from azdistill.errors import Problem


@dataclass(frozen=True, slots=True)
class Text:
    """An input's value as the command line gets it."""

    text: str


@dataclass(frozen=True, slots=True)
class Passed(Text):
    """A value that another step of this run wrote. Unlike one that a person wrote, it never names a secret."""

    step: str
    output: str


@dataclass(frozen=True, slots=True)
class Local:
    """An input that is a file or folder of this machine; ``kind`` is its Azure ML type."""

    path: Path
    kind: str


@dataclass(frozen=True, slots=True)
class Made:
    """An input that another step of this run makes; ``others`` make it where that one is of a branch not taken."""

    step: str
    output: str
    others: tuple[Made, ...] = ()

    @property
    def makers(self) -> tuple[Made, ...]:
        """All that may make it, the first one first."""
        return (replace(self, others=()), *self.others) if self.others else (self,)


Bound = Text | Local | Made


@dataclass(frozen=True, slots=True)
class Gate:
    """An ``if_else`` step that lets a step run only where its condition is ``wanted``."""

    name: str
    condition: Text | Made
    wanted: bool


@dataclass(frozen=True, slots=True)
class Under:
    """What holds for a step beside its inputs: all ``gates`` must let it run; ``elsewhere`` says, of a step that runs
    on Azure only, that it does, and ``after`` names the steps that it needs.
    """

    gates: tuple[Gate, ...] = ()
    elsewhere: Problem | None = None
    after: frozenset[str] = frozenset()

    @property
    def needs(self) -> frozenset[str]:
        """Names of the steps that must have ended before it is known whether the step runs."""
        conditions = (gate.condition for gate in self.gates)
        return self.after | {maker.step for made in conditions if isinstance(made, Made) for maker in made.makers}


#: Nothing.
FREE = Under()
