"""Inputs and code that change at 200 random moments: whatever the cache then holds is what its key says."""

from __future__ import annotations

import base64
import json
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, statuses, step

from azdistill.local.pipeline_run import Finished, Options

Run = Callable[..., Finished]
MOMENTS = 200
#: Ends each part of an output, which holds all that its step read.
END, MADE = "....\n", "::::\n"


class World:
    """A project whose files somebody changes; all texts are equally long."""

    def __init__(self, project: Path, seed: int) -> None:
        self.project, self._random = project, random.Random(seed)
        self._lock = threading.Lock()
        self.count = 0
        for folder in ("code", "d", "e", "aside"):
            (project / folder).mkdir()
        for name in ("x", "d/one", "d/two", "e/one", "e/two", "code/main", "code/lib"):
            (project / name).write_text(self._text(name))

    def _text(self, name: str) -> str:
        return f"{name:10} {self._random.randrange(4)}\n"

    def change(self) -> None:
        """Change something, somehow."""
        with self._lock:
            self.count += 1
            name = self._random.choice(["x", "x", "d", "d/one", "d/two", "d/new", "code/main", "code/lib"])
            path = self.project / name
            if name == "d":
                self._swap(path, self.project / "e")
            elif name == "d/new":
                path.unlink() if path.exists() else path.write_text(self._text(name))
            elif path.exists():
                ways = (self._rewrite, self._rewrite_in_its_old_time, self._replace, self._touch, self._put_aside)
                self._random.choice(ways)(path, name)

    def _rewrite(self, path: Path, name: str) -> None:
        path.write_text(self._text(name))

    def _rewrite_in_its_old_time(self, path: Path, name: str) -> None:
        before = path.stat()
        path.write_text(self._text(name))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _replace(self, path: Path, name: str) -> None:
        fresh = self.project / "aside" / "fresh"
        fresh.write_text(self._text(name))
        fresh.replace(path)

    def _touch(self, path: Path, name: str) -> None:
        path.touch()

    def _put_aside(self, path: Path, name: str) -> None:
        """Exchange a file for another, and the next time back again."""
        aside = self.project / "aside" / name.replace("/", "-")
        if not aside.exists():
            aside.write_text(self._text(name))
        self._swap(path, aside)

    def _swap(self, first: Path, second: Path) -> None:
        between = self.project / "aside" / "between"
        first.rename(between)
        second.rename(first)
        between.rename(second)


class Moments:
    """Changes the world at random moments of the runner's work, between any two calls, and of its steps' commands."""

    def __init__(self, world: World, seed: int) -> None:
        self._world, self._random = world, random.Random(seed)
        self._calls, self._length = 0, 20_000
        self._chosen: set[int] = set()
        #: Which share of the moments of commands.
        self._often = 0.15
        self._ask, self._answer = world.project / "ask", world.project / "answer"
        for fifo in (self._ask, self._answer):
            os.mkfifo(fifo)

    @property
    def command(self) -> str:
        """What a step's command does at a moment that may be one."""
        return f"echo > '{self._ask}'; read _ < '{self._answer}'"

    @contextmanager
    def of_a_run(self) -> Iterator[None]:
        self._calls = 0
        self._chosen = {self._random.randrange(self._length) for _ in range(4)}
        server = threading.Thread(target=self._serve)
        server.start()
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            self._length = self._calls
            self._ask.write_text("end")
            server.join()

    def rest(self) -> None:
        """Change nothing any more."""
        self._chosen, self._often = set(), 0.0

    def _profile(self, *_: object) -> None:
        self._calls += 1
        if self._calls in self._chosen:
            self._world.change()

    def _serve(self) -> None:
        sys.setprofile(None)
        while self._ask.read_text() != "end":
            if self._random.random() < self._often:
                self._world.change()
            self._answer.write_text("\n")


