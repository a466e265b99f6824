"""A secret that a container is given is in nothing that a run writes, prints or sends on."""

from pathlib import Path

import pytest
from canaries import assert_nowhere, tell, write_pipeline

from azdistill.local.runners.docker.engine import Engine


@pytest.mark.slow
def test_a_secret_is_nowhere_after_runs_that_give_it_away(tmp_path: Path, engine: Engine, image: str) -> None:
    write_pipeline(tmp_path, {"image": image}, "python3")
    assert_nowhere(tmp_path, tell(tmp_path, "--docker"))
    assert list(tmp_path.rglob("attempts/1/mlflow/0/r/params/0"))
