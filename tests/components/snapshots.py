"""Components are tested as they are run: their command line, in a snapshot of their folder and its includes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPONENTS = ROOT / "components"
#: Each component's folder, in the folder of its stage.
FOLDERS = {path.parent.name: path.parent for path in COMPONENTS.glob("*/*/component.yml")}


@dataclass
class Result:
    """How a component ended, and what it left."""

    returncode: int
    stderr: str
    outputs: dict[str, Path] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of an output."""
        return read_jsonl(self.outputs[name])

    @property
    def summary(self) -> dict[str, Any]:
        """The summary that the step wrote."""
        value: dict[str, Any] = json.loads(self.outputs["summary"].read_text())
        return value

    def metric(self, name: str) -> float:
        """The last value of a metric that the step logged."""
        values = [line["value"] for line in self.metrics if line["kind"] == "metric" and line["name"] == name]
        value: float = values[-1]
        return value


class Component:
    """A component in a materialised snapshot. ``command`` is the shell line that a runner would run."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.spec: dict[str, Any] = yaml.safe_load((FOLDERS[name] / "component.yml").read_text())
        self.snapshot = folder / "snapshot"
        code = (FOLDERS[name] / self.spec["code"]).resolve()
        shutil.copytree(code, self.snapshot, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        for include in self.spec.get("additional_includes", []):
            source = (FOLDERS[name] / include).resolve()
            shutil.copytree(source, self.snapshot / source.name, ignore=shutil.ignore_patterns("__pycache__"))

    def command(self, inputs: dict[str, Any], outputs: dict[str, Path]) -> str:
        """The command with defaults and values filled in, as Azure ML would."""
        declared = self.spec.get("inputs", {})
        unknown = set(inputs) - set(declared)
        assert not unknown, f"{self.name} has no input {unknown}"
        values = {name: spec["default"] for name, spec in declared.items() if "default" in spec}
        values |= {name: str(value).lower() if isinstance(value, bool) else value for name, value in inputs.items()}
        needed = {name for name, spec in declared.items() if not spec.get("optional") and "default" not in spec}
        assert needed <= set(values), f"{self.name} needs {needed - set(values)}"

        def block(match: re.Match[str]) -> str:
            names = re.findall(r"\$\{\{inputs\.(\w+)\}\}", match.group(1))
            return match.group(1) if all(name in values for name in names) else ""

        text = re.sub(r"\$\[\[(.*?)\]\]", block, self.spec["command"], flags=re.S)
        text = re.sub(r"\$\{\{inputs\.(\w+)\}\}", lambda match: str(values[match.group(1)]), text)
        return re.sub(r"\$\{\{outputs\.(\w+)\}\}", lambda match: str(outputs[match.group(1)]), text)

    def prepare(
        self, inputs: dict[str, Any], env: dict[str, str] | None = None, outputs: dict[str, Path] | None = None
    ) -> tuple[str, dict[str, str], dict[str, Path]]:
        """Command, environment and output paths of a run; folders are made as the runner makes them."""
        places = {name: self.folder / "outputs" / name for name in self.spec["outputs"]} | (outputs or {})
        for name, path in places.items():
            (path if self.spec["outputs"][name]["type"] == "uri_folder" else path.parent).mkdir(
                parents=True, exist_ok=True
            )
        variables = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/tmp"),
            "OMP_NUM_THREADS": "1",
            "AZDISTILL_METRICS_FILE": str(self.folder / "metrics.jsonl"),
            **(env or {}),
        }
        return self.command(inputs, places), variables, places

    def run(
        self,
        inputs: dict[str, Any],
        *,
        env: dict[str, str] | None = None,
        outputs: dict[str, Path] | None = None,
        timeout: float = 120,
    ) -> Result:
        """Run to the end."""
        command, variables, places = self.prepare(inputs, env, outputs)
        (self.folder / "metrics.jsonl").unlink(missing_ok=True)
        ended = subprocess.run(
            ["/bin/bash", "-c", command],
            cwd=self.snapshot,
            env=variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Result(ended.returncode, ended.stderr, places, read_jsonl(self.folder / "metrics.jsonl"))

    def start(
        self, inputs: dict[str, Any], *, env: dict[str, str] | None = None, outputs: dict[str, Path] | None = None
    ) -> subprocess.Popen[str]:
        """Start and return the process, for tests that stop it half-way."""
        command, variables, _ = self.prepare(inputs, env, outputs)
        return subprocess.Popen(
            ["/bin/bash", "-c", f"exec {command}"], cwd=self.snapshot, env=variables, stderr=subprocess.PIPE, text=True
        )


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    """Write objects as JSONL and return the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def chat(prompt: str, reference: str | None = None, system: str | None = None) -> dict[str, Any]:
    """A row as a user would write it."""
    messages = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": prompt}]
    return {"messages": messages} | ({"reference": reference} if reference is not None else {})
