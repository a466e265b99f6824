"""Logs of a run: merged, only the new part, harmless, without secrets; of a failed run the reason first."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from following_helpers import CANARY, Cloud

from azdistill import redact
from azdistill.cloud.jobs.follow import get_job
from azdistill.cloud.jobs.logs import LogTail, chosen
from azdistill.cloud.jobs.run_history import History

LOG = "GET /blob/*std_log.txt"


def test_lines_of_all_steps_stand_behind_their_names(cloud: Cloud) -> None:
    name = cloud.finished(word="lines").name
    shown = cloud.run("logs", "--run", name)
    assert shown.code == 0
    assert "first | says lines" in shown.out
    assert "second | says lines" in shown.out
    assert cloud.run("logs", name).out == shown.out


def test_one_step_of_them(cloud: Cloud) -> None:
    cloud.finished(word="one-step")
    shown = cloud.run("logs", "second")
    assert "second | says one-step" in shown.out
    assert "first |" not in shown.out
    unknown = cloud.run("logs", "secnd")
    assert (unknown.code, "did you mean 'second'?" in unknown.err) == (2, True)


def test_the_reason_stands_first(cloud: Cloud) -> None:
    cloud.finished(second="fail", word="why")
    shown = cloud.run("logs")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[:2] == ["step 'second' failed:", "  error[bad_data]: row 3 of rows.jsonl is no row"]
    assert "first | says why" in lines
    assert cloud.run("logs", "-f").code == 2


def test_a_growing_log_is_read_from_where_it_was(cloud: Cloud, tmp_path: Path) -> None:
    name = cloud.submit(first="wait", word=str(tmp_path / "go"))
    tail, lines = LogTail(History(cloud.connection)), []
    while ("first", "waiting") not in lines:
        tail.read(get_job(cloud.connection, name), lambda *line: lines.append(line))
    (tmp_path / "go").touch()
    while not (job := get_job(cloud.connection, name)).has_ended:
        tail.read(job, lambda *line: lines.append(line))
    tail.read(job, lambda *line: lines.append(line))
    said = [text for step, text in lines if step == "first"]
    assert said.count("waiting") == 1
    # The last line has no line break.
    assert any(text.startswith("done, at last") for text in said)
    ranges = [
        one.headers.get("x-ms-range") or one.headers.get("range")
        for one in cloud.workspace.requests.find("GET", "std_log.txt")
    ]
    assert any(span and not span.startswith("bytes=0-") for span in ranges)


def test_follow_prints_what_comes_and_ends_with_the_run(cloud: Cloud, tmp_path: Path) -> None:
    cloud.submit(first="wait", second="fail", word=str(tmp_path / "go"))
    threading.Timer(0.5, (tmp_path / "go").touch).start()
    shown = cloud.run("logs", "-f")
    assert shown.code == 2
    assert shown.out.count("first | waiting") == 1
    assert "error[bad_data]" in shown.out
    assert "step 'second' failed:" in shown.err


def test_nothing_reaches_the_terminal_but_text(cloud: Cloud) -> None:
    cloud.finished(first="colour", word="colours")
    shown = cloud.run("logs", "first")
    assert "first | 3%" in shown.out
    assert "\x1b" not in shown.out
    assert "1%" not in shown.out


def test_secrets_are_hidden(cloud: Cloud) -> None:
    cloud.finished(word=CANARY)
    redact.register(CANARY)
    try:
        shown = cloud.run("logs")
    finally:
        redact.forget()
    assert "first | says ***" in shown.out
    assert CANARY not in shown.out


@pytest.mark.parametrize("how", [{"status": 503}, {"status": 404}, {"cut": "body"}])
def test_a_log_that_cannot_be_read_at_first_is_read_later(cloud: Cloud, how: dict[str, object]) -> None:
    cloud.finished(word="-".join(str(value) for value in how.values()))
    fault = cloud.workspace.fail(LOG, times=1, **how)
    shown = cloud.run("logs")
    assert (shown.code, fault.hits) == (0, 1)
    assert shown.out.count("first | says") == shown.out.count("second | says") == 1


def test_before_anything_is_printed_that_is_said(cloud: Cloud) -> None:
    job = cloud.finished(first="fail", word="silent")
    shown = cloud.run("logs", "second", "--run", job.name)
    assert "nothing was printed" in shown.err


@pytest.mark.parametrize(
    ("files", "first", "every"),
    [
        (["user_logs/std_log.txt", "system_logs/x.txt"], ["user_logs/std_log.txt"], ["user_logs/std_log.txt"]),
        (
            ["user_logs/std_log_process_0.txt", "user_logs/std_log_process_1.txt"],
            ["user_logs/std_log_process_0.txt"],
            ["user_logs/std_log_process_0.txt", "user_logs/std_log_process_1.txt"],
        ),
        (["logs/user/stdout/0/p.txt", "logs/sys/a.txt"], ["logs/user/stdout/0/p.txt"], ["logs/user/stdout/0/p.txt"]),
        (["azureml-logs/70_driver_log.txt", "azureml-logs/55_a.txt"], ["azureml-logs/70_driver_log.txt"], None),
        (["system_logs/x.txt"], [], []),
    ],
)
def test_which_logs_hold_what_a_command_printed(files: list[str], first: list[str], every: list[str] | None) -> None:
    urls = {name: f"https://{name}" for name in files}
    assert list(chosen(urls)) == first
    assert list(chosen(urls, every=True)) == (first if every is None else every)
