"""Kills a three-step run in a chosen phase and holds what is left against a run that nobody killed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from azdistill.local.outputs.manifest import Manifest
from azdistill.local.runners.guard import contents, marked
from azdistill.local.runners.guard import processes as table
from azdistill.local.store.events import RunState
from azdistill.local.store.home import Home
from azdistill.local.store.runs import list_runs
from kills.family import comes, end, guards, running

STEPS = ("a", "b", "c")
#: Files that a step writes, so that its commit takes long enough to be hit.
FILES = 200
COMMAND = (
    "echo half NAME > '${{outputs.x}}/1'; setsid sleep 30 & sleep 30 & "
    "(env -i setsid sleep DAEMON < /dev/null > /dev/null 2>&1 &) ; sleep 0.2; READ"
    "for i in $(seq 2 FILES); do echo $i > '${{outputs.x}}'/$i; done; sleep 0.2; echo whole >> '${{outputs.x}}/1'"
)
#: For how long a process sleeps that has nothing in common with its step but where it came from; others do not.
DAEMON = f"30.{os.getpid()}"
#: Seconds within which nothing of a killed run may live any more.
GRACE = 2.0
#: A run that is killed ends at once, and one that is not within this; only a machine that hangs takes longer.
LIMIT = 180

#: Who is killed: the runner, its guard, or both, one right after the other.
VICTIMS = ("runner", "guard", "runner guard", "guard runner")

Living = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Moment:
    """When to kill: at ``share`` (0 to 1) of the phase of the step, or of the whole run."""

    phase: str
    step: str
    share: float


@dataclass
class Clean:
    """What a run that nobody killed came to, and how long each of its phases took."""

    outputs: dict[str, str]
    seconds: dict[tuple[str, str], float]


@dataclass
class Ground:
    """Where the runs of one test take place. ``flags`` go to every run; ``containers`` names those of these runs."""

    folder: Path
    environment: Any
    containers: Living | None = None
    flags: tuple[str, ...] = ()
    #: How often each phase was hit.
    hits: dict[tuple[str, str], int] = field(default_factory=dict)
    #: How long a phase took in the last killed run that had left it behind.
    paces: dict[tuple[str, str], float] = field(default_factory=dict)
    longest: float = 0.0
    _count: int = 0

    def fresh(self) -> Place:
        """A project that has never run."""
        self._count += 1
        place = Place(self.folder / f"run {self._count}", self)
        place.folder.mkdir(parents=True)
        pipeline = {"type": "pipeline", "display_name": "kills", "jobs": jobs(self.environment)}
        pipeline["outputs"] = {name: {"type": "uri_folder"} for name in STEPS}
        (place.folder / "pipeline.yml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
        return place

    def clean(self) -> Clean:
        """A run that nobody kills."""
        place = self.fresh()
        runner = place.start()
        output, _ = runner.communicate(timeout=LIMIT)
        assert runner.returncode == 0, output.decode()
        whole = max(at for at, _, _ in place.marks()) - place.began
        return Clean(place.delivered(), {**place.durations(), ("run", ""): whole})

    def kill(self, moment: Moment, clean: Clean, victims: str = "runner") -> None:
        """Kill at ``moment``, look at what is left, and resume the run where that was killed."""
        place = self.fresh()
        runner = place.start()
        place.await_moment(runner, moment, clean.seconds[moment.phase, moment.step] * moment.share)
        has_guard = self._strike(runner, victims)
        if "runner" not in victims:
            place.goes_on(runner, clean.outputs)
            self._dies_out(place)
            return
        runner.communicate(timeout=LIMIT)
        if hit := place.phase_at_the_end():
            self.hits[hit] = self.hits.get(hit, 0) + 1
        self.paces |= place.durations()
        if not self.containers or ("guard" not in victims and has_guard):
            self._dies_out(place)
        place.committed_whole(clean.outputs)
        place.resumes(clean.outputs)
        # Containers without a guard are removed by the next start.
        self._dies_out(place)

    def _strike(self, runner: subprocess.Popen[bytes], victims: str) -> bool:
        """Kill them; whether the runner had its guard already."""
        if victims == "guard":
            assert comes(lambda: guards(runner.pid) or runner.poll() is not None)
        pids = {"runner": [runner.pid], "guard": guards(runner.pid)}
        end(*(pid for name in victims.split() for pid in pids[name]))
        return bool(pids["guard"])

    def kill_until(self, within: Moment, clean: Clean, times: int) -> None:
        """Kill at moments spread over the first ``within.share`` of a phase until it was hit ``times`` times.

        A machine that is busy at times runs a phase slower or faster than the clean run: what was missed is aimed at
        again, at the pace of the run that was missed, or earlier where that run was killed before the phase was over.
        """
        key = (within.phase, within.step)
        pace = dict(clean.seconds)
        for number in range(5 * times):
            if self.hits.get(key, 0) >= times:
                break
            share, hits = within.share * (number % times + 1) / (times + 1), self.hits.get(key, 0)
            self.kill(Moment(within.phase, within.step, share), Clean(clean.outputs, pace))
            missed = self.hits.get(key, 0) == hits
            pace[key] = self.paces.get(key, pace[key] * 0.6 if missed else pace[key])
        assert self.hits.get(key, 0) >= times, self.hits

    def _dies_out(self, place: Place) -> None:
        ids, since = [run.run_id for run in place.runs()], time.monotonic()
        while left := processes(ids) + (self.containers(ids) if self.containers else []):
            assert time.monotonic() - since < GRACE, f"{left} still live"
            time.sleep(0.01)
        self.longest = max(self.longest, time.monotonic() - since)


@dataclass
class Place:
    """One project folder, and the runs in it."""

    folder: Path
    ground: Ground
    began: float = 0.0

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """The program, as a user starts it."""
        arguments = ["run", "pipeline.yml", "--no-tracking", "--out", "out", *self.ground.flags, *more]
        environment = {name: value for name, value in os.environ.items() if name != "AZDISTILL_HOME"}
        paths = [str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        self.began = time.time()
        command = [sys.executable, "-m", "kills.marked_run", str(self._moments), *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=self.folder, env=environment, **pipes)  # type: ignore[call-overload, no-any-return]

    @property
    def _moments(self) -> Path:
        return self.folder / "moments"

    def marks(self) -> Iterator[tuple[float, str, str]]:
        """The moments written down so far."""
        for line in self._moments.read_text().splitlines() if self._moments.exists() else []:
            at, phase, step = line.split(" ")
            yield float(at), phase, step

    def durations(self) -> dict[tuple[str, str], float]:
        """Seconds that each phase took which is over."""
        times = {(phase, step): at for at, phase, step in self.marks()}
        over = {(phase.removesuffix("-over"), step) for phase, step in times if phase.endswith("-over")}
        return {key: times[f"{key[0]}-over", key[1]] - times[key] for key in over}

    def await_moment(self, runner: subprocess.Popen[bytes], moment: Moment, seconds: float) -> None:
        """Wait until ``seconds`` after the beginning of a phase."""
        until = time.monotonic() + LIMIT
        while moment.phase != "run" and (moment.phase, moment.step) not in {mark[1:] for mark in self.marks()}:
            assert runner.poll() is None, runner.communicate()[0].decode()
            assert time.monotonic() < until
            time.sleep(0.001)
        time.sleep(seconds)

    def phase_at_the_end(self) -> tuple[str, str] | None:
        """The innermost phase that had begun and was not over."""
        begun = [mark[1:] for mark in self.marks()]
        open_ = [key for key in begun if not key[0].endswith("-over") and (f"{key[0]}-over", key[1]) not in begun]
        return open_[-1] if open_ else None

    def runs(self) -> list[RunState]:
        return list_runs(Home(self.folder / ".azdistill"))

    def starts(self) -> dict[str, int]:
        """How often each step was started, in all runs of this place."""
        return {step: sum(mark[1:] == ("step", step) for mark in self.marks()) for step in STEPS}

    def goes_on(self, runner: subprocess.Popen[bytes], clean: dict[str, str]) -> None:
        """The run that goes on without its guard ends as a clean run does, and nothing of it is run twice."""
        output, _ = runner.communicate(timeout=LIMIT)
        assert runner.returncode == 0, output.decode()
        assert self.delivered() == clean
        assert self.starts() == dict.fromkeys(STEPS, 1)

    def finished(self, clean: dict[str, str]) -> list[str]:
        """The steps whose outputs are in the cache."""
        found = [content(folder / "outputs" / "x") for folder in Home(self.folder / ".azdistill").cache.glob("??/*")]
        return [step for step in STEPS if outputs_of(step, clean) in found]

    def committed_whole(self, clean: dict[str, str]) -> None:
        """Every entry of the cache is one step's outputs as a clean run writes them."""
        home = Home(self.folder / ".azdistill")
        for folder in home.cache.glob("??/*"):
            manifest = Manifest.read(folder)
            assert manifest
            assert manifest.matches({name: folder / "outputs" / name for name in manifest.outputs})
            made = content(folder / "outputs" / "x")
            assert made in [outputs_of(step, clean) for step in STEPS]
        for run in self.runs():
            assert run.status in ("lost", "completed")
            for step in run.steps.values():
                assert all(Path(path).exists() for path in step.outputs.values())

    def resumes(self, clean: dict[str, str]) -> None:
        """What was killed goes on under its id and ends as a clean run does."""
        lost = [run for run in self.runs() if run.status == "lost"]
        before, finished = self.starts(), self.finished(clean)
        runner = self.start(*(["--resume", lost[0].run_id] if lost else []))
        output, _ = runner.communicate(timeout=LIMIT)
        assert runner.returncode == 0, output.decode()
        latest = self.runs()[0]
        assert latest.status == "completed"
        assert not lost or latest.run_id == lost[0].run_id
        assert self.delivered() == clean
        assert [step for step in finished if self.starts()[step] != before[step]] == []
        assert not list((self.folder / ".azdistill" / "cache" / "tmp").iterdir())

    def delivered(self) -> dict[str, str]:
        """The files that the run has given out, and what they hold."""
        return content(self.folder / "out")


