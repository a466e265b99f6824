"""How long checking a pipeline takes: the whole `azdistill validate` process beside azure.ai.ml's load and validate.

    python benchmarks/runner/validate.py [--steps 10] [--rounds 5]

azure.ai.ml loads the file and validates it against its schemas, without a workspace; it checks no bindings. Rounds are
interleaved; the table shows medians and the range.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shapes import write_azdistill

SDK = """
import logging, sys
logging.disable(logging.CRITICAL)
from azure.ai.ml import load_job
job = load_job(sys.argv[1])
assert job._validate().passed
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        write_azdistill(Path(temporary), "chain", given.steps)
        file = str(Path(temporary) / "pipeline.yml")
        runs = {
            "azdistill validate": [str(Path(sys.executable).parent / "azdistill"), "validate", file],
            "azure.ai.ml load_job, validate": [sys.executable, "-c", SDK, file],
            "python -c pass": [sys.executable, "-c", "pass"],
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        # Compiled modules are kept, as on a user's machine; an editable install has none otherwise.
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        for number in range(given.rounds + 1):
            for name, command in runs.items():
                started = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, cwd=temporary, env=variables)
                if number:
                    times[name].append(time.perf_counter() - started)
    ours = statistics.median(times["azdistill validate"])
    print(f"| {given.steps} steps | seconds | range | against ours |\n|---|--:|--:|--:|")
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"| {name} | {middle:.3f} | {min(found):.3f} to {max(found):.3f} | {middle / ours:.1f}x |")


if __name__ == "__main__":
    main()
