"""What a step runs in and what it can reach: environments, files, networks, rights, limits."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from built_images import removed_when_over
from conformance_helpers import Project, Ran, command_step, special
from conformance_table import IGNORED, REFUSED, row
from engine_fixtures import IMAGE

from azdistill.errors import SpecError
from azdistill.local.run.listener import Listener
from azdistill.local.runners.docker.engine import LABEL, Engine
from azdistill.local.store.events import Event, RunState

#: Writes down which rights it has, and what becomes of an attempt to write into each place it is given.
PROBE = """
import json, os, sys
def tried(folder):
    try:
        open(os.path.join(folder, "tried"), "w").close()
        return "written"
    except OSError as error:
        return type(error).__name__ + " " + str(error.errno)
told, *folders = sys.argv[1:]
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
json.dump({
    "user": [os.getuid(), os.getgid()],
    "capabilities": status["CapEff"] + status["CapBnd"],
    "no_new_privileges": status["NoNewPrivs"],
    "tried": {folder: tried(folder) for folder in folders},
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "machine": os.uname().nodename,
}, open(told, "w"))
"""
CONDA = """#!/bin/sh
# Stands in for conda: "conda env create --quiet --prefix FOLDER --file FILE".
mkdir -p "$5/bin" && cp "$7" "$5/conda.yml" && printf '#!/bin/sh\\necho of conda\\n' > "$5/bin/which-environment"
chmod +x "$5/bin/which-environment"
"""
WHICH = "which-environment 2> /dev/null || echo none"


@pytest.fixture(autouse=True)
def removed_images(runner: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test builds is removed after it."""
    if runner != "docker":
        yield
        return
    engine: Engine = request.getfixturevalue("engine")
    with removed_when_over(engine):
        yield


def dockerfile(said: str) -> str:
    return f"FROM {IMAGE}\nCOPY which-environment /usr/local/bin/\nENV SAID='{said}'\n"


@pytest.fixture
def with_image(project: Project) -> Project:
    """A project with a folder that an image can be built from; ``which-environment`` says which it is."""
    script = '#!/bin/sh\necho "$SAID"\n'
    project.write({"image/Dockerfile": dockerfile("of the build"), "image/which-environment": script})
    (project.folder / "image" / "which-environment").chmod(0o755)
    return project


def run_in(project: Project, environment: Any) -> Ran:
    return project.run({"a": {"type": "command", "command": WHICH, "environment": environment}})


def assert_made_or_told(ran: Ran, docker: bool, said: str) -> None:
    assert ran.finished.error is None, ran.finished.error
    if docker:
        assert ran.log() == said
    else:
        assert ran.log() == "none\n"
        assert f"steps run with {sys.executable} (--docker: in their environments)" in ran.told.prepared


STOOD_IN = "processes: the interpreter of azdistill or `--python`"


@row("image", "environment of an image", "environment.image", process=IGNORED, remark=STOOD_IN)
def test_a_step_runs_in_its_image(project: Project) -> None:
    ran = project.one(f"test $(uname -n) = {os.uname().nodename} && echo none || echo of the image")
    assert_made_or_told(ran, project.docker, "of the image\n")


@row("build", "environment of a build context", "environment.build", process=IGNORED, remark=STOOD_IN)
def test_a_step_runs_in_what_its_context_builds(with_image: Project) -> None:
    ran = run_in(with_image, {"build": {"path": "./image"}})
    assert_made_or_told(ran, with_image.docker, "of the build\n")


@row("conda", "environment of a conda file", "environment.conda_file", process=IGNORED, remark=STOOD_IN)
def test_a_step_runs_in_what_conda_makes(project: Project, request: pytest.FixtureRequest) -> None:
    base = f"azdistill-test-conda:{os.getpid()}"
    project.write({"base/Dockerfile": f"FROM {IMAGE}\nCOPY conda /usr/local/bin/\n", "base/conda": CONDA})
    (project.folder / "base" / "conda").chmod(0o755)
    environment = {"image": base, "conda_file": {"name": "e", "dependencies": ["python=3.11"]}}
    if not project.docker:
        assert_made_or_told(run_in(project, environment), False, "")
        return
    engine: Engine = request.getfixturevalue("engine")
    list(engine.api.build(path=str(project.folder / "base"), tag=base, rm=True))
    try:
        assert_made_or_told(run_in(project, environment), True, "of conda\n")
    finally:
        engine.api.remove_image(base, force=True)


CURATED = "azureml://registries/azureml/environments/curated/versions/5"


