"""Every check, by example: the cases are in ``spec_cases``."""

from __future__ import annotations

from pathlib import Path

import pytest
from spec_cases import CASES, MARK, TRAIN, job, pipeline, write

from azdistill import aml, redact
from azdistill.error_codes import PIPELINES
from azdistill.errors import Problem


@pytest.fixture(autouse=True)
def _no_secret_is_remembered():
    yield
    redact.forget()


def found(problems: list[Problem]) -> set[tuple[str, str, str, int, int]]:
    return {(p.code, p.severity, Path(p.file).name, p.line, p.column) for p in problems}


@pytest.mark.parametrize("files", CASES.values(), ids=CASES)
def test_check(files: dict[str, str], tmp_path: Path) -> None:
    file, expected = write(tmp_path, files)
    _, problems = aml.examine(file)
    assert found(problems) == expected, "\n".join(map(str, problems))


def test_every_code_that_a_check_can_give_is_met_here() -> None:
    met = {mark[0] for files in CASES.values() for text in files.values() for mark in MARK.findall(text)}
    reading = {"AZD101", "AZD102", "AZD103", "AZD104", "AZD105", "AZD106"}  # tests/spec/test_reader.py
    starting = {"AZD158"}  # tests/cloud/test_service_words.py
    assert met | reading | starting == set(PIPELINES)


def test_everything_wrong_is_reported_at_once(tmp_path: Path) -> None:
    text = pipeline(
        "      learning_rate: «AZD134»7\n      «AZD130»lerning_rate: 1\n      epochs: «AZD132»x\n",
        inputs="{a: {type: uri_file, path: «AZD123»no.jsonl}}",
        more="    «AZD110»compte: cpu\n",
    )
    file, expected = write(tmp_path, job(text))
    assert len(expected) == 5
    assert found(aml.examine(file)[1]) == expected


def test_no_message_holds_a_secret(tmp_path: Path) -> None:
    file, _ = write(tmp_path, job(pipeline(inputs="{api_key: abcdef123456, note: sk-abcdefghijklmnopqrstuvwx}")))
    _, problems = aml.examine(file)
    assert {p.code for p in problems} == {"AZD170"}
    assert not any("abcdef" in str(p) for p in problems)


@pytest.mark.parametrize(
    ("case", "hint"),
    [
        ("misspelt input", "did you mean 'learning_rate'?"),
        ("binding to an unknown output", "did you mean 'summary'?"),
        ("binding without parent", "did you mean '${{parent.inputs.lr}}'?"),
        ("undefined input in a command", "did you mean 'inputs.prompts'?"),
        ("missing component", "did you mean 'train.yml'?"),
        ("unknown type of an input", "did you mean 'uri_file'?"),
        ("not in the enum", "did you mean 'sft'?"),
    ],
)
def test_hint_names_what_was_meant(case: str, hint: str, tmp_path: Path) -> None:
    file, _ = write(tmp_path, CASES[case])
    assert [p.hint for p in aml.examine(file)[1]] == [hint]


def test_a_pipeline_made_in_memory_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "train.yml").write_text(TRAIN)
    step = {
        "type": "command",
        "component": "train.yml",
        "inputs": {"learning_rate": 9, "rows": {"path": "azureml:x:1"}},
    }
    made = aml.pipeline_from({"type": "pipeline", "jobs": {"train": step}}, tmp_path, "recipe.yml")
    assert [(p.code, p.file, p.line) for p in aml.check(made)] == [("AZD134", "recipe.yml", 0)]


def test_a_secret_that_another_check_would_show_is_hidden(tmp_path: Path) -> None:
    key = "sk-abcdefghijklmnopqrstuvwx0123"
    file, _ = write(tmp_path, job(pipeline(f"      epochs: {key}\n      method: {key}\n")))
    _, problems = aml.examine(file)
    assert [p.code for p in problems] == ["AZD132", "AZD170", "AZD133", "AZD170"]
    assert not any(key in str(p) for p in problems)
