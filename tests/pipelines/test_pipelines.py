"""The ready pipelines, the components and what the builder writes: as Azure ML's own SDK reads them, and as we do."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from azdistill import SpecError, aml, compile
from azdistill.compile.write import render

ROOT = Path(__file__).parents[2]
PIPELINES = sorted((ROOT / "pipelines").glob("*.yml"))
COMPONENTS = sorted((ROOT / "components").glob("*/*/component.yml"))
SHARED = Path(os.environ.get("AZDISTILL_SHARED", ROOT.parent / "shared")) / "data" / "azureml-distillation"

#: A recipe that says what pipelines/distill.yml says.
SAME_AS_DISTILL = f"""\
name: distill
description: Distils a teacher behind an endpoint into a small student and compares the two.
task: nli
teacher:
  model: deepseek-v3.2
  endpoint: https://YOUR-RESOURCE.services.ai.azure.com/openai/v1
  api_key: ${{env:TEACHER_API_KEY}}
  strategy: chain_of_thought
  max_tokens: 512
  concurrency: 8
student: phi-4-mini
data: {{training_data: {ROOT}/pipelines/data/nli.jsonl, validation_fraction: 0.15, test_fraction: 0.25}}
hyperparameters: {{learning_rate: 2e-4, batch_size: 4, num_epochs: 3, lora: true, temperature: 0}}
evaluation: {{max_new_tokens: 256}}
"""
SAME_AS_LOGITS = (
    SAME_AS_DISTILL.replace("name: distill\n", "name: distill-logits\nmethod: logits\n")
    .replace("a teacher behind an endpoint", "the distributions of a teacher with open weights")
    .replace("deepseek-v3.2", "llama-3.3-70b-instruct\n  weights: llama-3.3-70b-instruct")
    .replace("chain_of_thought", "direct")
    .replace("phi-4-mini", "llama-3.1-8b")
    .replace("temperature: 0}", "sampling_temperature: 0, temperature: 2, top_k: 64, distillation_alpha: 0.5}")
    + "compute: {teacher_logits: Standard_ND96amsr_A100_v4, evaluate: Standard_ND96amsr_A100_v4}\n"
)


@pytest.fixture(scope="module")
def sdk() -> Any:
    """azure.ai.ml, which talks a lot while it loads."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    import azure.ai.ml

    yield azure.ai.ml
    logging.disable(level)


def test_there_is_what_we_think_there_is() -> None:
    assert [path.stem for path in PIPELINES] == ["distill", "distill_logits", "evaluate", "tune"]
    assert {path.parent.name for path in COMPONENTS} >= {
        *("prepare_data", "teacher_inference", "teacher_in_job", "curate", "teacher_logits", "finetune_student"),
        *("evaluate", "compare", "register_model", "resolve_data", "probe", "reap_endpoints"),
    }


def test_every_pipeline_loads_with_the_sdk(sdk: Any) -> None:
    jobs = {path.stem: len(sdk.load_job(path).jobs) for path in PIPELINES}
    assert jobs == {"distill": 9, "distill_logits": 9, "evaluate": 3, "tune": 6}


def test_every_component_loads_with_the_sdk(sdk: Any) -> None:
    names = [sdk.load_component(path).name for path in COMPONENTS]
    assert names == [path.parent.name for path in COMPONENTS]


@pytest.mark.parametrize("path", [*PIPELINES, *COMPONENTS], ids=lambda path: path.parent.name + "/" + path.name)
def test_our_own_checks_find_nothing(path: Path) -> None:
    _, problems = aml.examine(path)
    assert problems == []


@pytest.mark.parametrize(("name", "recipe"), [("distill", SAME_AS_DISTILL), ("distill_logits", SAME_AS_LOGITS)])
def test_the_builder_writes_what_the_ready_pipelines_say(tmp_path: Path, name: str, recipe: str) -> None:
    (tmp_path / "recipe.yml").write_text(recipe)
    made = compile.compile_recipe(tmp_path / "recipe.yml").mapping
    ready = yaml.safe_load((ROOT / "pipelines" / f"{name}.yml").read_text())
    ready["inputs"]["training_data"]["path"] = str(ROOT / "pipelines" / "data" / "nli.jsonl")
    for node in ready["jobs"].values():
        node["component"] = str((ROOT / "pipelines" / node["component"]).resolve())
    assert made == ready


def test_the_sample_rows_are_a_few_dozen_for_each_task() -> None:
    counts = {path.stem: len(path.read_text().splitlines()) for path in (ROOT / "pipelines" / "data").glob("*.jsonl")}
    assert counts == dict.fromkeys(("nli", "conversation", "qa", "math", "summarization"), 36)


def distillation_jobs() -> list[Path]:
    return sorted(SHARED.glob("*/distillation_*.yaml"))


@pytest.mark.skipif(not distillation_jobs(), reason="AZDISTILL_SHARED holds no data/azureml-distillation")
def test_the_distillation_jobs_of_azure_mls_samples_compile_unchanged(tmp_path: Path, sdk: Any) -> None:
    compiled = {}
    for path in distillation_jobs():
        sets = {"teacher_endpoint": "http://127.0.0.1:9/v1"}
        if "summarization" in path.name:
            with pytest.raises(SpecError, match=r"there is no \./train_summarization\.jsonl"):
                compile.compile_recipe(path, sets)
            sets["training_data"] = str(path.parent / "validation_summarization.jsonl")
        made = compile.compile_recipe(path, sets)
        job = tmp_path / f"{path.stem}.yml"
        text = render(made, tmp_path, sets)
        assert "EXAMPLE_API_KEY" not in text
        job.write_text(text)
        assert aml.examine(job)[1] == []
        compiled[path.stem.removeprefix("distillation_")] = len(sdk.load_job(job).jobs)
    # Conversations end with an answer, which is gold: one step more.
    assert compiled == {"conversation": 9, "math": 8, "nli": 8, "nlu_qa": 8, "summarization": 8}
