"""What a request that was not answered means for its row: another try, and when; its end; or the end of the run."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from answer_store import SHARD_SECONDS, AnswerStore
from common.secrets import redact
from common.step import StepError, TryAgain, Unavailable
from retry_wait import backoff
from throttle import Throttle

#: Attempts to open the first connection of all, and seconds before each further one.
FIRST_WAITS = (0.2, 0.5, 1.0)
#: So many rows in a row given up after all retries: the service is down, and the rest would fare no better.
GIVEN_UP_IN_A_ROW = 10
#: So many at the end of a run, where no more rows follow that could be given up.
GIVEN_UP_AT_THE_END = 3
#: Tries of a row that is refused as if everybody were, while others are answered.
DENIED_TRIES = 3


class RowFailed(Exception):
    """This row gets no answer. ``reason`` is a fixed word, ``detail`` what the server said."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = redact(detail)


class Again(Exception):
    """An attempt that failed and may succeed later. ``wait``: seconds the server asks for.

    ``denied``: it refused as it would refuse everybody.
    """

    def __init__(self, reason: str, detail: str, *, wait: float | None = None, denied: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.wait = wait
        self.denied = denied


@dataclass
class Tries:
    """What one question has been through: when it was first asked, failures that count, refusals.

    ``answers``: how many questions had been answered when it was last tried; ``others_served``: some were since it was
    first tried.
    """

    began: float
    answers: int
    failed: int = 0
    refused: int = 0
    denied: int = 0
    others_served: bool = False

    @property
    def any(self) -> bool:
        """Whether it was tried before."""
        return bool(self.failed or self.refused or self.denied)


class Retrying:
    """``await wait(failure, tries)`` before the next try; it raises when there is none."""

    def __init__(self, url: str, throttle: Throttle, store: AnswerStore, max_retries: int, max_wait: float) -> None:
        self.connected = False
        self._url = url
        self._throttle = throttle
        self._store = store
        self._max_retries = max_retries
        self._max_wait = max_wait
        self._answers = 0
        self._answered_at = float("-inf")
        self._given_up = 0
        self._last_failure = ""

    def begin(self) -> Tries:
        """A question is about to be asked for the first time."""
        return Tries(time.monotonic(), self._answers)

    def answered(self) -> None:
        """A question was answered: the service works."""
        self._answers += 1
        self._answered_at = time.monotonic()
        self._given_up = 0

    async def wait(self, failure: Again, tries: Tries) -> None:
        """Wait before the next try. Raises RowFailed when there is none left, or a StepError."""
        if failure.reason == "adapted":
            return
        if self._is_limit(failure, tries):
            await self._wait_for_limit(failure, tries)
        elif failure.reason == "connect" and not self.connected:
            await self._wait_for_first(failure, tries)
        else:
            self._count(failure, tries)
            # Some services send "Retry-After: 0", which would use up all tries at once.
            await asyncio.sleep(
                min(failure.wait, self._max_wait) if failure.wait else backoff(tries.failed + tries.denied)
            )

    def unsettled(self) -> StepError | None:
        """When all rows are through: whether the last of them were given up one after another."""
        return self._down() if self._given_up >= GIVEN_UP_AT_THE_END else None

    def _is_limit(self, failure: Again, tries: Tries) -> bool:
        """Whether a refusal is of as many requests, and not of this one.

        A 503 may be its row's own: a request that takes its server down. It is not where many are refused and others
        are answered meanwhile.
        """
        if failure.reason in ("http_429", "http_529") and not failure.denied:
            return True
        crowded = failure.reason == "http_503" and self._throttle.window.crowded
        return crowded and self._answers > tries.answers

    async def _wait_for_first(self, failure: Again, tries: Tries) -> None:
        tries.failed += 1
        if tries.failed > len(FIRST_WAITS):
            raise Unavailable(f"cannot reach the teacher at {self._url}: {failure.detail}")
        await asyncio.sleep(FIRST_WAITS[tries.failed - 1])

    def _count(self, failure: Again, tries: Tries) -> None:
        """Count a failure of the row. Raises RowFailed after the last that it may have, Unavailable after many such."""
        served, tries.answers = self._answers > tries.answers, self._answers
        if failure.denied:
            tries.denied += 1
            tries.others_served = tries.others_served or served
            # Where nobody else is answered, stop_rules ends the run, or finds that this row is the only one.
            if tries.denied >= (DENIED_TRIES if tries.others_served else 2 * DENIED_TRIES):
                raise RowFailed(failure.reason, f"{failure.detail} (after {tries.denied} attempts)")
            return
        tries.failed += 1
        if tries.failed > self._max_retries:
            self._given_up += 1
            self._last_failure = failure.detail
            if self._given_up >= GIVEN_UP_IN_A_ROW:
                raise self._down()
            raise RowFailed(failure.reason, f"{failure.detail} (after {tries.failed} attempts)")

    def _down(self) -> Unavailable:
        return Unavailable(
            f"the teacher at {self._url} failed {self._given_up} rows one after another, after all tries of each; "
            f"the last: {self._last_failure}"
        )

    async def _wait_for_limit(self, failure: Again, tries: Tries) -> None:
        """Wait as long as the server asks. Raises TryAgain when nobody was answered for too long."""
        tries.refused += 1
        tries.answers = self._answers
        wait = failure.wait or backoff(tries.refused)
        if wait > self._max_wait and self._answered_at <= tries.began:
            raise self._later(f"asks to come back in {wait / 60:.0f} minutes ({failure.detail})")
        if wait > SHARD_SECONDS and not self._throttle.window.in_flight:
            # Mounted storage keeps what is closed; nobody would close it meanwhile.
            self._store.close()
        until = time.monotonic() + wait
        while (moment := time.monotonic()) < min(until, patience := self._patience(tries)):
            await asyncio.sleep(min(until, patience) - moment)
        if time.monotonic() >= self._patience(tries):
            raise self._later(f"has answered nobody for {self._max_wait:g} seconds ({failure.detail})")

    def _patience(self, tries: Tries) -> float:
        """Until when to wait for an answer to anybody."""
        return max(tries.began, self._answered_at) + self._max_wait

    def _later(self, what: str) -> TryAgain:
        return TryAgain(
            f"the teacher at {self._url} {what}; the answers so far are kept, the next run goes on from there"
        )
