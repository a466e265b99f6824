"""What a local run promises about a pipeline of command steps."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from local_helpers import log_of, no_cache, statuses, step

from azdistill.errors import Interrupted, MachineError, RunFailed, SpecError, UserError
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.runners.guard import marked
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs, load_run

PIPELINES = Path(__file__).parent / "pipelines"
Run = Callable[..., Finished]


def test_a_steps_output_is_the_next_steps_input(run: Run, project: Path) -> None:
    finished = run(PIPELINES / "basic" / "pipeline.yml", options=Options(out=project / "out"))
    assert statuses(finished) == {"first": "completed", "second": "completed"}
    assert (project / "out" / "text").read_text() == "world\nhello\n"
    assert (project / "out" / "report" / "copy.txt").read_text() == "world\nhello\n"


def test_nested_pipelines_are_flattened_to_dotted_names(run: Run, project: Path) -> None:
    finished = run(PIPELINES / "nested" / "pipeline.yml", options=Options(out=project / "out"))
    assert statuses(finished) == dict.fromkeys(["prepare", "train.fit", "train.inner.score", "last"], "completed")
    assert (project / "out" / "result").read_text() == "rows\nfit 3\nscore\nlast\n"


def test_a_step_that_ends_with_0_but_writes_no_output_has_failed(run: Run) -> None:
    finished = run({"a": step("true '${{outputs.x}}'", outputs=("x",))})
    assert statuses(finished) == {"a": "failed"}
    assert "did not write output 'x'" in finished.state.steps["a"].error


def test_an_empty_output_folder_is_a_failure(run: Run) -> None:
    finished = run({"a": step("mkdir '${{outputs.x}}/inner'") | {"outputs": {"x": {"type": "uri_folder"}}}})
    assert statuses(finished) == {"a": "failed"}


EXIT_CODES = {1: 1, 3: 1, 64: 2, 65: 2, 66: 2, 78: 2, 69: 4, 75: 4, 77: 4}


@pytest.mark.parametrize(("exit_code", "ours"), EXIT_CODES.items())
def test_the_exit_code_of_a_step_is_read_as_its_component_says(run: Run, exit_code: int, ours: int) -> None:
    failing = step(f"exit {exit_code}")
    tagged = {**failing, "tags": {"azdistill.exit_codes": "sysexits"}}
    for component, expected in ((failing, 1), (tagged, ours)):
        finished = run({"a": component})
        assert isinstance(finished.error, RunFailed)
        assert finished.state.steps["a"].exit_code == exit_code
        assert finished.error.exit_code == expected


def test_a_signal_that_ends_a_step_is_reported_as_a_shell_would(run: Run) -> None:
    assert run({"a": step("kill -9 $$")}).state.steps["a"].exit_code == 137


def test_steps_after_a_failure_do_not_start(run: Run) -> None:
    jobs = {
        "bad": step("exit 1; echo > '${{outputs.x}}'", outputs=("x",)),
        "after": step("cat '${{inputs.x}}'", inputs={"x": "${{parent.jobs.bad.outputs.x}}"}),
    }
    assert statuses(run(jobs)) == {"bad": "failed", "after": "skipped"}


def test_independent_branches_go_on_where_the_settings_say_so(run: Run) -> None:
    jobs = {
        "bad": step("exit 1; echo > '${{outputs.x}}'", outputs=("x",)),
        "after": step("cat '${{inputs.x}}'", inputs={"x": "${{parent.jobs.bad.outputs.x}}"}),
        "other": step("sleep 0.2; echo > '${{outputs.x}}'", outputs=("x",)),
        "last": step("cat '${{inputs.x}}'", inputs={"x": "${{parent.jobs.other.outputs.x}}"}),
    }
    went_on = run(jobs, settings={"continue_on_step_failure": True})
    assert statuses(went_on) == {"bad": "failed", "after": "skipped", "other": "completed", "last": "completed"}
    assert went_on.error
    stopped = run(jobs, options=no_cache)
    assert statuses(stopped)["last"] == "skipped"


def test_independent_steps_run_side_by_side(run: Run) -> None:
    # Each waits for the other's file: they only end when both run at the same time.
    here = os.getcwd()
    meet = "touch '{0}/{1}'; for i in $(seq 100); do test -e '{0}/{2}' && exit 0; sleep 0.05; done; exit 1"
    jobs = {"a": step(meet.format(here, "a", "b")), "b": step(meet.format(here, "b", "a"))}
    assert statuses(run(jobs, options=Options(jobs=2))) == {"a": "completed", "b": "completed"}


def test_an_exclusive_step_runs_alone(run: Run, project: Path) -> None:
    mark = f"echo $1 in >> '{project}/order'; sleep 0.1; echo $1 out >> '{project}/order'"
    jobs = {name: step(mark.replace("$1", name)) for name in ("a", "b", "c")}
    jobs["b"]["tags"] = {"azdistill.exclusive": "true"}
    run(jobs, options=Options(jobs=3))
    order = (project / "order").read_text().split("\n")
    assert order[order.index("b in") + 1] == "b out"


def test_a_burst_of_lines_is_all_in_the_log(run: Run) -> None:
    finished = run({"a": step("for i in $(seq 200); do echo line $i; done; exit 3")})
    lines = [line for line in log_of(finished, "a").splitlines() if line.startswith("line")]
    assert lines == [f"line {number}" for number in range(1, 201)]


def test_lines_of_the_metrics_file_that_are_no_records_are_told(run: Run) -> None:
    said = ['{"kind": "metric", "name": "loss", "value": 0.5}', '{"loss": 0.5}', "loss 0.5", '{"kind": "metric"}']
    lines = "\n".join(said)
    finished = run({"a": step(f"""printf '%s\\n' '{lines}' >> "$AZDISTILL_METRICS_FILE" """)})
    assert statuses(finished) == {"a": "completed"}
    assert finished.state.steps["a"].metrics == {"loss": 0.5}
    told = '3 lines of the metrics file passed over, the first is line 2: {"loss": 0.5} '
    assert log_of(finished, "a").startswith(f"[azdistill] {told}")


def test_stdout_and_stderr_are_merged_in_order(run: Run) -> None:
    assert log_of(run({"a": step("echo 1; echo 2 >&2; echo 3")}), "a") == "1\n2\n3\n"


def test_a_timeout_ends_the_step_with_its_grandchildren(run: Run, project: Path) -> None:
    command = f"(sleep 60; touch '{project}/late') & setsid sleep 61 & sleep 62"
    started = time.monotonic()
    finished = run({"a": step(command, limits={"timeout": 1})})
    assert time.monotonic() - started < 30
    assert marked(f"AZUREML_ROOT_RUN_ID={finished.state.run_id}") == []
    assert statuses(finished) == {"a": "failed"}
    assert "limits.timeout of 1 s" in finished.state.steps["a"].error


def test_the_working_directory_is_the_snapshot_of_the_code(run: Run, project: Path) -> None:
    code = project / "code"
    (code / "inner").mkdir(parents=True)
    (code / "inner" / "file.txt").write_text("here\n")
    (code / "secret.txt").write_text("ignored")
    (code / ".amlignore").write_text("secret.txt\n")
    finished = run({"a": step("cat inner/file.txt; ls secret.txt; echo changed > inner/file.txt", code="./code")})
    assert log_of(finished, "a").startswith("here\n")
    assert "No such file" in log_of(finished, "a")
    assert (code / "inner" / "file.txt").read_text() == "here\n"


def test_a_step_sees_few_variables_of_the_caller(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hidden-value")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    log = log_of(run({"a": step("env; echo ${CUDA_VISIBLE_DEVICES-unset}")}), "a")
    assert "MY_TOKEN" not in log
    assert "AZUREML_RUN_ID=test_" in log
    assert log.splitlines()[-1] == ""


def test_variables_that_are_named_reach_the_step_and_stay_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hidden-value")
    log = log_of(run({"a": step("echo $MY_TOKEN; echo ${#MY_TOKEN}")}, options=Options(variables=("MY_TOKEN",))), "a")
    assert log == "***\n12\n"


def test_paths_of_inputs_and_outputs_are_in_the_environment(run: Run, project: Path) -> None:
    (project / "rows.jsonl").write_text("rows\n")
    command = """test '${{inputs.rows}}' -ef "$AZURE_ML_INPUT_rows" &&
      cat "$AZURE_ML_INPUT_rows" > "$AZURE_ML_OUTPUT_copy" &&
      test '${{outputs.copy}}' -ef "$AZURE_ML_OUTPUT_copy" """
    jobs = {"a": step(command, outputs=("copy",), inputs={"rows": "${{parent.inputs.rows}}"})}
    finished = run(jobs, inputs={"rows": {"type": "uri_file", "path": "./rows.jsonl"}})
    assert Path(finished.state.steps["a"].outputs["copy"]).read_text() == "rows\n"


def test_environment_variables_of_the_node_are_set_as_written(run: Run) -> None:
    assert log_of(run({"a": step('echo "$X"', environment_variables={"X": "a 'b' $HOME"})}), "a") == "a 'b' $HOME\n"


def test_python_is_the_interpreter_that_runs_azdistill(run: Run) -> None:
    import sys

    log = log_of(run({"a": step("python -c 'import sys; print(sys.prefix)'")}), "a")
    assert log.strip() == sys.prefix


def test_missing_data_is_said_for_all_inputs_before_anything_runs(run: Run, project: Path) -> None:
    inputs = {name: {"type": "uri_file", "path": f"./{name}.jsonl"} for name in ("one", "two")}
    jobs = {"a": step("cat '${{inputs.x}}'", inputs={"x": "${{parent.inputs.one}}"}), "b": step("true")}
    jobs["c"] = step("cat '${{inputs.x}}'", inputs={"x": "${{parent.inputs.two}}"})
    with pytest.raises((SpecError, AssertionError)) as raised:
        run(jobs, inputs=inputs)
    assert "one.jsonl" in str(raised.value)
    assert "two.jsonl" in str(raised.value)
    assert not (project / ".azdistill").exists()


@pytest.mark.parametrize("path", ["azureml:rows:1", "wasbs://a@b/c"])
def test_remote_data_is_refused_by_name(run: Run, path: str) -> None:
    jobs = {"a": step("cat '${{inputs.x}}'", inputs={"x": "${{parent.inputs.rows}}"})}
    with pytest.raises(SpecError, match="does not fetch"):
        run(jobs, inputs={"rows": {"type": "uri_file", "path": path}})


def test_a_store_is_kept_between_runs_and_what_reads_it_notices_that_it_has_grown(run: Run, project: Path) -> None:
    uri = "azureml://datastores/workspaceblobstore/paths/azdistill/answers"
    ask = step(
        "echo x >> '${{outputs.answers}}/journal'; echo > '${{outputs.x}}'", outputs=("x",), is_deterministic=False
    )
    answers = {"a": "${{parent.jobs.ask.outputs.answers}}"}
    jobs = {"ask": ask, "use": step("cat '${{inputs.a}}/journal' > '${{outputs.y}}'", outputs=("y",), inputs=answers)}
    jobs["ask"]["outputs"]["answers"] = {"type": "uri_folder", "path": uri, "mode": "rw_mount"}
    assert statuses(run(jobs)) == {"ask": "completed", "use": "completed"}
    assert statuses(run(jobs)) == {"ask": "completed", "use": "completed"}
    assert (project / ".azdistill" / "answers" / "journal").read_text() == "x\nx\n"


def test_the_runs_folder_tells_what_happened(run: Run) -> None:
    finished = run({"a": step("exit 1")})
    stored = load_run(finished.state.folder)
    assert (stored.status, stored.steps["a"].status, stored.steps["a"].attempts) == ("failed", "failed", 1)
    assert json.loads((finished.state.folder / "run.json").read_text())["status"] == "failed"


def test_a_state_folder_that_cannot_be_written_is_this_machines_fault(run: Run, project: Path) -> None:
    (project / ".azdistill").write_text("in the way")
    with pytest.raises((MachineError, FileExistsError, NotADirectoryError)):
        run({"a": step("true")})


def test_an_unset_secret_is_an_error_before_anything_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {
        "first": step("echo 1 > '${{outputs.x}}'", outputs=("x",)),
        "ask": step("test -n \"$SOME_KEY\" -a '${{inputs.key}}' = env:SOME_KEY && cat '${{inputs.x}}'"),
    }
    jobs["ask"]["inputs"] = {"key": "env:SOME_KEY", "x": "${{parent.jobs.first.outputs.x}}"}
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(UserError, match="SOME_KEY is not set"):
        run(jobs)
    assert list_runs(find_home()) == []
    monkeypatch.setenv("SOME_KEY", "a-secret-value")
    assert statuses(run(jobs)) == {"first": "completed", "ask": "completed"}
    # What is in the cache needs no key.
    monkeypatch.delenv("SOME_KEY")
    assert statuses(run(jobs)) == {"first": "cached", "ask": "cached"}


def test_outputs_that_cannot_be_delivered_fail_the_run(run: Run, project: Path) -> None:
    making = "echo 1 > '${{outputs.x}}'; " + f"mkdir -p '{project}/out/result'"
    made = {"x": {"type": "uri_file", "path": "${{parent.outputs.result}}"}}
    outputs = {"result": {"type": "uri_file"}}
    finished = run({"a": step(making) | {"outputs": made}}, outputs=outputs, options=Options(out=project / "out"))
    assert isinstance(finished.error, UserError)
    assert (finished.state.status, statuses(finished)) == ("failed", {"a": "completed"})
    assert load_run(finished.state.folder).status == "failed"


def test_a_canceled_run_says_so(run: Run) -> None:
    from azdistill.local.run.listener import Listener
    from azdistill.local.store.events import Event, RunState

    class Impatient(Listener):
        def hear(self, event: Event, _: RunState) -> None:
            if event.kind == "step_started":
                os.kill(os.getpid(), 2)

    finished = run({"a": step("sleep 30")}, listeners=[Impatient()])
    assert statuses(finished) == {"a": "canceled"}
    assert isinstance(finished.error, Interrupted)


def test_a_path_that_would_break_out_of_its_quotes_runs_nothing(run: Run, project: Path) -> None:
    data = project / "it's; touch ran;'.txt"
    data.write_text("x")
    job = step("cat '${{inputs.f}}' > '${{outputs.x}}'", outputs=("x",))
    finished = run({"a": job | {"inputs": {"f": {"type": "uri_file", "path": str(data)}}}})
    assert Path(finished.state.steps["a"].outputs["x"]).read_text() == "x"
    assert not list(project.rglob("ran"))


def test_a_command_that_quotes_no_path_runs_wherever_the_project_lies(run: Run, project: Path) -> None:
    (project / "my rows (1).txt").write_text("rows\n")
    first = step("cat ${{inputs.rows}} > ${{outputs.x}}; echo ${{inputs.rows}}", outputs=("x",))
    first["inputs"] = {"rows": {"type": "uri_file", "path": "my rows (1).txt"}}
    second = step("cat ${{inputs.x}} > ${{outputs.y}}/copy.txt; cat $AZURE_ML_INPUT_x")
    second["inputs"] = {"x": "${{parent.jobs.a.outputs.x}}"}
    second["outputs"] = {"y": "${{parent.outputs.y}}"}
    (project / "data").mkdir()
    (project / "data" / "one.txt").write_text("1")
    third = step("find ${{inputs.folder}} -type f") | {"inputs": {"folder": {"type": "uri_folder", "path": "data"}}}
    finished = run({"a": first, "b": second, "c": third}, outputs={"y": {"type": "uri_folder"}})
    assert statuses(finished) == dict.fromkeys("abc", "completed")
    assert Path(finished.state.outputs["y"], "copy.txt").read_text() == "rows\n"
    assert log_of(finished, "a").strip().endswith("rows_1_.txt")
    assert log_of(finished, "b") == "rows\n"
    assert log_of(finished, "c").endswith("/data/one.txt\n")
    assert sorted(path.name for path in project.parent.iterdir()) == [project.name]


def test_a_quoted_path_stays_as_it_is_unless_it_ends_the_quotes(run: Run, project: Path) -> None:
    for name in ("my rows", "o'brien"):
        (project / name).write_text(name)
    jobs = {
        key: step("echo '${{inputs.rows}}' && cat '${{inputs.rows}}'")
        | {"inputs": {"rows": {"type": "uri_file", "path": name}}}
        for key, name in {"a": "my rows", "b": "o'brien"}.items()
    }
    finished = run(jobs)
    assert log_of(finished, "a") == f"{project}/my rows\nmy rows"
    assert log_of(finished, "b").endswith("-o_brien\no'brien")


@pytest.mark.parametrize("kind", ["custom_model", "triton_model"])
def test_a_model_may_be_one_file(run: Run, project: Path, kind: str) -> None:
    (project / "model.pkl").write_text("weights")
    job = step("cat ${{inputs.model}}") | {"inputs": {"model": {"type": kind, "path": "model.pkl"}}}
    assert log_of(run({"a": job}), "a") == "weights"


@pytest.mark.parametrize("kind", ["uri_file", "uri_folder"])
def test_data_that_goes_while_the_run_goes_on_is_told_by_step_and_input(run: Run, project: Path, kind: str) -> None:
    (project / "rows").mkdir()
    (project / "rows" / "x").write_text("x")
    path = "rows/x" if kind == "uri_file" else "rows"
    given = {"rows": {"type": kind, "path": path}, "after": "${{parent.jobs.a.outputs.o}}"}
    jobs = {
        "a": step(f"rm -r '{project}/rows'; echo > ${{{{outputs.o}}}}", outputs=("o",)),
        "b": step("true ${{inputs.rows}} ${{inputs.after}}", inputs=given),
    }
    error = run(jobs).error
    assert error
    assert (error.code, error.message.partition(": /")[0]) == ("AZD345", "step 'b': input 'rows'")


def test_a_name_that_no_folder_can_have_is_refused_where_it_stands(run: Run) -> None:
    with pytest.raises(SpecError) as caught:
        run({"s" * 260: step("true")})
    problem = caught.value.problems[0]
    assert (problem.code, problem.line > 0) == ("AZD341", True)
    run({"s" * 240: step("true")})


def test_that_a_step_is_read_is_told_before_it_starts_or_is_found(run: Run) -> None:
    from azdistill.local.run.listener import Listener
    from azdistill.local.store.events import Event, RunState

    class Kinds(Listener):
        def __init__(self) -> None:
            self.kinds: list[str] = []

        def hear(self, event: Event, _: RunState) -> None:
            self.kinds += [event.kind] if event.step == "a" and event.kind != "line" else []

    first, again = Kinds(), Kinds()
    finished = run({"a": step("true")}, listeners=[first])
    run({"a": step("true")}, listeners=[again])
    assert first.kinds == ["step_reading", "step_started", "step_ended"]
    assert again.kinds == ["step_reading", "step_ended"]
    assert "step_reading" not in (finished.state.folder / "events.jsonl").read_text()
