"""Following a run: its steps and their states, through whatever the service does meanwhile."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from following_helpers import Cloud, briefly

from azdistill.cloud.jobs import recent
from azdistill.cloud.jobs.follow import FollowListener, Job, JobStep, _patiently, follow, get_job
from azdistill.cloud.jobs.job import exit_code_in, job_from, message_of, moment, producer, step_from
from azdistill.errors import AzdistillError, ServiceError

HISTORY = "GET {history}/runs/{run}/details"
QUICKLY = {"x-ms-retry-after-ms": "1"}


class Told(FollowListener):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []

    def started(self, job: Job) -> None:
        self.said.append(("started", job.name))

    def step_changed(self, step: JobStep) -> None:
        self.said.append(("step", step.name, step.status))

    def line(self, step: str, text: str) -> None:
        self.said.append(("line", step, text))

    def trouble(self, text: str) -> None:
        self.said.append(("trouble", text))

    def ended(self, job: Job) -> None:
        self.said.append(("ended", job.status))


def test_a_run_is_followed_to_its_end_with_its_steps_and_lines(cloud: Cloud) -> None:
    told = Told()
    job = follow(cloud.connection, cloud.submit(word="one"), told, sleep=briefly)
    assert job.status == "Completed"
    assert list(job.steps) == ["first", "second"]
    assert told.said[0] == ("started", job.name)
    assert told.said[-1] == ("ended", "Completed")
    assert ("line", "second", "says one") in told.said
    assert ("step", "first", "Completed") in told.said
    assert [said for said in told.said if said == ("line", "first", "says one")] == [("line", "first", "says one")]
    assert job.steps["first"].compute == "serverless"
    assert (job.seconds or 0) >= 0


def test_a_second_run_of_the_same_reuses_and_says_of_which(cloud: Cloud) -> None:
    first = cloud.finished(word="again")
    second = cloud.finished(word="again")
    assert second.steps["first"].reused
    assert second.steps["first"].reused_from == first.steps["first"].run_id
    shown = cloud.run("status", second.name)
    assert (shown.code, shown.out.count("reused")) == (0, 2)
    assert first.steps["first"].run_id in shown.out


def test_status_waits_and_ends_as_the_failed_step_says(cloud: Cloud) -> None:
    name = cloud.submit(second="fail", word="bad")
    shown = cloud.run("status", "--wait")
    assert shown.code == 2
    assert "second: failed" in shown.out
    assert f"run {name}: failed" in shown.out
    assert "error[AZD433]: step 'second'" in shown.err
    assert "  error[bad_data]: row 3 of rows.jsonl is no row" in shown.err


def test_a_step_that_raises_ends_with_1_and_its_last_line(cloud: Cloud) -> None:
    cloud.submit(second="raise", word="oh")
    shown = cloud.run("status", "--wait")
    assert shown.code == 1
    assert "  ValueError: boom" in shown.err
    assert "most recent call last" not in shown.err


def test_what_never_ran_was_skipped(cloud: Cloud) -> None:
    job = cloud.finished(first="fail", word="skip")
    shown = cloud.run("status", job.name)
    assert "second  skipped" in shown.out
    assert job.failed_step is not None
    assert job.failed_step.name == "first"


def test_status_as_json(cloud: Cloud) -> None:
    job = cloud.finished()
    shown = json.loads(cloud.run("status", job.name, "--json").out)
    assert shown["status"] == "Completed"
    assert shown["exit_code"] == 0
    assert shown["experiment"] == "small"
    assert list(shown["steps"]) == ["first", "second"]
    assert shown["steps"]["second"]["seconds"] >= 0
    assert shown["studio_url"].startswith("https://ml.azure.com/runs/")


def test_a_name_nobody_knows_is_said_with_the_nearest(cloud: Cloud) -> None:
    name = cloud.submit()
    shown = cloud.run("status", name[:-1] + "x")
    assert shown.code == 2
    assert "error[AZD430]" in shown.err
    assert f"did you mean '{name}'?" in shown.err


def test_names_may_be_begun_but_not_for_two_at_once(cloud: Cloud) -> None:
    first = cloud.submit()
    second = cloud.submit()
    assert recent.resolve(cloud.connection, first[: len(first) - len(first.split("-", 2)[2])]) == first
    with pytest.raises(AzdistillError, match="several runs begin") as raised:
        recent.resolve(cloud.connection, "run-")
    assert raised.value.code == "AZD431"
    assert recent.resolve(cloud.connection, None) == second
    assert recent.resolve(cloud.connection, "somebody-else's") == "somebody-else's"


def test_without_a_run_submitted_from_here_one_has_to_be_named(cloud: Cloud) -> None:
    shown = cloud.run("status")
    assert shown.code == 2
    assert "error[AZD432]" in shown.err


def test_runs_of_another_workspace_are_not_meant(cloud: Cloud, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    rows = [{"name": "elsewhere", "workspace": "/subscriptions/other"}, "torn"]
    (tmp_path / "home" / "submitted.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + '\n{"name": "t')
    assert recent.recent(cloud.connection) == []
    recent.remember(cloud.connection, "mine")
    # A torn last line takes the next one with it, and no more.
    recent.remember(cloud.connection, "mine-too")
    assert recent.recent(cloud.connection)[0] == "mine-too"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_waited_for(cloud: Cloud, status: int) -> None:
    name = cloud.submit()
    fault = cloud.workspace.fail(HISTORY, status=status, times=14, headers=QUICKLY)
    job = follow(cloud.connection, name, sleep=briefly)
    # More often than azure-core asks again by itself.
    assert (job.status, fault.hits) == ("Completed", 14)


def test_credentials_that_are_refused_once_are_asked_for_anew(cloud: Cloud) -> None:
    name = cloud.submit()
    fault = cloud.workspace.fail(HISTORY, status=401, times=1)
    assert follow(cloud.connection, name, sleep=briefly).status == "Completed"
    assert fault.hits == 1


def test_credentials_that_stay_refused_end_it(cloud: Cloud) -> None:
    name = cloud.submit()
    cloud.workspace.fail(HISTORY, status=401)
    with pytest.raises(AzdistillError) as raised:
        follow(cloud.connection, name, sleep=briefly)
    assert (raised.value.code, raised.value.exit_code) == ("AZD402", 4)


def test_a_cut_connection_is_made_anew(cloud: Cloud) -> None:
    name = cloud.submit()
    cloud.workspace.fail("GET {history}/runs/{run}/children", cut="body", times=1)
    cloud.workspace.fail("GET {ws}/jobs/{name}", cut="before", times=1)
    assert follow(cloud.connection, name, sleep=briefly).status == "Completed"


def test_a_page_of_children_after_another(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    job = cloud.finished()
    from azdistill.cloud.jobs.run_history import History

    history = History(cloud.connection)
    real = cloud.connection.rest.call
    asked: list[Any] = []

    def small_pages(method: str, path: str, **options: Any) -> Any:
        if path.endswith("/children"):
            asked.append(options["params"])
            options["params"] = {**options["params"], "$top": "1"}
        return real(method, path, **options)

    monkeypatch.setattr(cloud.connection.rest, "call", small_pages)
    assert [run["displayName"] for run in history.children(job.name)] == ["first", "second"]
    assert len(asked) == 2


def test_waiting_ends_when_the_time_given_is_over(cloud: Cloud, tmp_path: Path) -> None:
    name = cloud.submit(first="wait", word=str(tmp_path / "go"))
    with pytest.raises(ServiceError) as raised:
        follow(cloud.connection, name, timeout=0.2, sleep=briefly)
    assert raised.value.code == "AZD443"
    (tmp_path / "go").touch()
    assert follow(cloud.connection, name, sleep=briefly).status == "Completed"


def test_a_silent_service_is_told_and_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("azdistill.cloud.jobs.follow.time.monotonic", lambda: now[0])
    told = Told()

    def wait(seconds: float) -> None:
        now[0] += seconds

    def ask() -> None:
        raise ServiceError("no answer", code="AZD408")

    with pytest.raises(ServiceError) as raised:
        _patiently(ask, told, wait)
    assert raised.value.code == "AZD442"
    assert told.said == [("trouble", "no answer")]
    assert 900 < now[0] < 920


def test_without_a_terminal_an_interrupt_leaves_the_run_alone(cloud: Cloud, tmp_path: Path) -> None:
    name = cloud.submit(first="wait", word=str(tmp_path / "go"))
    real = cloud.connection.rest.call

    def interrupted(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    from azdistill.cli import watch

    cloud.connection.rest.call = interrupted
    try:
        with pytest.raises(AzdistillError) as raised:
            watch.stream(cloud.connection, name)
    finally:
        cloud.connection.rest.call = real
    assert (raised.value.code, raised.value.exit_code) == ("AZD448", 130)
    (tmp_path / "go").touch()
    assert follow(cloud.connection, name, sleep=briefly).status == "Completed"


def test_somebody_at_a_terminal_may_cancel(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from azdistill.cli import watch

    name = cloud.submit(first="wait", word=str(tmp_path / "never"))
    monkeypatch.setattr(watch, "_cancels", lambda _: True)
    seen = threading.Event()

    def once(*arguments: Any, **options: Any) -> Any:
        if not seen.is_set():
            seen.set()
            raise KeyboardInterrupt
        return follow(*arguments, **options, sleep=briefly)

    monkeypatch.setattr(watch, "follow", once)
    job = watch.stream(cloud.connection, name)
    assert job.status == "Canceled"
    error = watch.error_of(job)
    assert error is not None
    assert error.exit_code == 130


# What the services answer, without asking them ------------------------------------------------------------------


def test_steps_stand_in_the_order_of_the_pipeline_whatever_ran_first() -> None:
    arm = {"name": "j", "properties": {"jobs": {"a": {}, "b": {}, "c": {}}, "status": "Running"}}
    steps = {"c": JobStep("c", "3"), "a": JobStep("a", "1"), "b.inner": JobStep("b.inner", "2")}
    job = job_from(arm, {}, steps, "https://studio")
    assert list(job.steps) == ["a", "b", "b.inner", "c"]
    assert (job.steps["b"].status, job.status, job.studio_url) == ("NotStarted", "Running", "https://studio")


def test_a_run_is_known_by_its_node_though_it_is_shown_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from azdistill.cloud.jobs.follow import _names

    assert _names({"a": {"display_name": "Shown so"}, "b": {}}) == {"Shown so": "a", "a": "a", "b": "b"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Execution failed. User process 'python' exited with status code 65. Please check log file", 65),
        ("AzureMLCompute job failed. ExecutionFailed: [REDACTED] exit_codes: 1, exit code: 75", 75),
        ("Detected 403 on the storage", None),
    ],
)
def test_exit_codes_are_read_from_what_the_service_says(text: str, code: int | None) -> None:
    assert exit_code_in(text) == code


def test_times_errors_and_reuse_are_read_from_a_child_run() -> None:
    run = {
        "runId": "r",
        "status": "Failed",
        "startTimeUtc": "2026-01-02T03:04:05.1234567+00:00",
        "endTimeUtc": "2026-01-02T03:05:05.1234567Z",
        "properties": {"azureml.isreused": "True", "azureml.reusedrunid": "earlier"},
        "error": {"error": {"code": "UserError", "message": "", "details": [{"message": "exit code: 66"}]}},
        "compute": {"target": "cpu"},
    }
    step = step_from("s", run)
    assert (step.seconds, step.run_with_results, step.exit_code, step.compute) == (60.0, "earlier", 66, "cpu")
    assert message_of({}) == ""
    assert moment("no time") is None


def test_the_maker_of_an_output_is_found_in_the_body() -> None:
    node = {"outputs": {"made": {"value": "${{parent.outputs.report}}", "type": "literal"}}}
    assert producer({"properties": {"jobs": {"last": node}}}, "report") == ("last", "made")
    assert producer({"properties": {"jobs": {"last": node}}}, "model") is None


def test_a_job_without_a_run_yet_is_shown_as_waiting(cloud: Cloud) -> None:
    name = cloud.submit()
    cloud.workspace.fail("GET {history}/runs/{run}/details", status=404, times=1)
    assert list(get_job(cloud.connection, name).steps) == ["first", "second"]
