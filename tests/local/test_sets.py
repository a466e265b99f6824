"""--set: values typed by what they feed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, step, write_pipeline

from azdistill import aml, redact
from azdistill.compile.sets import apply_sets, parse_sets
from azdistill.errors import UserError
from azdistill.local.pipeline_run import Finished

Run = Callable[..., Finished]

COMPONENT = """
type: command
name: c
version: "1"
environment: azureml:any@latest
command: echo '${{inputs.rate}}' '${{inputs.count}}' '${{inputs.flag}}' '${{inputs.word}}'
inputs:
  rate: {type: number}
  count: {type: integer, min: 1, max: 10}
  flag: {type: boolean}
  word: {type: string}
"""


@pytest.fixture
def pipeline(project: Path) -> aml.Pipeline:
    """A pipeline whose inputs feed one input of each type, and data."""
    (project / "c.yml").write_text(COMPONENT)
    names = ("rate", "count", "flag", "word")
    jobs: dict[str, Any] = {
        "a": {"type": "command", "component": "./c.yml", "inputs": {n: f"${{{{parent.inputs.{n}}}}}" for n in names}}
    }
    jobs["b"] = step("cat '${{inputs.rows}}'", inputs={"rows": "${{parent.inputs.rows}}"})
    inputs = {"rate": 1, "count": 2, "flag": False, "word": "12", "rows": {"type": "uri_file", "path": "./rows.jsonl"}}
    return aml.load_pipeline(write_pipeline(project / "p.yml", jobs, inputs=inputs))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("rate=2e-5", 2e-5), ("rate=3", 3.0), ("count=7", 7), ("flag=true", True), ("flag=False", False)],
        *[("word=007", "007"), ("word=", ""), ("word=a=b", "a=b")],
    ],
)
def test_a_value_has_the_type_of_what_it_feeds(pipeline: aml.Pipeline, text: str, value: object) -> None:
    name = text.partition("=")[0]
    assert apply_sets(pipeline, parse_sets([text])).inputs[name].default == value


@pytest.mark.parametrize("text", ["rate=fast", "count=1.5", "count=x", "flag=yes", "rate="])
def test_a_value_of_another_type_is_refused(pipeline: aml.Pipeline, text: str) -> None:
    with pytest.raises(UserError, match="--set"):
        apply_sets(pipeline, parse_sets([text]))


def test_a_value_out_of_range_is_found_by_the_checks(pipeline: aml.Pipeline) -> None:
    problems = aml.check(apply_sets(pipeline, {"count": "11"}))
    assert any("11" in problem.message for problem in problems if problem.severity == "error")


def test_a_path_starts_at_the_working_directory(pipeline: aml.Pipeline, project: Path) -> None:
    assert apply_sets(pipeline, {"rows": "data/other.jsonl"}).inputs["rows"].path == str(project / "data/other.jsonl")


def test_an_unknown_name_is_refused_with_the_closest_one(pipeline: aml.Pipeline) -> None:
    with pytest.raises(UserError, match="no input 'cuont'") as raised:
        apply_sets(pipeline, {"cuont": "3"})
    assert raised.value.hint == "did you mean 'count'?"


def test_what_is_wrong_with_a_value_is_no_fault_of_the_file(pipeline: aml.Pipeline, project: Path) -> None:
    problems = aml.check(apply_sets(pipeline, {"rows": "nope.jsonl", "count": "11"}))
    found = {problem.code: problem for problem in problems if problem.severity == "error"}
    assert (found["AZD123"].file, found["AZD123"].message) == ("--set rows", "no data at nope.jsonl")
    assert found["AZD134"].file == "--set count"


@pytest.mark.parametrize(
    "path", ["azureml:rows:1", "https://host/rows.jsonl", "azureml://datastores/d/paths/rows.jsonl"]
)
def test_remote_data_stays_as_written(pipeline: aml.Pipeline, path: str) -> None:
    assert apply_sets(pipeline, {"rows": path}).inputs["rows"].path == path


def test_text_where_a_number_belongs_is_called_that(pipeline: aml.Pipeline) -> None:
    with pytest.raises(UserError, match=r"--set count=abc: not a number \(integer\)"):
        apply_sets(pipeline, {"count": "abc"})


def test_words_around_a_binding_reach_the_command(run: Run) -> None:
    job = step("echo ${{inputs.x}}", inputs={"x": "at ${{parent.inputs.n}} of 5"})
    assert log_of(run({"a": job}, inputs={"n": 3}), "a") == "at 3 of 5\n"


#: Of the shapes that keys have; made up.
KEYS = {
    "openai": "sk-" + "abcdefghij0123456789",
    "huggingface": "hf_" + "a1b2c3d4e5" * 4,
    "github": "ghp_" + "a1b2c3d4e5" * 4,
    "storage": "AccountName=a;AccountKey=" + "a1b2c3d4e5" * 4 + "==",
    "signature": "https://a.blob.core.windows.net/c/f?sv=1&sig=" + "a1b2c3d4e5" * 4,
    "token": "eyJ" + "a1b2c3d4e5" * 2 + ".eyJ" + "a1b2c3d4e5" * 2 + "." + "a1b2c3d4e5" * 2,
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize(
    "text", ["word={}", "word=x {} y", "count={}", "rows={}", "wrod={}", "{}", "teacher.api_key={}"]
)
def test_a_value_that_looks_like_a_secret_is_refused_and_not_repeated(text: str, key: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_sets([text.format(key)])
    assert caught.value.code == "AZD170"
    assert key.rpartition("=")[2] not in str(caught.value) or key.endswith("=")
    assert "a1b2c3d4e5" not in str(caught.value)
    assert redact.redact(f"GET {key}").count("***") == 1


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("name", ["word", "rows"])
def test_a_program_that_gives_a_secret_is_refused_too(pipeline: aml.Pipeline, name: str, key: str) -> None:
    problems = aml.check(apply_sets(pipeline, {name: key}))
    assert "AZD170" in {problem.code for problem in problems}
    assert not [problem for problem in problems if "a1b2c3d4e5" in str(problem)]


def test_an_input_whose_name_is_a_secrets_takes_references_only(project: Path) -> None:
    jobs = {"a": step("echo '${{inputs.k}}'", inputs={"k": "${{parent.inputs.api_key}}"})}
    opened = aml.load_pipeline(write_pipeline(project / "p.yml", jobs, inputs={"api_key": "env:KEY"}))
    for value, codes in (("swordfish", ["AZD170"]), ("env:OTHER", []), ("connection:c", [])):
        problems = aml.check(apply_sets(opened, parse_sets([f"api_key={value}"])))
        assert [problem.code for problem in problems] == codes
        assert not [problem for problem in problems if "swordfish" in str(problem)]


def test_what_is_no_set_at_all_shows_no_secret() -> None:
    with pytest.raises(UserError, match="not of the form") as caught:
        parse_sets(["api_key: swordfish"])
    assert "swordfish" not in str(caught.value)