@row("mapped", "registered and registry environments, mapped in `azdistill.yml`", "environment: azureml:name:1")
def test_an_environment_of_a_workspace_is_mapped(with_image: Project) -> None:
    project = with_image
    project.write(
        {
            "azdistill.yml": {
                "local": {
                    "environments": {"azureml:mine": "./image", CURATED.removesuffix("/versions/5"): IMAGE},
                    "pythons": {"mine": "./bin/python", "curated": "./bin/python"},
                }
            },
            "bin/python": f'#!/bin/sh\nMAPPED=yes exec "{sys.executable}" "$@"\n',
        }
    )
    (project.folder / "bin" / "python").chmod(0o755)
    asks = {"mine": "azureml:mine:3", "curated": CURATED}
    command = f"{WHICH}; python3 -c 0; python -c 'import os; print(os.environ.get(\"MAPPED\"))'"
    if project.docker:
        command = WHICH
    jobs = {name: {"type": "command", "command": command, "environment": asked} for name, asked in asks.items()}
    ran = project.run(jobs)
    assert ran.finished.error is None, ran.finished.error
    logs = {name: ran.log(name) for name in asks}
    processes = dict.fromkeys(asks, "none\nyes\n")
    assert logs == ({"mine": "of the build\n", "curated": "none\n"} if project.docker else processes)


@row("unmapped", "the same without a line there", "environment: azureml:name:1", process=None, docker=REFUSED)
def test_an_environment_that_nothing_is_known_of_is_refused(project: Project) -> None:
    with pytest.raises(SpecError, match="azureml:mine:3"):
        run_in(project, "azureml:mine:3")


@pytest.fixture(scope="module")
def seen(shared_project: Project) -> dict[str, Any]:
    """What the probe found; the pipeline's own folder and the system's are among the places it tried to write."""
    shared_project.write({"code/probe.py": PROBE, "data/one.txt": "1"})
    places = f"${{{{inputs.data}}}} ${{{{outputs.folder}}}} . '{shared_project.folder}' /usr"
    if not shared_project.docker:
        # As a process it could: it is only asked what it is.
        places = "${{outputs.folder}}"
    ran = shared_project.run(
        {
            "a": command_step(
                f"python3 probe.py '${{{{outputs.told}}}}' {places}; : ${{{{inputs.data}}}}",
                {"told": {"type": "uri_file"}, "folder": {"type": "uri_folder"}},
                inputs={"data": {"type": "uri_folder", "path": "./data"}},
                code="./code",
            )
        }
    )
    assert ran.finished.error is None, ran.finished.error
    found: dict[str, Any] = ran.json("a", "told")
    assert (found["machine"] != os.uname().nodename) == shared_project.docker
    return found


@row("user", "the user who runs azdistill, never another", "-")
def test_steps_run_as_the_caller(seen: dict[str, Any]) -> None:
    assert seen["user"] == [os.getuid(), os.getgid()]


@row("capabilities", "no capability of root, no way to gain one", "-", process=None)
def test_containers_have_no_capabilities_and_gain_none(seen: dict[str, Any]) -> None:
    assert set(seen["capabilities"]) == {"0"}
    assert seen["no_new_privileges"] == "1"


#: What somebody would leave who wants to be whoever runs azdistill, and what keeps others from looking into it.
_LEAVE = """
leave() {
    cp /bin/bash "$1/sh"; chmod 6755 "$1/sh"
    mkdir "$1/group" "$1/sticky" "$1/closed"
    echo text | tee "$1/group/one" "$1/sticky/two" > "$1/closed/three"
    chmod 2777 "$1/group"; chmod 1777 "$1/sticky"; chmod 4600 "$1/group/one"; chmod 0 "$1/closed/three" "$1/closed"
    chmod 3777 "$1"
}
"""
_LEFT = ("sh", "group", "group/one", "sticky", "sticky/two", "closed", "closed/three")


class Meanwhile(Listener):
    """Sees the mode of the state folder while steps run."""

    def __init__(self, state: Path) -> None:
        self._state, self.modes = state, set[int]()

    def hear(self, event: Event, run: RunState) -> None:
        if event.kind == "line":
            self.modes.add(stat.S_IMODE(self._state.stat().st_mode))


@pytest.fixture
def narrow_umask(project: Project) -> Iterator[None]:
    """The user's umask lets the group read, and what is made in the project's folder is of its group."""
    project.folder.chmod(0o2775)
    before = os.umask(0o027)
    yield
    os.umask(before)


