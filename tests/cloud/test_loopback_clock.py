"""Schedules fire on the workspace's clock, when and with what the service documents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from loopback import ArmError, Workspace
from loopback.execution.firing import check, firings
from loopback_pipelines import IMAGE, completed, ready, write

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BERLIN = {"timeZone": "W. Europe Standard Time"}


def cron(expression: str, **more: Any) -> dict[str, Any]:
    return {"triggerType": "Cron", "expression": expression, **more}


def every(frequency: str, interval: int = 1, schedule: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    pattern = {"hours": [], "minutes": [], **(schedule or {})}
    return {
        "triggerType": "Recurrence", "frequency": frequency, "interval": interval, "schedule": pattern, **more
    }  # fmt: skip


def first(trigger: dict[str, Any], count: int = 3, created: datetime = NOON) -> list[str]:
    return [f"{time:%m-%dT%H:%M}" for time in islice(firings(trigger, created), count)]


@pytest.mark.parametrize(
    ("trigger", "times"),
    [
        (cron("30 4 * * *", startTime="2026-01-01 00:00:00"), ["03-02T04:30", "03-03T04:30", "03-04T04:30"]),
        # Days and months are ignored: this monthly expression fires every day.
        (cron("30 4 1 6 *", startTime="2026-01-01T00:00:00"), ["03-02T04:30", "03-03T04:30", "03-04T04:30"]),
        (cron("0 9 * * 1", startTime="2026-01-01T00:00:00"), ["03-02T09:00", "03-09T09:00", "03-16T09:00"]),
        # Local times: an hour earlier in UTC, and two after the last Sunday of March.
        (cron("0 9 * * *", startTime="2026-03-28T00:00:00", **BERLIN), ["03-28T08:00", "03-29T07:00", "03-30T07:00"]),
        # Without a start it fires as it is made.
        (cron("30 4 * * *"), ["03-01T12:00", "03-02T04:30", "03-03T04:30"]),
        (every("hour", 6), ["03-01T12:00", "03-01T18:00", "03-02T00:00"]),
        # A start in the past gives the pattern, no firing of its own.
        (every("day", 2, startTime="2026-02-27T08:00:00"), ["03-03T08:00", "03-05T08:00", "03-07T08:00"]),
        (every("hour", 5, startTime="2026-03-01T20:00:00"), ["03-01T20:00", "03-02T01:00", "03-02T06:00"]),
        (
            every("day", 1, {"hours": [6, 18], "minutes": [0]}, startTime="2026-03-01T00:00:00"),
            ["03-01T18:00", "03-02T06:00", "03-02T18:00"],
        ),
        (
            every("week", 2, {"hours": [10], "minutes": [15], "weekDays": ["Tuesday", "friday"]},
                  startTime="2026-03-02T00:00:00"),
            ["03-03T10:15", "03-06T10:15", "03-17T10:15"],
        ),
        # Months without the day are passed over.
        (
            every("month", 1, {"hours": [0], "minutes": [0], "monthDays": [31]}, startTime="2026-03-01T00:00:00"),
            ["03-31T00:00", "05-31T00:00", "07-31T00:00"],
        ),
        (every("hour", 1, endTime="2026-03-01T13:30:00"), ["03-01T12:00", "03-01T13:00"]),
    ],
)  # fmt: skip
def test_when_a_trigger_fires(trigger: dict[str, Any], times: list[str]) -> None:
    assert first(trigger) == times


@pytest.mark.parametrize(
    "trigger",
    [
        cron("61 * * * *"),
        cron("often"),
        cron("0 0 * *"),
        cron("0 0 * * *", timeZone="Middle Earth"),
        every("fortnight"),
        every("day", 0),
    ],
)
def test_a_trigger_that_the_service_refuses(trigger: dict[str, Any]) -> None:
    with pytest.raises(ArmError):
        check(trigger)


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(tmp_path / "workspace", clock=NOON) as workspace:
        yield workspace
        assert workspace.errors == []


@pytest.fixture
def client(ws: Workspace) -> Any:
    return ready(ws)


def schedule(folder: Path, **trigger: Any) -> Any:
    """A schedule named nightly of a step that copies the newest file of a folder, and the time it was told."""
    from azure.ai.ml import load_job
    from azure.ai.ml.entities import CronTrigger, JobSchedule

    text = f"""
        type: pipeline
        experiment_name: nightly
        settings: {{default_compute: azureml:cpu}}
        inputs:
          time: ${{{{creation_context.trigger_time}}}}
          job: ${{{{name}}}}
          inbox: {{type: uri_folder, path: azureml://datastores/workspaceblobstore/paths/inbox}}
        outputs:
          copy: {{type: uri_file}}
          kept: {{type: uri_folder, path: "azureml://datastores/workspaceblobstore/paths/kept/${{{{name}}}}"}}
        jobs:
          take:
            type: command
            command: >-
              cat ${{{{inputs.inbox}}}}/$(ls ${{{{inputs.inbox}}}} | tail -n 1) > ${{{{outputs.copy}}}} &&
              echo ${{{{inputs.time}}}} ${{{{inputs.job}}}} > ${{{{outputs.kept}}}}/time
            {IMAGE}
            inputs:
              inbox: ${{{{parent.inputs.inbox}}}}
              time: ${{{{parent.inputs.time}}}}
              job: ${{{{parent.inputs.job}}}}
            outputs: {{copy: "${{{{parent.outputs.copy}}}}", kept: "${{{{parent.outputs.kept}}}}"}}
    """
    job = load_job(write(folder, "nightly.yml", text))
    trigger = {"expression": "0 4 * * *", "start_time": "2026-03-01T00:00:00", **trigger}
    return JobSchedule(name="nightly", trigger=CronTrigger(**trigger), create_job=job)


def arrive(ws: Workspace, name: str, content: str) -> None:
    path = ws.blobs.path("azureml-blobstore", f"inbox/{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_a_schedule_fires_and_each_job_sees_the_data_of_its_day(ws: Workspace, client: Any, tmp_path: Path) -> None:
    client.schedules.begin_create_or_update(schedule(tmp_path)).result()
    assert ws.schedules.fired == []
    copies = []
    for day in ("monday", "tuesday"):
        arrive(ws, f"{len(copies)}.txt", day)
        (name,) = ws.clock.advance(days=1)
        copies.append(ws.jobs.places.path(completed(ws, name).outputs["copy"].uri).read_text())
        assert (
            "azureml://datastores/workspaceblobstore/paths/kept/" + name in ws.jobs.runs.get(name).outputs["kept"].uri
        )
        kept = ws.jobs.places.path(ws.jobs.runs.get(name).outputs["kept"].uri) / "time"
        assert kept.read_text() == f"2026-03-0{len(copies) + 1}T04:00:00Z {name}\n"
    assert copies == ["monday", "tuesday"]
    assert ws.clock.now == datetime(2026, 3, 3, 12, tzinfo=UTC)


def test_a_scheduled_job_names_its_schedule_and_its_time(ws: Workspace, client: Any, tmp_path: Path) -> None:
    arrive(ws, "a.txt", "a")
    made = client.schedules.begin_create_or_update(schedule(tmp_path)).result()
    names = ws.clock.advance(days=2)
    jobs = list(client.jobs.list())
    assert [job.display_name for job in jobs] == ["nightly-20260303T040000Z", "nightly-20260302T040000Z"]
    assert {job.properties["azureml.scheduleid"] for job in jobs} == {f"{ws.id}/schedules/{made.name}"}
    assert [job.name for job in client.jobs.list(scheduled_job_name="nightly")] == names[::-1]
    for name in names:
        completed(ws, name)


def test_without_a_start_it_fires_as_it_is_made_and_never_as_it_is_changed(
    ws: Workspace, client: Any, tmp_path: Path
) -> None:
    arrive(ws, "a.txt", "a")
    client.schedules.begin_create_or_update(schedule(tmp_path, start_time=None)).result()
    assert [time for _, time, _ in ws.schedules.fired] == [NOON]
    client.schedules.begin_create_or_update(schedule(tmp_path, start_time=None)).result()
    client.schedules.begin_create_or_update(schedule(tmp_path, start_time=None, expression="0 5 * * *")).result()
    assert len(ws.schedules.fired) == 1
    ws.clock.set(datetime(2026, 3, 2, 6, tzinfo=UTC))
    assert [time.hour for _, time, _ in ws.schedules.fired] == [12, 5]
    for _, _, name in ws.schedules.fired:
        completed(ws, name)


def test_a_disabled_schedule_does_not_fire_and_does_not_make_up_for_it(
    ws: Workspace, client: Any, tmp_path: Path
) -> None:
    arrive(ws, "a.txt", "a")
    client.schedules.begin_create_or_update(schedule(tmp_path)).result()
    client.schedules.begin_disable("nightly").result()
    assert ws.clock.advance(days=3) == []
    client.schedules.begin_enable("nightly").result()
    assert ws.schedules.fired == []
    (name,) = ws.clock.advance(days=1)
    completed(ws, name)


def test_a_deleted_schedule_is_gone(ws: Workspace, client: Any, tmp_path: Path) -> None:
    client.schedules.begin_create_or_update(schedule(tmp_path)).result()
    client.schedules.begin_disable("nightly").result()
    client.schedules.begin_delete("nightly").result()
    assert ws.clock.advance(days=3) == []


def test_it_is_triggered_out_of_turn(ws: Workspace, client: Any, tmp_path: Path) -> None:
    arrive(ws, "a.txt", "a")
    client.schedules.begin_create_or_update(schedule(tmp_path)).result()
    result = client.schedules.trigger("nightly", schedule_time="2026-03-01T15:30:00+00:00")
    assert client.jobs.get(result.job_name).display_name == "nightly-20260301T153000Z"
    completed(ws, result.job_name)


def test_time_does_not_run_back(ws: Workspace) -> None:
    with pytest.raises(ValueError, match="does not run back"):
        ws.clock.advance(hours=-1)
