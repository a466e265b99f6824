"""When refusals are the service's and not the rows': equal ones, and no answer between them, end the run at any time.

Three of one kind: the credentials, the account's money, a model or deployment that is not there, pages instead of
answers. Twenty of one text: requests that the service refuses for a reason it gives to all. "Between" goes by the
order of sending: an answer to what was sent before the first of them shows nothing, one to what was sent later shows
that the service answers, and who is still waiting for one may be about to show it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from chat_api import error_text
from common.step import BadConfig, Refused, StepError, Unavailable

#: Equal refusals in a row that end the run.
OF_A_KIND = 3
OF_A_TEXT = 20
#: At the end of a run there are no more rows to be refused: fewer of one text are then enough.
AT_THE_END = 3
MONEY, KEY, GONE, DENIED, PAGE = "money", "key", "gone", "denied", "page"
_MONEY = re.compile(
    r"insufficient[_ ](quota|balance|funds|credits?)|credit balance is too low|billing[_ ]hard[_ ]limit"
    r"|exceeded your current quota|(account|subscription|project)\W.{0,40}(deactivated|disabled|suspended|not active)",
    re.IGNORECASE,
)
_GONE = re.compile(
    r"(model|deployment)\b.{0,80}\b(does not exist|do(es)? not have|not found|no longer|has been (removed|shut down)"
    r"|(is|was|been) (retired|deprecated|decommissioned|discontinued))|DeploymentNotFound|model_not_found",
    re.IGNORECASE | re.DOTALL,
)


def kind_of(status: int, raw: bytes) -> str | None:
    """Which refusal of everybody an answer other than 200 is; None when it may be about its request."""
    if status == 401:
        return KEY
    text = raw[:4000].decode("utf-8", "replace")
    if status == 402 or (400 <= status < 500 and _MONEY.search(text)):
        return MONEY
    if status == 403:
        return DENIED
    if status in (404, 410) or (status == 400 and _GONE.search(text)):
        return GONE
    return None


def page_of(headers_type: str, raw: bytes) -> str | None:
    """The first words of an HTML page that came instead of an answer; None for anything else."""
    start = raw[:4000].lstrip()
    if not (start.startswith(b"<") or headers_type.lower().startswith("text/html")):
        return None
    text = re.sub(r"<(script|style)\b.*?(</\1>|$)|<[^>]*>?", " ", start.decode("utf-8", "replace"), flags=re.S | re.I)
    return error_text(text)[:80] or error_text(start.decode("utf-8", "replace"))[:80]


@dataclass
class _Row:
    """Equal refusals, one after another."""

    what: object
    first: int
    text: str
    numbers: list[int] = field(default_factory=list)
    rows: set[str] = field(default_factory=set)


class StopRules:
    """``sent`` numbers a request; ``answered``, ``refused`` and ``ended`` tell what became of it."""

    def __init__(self, url: str, model: str) -> None:
        self._url, self._model = url, model
        self._answers = 0
        self._sent = 0
        self._open: set[int] = set()
        self._equal: dict[object, _Row] = {}

    def sent(self) -> int:
        """A request goes out; its number."""
        self._sent += 1
        self._open.add(self._sent)
        return self._sent

    def ended(self, number: int) -> None:
        """A request has an outcome. Raises what ends the run, where only this one was waited for."""
        self._open.discard(number)
        if self._equal:
            self._judge()

    def answered(self, number: int) -> None:
        """A request was answered: what was refused before it was sent was no refusal of everybody."""
        self._answers += 1
        if self._equal:
            self._equal = {what: row for what, row in self._equal.items() if number < row.first}

    def refused(self, number: int, row: str, what: object, text: str) -> None:
        """A request of ``row`` was refused for good; ``what``: its kind, or the text given to it."""
        equal = self._equal.setdefault(what, _Row(what, number, text))
        equal.first = min(equal.first, number)
        equal.text = text
        equal.numbers.append(number)
        equal.rows.add(row)

    @property
    def in_doubt(self) -> bool:
        """Whether enough were refused, and only who is in flight can still show that the service answers others."""
        return any(self._last(equal) is not None for equal in self._equal.values())

    def _judge(self) -> None:
        for equal in self._equal.values():
            last = self._last(equal)
            if last is not None and not any(equal.first < number < last for number in self._open):
                raise self._error(equal)

    def _last(self, equal: _Row) -> int | None:
        """The number of the refusal that made them enough; None where they are not."""
        enough = OF_A_KIND if equal.what in (MONEY, KEY, GONE, DENIED, PAGE) else OF_A_TEXT
        # A gateway may deny one row for its words: once there were answers, three rows must be denied.
        count = len(equal.rows) if equal.what == DENIED and self._answers else len(equal.numbers)
        return sorted(equal.numbers)[enough - 1] if count >= enough else None

    def left_open(self) -> StepError | None:
        """At the end of a run: the refusal of everybody that its last rows met, though too few to end it before."""
        for equal in self._equal.values():
            if equal.what in (MONEY, KEY, GONE, PAGE) or len(equal.rows) >= AT_THE_END:
                return self._error(equal)
        return None

    def _error(self, equal: _Row) -> StepError:
        reason, since = equal.text, " any more" if self._answers else ""
        if equal.what == MONEY:
            return Refused(f"the quota or credit of the account at {self._url} is used up: {reason}")
        if equal.what in (KEY, DENIED):
            return Refused(f"the teacher at {self._url} refuses the credentials{since}: {reason}")
        if equal.what == PAGE:
            text = (
                f'{self._url} answers with web pages ("{reason}"), not as a model\'s API; '
                "the address of an API usually ends in /v1: look at teacher_endpoint, and whether a proxy answers"
            )
            return Unavailable(text) if self._answers else BadConfig(text)
        if not self._answers:
            return BadConfig(f"the teacher at {self._url} refuses every request for '{self._model}': {reason}")
        return Unavailable(
            f"the teacher at {self._url} refuses every request for '{self._model}' since it last answered: {reason}"
        )
