"""A secret is in nothing that a run writes, prints or sends on, however it is spelt there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from canaries import SECRETS, assert_nowhere, azdistill, files_of, forms, holding, tell, write_pipeline
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azdistill import redact

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_secret_is_nowhere_after_runs_that_give_it_away(project: Path) -> None:
    write_pipeline(project)
    assert_nowhere(project, tell(project))


def _teacher_inference(project: Path) -> str:
    """The component, copied into a project with what it includes."""
    inference = Path("components", "teacher", "teacher_inference")
    for folder in (inference, Path("components", "common"), Path("environments", "data")):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "azdistill.yml").write_text("{}\n")
    return f"./{inference}/component.yml"


@pytest.mark.slow
@pytest.mark.parametrize("code", [200, 401])
def test_an_endpoints_key_is_nowhere_whether_it_is_taken_or_refused(
    project: Path, teacher: Callable[..., Any], code: int
) -> None:
    key = SECRETS["LONG_KEY"]
    refuse = {"reply": lambda body, number: (401, {}, {"error": {"message": f"no such key: {key}"}})}
    serving = teacher(lambda messages: "The answer is 2.", **(refuse if code == 401 else {}))
    rows = [{"id": f"{n:016x}", "messages": [{"role": "user", "content": f"What is {n} + 1?"}]} for n in range(3)]
    (project / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    step = {
        "type": "command",
        "component": _teacher_inference(project),
        "inputs": {
            "rows": {"type": "uri_file", "path": "./rows.jsonl"},
            **{"task_type": "qa", "teacher_model": "t", "teacher_endpoint": f"{serving.url}/v1"},
            **{"teacher_key": "env:ENDPOINT_KEY", "max_retries": 0},
        },
    }
    (project / "pipeline.yml").write_text(yaml.safe_dump({"type": "pipeline", "jobs": {"teacher": step}}))
    done = azdistill(project, "run", "pipeline.yml", "--json", ENDPOINT_KEY=key)
    assert done.returncode == (4 if code == 401 else 0), done.stderr
    assert {request["headers"]["authorization"] for request in serving.requests} == {f"Bearer {key}"}
    # Nothing is left out here: the answers and rows hold no key either.
    everything = [(str(path), path.read_bytes()) for path in project.rglob("*") if path.is_file()]
    assert len(everything) > len(files_of(project)) - 1 > 10
    found = holding([("printed", done.stdout + done.stderr), *everything], [key])
    assert found == [], "\n".join(map(str, found))


@pytest.mark.slow
def test_a_key_that_the_teacher_gives_back_is_in_no_answer_cache_or_output(
    project: Path, teacher: Callable[..., Any]
) -> None:
    key = SECRETS["LONG_KEY"]
    spelt = [form.decode() for form in sorted(forms(key))]
    serving = teacher(lambda messages: f"x-debug: {spelt[int(messages[-1]['content'])]}")
    rows = [{"id": f"{n:016x}", "messages": [{"role": "user", "content": str(n)}]} for n in range(len(spelt))]
    (project / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    outputs = ("train", "rejects", "summary", "answers")
    step = {
        "type": "command",
        "component": _teacher_inference(project),
        "inputs": {
            "rows": {"type": "uri_file", "path": "./rows.jsonl"},
            **{"task_type": "conversation", "teacher_model": "t", "teacher_endpoint": f"{serving.url}/v1"},
            **{"teacher_key": "env:ENDPOINT_KEY", "min_success_ratio": 0.0},
        },
        "outputs": {name: f"${{{{parent.outputs.{name}}}}}" for name in outputs},
    }
    declared = {name: {"type": "uri_folder" if name == "answers" else "uri_file"} for name in outputs}
    pipeline = {"type": "pipeline", "outputs": declared, "jobs": {"teacher": step}}
    (project / "pipeline.yml").write_text(yaml.safe_dump(pipeline))
    done = azdistill(project, "run", "pipeline.yml", "--json", "--out", "out", ENDPOINT_KEY=key)
    assert done.returncode == 0, done.stderr
    assert json.loads(next((project / "out").glob("summary*")).read_text())["reasons"] == {"secret": len(spelt)}
    everything = [(str(path), path.read_bytes()) for path in project.rglob("*") if path.is_file()]
    assert {"out", "cache", "answers"} <= {part for name, _ in everything for part in Path(name).parts}
    found = holding([("printed", done.stdout + done.stderr), *everything], [key])
    assert found == [], "\n".join(map(str, found))


@pytest.fixture
def forgotten() -> Iterator[None]:
    redact.forget()
    yield
    redact.forget()


@pytest.mark.usefixtures("forgotten")
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(secret=st.text(st.characters(exclude_categories=("Cs",)), min_size=8, max_size=120))
def test_no_spelling_of_a_value_is_left(secret: str) -> None:
    redact.register(secret)
    for form in forms(secret):
        assert redact.redact(f"<{form.decode()}>").count("***") == 1
    redact.forget()
