"""Every ready pipeline, here and in a workspace: the same files come out of both, and no key goes in.

The hub is a cache with tiny models under the real names, the teacher a server on loopback whose key is a canary.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Workspace

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "components"))

from loopback_teacher import LoopbackTeacher  # noqa: E402
from tiny_models import save_tiny  # noqa: E402

CANARY = "canary-teacher-key-7c1f"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
STUDENTS = ("microsoft/Phi-4-mini-instruct", "meta-llama/Llama-3.1-8B-Instruct")
TEACHERS = ("meta-llama/Llama-3.3-70B-Instruct",)
#: What a run measures: never the same twice, on one machine either.
MEASURED = (
    *("latency", "throughput", "tokens_per_second", "created", "ci", "changes", "machine", "timing_group", "seconds"),
)
#: Where a model lay when it was measured.
PLACES = ("model",)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face cache that holds tiny models under the names that the pipelines use."""
    home = tmp_path_factory.mktemp("huggingface")
    for seed, name in enumerate([*STUDENTS, *TEACHERS]):
        folder = home / "hub" / f"models--{name.replace('/', '--')}"
        (folder / "snapshots" / COMMIT).mkdir(parents=True)
        save_tiny(folder / "snapshots" / COMMIT, seed=seed)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(COMMIT)
    return home


@pytest.fixture
def teacher() -> Iterator[LoopbackTeacher]:
    def answer(messages: list[dict[str, str]]) -> str:
        word = ("entailment", "neutral", "contradiction")[len(messages[-1]["content"]) % 3]
        return json.dumps({"reason": "It follows.", "answer_choice": word})

    with LoopbackTeacher(answer) as made:
        yield made


