"""The parts of teacher_inference that have rules of their own: waiting, throttle, store, addresses, unwrapping."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from answer_extraction import Unparsable, unwrap
from answer_store import AnswerStore, answer_key
from chat_api import ChatApi, Malformed, is_about_row, is_content_filter
from common.rows import make_row
from common.step import BadConfig
from common.tasks import get_task
from retry_wait import LAST_CEILING, asked_wait, backoff, nothing_left
from throttle import Throttle

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


# -- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": format_datetime(NOW + timedelta(seconds=9), usegmt=True)}, 9),
        ({"Retry-After": format_datetime(NOW - timedelta(seconds=9), usegmt=True)}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "nan"}, None),
        ({"retry-after-ms": "250", "Retry-After": "1"}, 0.25),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "5"}, None),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "4s"}, 4),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) + 30)}, 30),
        ({"x-ratelimit-reset": str((int(NOW.timestamp()) + 30) * 1000)}, 30),
        ({"anthropic-ratelimit-requests-reset": "2026-01-02T03:04:25Z"}, 20),
    ],
)
def test_servers_say_in_many_ways_how_long_to_wait(headers, seconds):
    assert asked_wait(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


def test_backoff_is_spread_over_all_of_a_ceiling_that_doubles():
    for attempt in range(1, 12):
        ceiling = min(LAST_CEILING, 0.5 * 2**attempt)
        drawn = [backoff(attempt) for _ in range(300)]
        assert 0 <= min(drawn) < 0.1 * ceiling
        assert 0.9 * ceiling < max(drawn) <= ceiling


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, None),
        ({"x-ratelimit-reset-requests": "5s"}, None),
        ({"x-ratelimit-reset-requests": "5s", "x-ratelimit-remaining-requests": "2"}, None),
        ({"x-ratelimit-reset-requests": "5s", "x-ratelimit-remaining-requests": "0"}, 5),
        ({"anthropic-ratelimit-tokens-reset": "2026-01-02T03:04:25Z", "anthropic-ratelimit-tokens-remaining": "0"}, 20),
    ],
)
def test_only_what_says_that_nothing_remains_is_a_limit_for_all(headers, seconds):
    assert nothing_left(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


# -- throttle ---------------------------------------------------------------------------------------------------------


def test_whoever_stops_waiting_takes_no_place():
    async def scenario():
        throttle = Throttle(1)
        async with throttle.place():
            waiting = [asyncio.create_task(throttle.take(is_retry=False)) for _ in range(2)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
        # The place was given to the second; one that is stopped just then gives it back.
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return throttle.window.in_flight

    assert asyncio.run(scenario()) == 0


def test_places_go_to_those_who_were_refused_before_those_who_were_not():
    async def scenario():
        throttle, order = Throttle(1), []

        async def ask(name, again):
            async with throttle.place(is_retry=again):
                order.append(name)

        async with throttle.place():
            asking = [asyncio.create_task(ask(name, name == "again")) for name in ("first", "second", "again")]
            await asyncio.sleep(0)
        await asyncio.gather(*asking)
        return order

    assert asyncio.run(scenario()) == ["again", "first", "second"]


def test_a_hold_stops_everybody_until_it_ends():
    async def scenario():
        now = [100.0]
        throttle = Throttle(8, clock=lambda: now[0])
        throttle.hold(3600)
        asking = [asyncio.create_task(throttle.take(is_retry=False)) for _ in range(3)]
        await asyncio.sleep(0)
        before = throttle.window.in_flight
        now[0] += 3601
        throttle.wake()
        await asyncio.gather(*asking)
        return before, throttle.window.in_flight

    assert asyncio.run(scenario()) == (0, 3)


# -- store ------------------------------------------------------------------------------------------------------------


def key(number):
    return answer_key("chat_completions", "m", [{"role": "user", "content": str(number)}], {"temperature": 0}, 0)


def test_an_answer_is_found_by_the_next_run_though_the_writer_was_killed(tmp_path):
    store = AnswerStore(tmp_path, "m")
    store.put(key(1), {"text": "eins"}, 0.5)
    found = AnswerStore(tmp_path, "m").get(key(1))
    assert found is not None
    assert (found["body"], found["latency"]) == ({"text": "eins"}, 0.5)


def test_a_shard_cut_at_any_byte_loses_its_last_answer_only(tmp_path):
    store = AnswerStore(tmp_path, "m")
    for number in range(3):
        store.put(key(number), {"n": number}, 0.1)
    store.close()
    (shard,) = store.folder.glob("*.jsonl")
    raw = shard.read_bytes()
    ends = [position + 1 for position, byte in enumerate(raw) if byte == 10]
    for size in range(len(raw) + 1):
        shard.write_bytes(raw[:size])
        again = AnswerStore(tmp_path, "m")
        assert [again.get(key(n)) is not None for n in range(3)] == [size >= end for end in ends]


def test_a_writer_never_appends_to_a_shard_of_another(tmp_path):
    one, two = AnswerStore(tmp_path, "m"), AnswerStore(tmp_path, "m")
    one.put(key(1), {}, 0)
    two.put(key(2), {}, 0)
    assert len(list(one.folder.glob("*.jsonl"))) == 2
    assert len(AnswerStore(tmp_path, "m")) == 2


def test_shards_are_closed_after_some_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("answer_store.SHARD_ROWS", 3)
    store = AnswerStore(tmp_path, "m")
    for number in range(7):
        store.put(key(number), {"n": number}, 0)
    assert len(list(store.folder.glob("*.jsonl"))) == 3
    assert [store.get(key(number))["body"]["n"] for number in range(7)] == list(range(7))


def test_models_have_folders_of_their_own_whatever_their_names(tmp_path):
    names = ["org/model", "org-model", "../up", "m" * 300, "\u6a21\u578b"]
    folders = {AnswerStore(tmp_path, name).folder for name in names}
    assert len(folders) == len(names)
    assert all(folder.parent == tmp_path for folder in folders)


@pytest.mark.parametrize(
    "changed",
    [
        {"api": "messages"},
        {"model": "other"},
        {"messages": [{"role": "user", "content": "b"}]},
        {"parameters": {"temperature": 1}},
        {"sample": 1},
    ],
)
def test_a_key_depends_on_everything_that_was_asked(changed):
    asked = {
        "api": "chat_completions",
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "parameters": {"temperature": 0, "top_p": 1},
        "sample": 0,
    }
    assert answer_key(**asked) != answer_key(**{**asked, **changed})
    turned = {**asked, "parameters": {"top_p": 1, "temperature": 0}}
    assert answer_key(**asked) == answer_key(**turned)


def test_the_key_of_an_answer_is_the_same_in_every_version():
    # Stores outlive versions: a change of this value would ask every teacher for everything again.
    messages = [{"role": "user", "content": "\u00e9"}]
    found = answer_key("chat_completions", "m", messages, {"temperature": 0.0, "top_p": 1.0, "max_tokens": 512}, 0)
    assert found == "0009228c5bea2232bafdcd0f8ace07e99d0bb8013021d3d5d63f1ec9d3f0e433"


# -- addresses and bodies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/chat/completions"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1/chat/completions"),
        ("https://h/v1", "https://h/v1/chat/completions"),
        ("https://h/v1/chat/completions", "https://h/v1/chat/completions"),
        ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1/chat/completions"),
        ("https://x.inference.ml.azure.com/score", "https://x.inference.ml.azure.com/score"),
        ("https://x.models.ai.azure.com/chat/completions", "https://x.models.ai.azure.com/chat/completions"),
        ("https://x.openai.azure.com", "https://x.openai.azure.com/openai/v1/chat/completions"),
        (
            "https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
            "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
    ],
)
def test_an_endpoint_may_be_a_base_address_or_the_full_one(endpoint, url):
    assert ChatApi("chat_completions", endpoint, "m", {}).url == url


@pytest.mark.parametrize("endpoint", ["localhost:8000", "ftp://h", "", "https://user:pw@h/v1"])
def test_what_is_no_address_is_refused(endpoint):
    with pytest.raises(BadConfig) as caught:
        ChatApi("chat_completions", endpoint, "m", {})
    assert "pw" not in str(caught.value).replace("http", "") or "credentials" in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "api", "is_token", "header"),
    [
        ("https://h", "chat_completions", False, "Authorization"),
        ("https://x.openai.azure.com", "chat_completions", False, "api-key"),
        ("https://x.services.ai.azure.com", "chat_completions", False, "api-key"),
        ("https://x.openai.azure.com", "chat_completions", True, "Authorization"),
        ("https://evil.com/x.openai.azure.com", "chat_completions", False, "Authorization"),
        ("https://api.anthropic.com", "messages", False, "x-api-key"),
    ],
)
def test_the_host_decides_where_the_key_goes(endpoint, api, is_token, header):
    headers = ChatApi(api, endpoint, "m", {}).headers("k-1", is_token)
    assert [name for name, value in headers.items() if "k-1" in value] == [header]


COMPLETIONS = ChatApi("chat_completions", "http://h", "m", {"temperature": 0, "top_p": 1.0, "max_tokens": 5})


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 5}}]},
        {"error": {"message": "rate limit"}},
        "text",
        None,
    ],
)
def test_bodies_that_are_no_answer_are_malformed(body):
    with pytest.raises(Malformed):
        COMPLETIONS.read(body)


def test_content_in_parts_is_joined_and_a_refusal_is_a_filter():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert COMPLETIONS.read({"choices": [{"message": {"content": parts}}]}).text == "ab"
    refused = COMPLETIONS.read({"choices": [{"message": {"content": None, "refusal": "no"}, "finish_reason": "stop"}]})
    assert (refused.text, refused.finish_reason) == ("", "content_filter")


@pytest.mark.parametrize(
    "error",
    [
        {"code": "content_filter", "message": "no"},
        {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {
            "code": "BadRequest",
            "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management "
            "policy. Please modify your prompt and retry.",
        },
        {"code": None, "message": "Your request was rejected as a result of our safety system."},
    ],
)
def test_a_content_filter_is_known_by_code_or_by_words(error):
    assert is_content_filter({"error": error})


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Please reduce the length of the messages.",
        "The input token count (40000) exceeds the maximum number of tokens allowed (32768).",
    ],
)
def test_what_is_too_long_is_about_its_row(message):
    assert is_about_row(400, {"error": {"message": message}})
    assert is_about_row(413, {})
    assert not is_about_row(400, {"error": {"message": "Your credit balance is too low"}})
    assert not is_about_row(400, {"error": {"message": "Unknown parameter: 'top_k'"}})


# -- unwrapping -------------------------------------------------------------------------------------------------------

QA = make_row([{"role": "user", "content": "Which?\n(A) one\n(B) two"}])


@pytest.mark.parametrize(
    ("task", "text", "response", "reasoning"),
    [
        ("math", '{"reasoning": "r", "answer": "5"}', "5", "r"),
        ("math", '{"reason": "r", "answer": 5}', "5", "r"),
        ("math", 'Sure!\n```json\n{"reasoning": "r", "answer": "5"}\n```', "5", "r"),
        ("math", '{"reasoning": "a\nb", "answer": "5"}', "5", "a\nb"),
        ("math", '{"reasoning": "\\(x\\) is \\frac{1}{2}", "answer": "0.5"}', "0.5", "\\(x\\) is \\frac{1}{2}"),
        ("math", '{"reasoning": ["a", "b"], "answer": "5",}', "5", "a\nb"),
        ("math", '{"reasoning": "a "quote" here", "answer": "5"}', "5", None),
        ("math", "First 2, then 3.\n#### 5", "5", "First 2, then 3.\n#### 5"),
        ("math", '<think>hm</think>{"answer": "$1,200"}', "1200", "hm"),
        ("qa", '{"reason": "r", "answer_choice": "(B) two"}', "B", "r"),
        ("qa", '{"Reasoning": "r", "Answer": "b"}', "B", "r"),
        ("nli", '{"reason": "r", "label": "Entailment."}', "entailment", "r"),
        ("conversation", '{"reasoning": "r", "answer": "Hello {you}!"}', "Hello {you}!", "r"),
    ],
)
def test_the_answer_of_a_chain_of_thought_is_unwrapped(task, text, response, reasoning):
    found = unwrap("chain_of_thought", text, "", get_task(task), QA)
    assert found.response == response
    assert reasoning is None or found.reasoning == reasoning


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("math", ""),
        ("math", "I cannot say."),
        ("math", '{"reasoning": "2 + 3'),
        ("math", '{"reasoning": "r", "answer": null}'),
        ("math", '{"reasoning": "r", "answer": "many"}'),
        ("qa", '{"reason": "r", "answer_choice": "E"}'),
    ],
)
def test_a_chain_of_thought_without_an_answer_is_unparsable(task, text):
    with pytest.raises(Unparsable):
        unwrap("chain_of_thought", text, "", get_task(task), QA)


STEPS = [{"Missing_Entities": f"e{n}", "Denser_Summary": f'Summary "{n}".'} for n in range(4)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(STEPS),
        f"Here you are:\n```json\n{json.dumps(STEPS, indent=1)}\n```",
        json.dumps({"summaries": STEPS}),
        json.dumps(STEPS)[1:-1],
        json.dumps(STEPS) + " [end]",
        json.dumps([{"missing_entities": "e", "denser_summary": 'Summary "3".'}]),
    ],
)
def test_the_densest_summary_is_unwrapped(text):
    assert unwrap("chain_of_density", text, "", get_task("summarization"), QA).response == 'Summary "3".'


def test_a_chain_of_density_without_summaries_is_unparsable():
    with pytest.raises(Unparsable):
        unwrap("chain_of_density", "A plain summary.", "", get_task("summarization"), QA)


def test_a_direct_answer_is_kept_as_it_is():
    found = unwrap("direct", "<think>hm</think>\nThe answer is 5.", "", get_task("math"), QA)
    assert (found.response, found.reasoning) == ("The answer is 5.", "hm")
