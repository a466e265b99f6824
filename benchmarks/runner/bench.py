"""What a local runner costs: time per trivial step, start-up, a rerun with nothing changed, memory; peers beside it.

    python benchmarks/runner/bench.py [--peers FOLDER] [--install] [--rounds 3] [--sizes 1 10 50 200]

Each peer lives in a virtual environment of its own under ``--peers`` (``--install`` makes them; a peer that is not
there is left out). Everything is pinned to one core, rounds are interleaved, cells are medians. Tracking is off, as
the peers have none; what ours costs is its own row. Ratios against ours carry over to other machines, seconds do not.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from shapes import WRITERS

ROOT = Path(__file__).parents[2]
PACKAGES = {"snakemake": "snakemake", "dvc": "dvc", "kfp": "kfp", "metaflow": "metaflow"}
#: Where each keeps what it did, deleted before a cold run.
STATE = {
    "azdistill": (".azdistill",),
    "azdistill, tracked": (".azdistill", "mlflow.db", "mlruns"),
    "snakemake": (".snakemake", "s*.txt"),
    "dvc": ("dvc.lock", "s*.txt", ".dvc/cache", ".dvc/tmp"),
    "kfp": ("out",),
    "metaflow": (".metaflow",),
}
#: Runners that answer a rerun from what they kept.
REUSES = ("azdistill", "snakemake", "dvc", "kfp")
Cell = tuple[float, int]


def commands(peers: Path) -> dict[str, list[str]]:
    """What starts each runner that is there."""
    ours = [str(Path(sys.executable).parent / "azdistill"), "run", "pipeline.yml"]
    found = {"azdistill": [*ours, "--no-tracking"], "azdistill, tracked": ours}
    theirs = {
        "snakemake": ["snakemake", "--cores", "1", "--quiet", "all"],
        "dvc": ["dvc", "repro", "--quiet"],
        "kfp": ["python", "flow.py"],
        "metaflow": ["python", "flow.py", "--quiet", "--no-pylint", "run", "--max-num-splits", "1000"],
    }
    for name, (program, *rest) in theirs.items():
        path = peers / name / "bin" / program
        if path.exists():
            found[name] = [str(path), *rest]
    return found


def install(peers: Path) -> None:
    """A virtual environment for each peer that has none."""
    for name, package in PACKAGES.items():
        if not (peers / name).exists():
            print(f"installing {package} into {peers / name}", flush=True)
            venv.create(peers / name, with_pip=True)
            subprocess.run([peers / name / "bin" / "pip", "install", "--quiet", package], check=True)


def prepare(folder: Path, runner: str, shape: str, size: int, peers: Path) -> Path:
    """A folder with the runner's own form of the pipeline."""
    place = folder / f"{runner.replace(', ', '-')}-{shape}-{size}"
    place.mkdir()
    WRITERS[runner.partition(",")[0]](place, shape, size)
    if runner == "dvc":
        subprocess.run([peers / "dvc" / "bin" / "dvc", "init", "--no-scm", "--quiet"], cwd=place, check=True)
    return place


def clear(place: Path, runner: str) -> None:
    """Forget what the runner did."""
    for pattern in STATE[runner]:
        for path in place.glob(pattern):
            if path.name == "start.txt":
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def measure(command: list[str], place: Path) -> Cell:
    """Seconds and the most memory of one process (MB) for one run; raises where the run fails."""
    log = place / "bench.log"
    variables = os.environ | {"DVC_NO_ANALYTICS": "1", "METAFLOW_USER": "bench", "USER": "bench"}
    # Compiled modules are kept, as on a user's machine; an editable install has none otherwise.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    variables["PATH"] = f"{Path(command[0]).parent}{os.pathsep}{variables['PATH']}"
    started = time.perf_counter()
    with open(log, "wb") as file:
        child = subprocess.Popen(command, cwd=place, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=variables)
        _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        sys.exit(f"{' '.join(command)} failed in {place}:\n{log.read_text()[-2000:]}")
    return seconds, used.ru_maxrss // 1024


def table(title: str, columns: list[str], rows: dict[str, list[float | None]], unit: str) -> None:
    """A Markdown table; each cell with its ratio to ours."""
    ours = rows["azdistill"]
    print(f"\n### {title}\n\n| runner | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}")
    for name, cells in rows.items():
        texts = []
        for cell, own in zip(cells, ours, strict=True):
            ratio = f" ({cell / own:.1f}x)" if cell is not None and own else ""
            texts.append("-" if cell is None else f"{cell:.3g} {unit}{ratio}")
        print(f"| {name} | {' | '.join(texts)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv" / "peers")
    parser.add_argument("--install", action="store_true", help="make the peers' environments first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 50, 200])
    given = parser.parse_args()
    if given.install:
        install(given.peers)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    runners = commands(given.peers.absolute())
    columns = [("chain", size) for size in given.sizes] + [("fan", size) for size in given.sizes if size > 1]
    cold: dict[tuple[str, str, int], list[Cell]] = {}
    again: dict[tuple[str, str, int], list[Cell]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for shape, size in columns:
            places = {r: prepare(Path(temporary), r, shape, size, given.peers.absolute()) for r in runners}
            for number in range(given.rounds + 1):
                for runner, place in places.items():
                    clear(place, runner)
                    first = measure(runners[runner], place)
                    second = measure(runners[runner], place) if runner in REUSES else None
                    # The first round warms up caches of files and of compiled code.
                    if number:
                        cold.setdefault((runner, shape, size), []).append(first)
                        again.setdefault((runner, shape, size), []).extend([second] if second else [])
                print(f"{shape} {size}: round {number} of {given.rounds}", file=sys.stderr, flush=True)

    def medians(cells: dict[tuple[str, str, int], list[Cell]], runner: str, part: int) -> list[float | None]:
        found = [cells.get((runner, shape, size)) for shape, size in columns]
        return [statistics.median(cell[part] for cell in group) if group else None for group in found]

    heads = [f"{shape} {size}" for shape, size in columns]
    table("A whole run, from nothing (seconds)", heads, {r: medians(cold, r, 0) for r in runners}, "s")
    table("The same again, nothing changed (seconds)", heads, {r: medians(again, r, 0) for r in runners}, "s")
    table("The most memory of one process (MB)", heads, {r: medians(cold, r, 1) for r in runners}, "MB")


if __name__ == "__main__":
    main()
