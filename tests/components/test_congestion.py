"""The law of the window against servers that refuse for different reasons, in simulated time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from congestion import FIRST, Window


class Server:
    """Takes everything. ``takes`` decides for a request at its time, ``leaves`` tells of its end."""

    def takes(self, now: float, draw: random.Random) -> bool:
        return True

    def leaves(self) -> None:
        pass


@dataclass
class Scattered(Server):
    """Refuses a share of all requests, whatever their number."""

    share: float

    def takes(self, now, draw):
        return draw.random() >= self.share


@dataclass
class Bucket(Server):
    """So many a second, and ``burst`` saved up."""

    rate: Callable[[float], float]
    burst: float
    tokens: float = field(default=math.inf)
    at: float = 0.0

    def takes(self, now, draw):
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate(now))
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass
class Places(Server):
    """So many at once."""

    places: Callable[[float], float]
    taken: int = 0

    def takes(self, now, draw):
        if self.taken >= self.places(now):
            return False
        self.taken += 1
        return True

    def leaves(self):
        self.taken -= 1


@dataclass
class Run:
    """What came of a run: answers and refusals by second, and the window at its end."""

    window: Window
    seconds: float
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    most_in_flight: int = 0

    def rate(self, since: float = 0.0, until: float = math.inf) -> float:
        until = min(until, self.seconds)
        return sum(since <= at < until for at in self.answered) / (until - since)

    @property
    def share(self) -> float:
        return len(self.refused) / (len(self.refused) + len(self.answered))


def simulate(server, most=64, latency=0.05, seconds=30.0, wait=1.0, seed=1, refusal=0.002, queue=math.inf) -> Run:
    """Ask without end; who is refused waits ``wait`` seconds (None: a backoff) and holds no place.

    ``queue``: how many are worked on at once, the others wait for their turn without a word.
    """
    draw, window, order = random.Random(seed), Window(most), itertools.count()
    run, events, timer = Run(window, seconds), [(0.0, -1, "wake", None)], math.inf
    busy_until = [0.0] * (0 if queue == math.inf else int(queue))
    waiting = 0
    while events:
        now, _, what, ticket = heapq.heappop(events)
        if now > seconds:
            break
        if what == "answer":
            window.answered(ticket, now)
            window.ended()
            server.leaves()
            run.answered.append(now)
        elif what == "refusal":
            window.refused(ticket, now)
            window.ended()
            run.refused.append(now)
            waiting += 1
            heapq.heappush(events, (now + (draw.random() if wait is None else wait), next(order), "back", None))
        elif what == "back":
            waiting -= 1
        else:
            timer = math.inf
        while waiting + window.in_flight < 2 * most + 1000 and (room := window.room(now)) != math.inf:
            if room > 1e-9:
                if now + room < timer - 1e-9:
                    timer = now + room
                    heapq.heappush(events, (timer, next(order), "wake", None))
                break
            ticket = window.sent(now)
            run.most_in_flight = max(run.most_in_flight, window.in_flight)
            if not server.takes(now, draw):
                heapq.heappush(events, (now + refusal, next(order), "refusal", ticket))
                continue
            end = now + latency * draw.lognormvariate(-0.02, 0.2)
            if busy_until:
                first = min(range(len(busy_until)), key=busy_until.__getitem__)
                end = busy_until[first] = max(now, busy_until[first]) + latency
            heapq.heappush(events, (end, next(order), "answer", ticket))
    return run


@pytest.mark.parametrize("wait", [1.0, None], ids=["Retry-After", "backoff"])
@pytest.mark.parametrize("most", [16, 64, 256])
@pytest.mark.parametrize("latency", [0.05, 0.5])
@pytest.mark.parametrize("share", [0.01, 0.05])
def test_scattered_refusals_cost_nothing_but_themselves(share, latency, most, wait):
    seconds = 6.0 if latency < 0.1 else 20.0
    refused = simulate(Scattered(share), most, latency, seconds, wait)
    free = simulate(Server(), most, latency, seconds, wait)
    # The places of those who wait are taken by others.
    assert refused.rate() >= 0.97 * free.rate()


@pytest.mark.parametrize("refusal", [0.002, 0.06])
@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.5])
def test_a_share_that_does_not_fall_with_the_window_is_no_limit(share, refusal):
    run = simulate(Scattered(share), 64, 0.05, 20.0, refusal=refusal)
    free = simulate(Server(), 64, 0.05, 20.0)
    assert run.rate(since=5) >= 0.6 * (1 - share) * free.rate(since=5)


def test_rows_get_through_where_nine_of_ten_are_refused():
    runs = [simulate(Scattered(0.9), 16, 0.05, 60.0, wait=0.2, seed=seed) for seed in range(6)]
    # Not one in twenty seconds looks like an outage; most runs find out that it is none.
    assert sum(len(run.answered) >= 60 for run in runs) >= 3
    assert all(run.answered for run in runs)


@pytest.mark.parametrize("burst", [10, 60])
@pytest.mark.parametrize(("latency", "most"), [(0.05, 16), (0.05, 64), (0.05, 256), (0.5, 64), (0.5, 256)])
def test_a_limit_of_the_rate_is_used_and_hardly_exceeded(latency, most, burst):
    run = simulate(Bucket(lambda now: 60, burst), most, latency, 60.0)
    assert run.rate() >= 0.9 * 60
    assert run.share <= 0.02


@pytest.mark.parametrize("latency", [0.05, 0.5])
@pytest.mark.parametrize("most", [16, 64, 256])
def test_a_limit_of_requests_at_once_is_used_and_hardly_exceeded(most, latency):
    run = simulate(Places(lambda now: 8), most, latency, 60.0)
    assert run.rate() >= 0.9 * 8 / latency
    assert run.share <= 0.02


@pytest.mark.parametrize("refusal", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("most", [64, 256])
def test_a_limit_whose_refusals_take_their_time_is_no_share(most, refusal):
    # Over a network a refusal takes a round trip too, and more is sent before it is known.
    for seed in range(3):
        run = simulate(Bucket(lambda now: 60, 60), most, 0.05, 60.0, seed=seed, refusal=refusal)
        assert run.rate() >= 0.9 * 60
        # Those of the first second; what is sent before the first refusal is known cannot be taken back.
        assert run.share <= 0.06
        assert sum(at >= 5 for at in run.refused) <= 0.02 * 60 * 55


@pytest.mark.parametrize("refusal", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("most", [16, 64, 256])
def test_a_limit_at_once_whose_refusals_take_their_time_is_found_as_well(most, refusal):
    for seed in range(3):
        run = simulate(Places(lambda now: 8), most, 0.05, 60.0, seed=seed, refusal=refusal)
        assert run.rate() >= 0.9 * 160
        assert run.share <= 0.03


def test_one_at_a_time_is_found():
    run = simulate(Places(lambda now: 1), 64, 0.05, 60.0)
    assert run.rate(since=30) >= 0.85 * 20


@pytest.mark.parametrize("latency", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("rate", [1, 5])
def test_a_limit_below_one_request_at_once_is_found(rate, latency):
    runs = [simulate(Bucket(lambda now: rate, 5), 64, latency, 300.0, seed=seed) for seed in range(4)]
    for run in runs:
        assert run.rate(since=60) >= 0.78 * rate
        # Finding it costs some thirty requests, which are much where there is one a second.
        assert sum(at < 60 for at in run.refused) <= 70
        late = sum(at >= 60 for at in run.refused)
        assert late <= 0.05 * (late + sum(at >= 60 for at in run.answered))


def test_a_limit_that_falls_is_followed_at_once():
    run = simulate(Bucket(lambda now: 200 if now < 15 else 20, 20), 256, 0.05, 40.0)
    assert sum(15 <= at < 17 for at in run.refused) <= 120
    assert run.rate(since=20) >= 0.9 * 20


def test_a_limit_that_comes_in_the_middle_is_found_from_the_whole_window():
    run = simulate(Places(lambda now: math.inf if now < 10 else 8), 256, 0.05, 30.0)
    assert run.rate(until=10) >= 4500
    assert run.rate(since=12) >= 0.85 * 160
    assert sum(at >= 12 for at in run.refused) <= 0.03 * sum(at >= 12 for at in run.answered)


@pytest.mark.parametrize(("places", "latency"), [(64, 0.05), (1e9, 0.05)])
def test_a_limit_that_rises_or_ends_is_noticed(places, latency):
    run = simulate(Places(lambda now: 8 if now < 10 else places), 256, latency, 40.0)
    assert run.rate(since=30) >= 0.85 * min(64 if places == 64 else 256, 256) / latency


def test_a_server_that_only_queues_is_not_held_back():
    run = simulate(Server(), 64, 0.05, 10.0, queue=4)
    assert run.rate(since=2) >= 0.95 * 4 / 0.05
    assert run.most_in_flight <= 64


def test_in_an_outage_little_is_sent_and_afterwards_soon_all():
    run = simulate(Places(lambda now: 0 if 10 <= now < 100 else math.inf), 64, 0.05, 110.0)
    assert sum(20 <= at < 100 for at in run.refused) <= 4 * 80
    assert run.rate(since=104) >= 0.9 * run.rate(since=2, until=10)


def test_the_window_starts_small_and_doubles_with_each_round_trip():
    window, now = Window(64), 0.0
    sizes = []
    for _ in range(5):
        tickets = []
        while window.room(now) <= 0 or window.room(now) < 0.5:
            now += window.room(now)
            tickets.append(window.sent(now))
        now += 1.0
        for ticket in tickets:
            window.answered((now - 1.0, ticket[1]), now)
            window.ended()
        sizes.append(window.size)
    assert sizes == [2 * FIRST, 4 * FIRST, 8 * FIRST, 64, 64]


def test_a_server_that_says_nothing_is_left_holds_everybody():
    window = Window(8)
    assert window.room(5.0) == 0
    window.hold(7.5)
    assert window.room(5.0) == 2.5
