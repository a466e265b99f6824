"""Outputs that are values: written as a file, held to their type, handed on as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_helpers import log_of, statuses, step, write_pipeline

from azdistill import aml
from azdistill.errors import UserError
from azdistill.local.outputs import value_outputs
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.store.runs import read_events

Run = Callable[..., Finished]
KINDS = ("string", "integer", "number", "boolean")


def writes(command: str, kind: str = "string", name: str = "v", **more: Any) -> dict[str, Any]:
    """A step whose output ``v`` is a value."""
    return step(command) | {"outputs": {name: {"type": kind}}} | more


def prints(written: str, kind: str = "string") -> dict[str, Any]:
    return writes(f"printf -- '{written}' > ${{{{outputs.v}}}}", kind)


USE = """
name: use
type: command
environment: azureml:any@latest
inputs: {v: %s}
command: python -c 'import sys; print(sys.argv[1:])' '${{inputs.v}}'
"""
GIVEN = {"v": "${{parent.jobs.a.outputs.v}}"}


@pytest.fixture
def use(project: Path) -> Callable[..., dict[str, Any]]:
    """A step that prints the value of ``a``, its input declared as ``declared``."""

    def make(declared: str = "{type: string}", command: str = "") -> dict[str, Any]:
        text = USE % declared
        if command:
            text = text[: text.index("command: ")] + f"command: {command}\n"
        (project / "use.yml").write_text(text)
        return {"type": "command", "component": "./use.yml", "inputs": GIVEN}

    return make


@pytest.mark.parametrize(
    ("kind", "written", "handed_on"),
    [
        *(("string", "two words", "two words"), ("string", "größer\\n", "größer"), ("string", "", "")),
        *(
            ("string", "a\\r\\n", "a"),
            ("string", "a\\n\\n", "a\n"),
            ("integer", "-3\\n", "-3"),
            ("integer", "10.0", "10.0"),
        ),
        *(("number", "1e-5\\n", "1e-5"), ("boolean", "True", "True"), ("boolean", "false\\n", "false")),
    ],
)
def test_what_is_written_is_handed_on_as_text(
    run: Run, use: Callable[..., dict[str, Any]], kind: str, written: str, handed_on: str
) -> None:
    finished = run({"a": prints(written, kind), "b": use(f"{{type: {kind}}}")})
    assert finished.error is None
    assert log_of(finished, "b") == f"{[handed_on]}\n"


def test_inputs_of_inline_steps_take_their_type(run: Run) -> None:
    finished = run({"a": prints("5", "integer"), "b": step("echo got ${{inputs.v}}", inputs=GIVEN)})
    assert log_of(finished, "b") == "got 5\n"


@pytest.mark.parametrize(
    ("kind", "written", "error"),
    [
        ("integer", "2.5", "output 'v' is declared integer; what was written, '2.5', is not a whole number"),
        ("number", "fast", "output 'v' is declared number; what was written, 'fast', is not a number"),
        ("boolean", "1", "output 'v' is declared boolean; what was written, '1', is not true or false"),
        ("integer", "", "output 'v' is declared integer; what was written, '', is not a number"),
        ("string", r"a\377", "output 'v' (string) is not UTF-8"),
    ],
)
def test_what_is_not_of_its_type_fails_the_step_that_wrote_it(run: Run, kind: str, written: str, error: str) -> None:
    finished = run({"a": prints(written, kind), "b": step("echo ${{inputs.v}}", inputs=GIVEN)})
    assert statuses(finished) == {"a": "failed", "b": "skipped"}
    assert finished.state.steps["a"].error == error
    again = run({"a": prints(written, kind)})
    assert statuses(again) == {"a": "failed"}, "a bad value is not cached"


def test_a_value_that_was_not_written_fails_its_step(run: Run) -> None:
    finished = run({"a": writes("true '${{outputs.v}}'")})
    assert finished.state.steps["a"].error == "the command ended with exit code 0 but did not write output 'v'"


@pytest.mark.parametrize(("length", "status"), [(65536, "completed"), (65537, "failed"), (300_000, "failed")])
def test_values_have_a_size_and_what_is_larger_is_data(run: Run, length: int, status: str) -> None:
    command = f"head -c {length} /dev/zero | tr '\\0' x > ${{{{outputs.v}}}}; echo >> ${{{{outputs.v}}}}"
    finished = run({"a": writes(command)})
    assert statuses(finished) == {"a": status}
    if status == "failed":
        told = "output 'v' (string) is larger than 64 KiB: give data as a uri_file"
        assert finished.state.steps["a"].error == told


@pytest.mark.parametrize(
    ("declared", "written", "error"),
    [
        ("{type: integer, max: 3}", "4", "is given what step 'a' wrote as 'v': it is 4, above the largest allowed: 3"),
        ("{type: integer, min: 3}", "2", "it is 2, below the smallest allowed: 3"),
    ],
)
def test_a_value_is_held_to_the_range_of_the_input(
    run: Run, use: Callable[..., dict[str, Any]], declared: str, written: str, error: str
) -> None:
    finished = run({"a": prints(written, "integer"), "b": use(declared)})
    assert statuses(finished) == {"a": "completed", "b": "failed"}
    assert isinstance(finished.error, UserError)
    assert finished.error.code == "AZD334"
    assert finished.error.message.startswith("step 'b': input 'v' is given what step 'a' wrote")
    assert error in finished.error.message


def test_a_value_is_held_to_the_enum_of_the_input(run: Run, use: Callable[..., dict[str, Any]]) -> None:
    finished = run({"a": prints("stf"), "b": use("{type: string, enum: [sft, logits]}")})
    assert isinstance(finished.error, UserError)
    assert "it is 'stf', which is not allowed" in finished.error.message
    assert finished.error.hint == "did you mean 'sft'?"


@pytest.mark.parametrize("hostile", ["it's", "\\047; touch pwned; echo \\047", "a\\0b"])
def test_a_hostile_value_never_runs(run: Run, use: Callable[..., dict[str, Any]], project: Path, hostile: str) -> None:
    jobs = {"a": writes(f'printf "{hostile}" > ${{{{outputs.v}}}}'), "b": use()}
    finished = run(jobs)
    assert statuses(finished) == {"a": "completed", "b": "failed"}
    assert isinstance(finished.error, UserError)
    assert "step 'b': input 'v' is given what step 'a' wrote as 'v'" in finished.error.message
    assert "would break out" in finished.error.message
    assert not list(project.rglob("pwned"))
    assert finished.state.steps["b"].attempts == 0


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(text=st.text(st.characters(exclude_characters="'\0", exclude_categories=("Cs", "Cc")), max_size=30))
def test_any_other_text_reaches_the_next_step_unchanged(
    run: Run, use: Callable[..., dict[str, Any]], project: Path, text: str
) -> None:
    (project / "code").mkdir(exist_ok=True)
    (project / "code" / "value.txt").write_text(text, encoding="utf-8")
    jobs = {"a": writes("cp value.txt ${{outputs.v}}", code="./code"), "b": use()}
    show = "python -c 'import sys; print(ascii(sys.argv[1]))' '${{inputs.v}}'"
    jobs["b"] = use(command=show)
    assert log_of(run(jobs), "b") == f"{text!a}\n"


def test_a_value_never_names_a_secret(
    run: Run, use: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_CALLER", "what nobody asked for")
    shown = "echo \"${OF_THE_CALLER:-nothing}\" '${{inputs.v}}'"
    finished = run({"a": prints("env:OF_THE_CALLER"), "b": use(command=shown)})
    assert log_of(finished, "b") == "nothing env:OF_THE_CALLER\n"


def test_values_count_by_what_they_say(run: Run, use: Callable[..., dict[str, Any]]) -> None:
    run({"a": prints("1", "integer"), "b": use("{type: integer}")})
    same = run({"a": prints("1\\n", "integer"), "b": use("{type: integer}")})
    assert statuses(same) == {"a": "completed", "b": "cached"}
    other = run({"a": prints("2", "integer"), "b": use("{type: integer}")})
    assert statuses(other) == {"a": "completed", "b": "completed"}


def test_a_value_reaches_through_nested_pipelines(run: Run, project: Path) -> None:
    made = writes("echo 4 > ${{outputs.v}}", "integer", outputs={"v": "${{parent.outputs.v}}"})
    inner = {"type": "pipeline", "outputs": {"v": {"type": "integer"}}, "jobs": {"deep": made}}
    (project / "inner.yml").write_text(json.dumps(inner))
    taking = {
        "type": "pipeline",
        "inputs": {"v": {"type": "integer"}},
        "jobs": {"deep": step("echo got ${{inputs.v}}", inputs={"v": "${{parent.inputs.v}}"})},
    }
    (project / "taking.yml").write_text(json.dumps(taking))
    jobs = {
        "a": {"type": "pipeline", "component": "./inner.yml"},
        "b": {"type": "pipeline", "component": "./taking.yml", "inputs": GIVEN},
    }
    assert log_of(run(jobs), "b.deep") == "got 4\n"


def test_a_value_within_other_text_is_refused(project: Path) -> None:
    from azdistill.errors import SpecError
    from azdistill.local.dry_run import foresee

    jobs = {"a": prints("x"), "b": step("echo ${{inputs.v}}", inputs={"v": "at ${{parent.jobs.a.outputs.v}} now"})}
    with pytest.raises(SpecError) as caught:
        foresee(aml.load_pipeline(write_pipeline(project / "pipeline.yml", jobs)), Options())
    assert [p.code for p in caught.value.problems] == ["AZD337"]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_of_a_pipeline_that_are_values_are_given_out_as_files(run: Run, project: Path, kind: str) -> None:
    written = {"string": "a word", "integer": "3", "number": "0.5", "boolean": "true"}[kind]
    jobs = {"a": writes(f"echo {written} > ${{{{outputs.v}}}}", kind, outputs={"v": "${{parent.outputs.answer}}"})}
    run(jobs, outputs={"answer": {"type": kind}}, options=Options(out=project / "out"))
    assert (project / "out" / "answer").read_text() == f"{written}\n"


def test_a_link_is_no_value(run: Run, project: Path) -> None:
    (project / "outside.txt").write_text("not the step's")
    finished = run({"a": writes(f"ln -s '{project}/outside.txt' ${{{{outputs.v}}}}")})
    assert finished.state.steps["a"].error == "output 'v' (string) is a link, not a file of its own"


def test_a_logged_value_is_written_over_no_link(run: Run, project: Path) -> None:
    step = logs({"kind": "property", "name": CONTROL, "value": {"v": "True"}})
    step["command"] += f"; ln -s '{project}/outside.txt' ${{{{outputs.v}}}}"
    assert statuses(run({"a": step})) == {"a": "failed"}
    assert not (project / "outside.txt").exists()


CONTROL = "azureml.pipeline.control"


def logs(record: dict[str, Any], kind: str = "boolean") -> dict[str, Any]:
    command = 'true ${{outputs.v}}; echo "$RECORD" >> "$AZDISTILL_METRICS_FILE"'
    return writes(command, kind, environment_variables={"RECORD": json.dumps(record)})


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "tag", "name": CONTROL, "value": '{"v": true, "other": 1}'},
        {"kind": "property", "name": CONTROL, "value": {"v": "True"}},
        {"kind": "property", "name": f"{CONTROL}.v", "value": "True"},
    ],
)
def test_a_value_that_is_only_logged_is_taken(run: Run, use: Callable[..., dict[str, Any]], record: Any) -> None:
    finished = run({"a": logs(record), "b": use("{type: boolean}")})
    assert finished.error is None
    assert log_of(finished, "b") == "['True']\n"


def test_a_file_counts_before_what_is_logged(run: Run, use: Callable[..., dict[str, Any]]) -> None:
    both = logs({"kind": "property", "name": CONTROL, "value": {"v": True}})
    both["command"] += "; echo false > ${{outputs.v}}"
    assert log_of(run({"a": both, "b": use("{type: boolean}")}), "b") == "['false']\n"


def test_a_logged_value_is_held_to_its_type(run: Run) -> None:
    finished = run({"a": logs({"kind": "property", "name": CONTROL, "value": {"v": "perhaps"}})})
    assert "is declared boolean; what was written, 'perhaps'" in finished.state.steps["a"].error


def test_a_value_logged_with_mlflow_is_taken(run: Run, use: Callable[..., dict[str, Any]], project: Path) -> None:
    (project / "code").mkdir()
    script = f"import mlflow\nmlflow.start_run()\nmlflow.set_tag({CONTROL!r}, '{{\"v\": 7}}')\n"
    (project / "code" / "log.py").write_text(script)
    jobs = {"a": writes("python log.py ${{outputs.v}}", "integer", code="./code"), "b": use("{type: integer}")}
    finished = run(jobs)
    assert finished.error is None, log_of(finished, "a")
    assert log_of(finished, "b") == "['7']\n"


def test_values_that_were_handed_on_are_parameters_of_the_run(run: Run, use: Callable[..., dict[str, Any]]) -> None:
    finished = run({"a": prints("3", "integer"), "b": use("{type: integer}")})
    metrics = finished.state.folder / "steps" / "b" / "attempts" / "1" / "metrics.jsonl"
    assert [json.loads(line) for line in metrics.read_text().splitlines()] == [
        {"kind": "param", "name": "v", "value": "3"}
    ]
    ended = [e for e in read_events(finished.state.folder / "events.jsonl") if e.kind == "step_ended"]
    assert [event.step for event in ended] == ["a", "b"]


@pytest.mark.parametrize(("written", "text"), [(b"a\n", "a"), (b"a\r\n", "a"), (b"\na", "\na"), (b"", "")])
def test_one_line_end_after_a_value_does_not_count(tmp_path: Path, written: bytes, text: str) -> None:
    (tmp_path / "v").write_bytes(written)
    assert value_outputs.read(tmp_path / "v") == text


@pytest.fixture
def my_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A secret, longer than a message shows of a value, with what Python's repr spells differently."""
    value = """s3cr3t-Value/with\'chars==\"q\\""" + "".join(f"{number:03d}x" for number in range(100))
    monkeypatch.setenv("MY_KEY", value)
    return value


def gives_it_away(kind: str = "string") -> dict[str, Any]:
    """A step that writes the secret that it is given as its value."""
    given = {"inputs": {"k": "env:MY_KEY"}}
    return writes("test '${{inputs.k}}'; printf '%s' \"$MY_KEY\" > ${{outputs.v}}", kind, **given)


@pytest.mark.parametrize(
    ("kind", "declared", "failed", "told"),
    [
        ("string", "{type: string, enum: [q, r]}", "b", "it is '***', which is not allowed"),
        ("boolean", "{type: boolean}", "a", "is declared boolean; what was written, '***', is"),
    ],
)
def test_a_message_about_a_value_shows_no_secret(
    run: Run, use: Callable[..., dict[str, Any]], my_key: str, kind: str, declared: str, failed: str, told: str
) -> None:
    finished = run({"a": gives_it_away(kind), "b": use(declared)})
    assert told in finished.state.steps[failed].error
    for text in (finished.state.steps[failed].error, finished.state.error, str(finished.error)):
        assert told in text
        assert my_key[:9] not in text
