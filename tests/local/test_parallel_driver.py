"""The driver of a parallel step by itself: what it does when the machine gives out, and with what workers answer."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from azdistill.local.in_step import parallel_driver
from azdistill.local.in_step.parallel_driver import Driver, Stop, Worker

SETTINGS: dict[str, Any] = {
    **{"input": "data", "kind": "uri_folder", "mini_batch_size": 1, "in_bytes": False, "partition_keys": []},
    **{"entry_script": "entry.py", "append_row_to": "rows", "journal": "journal", "workers": 4},
    **{"max_retries": 0, "timeout": 20, "error_threshold": 0, "mini_batch_error_threshold": -1},
    **{"few_results_fail": True, "allowed_failed_percent": 100.0, "append_row_file_name": "rows.txt"},
}
#: The second mini-batch is answered when another worker could have been started.
SCRIPT = "import time\ndef init(): pass\ndef run(batch):\n    time.sleep(0.2)\n    return batch\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a step, with four files to work on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "journal").mkdir()
    (tmp_path / "entry.py").write_text(SCRIPT)
    for number in range(4):
        (tmp_path / "data" / str(number)).touch()
    return tmp_path


class Answering:
    """A worker that gives back what it is asked for."""

    process = SimpleNamespace(kill=lambda: None)

    def ask(self, request: dict[str, Any], timeout: float | None) -> dict[str, Any]:
        if "split" in request:
            return {"batches": [{"files": [str(n)], "count": 1} for n in range(4)]}
        return {"count": 1, "lines": request["run"]["files"]}

    def end(self) -> int:
        return 0

    finish = end


def test_a_worker_that_cannot_be_started_fails_the_step(folder: Path) -> None:
    command = f"ulimit -n 11; exec {sys.executable} {parallel_driver.__file__}"
    variables = {**os.environ, "AZDISTILL_PARALLEL": json.dumps(SETTINGS)}
    done = subprocess.run(["bash", "-c", command], env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Too many open files" in done.stdout
    assert not (folder / "rows").exists()


def full(*arguments: object, **named: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("of", [lambda driver: (driver.journal, "add"), lambda driver: (driver, "_progress")])
def test_a_disk_that_is_full_fails_the_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch, of: Callable[[Driver], tuple[object, str]]
) -> None:
    driver = Driver(SETTINGS, [])
    monkeypatch.setattr(driver, "_start", lambda number: Answering())
    monkeypatch.setattr(*of(driver), full)
    with pytest.raises(Stop, match="No space left on device"):
        driver.run()


def test_a_mini_batch_that_nobody_has_run_fails_the_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(SETTINGS, [])
    monkeypatch.setattr(driver, "_start", lambda number: Answering())
    monkeypatch.setattr(driver, "_try", lambda number, worker, batch: worker)
    with pytest.raises(Stop, match="4 of 4 mini-batches have not been run"):
        driver.run()


def test_a_long_answer_is_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding each of its pieces to all before takes seconds here."""
    pieces = iter([*([b"x" * 64] * 20_000), b'"\n"next'])
    worker = Worker.__new__(Worker)
    worker._unread, worker._answers = b'"', open(os.devnull, "rb", buffering=0)  # noqa: SIM115 (closed below)
    worker.process = SimpleNamespace(stdin=SimpleNamespace(write=len, flush=lambda: None))  # type: ignore[assignment]
    monkeypatch.setattr(select, "select", lambda *arguments: ([1], [], []))
    monkeypatch.setattr(os, "read", lambda descriptor, size: next(pieces))
    try:
        assert worker.ask({}, None) == "x" * 1_280_000
    finally:
        worker._answers.close()
    assert worker._unread == b'"next'