def jobs(environment: Any) -> dict[str, Any]:
    """Three steps in a row: each writes half of its output early and all of it late, and has children of its own."""
    made: dict[str, Any] = {}
    for before, name in zip((None, *STEPS), STEPS, strict=False):
        read = "cat '${{inputs.x}}/1' >> '${{outputs.x}}/1'; " if before else ""
        component = {
            "type": "command",
            "command": COMMAND.replace("FILES", str(FILES))
            .replace("DAEMON", DAEMON)
            .replace("NAME", name)
            .replace("READ", read),
            "environment": environment,
            "inputs": {"x": {"type": "uri_folder"}} if before else {},
            "outputs": {"x": {"type": "uri_folder"}},
        }
        given = {"x": f"${{{{parent.jobs.{before}.outputs.x}}}}"} if before else {}
        outputs = {"x": f"${{{{parent.outputs.{name}}}}}"}
        made[name] = {"type": "command", "component": component, "inputs": given, "outputs": outputs}
    return made


def outputs_of(step: str, clean: dict[str, str]) -> dict[str, str]:
    """What a clean run writes in a step."""
    return {name[2:]: value for name, value in clean.items() if name[0] == step}


def content(folder: Path) -> dict[str, str]:
    """Hashes of the files under ``folder``, by their relative names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def processes(ids: list[str]) -> list[str]:
    """Processes that carry the mark of one of these runs, its daemons, and guards and supervisors of one."""
    steps = [str(pid) for run_id in ids for pid in marked(f"AZUREML_ROOT_RUN_ID={run_id}")]
    daemons = [str(pid) for pid in running("sleep", DAEMON)] if ids else []
    return [
        *steps,
        *daemons,
        *(str(pid) for pid in table() if any(i.encode() in contents(pid, "cmdline") for i in ids)),
    ]
