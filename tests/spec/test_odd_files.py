"""What is given for a spec and is none: links that lead nowhere, pipes, devices, other kinds of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from azdistill import aml
from azdistill.errors import Problem, SpecError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def only_problem(path: str) -> Problem:
    [problem] = aml.examine(path)[1]
    return problem


def test_a_link_to_nothing_is_named_with_what_it_leads_to() -> None:
    Path("a.yml").symlink_to("gone.yml")
    problem = only_problem("a.yml")
    assert (problem.code, problem.file) == ("AZD101", "a.yml")
    assert problem.message == "no such file: a.yml (it is a link to gone.yml)"


def test_a_link_to_itself_is_a_file_that_cannot_be_read() -> None:
    Path("a.yml").symlink_to("a.yml")
    assert (only_problem("a.yml").code, only_problem("a.yml").file) == ("AZD101", "a.yml")


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("{component: ./ring}", "AZD121"),
        ("{command: x, environment: 'azureml:e:1', code: ./ring}", "AZD120"),
        ("{command: x, environment: 'azureml:e:1', additional_includes: [./ring]}", "AZD124"),
        ("{command: x, environment: 'azureml:e:1', inputs: {a: {type: uri_file, path: ./ring}}}", "AZD123"),
    ],
)
def test_a_link_to_itself_in_a_spec_is_missing(step: str, code: str) -> None:
    Path("ring").symlink_to("ring")
    Path("p.yml").write_text(f"type: pipeline\njobs:\n  a: {step}\n")
    assert only_problem("p.yml").code == code


def test_a_pipe_is_not_waited_for() -> None:
    os.mkfifo("a.yml")
    assert "a pipe" in only_problem("a.yml").message


def test_a_device_is_not_read() -> None:
    assert only_problem("/dev/zero").code == "AZD101"


def test_a_folder_is_none() -> None:
    Path("a.yml").mkdir()
    assert only_problem("a.yml").message == "cannot read a.yml: Is a directory"


def test_a_file_that_is_too_large_is_not_read() -> None:
    with open("a.yml", "wb") as file:
        file.truncate(50_000_000)
    assert only_problem("a.yml").code == "AZD106"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_called_empty(text: str) -> None:
    Path("a.yml").write_text(text)
    assert only_problem("a.yml").message.endswith(": the file is empty")


def test_a_binary_file_is_told_with_its_place() -> None:
    Path("a.yml").write_bytes(b"type: pipeline\nab\0c\n")
    problem = only_problem("a.yml")
    assert (problem.code, problem.line, problem.column) == ("AZD103", 2, 3)
    assert problem.message == "not YAML: a control character (U+0000)"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("jobs:\n\ta: 1\n", "indent with spaces: YAML takes no tabs there"),
        ("jobs: {a: ${{parent.inputs.x}}}\n", "in quotes: '${{parent.inputs.NAME}}'"),
        ("expression: * * * * *\n", "in quotes"),
        ("description: a note: with a colon\n", "in quotes"),
    ],
)
def test_a_usual_slip_in_yaml_is_told_what_to_do_about_it(text: str, hint: str) -> None:
    Path("a.yml").write_text(text)
    problem = only_problem("a.yml")
    assert problem.code == "AZD103"
    assert problem.hint.endswith(hint)


def test_carriage_returns_and_a_byte_order_mark_change_nothing() -> None:
    text = "name: c\ntype: command\nenvironment: azureml:e:1\ncommand: run ${{inputs.x}}\n"
    Path("a.yml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert [(p.code, p.line, p.column) for p in aml.examine("a.yml")[1]] == [("AZD150", 4, 14)]


def test_a_hundred_problems_are_told_in_a_moment() -> None:
    steps = "".join(f"  s{n}: {{command: 'x ${{{{inputs.a}}}}', environment: 'azureml:e:1'}}\n" for n in range(100))
    Path("a.yml").write_text("type: pipeline\njobs:\n" + steps)
    before = os.times().user
    problems = aml.examine("a.yml")[1]
    assert [p.line for p in problems] == list(range(3, 103))
    assert os.times().user - before < 1


def test_a_pipe_as_a_component_is_refused_with_the_place_that_names_it() -> None:
    os.mkfifo("c.yml")
    Path("p.yml").write_text("type: pipeline\njobs: {a: {component: ./c.yml}}\n")
    problem = only_problem("p.yml")
    assert (problem.code, problem.file, problem.line) == ("AZD121", "p.yml", 2)


def test_what_cannot_be_read_raises_with_its_code() -> None:
    os.mkfifo("a.yml")
    with pytest.raises(SpecError) as caught:
        aml.load("a.yml")
    assert caught.value.code == "AZD101"


def test_a_message_shows_no_marks_that_reorder_text_and_is_of_a_length_to_be_read(tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    text = "name: c\ntype: command\ncommand: run\nenvironment: azureml:e@latest\n"
    file.write_text(f"{text}\u202eevil: 1\ninputs: {{i: {{type: integer, max: 3, default: {'9' * 4000}}}}}\n")
    problems = aml.examine(file)[1]
    assert len(problems) >= 2
    assert not any("\u202e" in str(problem) or len(str(problem)) > 1500 for problem in problems)
