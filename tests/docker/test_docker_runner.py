"""The runner of containers: exit codes, every line, signals, isolation, and nothing left behind."""

import contextlib
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from azdistill.errors import MachineError
from azdistill.local.runners.base import Cancellation, Ended, Job
from azdistill.local.runners.docker.engine import LABEL, Engine, gateway, sweep_orphans
from azdistill.local.runners.docker.limits import Limits
from azdistill.local.runners.docker.runner import Container, DockerRunner
from azdistill.local.store.runs import own_mark

Run = Callable[..., tuple[Ended, str]]
RUN_ID = f"test-{os.getpid()}"


@pytest.fixture
def container(image: str) -> dict[str, object]:
    """What the containers of a test are made of; a test may change it."""
    return {"image": image}


@pytest.fixture
def runner(engine: Engine, container: dict[str, object]) -> Iterator[DockerRunner]:
    made = DockerRunner(engine, RUN_ID, lambda job: Container(**container))  # type: ignore[arg-type]
    yield made
    made.close()
    assert engine.api.containers(all=True, filters={"label": [f"{LABEL}={RUN_ID}"]}) == []


@pytest.fixture
def run(runner: DockerRunner, tmp_path: Path) -> Run:
    def start(
        command: str, timeout: float | None = None, cancellation: Cancellation | None = None, **variables: str
    ) -> tuple[Ended, str]:
        printed: list[bytes] = []
        job = Job("a.1", command, tmp_path, variables, timeout)
        ended = runner.run(job, printed.append, cancellation or Cancellation())
        return ended, b"".join(printed).decode()

    return start


@pytest.mark.parametrize("code", [0, 1, 3, 65, 137, 255])
def test_the_exit_code_is_the_commands(run: Run, code: int) -> None:
    ended, printed = run(f"exit {code}")
    assert (ended.returncode, printed) == (code, "")


def test_a_command_that_a_signal_ended_has_128_and_its_number(run: Run) -> None:
    ended, _ = run("kill -9 $$")
    assert ended.returncode == 137


def test_both_streams_arrive_in_the_order_they_were_written(run: Run) -> None:
    _, printed = run("for i in 1 2 3; do echo out $i; echo err $i >&2; done")
    assert printed.split() == ["out", "1", "err", "1", "out", "2", "err", "2", "out", "3", "err", "3"]


def test_a_command_is_one_argument_whatever_is_in_it(run: Run) -> None:
    _, printed = run("""printf '%s|' 'a  b' "$(echo "x'y")" '$HOME' "ü" """)
    assert printed == "a  b|x'y|$HOME|ü|"


def test_stdin_is_empty(run: Run) -> None:
    ended, printed = run("cat; echo done")
    assert (ended.returncode, printed) == (0, "done\n")


def test_variables_arrive(run: Run) -> None:
    assert run('echo "$MINE|$OTHER"', MINE="a b", OTHER="ü'")[1] == "a b|ü'\n"


def asked_when_ready(runner: DockerRunner, folder: Path, child: str, parent: str) -> tuple[Ended, list[str]]:
    """Run ``parent`` in front of ``child``, and ask both to end as soon as both are ready for it."""
    cancellation, printed = Cancellation(), b""

    def output(data: bytes) -> None:
        nonlocal printed
        printed += data
        if b"ready" in printed and cancellation.deadline is None:
            cancellation.ask()

    ready = "until [ -e there ]; do sleep 0.05; done; echo ready; wait; wait"
    ended = runner.run(Job("a.1", f"({child}) & {parent}; {ready}", folder, {}, None), output, cancellation)
    return ended, printed.decode().splitlines()


def test_all_of_a_command_is_asked_to_end_and_has_its_grace(runner: DockerRunner, tmp_path: Path) -> None:
    child = "trap 'sleep 1; echo child; exit' TERM; touch there; sleep 60 & wait"
    ended, lines = asked_when_ready(runner, tmp_path, child, "trap 'echo parent; exit 5' TERM")
    assert (ended.canceled, ended.returncode) == (True, 5)
    assert lines == ["ready", "parent", "child"]


@pytest.mark.slow
def test_what_is_left_of_a_command_has_its_grace_and_no_more(runner: DockerRunner, tmp_path: Path) -> None:
    child = "trap '' TERM; touch there; sleep 60; echo no"
    ended, lines = asked_when_ready(runner, tmp_path, child, "trap 'exit 5' TERM")
    assert (ended.canceled, lines) == (True, ["ready"])
    assert ended.seconds < 40


def test_time_over_ends_a_command(run: Run) -> None:
    ended, _ = run("sleep 60", timeout=1)
    assert (ended.timed_out, ended.canceled) == (True, False)
    assert ended.seconds < 40


