"""Canceling a run: asked for once or twice, before and after it has ended."""

from __future__ import annotations

from pathlib import Path

from following_helpers import Cloud, briefly

from azdistill.cloud.jobs.follow import follow


def test_a_run_is_canceled_and_ends_so(cloud: Cloud, tmp_path: Path) -> None:
    name = cloud.submit(first="wait", word=str(tmp_path / "never"))
    shown = cloud.run("cancel")
    assert (shown.code, shown.out) == (0, f"run {name}: canceling\n")
    assert cloud.run("cancel", name).code == 0
    assert follow(cloud.connection, name, sleep=briefly).status == "Canceled"
    after = cloud.run("status", name)
    assert after.code == 130
    assert f"hint: azdistill resume {name}" in after.err
    assert cloud.run("cancel", name).out == f"run {name}: canceled already\n"


def test_waiting_for_the_end(cloud: Cloud, tmp_path: Path) -> None:
    name = cloud.submit(first="wait", word=str(tmp_path / "never2"))
    shown = cloud.run("cancel", "--wait")
    assert shown.code == 0
    assert shown.out.endswith(f"run {name}: canceled\n")


def test_one_that_has_ended_is_left_alone(cloud: Cloud) -> None:
    name = cloud.finished().name
    shown = cloud.run("cancel", name)
    assert (shown.code, shown.out) == (0, f"run {name}: completed already\n")


def test_one_that_ends_meanwhile_is_no_error(cloud: Cloud) -> None:
    name = cloud.finished().name
    job = cloud.workspace.store["jobs"][name]
    fault = cloud.workspace.fail("POST {ws}/jobs/{name}/cancel", status=400, times=1)
    real = cloud.connection.rest.call
    from azdistill.cloud.jobs.follow import cancel

    def ends(method: str, path: str, **options: object) -> object:
        try:
            return real(method, path, **options)
        finally:
            job["properties"]["status"] = "Completed"

    cloud.connection.rest.call = ends
    try:
        job["properties"]["status"] = "Running"
        assert cancel(cloud.connection, name) == "Completed"
    finally:
        cloud.connection.rest.call = real
    assert fault.hits == 1


def test_nobody_is_canceled_by_a_wrong_name(cloud: Cloud) -> None:
    shown = cloud.run("cancel", "no-such-run")
    assert shown.code == 2
    assert "error[AZD430]" in shown.err


def test_who_may_not_cancel_is_told(cloud: Cloud, tmp_path: Path) -> None:
    name = cloud.submit(first="wait", word=str(tmp_path / "never3"))
    cloud.workspace.fail("POST {ws}/jobs/{name}/cancel", status=403, times=1)
    shown = cloud.run("cancel", name)
    assert (shown.code, "error[AZD403]" in shown.err) == (4, True)
    assert cloud.run("cancel", name).code == 0
