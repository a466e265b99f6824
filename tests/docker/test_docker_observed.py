"""What a step in a container sees of the caller's variables is in its key, or in the list of what does not count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from observed import ASKED_FOR, OF_THE_STEP, callers, counted, undecided, unnoticed, variables_in

from azdistill import aml, redact
from azdistill.local.pipeline_run import Options, run_pipeline
from azdistill.local.runners.docker.engine import Engine


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZDISTILL_HOME", raising=False)
    yield tmp_path
    redact.forget()


def test_each_variable_that_a_container_sees_is_decided(
    project: Path, image: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = {
        "type": "command",
        "command": "env -0 > '${{outputs.o}}'; id -un || true; touch ~/left $(mktemp)",
        "environment": {"image": image},
        "outputs": {"o": {"type": "uri_file"}},
        "environment_variables": OF_THE_STEP,
    }
    (project / "pipeline.yml").write_text(yaml.safe_dump({"type": "pipeline", "jobs": {"a": tell}}))
    # The image is in the key as a whole.
    of_the_image = {line.partition("=")[0] for line in engine.api.inspect_image(image)["Config"]["Env"] or ()}
    seen, keys = [], []
    for value in ("first", "second"):
        for name, text in callers(value).items():
            monkeypatch.setenv(name, text)
        options = Options(docker=True, variables=ASKED_FOR)
        finished = run_pipeline(aml.load_pipeline(project / "pipeline.yml"), options)
        assert finished.state.steps["a"].status == "completed"
        seen.append(variables_in(Path(finished.state.steps["a"].outputs["o"])))
        keys.append(counted(finished, "a"))
        assert set(undecided(seen[-1], keys[-1])) <= of_the_image
    assert unnoticed(seen, keys) <= {"HF_TOKEN", "TEACHER_API_KEY"}
    # What names a place of this machine does not reach a container, so it is not in its key either.
    assert not {"HF_HOME", "AZURE_CONFIG_DIR", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"} & (seen[0].keys() | keys[0].keys())
    assert (seen[0]["HOME"], seen[0]["USER"]) == ("/tmp", "azdistill")
