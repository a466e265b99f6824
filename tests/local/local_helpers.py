"""Pipelines written in a line or two, and what is asked about their runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import yaml

from azdistill.local.pipeline_run import Finished, Options

ENVIRONMENT = "azureml:any@latest"


class QuietHandler(BaseHTTPRequestHandler):
    """Answers without a line on stderr."""

    def log_message(self, *_: object) -> None:
        return


_Server = TypeVar("_Server", bound=ThreadingHTTPServer)


@contextmanager
def serving(server: _Server) -> Iterator[_Server]:
    """``server``, answering until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def step(command: str, *, outputs: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """An inline command step whose ``outputs`` are files."""
    made = {name: {"type": "uri_file"} for name in outputs}
    return {"type": "command", "command": command, "environment": ENVIRONMENT, "outputs": made, **more}


def write_pipeline(path: Path, jobs: dict[str, Any], **more: Any) -> Path:
    """A pipeline job's YAML file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        yaml.safe_dump({"type": "pipeline", "display_name": "test", "jobs": jobs, **more}), encoding="utf-8"
    )
    return path


def hands_on(project: Path, use: dict[str, Any], **made: Any) -> Path:
    """A pipeline whose step ``a`` hands the secret MY_KEY, and a Z, on to its step ``b``, of the component ``use``."""
    tell = "test '${{inputs.k}}'; printf '%s' \"$MY_KEY\"Z > ${{outputs.v}}"
    made = {"command": tell, "inputs": {"k": {"type": "string"}}, "outputs": {"v": {"type": "string"}}} | made
    for name, component in {"made": made, "use": use}.items():
        whole = {"type": "command", "name": name, "environment": ENVIRONMENT, **component}
        (project / f"{name}.yml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    jobs = {
        "a": {"type": "command", "component": "./made.yml", "inputs": {"k": "env:MY_KEY"}},
        "b": {"type": "command", "component": "./use.yml", "inputs": {"v": "${{parent.jobs.a.outputs.v}}"}},
    }
    return write_pipeline(project / "pipeline.yml", jobs)


def statuses(finished: Finished) -> dict[str, str]:
    """What each step came to."""
    return {name: state.status for name, state in finished.state.steps.items()}


def log_of(finished: Finished, name: str) -> str:
    """A step's whole log."""
    log = finished.state.steps[name].log
    assert log
    return Path(log).read_text(encoding="utf-8")


no_cache = replace(Options(), use_cache=False)
