"""The program that people write from memory, word for word, on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from client_program import LOCAL_PROGRAM, Ran, run, write_folder
from tiny_models import save_tiny

from azdistill import DistillationJob, MLClient, RunFailed


@pytest.mark.slow
def test_the_program_works_word_for_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith(("MLFLOW", "AZDISTILL_HOME"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ran = run(LOCAL_PROGRAM, write_folder(tmp_path / "program"))
    # One test, since all of them look at what one run of some fifty seconds has left.
    prints_how_the_run_ended_and_what_distilling_brought(ran)
    tells_its_progress_on_stderr(ran)
    measures_two_models_on_the_test_rows(ran)
    lists_shows_and_downloads_jobs(ran, tmp_path, capsys)
    registers_the_model_with_what_it_was_made_from(ran)
    mlflow_loads_the_registered_model_and_it_answers(ran)
    does_not_register_again_what_has_not_changed(ran)


def prints_how_the_run_ended_and_what_distilling_brought(ran: Ran) -> None:
    status, difference = ran.out.splitlines()
    assert status == "Completed"
    assert float(difference) == ran.names["distilled"]["accuracy"] - ran.names["baseline"]["accuracy"]
    assert list(ran.names["distilled"]) == ["accuracy", "bleu_score", "inference_time"]
    assert ran.names["distilled"]["inference_time"] > 0
    assert ran.names["baseline"]["parameters"] > 10_000


def tells_its_progress_on_stderr(ran: Ran) -> None:
    assert "finetune: completed in" in ran.err
    assert "temperature 0.7 means sampling_temperature" in ran.err


def measures_two_models_on_the_test_rows(ran: Ran) -> None:
    evaluations = [job for job in ran.names["ml_client"].jobs.list() if job.display_name.startswith("evaluate")]
    columns = {}
    for job in evaluations:
        report = json.loads((Path(job.outputs["report"]) / "comparison.json").read_text())
        columns |= {name: report[name]["model"] for name in ("baseline", "distilled") if report[name]}
        assert report["rows"] == 2
    assert set(columns) == {"baseline", "distilled"}
    assert columns["baseline"] != columns["distilled"]


def lists_shows_and_downloads_jobs(ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs, job = ran.names["ml_client"].jobs, ran.names["job"]
    assert len(jobs.list()) == 3
    assert jobs.get(job.name) == job
    assert Path(job.studio_url.removeprefix("file://")).is_dir()
    jobs.stream(job.name)
    assert "register | registered phi-4-mini-distilled, version 1" in capsys.readouterr().out
    jobs.download(job.name, download_path=tmp_path, output_name="report")
    copy = tmp_path / "named-outputs" / "report" / "report.html"
    copy.write_text("mine now")
    assert (Path(job.outputs["report"]) / "report.html").read_text() != "mine now"


def registry(ran: Ran) -> Any:
    import mlflow

    return mlflow.MlflowClient(f"sqlite:///{ran.folder / 'mlflow.db'}")


def registers_the_model_with_what_it_was_made_from(ran: Ran) -> None:
    (version,) = registry(ran).search_model_versions("name='phi-4-mini-distilled'")
    tags = version.tags
    assert tags["azdistill.teacher"] == "DeepSeek-V3"
    assert tags["azdistill.teacher_licence"] == "DeepSeek License Agreement 1.0"
    assert tags["azdistill.job"] == ran.names["job"].name
    assert float(tags["azdistill.distilled.rougeL"]) == pytest.approx(
        ran.names["job"].metrics["distilled.rougeL"], rel=1e-4
    )
    name, _, digest = tags["azdistill.data.curated"].partition(":")
    rows = ran.folder / ".azdistill" / "assets" / "curated" / digest / "rows.jsonl"
    assert name == "phi-4-mini-curated"
    assert rows.read_bytes() == Path(ran.names["job"].outputs["curated"]).read_bytes()


def mlflow_loads_the_registered_model_and_it_answers(ran: Ran) -> None:
    import mlflow
    import mlflow.transformers

    (version,) = registry(ran).search_model_versions("name='phi-4-mini-distilled'")
    place = version.source
    pipeline = mlflow.transformers.load_model(place)
    assert pipeline.model.num_parameters() == ran.names["baseline"]["parameters"]
    asked = {"messages": [{"role": "user", "content": "How is the weather?"}], "max_tokens": 5}
    (answer,) = mlflow.pyfunc.load_model(place).predict(asked)
    assert answer["choices"][0]["message"]["content"]


def does_not_register_again_what_has_not_changed(ran: Ran) -> None:
    again = run(LOCAL_PROGRAM.partition("distilled =")[0], ran.folder)
    assert again.out == "Completed\n"
    assert again.names["job"].name != ran.names["job"].name
    assert again.names["job"].steps["register"] == "completed"
    assert len(registry(ran).search_model_versions("name='phi-4-mini-distilled'")) == 1


def test_a_run_that_fails_says_why_and_so_does_measuring_its_model(tmp_path: Path) -> None:
    save_tiny(tmp_path / "tiny")
    (tmp_path / "rows.jsonl").write_text("not json\n")
    client = MLClient.local(tmp_path, tracking=False)
    job = client.jobs.create_or_update(
        DistillationJob(
            teacher_model="adder",
            teacher_endpoint="http://127.0.0.1:9/v1",
            student_model=str(tmp_path / "tiny"),
            task_type="math",
            training_data=tmp_path / "rows.jsonl",
        )
    )
    assert job.status == "Failed"
    assert "step 'prepare': error[bad_data]: 1 rows cannot be used" in job.error
    with pytest.raises(RunFailed, match=r"the run that makes tiny-distilled is Failed: step 'prepare'"):
        client.models.evaluate("tiny-distilled", tmp_path / "rows.jsonl")
    with pytest.raises(RunFailed, match="is Failed"):
        client.jobs.stream(job.name)
