"""The client of a teacher by itself: what counts as a failure of a row, and which key goes with a request."""

from __future__ import annotations

import asyncio
import json

import pytest
import teacher_client
from answer_store import AnswerStore
from chat_api import ChatApi
from teacher_client import RowFailed, TeacherClient

FINE = json.dumps({"choices": [{"message": {"content": "5"}, "finish_reason": "stop"}]}).encode()
PARAMETERS = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 8}


@pytest.fixture
def client(tmp_path, monkeypatch):
    """``client(send)``: one whose requests go to ``send(text, number)``; it says nothing and waits for nothing."""
    slept = []

    async def sleep(seconds, real=asyncio.sleep):
        slept.append(seconds)
        await real(0)

    def make(send, resolve_key=lambda: None, **options):
        monkeypatch.setattr(teacher_client.asyncio, "sleep", sleep)
        api = ChatApi("chat_completions", "http://127.0.0.1:9", "loop", PARAMETERS)
        store = AnswerStore(tmp_path, "loop")
        made = TeacherClient(
            api, store, concurrency=4, timeout=5, resolve_key=resolve_key, **{"max_retries": 3, **options}
        )
        asked = {}

        async def _send(body):
            text = body["messages"][-1]["content"]
            asked[text] = asked.get(text, 0) + 1
            await asyncio.get_running_loop().run_in_executor(None, int)
            found = send(text, asked[text], made)
            if isinstance(found, Exception):
                raise found
            return found

        made._send = _send
        made.asked, made.slept = asked, slept
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
        made.counts.answered += 1
        if kind == "http_503":
            return 503, {}, b"{}"
        return teacher_client._Again("timeout", "no answer", busy=True)

    made = client(send)
    assert ask(made, "bad", "fine") == [kind, "5"]
    assert made.asked["bad"] == 4


def test_waiting_for_a_limit_that_lets_others_through_is_no_failure(client):
    def send(text, number, made):
        made.counts.answered += 1
        return (429, {"Retry-After": "0.001"}, b"{}") if number < 20 else (200, {}, FINE)

    made = client(send)
    assert ask(made, "one") == ["5"]
    assert made.asked["one"] == 20


def test_a_server_that_asks_for_no_wait_at_all_is_not_asked_in_a_burst(client):
    made = client(lambda text, number, made: (429, {"Retry-After": "0"}, b"{}") if number < 4 else (200, {}, FINE))
    assert ask(made, "one") == ["5"]
    assert len(made.slept) == 3


def test_a_long_pause_closes_the_shard_so_that_mounted_storage_keeps_it(client, monkeypatch):
    def send(text, number, made):
        if text == "first" or number > 1:
            return 200, {}, FINE
        assert made.store._file is not None
        return 429, {"Retry-After": "100"}, b"{}"

    made = client(send)
    closed = []
    monkeypatch.setattr(made.throttle, "pause", lambda seconds: closed.append((seconds, made.store._file is None)))
    assert ask(made, "first") == ["5"]
    assert ask(made, "second") == ["5"]
    assert closed == [(100.0, True)]


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
