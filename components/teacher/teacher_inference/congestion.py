"""How many requests a server takes at once: learnt from what it answers and refuses, without a clock of its own.

The law, from what TCP learnt about networks that drop packets for two reasons, of which only one is congestion:

*Open*, while no limit is known: the window grows by one an answer, so it doubles each round trip (slow start of
Jacobson, "Congestion avoidance and control", 1988), up to ``most``; until it is there, requests are paced.

*A sign* is no single refusal but a share: more than the usual share and 15% on top, beyond chance, among requests that
were sent one after another. Requests that have no outcome yet count as taken, or the refusals of a round, which come
back at once, would always look like all of it.

*A cut* goes to the rate that was accepted since the refusals began, times the round trip (BBR: Cardwell et al., "BBR:
congestion-based congestion control", 2016), or to half where too little was seen to know. Requests are then paced, so
that a window means a rate too, and a fraction of one request as well. The window returns along a cubic curve (CUBIC,
RFC 9438): quickly to just below where the limit was met, flat around it, and from there by growing steps. Met again at
the same place the limit is known: it is tried so rarely that trying costs about one request in a hundred, and one
refusal ends the try.

*No limit*: where the refusals' share does not fall with the window, or where at the old window the same share is taken
as at a small one, they do not come from too many requests. The window is then what it was, and that share the usual.

*An outage*, all refused, leads to one request in two seconds, and the first answer to a new slow start.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import accumulate

#: Requests in flight at the start.
FIRST = 4
#: Seconds a round trip is taken to last until one is known.
GUESS = 0.5
#: Refusals are counted by groups of so many requests, of which so many groups are looked back on.
GROUP, GROUPS = 5, 64
#: What the share of refusals may exceed the usual one by, and how many refusals beyond that are a sign.
MARGIN, PROOF = 0.15, 2.5
#: Above this part of a ceiling a limit is expected.
NEAR = 0.97
#: A usual share is learnt over so many requests, up to so much; more must be proven.
MEMORY, UNPROVEN = 300, 0.1
#: So many requests show whether the old window is taken; so many seconds lie between such trials, twice as many after
#: one that failed. Fewer show it, where none was taken and the small window's share makes that as good as impossible.
TRIAL, TRIAL_EVERY, SURE = 30, 10.0, 3.0
#: The part of the requests sent whose outcome must be known before their share of refusals is.
KNOWN = 0.6
#: After a sign nothing is sent for so many times as long as a refusal takes.
SETTLE = 1.25
#: A rate measured over so many requests is relied upon.
LONG = 60
#: A limit that is known is tried again after so many requests, within these seconds.
PROBE_AFTER, SHORTEST, LONGEST = 150, 1.0, 60.0
#: Seconds between two requests while all are refused.
SLOWEST = 2.0


class Group:
    """Some requests sent one after another from ``began``, and how many of them were refused."""

    __slots__ = ("began", "refused", "sent")

    def __init__(self, began: float) -> None:
        self.began = began
        self.sent = self.refused = 0


#: When a request was sent, and among which others.
Ticket = tuple[float, Group]


class Window:
    """``room`` says when the next request may be sent; ``sent``, ``answered``, ``refused``, ``ended`` tell of it."""

    def __init__(self, limit: int) -> None:
        self.most = limit
        self.size = float(min(FIRST, limit))
        #: Where a limit was met; infinite while none is known.
        self.ceiling = math.inf
        self.in_flight = 0
        self.usual = 0.01
        self._known_share = UNPROVEN
        self._round_trip: float | None = None
        self._refusal_trip = self._last_sent = 0.0
        #: Until when the outcomes of what is in flight are waited for, after a sign.
        self._settles: float | None = None
        #: How many were in flight at that sign.
        self._load = 0
        self._next = 0.0
        self._began: float | None = None
        self._outage = False
        # The curve from the last cut back to the ceiling.
        self._bottom, self._span, self._at_limit = self.size, 1.0, False
        # What was before the limit was first met, and what shows whether there is one.
        self._before, self._met_at, self._persisting, self._limit = self.size, 0.0, 0.0, math.inf
        self._trial, self._tried, self._taken, self._patience = False, -math.inf, 0.0, TRIAL_EVERY
        self._start(0.0)

    def _start(self, moment: float) -> None:
        """Count anew: what was sent before ``moment`` says nothing about the window from now on."""
        self._cut_at = moment
        self._settles, self._load = None, 0
        self._trip = self._round_trip
        self._usual_before = self.usual
        self._sent = self._refused = self._answered = 0
        self._sent_below = self._refused_below = 0
        self._groups = deque([Group(moment)], maxlen=GROUPS)
        self._next = max(self._next, moment + self._interval)

    # -- what may be sent ---------------------------------------------------------------------------------------------

    def room(self, moment: float) -> float:
        """Seconds until a request may be sent: 0 is now, infinity is not before another one ends."""
        if self.in_flight >= self._places:
            return math.inf
        return max(0.0, self._next - moment)

    @property
    def _places(self) -> int:
        # Below a ceiling the pace holds the fraction; the place above it is there for what comes back late.
        return max(1, int(self.size)) if self.ceiling == math.inf else min(self.most, int(self.size) + 1)

    @property
    def _interval(self) -> float:
        """Seconds between two requests."""
        if self.ceiling < math.inf or self._trial:
            # The round trip as it was at the cut: where answers come faster since, more of them would not be taken.
            # Where there is more than one place, the pace is above it, for answers that come late; of many places the
            # window itself holds the rate.
            pace = 1.0 if self.size <= 1 else 1.15 if self.size <= 4 else 1.3
            return (self._trip or self._round_trip or GUESS) / self.size / pace
        if self._round_trip is None or self.size >= self.most:
            return 0.0
        return self._round_trip / self.size / 1.5

    @property
    def crowded(self) -> bool:
        """Whether a good part of the requests of late was refused: a refusal then says little about its request."""
        sent = sum(group.sent for group in self._groups)
        return sent >= 20 and 4 * sum(group.refused for group in self._groups) >= sent

    def hold(self, until: float) -> None:
        """Send nothing before ``until``: the server said that nothing is left."""
        self._next = max(self._next, until)

    # -- what becomes of requests -------------------------------------------------------------------------------------

    def sent(self, moment: float) -> Ticket:
        """A request goes out."""
        if self._began is None:
            self._began = self._cut_at = moment
        if self._trial and self._sent >= TRIAL:
            self._end_trial(moment)
        if self._settles is not None and moment >= self._settles:
            self._settle(moment)
        self.in_flight += 1
        self._sent += 1
        if self.ceiling < math.inf:
            self._grow(moment)
        if interval := self._interval:
            # A timer that is late costs no rate; but nothing is saved up for a burst.
            self._next = max(self._next, moment - (0.004 if interval < 0.008 else interval / 20)) + interval
        if self._trial and self._sent >= TRIAL:
            # Until the outcomes are known.
            self._next = moment + 1.5 * (self._round_trip or GUESS)
        group = self._groups[-1]
        if group.sent >= max(GROUP, int(self.size) // 16):
            group = Group(moment)
            self._groups.append(group)
        group.sent += 1
        self._last_sent = moment
        if self.size < NEAR * self.ceiling:
            self.usual -= self.usual / MEMORY
            self._sent_below += 1
        return moment, group

    def ended(self) -> None:
        """A request is no longer in flight, whatever became of it."""
        self.in_flight -= 1

    def answered(self, ticket: Ticket, moment: float) -> None:
        """A request was answered: allow more."""
        took = moment - ticket[0]
        self._answered += ticket[0] > self._cut_at
        self._round_trip = took if self._round_trip is None else self._round_trip + (took - self._round_trip) / 8
        if self.ceiling == math.inf:
            self.size = min(float(self.most), self.size + 1)
        elif self._outage:
            self.size, self.ceiling = max(1.0, self.size), math.inf
        else:
            self._grow(moment)
        self._outage = False

    def refused(self, ticket: Ticket, moment: float) -> None:
        """The server had too much to do for a request."""
        ticket[1].refused += 1
        self._refusal_trip += (moment - ticket[0] - self._refusal_trip) / 4
        if ticket[0] <= self._cut_at and self._cut_at != self._began:
            return
        self._refused += 1
        if self._trial and self._refused == self._sent and self._refused * self._taken > SURE:
            self._end_trial(moment)
            return
        if self.size < NEAR * self.ceiling:
            self.usual = min(self.usual + 1 / MEMORY, self._known_share)
            self._refused_below += 1
        if self._settles is not None:
            if moment >= self._settles:
                self._settle(moment)
        elif self._excess() >= self._proof:
            if self._is_late():
                self._settles, self._load = moment + SETTLE * self._refusal_trip, self.in_flight
                self.hold(self._settles)
            else:
                self._meet(moment)

    def _is_late(self) -> bool:
        """Whether many requests were sent that may be refused too, which is not known yet."""
        unknown = self.in_flight * min(1.0, self._refusal_trip / (self._round_trip or GUESS))
        return not self._trial and (self.size < NEAR * self.ceiling or self.ceiling == math.inf) and unknown >= 4

    def _settle(self, moment: float) -> None:
        """What was in flight at a sign has come back, or was taken."""
        self._settles = None
        self._meet(moment)

    @property
    def _proof(self) -> float:
        if self._trial:
            return math.inf
        if self.size < 2 and self._sent_below >= 5 and self._refused_below > 0.4 * self._sent_below:
            # Little is left to take away; more must be known before it is.
            return 6.0
        return PROOF if self.size < NEAR * self.ceiling or self.ceiling == math.inf else 0.4

    def _excess(self) -> float:
        """Refusals beyond the share that is allowed and beyond chance, in the worst run of requests up to the last."""
        allowed = self.usual + MARGIN * (1 - self.usual)
        if self.size >= NEAR * self.ceiling:
            allowed = min(allowed, 3 * self.usual)
        sent = accumulate(group.sent for group in reversed(self._groups))
        refused = accumulate(group.refused for group in reversed(self._groups))
        chance = 2 * (self.usual * (1 - self.usual)) ** 0.5
        return max(bad - allowed * count - chance * count**0.5 for count, bad in zip(sent, refused, strict=True))

    def _grow(self, moment: float) -> None:
        time = (moment - self._cut_at) / self._span - 1
        if time > 0 and self._at_limit:
            time *= 2
        self.size = self.ceiling + (self.ceiling - self._bottom) * time**3
        if self.size >= self.most:
            # Not forgotten: a limit of the rate is met again once what was saved up is used.
            self._limit = self.ceiling
            self.size, self.ceiling = float(self.most), math.inf

    # -- a limit, or not ----------------------------------------------------------------------------------------------

    def _meet(self, moment: float) -> None:
        """Too many were refused: cut the window, unless that turns out to be no answer."""
        accepted = self._sent - self._refused
        rate = accepted / max(moment - self._cut_at, 1e-9) * (self._round_trip or GUESS)
        high = self._reached(rate)
        if self.ceiling == math.inf:
            self._before, self._persisting = max(self._before, self.size), 0.0
        elif self._persists():
            self._open(moment, self._refused_below / self._sent_below)
            return
        elif self._try_again(high, moment):
            self._trial, self._tried, self._taken = True, moment, max(accepted, 1) / (self._sent + 2)
            self.size, self.ceiling = self._before, math.inf
            self._start(moment)
            return
        self._cut(rate, high)
        self._outage = not accepted
        self._close(moment)

    def _close(self, moment: float) -> None:
        """After a cut: what was refused because the window was too large says nothing about the usual share."""
        self.usual = self._usual_before * (1 - 1 / MEMORY) ** self._sent
        self._start(moment)

    def _reached(self, rate: float) -> float:
        """How many requests were taken at once when the limit was met."""
        if self.size < 1:
            # In flight is one or none; what was accepted, and one more by chance, is all there is to go by.
            return max(min(rate * (1 + 1 / max(1, self._sent - self._refused)), self.size), self.size / 4)
        # The refused one is still counted; ``rate`` knows better where places are few and one just ended.
        load = max(float(max(self.in_flight, self._load) - 1), rate if self._sent >= LONG else 0.0)
        return max(min(load, self.size), self.size / 4)

    def _cut(self, rate: float, high: float) -> None:
        """Where the window goes on from, and the curve back: set bottom, ceiling and span."""
        trip, was = self._round_trip or GUESS, min(self.ceiling, self._limit)
        self._limit = math.inf
        # Of less than one at once, what was in flight says nothing; the rate does.
        is_known, long = was < math.inf, self._sent >= (LONG if self.size >= 1 else 10)
        low = min(high, max(high / 2, rate))
        overrun = is_known and self._refused_below > 0.04 * self._sent_below
        near = is_known and (
            0.8 * was <= high <= 1.35 * was
            or (was >= 1 and abs(high - was) <= 1.5)
            or (long and not overrun and high <= 2.5 * low)
        )
        is_settled = 1 <= high < 1.3 * low and abs(high - self._met_at) < 0.04 * high
        sure = near and (is_settled or (high < 1.12 * low and (long or high >= 1)))
        self._met_at, self._at_limit = high, near
        if sure:
            self._before = 2 * high
        # The time of some requests, where there is less than one a round trip.
        turn = trip * 2 / high if high < 1 else trip
        if overrun and self._sent >= 15 and self._refused_below >= 3:
            # Refused all the way: the limit lies lower, at the rate that was accepted meanwhile.
            self.ceiling = min(self.size, max(self.size / 2, rate))
            self._bottom, self._span = 0.95 * self.ceiling, max(SHORTEST, 6 * turn)
        elif near:
            self.ceiling = high if sure else 1.03 * low if long else max((high + low) / 2, 0.9 * was)
            self._bottom = 0.95 * self.ceiling if sure else min(0.95 * high, low)
            self._span = min(LONGEST, max(SHORTEST, PROBE_AFTER * trip / self.ceiling)) if sure else max(1.0, 6 * turn)
        elif (taken := self._taken_at_last()) is not None:
            taken = min(taken * trip, high)
            # That far less is taken than was sent is known: more is not tried at once.
            self._tried = max(self._tried, self._last_sent + 10 * trip - self._patience)
            self.ceiling = min(high, max(1.25 * taken, 1.0))
            self._bottom, self._span = min(taken, 0.8 * high), max(0.1, 6 * turn)
        else:
            self.ceiling, self._bottom, self._span = high, high / 2, max(0.1, 3 * turn)
        self._bottom = max(self._bottom, min(1.0, trip / SLOWEST))
        # Never flat: the window comes back to the ceiling, and goes beyond it.
        self.ceiling = max(self.ceiling, self._bottom / 0.95)
        self.size = self._bottom

    def _taken_at_last(self) -> float | None:
        """Requests a second that were taken since the first was refused; None where too few outcomes show it."""
        groups = list(self._groups)
        while groups and groups[0].refused < 0.5 * groups[0].sent:
            groups.pop(0)
        if sum(group.sent for group in groups[1:]) >= 10:
            # In the first group the server was still giving what it had saved up.
            groups.pop(0)
        sent, refused = sum(group.sent for group in groups), sum(group.refused for group in groups)
        if sent < 10 or refused < 0.5 * sent:
            return None
        seconds = self._last_sent - groups[0].began
        return max(sent - refused, 1) / seconds if seconds > 0 else None

    def _persists(self) -> bool:
        """Whether a moderate share of requests was refused well below the ceiling, and as many at the one before."""
        sent, refused = self._sent_below, self._refused_below
        # Far above a limit nearly all is refused, but looks moderate while most outcomes are not known.
        outcomes = self._answered + self._refused
        if sent < 15 or refused > 0.45 * sent or outcomes < KNOWN * self._sent:
            if sent > 1 and not refused:
                self._persisting = 0.0
            return False
        share = refused / sent if refused >= 4 else 0.0
        before, self._persisting = self._persisting, share
        return before > 0 and share >= max(0.04, 0.6 * before)

    def _try_again(self, high: float, moment: float) -> bool:
        """Whether the window has become so small without an end to the refusals that the old one is worth a try."""
        small = high <= max(1.0, self._before / 16)
        useless = self._refused_below > 0.25 * self._sent_below or self._refused == self._sent
        return small and useless and self._round_trip is not None and moment > self._tried + self._patience

    def _end_trial(self, moment: float) -> None:
        """Whether the old window is taken no worse than the small one."""
        self._trial = False
        if self._answered >= 2 and self._answered >= 0.5 * self._taken * (self._answered + self._refused):
            self._open(moment, self._refused / self._sent)
            return
        self._patience = min(2 * self._patience, 2 * TRIAL_EVERY)
        self._cut(0.0, self._bottom)
        self._close(moment)

    def _open(self, moment: float, share: float) -> None:
        """The refusals come by chance, ``share`` of all requests: there is no limit."""
        self.usual = self._known_share = share
        self.size, self.ceiling, self._outage = self._before, math.inf, False
        self._start(moment)
