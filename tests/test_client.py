"""What the client understands before anything runs: names of models and metrics, and the pipeline that measures one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from client_program import SANDBOX

from azdistill import DistillationJob, MLClient, UserError, aml
from azdistill.client import evaluation
from azdistill.compile.naming import student_name
from azdistill.recipe.refer import Weights

STUDENT = SANDBOX / "student"


def test_importing_azdistill_imports_nothing_heavy() -> None:
    code = (
        "import sys, azdistill; before = set(sys.modules); azdistill.MLClient.local; azdistill.DistillationJob;"
        "print([name for name in sys.modules if name.split('.')[0] in ('azure', 'mlflow', 'torch', 'transformers')])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("phi-4-mini", "phi-4-mini"),
        ("microsoft/Phi-4-mini-instruct", "Phi-4-mini-instruct"),
        ("azureml://registries/azureml/models/Phi-4-mini-instruct/versions/2", "Phi-4-mini-instruct"),
        ("azureml:mine:3", "mine"),
        ("./models/small one/", "small-one"),
        ("models/..", "project"),
    ],
)
def test_a_student_is_called_by_its_own_name(model: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "project" / "models").mkdir(parents=True)
    assert student_name(model, tmp_path / "project") == name


def test_a_job_knows_what_its_model_will_be_called(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    job = DistillationJob(
        teacher_model="gpt-4.1",
        teacher_endpoint="https://teacher.example/v1",
        student_model=str(STUDENT),
        task_type="math",
        training_data=tmp_path / "rows.jsonl",
    )
    assert job.model_name == "student-distilled"
    pipeline = job.to_pipeline().pipeline()
    assert pipeline.inputs["model_name"].default == "student-distilled"
    assert pipeline.inputs["teacher_licence"].default == "proprietary (OpenAI)"
    assert list(pipeline.jobs)[-1] == "register"
    register = job.to_pipeline().mapping["jobs"]["register"]["inputs"]
    # compare ends with an error below min_retention: what needs its report does not run then.
    assert register["report"] == "${{parent.jobs.compare.outputs.report}}"


def test_a_model_name_says_which_student_before_or_after() -> None:
    assert evaluation.model_name("phi-4-mini-distilled") == evaluation.ModelName("phi-4-mini", "distilled")
    assert evaluation.model_name("a-distilled-baseline") == evaluation.ModelName("a-distilled", "baseline")
    with pytest.raises(UserError, match="did you mean 'phi-distilled'") as raised:
        evaluation.model_name("phi-distiled", ["phi-distilled"])
    assert raised.value.code == "AZD490"
    with pytest.raises(UserError):
        evaluation.model_name("-distilled")


def test_a_metric_has_the_name_that_people_use_and_its_own() -> None:
    measured = {"accuracy": 0.5, "bleu": 0.25, "latency_ms_p50": 12, "model": "m", "ci": {}, "f": None, "gate": True}
    assert evaluation.pick(measured, ["accuracy", "bleu_score", "inference_time", "bleu"]) == {
        **{"accuracy": 0.5, "bleu_score": 0.25, "inference_time": 12.0, "bleu": 0.25}
    }
    everything = evaluation.pick(measured, None)
    assert everything == {
        **{"accuracy": 0.5, "bleu": 0.25, "latency_ms_p50": 12.0, "bleu_score": 0.25, "inference_time": 12.0}
    }
    assert all(isinstance(value, float) for value in everything.values())


def test_the_accuracy_of_free_text_is_the_share_that_equals_the_reference() -> None:
    assert evaluation.pick({"accuracy": None, "exact_match": 0.125}, ["accuracy"]) == {"accuracy": 0.125}


def test_an_unknown_metric_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'bleu_score'"):
        evaluation.check_metrics(["accuracy", "blue_score"])
    with pytest.raises(UserError, match="gives no bleu_score") as raised:
        evaluation.pick({"accuracy": 0.5}, ["bleu_score"])
    assert raised.value.code == "AZD492"


def subject(tmp_path: Path, **inputs: str) -> evaluation.Subject:
    (tmp_path / "test.jsonl").write_text("{}\n")
    weights = Weights("path", str(STUDENT))
    origin = evaluation.Origin(weights, {"task_type": "NLU_QA", **inputs}, {})
    return evaluation.Subject("tiny-distilled", "distilled", origin)


def test_a_model_is_measured_as_the_run_that_made_it_says(tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text("Answer.")
    made = {"max_new_tokens": "8", "evaluation_batch_size": "4", "system_prompt": str(tmp_path / "system.txt")}
    mapping = evaluation.evaluation_of(subject(tmp_path, **made), tmp_path / "test.jsonl")
    assert mapping["inputs"]["task_type"] == "qa"
    assert mapping["inputs"]["batch_size"] == "4"
    assert mapping["jobs"]["evaluate"]["inputs"]["max_new_tokens"] == "${{parent.inputs.max_new_tokens}}"
    assert "baseline_id" not in mapping["inputs"]
    assert aml.check(aml.pipeline_from(mapping, tmp_path, "test")) == []


def test_test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no file \./nothing\.jsonl"):
        evaluation.evaluation_of(subject(tmp_path), "./nothing.jsonl")
    assert evaluation.evaluation_of(subject(tmp_path), "azureml:rows:1")["inputs"]["test_data"]["path"] == (
        "azureml:rows:1"
    )


def test_a_task_that_nobody_knows_is_asked_for() -> None:
    with pytest.raises(UserError, match="is not known") as raised:
        _ = evaluation.Subject("phi-baseline", "baseline", evaluation.Origin(Weights("id", "phi"), {}, {})).task
    assert "task_type=" in raised.value.hint


def test_what_needs_a_workspace_says_so_on_a_folder(tmp_path: Path) -> None:
    client = MLClient.local(tmp_path)
    for wish in ("compute", "data", "azure"):
        with pytest.raises(UserError, match="needs a workspace") as raised:
            getattr(client, wish)
        assert raised.value.code == "AZD497"
    with pytest.raises(UserError, match=r"jobs\.archive needs a workspace"):
        client.jobs.archive("x")
    with pytest.raises(UserError, match="needs a workspace"):
        client.jobs.create_or_update(object())
    assert client.jobs.list() == []
    with pytest.raises(UserError, match="there is no run 'x'"):
        client.jobs.get("x")
    with pytest.raises(UserError, match="no run made a model 'phi-distilled'"):
        client.models.evaluate("phi-distilled", "test.jsonl")


def test_a_client_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        MLClient.local(tmp_path / "file")
