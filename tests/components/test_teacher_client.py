"""The client of a teacher by itself: what counts as a failure of a row, and which key goes with a request."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest
import retrying
import teacher_client
from answer_store import AnswerStore
from chat_api import ChatApi
from common.step import TryAgain
from retrying import Again
from teacher_client import RowFailed, TeacherClient

FINE = json.dumps({"choices": [{"message": {"content": "5"}, "finish_reason": "stop"}]}).encode()
PARAMETERS = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 8}


@pytest.fixture
def client(tmp_path, monkeypatch):
    """``client(send)``: one whose requests go to ``send(text, number)``; its time goes on only while it sleeps."""
    slept, now = [], [1000.0]

    async def sleep(seconds, real=asyncio.sleep):
        slept.append(seconds)
        now[0] += seconds
        await real(0)

    def make(send, resolve_key=lambda: None, **options):
        monkeypatch.setattr(retrying.asyncio, "sleep", sleep)
        monkeypatch.setattr(retrying.time, "monotonic", lambda: now[0])
        api = ChatApi("chat_completions", "http://127.0.0.1:9", "loop", PARAMETERS)
        store = AnswerStore(tmp_path, "loop")
        made = TeacherClient(
            api, store, concurrency=4, timeout=5, resolve_key=resolve_key, **{"max_retries": 3, **options}
        )
        # Places cost no time here.
        made.throttle.clock = itertools.count(0, 10).__next__
        asked = {}

        async def _send(body):
            text = body["messages"][-1]["content"]
            asked[text] = asked.get(text, 0) + 1
            found = send(text, asked[text], made)
            if isinstance(found, Exception):
                raise found
            return found

        made._send = _send
        made.asked, made.slept, made.now = asked, slept, now
        return made

    return make


def ask(made, *texts):
    async def one(text):
        try:
            return (await made.ask([{"role": "user", "content": text}])).answer.text
        except RowFailed as failed:
            return failed.reason

    async def everything():
        return await asyncio.gather(*map(one, texts))

    return asyncio.run(everything())


@pytest.mark.parametrize("kind", ["timeout", "http_503"])
def test_a_row_that_always_fails_is_given_up_though_others_get_through(client, kind):
    def send(text, number, made):
        if text != "bad":
            return 200, {}, FINE
        # Between any two of its tries somebody else is answered.
        made._retrying.answered()
        return (503, {"Retry-After": "1"}, b"{}") if kind == "http_503" else Again("timeout", "no answer")

    made = client(send)
    assert ask(made, "bad", "fine") == [kind, "5"]
    assert made.asked["bad"] == 4


def test_a_429_never_rejects_a_row(client):
    made = client(lambda text, number, made: (429, {"Retry-After": "3"}, b"{}") if number < 100 else (200, {}, FINE))
    assert ask(made, "one") == ["5"]
    assert made.asked["one"] == 100
    assert set(made.slept) == {3.0}


def test_a_run_that_gets_no_answer_for_too_long_ends(client):
    made = client(lambda text, number, made: (429, {"Retry-After": "7"}, b"{}"), max_wait=60)
    with pytest.raises(TryAgain, match="answered nobody for 60 seconds"):
        ask(made, "one")
    assert made.now[0] == 1060


def test_an_answer_to_anybody_shows_that_waiting_is_worth_it(client):
    def send(text, number, made):
        if number % 5 == 0:
            made._retrying.answered()
        return (429, {"Retry-After": "10"}, b"{}") if number < 50 else (200, {}, FINE)

    made = client(send, max_wait=60)
    assert ask(made, "one") == ["5"]


def test_a_server_that_asks_for_no_wait_at_all_is_not_asked_in_a_burst(client):
    made = client(lambda text, number, made: (429, {"Retry-After": "0"}, b"{}") if number < 4 else (200, {}, FINE))
    assert ask(made, "one") == ["5"]
    assert len(made.slept) == 3


def test_only_who_is_refused_waits_unless_the_server_says_that_nothing_is_left(client, monkeypatch):
    headers = {"Retry-After": "1"}
    made = client(lambda text, number, made: (429, headers, b"{}") if number == 1 else (200, {}, FINE))
    held = []
    monkeypatch.setattr(made.throttle, "hold", held.append)
    ask(made, "one")
    assert held == []
    headers.update({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s"})
    ask(made, "two")
    assert held == [2.0]


def test_a_long_pause_closes_the_shard_so_that_mounted_storage_keeps_it(client):
    def send(text, number, made):
        if text == "first":
            return 200, {}, FINE
        if number == 1:
            assert made.store._file is not None
            return 429, {"Retry-After": "100"}, b"{}"
        assert made.store._file is None
        return 200, {}, FINE

    made = client(send)
    assert ask(made, "first") == ["5"]
    assert ask(made, "second") == ["5"]


@pytest.mark.parametrize("others", [True, False])
def test_a_row_that_a_gateway_denies_fails_and_the_run_goes_on(client, others):
    def send(text, number, made):
        if text != "bad":
            return 200, {}, FINE
        if others:
            made._retrying.answered()
        return 403, {}, b'{"error": "no such words here"}'

    made = client(send)
    assert ask(made, "fine", "bad") == ["5", "http_403"]
    assert made.asked["bad"] == (3 if others else 6)
    assert made.unsettled() is None


def test_a_single_page_is_tried_again(client):
    page = {"Content-Type": "text/html"}, b"<html>Bad gateway</html>"
    made = client(lambda text, number, made: (200, *page) if number == 1 else (200, {}, FINE))
    assert ask(made, "one", "two") == ["5", "5"]


@pytest.mark.parametrize(("is_token", "keys"), [(True, ["k1", "k1", "k2"]), (False, ["k1", "k1", "k1"])])
def test_a_token_is_asked_for_anew_before_it_runs_out_and_a_key_is_not(client, monkeypatch, is_token, keys):
    given = iter(("k1", "k2", "k3"))
    made = client(None, resolve_key=lambda: (next(given), is_token))
    now = [1000.0]
    monkeypatch.setattr(teacher_client.time, "monotonic", lambda: now[0])
    sent = []
    for later in (0, 200, 100):
        now[0] += later
        sent.append(made._headers()["Authorization"].removeprefix("Bearer "))
    assert sent == keys