class Program:
    """`azdistill` in a folder of its own."""

    def __init__(self, folder: Path, hub: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._variables = {"HF_HOME": str(hub), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TEACHER_KEY": CANARY}
        self.printed: list[str] = []

    def __call__(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "azdistill", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=os.environ | self._variables, capture_output=True, text=True, check=False
        )
        self.printed += [done.stdout, done.stderr]
        assert done.returncode == code, done.stderr[-3000:]
        return done.stdout


@pytest.fixture
def program(tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    # The jobs of the workspace run in processes of this one.
    monkeypatch.setenv("HF_HOME", str(hub))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Program(tmp_path / "user", hub)


def keep_the_key(workspace: Workspace) -> None:
    """A workspace connection with the teacher's key."""
    from azdistill.cloud.workspace.connect import connect

    properties = {"category": "ApiKey", "authType": "ApiKey", "target": "teacher", "credentials": {"key": CANARY}}
    connection = connect()
    path = f"{connection.workspace_id}/connections/teacher"
    connection.rest.call("PUT", path, api_version="2024-04-01-preview", body={"properties": properties})


def leaks(workspace: Workspace) -> list[str]:
    """Requests that hold the key, but for the one that put it into its connection and the teacher's own."""
    return [found.path for found in workspace.seen(CANARY) if not found.path.endswith("/connections/teacher")]


def comparable(path: Path) -> Any:
    """What a file says, without what was measured."""
    if path.suffix == ".json":
        return _unmeasured(json.loads(path.read_text()))
    if path.suffix in (".jsonl", "") and path.read_bytes()[:1] == b"{":
        return [_unmeasured(json.loads(line)) for line in path.read_text().splitlines()]
    return path.read_bytes()


def _unmeasured(value: Any) -> Any:
    if isinstance(value, dict):
        left_out = {key for key in value if key in PLACES or any(word in key for word in MEASURED)}
        return {key: _unmeasured(inner) for key, inner in value.items() if key not in left_out}
    return [_unmeasured(inner) for inner in value] if isinstance(value, list) else value


def same_files(here: Path, there: Path) -> list[str]:
    """Names of the files that are equal; the reports' pages, which show times, are left out."""
    names = [str(path.relative_to(here)) for path in sorted(here.rglob("*")) if path.is_file()]
    compared = [name for name in names if not name.endswith((".html", ".md", ".azdistill-output"))]
    for name in compared:
        assert comparable(here / name) == comparable(there / name), name
    assert sorted(str(path.relative_to(there)) for path in there.rglob("*") if path.is_file()) == names
    return compared


def both(program: Program, file: Path, common: list[str], here: list[str], there: list[str]) -> tuple[str, list[str]]:
    """Run ``file`` on this machine and in the workspace; the job's name, and the files that came out equal."""
    program("run", str(file), *sets(common + here), "--no-tracking", "--out", "here")
    said = json.loads(program("submit", str(file), *sets(common + there), "--yes", "--stream", "--json"))
    program("download", said["name"], "--out", "there")
    return said["name"], same_files(program.folder / "here", program.folder / "there")


def sets(values: list[str]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


@pytest.mark.slow
def test_distill(program: Program, make_workspace: Callable[..., Workspace], teacher: LoopbackTeacher) -> None:
    workspace = make_workspace(execute=True)
    keep_the_key(workspace)
    common = [f"teacher_endpoint={teacher.url}/v1", "num_epochs=1", "max_new_tokens=8"]
    file = ROOT / "pipelines" / "distill.yml"
    name, equal = both(program, file, common, ["teacher_key=env:TEACHER_KEY"], ["teacher_key=connection:teacher"])
    assert {"curated", "model/model.safetensors", "report/comparison.json"} <= set(equal)

    program("runs", "pull", name)
    listed = {run["run_id"]: run["metrics"] for run in json.loads(program("runs", "--json"))}
    assert "retention" in listed[name]
    assert program("logs", "teacher", "--run", name).count("teacher |") > 0
    before = len(workspace.requests)
    again = json.loads(
        program("submit", str(file), *sets([*common, "teacher_key=connection:teacher"]), "--yes", "--stream", "--json")
    )
    uploads = [r for r in workspace.requests[before:] if r.method == "PUT" and "LocalUpload" in r.path]
    assert uploads == []
    steps = json.loads(program("status", again["name"], "--json"))["steps"]
    assert [key for key, step in steps.items() if not step["reused"]] == ["compare", "register"]

    assert workspace.violations == []
    assert workspace.checked == workspace.sent
    assert leaks(workspace) == []
    assert not any(CANARY in text for text in program.printed)
    files = [path for path in program.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    files += [path for path in (program.folder.parent / "azure" / "blobs").rglob("*") if path.is_file()]
    assert len(files) > 100
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


@pytest.mark.slow
def test_distill_with_distributions(
    program: Program, make_workspace: Callable[..., Workspace], teacher: LoopbackTeacher
) -> None:
    workspace = make_workspace(execute=True)
    keep_the_key(workspace)
    common = [f"teacher_endpoint={teacher.url}/v1", "num_epochs=1", "max_new_tokens=8"]
    file = ROOT / "pipelines" / "distill_logits.yml"
    _, equal = both(program, file, common, ["teacher_key=env:TEACHER_KEY"], ["teacher_key=connection:teacher"])
    assert "model/model.safetensors" in equal
    assert leaks(workspace) == []


def test_evaluate_where_the_storage_takes_identities_only(
    program: Program, make_workspace: Callable[..., Workspace], hub: Path
) -> None:
    workspace = make_workspace(execute=True, identity_storage=True)
    model = next((hub / "hub" / "models--meta-llama--Llama-3.1-8B-Instruct" / "snapshots").iterdir())
    common = [f"distilled={model}", "max_new_tokens=4"]
    _, equal = both(program, ROOT / "pipelines" / "evaluate.yml", common, [], [])
    assert equal == ["report/comparison.json"]
    assert workspace.violations == []
    assert workspace.checked == workspace.sent


@pytest.mark.slow
def test_the_sandbox(program: Program, make_workspace: Callable[..., Workspace], teacher: LoopbackTeacher) -> None:
    workspace = make_workspace(execute=True)
    sandbox = ROOT / "examples" / "sandbox"
    data = program.folder / "data"
    script = "import sys; from pathlib import Path; from make_data import write; write('math', Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", script, str(data)], check=True, cwd=sandbox, capture_output=True)
    found = yaml.safe_load((sandbox / "demo.yml").read_text())
    found["teacher"] = {"model": str(sandbox / "teacher"), "max_tokens": 40, "engine": "transformers"}
    found["student"] = {"model": str(sandbox / "student")}
    found["data"] = {name: str(data / Path(path).name) for name, path in found["data"].items()}
    found["data"] |= {"max_training_rows": 24, "max_test_rows": 8}
    # The student that gold answers train is compared by `test_distill`.
    found["evaluation"]["gold_sft"] = False
    found["hyperparameters"]["num_epochs"] = 1
    (program.folder / "demo.yml").write_text(yaml.safe_dump(found))
    _, equal = both(program, program.folder / "demo.yml", [], [], [])
    assert "model/model.safetensors" in equal
    assert workspace.violations == []


@pytest.mark.slow
def test_the_live_check_passes_against_loopback(program: Program, make_workspace: Callable[..., Workspace]) -> None:
    workspace = make_workspace(execute=True)
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "live" / "live_check.py"), "--workspace", workspace.name],
        cwd=program.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "outputs equal those of a local run" in done.stdout
    assert "a second submit reuses every step" in done.stdout
    assert "deleted" in done.stdout.splitlines()[-1]
