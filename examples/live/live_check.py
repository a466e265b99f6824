"""Checks azdistill against a real Azure ML workspace: submit, follow, logs, download, reuse, schedule. CPU only.

    make live WORKSPACE=name [RESOURCE_GROUP=name] [SUBSCRIPTION=id]    # about 20 minutes, mostly building one image

It refuses to start when the plan says that it may cost more than --limit (2 USD). What comes back from Azure must
equal, byte for byte, what a run on this machine gives. The schedule it makes is deleted again, also after a failure.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
PIPELINE = HERE / "pipeline.yml"
SCHEDULE = "azdistill-live-check"


class Check:
    """Runs azdistill and keeps what happened."""

    def __init__(self, where: list[str]) -> None:
        self._where = where
        self.lines: list[str] = []

    def run(self, *arguments: str, cloud: bool = True, code: int = 0) -> str:
        """What azdistill prints on stdout; what it says meanwhile is shown. Another exit code ends the check."""
        command = [sys.executable, "-m", "azdistill", *arguments, *(self._where if cloud else [])]
        print(f"\n$ azdistill {' '.join(arguments)}", flush=True)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, end="", flush=True)
        if done.returncode != code:
            raise SystemExit(f"azdistill {arguments[0]} ended with {done.returncode}, not {code}")
        return done.stdout

    def passed(self, text: str) -> None:
        """Note something that was seen to hold."""
        self.lines.append(text)
        print(f"ok: {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--resource-group")
    parser.add_argument("--subscription")
    parser.add_argument("--limit", type=float, default=2.0, help="USD that the plan may cost at most")
    given = parser.parse_args()
    names = {"--workspace": given.workspace, "--resource-group": given.resource_group}
    names["--subscription"] = given.subscription
    check = Check([word for option, value in names.items() if value for word in (option, value)])
    folder = Path(tempfile.mkdtemp(prefix="azdistill-live-"))
    started = time.monotonic()
    try:
        check.run("doctor")
        affordable(check, given.limit)
        here = local_run(check, folder)
        name = submitted(check)
        followed(check, name)
        downloaded(check, name, folder, here)
        reused(check)
        scheduled(check)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    minutes = (time.monotonic() - started) / 60
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, workspace {given.workspace}, {minutes:.0f} minutes:")
    for line in check.lines:
        print(f"- {line}")


def affordable(check: Check, limit: float) -> None:
    plan = json.loads(check.run("submit", str(PIPELINE), "--dry-run", "--json"))
    most = plan["max_cost"]
    if most is None or most > limit:
        raise SystemExit(f"the plan may cost {most} USD, more than --limit {limit:g}")
    check.passed(f"the plan costs at most {most:.2f} USD")


def local_run(check: Check, folder: Path) -> Path:
    out = folder / "here"
    check.run("run", str(PIPELINE), "--out", str(out), "--no-tracking", "--no-cache", cloud=False)
    return out


def submitted(check: Check) -> str:
    said = json.loads(check.run("submit", str(PIPELINE), "--yes", "--stream", "--json"))
    check.passed(f"submitted and followed {said['name']} to its end")
    return str(said["name"])


def followed(check: Check, name: str) -> None:
    status = json.loads(check.run("status", name, "--json"))
    if status["status"].lower() != "completed":
        raise SystemExit(f"the run is {status['status']}")
    if " rows" not in check.run("logs", "count", "--run", name):
        raise SystemExit("the log of step 'count' lacks what it prints")
    check.passed("status and logs")


def downloaded(check: Check, name: str, folder: Path, here: Path) -> None:
    there = folder / "there"
    check.run("download", name, "--out", str(there))
    files = sorted(path.name for path in here.iterdir() if not path.name.startswith("."))
    _, different, missing = filecmp.cmpfiles(here, there, files, shallow=False)
    if different or missing or not files:
        raise SystemExit(f"what Azure made is not what a local run makes: {different or missing or 'nothing at all'}")
    check.passed(f"{len(files)} outputs equal those of a local run")


def reused(check: Check) -> None:
    said = json.loads(check.run("submit", str(PIPELINE), "--yes", "--stream", "--json"))
    status = json.loads(check.run("status", said["name"], "--json"))
    steps = {name: step["reused"] for name, step in status["steps"].items()}
    if not all(steps.values()):
        raise SystemExit(f"not every step was reused: {steps}")
    check.passed("a second submit reuses every step")


def scheduled(check: Check) -> None:
    file = str(HERE / "schedule.yml")
    try:
        check.run("schedule", "apply", file, "--yes", "--allow-frozen", "training_data")
        if SCHEDULE not in check.run("schedule", "list"):
            raise SystemExit("the schedule is not listed")
        check.run("schedule", "disable", SCHEDULE)
        check.run("schedule", "enable", SCHEDULE)
        check.run("schedule", "trigger", SCHEDULE)
    finally:
        check.run("schedule", "delete", SCHEDULE, "--yes")
    check.passed("a schedule was made, listed, disabled, enabled, triggered and deleted")


if __name__ == "__main__":
    main()
