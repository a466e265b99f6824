"""Recipes: what is accepted, what each mistake says and where, and what --set means."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from azdistill import DistillationJob, SpecError, UserError, recipe
from azdistill.errors import Problem
from azdistill.recipe import advice, keys, microsoft

MINIMAL = """\
task: nli
teacher:
  model: my-teacher
  endpoint: http://127.0.0.1:8000/v1
student: owner/small
data:
  training_data: train.jsonl
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes a recipe beside a training file; returns its path."""
    (tmp_path / "train.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}]}\n')

    def _write(text: str = MINIMAL) -> Path:
        path = tmp_path / "recipe.yml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def the(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def test_a_minimal_recipe_has_no_problems(write: Any) -> None:
    assert recipe.check(write()) == []


def test_teacher_and_student_may_be_plain_names(write: Any) -> None:
    path = write(MINIMAL.replace("\n  model: my-teacher\n  endpoint: http://127.0.0.1:8000/v1", " gpt-5.1"))
    loaded = recipe.load(path, {"teacher.endpoint": "http://127.0.0.1:1"}).recipe
    assert loaded is not None
    assert (loaded.teacher.model, loaded.student.model) == ("gpt-5.1", "owner/small")


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "code", "message", "hint"),
    [
        ("task: nli", "tsak: nli", 1, 1, "AZD203", "a recipe has no key 'tsak'", "did you mean 'task'?"),
        ("  endpoint:", "  endpiont:", 4, 3, "AZD203", "teacher has no key 'endpiont'", "did you mean 'endpoint'?"),
        ("task: nli", "task: nil", 1, 7, "AZD205", "task: there is no task 'nil'", "did you mean 'nli'?"),
        ("task: nli", "task: 3", 1, 7, "AZD205", "task: should be a valid string; it is '3'", ""),
        ("http://127", "ftp://127", 4, 13, "AZD205", "should be an address that starts with https:// or http://", ""),
        ("train.jsonl", "trian.jsonl", 7, 18, "AZD208", "data.training_data: there is no trian.jsonl", "--set"),
        ("owner/small", "phi4-mini", 5, 10, "AZD209", "there is no student 'phi4-mini'", "did you mean 'phi-4-mini'?"),
        ("owner/small", "./nowhere", 5, 10, "AZD209", "there is no folder ./nowhere", ""),
        ("owner/small", ".", 5, 10, "AZD209", "is not a model: it has no config.json", ""),
        ("student: owner/small", "student: gpt-4o", 5, 10, "AZD209", "the weights of gpt-4o are not public", ""),
    ],
)
def test_each_mistake_has_its_place(
    write: Any, old: str, new: str, line: int, column: int, code: str, message: str, hint: str
) -> None:
    found = [problem for problem in recipe.check(write(MINIMAL.replace(old, new))) if problem.code == code]
    problem = the(found)
    assert (problem.line, problem.column) == (line, column)
    assert message in problem.message
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("hyperparameters: {num_epochs: three}", "hyperparameters.num_epochs: should be a valid number"),
        ("hyperparameters: {batch_size: 0}", "hyperparameters.batch_size: should be greater than or equal to 1"),
        ("hyperparameters: {learning_rate: .nan}", "hyperparameters.learning_rate: should be a finite number"),
        ("hyperparameters: {seed: true}", "hyperparameters.seed: should be a number, not true or false"),
        ("hyperparameters: {learning_rate: 20}", "hyperparameters.learning_rate: should be less than or equal to 1"),
        ("hyperparameters: [1]", "hyperparameters: should be a valid dictionary"),
        ("method: magic", "method: should be 'sft' or 'logits'"),
        ("evaluation: {gold_sft: maybe}", "evaluation.gold_sft: should be 'auto', 'true' or 'false'"),
        ("compute: {default: 5}", "compute.default: should be a valid string"),
        ("limits: {timeout: -1}", "limits.timeout: should be greater than or equal to 1"),
        ("schedule: {type: cron}", "schedule: type cron takes an expression"),
        ("schedule: {type: recurrence, frequency: fortnight, interval: 1}", "schedule.frequency: should be 'minute'"),
        ("method: logits", "teacher.weights is missing"),
        ("hyperparameters: {temperature: 5}", "means sampling_temperature for method sft and should be from 0 to 2"),
        (
            "hyperparameters: {temperature: 1, sampling_temperature: 0}",
            "hyperparameters.temperature means sampling_temperature for method sft",
        ),
    ],
)
def test_types_and_ranges(write: Any, section: str, message: str) -> None:
    problem = the(recipe.check(write(f"{MINIMAL}{section}\n")))
    assert message in problem.message
    assert problem.code == "AZD205"
    assert problem.line == (2 if "weights" in message else 8)


def test_all_problems_are_found_at_once(write: Any) -> None:
    text = MINIMAL.replace("task: nli", "task: nil") + "hyperparameters: {epochs: 3, batch_size: x}\nmethd: sft\n"
    lines = [(problem.line, problem.code) for problem in recipe.check(write(text))]
    assert lines == [(1, "AZD205"), (8, "AZD203"), (8, "AZD205"), (9, "AZD203")]


def test_a_key_that_stands_twice_is_an_error(write: Any) -> None:
    assert the(recipe.check(write(MINIMAL + "task: qa\n"))).line == 8


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n"])
def test_what_is_no_mapping_is_no_recipe(write: Any, text: str) -> None:
    assert the(recipe.check(write(text))).code == "AZD202"


def test_a_missing_section_is_named(write: Any) -> None:
    assert the(recipe.check(write(MINIMAL.replace("student: owner/small\n", "")))).message == "student is missing"


def test_numbers_that_yaml_takes_for_text_are_numbers(write: Any) -> None:
    # PyYAML follows YAML 1.1, where 2e-5 without a dot is a string.
    loaded = recipe.load(write(MINIMAL + "hyperparameters: {learning_rate: 2e-5}\n")).recipe
    assert loaded is not None
    assert loaded.hyperparameters.learning_rate == 2e-5


SECRET = "sk-live-4f9d8c7b6a5e"


@pytest.mark.parametrize("written", [SECRET, f"${{env:{SECRET}}}", f"Bearer {SECRET}", f"env:{SECRET}"])
def test_a_literal_key_is_refused_and_never_repeated(write: Any, written: str) -> None:
    text = MINIMAL.replace("  model: my-teacher", f'  model: my-teacher\n  api_key: "{written}"')
    problem = the(recipe.check(write(text)))
    assert (problem.code, problem.line) == ("AZD207", 4)
    assert SECRET not in json.dumps(problem.as_json())


def test_a_literal_key_is_refused_on_the_command_line_too(write: Any) -> None:
    problem = the(recipe.check(write(), {"teacher.api_key": SECRET}))
    assert problem.code == "AZD207"
    assert problem.file == "--set"
    assert SECRET not in str(problem)


@pytest.mark.parametrize(
    ("written", "reference"),
    [
        ("${env:KEY}", "env:KEY"),
        ("${connection:my-teacher}", "connection:my-teacher"),
        ("${keyvault:my-vault/key-1}", "keyvault:my-vault/key-1"),
        ("${entra}", "entra"),
    ],
)
def test_a_key_by_reference_travels_as_a_name(write: Any, written: str, reference: str) -> None:
    loaded = recipe.load(write(), {"teacher_api_key": written}).recipe
    assert loaded is not None
    assert loaded.teacher.key == reference


@pytest.mark.parametrize("endpoint", [f"https://user:{SECRET}@host/v1", f"https://host/v1?code={SECRET}"])
def test_an_address_with_a_secret_in_it_is_refused(write: Any, endpoint: str) -> None:
    problem = the(recipe.check(write(), {"teacher_endpoint": endpoint}))
    assert "holds a secret" in problem.message
    assert SECRET not in str(problem)


def test_variables_are_filled_in_but_not_the_key(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "https://host")
    monkeypatch.setenv("KEY", SECRET)
    loaded = recipe.load(write(), {"teacher_endpoint": "${env:WHERE}/v1", "teacher_api_key": "${env:KEY}"}).recipe
    assert loaded is not None
    assert loaded.teacher.endpoint == "https://host/v1"
    assert SECRET not in repr(loaded)


def test_a_variable_that_is_not_set_is_a_warning_to_check_and_an_error_to_run(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WHERE", raising=False)
    path = write(MINIMAL.replace("http://127.0.0.1:8000/v1", "${env:WHERE}"))
    problem = the(recipe.check(path))
    assert (problem.code, problem.severity, problem.line) == ("AZD206", "warning", 4)
    assert problem.hint == "export WHERE=..., or give teacher.endpoint with --set"
    with pytest.raises(SpecError, match="WHERE is not set"):
        recipe.load(path)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("teacher.endpoint", ("teacher", "endpoint")),
        ("teacher_endpoint", ("teacher", "endpoint")),
        ("endpoint", ("teacher", "endpoint")),
        ("training_data", ("data", "training_data")),
        ("learning_rate", ("hyperparameters", "learning_rate")),
        ("batch_size", ("hyperparameters", "batch_size")),
        ("evaluation.batch_size", ("evaluation", "batch_size")),
        ("evaluation_batch_size", ("evaluation", "batch_size")),
        ("task_type", ("task",)),
        ("student", ("student", "model")),
        ("compute.student", ("compute", "student")),
        ("tags.owner", ("tags", "owner")),
        ("timeout", ("limits", "timeout")),
        ("teacher_timeout", ("teacher", "timeout")),
    ],
)
def test_names_lead_to_settings(name: str, path: tuple[str, ...]) -> None:
    assert keys.locate(name) == path


def test_every_setting_is_reached_by_its_dotted_name() -> None:
    paths = list(keys.every_path())
    assert len(paths) > 70
    assert [keys.locate(".".join(path)) for path in paths] == paths


def test_a_name_that_could_mean_two_settings_is_refused() -> None:
    with pytest.raises(UserError, match=r"'model' could be teacher\.model or student\.model"):
        keys.locate("model")


@pytest.mark.parametrize(
    ("name", "close"), [("lerning_rate", "learning_rate"), ("teacher.endpiont", "teacher.endpoint")]
)
def test_a_misspelt_name_on_the_command_line(write: Any, name: str, close: str) -> None:
    problem = the(recipe.check(write(), {name: "1"}))
    assert (problem.code, problem.hint) == ("AZD210", f"did you mean '{close}'?")


def test_sets_are_typed(write: Any) -> None:
    sets = {"num_epochs": "2", "lora": "true", "gold_sft": "false", "top_p": "0.5", "stop": "END", "tags.run": "7"}
    loaded = recipe.load(write(), sets).recipe
    assert loaded is not None
    assert (loaded.hyperparameters.num_epochs, loaded.hyperparameters.lora) == (2, True)
    assert (loaded.evaluation.gold_sft, loaded.teacher.top_p, loaded.teacher.stop) == ("false", 0.5, "END")
    assert loaded.tags == {"run": "7"}


def test_a_bad_set_is_said_to_come_from_the_command_line(write: Any) -> None:
    problem = the(recipe.check(write(), {"num_epochs": "three"}))
    assert (problem.file, problem.line) == ("--set", 0)


def test_a_path_on_the_command_line_is_relative_to_where_one_stands(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write()
    here = tmp_path / "here"
    here.mkdir()
    (here / "other.jsonl").write_text("{}\n")
    monkeypatch.chdir(here)
    loaded = recipe.load(path, {"training_data": "./other.jsonl"}).recipe
    beside = recipe.load(path, {"training_data": "./train.jsonl"}).recipe
    assert loaded is not None
    assert beside is not None
    assert loaded.data.training_data == str(here / "other.jsonl")
    assert beside.data.training_data == "./train.jsonl"


def test_setting_a_file_that_does_not_exist_names_the_command_line(write: Any) -> None:
    problem = the(recipe.check(write(), {"test_data": "./none.jsonl"}))
    assert (problem.code, problem.file) == ("AZD208", "--set")


@pytest.mark.parametrize("alias", ["NLI", "nli", "NLU_QA", "question-answering", "Summarisation", "CONVERSATION"])
def test_tasks_are_known_by_their_aliases(write: Any, alias: str) -> None:
    assert recipe.check(write(), {"task": alias}) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"task": "nli", "teacher": {}}, True),
        ({"type": "distillation"}, True),
        ({"type": "pipeline", "jobs": {}}, False),
        ({"jobs": {}, "teacher": 1}, False),
        ({"type": "command", "command": "x"}, False),
        ({"image": "x"}, False),
        ([], False),
        (None, False),
    ],
)
def test_a_recipe_is_told_from_other_yaml(value: Any, expected: bool) -> None:
    assert recipe.is_recipe(value) is expected


# --- Python ----------------------------------------------------------------------------------------------------------


def job(**more: Any) -> DistillationJob:
    given: dict[str, Any] = {"teacher_model": "my-teacher", "student_model": "owner/small", "task_type": "math"}
    return DistillationJob(**{**given, "training_data": Path(__file__), **more})


def test_keyword_arguments_make_the_same_recipe_as_yaml(write: Any, tmp_path: Path) -> None:
    path = write(MINIMAL + "hyperparameters: {learning_rate: 2e-5, temperature: 0.7}\nevaluation: {latency_rows: 4}\n")
    from_yaml = recipe.load(path, {"training_data": str(tmp_path / "train.jsonl")}).recipe
    from_python = job(
        task_type="nli",
        teacher_endpoint="http://127.0.0.1:8000/v1",
        training_data=tmp_path / "train.jsonl",
        hyperparameters={"learning_rate": 2e-5, "temperature": 0.7},
        latency_rows=4,
    ).recipe
    assert from_python == from_yaml


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"hyperparameters": {"num_epochs": "three"}}, "hyperparameters.num_epochs: should be a valid number"),
        ({"hyperparameters": {"epochs": 3}}, "hyperparameters has no key 'epochs'"),
        ({"teacher_api_key": SECRET}, "a key is given by reference"),
        ({"task_type": "poetry"}, "there is no task 'poetry'"),
        ({"student_model": 7}, "student.model: should be a valid string"),
        ({"training_data": "none.jsonl"}, "there is no none.jsonl"),
        ({"lerning_rate": 1}, "a recipe has no setting 'lerning_rate'"),
        ({"hyperparameters": 3}, "hyperparameters"),
    ],
)
def test_bad_arguments_are_user_errors(more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        job(**more)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_job_without_an_endpoint_is_a_job_but_no_pipeline_yet() -> None:
    with pytest.raises(SpecError, match=r"teacher\.endpoint is missing"):
        job().to_pipeline()


# --- what the catalogue has to say -----------------------------------------------------------------------------------


def warnings(write: Any, teacher: str, endpoint: str, today: datetime.date) -> list[Problem]:
    loaded = recipe.load(write(), {"teacher": teacher, "teacher_endpoint": endpoint})
    assert loaded.recipe is not None
    return [problem for problem in advice.advice(loaded.recipe, loaded.origin, today) if problem.code == "AZD240"]


AZURE = "https://x.services.ai.azure.com/openai/v1"


def test_a_retired_teacher_is_a_warning_that_names_the_replacement(write: Any) -> None:
    problem = the(warnings(write, "gpt-4o", AZURE, datetime.date(2027, 5, 1)))
    assert problem.severity == "warning"
    assert "gpt-4o was retired on 2027-04-14" in problem.message
    assert problem.hint == (
        "the host names gpt-5.1 as its replacement, which ends on 2027-05-15; "
        "consider gpt-5.5, which ends on 2027-10-26"
    )


def test_a_retirement_that_is_near_is_a_warning_and_a_far_one_is_not(write: Any) -> None:
    near = the(warnings(write, "gpt-4o", AZURE, datetime.date(2027, 2, 1)))
    assert "will be retired on 2027-04-14" in near.message
    assert warnings(write, "gpt-4o", AZURE, datetime.date(2025, 8, 1)) == []


def test_where_the_host_names_nothing_living_teachers_are_suggested(write: Any) -> None:
    hint = the(warnings(write, "llama-3.1-405b-instruct", AZURE, datetime.date(2026, 11, 1))).hint
    assert hint.startswith("the host names no replacement; consider llama-3.3-70b-instruct")


def test_a_replacement_that_is_gone_too_is_said(write: Any) -> None:
    hint = the(warnings(write, "deepseek-v3", AZURE, datetime.date(2026, 11, 1))).hint
    assert hint == "the host names deepseek-v3-0324 as its replacement, which has ended too; consider deepseek-v3.2"


@pytest.mark.parametrize(
    ("teacher", "says"),
    [
        ("gpt-4", "gpt-4 was retired on 2026-10-23 (openai: "),
        ("gpt-4-turbo", "gpt-4-turbo was retired on 2026-10-23 (openai: "),
        ("gpt-4o", "gpt-4o will be retired on 2027-01-14 (openai: "),
        ("gpt-4.1", "gpt-4.1 will be retired on 2027-01-14 (openai: "),
        ("gpt-5.1", "gpt-5.1 will be retired on 2027-04-01 (openai: "),
    ],
)
def test_what_ends_at_openai_itself_is_said_and_what_lives_is_suggested(write: Any, teacher: str, says: str) -> None:
    problem = the(warnings(write, teacher, "https://api.openai.com/v1", datetime.date(2026, 12, 1)))
    assert problem.message.startswith(says)
    assert problem.hint == "the host names no replacement; consider gpt-5.5"


def test_a_suggestion_that_ends_too_is_followed_until_one_lives(write: Any) -> None:
    today = datetime.date(2026, 12, 1)
    # gpt-4o takes no new deployments, gpt-5.1 ends in half a year.
    assert the(warnings(write, "gpt-4", AZURE, today)).hint == (
        "the host names gpt-4o as its replacement, which ends on 2027-04-14; consider gpt-5.5"
    )
    near = "https://x.services.ai.azure.com/anthropic"
    assert the(warnings(write, "claude-sonnet-4.5", near, today)).hint == (
        "the host names no replacement; consider claude-sonnet-4.6, which ends on 2027-02-10"
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:8000/v1",
        "https://vllm.example.org/v1",
        "https://my-teacher.eastus.inference.ml.azure.com/v1",
    ],
)
def test_a_server_of_ones_own_retires_nothing(write: Any, endpoint: str) -> None:
    assert warnings(write, "gpt-4o", endpoint, datetime.date(2026, 11, 1)) == []


def test_terms_with_conditions_are_a_warning_and_free_ones_are_not(write: Any) -> None:
    found = recipe.check(write(), {"teacher": "llama-3.3-70b-instruct"})
    assert [problem.code for problem in found] == ["AZD241"]
    assert recipe.check(write(), {"teacher": "gpt-oss-120b"}) == []


# --- Microsoft's own distillation job --------------------------------------------------------------------------------

DISTILLATION_JOB: dict[str, Any] = {
    "type": "distillation",
    "name": "d",
    "experiment_name": "e",
    "data_generation_type": "label_generation",
    "data_generation_task_type": "NLU_QA",
    "training_data": {"type": "uri_file", "path": "./train.jsonl"},
    "validation_data": {"type": "uri_file", "path": "./train.jsonl"},
    "teacher_model_endpoint_connection": {
        "type": "serverless",
        "name": "Meta-Llama-3-1-405B-Instruct-vkn",
        "endpoint": "https://teacher.westus3.models.ai.azure.com/chat/completions",
        "api_key": SECRET,
    },
    "student_model": "azureml://registries/azureml-meta/models/Meta-Llama-3.1-8B-Instruct/versions/2",
    "outputs": {"registered_model": {"type": "mlflow_model", "name": "distilled"}},
    "teacher_model_settings": {
        "inference_parameters": {"temperature": 0.1, "max_tokens": 100, "top_p": 0.95},
        "endpoint_request_settings": {"request_batch_size": 10, "min_endpoint_success_ratio": 0.7},
    },
    "prompt_settings": {"enable_chain_of_thought": True, "max_len_summary": 60},
    "hyperparameters": {"learning_rate_multiplier": "0.2", "n_epochs": "5", "batch_size": "2"},
    "resources": {"instance_type": "Standard_D2_v2"},
}


def changed(**changes: Any) -> str:
    return str(yaml.safe_dump({**DISTILLATION_JOB, **changes}, sort_keys=False))


def test_a_distillation_job_is_read_as_a_recipe(write: Any) -> None:
    loaded = recipe.load(write(changed())).recipe
    assert loaded is not None
    assert (loaded.name, loaded.experiment_name, loaded.task) == ("d", "e", "qa")
    teacher = loaded.teacher
    assert (teacher.model, teacher.how, teacher.key) == (
        "llama-3.1-405b-instruct",
        "chain_of_thought",
        "env:TEACHER_API_KEY",
    )
    assert (teacher.max_tokens, teacher.top_p, teacher.concurrency) == (100, 0.95, 10)
    assert (teacher.min_success_ratio, teacher.max_summary_words) == (0.7, 60)
    trained = loaded.hyperparameters
    assert (trained.num_epochs, trained.batch_size, trained.sampling_temperature) == (5, 2, 0.1)
    assert trained.learning_rate == pytest.approx(0.2 * microsoft.BASE_LEARNING_RATE)
    assert (trained.lora, trained.lora_rank, trained.lora_alpha) == (True, 8, 128)
    assert loaded.student.model == "llama-3.1-8b"
    assert loaded.compute.teacher == "Standard_D2_v2"
    assert loaded.tags == {"azdistill.registered_model": "distilled"}


def test_its_key_is_never_copied(write: Any) -> None:
    path = write(changed())
    reading = recipe.load(path)
    assert SECRET not in repr(reading.recipe)
    assert SECRET not in "".join(map(str, reading.problems))
    warning = the([problem for problem in reading.problems if problem.code == "AZD220"])
    assert warning.severity == "warning"
    assert warning.line == 1 + path.read_text().splitlines().index(f"  api_key: {SECRET}")


def test_a_teacher_on_this_machine_needs_no_key_unless_one_is_set(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(changed())
    local = {"teacher_endpoint": "http://127.0.0.1:9/v1"}
    monkeypatch.delenv("TEACHER_API_KEY", raising=False)
    assert recipe.load(path, local).recipe.teacher.key is None  # type: ignore[union-attr]
    assert recipe.load(path).recipe.teacher.key == "env:TEACHER_API_KEY"  # type: ignore[union-attr]
    monkeypatch.setenv("TEACHER_API_KEY", "x")
    assert recipe.load(path, local).recipe.teacher.key == "env:TEACHER_API_KEY"  # type: ignore[union-attr]


def test_the_names_of_the_sdk_samples_are_known_too(write: Any) -> None:
    names_of_notebooks = {"learning_rate": "3e-5", "num_train_epochs": "2", "per_device_train_batch_size": "4"}
    trained = recipe.load(write(changed(hyperparameters=names_of_notebooks))).recipe.hyperparameters  # type: ignore[union-attr]
    assert (trained.learning_rate, trained.num_epochs, trained.batch_size) == (3e-5, 2, 4)


def test_what_has_no_counterpart_is_said(write: Any) -> None:
    text = changed(
        hyperparameters={"n_epochs": "5", "weight_noise": "1"},
        teacher_model_settings={"inference_parameters": {"frequency_penalty": 0.5, "presence_penalty": 0}},
    )
    left_out = [problem.message for problem in recipe.check(write(text)) if problem.code == "AZD223"]
    assert sorted(left_out) == [
        "hyperparameters.weight_noise has no counterpart here and is left out",
        "teacher_model_settings.inference_parameters.frequency_penalty has no counterpart here and is left out",
    ]


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"prompt_setings": {}}, "no key 'prompt_setings'", "did you mean 'prompt_settings'?"),
        (
            {"prompt_settings": {"enable_chain_of_though": True}},
            "no key 'prompt_settings.enable_chain_of_though'",
            "did you mean 'enable_chain_of_thought'?",
        ),
        ({"data_generation_type": "data_generation"}, "it does not make up new ones", ""),
        ({"training_data": "./gone.jsonl"}, "data.training_data: there is no ./gone.jsonl", "--set training_data"),
        ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters.num_epochs: should be a valid number", ""),
        ({"hyperparameters": {"learning_rate_multiplier": "x"}}, "should be a number; it is 'x'", ""),
        ({"student_model": None}, "student is missing", ""),
        ({"teacher_model_endpoint_connection": {"name": "t"}}, "teacher.endpoint is missing", ""),
    ],
)
def test_mistakes_in_a_distillation_job_have_a_place(
    write: Any, changes: dict[str, Any], message: str, hint: str
) -> None:
    found = [problem for problem in recipe.check(write(changed(**changes))) if problem.severity == "error"]
    problem = the(found)
    assert message in problem.message
    assert hint in problem.hint
    assert problem.line > 0


def test_a_mistake_in_a_key_hides_none_in_a_path_or_a_model(write: Any) -> None:
    text = MINIMAL.replace("train.jsonl", "nowhere.jsonl") + "hyperparameters:\n  num_epoch: 3\n"
    found = {problem.code for problem in recipe.check(write(text))}
    assert {"AZD203", "AZD208"} <= found
