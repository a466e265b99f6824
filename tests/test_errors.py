"""The tree of errors: exit codes, places, hints."""

import pytest

from azdistill import errors
from azdistill.errors import Problem, SpecError, did_you_mean, exit_code_of_step


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (errors.RunFailed, 1),
        (errors.UserError, 2),
        (errors.SpecError, 2),
        (errors.MachineError, 3),
        (errors.ServiceError, 4),
        (errors.Interrupted, 130),
    ],
)
def test_each_error_ends_the_program_with_its_own_code(kind: type[errors.AzdistillError], exit_code: int) -> None:
    assert kind.exit_code == exit_code


@pytest.mark.parametrize(
    ("step", "program"), [(1, 1), (3, 1), (137, 1), (64, 2), (65, 2), (66, 2), (78, 2), (69, 4), (75, 4), (77, 4)]
)
def test_the_exit_code_of_a_run_follows_the_class_of_the_failed_step(step: int, program: int) -> None:
    assert exit_code_of_step(step) == program


def test_a_problem_prints_its_code_place_and_hint() -> None:
    problem = Problem("AZD101", "unknown key 'imputs'", "job.yml", 4, 3, hint="did you mean 'inputs'?")
    assert str(problem) == "error[AZD101]: unknown key 'imputs'\n  at job.yml:4:3\n  hint: did you mean 'inputs'?"


def test_a_problem_as_json_has_exactly_the_documented_keys() -> None:
    keys = ["code", "severity", "file", "line", "column", "message", "hint"]
    assert list(Problem("AZD101", "m").as_json()) == keys


def test_a_spec_error_speaks_of_its_first_error_and_keeps_all_problems_in_order() -> None:
    late = Problem("AZD2", "late", "a.yml", 9, 1)
    warning = Problem("AZD3", "only a warning", "a.yml", 1, 1, severity="warning")
    error = SpecError([late, warning])
    assert error.problems == [warning, late]
    assert error.message == "late"
    assert error.code == "AZD2"


def test_did_you_mean_names_the_closest_word_or_all_of_them() -> None:
    assert did_you_mean("temprature", ["temperature", "top_p"]) == "did you mean 'temperature'?"
    assert did_you_mean("zzz", ["temperature", "top_p"]) == "known: temperature, top_p"
    assert did_you_mean("zzz", []) == ""
