"""A project folder, pipelines written into it, and what is asked about their runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from engine_fixtures import IMAGE

from azdistill import aml
from azdistill.local.pipeline_run import Finished, Options, run_pipeline
from azdistill.local.run.listener import Listener
from azdistill.local.store.events import Event, RunState


@dataclass
class Told(Listener):
    """Keeps what a run tells: its notes, and what is said before it starts."""

    notes: list[str] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)
    lines: list[tuple[str, str]] = field(default_factory=list)

    def hear(self, event: Event, run: RunState) -> None:
        match event.kind:
            case "preparing":
                self.prepared.append(event.fields["text"])
            case "run_started" | "run_resumed":
                self.notes += event.fields["plan"].notes
            case "line":
                self.lines.append((event.step, event.fields["text"]))


@dataclass(frozen=True)
class Ran:
    """A run that has ended."""

    finished: Finished
    told: Told

    @property
    def statuses(self) -> dict[str, str]:
        return {name: state.status for name, state in self.finished.state.steps.items()}

    def log(self, step: str = "a") -> str:
        return self.raw_log(step).decode()

    def raw_log(self, step: str = "a") -> bytes:
        path = self.finished.state.steps[step].log
        assert path
        return Path(path).read_bytes()

    def error(self, step: str = "a") -> str:
        return self.finished.state.steps[step].error

    def exit_code(self, step: str = "a") -> int | None:
        return self.finished.state.steps[step].exit_code

    def output(self, step: str, name: str) -> Path:
        return Path(self.finished.state.steps[step].outputs[name])

    def json(self, step: str, name: str) -> Any:
        return json.loads(self.output(step, name).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Project:
    """A folder of a pipeline, run by ``runner``."""

    runner: str
    folder: Path

    @property
    def docker(self) -> bool:
        return self.runner == "docker"

    def write(self, files: Mapping[str, Any]) -> None:
        """Write files: text and bytes as they are, anything else as YAML."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")

    def pipeline(self, jobs: dict[str, Any], **more: Any) -> Path:
        """Write ``pipeline.yml`` of ``jobs``."""
        self.write({"pipeline.yml": {"type": "pipeline", "display_name": "conformance", "jobs": jobs, **more}})
        return self.folder / "pipeline.yml"

    def options(self, **more: Any) -> Options:
        return replace(Options(docker=self.docker, home=self.folder / ".azdistill"), **more)

    def run(
        self,
        jobs: dict[str, Any],
        options: Mapping[str, Any] | None = None,
        listeners: Sequence[Listener] = (),
        **more: Any,
    ) -> Ran:
        """Write a pipeline of ``jobs`` and run it to its end; ``more`` are keys of the pipeline."""
        pipeline = aml.load_pipeline(self.pipeline(jobs, **more))
        errors = [str(problem) for problem in aml.check(pipeline) if problem.severity == "error"]
        assert not errors, "\n".join(errors)
        told = Told()
        return Ran(run_pipeline(pipeline, self.options(**(options or {})), [told, *listeners]), told)

    def one(self, command: str, options: Mapping[str, Any] | None = None, **step: Any) -> Ran:
        """Run a pipeline of one step ``a``."""
        return self.run({"a": command_step(command, **step)}, options)


def command_step(command: str, outputs: tuple[str, ...] | Mapping[str, Any] = (), **more: Any) -> dict[str, Any]:
    """An inline command step; ``outputs`` that are only named are files."""
    made = outputs if isinstance(outputs, Mapping) else {name: {"type": "uri_file"} for name in outputs}
    return {"type": "command", "command": command, "environment": {"image": IMAGE}, "outputs": made, **more}


def special(*roots: Path) -> list[str]:
    """What has a set-user-ID, set-group-ID or sticky bit, of ``roots`` and all below them."""
    found = [path for root in roots if root.exists() for path in (root, *root.rglob("*"))]
    return [str(path) for path in found if not path.is_symlink() and path.stat().st_mode & 0o7000]


def refuse_open_state(project: Project) -> None:
    """What holds after every test: the state folder is the user's alone, and nothing in it has such a bit."""
    state = project.folder / ".azdistill"
    assert not state.exists() or not state.stat().st_mode & 0o077
    assert special(state, project.folder / "out") == []
