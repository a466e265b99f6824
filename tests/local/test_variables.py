"""What a step sees of the caller's variables is in its key, and what it has for itself is its own."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, statuses, step

from azdistill.local.cache.explain import explain
from azdistill.local.cache.seal import open_seal
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.store.home import Home, find_home
from azdistill.local.store.runs import list_runs

Run = Callable[..., Finished]


def text_of(finished: Finished) -> str:
    """What the step ``a`` wrote."""
    return Path(finished.state.steps["a"].outputs["o"]).read_text().strip()


@pytest.mark.parametrize(
    ("name", "command", "first", "second"),
    [
        ("TZ", "date -d @0 +%H:%M%Z", "UTC", "XYZ-9"),
        ("LC_ALL", "printf 'a\\nB\\n' | sort | head -1; echo $LC_ALL", "C", "C.UTF-8"),
        ("HF_HOME", "echo $HF_HOME", "/a", "/b"),
        ("OMP_NUM_THREADS", "echo $OMP_NUM_THREADS", "1", "2"),
        ("CUDA_VISIBLE_DEVICES", "echo $CUDA_VISIBLE_DEVICES", "0", "1"),
        ("LD_LIBRARY_PATH", "echo $LD_LIBRARY_PATH", "/a", "/b"),
    ],
)
def test_a_variable_that_is_passed_on_is_a_change_that_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, command: str, first: str, second: str
) -> None:
    jobs = {"a": step(f"({command}) > '${{{{outputs.o}}}}'", outputs=("o",))}
    monkeypatch.setenv(name, first)
    before = text_of(run(jobs))
    monkeypatch.setenv(name, second)
    changed = run(jobs)
    assert (statuses(changed), statuses(run(jobs))) == ({"a": "completed"}, {"a": "cached"})
    assert text_of(changed) != before
    why = explain(find_home(), changed.state, "a", list_runs(find_home()))
    assert why.reason == f"variable {name} is not what it was"
    monkeypatch.setenv(name, first)
    assert statuses(run(jobs)) == {"a": "cached"}


def test_the_value_of_a_variable_that_is_asked_for_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {"a": step("echo $MODE > '${{outputs.o}}'", outputs=("o",))}
    said = []
    for mode in ("fast", "slow", "fast"):
        monkeypatch.setenv("MODE", mode)
        said.append(text_of(run(jobs, options=Options(variables=("MODE",)))))
    assert said == ["fast", "slow", "fast"]


def test_the_value_of_a_variable_that_an_input_names_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    mode = {"mode": "env:MODE"}
    jobs = {"a": step("test '${{inputs.mode}}'; echo $MODE > '${{outputs.o}}'", outputs=("o",), inputs=mode)}
    said = []
    for value in ("fast-mode", "slow-mode", "fast-mode"):
        monkeypatch.setenv("MODE", value)
        said.append(text_of(run(jobs)))
    assert said == ["fast-mode", "slow-mode", "fast-mode"]


def test_of_a_secret_only_the_name_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {"a": step("echo ${TEACHER_API_KEY:+a key} > '${{outputs.o}}'", outputs=("o",))}
    asked_for = Options(variables=("TEACHER_API_KEY",))
    monkeypatch.setenv("TEACHER_API_KEY", "the-first-secret")
    assert [text_of(run(jobs)), text_of(run(jobs, options=asked_for))] == ["", "a key"]
    monkeypatch.setenv("TEACHER_API_KEY", "another-secret")
    assert statuses(run(jobs, options=asked_for)) == {"a": "cached"}


def test_what_the_step_sets_itself_hides_the_callers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {"a": step("date > '${{outputs.o}}'", outputs=("o",), environment_variables={"TZ": "UTC"})}
    for zone in ("UTC", "XYZ-9"):
        monkeypatch.setenv("TZ", zone)
        finished = run(jobs)
    assert statuses(finished) == {"a": "cached"}


def test_no_value_of_a_variable_is_kept(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODE", "a-word-that-is-nowhere")
    monkeypatch.setenv("TZ", "Some/Where")
    run({"a": step("true")}, options=Options(variables=("MODE",)))
    kept = b"".join(path.read_bytes() for path in (project / ".azdistill").rglob("*") if path.is_file())
    assert b"MODE" in kept
    assert b"a-word-that-is-nowhere" not in kept
    assert b"Some/Where" not in kept


def test_home_temporary_folder_and_user_are_the_steps_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOME": "/nobody", "TMPDIR": "/nowhere", "USER": "somebody", "LOGNAME": "somebody"}.items():
        monkeypatch.setenv(name, value)
    tell = "cd; pwd; ls -A; touch ~/left; cd $TMPDIR; pwd; ls -A; mktemp; echo $USER $LOGNAME"
    jobs = {"a": step(tell), "b": step(f"true; {tell}")}
    finished = run(jobs, options=Options(jobs=1))
    places = [log_of(finished, name).splitlines() for name in jobs]
    assert all(len(lines) == 4 and lines[3] == "azdistill azdistill" for lines in places)
    assert places[0][:2] != places[1][:2]
    # Nothing of it is kept when the command has ended.
    assert not any(Path(line).exists() for lines in places for line in lines[:3])


def test_a_socket_fits_into_the_temporary_folder(run: Run) -> None:
    listen = "import socket, tempfile as t; socket.socket(socket.AF_UNIX).bind(t.mkdtemp() + '/listener-12345678')"
    assert statuses(run({"a": step(f'python -c "{listen}"')})) == {"a": "completed"}


def test_models_logins_and_packages_of_the_user_are_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "AZURE_CONFIG_DIR", "PYTHONUSERBASE", "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    tell = {"a": step("echo $HF_HOME $TORCH_HOME $AZURE_CONFIG_DIR $PYTHONUSERBASE")}
    home = os.path.expanduser("~")
    assert log_of(run(tell), "a").split() == [
        *(f"{home}/.cache/huggingface", f"{home}/.cache/torch", f"{home}/.azure", f"{home}/.local")
    ]
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.setenv("PYTHONUSERBASE", "/packages")
    assert log_of(run(tell), "a").split() == ["/models", f"{home}/.cache/torch", f"{home}/.azure", "/packages"]


def test_the_seal_is_made_once_however_many_want_it(project: Path) -> None:
    home = Home(project / ".azdistill").prepare()
    barrier, found = threading.Barrier(8), list[bytes]()

    def look() -> None:
        barrier.wait()
        found.append(open_seal(home).secret)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert home.seal.read_bytes() == found[0]
    assert stat.S_IMODE(home.seal.stat().st_mode) == 0o600


def test_half_a_seal_is_made_anew_and_a_look_makes_none(project: Path) -> None:
    looking: Any = Home(project / ".azdistill", looking=True)
    assert len(open_seal(looking).secret) == 32
    assert not looking.seal.exists()
    home = Home(project / ".azdistill").prepare()
    home.seal.write_bytes(b"half")
    assert open_seal(home).secret == open_seal(home).secret == home.seal.read_bytes()