def test_what_ignores_the_polite_signal_is_killed_after_its_grace(run: Run) -> None:
    cancellation = Cancellation()
    cancellation.ask()
    cancellation.ask()
    started = time.monotonic()
    ended, _ = run("trap '' TERM; sleep 60", cancellation=cancellation)
    assert ended.canceled
    assert ended.returncode == 137
    assert time.monotonic() - started < 40


def test_a_process_left_in_the_background_ends_with_the_command(run: Run) -> None:
    started = time.monotonic()
    ended, printed = run("sleep 60 & echo over")
    assert (ended.returncode, printed) == (0, "over\n")
    assert time.monotonic() - started < 40


def test_inputs_are_read_only_and_the_attempt_is_writable(
    run: Run, container: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = tmp_path_factory.mktemp("data")
    outputs = tmp_path_factory.mktemp("outputs")
    (data / "rows").write_text("rows\n")
    container |= {"read": (data,), "write": (outputs,)}
    ended, printed = run(f"cat {data}/rows; echo x > {outputs}/made; echo y > here; echo no > {data}/rows")
    assert ended.returncode != 0
    assert "rows\n" in printed
    assert "Read-only file system" in printed
    assert (data / "rows").read_text() == "rows\n"
    assert (outputs / "made").read_text() == "x\n"
    assert (outputs / "made").stat().st_uid == os.getuid()


def test_there_is_no_network_unless_it_is_asked_for(run: Run, container: dict[str, object]) -> None:
    look = "cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '"
    assert run(look)[1].split() == ["lo"]
    container["network"] = "host"
    assert run(look)[1].split() != ["lo"] or len(os.listdir("/sys/class/net")) == 1


def test_capabilities_and_new_privileges_are_gone(run: Run) -> None:
    _, printed = run("grep -E 'CapEff|NoNewPrivs' /proc/self/status")
    assert printed.split() == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1"]


def test_shared_memory_has_the_size_asked_for(run: Run, container: dict[str, object]) -> None:
    container["limits"] = Limits(shm_size="96m")
    assert run("df -m /dev/shm | tail -1 | awk '{print $2}'")[1].strip() == "96"


def test_an_image_that_is_not_there_is_an_error_of_this_machine(run: Run, container: dict[str, object]) -> None:
    container["image"] = "azdistill-no-such-image:1"
    with pytest.raises(MachineError, match="azdistill-no-such-image"):
        run("true")


_VICTIM = """
import sys
from pathlib import Path
from azdistill.local.runners.docker.engine import connect
from azdistill.local.runners.base import Cancellation, Job
from azdistill.local.runners.docker.runner import Container, DockerRunner

runner = DockerRunner(connect(), sys.argv[1], lambda job: Container(sys.argv[2]))
job = Job("a.1", "echo started; sleep 300", Path(sys.argv[3]), {})
runner.run(job, lambda text: print(text, flush=True), Cancellation())
"""


def containers(engine: Engine, run_id: str) -> list[str]:
    return [entry["Id"] for entry in engine.api.containers(all=True, filters={"label": [f"{LABEL}={run_id}"]})]


def victim(run_id: str, image: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(_VICTIM), run_id, image, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_runner_leaves_no_container(engine: Engine, image: str, tmp_path: Path) -> None:
    run_id = f"{RUN_ID}-killed"
    with victim(run_id, image, tmp_path) as child:
        assert child.stdout
        assert "started" in child.stdout.readline()
        assert len(containers(engine, run_id)) == 1
        child.kill()
    until = time.monotonic() + 2
    while containers(engine, run_id) and time.monotonic() < until:
        time.sleep(0.05)
    assert containers(engine, run_id) == []


def test_what_a_runner_and_its_guard_left_is_swept_at_the_next_start(
    engine: Engine, image: str, tmp_path: Path
) -> None:
    config = {"Image": image, "Cmd": ["sleep", "300"], "Labels": {LABEL: "gone", "azdistill.owner": "999999999 1"}}
    identity = engine.api.create_container_from_config(config)["Id"]
    mine = {"Image": image, "Cmd": ["sleep", "300"], "Labels": {LABEL: RUN_ID, "azdistill.owner": own_mark()}}
    kept = engine.api.create_container_from_config(mine)["Id"]
    try:
        assert sweep_orphans(engine) >= 1
        assert containers(engine, "gone") == []
        assert kept in containers(engine, RUN_ID)
    finally:
        for left in (identity, kept):
            with contextlib.suppress(Exception):
                engine.api.remove_container(left, force=True)


def test_this_machine_has_an_address_where_a_network_has_a_gateway(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gateway(engine, "host") is None
    assert gateway(engine, f"no-such-network-{os.getpid()}") is None
    # An engine without rights over the machine's network makes none: this is what one with them answers.
    answer = {"IPAM": {"Driver": "default", "Config": [{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]}}
    monkeypatch.setattr(engine.api, "inspect_network", lambda name: answer)
    assert gateway(engine, "mine") == "172.18.0.1"
