"""Run the long proofs and write down what came of each, or say which records are older than what they prove.

    python tests/proofs/prove.py                # all of them: `make prove`
    python tests/proofs/prove.py kills sweeps   # some
    python tests/proofs/prove.py --ages         # what `make check` prints

A record is tests/proofs/NAME.json. Commit it: it says for which files, by their hash, the proof was made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
RECORDS = Path(__file__).parent
sys.path.append(str(ROOT / "tests"))

from proofs.long_proofs import PROOFS, Proof  # noqa: E402  (after the path is set)


def main(arguments: list[str]) -> int:
    """Run the proofs that are named, all where none is; 1 when one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proofs", nargs="*", metavar="PROOF", help=", ".join(proof.name for proof in PROOFS))
    parser.add_argument("--ages", action="store_true", help="say which records are older than what they prove")
    chosen = parser.parse_args(arguments)
    if strange := set(chosen.proofs) - {proof.name for proof in PROOFS}:
        parser.error(f"there is no proof {', '.join(sorted(strange))}")
    if chosen.ages:
        return print_ages()
    records = [prove(proof) for proof in PROOFS if proof.name in chosen.proofs or not chosen.proofs]
    print(*map(summary, records), sep="\n")
    return int(any(record["outcome"] == "failed" for record in records))


def print_ages() -> int:
    """Say of each record how old it is. It is no error that one is old: 0."""
    try:
        print(*map(age, PROOFS), sep="\n")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"how old the proofs are cannot be seen without a Git checkout: {error}")
    return 0


def prove(proof: Proof) -> dict[str, Any]:
    """Run one proof and write its record. The hash is taken first: what changes meanwhile was not proved."""
    record: dict[str, Any] = {"proof": proof.name, "shows": proof.shows, **source(), "files": files_hash(proof)}
    print(f"== {proof.name}: {proof.shows}", flush=True)
    began = time.monotonic()
    counts = run_tests(proof) + run_commands(proof)
    record["seconds"] = round(time.monotonic() - began)
    record |= {name: counts[name] for name in ("passed", "failed", "skipped")}
    record["outcome"] = "failed" if counts["failed"] or not counts["passed"] else "passed"
    path_of(proof).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def source() -> dict[str, str]:
    """The commit and the date; a working tree with changes is no commit's."""
    changed = git("status", "--porcelain", "--untracked-files=no")
    commit = git("rev-parse", "HEAD").strip() + (" with changes" if changed else "")
    return {"commit": commit, "date": datetime.now(UTC).isoformat(timespec="seconds")}


def run_tests(proof: Proof) -> Counter[str]:
    """How the slow tests of a proof ended."""
    if not proof.tests:
        return Counter()
    files = sorted({str(path) for pattern in proof.tests for path in ROOT.glob(pattern)})
    jobs = ["-n", os.environ.get("JOBS", "3"), "--dist", "worksteal"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "-m", "slow", f"--junitxml={report}", *os.environ.get("PYTEST_ARGS", "").split()]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", *jobs, *options, *files]
        ended = subprocess.run(command, cwd=ROOT, env=environment, check=False)
        return counts_of(report) if report.exists() else Counter(failed=1, ended=ended.returncode)


def counts_of(report: Path) -> Counter[str]:
    """How many tests passed, failed and were skipped."""
    suite = ElementTree.parse(report).getroot()[0]
    failed, skipped = int(suite.get("failures", 0)) + int(suite.get("errors", 0)), int(suite.get("skipped", 0))
    return Counter(passed=int(suite.get("tests", 0)) - failed - skipped, failed=failed, skipped=skipped)


def run_commands(proof: Proof) -> Counter[str]:
    """How the commands of a proof ended."""
    codes = [subprocess.run([sys.executable, *command], cwd=ROOT, check=False).returncode for command in proof.commands]
    return Counter("failed" if code else "passed" for code in codes)


def age(proof: Proof) -> str:
    """A line on a record: fresh, older than its files, failed, or missing."""
    if not path_of(proof).exists():
        return f"proof {proof.name}: never made; run `make prove PROOFS={proof.name}`"
    record = json.loads(path_of(proof).read_text(encoding="utf-8"))
    made = f"{record['date'][:10]} at {record['commit'][:12]}"
    if record["outcome"] == "failed":
        return f"proof {proof.name}: failed, {made}"
    if record["files"] != files_hash(proof):
        return f"proof {proof.name}: older than the files that it proves, {made}"
    return f"proof {proof.name}: fresh, {made}" + f" ({record['skipped']} skipped)" * bool(record["skipped"])


def summary(record: dict[str, Any]) -> str:
    """A line on a proof that was just made."""
    counts = ", ".join(f"{record[name]} {name}" for name in ("passed", "failed", "skipped") if record[name])
    return f"proof {record['proof']}: {record['outcome']} ({counts}) in {record['seconds']} s"


def files_hash(proof: Proof) -> str:
    """SHA-256 over the names and contents of the files that a proof speaks for, its own tests among them."""
    patterns = [*proof.files, *proof.tests, *(command[0] for command in proof.commands)]
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns)
    digest = hashlib.sha256()
    for name in sorted(set(filter(None, listed.split("\0")))):
        if (ROOT / name).is_file():
            content = hashlib.sha256((ROOT / name).read_bytes()).hexdigest()
            digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def path_of(proof: Proof) -> Path:
    """Where a proof's record stands."""
    return RECORDS / f"{proof.name}.json"


def git(*arguments: str) -> str:
    """What git prints."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
