"""Whether training may go on after a step: its loss and its gradient are finite, or the loss scaler passed over it.

In float16 the loss is multiplied by a factor so that small gradients do not vanish. Where one overflows, the scaler
leaves the weights alone and lowers the factor: no failure, unless it does so again and again.
"""

from __future__ import annotations

import math

from common.step import NotFinite

#: So many steps in a row are passed over by the loss scaler before training stops.
MOST_SKIPPED = 10


class StepGuard:
    """Judges each step before the weights are changed, and after. ``skipped`` counts what the scaler passed over."""

    def __init__(self, scaled: bool) -> None:
        self.scaled = scaled
        self.skipped = 0
        self._in_a_row = 0
        self._loss = 0.0

    def before_update(self, step: int, loss: float, norm: float | None) -> None:
        """The loss and the norm of the gradient of a step whose update comes next. Raises NotFinite.

        With a loss scaler nothing is said yet: it is the one to decide about the update.
        """
        self._loss = loss
        if not self.scaled:
            _require("loss", loss, step)
            _require("norm of the gradient", 0.0 if norm is None else norm, step)

    def after_update(self, step: int, skipped: bool) -> None:
        """Whether the update of a step was passed over. Raises NotFinite."""
        if not skipped:
            self._in_a_row = 0
            _require("loss", self._loss, step)
            return
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row >= MOST_SKIPPED:
            raise NotFinite(
                f"training stopped at step {step}: the gradient overflowed in {self._in_a_row} steps in a row, "
                "whatever the scale of the loss"
            )


def _require(what: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise NotFinite(f"training stopped at step {step}: the {what} is {value:g}, not a finite number")