def jobs_of(moment: str) -> dict[str, Any]:
    """Steps whose outputs hold all that they read."""

    def reading(*files: str, end: str = END) -> str:
        return "; ".join(f"{moment}; cat {file}; echo {end[:-1]}" for file in files)

    listing = f'cd ${{{{inputs.d}}}}; for f in *; do echo "$f"; {moment}; cat "$f"; done; {moment}'
    x, d = {"x": "${{parent.inputs.x}}"}, {"d": "${{parent.inputs.d}}"}
    made = {"made": "${{parent.jobs.a.outputs.o}}"}
    commands = {
        "a": (reading("main", "lib", "${{inputs.x}}"), x, {"code": "./code"}),
        "b": (listing, d, {}),
        "c": (f"{reading('${{inputs.made}}', end=MADE)}; {reading('${{inputs.x}}')}", made | x, {}),
    }
    return {
        name: step(f"({command}) > ${{{{outputs.o}}}} 2> /dev/null", outputs=("o",), inputs=inputs, **more)
        for name, (command, inputs, more) in commands.items()
    }


class Replay:
    """A pipeline that makes each entry of a cache anew, from what its output says that its step had read."""

    def __init__(self, folder: Path, jobs: dict[str, Any]) -> None:
        self._folder, self._jobs = folder, jobs
        self.jobs: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}
        self.expected: dict[str, tuple[str, str]] = {}

    def add(self, entry: Path) -> None:
        text = (entry / "outputs" / "o").read_text()
        name = json.loads((entry / "key.json").read_text())["step"]
        label = f"{name}{len(self.jobs)}"
        job = dict(self._jobs[name])
        if name == "a":
            main, lib, x, _ = text.split(END)
            self._write(f"{label}/code/main", main)
            self._write(f"{label}/code/lib", lib)
            job |= {"code": f"./{self._folder.name}/{label}/code", "inputs": self._x(label, x)}
        elif name == "b":
            lines = text.splitlines(keepends=True)
            for file, content in zip(lines[::2], lines[1::2], strict=True):
                self._write(f"{label}/d/{file[:-1]}", content)
            job["inputs"] = self._input(label, "d", "uri_folder")
        else:
            made, x = text.split(MADE)
            written = base64.b64encode(made.encode()).decode()
            self.jobs[f"m{label}"] = step(f"echo {written} | base64 -d > ${{{{outputs.o}}}}", outputs=("o",))
            job["inputs"] = {"made": f"${{{{parent.jobs.m{label}.outputs.o}}}}", **self._x(label, x.removesuffix(END))}
        self.jobs[label] = job
        self.expected[label] = (entry.name, text)

    def _x(self, label: str, text: str) -> dict[str, str]:
        self._write(f"{label}/x", text)
        return self._input(label, "x", "uri_file")

    def _input(self, label: str, name: str, kind: str) -> dict[str, str]:
        self.inputs[f"{name}_{label}"] = {"type": kind, "path": f"./{self._folder.name}/{label}/{name}"}
        return {name: f"${{{{parent.inputs.{name}_{label}}}}}"}

    def _write(self, name: str, text: str) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_every_cache_entry_is_what_its_key_says_after_200_changes_at_random(run: Run, project: Path, seed: int) -> None:
    world = World(project, seed)
    moments = Moments(world, seed)
    jobs = jobs_of(moments.command)
    inputs = {"x": {"type": "uri_file", "path": "./x"}, "d": {"type": "uri_folder", "path": "./d"}}
    seen, uncached = set(), 0
    while world.count < MOMENTS:
        with moments.of_a_run():
            finished = run(jobs, inputs=inputs, options=Options(jobs=1))
        assert finished.state.status == "completed", finished.error
        seen |= set(statuses(finished).values())
        ran = [name for name, state in finished.state.steps.items() if state.log]
        uncached += sum("of this run only, not cached" in log_of(finished, name) for name in ran)
    assert seen == {"completed", "cached"}
    assert uncached
    replay = Replay(project / "replayed", jobs)
    for manifest in sorted((project / ".azdistill" / "cache").glob("??/*/manifest.json")):
        replay.add(manifest.parent)
    assert len(replay.expected) > 20
    with moments.of_a_run():
        moments.rest()
        cached = run(replay.jobs, inputs=replay.inputs)
        assert {name: cached.state.steps[name].key for name in replay.expected} == {
            name: key for name, (key, _) in replay.expected.items()
        }
        assert {statuses(cached)[name] for name in replay.expected} == {"cached"}
        anew = run(replay.jobs, inputs=replay.inputs, options=Options(use_cache=False, jobs=1))
    for name, (_, text) in replay.expected.items():
        assert Path(anew.state.steps[name].outputs["o"]).read_text() == text
