"""Collecting is cheap, and a test is of the tier that its time says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import tiers
from proofs import prove
from proofs.long_proofs import PROOFS, Proof

ROOT = tiers.TESTS.parent


def test_collecting_the_tests_imports_no_heavy_library(request: pytest.FixtureRequest) -> None:
    assert request.config.stash[tiers.imported_at_collection] == []


def test_each_file_of_the_fast_tier_is_there() -> None:
    assert [str(path) for path in tiers.quick_files() if not path.exists()] == []


BAD = {
    "a heavy library": ("import importlib, sys\n    sys.modules['mlflow'] = sys", "it uses mlflow"),
    "a server": ("import socket\n    socket.create_server(('127.0.0.1', 0)).close()", "it uses a server"),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD)
def test_a_quick_test_that_uses_more_is_failed_by_its_name(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "test_one.py").write_text(f"import pytest\n\n@pytest.mark.quick\ndef test_it():\n    {body}\n")
    options = ["-p", "tiers", "-p", "no:cacheprovider", "-c", os.devnull, "--color=no", "-m", "quick"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_one.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tiers.TESTS), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"test_it is no quick test: {message}" in ended.stdout
    assert "1 failed" in ended.stdout


def test_every_slow_test_belongs_to_one_proof(request: pytest.FixtureRequest) -> None:
    owners = {
        path: [proof.name for proof in PROOFS if any(path in ROOT.glob(pattern) for pattern in proof.tests)]
        for path in request.config.stash[tiers.slow_files]
    }
    assert {str(path): names for path, names in owners.items() if len(names) != 1} == {}


def test_what_the_proofs_name_is_there() -> None:
    named = [path for proof in PROOFS for path in (*proof.files, *(command[0] for command in proof.commands))]
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert [pattern for proof in PROOFS for pattern in proof.tests if not list(ROOT.glob(pattern))] == []


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one file, in which proofs are made."""
    (tmp_path / "code.py").write_text("ANSWER = 42\n")
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *identity, "commit", "-qm", "Start"], cwd=tmp_path, check=True)
    (tmp_path / "records").mkdir()
    monkeypatch.setattr(prove, "ROOT", tmp_path)
    monkeypatch.setattr(prove, "RECORDS", tmp_path / "records")
    return tmp_path


def test_a_proof_is_fresh_until_a_file_that_it_proves_changes(checkout: Path) -> None:
    proof = Proof("answers", "The answer is right.", ("code.py",), commands=(("-c", "import code"),))
    assert prove.age(proof) == "proof answers: never made; run `make prove PROOFS=answers`"
    record = prove.prove(proof)
    assert (record["outcome"], record["passed"], record["failed"]) == ("passed", 1, 0)
    assert json.loads((checkout / "records" / "answers.json").read_text()) == record
    assert prove.age(proof).startswith("proof answers: fresh, ")
    (checkout / "beside.py").write_text("")
    assert "fresh" in prove.age(proof)
    (checkout / "code.py").write_text("ANSWER = 43\n")
    assert "older than the files that it proves" in prove.age(proof)
    assert prove.source()["commit"].endswith(" with changes")


def test_a_proof_that_does_not_hold_is_written_down_as_failed(checkout: Path) -> None:
    proof = Proof("answers", "The answer is right.", ("code.py",), commands=(("-c", "pass"), ("-c", "exit(3)")))
    record = prove.prove(proof)
    assert (record["outcome"], record["passed"], record["failed"]) == ("failed", 1, 1)
    assert "failed" in prove.age(proof)


def test_the_slow_tests_of_a_proof_are_counted(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ("import pytest", "pytestmark = pytest.mark.slow", "def test_a(): pass", "def test_b(): assert 0")
    skipped = ("@pytest.mark.skip(reason='no engine')", "def test_c(): pass")
    (checkout / "test_code.py").write_text("\n".join((*lines, *skipped)))
    monkeypatch.setenv("PYTEST_ARGS", "-p no:cacheprovider -W ignore")
    monkeypatch.setenv("JOBS", "0")
    record = prove.prove(Proof("answers", "The answer is right.", (), ("test_code.py",)))
    assert {name: record[name] for name in ("outcome", "passed", "failed", "skipped")} == {
        "outcome": "failed",
        "passed": 1,
        "failed": 1,
        "skipped": 1,
    }


def test_no_two_test_files_have_one_name() -> None:
    """They are modules without packages: the whole suite cannot be collected where two have one name."""
    names = Counter(path.name for path in tiers.TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []
