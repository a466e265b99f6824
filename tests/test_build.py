"""From recipe to pipeline: which steps, which inputs, where each runs, and that what comes out is sound."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from azdistill import DistillationJob, SpecError, aml, assets, compile, recipe
from azdistill.compile.graph import FLOWS, STEPS
from azdistill.compile.inputs import inputs_of
from azdistill.compile.write import MARK, render, write
from azdistill.errors import UserError
from azdistill.recipe.keys import every_path, put
from azdistill.recipe.models import IN_JOB_KEYS, Recipe
from azdistill.sizing import skus

ROW = {"messages": [{"role": "user", "content": "a"}]}
GOLD = {**ROW, "reference": "b"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with training data (no gold answers) and two folders that pass for models."""
    (tmp_path / "train.jsonl").write_text(json.dumps(ROW) + "\n")
    (tmp_path / "gold.jsonl").write_text(json.dumps(GOLD) + "\n")
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


def built(project: Path, **settings: Any) -> compile.CompiledRecipe:
    tree: dict[str, Any] = {
        "task": "nli",
        "teacher": {"model": "my-teacher", "endpoint": "http://127.0.0.1:1/v1"},
        "student": "./small",
        "data": {"training_data": "train.jsonl"},
    }
    for name, value in settings.items():
        put(tree, tuple(name.split("__")), value)
    path = project / "recipe.yml"
    path.write_text(yaml.safe_dump(tree))
    return compile.compile_recipe(path)


def jobs(project: Path, **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = built(project, **settings).mapping["jobs"]
    return found


PLAIN = ["prepare", "teacher", "teacher_test", "curate", "finetune", "evaluate", "compare", "register"]


def test_a_teacher_behind_an_endpoint_answers_the_test_rows_too(project: Path) -> None:
    steps = jobs(project)
    assert list(steps) == PLAIN
    assert steps["teacher_test"]["inputs"]["rows"] == "${{parent.jobs.prepare.outputs.test}}"
    assert steps["evaluate"]["inputs"]["teacher_rows"] == "${{parent.jobs.teacher_test.outputs.train}}"


def test_a_teacher_whose_weights_are_at_hand_is_measured_from_them(project: Path) -> None:
    pipeline = built(project, teacher__weights="./large").mapping
    assert "teacher_test" not in pipeline["jobs"]
    assert pipeline["inputs"]["teacher_weights"] == {"type": "custom_model", "path": str(project / "large")}
    measured = pipeline["jobs"]["evaluate"]["inputs"]
    assert measured["teacher_weights"] == "${{parent.inputs.teacher_weights}}"
    assert "teacher_rows" not in measured


def test_the_baseline_is_the_student_as_it_was(project: Path) -> None:
    assert jobs(project)["evaluate"]["inputs"]["baseline_weights"] == "${{parent.inputs.student_weights}}"
    by_id = jobs(project, student__model="owner/name", student__revision="abc")
    assert by_id["evaluate"]["inputs"]["baseline_id"] == "${{parent.inputs.student_id}}"
    assert by_id["finetune"]["inputs"]["revision"] == "${{parent.inputs.revision}}"


def test_logits_add_a_step_between_curation_and_training(project: Path) -> None:
    steps = jobs(project, method="logits", teacher__weights="./large", hyperparameters={"temperature": 2, "top_k": 8})
    assert list(steps) == [
        *("prepare", "teacher", "curate", "teacher_logits", "finetune", "evaluate", "compare", "register")
    ]
    assert steps["teacher_logits"]["inputs"]["top_k"] == "${{parent.inputs.top_k}}"
    assert steps["finetune"]["inputs"]["logits"] == "${{parent.jobs.teacher_logits.outputs.logits}}"


@pytest.mark.parametrize(
    ("data", "gold_sft", "expected"),
    [
        ({"training_data": "train.jsonl"}, "auto", False),
        ({"training_data": "gold.jsonl"}, "auto", True),
        ({"training_data": "gold.jsonl"}, False, False),
        ({"training_data": "train.jsonl"}, True, True),
        ({"training_data": "train.jsonl", "reference_column": "answer"}, "auto", True),
        ({"training_data": "azureml:rows@latest"}, "auto", False),
    ],
)
def test_gold_answers_add_a_student_trained_on_them(
    project: Path, data: dict[str, str], gold_sft: Any, expected: bool
) -> None:
    steps = jobs(project, data=data, evaluation__gold_sft=gold_sft)
    assert ("finetune_gold" in steps) is expected
    assert ("gold_sft" in steps["evaluate"]["inputs"]) is expected
    if expected:
        gold = steps["finetune_gold"]["inputs"]
        assert (gold["method"], gold["target"]) == ("sft", "reference")
        assert gold["rows"] == steps["finetune"]["inputs"]["rows"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "prompt,reference\nx,y\n", True),
        ("a.csv", "prompt\nx\n", False),
        ("a.json", json.dumps([GOLD]), True),
        ("a.jsonl", json.dumps({"messages": [*ROW["messages"], {"role": "assistant", "content": "b"}]}), True),
        ("a.jsonl", '{"messages": [{"ro', False),
        ("a.parquet", "PAR1", False),
    ],
)
def test_gold_answers_are_seen_in_any_readable_form(project: Path, name: str, text: str, expected: bool) -> None:
    (project / name).write_text(text)
    assert ("finetune_gold" in jobs(project, data={"training_data": name})) is expected


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ({"hyperparameters__temperature": 0.7}, "sampling_temperature", 0.7),
        (
            {"hyperparameters__temperature": 2, "method": "logits", "teacher__weights": "./large"},
            "distillation_temperature",
            2,
        ),
    ],
)
def test_what_a_plain_temperature_means_depends_on_the_method_and_is_said(
    project: Path, settings: dict[str, Any], name: str, value: float
) -> None:
    result = built(project, **settings)
    assert result.mapping["inputs"][name] == value
    assert f"temperature {value:g} means {name}" in result.notes[0]


def test_what_is_not_set_is_left_to_the_components(project: Path) -> None:
    inputs = built(project).mapping["inputs"]
    assert set(inputs) == {
        "training_data",
        "task_type",
        "teacher_model",
        "teacher_endpoint",
        "student_weights",
        "method",
        "model_name",
    }


def test_a_step_takes_only_inputs_that_the_pipeline_has(project: Path) -> None:
    pipeline = built(project, hyperparameters={"learning_rate": 1e-4}).mapping
    bound = {
        value[len("${{parent.inputs.") : -2]
        for node in pipeline["jobs"].values()
        for value in node["inputs"].values()
        if value.startswith("${{parent.inputs.")
    }
    assert bound == set(pipeline["inputs"])


def test_answers_are_kept_in_a_standing_folder(project: Path) -> None:
    steps = jobs(project)
    for name in ("teacher", "teacher_test"):
        assert steps[name]["outputs"]["answers"] == {
            "type": "uri_folder",
            "path": "azureml://datastores/workspaceblobstore/paths/azdistill/answers",
            "mode": "rw_mount",
        }


def test_a_teacher_of_the_catalogue_is_asked_by_the_name_it_is_served_as(project: Path) -> None:
    inputs = built(project, teacher__model="claude-sonnet-4.6").mapping["inputs"]
    assert (inputs["teacher_model"], inputs["api"]) == ("claude-sonnet-4-6", "messages")
    mine = built(project, teacher__model="gpt-5.1", teacher__deployment="ours").mapping["inputs"]
    assert mine["teacher_model"] == "ours"
    assert "api" not in mine


def test_a_student_of_the_catalogue_is_its_hugging_face_id(project: Path) -> None:
    assert (
        built(project, student__model="phi-4-mini").mapping["inputs"]["student_id"] == "microsoft/Phi-4-mini-instruct"
    )


def test_a_student_in_a_workspace_stays_a_reference(project: Path) -> None:
    inputs = built(project, student__model="azureml:my-model:3").mapping["inputs"]
    assert inputs["student_weights"] == {"type": "custom_model", "path": "azureml:my-model:3"}


# --- compute ---------------------------------------------------------------------------------------------------------

A100 = {"instance_type": "Standard_NC24ads_A100_v4"}


def test_without_a_compute_steps_that_need_a_gpu_get_one(project: Path) -> None:
    pipeline = built(project).mapping
    assert pipeline["settings"] == {"default_compute": "azureml:serverless"}
    given = {name: node.get("resources") for name, node in pipeline["jobs"].items()}
    assert given == {**dict.fromkeys(PLAIN), "finetune": A100, "evaluate": A100}


def test_a_named_default_is_where_every_step_runs(project: Path) -> None:
    pipeline = built(project, compute__default="cpu").mapping
    assert pipeline["settings"] == {"default_compute": "azureml:cpu"}
    assert not [name for name, node in pipeline["jobs"].items() if {"compute", "resources"} & set(node)]


def test_each_role_may_have_its_own(project: Path) -> None:
    compute = {"default": "cpu", "student": "gpu", "teacher": "Standard_D4s_v3"}
    steps = jobs(project, compute=compute)
    assert steps["finetune"]["compute"] == steps["evaluate"]["compute"] == "azureml:gpu"
    assert steps["teacher"]["compute"] == "azureml:serverless"
    assert steps["teacher"]["resources"] == {"instance_type": "Standard_D4s_v3"}
    assert "compute" not in steps["prepare"]


def test_an_instance_type_as_default_is_serverless(project: Path) -> None:
    pipeline = built(project, compute={"default": "Standard_D4s_v3", "evaluate": "gpu"}).mapping
    assert pipeline["settings"] == {"default_compute": "azureml:serverless"}
    assert pipeline["jobs"]["prepare"]["resources"] == {"instance_type": "Standard_D4s_v3"}
    assert pipeline["jobs"]["evaluate"]["compute"] == "azureml:gpu"


def test_every_step_has_a_limit(project: Path) -> None:
    assert all(node["limits"]["timeout"] > 0 for node in jobs(project).values())
    assert {node["limits"]["timeout"] for node in jobs(project, limits__timeout=60).values()} == {60}


# --- a teacher inside the job, and several machines -----------------------------------------------------------------


def in_job(project: Path, model: str = "deepseek-v3.1", **settings: Any) -> compile.CompiledRecipe:
    (project / "train.jsonl").write_text(json.dumps(ROW) + "\n")
    tree: dict[str, Any] = {
        "task": "nli",
        "teacher": {"model": model},
        "student": "./small",
        "data": {"training_data": "train.jsonl"},
    }
    for name, value in settings.items():
        put(tree, tuple(name.split("__")), value)
    (project / "recipe.yml").write_text(yaml.safe_dump(tree))
    return compile.compile_recipe(project / "recipe.yml")


def component_of(node: dict[str, Any]) -> str:
    return Path(node["component"]).parent.name


def test_an_open_teacher_without_an_endpoint_runs_inside_the_job(project: Path) -> None:
    made = in_job(project)
    steps = made.mapping["jobs"]
    assert list(steps) == PLAIN
    assert {component_of(steps[name]) for name in ("teacher", "teacher_test")} == {"teacher_in_job"}
    assert made.mapping["inputs"]["teacher_id"] == "deepseek-ai/DeepSeek-V3.1"
    # 671 billion parameters do not fit beside the student: the teacher's column is made of its answers.
    assert "teacher_id" not in steps["evaluate"]["inputs"]
    assert steps["evaluate"]["inputs"]["teacher_rows"] == "${{parent.jobs.teacher_test.outputs.train}}"
    chosen = steps["teacher"]["resources"]["instance_type"]
    assert skus.get(chosen).total_gpu_memory_gib > 671
    assert any(f"no endpoint: it runs inside the job, on {chosen}" in note for note in made.notes)
    assert [problem for problem in aml.check(made.pipeline()) if problem.severity == "error"] == []


def test_a_teacher_of_unknown_size_gets_much_memory_and_that_is_said(project: Path) -> None:
    made = in_job(project, "owner/teacher")
    assert made.mapping["jobs"]["teacher"]["resources"] == {"instance_type": "Standard_ND96isr_H100_v5"}
    assert any("its size is not known here" in note for note in made.notes)


def test_a_teacher_in_a_folder_is_named_after_it_and_sized_by_its_files(project: Path) -> None:
    sandbox = Path(__file__).parents[1] / "examples" / "sandbox" / "teacher"
    made = in_job(project, str(sandbox))
    assert made.mapping["inputs"]["teacher_model"] == "teacher"
    chosen = made.mapping["jobs"]["teacher"]["resources"]["instance_type"]
    assert skus.get(chosen).gpus == 1
    assert any(chosen in note and "GiB" in note for note in made.notes)


def test_a_teacher_runs_where_the_recipe_says(project: Path) -> None:
    steps = in_job(project, compute={"teacher": "big", "default": "small"}).mapping["jobs"]
    assert steps["teacher"]["compute"] == "azureml:big"
    assert "resources" not in steps["teacher"]


def test_weights_that_are_given_are_run_and_measured(project: Path) -> None:
    steps = in_job(project, teacher__weights="./large").mapping["jobs"]
    assert component_of(steps["teacher"]) == "teacher_in_job"
    assert "teacher_test" not in steps
    assert steps["evaluate"]["inputs"]["teacher_weights"] == "${{parent.inputs.teacher_weights}}"


def test_a_closed_teacher_needs_an_endpoint(project: Path) -> None:
    with pytest.raises(SpecError, match="cannot run inside the job: the weights of gpt-4o are not public") as raised:
        in_job(project, "gpt-4o")
    assert {problem.code for problem in raised.value.problems if problem.severity == "error"} == {"AZD211"}


@pytest.mark.parametrize("key", ["api_key", "api", "deployment"])
def test_what_belongs_to_an_endpoint_asks_for_one(project: Path, key: str) -> None:
    value = {"api_key": "${env:KEY}", "api": "messages", "deployment": "mine"}[key]
    with pytest.raises(SpecError, match=f"teacher.endpoint is missing: teacher.{key} is for"):
        in_job(project, **{f"teacher__{key}": value})


@pytest.mark.parametrize("key", IN_JOB_KEYS)
def test_what_belongs_to_a_teacher_that_is_run_refuses_an_endpoint(project: Path, key: str) -> None:
    value = {"engine": "vllm", "engine_args": "--x", "revision": "main"}.get(key, 2)
    with pytest.raises(SpecError, match=f"{key} is for a teacher that runs inside the job"):
        built(project, **{f"teacher__{key}": value})


def test_every_setting_of_a_teacher_that_is_run_reaches_it(project: Path) -> None:
    own = {"engine": "vllm", "tensor_parallel_size": 4, "max_model_len": 4096, "engine_args": "--x"}
    for nodes, step in ((1, "teacher"), (3, "teacher_parallel")):
        settings = {**own, "startup_timeout": 60, "revision": "main", "nodes": nodes}
        made = in_job(project, **{f"teacher__{name}": value for name, value in settings.items()})
        given = made.mapping["jobs"][step]["inputs"]
        assert {*own, "startup_timeout", "revision"} <= set(given)
        assert given["revision"] == "${{parent.inputs.teacher_revision}}"
        assert [problem for problem in aml.check(made.pipeline()) if problem.severity == "error"] == []


def test_several_machines_answer_shards_that_are_gathered(project: Path) -> None:
    steps = in_job(project, teacher__nodes=3).mapping["jobs"]
    assert list(steps) == ["prepare", "teacher_shards", "teacher_parallel", *PLAIN[1:]]
    parallel = steps["teacher_parallel"]
    assert parallel["type"] == "parallel"
    assert parallel["resources"]["instance_count"] == 3
    assert "limits" not in parallel
    assert parallel["outputs"]["answers"] == steps["teacher_test"]["outputs"]["answers"]
    assert steps["teacher_shards"]["inputs"]["shards"] == 24
    assert component_of(steps["teacher"]) == "gather_rows"
    assert "answers" not in steps["teacher"].get("outputs", {})
    assert steps["curate"]["inputs"]["rows"] == "${{parent.jobs.teacher.outputs.train}}"


STUDENTS: dict[str, tuple[dict[str, Any], int | None, int | None]] = {
    "nothing said": ({}, None, None),
    "one GPU": ({"student": "Standard_NC24ads_A100_v4"}, None, None),
    "the GPUs of a size": ({"student": "Standard_NC96ads_A100_v4"}, None, 4),
    "fewer of them": ({"student": "Standard_NC96ads_A100_v4", "student_gpus": 2}, None, 2),
    "several machines": ({"student": "Standard_ND96isr_H100_v5", "student_nodes": 2}, 2, 8),
    "a cluster by name": ({"student": "gpus", "student_nodes": 2, "student_gpus": 4}, 2, 4),
    "machines of one GPU": ({"student_nodes": 3}, 3, 1),
}


@pytest.mark.parametrize(("compute", "nodes", "processes"), STUDENTS.values(), ids=STUDENTS)
def test_the_student_is_trained_by_as_many_processes_as_there_are_gpus(
    project: Path, compute: dict[str, Any], nodes: int | None, processes: int | None
) -> None:
    made = built(project, compute=compute)
    node = made.mapping["jobs"]["finetune"]
    assert node.get("resources", {}).get("instance_count") == nodes
    expected = {"type": "pytorch", "process_count_per_instance": processes} if processes else None
    assert node.get("distribution") == expected
    assert "distribution" not in made.mapping["jobs"]["evaluate"]
    assert aml.check(made.pipeline()) == []


# --- the contract with the components --------------------------------------------------------------------------------


def declared(step: str) -> dict[str, Any]:
    component: dict[str, Any] = yaml.safe_load(assets.component(STEPS[step].component).read_text())
    return component


@pytest.mark.parametrize("step", STEPS)
def test_the_table_of_steps_names_inputs_that_the_components_have(step: str) -> None:
    renamed = {word.partition("=")[0] for word in STEPS[step].names.split()}
    assert renamed | set(STEPS[step].unfed.split()) | set(FLOWS[step]) <= set(declared(step)["inputs"])


@pytest.mark.parametrize(
    ("step", "output"),
    sorted({tuple(origin.split(".")) for flows in FLOWS.values() for origin in flows.values()}),
)
def test_what_flows_is_an_output_of_the_step_it_comes_from(step: str, output: str) -> None:
    assert output in declared(step)["outputs"]


EVERYTHING: dict[str, Any] = {
    "method": "logits",
    "teacher": {
        **{"model": "gpt-oss-120b", "endpoint": "https://x/v1", "api_key": "${env:KEY}", "weights": "./large"},
        **{"api": "chat_completions", "strategy": "direct", "prompts": "./small", "turns": "last", "max_tokens": 5},
        **{
            "top_p": 0.5,
            "stop": ["a", "b"],
            "max_summary_words": 5,
            "concurrency": 2,
            "max_retries": 1,
            "max_wait": 60,
        },
        **{"max_reasks": 1, "timeout": 5, "min_success_ratio": 0.5},
    },
    "student": {"model": "owner/name", "revision": "main"},
    "data": {
        **{"training_data": "gold.jsonl", "validation_data": "gold.jsonl", "test_data": "gold.jsonl"},
        **{"prompt_column": "p", "reference_column": "r", "system_prompt": "gold.jsonl", "validation_fraction": 0.1},
        **{"test_fraction": 0.1, "split_seed": 1, "max_training_rows": 9, "max_test_rows": 9, "on_bad_rows": "reject"},
    },
    "curation": {"require_agreement": True, "max_response_words": 9},
    "hyperparameters": {
        **{"learning_rate": 1e-4, "batch_size": 2, "gradient_accumulation_steps": 2, "num_epochs": 1, "max_steps": 3},
        **{"warmup_ratio": 0.1, "weight_decay": 0.1, "lr_scheduler": "cosine", "max_length": 64, "loss_on": "response"},
        **{"sampling_temperature": 0.1, "distillation_temperature": 2, "distillation_alpha": 0.5, "top_k": 4},
        **{"lora": True, "lora_rank": 4, "lora_alpha": 8, "lora_dropout": 0.1, "lora_target_modules": "all-linear"},
        **{"early_stopping_patience": 1, "eval_steps": 5, "dtype": "float32", "parallelism": "ddp", "seed": 1},
    },
    "evaluation": {
        **{"max_new_tokens": 9, "batch_size": 2, "latency_rows": 2, "dtype": "float32", "device": "cpu"},
        **{"min_retention": 0.5, "title": "A title"},
    },
}
#: Settings that shape the pipeline itself, or that another setting in EVERYTHING stands for.
SHAPING = {
    *("name", "experiment_name", "description", "tags", "schedule"),
    *("teacher.deployment", "teacher.chain_of_thought", "teacher.chain_of_density", "data.dataset", "data.as_of"),
    *("hyperparameters.temperature", "evaluation.gold_sft", "limits.timeout"),
    *("compute.default", "compute.teacher", "compute.teacher_logits", "compute.student", "compute.evaluate"),
    *("compute.identity", "compute.spot", "limits.max_gpu_hours"),
    *("compute.student_nodes", "compute.student_gpus", "teacher.nodes"),
    *(f"teacher.{name}" for name in IN_JOB_KEYS),
}


def test_every_setting_of_a_recipe_reaches_a_component_and_is_accepted_there(project: Path) -> None:
    result = built(project, **EVERYTHING)
    given = {
        (section, *(key for key in [inner] if key))
        for section, value in {**EVERYTHING, "task": "nli"}.items()
        for inner in (value if isinstance(value, dict) else [""])
    }
    assert {".".join(path) for path in every_path()} - {".".join(path) for path in given} == SHAPING
    assert aml.check(result.pipeline()) == []
    # data, task and method, and one input for each of the others: none is swallowed on the way.
    derived = {"model_name", "teacher_licence"}
    assert len(set(result.mapping["inputs"]) - derived) == len(given)


def test_a_recipe_accepts_no_value_that_a_component_refuses(project: Path) -> None:
    """Where a component gives a range or a list of words, the recipe's own is no wider."""
    checked = 0
    result = built(project, **EVERYTHING)
    for name, value in result.mapping["inputs"].items():
        for path in [path for path in every_path() if path[-1] == name and path[0] != "evaluation"]:
            for bad in refused_by_components(result.mapping, name):
                tree = json.loads(result.reading.recipe.model_dump_json())  # type: ignore[union-attr]
                put(tree, path, bad)
                assert not accepted(tree), f"{'.'.join(path)}: {bad!r}"
                checked += 1
        assert value is not None
    assert checked > 40


def accepted(tree: dict[str, Any]) -> bool:
    try:
        Recipe.model_validate(tree)
    except ValueError:
        return False
    return True


def refused_by_components(pipeline: dict[str, Any], name: str) -> list[Any]:
    bad: list[Any] = []
    for step, node in pipeline["jobs"].items():
        for mine, value in node["inputs"].items():
            if value == f"${{{{parent.inputs.{name}}}}}":
                about = declared(step)["inputs"][mine]
                bad += ["no such word"] if "enum" in about or about["type"] in ("number", "integer", "boolean") else []
                bad += [about["min"] - 1] if "min" in about else []
                bad += [about["max"] + 1] if "max" in about else []
    return bad


# --- opening and writing ---------------------------------------------------------------------------------------------


def test_recipes_and_pipelines_are_opened_alike(project: Path) -> None:
    result = built(project)
    opened = compile.open_file(project / "recipe.yml", {"num_epochs": "2"})
    assert opened.sets == {}
    assert "num_epochs" in opened.pipeline.inputs
    (project / "job.yml").write_text(render(result, project, {}))
    again = compile.open_file(project / "job.yml", {"num_epochs": "2"})
    assert again.sets == {"num_epochs": "2"}
    assert list(again.pipeline.jobs) == PLAIN


def test_what_is_written_is_a_sound_pipeline_equal_to_the_one_in_memory(project: Path) -> None:
    result = built(project, **EVERYTHING)
    folder = project / "deep" / "down"
    folder.mkdir(parents=True)
    (folder / "job.yml").write_text(render(result, folder, {}))
    written, problems = aml.examine(folder / "job.yml")
    assert problems == []
    assert isinstance(written, aml.Pipeline)
    mapping = yaml.safe_load((folder / "job.yml").read_text())
    assert mapping["inputs"]["training_data"]["path"] == "../../gold.jsonl"
    for name, node in mapping["jobs"].items():
        assert (folder / node["component"]).resolve() == Path(result.mapping["jobs"][name]["component"])
        node["component"] = result.mapping["jobs"][name]["component"]
    assert mapping["jobs"] == result.mapping["jobs"]


def test_the_comment_says_from_what_it_was_made_and_repeats_no_key(project: Path) -> None:
    text = render(built(project), project, {"teacher_key": "${env:SECRET_NAME}", "num_epochs": "2"})
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert head[0].startswith(MARK)
    assert head[0].endswith("from ./recipe.yml.")
    assert "#   --set num_epochs=2" in head
    assert "SECRET_NAME" not in "\n".join(head)


def test_writing_twice_gives_the_same_bytes(project: Path) -> None:
    assert render(built(project), project, {}) == render(built(project), project, {})


def test_only_files_of_our_own_are_overwritten(project: Path) -> None:
    ours, theirs = project / "ours.yml", project / "theirs.yml"
    write(f"{MARK} once\n", ours)
    write(f"{MARK} twice\n", ours)
    assert ours.read_text() == f"{MARK} twice\n"
    theirs.write_text("mine\n")
    with pytest.raises(UserError, match="was not written by azdistill"):
        write("new\n", theirs)
    assert theirs.read_text() == "mine\n"
    write("new\n", theirs, force=True)
    assert theirs.read_text() == "new\n"
    assert sorted(path.name for path in project.glob("*.yml")) == ["ours.yml", "theirs.yml"]


def test_check_finds_what_the_recipe_alone_does_not_show(project: Path) -> None:
    built(project)
    path = project / "recipe.yml"
    assert compile.check(path) == []
    breaking = compile.check(path, {"evaluation.title": "it's a'; rm -rf /"})
    assert [problem.severity for problem in breaking] == ["error"]


def test_python_and_yaml_give_the_same_pipeline(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_yaml = built(project, hyperparameters={"learning_rate": 1e-4, "temperature": 0.5})
    monkeypatch.chdir(project)
    job = DistillationJob(
        teacher_model="my-teacher",
        teacher_endpoint="http://127.0.0.1:1/v1",
        student_model="./small",
        training_data="train.jsonl",
        task_type="nli",
        hyperparameters={"learning_rate": 1e-4, "temperature": 0.5},
    )
    assert job.to_pipeline().mapping == from_yaml.mapping


def test_a_recipe_with_errors_is_not_built(project: Path) -> None:
    built(project)
    reading = recipe.read(project / "recipe.yml", {"num_epochs": "three"})
    with pytest.raises(SpecError, match="num_epochs"):
        compile.build(reading)


def test_inputs_name_every_path_absolutely(project: Path) -> None:
    inputs = inputs_of(built(project, **EVERYTHING).reading)
    paths = [Path(value["path"]) for value in inputs.values() if isinstance(value, dict)]
    assert len(paths) == 6
    assert all(path.is_absolute() for path in paths)


@pytest.mark.parametrize(
    ("student", "short"),
    [
        ("./small", "small"),
        ("phi-4-mini", "phi-4-mini"),
        ("owner/name", "name"),
        ("azureml:mine:3", "mine"),
        ("azureml://registries/azureml/models/Phi-4-mini-instruct/versions/7", "Phi-4-mini-instruct"),
    ],
)
def test_a_recipe_without_a_name_is_called_by_its_task_and_models(project: Path, student: str, short: str) -> None:
    assert built(project, student=student).mapping["display_name"] == f"nli: my-teacher to {short}"


def test_a_recipes_name_is_the_pipelines(project: Path) -> None:
    assert built(project, name="first try").mapping["display_name"] == "first try"


def test_a_value_of_several_lines_stays_in_the_comment(project: Path) -> None:
    text = render(built(project), project, {"description": "one\ntype: nothing"})
    assert "#   --set description=one type: nothing\n" in text
