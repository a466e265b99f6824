"""What a run may read is not replaced under its hands by what another run wrote in the same place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from local_helpers import statuses, step

from azdistill.local.cache.entries import Cache, Entry, Leases, unleased
from azdistill.local.outputs.manifest import record
from azdistill.local.pipeline_run import Finished
from azdistill.local.run.listener import Listener
from azdistill.local.store.events import Event, RunState
from azdistill.local.store.home import Home

KEY = "cd" * 32


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").prepare()


def commit(cache: Cache, tmp_path: Path, text: str) -> Entry | None:
    """What a step comes to that writes ``text`` to its output and to its place."""
    made, place = tmp_path / f"made of {text}", tmp_path / "place"
    made.mkdir()
    (made / "o").write_text(text)
    place.write_text(text)
    return cache.commit(KEY, record({"o": made / "o"}, {"kept": place}), made, tmp_path / "none", {})


def test_what_another_run_may_read_is_not_replaced(home: Home, tmp_path: Path) -> None:
    first, second = Cache(home), Cache(home)
    entry = commit(first, tmp_path, "one")
    assert entry
    assert commit(second, tmp_path, "two") is None
    assert (entry.outputs["o"].read_text(), (tmp_path / "made of two" / "o").read_text()) == ("one", "two")
    # Nor is it used again: the place holds something else now.
    assert second.find(KEY, {"kept": tmp_path / "place"}) is None
    first.close()
    third = commit(second, tmp_path, "three")
    assert third
    assert third.outputs["o"].read_text() == "three"
    assert list((home.cache / "tmp").iterdir()) == []
    second.close()


def test_what_a_run_has_found_is_not_replaced(home: Home, tmp_path: Path) -> None:
    first, second = Cache(home), Cache(home)
    assert commit(first, tmp_path, "one")
    assert second.find(KEY, {"kept": tmp_path / "place"})
    assert second.find(KEY, {"kept": tmp_path / "place"})
    first.close()
    assert commit(first, tmp_path, "two") is None
    second.close()
    assert commit(first, tmp_path, "three")
    first.close()


def test_a_lease_is_of_what_lies_there(tmp_path: Path) -> None:
    folder, leases = tmp_path / "entry", Leases()
    assert not leases.take(folder)
    folder.mkdir()
    assert leases.take(folder)
    folder.rename(tmp_path / "aside")
    folder.mkdir()
    with unleased(folder) as free, unleased(tmp_path / "aside") as other:
        assert (free, other) == (True, False)
    leases.close()


def test_a_lease_waits_for_who_acts_upon_the_entry(tmp_path: Path) -> None:
    folder, leases = tmp_path / "entry", Leases()
    folder.mkdir()
    taker = Thread(target=leases.take, args=[folder])
    with unleased(folder):
        taker.start()
        taker.join(0.1)
        assert taker.is_alive()
    taker.join()
    with unleased(folder) as free:
        assert not free
    leases.close()


def test_two_runs_that_fill_one_place_do_not_spoil_each_other(run: Callable[..., Finished], project: Path) -> None:
    place = {"type": "uri_folder", "path": "azureml://datastores/d/paths/kept"}
    made = step("date +%N | tee ${{outputs.kept}}/stamp > ${{outputs.o}}", outputs=("o",))
    made["outputs"]["kept"] = place
    waiting = f"until [ -e '{project}/go' ]; do sleep 0.01; done; cat ${{{{inputs.o}}}} > ${{{{outputs.r}}}}"
    used = step(waiting, outputs=("r",), inputs={"o": "${{parent.jobs.a.outputs.o}}"})
    jobs: dict[str, Any] = {"a": made, "b": used}
    others: list[Finished] = []

    class Another(Listener):
        def hear(self, event: Event, _: RunState) -> None:
            if event.kind == "step_started" and event.step == "b":
                (project / ".azdistill/datastores/d/kept/stamp").write_text("another's")
                try:
                    others.append(run({"a": made}))
                finally:
                    (project / "go").touch()

    first = run(jobs, listeners=[Another()])
    assert statuses(first) == {"a": "completed", "b": "completed"}
    assert statuses(others[0]) == {"a": "completed"}
    assert (
        Path(others[0].state.steps["a"].outputs["o"]).read_text()
        != Path(first.state.steps["a"].outputs["o"]).read_text()
    )
    assert statuses(run({"a": made})) == {"a": "completed"}
    assert statuses(run({"a": made})) == {"a": "cached"}
