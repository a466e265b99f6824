"""The list of what a step wrote, which downloads are checked against."""

from __future__ import annotations

import hashlib
import json

import pytest
from common import manifest
from common.step import BadData, run_step

COMPONENT = """
inputs:
  rows: {type: uri_file}
outputs:
  # The model.
  model:
    type: custom_model
  Summary: {type: uri_file}
code: .
"""


@pytest.fixture
def snapshot(tmp_path, monkeypatch):
    """A step's working directory, in a job on Azure."""
    monkeypatch.chdir(tmp_path)
    for name in ("AZDISTILL_METRICS_FILE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZUREML_RUN_ID", "run")
    (tmp_path / "component.yml").write_text(COMPONENT)
    made = tmp_path / "made"
    (made / "model" / "deep").mkdir(parents=True)
    (made / "model" / "deep" / "weights.bin").write_bytes(b"12345")
    (made / "summary.json").write_text("{}")
    arguments = [
        "step.py",
        "--rows",
        "in.jsonl",
        "--model",
        str(made / "model"),
        "--Summary",
        str(made / "summary.json"),
    ]
    monkeypatch.setattr("sys.argv", arguments)
    return tmp_path


def written(snapshot):
    return json.loads((snapshot / manifest.PLACE).read_text())["outputs"]


def test_every_output_is_listed_with_sizes_and_hashes(snapshot):
    with pytest.raises(SystemExit):
        run_step(lambda: None)
    weights = {"size": 5, "sha256": hashlib.sha256(b"12345").hexdigest()}
    assert written(snapshot) == {
        "model": {"deep/weights.bin": weights},
        "Summary": {"": {"size": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}},
    }


def test_a_step_that_failed_lists_nothing(snapshot):
    def main():
        raise BadData("no rows")

    with pytest.raises(SystemExit):
        run_step(main)
    assert not (snapshot / "outputs").exists()


@pytest.mark.parametrize("variable", ["AZDISTILL_METRICS_FILE", "RANK"])
def test_neither_the_local_runner_nor_a_later_process_lists_anything(snapshot, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SystemExit):
        run_step(lambda: None)
    assert not (snapshot / "outputs").exists()


def test_outputs_are_known_by_variables_too(snapshot):
    (snapshot / "component.yml").unlink()
    found = manifest.output_paths(
        snapshot, [], {"AZURE_ML_OUTPUT_model": "/m", "AZURE_ML_OUTPUT_PathOnCompute_x": "/x"}
    )
    assert {name: str(path) for name, path in found.items()} == {"model": "/m"}


def test_variables_that_lost_their_case_mean_the_declared_output(snapshot):
    found = manifest.output_paths(snapshot, [], {"AZURE_ML_OUTPUT_SUMMARY": "/s"})
    assert {name: str(path) for name, path in found.items()} == {"Summary": "/s"}


def test_what_cannot_be_written_down_costs_a_warning(snapshot, capsys):
    (snapshot / "outputs").write_text("in the way")
    with pytest.raises(SystemExit) as ended:
        run_step(lambda: None)
    assert ended.value.code == 0
    assert "warning: what this step wrote cannot be listed" in capsys.readouterr().err
