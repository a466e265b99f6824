"""teacher_inference as it is run, against a teacher on loopback that fails now and then."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from snapshots import chat, read_jsonl, write_jsonl

SAMPLES = ("conversation", "math", "nli", "nlu_qa", "summarization")
#: Three refusals end a run; what was in flight by then, four requests at the start, has been sent.
AT_MOST = 3 + 4


def sums(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [chat(f"What is {n} plus {n + 1}?", str(2 * n + 1)) for n in range(start, start + count)]


def solve(messages: list[dict[str, str]]) -> str:
    words = messages[-1]["content"].rstrip("?").split()
    return str(int(words[2]) + int(words[4]))


def question(url: str, rows: Path, **inputs: Any) -> dict[str, Any]:
    return {"rows": rows, "task_type": "math", "teacher_model": "loop", "teacher_endpoint": url, **inputs}


def conserved(summary: dict[str, Any]) -> bool:
    return summary["in"] == summary["kept"] + summary["rejected"] == sum(s["in"] for s in summary["splits"].values())


# -- a teacher that fails now and then --------------------------------------------------------------------------------


def test_every_row_is_answered_in_its_order_though_the_teacher_fails_now_and_then(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(150))
    more = write_jsonl(tmp_path / "more.jsonl", sums(20, 1000))
    loop = teacher(solve, faults=0.25, seed=7)
    result = component("teacher_inference").run(question(loop.url, rows, validation_rows=more))
    assert result.returncode == 0, result.stderr
    assert [row["response"] for row in result.rows("train")] == [row["reference"] for row in sums(150)]
    assert [row["response"] for row in result.rows("validation")] == [row["reference"] for row in sums(20, 1000)]
    assert conserved(result.summary)
    assert all(loop.failed[kind] for kind in ("429", "503", "cut", "malformed")), "a fault was never drawn"
    assert max(loop.answered.values()) == 1, "a question that was answered was asked again"
    assert result.summary["retries"] == sum(count for kind, count in loop.failed.items() if kind != "none")
    assert result.metric("success_ratio") == 1.0
    assert result.metric("completion_tokens") == 170 * 5


def test_answers_are_never_asked_for_again_whatever_the_endpoint(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(30))
    first, second = teacher(solve), teacher(solve)
    store = {"answers": tmp_path / "answers"}
    one = component("teacher_inference").run(question(first.url, rows), outputs=store)
    write_jsonl(rows, sums(40))
    two = component("teacher_inference").run(question(second.url, rows), outputs=store)
    assert (one.returncode, two.returncode) == (0, 0)
    assert (len(first.requests), len(second.requests)) == (30, 10)
    assert two.summary["reused"] == 30
    assert two.rows("train")[:30] == one.rows("train"), "a reused answer makes the same row, latency included"


def test_a_run_from_the_store_needs_neither_key_nor_teacher(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(5))
    loop = teacher(solve)
    store = {"answers": tmp_path / "answers"}
    inputs = question(loop.url, rows, teacher_key="env:TEACHER_KEY")
    assert component("teacher_inference").run(inputs, outputs=store, env={"TEACHER_KEY": "k-123456"}).returncode == 0
    again = component("teacher_inference").run(question("http://127.0.0.1:9", rows), outputs=store)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("other", [{"teacher_model": "else"}, {"sampling_temperature": 0.7}, {"max_tokens": 9}])
def test_another_model_or_other_parameters_are_another_question(component, teacher, tmp_path, other):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(4))
    loop = teacher(solve)
    store = {"answers": tmp_path / "answers"}
    component("teacher_inference").run(question(loop.url, rows), outputs=store)
    component("teacher_inference").run(question(loop.url, rows) | other, outputs=store)
    assert len(loop.requests) == 8


def test_equal_questions_in_one_run_are_asked_once(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(3) * 5)
    loop = teacher(solve, delay=0.05)
    result = component("teacher_inference").run(question(loop.url, rows))
    assert len(loop.requests) == 3
    assert result.summary["kept"] == 15


def test_a_kill_costs_at_most_the_requests_in_flight(component, teacher, tmp_path):
    total, concurrency = 200, 8
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(total))
    loop = teacher(solve, faults=0.1, seed=3, delay=0.005)
    store = {"answers": tmp_path / "answers"}
    inputs = question(loop.url, rows, concurrency=concurrency)
    for share in (0.2, 0.5, 0.8):
        process = component("teacher_inference").start(inputs, outputs=store)
        deadline = time.monotonic() + 60
        while loop.answered.total() < share * total and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL, "the kill came after the end"
        while loop.in_flight:
            time.sleep(0.002)
    result = component("teacher_inference").run(inputs, outputs=store)
    assert result.returncode == 0, result.stderr
    assert [row["response"] for row in result.rows("train")] == [row["reference"] for row in sums(total)]
    assert len(loop.answered) == total
    assert loop.answered.total() <= total + 3 * concurrency


def test_a_stop_writes_what_was_done_and_keeps_the_answers(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(100))
    loop = teacher(solve, delay=0.02)
    made = component("teacher_inference")
    process = made.start(question(loop.url, rows, concurrency=4))
    while loop.answered.total() < 20:
        time.sleep(0.005)
    process.terminate()
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130, stderr
    outputs = made.folder / "outputs"
    summary = json.loads((outputs / "summary").read_text())
    assert conserved(summary)
    assert summary["in"] == 100
    assert summary["reasons"].keys() == {"not_asked"}
    assert len(read_jsonl(outputs / "train")) == summary["kept"] >= 15


def test_500_rows_of_gsm8k_against_a_failing_teacher(component, teacher, shared, tmp_path):
    source = [json.loads(line) for line in (shared / "gsm8k/train.jsonl").read_text().splitlines()[:500]]
    gold = {row["question"]: row["answer"] for row in source}
    data = write_jsonl(tmp_path / "train.jsonl", source)
    prepared = component("prepare_data").run(
        {"training_data": data, "task_type": "math", "validation_fraction": 0.1, "test_fraction": 0}
    )
    assert prepared.returncode == 0, prepared.stderr
    loop = teacher(lambda messages: gold[messages[-1]["content"]], faults=0.15, seed=11)
    rows, more = prepared.outputs["train"], prepared.outputs["validation"]
    result = component("teacher_inference").run(question(loop.url, rows, validation_rows=more))
    assert result.returncode == 0, result.stderr
    assert result.summary["in"] == result.summary["kept"] == 500
    assert loop.answered.total() == 500
    curated = component("curate").run(
        {"rows": result.outputs["train"], "validation_rows": result.outputs["validation"], "task_type": "math"}
    )
    assert curated.returncode == 0, curated.stderr
    assert (curated.summary["kept"], curated.summary["agreement"]) == (500, 1.0)


@pytest.mark.parametrize("name", [SAMPLES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in SAMPLES[1:])])
def test_the_sample_sets_go_from_data_to_curated_rows(component, teacher, shared, name):
    folder = shared / "azureml-distillation" / name
    training = folder / f"train_{name}.jsonl"
    validation = folder / f"validation_{name}.jsonl"
    # The training file of summarization is missing at its source.
    files = {"training_data": training, "validation_data": validation} if training.exists() else {"dataset": None}
    if not training.exists():
        files = {"training_data": validation}
    prepared = component("prepare_data").run({**files, "task_type": name.upper(), "test_fraction": 0.1})
    assert prepared.returncode == 0, prepared.stderr
    assert conserved(prepared.summary)
    strategy = {"conversation": "direct", "summarization": "chain_of_density"}.get(name, "chain_of_thought")
    loop = teacher(lambda messages: SAMPLE_ANSWERS[name](messages), faults=0.1, seed=5)
    asked = component("teacher_inference").run(
        {
            "rows": prepared.outputs["train"],
            "validation_rows": prepared.outputs["validation"],
            "task_type": name,
            "teacher_model": "loop",
            "teacher_endpoint": loop.url,
            "strategy": strategy,
            "turns": "all" if name == "conversation" else "last",
        }
    )
    assert asked.returncode == 0, asked.stderr
    assert conserved(asked.summary)
    assert asked.summary["in"] == sum(prepared.summary["rows"][split] for split in ("train", "validation"))
    curated = component("curate").run(
        {"rows": asked.outputs["train"], "validation_rows": asked.outputs["validation"], "task_type": name}
    )
    assert curated.returncode == 0, curated.stderr
    assert conserved(curated.summary)
    assert curated.summary["kept"] == asked.summary["kept"] > 0


SAMPLE_ANSWERS = {
    "conversation": lambda messages: f"Here is what I know about that ({len(messages)}).",
    "math": lambda messages: '{"reasoning": "64 - 36 = 28", "answer": "1,028.0"}',
    "nli": lambda messages: '```json\n{"reason": "It says so.", "answer": "Entailment"}\n```',
    "nlu_qa": lambda messages: '{"reason": "It fits.", "answer_choice": "(B) enforce"}',
    "summarization": lambda messages: json.dumps(
        [{"Missing_Entities": "x", "Denser_Summary": f"Summary {n} of the article."} for n in range(4)]
    ),
}


# -- what the server says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "everybody"),
    [
        ({"Retry-After": "1"}, False),
        ({"Retry-After": lambda: formatdate(time.time() + 2, usegmt=True)}, False),
        ({"retry-after-ms": "1000"}, False),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"}, True),
    ],
    ids=["seconds", "date", "milliseconds", "nothing left"],
)
def test_a_refused_request_waits_and_the_others_go_on_unless_nothing_is_left(
    component, teacher, tmp_path, headers, everybody
):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(12))
    times: list[tuple[str, float]] = []

    def reply(body, number):
        times.append((body["messages"][-1]["content"], time.monotonic()))
        if len(times) == 1:
            sent = {name: value() if callable(value) else value for name, value in headers.items()}
            return 429, sent, {"error": {"message": "slow down"}}
        return None

    loop = teacher(solve, reply=reply)
    result = component("teacher_inference").run(question(loop.url, rows, concurrency=1))
    assert result.returncode == 0, result.stderr
    refused, again = [at for text, at in times if text == times[0][0]]
    assert again - refused >= 0.9
    assert len(times) == 13
    if everybody:
        assert times[1][1] - refused >= 0.9
    else:
        assert times[-1][0] == times[0][0]


@pytest.mark.parametrize("header", [{"Retry-After": "1"}, {}], ids=["Retry-After", "backoff"])
@pytest.mark.parametrize("status", [429, 503])
def test_scattered_refusals_slow_nobody_else(component, teacher, tmp_path, status, header):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(300))

    def reply(body, number):
        unlucky = int(body["messages"][-1]["content"].split()[2]) % 20 == 0 and number == 1
        return (status, header, {"error": {"message": "busy"}}) if unlucky else None

    loop = teacher(solve, reply=reply, delay=0.02)
    result = component("teacher_inference").run(question(loop.url, rows))
    assert result.summary["kept"] == 300, result.stderr
    assert result.summary["retries"] == 15
    assert loop.most_in_flight >= 14


def test_a_busy_server_gets_fewer_requests_at_once(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(150))

    def reply(body, number):
        return (429, {}, {"error": {"message": "too many"}}) if loop.in_flight > 3 else None

    loop = teacher(solve, reply=reply, delay=0.01)
    result = component("teacher_inference").run(question(loop.url, rows, concurrency=64, max_retries=3))
    assert result.returncode == 0, result.stderr
    assert result.summary["kept"] == 150, "waiting for a limit is no failure of a row"
    assert loop.most_in_flight < 30
    assert result.summary["retries"] < 150


@pytest.mark.slow
def test_waiting_for_a_limit_while_others_get_through_is_no_failure(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(200))

    def reply(body, number):
        limited = int(body["messages"][-1]["content"].split()[2]) < 10
        return (429, {}, {"error": {"message": "too many"}}) if limited and number <= 3 else None

    loop = teacher(solve, reply=reply, delay=0.02)
    result = component("teacher_inference").run(question(loop.url, rows, concurrency=4, max_retries=2))
    assert result.summary["kept"] == 200, result.stderr
    assert result.summary["retries"] == 30


def test_a_wrong_key_stops_at_once(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(100))
    loop = teacher(solve, reply=lambda body, n: (401, {}, {"error": {"message": "bad key sk-canary-123"}}))
    inputs = question(loop.url, rows, teacher_key="env:TEACHER_KEY")
    result = component("teacher_inference").run(inputs, env={"TEACHER_KEY": "sk-canary-123"})
    assert result.returncode == 77
    assert "error[refused]" in result.stderr
    assert "refuses the credentials" in result.stderr
    assert len(loop.requests) <= AT_MOST
    assert result.summary["reasons"] == {"not_asked": 100}
    assert loop.requests[0]["headers"]["authorization"] == "Bearer sk-canary-123"
    for path in [*result.outputs.values(), result.outputs["summary"].parent.parent / "metrics.jsonl"]:
        files = [path] if path.is_file() else list(path.rglob("*.jsonl"))
        assert all("canary" not in file.read_text() for file in files)
    assert "canary" not in result.stderr


def test_nothing_is_asked_while_a_late_answer_may_show_that_only_some_are_refused(component, teacher, tmp_path):
    def reply(body, n):
        if n == 2:
            time.sleep(1)
        return 401, {}, {"error": {"message": "expired"}}

    rows = write_jsonl(tmp_path / "rows.jsonl", sums(100))
    loop = teacher(solve, reply=reply)
    result = component("teacher_inference").run(question(loop.url, rows))
    assert result.returncode == 77
    assert len(loop.requests) <= AT_MOST


def test_a_key_that_is_not_set_is_named(component, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(2))
    inputs = question("http://127.0.0.1:9/v1", rows, teacher_key="env:TEACHER_KEY")
    result = component("teacher_inference").run(inputs)
    assert result.returncode == 78
    assert "TEACHER_KEY is not set" in result.stderr
    literal = component("teacher_inference").run(inputs | {"teacher_key": "sk-canary-123"})
    assert literal.returncode == 78
    assert "literal key is refused" in literal.stderr
    assert "canary" not in literal.stderr


def test_an_endpoint_that_refuses_connections_is_named_quickly(component, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(50))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    result = component("teacher_inference").run(question(f"http://127.0.0.1:{port}/v1", rows))
    assert result.returncode == 69
    assert f"cannot reach the teacher at http://127.0.0.1:{port}/v1/chat/completions" in result.stderr
    assert time.monotonic() - started < 45
    assert result.summary["reasons"] == {"not_asked": 50}
    assert len(result.rows("rejects")) == 50


def test_a_model_that_is_not_there_ends_the_run_early(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(200))
    loop = teacher(solve, reply=lambda body, n: (404, {}, {"error": {"message": "The model `loop` does not exist"}}))
    result = component("teacher_inference").run(question(loop.url, rows))
    assert result.returncode == 78
    assert "The model `loop` does not exist" in result.stderr
    assert len(loop.requests) < 20
    assert conserved(result.summary)


def test_a_service_that_stays_down_ends_the_run_and_keeps_the_answers(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(300))
    loop = teacher(solve, reply=lambda body, n: (500, {}, {}) if loop.answered.total() >= 20 else None)
    result = component("teacher_inference").run(question(loop.url, rows, max_retries=1))
    assert result.returncode == 69
    assert "one after another" in result.stderr
    assert result.summary["kept"] >= 20
    assert conserved(result.summary)
    assert len(loop.requests) < 150


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ((429, {"Retry-After": "3600"}, {"error": {"message": "later"}}), 75, "come back in 60 minutes"),
        ((429, {}, {"error": {"code": "insufficient_quota", "message": "pay"}}), 77, "quota"),
        ((307, {"Location": "http://127.0.0.1:1/elsewhere"}, {}), 78, "/elsewhere; give that address"),
        ((403, {}, {"error": {"message": "no access"}}), 77, "no access"),
    ],
    ids=["long wait", "quota", "redirect", "forbidden"],
)
def test_what_no_retry_can_mend_ends_the_run(component, teacher, tmp_path, answer, code, said):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(50))
    loop = teacher(solve, reply=lambda body, n: answer)
    result = component("teacher_inference").run(question(loop.url, rows))
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert len(loop.requests) <= AT_MOST
    assert result.summary["reasons"] == {"not_asked": 50}


def test_an_answer_that_takes_too_long_is_given_up(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(3))
    loop = teacher(solve, delay=3)
    result = component("teacher_inference").run(question(loop.url, rows, timeout=1, max_retries=0))
    assert result.returncode == 69
    assert result.summary["reasons"] == {"timeout": 3}
    assert "within 1 seconds" in result.rows("rejects")[0]["detail"]


@pytest.mark.parametrize("answered", [10, 191], ids=["early", "late"])
@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (400, {"error": {"message": "Your credit balance is too low to access the API."}}, 77, "credit balance"),
        (429, {"error": {"code": "insufficient_quota", "message": "pay"}}, 77, "used up"),
        (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}, 69, "since"),
        (400, {"error": {"message": "The model loop was retired on 2026-06-13."}}, 69, "retired"),
        (401, {"error": {"message": "expired"}}, 77, "refuses the credentials any more"),
        (400, {"error": {"message": "This feature is not enabled for your tenant."}}, 69, "not enabled"),
    ],
    ids=["credit", "quota", "deployment", "retired", "key", "other"],
)
def test_a_refusal_of_everybody_in_the_middle_of_a_run_ends_it(
    component, teacher, tmp_path, status, body, code, said, answered
):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(200))
    loop = teacher(solve, reply=lambda _, n: (status, {}, body) if loop.answered.total() >= answered else None)
    result = component("teacher_inference").run(question(loop.url, rows, concurrency=4, min_success_ratio=0.5))
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert answered - 4 <= result.summary["kept"] <= answered + 4
    assert len(loop.requests) <= answered + 40
    assert conserved(result.summary)
    if answered == 10:
        assert result.summary["reasons"]["not_asked"] >= 150


def test_web_pages_instead_of_answers_end_a_run_with_what_to_do(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(242))
    page = (200, {"Content-Type": "text/html"}, b"<html><title>Sign in to continue</title></html>")
    loop = teacher(solve, reply=lambda body, n: page)
    result = component("teacher_inference").run(question(loop.url, rows))
    assert result.returncode == 78, result.stderr
    assert "Sign in to continue" in result.stderr
    assert "ends in /v1" in result.stderr
    assert len(loop.requests) <= AT_MOST
    assert result.summary["reasons"] == {"not_asked": 242}


def test_a_run_that_lost_rows_for_their_own_reasons_says_so_last(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(40))
    words = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    filtered = (400, {}, {"error": {"code": "BadRequest", "message": words}})
    unlucky = lambda body: int(body["messages"][-1]["content"].split()[2]) < 22  # noqa: E731
    loop = teacher(solve, reply=lambda body, n: filtered if unlucky(body) else None)
    result = component("teacher_inference").run(question(loop.url, rows, min_success_ratio=0.4))
    assert result.returncode == 0, result.stderr
    assert result.summary["reasons"] == {"content_filter": 22}
    assert (
        result.stderr.strip()
        .splitlines()[-1]
        .endswith("22 rows have no answer, and are among the rejects: content_filter 22")
    )


def test_rows_wait_for_a_limit_as_long_as_it_takes_and_no_longer_than_is_allowed(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(30))
    refusal = (429, {"Retry-After": "0.5"}, {"error": {"message": "later"}})
    loop = teacher(solve, reply=lambda body, n: refusal if loop.answered.total() >= 5 else None)
    result = component("teacher_inference").run(question(loop.url, rows, concurrency=4, max_wait=2))
    assert result.returncode == 75, result.stderr
    assert "answered nobody for 2 seconds" in result.stderr
    assert result.summary["reasons"] == {"not_asked": 30 - result.summary["kept"]}


def test_refused_rows_are_rejected_with_their_reason_and_the_others_kept(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(40))
    filtered = {"error": {"code": "content_filter", "message": "filtered"}}

    def reply(body, number):
        first = int(body["messages"][-1]["content"].split()[2])
        return {0: (400, {}, {"error": {"message": "too long"}}), 1: (400, {}, filtered), 2: (422, {}, {})}.get(first)

    loop = teacher(solve, reply=reply)
    result = component("teacher_inference").run(question(loop.url, rows))
    assert result.returncode == 0, result.stderr
    assert result.summary["reasons"] == {"content_filter": 1, "http_400": 1, "http_422": 1}
    rejects = result.rows("rejects")
    assert [(row["line"], row["reason"]) for row in rejects] == [
        (1, "http_400"),
        (2, "content_filter"),
        (3, "http_422"),
    ]
    assert rejects[0]["detail"] == "400 too long"
    assert rejects[0]["row"]["reference"] == "1"
    assert len(loop.requests) == 40, "a refused row is not asked again"


def test_too_few_answers_fail_the_step_after_all_is_written(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(40))
    loop = teacher(lambda m: {"content": "", "finish_reason": "length"} if int(solve(m)) % 4 == 1 else solve(m))
    inputs = question(loop.url, rows, min_success_ratio=0.6)
    result = component("teacher_inference").run(inputs)
    assert result.returncode == 69
    assert "50.0% of the rows were answered" in result.stderr
    assert result.summary["reasons"] == {"finish_length": 20}
    assert len(result.rows("train")) == 20
    assert component("teacher_inference").run(inputs | {"min_success_ratio": 0.5}).returncode == 0


def test_a_model_that_wants_other_parameters_gets_them(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(30))

    def reply(body, number):
        for name in ("max_tokens", "temperature"):
            if name in body:
                return 400, {}, {"error": {"message": f"Unsupported parameter: '{name}' is not supported."}}
        return None

    loop = teacher(solve, reply=reply)
    result = component("teacher_inference").run(question(loop.url, rows, max_retries=0, max_tokens=77))
    assert result.returncode == 0, result.stderr
    assert result.summary["kept"] == 30
    assert loop.requests[-1]["body"]["max_completion_tokens"] == 77
    assert result.stderr.count("does not support 'max_tokens'") == 1


# -- what is asked and what is learnt ---------------------------------------------------------------------------------


def test_the_students_messages_stay_the_users_own(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat("What is 2 plus 3?", "5", system="Only the number.")])
    loop = teacher(lambda messages: '{"reasoning": "2 + 3 = 5", "answer": 5}')
    result = component("teacher_inference").run(question(loop.url, rows, strategy="chain_of_thought"))
    (row,) = result.rows("train")
    assert (row["response"], row["reasoning"]) == ("5", "2 + 3 = 5")
    assert row["messages"][0] == {"role": "system", "content": "Only the number."}
    asked = loop.requests[0]["body"]["messages"]
    assert "step by step" in asked[0]["content"]
    assert asked[1]["content"] == "What is 2 plus 3?"
    assert row["usage"] == {"prompt_tokens": 10, "completion_tokens": 5}
    assert row["status"] == "ok"
    assert row["latency"] > 0


def test_thoughts_of_reasoning_models_are_kept_apart(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(2))
    said = iter(["<think>easy</think>1", {"content": "3", "reasoning_content": "easier"}])
    loop = teacher(lambda messages: next(said))
    result = component("teacher_inference").run(question(loop.url, rows, concurrency=1))
    assert [(row["response"], row["reasoning"]) for row in result.rows("train")] == [("1", "easy"), ("3", "easier")]


def test_all_turns_of_a_conversation_are_asked_for_anew(component, teacher, tmp_path):
    turns = ["Hello?", "old", "And then?", "older", "Really?"]
    messages = [{"role": "user" if n % 2 == 0 else "assistant", "content": text} for n, text in enumerate(turns)]
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"messages": messages}])
    loop = teacher(lambda asked: f"answer {len(asked)}")
    inputs = question(loop.url, rows) | {"task_type": "conversation"}
    (row,) = component("teacher_inference").run(inputs | {"turns": "all"}).rows("train")
    assert [turn["content"] for turn in row["messages"]] == ["Hello?", "answer 1", "And then?", "answer 3", "Really?"]
    assert row["response"] == "answer 5"
    assert len(loop.requests) == 3
    (kept,) = component("teacher_inference").run(inputs).rows("train")
    assert [turn["content"] for turn in kept["messages"]] == turns


def test_templates_of_the_user_take_the_place_of_ours_file_by_file(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat("What is 2 plus 3?", system="S")])
    folder = tmp_path / "prompts"
    (folder / "math").mkdir(parents=True)
    template = "{% block system %}Mine: {{ system }}{% endblock %}{% block user %}Q: {{ prompt }}{% endblock %}"
    (folder / "math/direct.jinja2").write_text(template)
    loop = teacher(lambda messages: "5")
    result = component("teacher_inference").run(question(loop.url, rows, prompts=folder))
    assert [turn["content"] for turn in loop.requests[0]["body"]["messages"]] == ["Mine: S", "Q: What is 2 plus 3?"]
    assert result.rows("train")[0]["messages"][-1]["content"] == "What is 2 plus 3?"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("line\n{{ sytem }}", "'sytem' is undefined"),
        ("line\n{% if %}", "direct.jinja2:2:"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_template_that_is_wrong_is_a_configuration_error(component, teacher, tmp_path, template, said):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(3))
    (tmp_path / "prompts/math").mkdir(parents=True)
    (tmp_path / "prompts/math/direct.jinja2").write_text(template)
    loop = teacher(solve)
    result = component("teacher_inference").run(question(loop.url, rows, prompts=tmp_path / "prompts"))
    assert result.returncode == 78, result.stderr
    assert said in result.stderr
    assert not loop.requests


def test_a_strategy_that_the_task_does_not_have_is_refused_with_those_it_has(component, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(1))
    result = component("teacher_inference").run(question("http://x.invalid", rows, strategy="chain_of_density"))
    assert result.returncode == 78
    assert "math has: chain_of_thought, direct" in result.stderr


def test_an_answer_that_cannot_be_used_is_asked_for_again(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(10))
    loop = teacher(solve, reply=None)
    loop.answers = lambda messages: "I do not know" if loop.asked[messages[-1]["content"]] < 3 else solve(messages)
    result = component("teacher_inference").run(question(loop.url, rows, max_reasks=2))
    assert [row["response"] for row in result.rows("train")] == [row["reference"] for row in sums(10)]
    assert len(loop.requests) == 30


def test_the_messages_api_is_spoken_too(component, teacher, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [chat("What is 2 plus 3?", system="S")])
    loop = teacher(lambda messages: "5")
    inputs = question(loop.url, rows, api="messages", teacher_key="env:K", stop='["\\n"]')
    result = component("teacher_inference").run(inputs, env={"K": "canary-1"})
    assert result.rows("train")[0]["response"] == "5", result.stderr
    (request,) = loop.requests
    assert request["path"] == "/v1/messages"
    assert request["headers"]["x-api-key"] == "canary-1"
    assert request["body"]["system"] == "S"
    assert request["body"]["stop_sequences"] == ["\n"]
    assert [turn["role"] for turn in request["body"]["messages"]] == ["user"]


def test_a_bad_row_is_named_with_its_line(component, teacher, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(sums(1)[0]) + '\n{"messages": [{"role": "user", "con\n')
    result = component("teacher_inference").run(question(teacher(solve).url, rows))
    assert result.returncode == 65
    assert re.search(r"rows\.jsonl:2: .*truncated_json", result.stderr)


def test_an_empty_file_and_a_missing_one_are_told_apart(component, tmp_path):
    empty = tmp_path / "rows.jsonl"
    empty.touch()
    assert component("teacher_inference").run(question("http://127.0.0.1:9", empty)).returncode == 65
    missing = component("teacher_inference").run(question("http://127.0.0.1:9", tmp_path / "none.jsonl"))
    assert missing.returncode == 66
    assert "none.jsonl" in missing.stderr