@row("special-bits", "set-user-ID, set-group-ID and sticky bits of what a step leaves are dropped", "outputs")
def test_nothing_that_a_step_leaves_runs_as_whoever_started_azdistill(project: Project, narrow_umask: None) -> None:
    kept = {"type": "uri_folder", "path": "azureml://datastores/d/paths/p"}
    outputs = {"o": {"type": "uri_folder"}, "artifacts": {"type": "uri_folder"}}
    command = f"{_LEAVE} for place in ${{{{outputs.o}}}} ${{{{outputs.p}}}} outputs .; do leave $place; done; echo left"
    state, meanwhile = project.folder / ".azdistill", Meanwhile(project.folder / ".azdistill")
    ran = project.run(
        {
            "a": command_step(command, {**outputs, "p": kept}),
            "b": command_step(f"{command}; exit 3", {**outputs, "p": {"type": "uri_folder"}}),
        },
        {"keep_going": True},
        [meanwhile],
    )
    assert ran.statuses == {"a": "completed", "b": "failed"}
    assert meanwhile.modes == {0o700}
    assert (stat.S_IMODE(state.stat().st_mode), special(state)) == (0o700, [])
    places = [ran.output("a", "o"), ran.output("a", "p"), ran.output("a", "artifacts") / "outputs"]
    assert [str(place / left) for place in places for left in _LEFT if not (place / left).exists()] == []
    assert {stat.S_IMODE((ran.output("a", "o") / left).stat().st_mode) for left in _LEFT} == {0o555, 0o444}


@row("umask", "outputs that are delivered follow the user's umask, and stay executable", "outputs")
def test_what_is_delivered_is_the_users(project: Project, narrow_umask: None) -> None:
    kinds = {"o": "uri_folder", "f": "uri_file"}
    command = f"{_LEAVE} leave ${{{{outputs.o}}}}; echo text > ${{{{outputs.f}}}}; chmod 4711 ${{{{outputs.f}}}}"
    bound = {name: f"${{{{parent.outputs.{name}}}}}" for name in kinds}
    outputs = {name: {"type": kind} for name, kind in kinds.items()}
    ran = project.run({"a": command_step(command, bound)}, {"out": project.folder / "out"}, outputs=outputs)
    assert ran.statuses == {"a": "completed"}
    out = project.folder / "out"
    modes = {path.relative_to(out).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in (out, *out.rglob("*"))}
    assert {name: mode for name, mode in modes.items() if not name.endswith(".azdistill-output")} == {
        **{".": 0o750, "f": 0o750, "o": 0o750, "o/sh": 0o750, "o/group": 0o750, "o/sticky": 0o750, "o/closed": 0o750},
        **{"o/group/one": 0o640, "o/sticky/two": 0o640, "o/closed/three": 0o640},
    }


@row("only-outputs", "nothing of this machine can be written but the attempt's folders", "outputs", process=None)
def test_only_what_belongs_to_the_attempt_can_be_written(seen: dict[str, Any], shared_project: Project) -> None:
    data, output, snapshot, *_ = seen["tried"].values()
    assert (output, snapshot) == ("written", "written")
    assert data == "OSError 30"
    # The rest of what it sees is the container's own and goes with it.
    assert not any(Path(folder, "tried").exists() for folder in (shared_project.folder, "/usr"))


@row("code-at-start", "code of the moment when the job was started, for every step", "code")
def test_an_edit_while_a_run_goes_on_is_for_the_next_one(project: Project) -> None:
    script = project.folder / "code" / "b.sh"
    project.write({"code/b.sh": "echo V1"})

    class Editor(Listener):
        def hear(self, event: Event, run: RunState) -> None:
            if event.kind == "step_ended" and event.step == "a":
                script.write_text("echo V2")

    made = {"o": {"type": "uri_file"}}
    first = command_step("bash b.sh > ${{outputs.o}}", made, code="./code")
    use = {"made": "${{parent.jobs.a.outputs.o}}"}
    ran = project.run(
        {"a": first, "b": command_step("bash b.sh; cat ${{inputs.made}}", code="./code", inputs=use)},
        listeners=[Editor()],
    )
    assert ran.log("b") == "V1\nV1\n"


