"""The main job from end to end on this machine: what `make demo` runs.

It writes the data, puts the sandbox's teacher behind an address (its server starts only if something has to be asked),
runs the recipe `demo.yml` with `azdistill run`, and prints what came out. A second run finds everything done.
Options of `azdistill run` may follow: `--docker` runs each step in a container.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lazy_teacher import LazyTeacher, Server
from make_data import write
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OUT = Path("runs/demo")
TASK = "math"
TEACHER_NAME = "sandbox-teacher"
ENDPOINT_VARIABLE = "SANDBOX_TEACHER_ENDPOINT"
COLUMNS = {"teacher": "teacher", "baseline": "student as it was", "distilled": "distilled student"}
PR_SET_PDEATHSIG = 1
# Looked up here: little may be done between a fork and what follows it.
PROCESS_CONTROL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
GOLD = {"gold_sft": "taught by gold"}


def main() -> int:
    """Run the demo; returns the exit code of `azdistill run`."""
    # A terminated demo leaves through the same door as a finished one, past the server's end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    one_thread_each()
    started = time.monotonic()
    os.chdir(ROOT)
    write(TASK, HERE / "data" / TASK)
    with LazyTeacher(lambda: Server(HERE / "teacher", TEACHER_NAME, OUT / "teacher-server.log")) as teacher:
        status = run(teacher.endpoint, OUT, *sys.argv[1:])
    if status == 0:
        show(OUT, time.monotonic() - started)
    return status


def one_thread_each() -> None:
    """Models this small gain nothing from a second thread, and two steps at once that each take every core starve."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def run(endpoint: str, out: Path, *options: str) -> int:
    """`azdistill run demo.yml` with its live view on this terminal, the teacher asked at `endpoint`."""
    command = [sys.executable, "-m", "azdistill", "run", str(HERE / "demo.yml"), "--out", str(out), *options]
    process = subprocess.Popen(command, env={**os.environ, ENDPOINT_VARIABLE: endpoint}, preexec_fn=_end_with_parent)
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                # The terminal has interrupted it as well, and it has steps to end.
                continue
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _end_with_parent() -> None:
    if PROCESS_CONTROL:
        PROCESS_CONTROL(PR_SET_PDEATHSIG, signal.SIGTERM)


def show(out: Path, seconds: float) -> None:
    """Print the comparison, where the report is, and how to open MLflow."""
    comparison = json.loads((out / "report" / "comparison.json").read_text(encoding="utf-8"))
    console = Console()
    console.print(comparison_table(comparison))
    for line in verdict(comparison):
        console.print(line, highlight=False)
    console.print(f"\nreport  {out / 'report' / 'report.html'}", soft_wrap=True, highlight=False)
    binary = Path(sys.executable).with_name("azdistill")
    shown = binary.relative_to(ROOT) if binary.is_relative_to(ROOT) else binary
    console.print(f"MLflow  {shlex.quote(str(shown))} ui", soft_wrap=True, highlight=False)
    console.print(f"{seconds:.0f} seconds in all", highlight=False)


def comparison_table(comparison: dict[str, Any]) -> Table:
    """One line for each model that was evaluated."""
    table = Table(
        title=f"{comparison['rows']} test rows of a small, made-up world; time per response, responses per second"
    )
    table.add_column("", no_wrap=True)
    for heading in ("accuracy", "time", "per second", "weights", "size"):
        table.add_column(heading, justify="right")
    for column, name in {**COLUMNS, **GOLD}.items():
        if measured := comparison.get(column):
            table.add_row(
                name,
                f"{measured['accuracy']:.1%}",
                f"{measured['latency_ms_p50']:.0f} ms",
                f"{measured['throughput']:.0f}",
                f"{measured['weights_bytes'] / 1e6:.2f} MB",
                f"{measured['parameters'] / 1e6:.2f}M",
            )
    return table


def verdict(comparison: dict[str, Any]) -> list[str]:
    """What the numbers say, in a few lines."""
    lines = [f"The distilled student keeps {comparison['retention']:.1%} of the teacher's accuracy."]
    for key, what in (("latency_reduction", "time per response"), ("memory_reduction", "memory for weights")):
        if comparison.get(key) is not None:
            lines.append(f"{comparison[key]:.0%} less {what}.")
    if comparison.get("p_value_distilled_vs_baseline") is not None:
        lines.append(f"Against the student as it was: p = {comparison['p_value_distilled_vs_baseline']:.2g}.")
    if any({"distilled", "gold_sft"} <= set(group["columns"]) for group in comparison["same_model"]):
        lines.append("Taught by gold is the same model: its answers are the teacher's, word for word.")
    return lines


if __name__ == "__main__":
    sys.exit(main())
