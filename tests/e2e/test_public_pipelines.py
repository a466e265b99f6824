"""Azure's public examples run unmodified, where a tester has a checkout of them.

AZDISTILL_EXAMPLES is the checkout of azureml-examples, AZDISTILL_EXAMPLES_PYTHON an interpreter with the packages that
the examples need (pandas before 2, scikit-learn, mlflow, mltable). What they keep in a workspace can be named in an
azdistill.yml at the root of the checkout; those here keep their data beside them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from program import Program

pytestmark = pytest.mark.slow

_BASICS = "pipelines-with-components/basics"
_NESTED = "pipelines-with-components/pipeline_with_pipeline_component"
EXAMPLES = (
    f"{_BASICS}/1a_e2e_local_components/pipeline.yml",
    f"{_BASICS}/2a_basic_component/pipeline.yml",
    f"{_BASICS}/2b_component_with_input_output/pipeline.yml",
    f"{_BASICS}/3a_basic_pipeline/pipeline.yml",
    f"{_BASICS}/3b_pipeline_with_data/pipeline.yml",
    f"{_BASICS}/4a_local_data_input/pipeline.yml",
    f"{_BASICS}/5a_env_public_docker_image/pipeline.yml",
    f"{_BASICS}/5b_env_registered/pipeline.yml",
    f"{_BASICS}/5c_env_conda_file/pipeline.yml",
    f"{_BASICS}/6a_tf_hello_world/pipeline.yml",
    f"{_BASICS}/6b_pytorch_hello_world/pipeline.yml",
    f"{_NESTED}/nyc_taxi_data_regression_with_pipeline_component/pipeline.yml",
    f"{_NESTED}/pipeline_with_train_eval_pipeline_component/pipeline.yml",
    "pipelines-with-components/nyc_taxi_data_regression/pipeline.yml",
    "pipelines/nyc-taxi/pipeline.yml",
    "parallel/1a_oj_sales_prediction/pipeline.yml",
    "basics/hello-pipeline.yml",
    "basics/hello-pipeline-abc.yml",
    "basics/hello-pipeline-customize-output-file.yml",
    "basics/hello-pipeline-customize-output-folder.yml",
    "basics/hello-pipeline-default-artifacts.yml",
    "basics/hello-pipeline-io.yml",
    "basics/hello-pipeline-settings.yml",
    "basics/hello-world.yml",
    "basics/hello-world-input.yml",
    "basics/hello-world-output.yml",
    "basics/hello-world-output-data.yml",
    "basics/hello-mlflow.yml",
)
#: Fewer than this is no checkout of the examples.
AT_LEAST = 15


@pytest.fixture(scope="module")
def jobs() -> Path:
    """The folder of the examples' jobs."""
    folder = os.environ.get("AZDISTILL_EXAMPLES")
    if not folder:
        pytest.skip("AZDISTILL_EXAMPLES names no checkout of azureml-examples")
    return Path(folder).resolve() / "cli" / "jobs"


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of their steps."""
    found = os.environ.get("AZDISTILL_EXAMPLES_PYTHON")
    if not found:
        pytest.skip("AZDISTILL_EXAMPLES_PYTHON names no interpreter with the examples' packages")
    return found


def test_the_checkout_has_them(jobs: Path) -> None:
    assert len([name for name in EXAMPLES if (jobs / name).is_file()]) >= AT_LEAST


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_public_example_runs_unmodified(name: str, jobs: Path, python: str, program: Program) -> None:
    if not (jobs / name).is_file():
        pytest.skip(f"the checkout has no {name}")
    started = program.start("run", jobs / name, "--python", python, "--out", program.folder / "out", "--no-tracking")
    printed, told = started.communicate(timeout=600)
    assert started.returncode == 0, f"{printed}\n{told}"