@row("read-only", "inputs cannot be changed", "inputs", remark="processes: noticed, and the result is not cached")
def test_a_step_that_writes_into_an_input_fails_or_is_not_cached(project: Project) -> None:
    project.write({"data/one.txt": "1"})
    inputs = {"data": {"type": "uri_folder", "path": "./data"}}
    ran = project.one("echo changed > ${{inputs.data}}/one.txt", inputs=inputs)
    assert ran.statuses == {"a": "failed" if project.docker else "completed"}
    assert ("Read-only" if project.docker else "was changed while this step read it") in ran.log()
    if project.docker:
        assert (project.folder / "data" / "one.txt").read_text() == "1"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"the teacher")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a server that listens on loopback only."""
    with HTTPServer(("127.0.0.1", 0), Answer) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving.server_port
        serving.shutdown()
        thread.join()


def ask(host: str, port: int) -> str:
    code = f"import urllib.request as r; print(r.urlopen('http://{host}:{port}', timeout=60).read().decode())"
    return f'python3 -c "{code}"'


@row("no-network", "no network for a step that does not ask for one", "tags", process=None)
def test_a_step_has_no_network(project: Project, seen: dict[str, Any], server: int) -> None:
    assert seen["interfaces"] == ["lo"]
    assert project.one(ask("127.0.0.1", server)).statuses == {"a": "failed"}


@row("network", "the network, and what listens on this machine's loopback", "tags: {azdistill.network: 'true'}")
def test_a_step_that_asks_reaches_this_machines_loopback(project: Project, server: int) -> None:
    ran = project.one(ask("127.0.0.1", server), tags={"azdistill.network": "true"})
    assert ran.log() == "the teacher\n"


@row("host-name", "the same under Docker's name for this machine", "host.docker.internal", process=None)
def test_dockers_name_for_this_machine_works_too(project: Project, server: int) -> None:
    ran = project.one(ask("host.docker.internal", server), tags={"azdistill.network": "true"})
    assert ran.log() == "the teacher\n"


@row("docker-args", "limits of memory, processes and processors", "resources.docker_args", process=IGNORED)
def test_limits_of_a_step_hold(project: Project, request: pytest.FixtureRequest) -> None:
    resources = {"docker_args": "--memory=64m --pids-limit=50 --cpus 0.5"}
    if not project.docker:
        ran = project.one("true", resources=resources)
        assert any("resources.docker_args is for containers" in note for note in ran.told.notes)
        return
    swapping = "x = bytearray(400 << 20); x[::4096] = b'1' * len(x[::4096])"
    forks = "for i in $(seq 100); do sleep 60 & done; wait"
    jobs = {
        "memory": command_step(f'python3 -c "{swapping}"', resources=resources),
        "pids": command_step(f"{{ {forks}; }} 2>&1 | head -1; exit 3", resources=resources, limits={"timeout": 60}),
    }
    ran = project.run({"memory": jobs["memory"]})
    assert ran.exit_code("memory") == 137
    assert "met its memory limit" in ran.log("memory")
    assert not ran.told.notes
    ran = project.run({"pids": jobs["pids"]})
    assert "Resource temporarily unavailable" in ran.log("pids")


@row("limits", "the same for all steps", "local.docker.{memory,pids} of azdistill.yml", process=None)
def test_limits_of_the_settings_hold(project: Project, engine: Engine) -> None:
    project.write({"azdistill.yml": {"local": {"docker": {"memory": "77m", "pids": 55}}}})
    found = while_running(project, engine)
    assert (found["HostConfig"]["Memory"], found["HostConfig"]["PidsLimit"]) == (77 << 20, 55)


@row("labels", "containers that say whose they are", "azdistill.run, azdistill.attempt", process=None)
def test_containers_are_labelled(project: Project, engine: Engine) -> None:
    labels = while_running(project, engine)["Config"]["Labels"]
    assert labels["azdistill.attempt"] == f"{labels[LABEL]}.a.1"
    assert {"azdistill.owner", "azdistill.session"} <= labels.keys()


class Look(Listener):
    """Asks the engine of a step's container when the step has printed a line, then lets the step end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.found: list[dict[str, Any]] = []

    def hear(self, event: Event, run: RunState) -> None:
        if event.kind != "line":
            return
        listed = self._engine.api.containers(filters={"label": [f"{LABEL}={run.run_id}"]})
        self.found += [self._engine.api.inspect_container(entry["Id"]) for entry in listed]
        (run.folder / "steps" / event.step / "attempts" / "1" / "snapshot" / "seen").touch()


def while_running(project: Project, engine: Engine) -> dict[str, Any]:
    """What the engine says of a step's container while it runs."""
    look = Look(engine)
    ran = project.run({"a": command_step("echo here; until test -e seen; do sleep 0.1; done")}, listeners=[look])
    assert ran.finished.error is None
    return look.found[0]
