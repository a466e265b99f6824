"""`azdistill` started as a user starts it, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SANDBOX = ROOT / "examples" / "sandbox"


@dataclass
class Ended:
    """How `azdistill run --json` ended."""

    home: Path
    returncode: int
    stderr: str
    result: dict[str, Any] = field(default_factory=dict)

    def output(self, name: str) -> Path:
        """The path of a pipeline output."""
        return Path(self.result["outputs"][name])

    def comparison(self) -> dict[str, Any]:
        """What the report compares."""
        value: dict[str, Any] = json.loads((self.output("report") / "comparison.json").read_text())
        return value

    def summaries(self) -> dict[str, dict[str, Any]]:
        """step -> the summary it wrote, cached steps too: the run's event log says where."""
        events = read_jsonl(self.home / "runs" / self.result["run_id"] / "events.jsonl")
        places = {e["step"]: e["outputs"]["summary"] for e in events if "summary" in e.get("outputs", {})}
        return {step: json.loads(Path(place).read_text()) for step, place in places.items()}


class Program:
    """`azdistill` as a user starts it, with its state under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.env.pop("TEACHER_API_KEY", None)

    def start(self, *arguments: object, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `azdistill ARGUMENTS` and do not wait."""
        return subprocess.Popen(
            [sys.executable, "-m", "azdistill", *map(str, arguments)],
            cwd=self.folder,
            env={**self.env, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: object, env: dict[str, str] | None = None) -> Ended:
        """`azdistill run ARGUMENTS --json --no-tracking` to its end."""
        process = self.start("run", *arguments, "--json", "--no-tracking", env=env)
        out, err = process.communicate(timeout=400)
        return Ended(self.folder / ".azdistill", process.returncode, err, json.loads(out) if out.strip() else {})


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
