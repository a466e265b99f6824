"""The whole demo, from its data to its report, gives in containers what it gives in processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packed_image import packed

from azdistill.local.runners.docker.engine import Engine

ROOT = Path(__file__).parents[2]
#: What is measured, and where things lie: other in each run.
_OTHER = re.compile(r"latency|throughput|tokens_per_second|timing|^created$|^generation$|^machine$|^model$|^report$")


@pytest.fixture
def project(engine: Engine, image: str, tmp_path: Path) -> Iterator[Path]:
    """A folder with the demo, whose environments are built on an image that holds their packages."""
    shutil.copytree(ROOT / "examples" / "sandbox", tmp_path / "examples" / "sandbox")
    before = {tag for each in engine.api.images() for tag in each["RepoTags"] or ()}
    with pytest.MonkeyPatch.context() as patch, packed(engine, image) as base:
        # An engine takes minutes to drop gigabytes on a busy disk.
        patch.setattr(engine.api, "timeout", 900)
        docker = {"build_network": "none", "build_arguments": {"*": {"BASE_IMAGE": base}}}
        (tmp_path / "azdistill.yml").write_text(yaml.safe_dump({"local": {"docker": docker}}))
        yield tmp_path
        for tag in _tags_on(engine, base) - before:
            engine.api.remove_image(tag, force=True)


def _tags_on(engine: Engine, base: str) -> set[str]:
    """The images that were built on ``base``."""
    layers = engine.api.inspect_image(base)["RootFS"]["Layers"]
    images = [engine.api.inspect_image(each["Id"]) for each in engine.api.images()]
    above = (each for each in images if each["RootFS"]["Layers"][: len(layers)] == layers)
    return {tag for each in above for tag in each["RepoTags"]} - {base}


def demo(project: Path, *options: str) -> dict[str, Any]:
    """Run the demo for one epoch; gives its outputs: files by path, and what the report compares."""
    command = [sys.executable, "examples/sandbox/run_demo.py", "--set", "num_epochs=1", *options]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    outputs = project / "runs" / "demo"
    files = [path for path in [*outputs.glob("curated*"), *(outputs / "model").rglob("*")] if path.is_file()]
    comparison = json.loads((outputs / "report" / "comparison.json").read_text())
    return {
        **{str(path.relative_to(outputs)): path.read_bytes() for path in files},
        **{"report": sorted(path.name for path in (outputs / "report").iterdir()), "compared": _lasting(comparison)},
    }


def _lasting(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _lasting(value) for key, value in content.items() if not _OTHER.search(key)}
    return [_lasting(element) for element in content] if isinstance(content, list) else content


@pytest.mark.slow
def test_the_demo_gives_in_containers_what_it_gives_in_processes(project: Path) -> None:
    in_processes = demo(project)
    in_containers = demo(project, "--docker")
    assert in_containers == in_processes
    assert {"model/model.safetensors", "compared"} <= in_processes.keys()
    assert in_processes["compared"]["distilled"]["accuracy"] >= 0
