"""What is submitted to the loopback workspace really runs, and an unmodified MLClient sees it as on Azure."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Workspace
from loopback_pipelines import IMAGE, completed, one_step, ready, submit, two_steps, write


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace")) as workspace:
        yield workspace
        assert workspace.errors == []


@pytest.fixture(scope="module")
def client(ws: Workspace) -> Any:
    return ready(ws)


@pytest.fixture(scope="module")
def pair(ws: Workspace, client: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The two-step pipeline, submitted once and run to its end."""
    folder = tmp_path_factory.mktemp("pair")
    job = submit(client, folder, two_steps(folder))
    completed(ws, job.name)
    return job


def children(client: Any, name: str) -> dict[str, Any]:
    return {child.display_name: child for child in client.jobs.list(parent_job_name=name)}


def until(condition: Any, seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
    return found


def fetch(ws: Workspace, url: str) -> str:
    import ssl

    with urllib.request.urlopen(url, context=ssl.create_default_context(cafile=ws.ca)) as answer:
        return str(answer.read().decode())


def test_a_pipeline_runs_and_its_steps_are_its_children(client: Any, pair: Any) -> None:
    assert client.jobs.get(pair.name).status == "Completed"
    steps = children(client, pair.name)
    assert {name: step.status for name, step in steps.items()} == {"say": "Completed", "join": "Completed"}
    assert client.jobs.get(steps["say"].name).properties["azureml.pipelinerunid"] == pair.name
    assert pair.name in [job.name for job in client.jobs.list()]
    assert steps["say"].name not in [job.name for job in client.jobs.list()]


def test_outputs_are_downloaded_as_they_were_written(client: Any, pair: Any, tmp_path: Path) -> None:
    client.jobs.download(pair.name, download_path=tmp_path, output_name="result")
    downloaded = tmp_path / "named-outputs" / "result" / "all.txt"
    assert downloaded.read_text() == "hello 1\nhello 2\nhello 3\ndata\n"


def test_all_of_a_job_is_downloaded_with_its_logs(client: Any, pair: Any, tmp_path: Path) -> None:
    client.jobs.download(pair.name, download_path=tmp_path, all=True)
    assert (tmp_path / "named-outputs" / "result" / "all.txt").is_file()
    log = (tmp_path / "artifacts" / "logs" / "azureml" / "executionlogs.txt").read_text()
    assert "nothing to schedule" in log


def test_a_step_keeps_its_log_and_what_it_left_in_outputs_and_logs(client: Any, pair: Any, tmp_path: Path) -> None:
    client.jobs.download(children(client, pair.name)["say"].name, download_path=tmp_path, all=True)
    artifacts = tmp_path / "artifacts"
    assert "saying hello" in (artifacts / "user_logs" / "std_log.txt").read_text()
    assert (artifacts / "outputs" / "kept.txt").read_text() == "kept\n"
    assert (artifacts / "logs" / "noted.txt").read_text() == "noted\n"
    assert (tmp_path / "named-outputs" / "said" / "said").read_text().startswith("hello 1\n")


def test_a_job_is_streamed_to_its_end(ws: Workspace, client: Any, tmp_path: Path, capsys: Any) -> None:
    job = submit(client, tmp_path, one_step("sleep 3 && echo x > ${{outputs.out}}"))
    client.jobs.stream(job.name)
    printed = capsys.readouterr().out
    assert "Streaming logs/azureml/executionlogs.txt" in printed
    assert "Execution Summary" in printed
    assert client.jobs.get(job.name).status == "Completed"


def test_a_log_grows_while_its_step_runs(ws: Workspace, client: Any, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    wait = f"echo first && until [ -e {go_on} ]; do sleep 0.1; done && echo second"
    job = submit(client, tmp_path, one_step(wait, output=False))
    step = until(lambda: children(client, job.name).get("step"))
    run_history = client.jobs._runs_operations

    def log() -> str:
        url = run_history.get_run_details(step.name).log_files.get("user_logs/std_log.txt")
        return fetch(ws, url) if url else ""

    assert until(log) == "first\n"
    assert run_history.get_run_details(step.name).status == "Running"
    go_on.touch()
    ws.jobs.wait(job.name)
    assert log() == "first\nsecond\n"


def test_a_canceled_job_ends_at_once_with_its_step(ws: Workspace, client: Any, tmp_path: Path) -> None:
    job = submit(client, tmp_path, one_step("sleep 120", output=False))
    until(lambda: children(client, job.name))
    client.jobs.begin_cancel(job.name).result()
    ws.jobs.wait(job.name, timeout=60)
    assert client.jobs.get(job.name).status == "Canceled"
    assert children(client, job.name)["step"].status == "Canceled"


def test_a_job_is_canceled_before_it_has_begun(ws: Workspace, client: Any, tmp_path: Path) -> None:
    job = submit(client, tmp_path, one_step("sleep 120", output=False))
    client.jobs.begin_cancel(job.name).result()
    ws.jobs.wait(job.name, timeout=60)
    assert client.jobs.get(job.name).status == "Canceled"


def test_a_failing_step_fails_the_job_and_what_needs_it_never_runs(ws: Workspace, client: Any, tmp_path: Path) -> None:
    from azure.ai.ml.exceptions import JobException

    after = f"""
      after:
        type: command
        command: cat ${{{{inputs.x}}}}
        {IMAGE}
        inputs: {{x: "${{{{parent.jobs.step.outputs.out}}}}"}}
    """
    job = submit(client, tmp_path, one_step("echo broken >&2 && exit 7").rstrip() + "\n" + _indented(after))
    ws.jobs.wait(job.name)
    with pytest.raises(JobException, match="Failed nodes: /step"):
        client.jobs.stream(job.name)
    steps = children(client, job.name)
    assert list(steps) == ["step"]
    details = client.jobs._runs_operations.get_run_details(steps["step"].name)
    assert "exited with status code 7" in details.error.error.message
    assert fetch(ws, details.log_files["user_logs/std_log.txt"]).startswith("broken\n")


def _indented(text: str) -> str:
    import textwrap

    return textwrap.indent(textwrap.dedent(text).strip("\n"), "  ")


def test_a_step_that_runs_over_its_time_fails(ws: Workspace, client: Any, tmp_path: Path) -> None:
    job = submit(client, tmp_path, one_step("sleep 60", output=False, more="limits: {timeout: 1}"))
    run = ws.jobs.wait(job.name, timeout=30)
    assert run.status == "Failed"
    step = children(client, job.name)["step"]
    error = client.jobs._runs_operations.get_run_details(step.name).error.error
    assert "limits.timeout of 1 s" in error.message


def test_what_did_not_change_is_reused_and_says_so(ws: Workspace, client: Any, pair: Any, tmp_path: Path) -> None:
    job = submit(client, tmp_path, two_steps(tmp_path))
    completed(ws, job.name)
    before, now = children(client, pair.name), children(client, job.name)
    for name, step in now.items():
        assert step.status == "Completed"
        assert step.properties["azureml.isreused"] == "true"
        assert step.properties["azureml.reusedrunid"] == before[name].name
    client.jobs.download(now["join"].name, download_path=tmp_path / "reused", output_name="joined")
    client.jobs.download(job.name, download_path=tmp_path / "whole", output_name="result")
    for path in ("reused/named-outputs/joined/all.txt", "whole/named-outputs/result/all.txt"):
        assert (tmp_path / path).read_text().endswith("data\n")


def test_force_rerun_reuses_nothing(ws: Workspace, client: Any, pair: Any, tmp_path: Path) -> None:
    text = two_steps(tmp_path).replace("settings: {", "settings: {force_rerun: true, ")
    job = submit(client, tmp_path, text)
    ws.jobs.wait(job.name)
    assert [step.properties["azureml.isreused"] for step in children(client, job.name).values()] == ["false", "false"]


def test_data_at_the_same_path_counts_as_the_same_whatever_it_holds(ws: Workspace, client: Any, tmp_path: Path) -> None:
    data = ws.blobs.path("azureml-blobstore", "inbox/today.txt")
    more = "inputs: {x: {type: uri_file, path: azureml://datastores/workspaceblobstore/paths/inbox/today.txt}}"
    text = one_step("cat ${{inputs.x}} > ${{outputs.out}}", more=more)
    data.parent.mkdir(parents=True)
    reused = []
    for content, path in (("one", "today.txt"), ("two", "today.txt"), ("two", "later.txt")):
        data.with_name(path).write_text(content)
        job = submit(client, tmp_path, text.replace("today.txt", path))
        completed(ws, job.name)
        reused.append(children(client, job.name)["step"].properties["azureml.isreused"])
    assert reused == ["false", "true", "false"]


def test_a_nested_pipeline_is_a_job_with_jobs_of_its_own(ws: Workspace, client: Any, tmp_path: Path) -> None:
    two_steps(tmp_path)
    write(
        tmp_path,
        "inner.yml",
        """
        type: pipeline
        name: inner
        version: 1
        inputs: {word: {type: string}}
        outputs: {said: {type: uri_file}}
        jobs:
          deep:
            type: command
            component: ./say.yml
            inputs: {word: "${{parent.inputs.word}}"}
            outputs: {said: "${{parent.outputs.said}}"}
        """,
    )
    text = """
        type: pipeline
        settings: {default_compute: azureml:cpu}
        outputs: {heard: {type: uri_file}}
        jobs:
          nested:
            type: pipeline
            component: ./inner.yml
            inputs: {word: nested}
            outputs: {said: "${{parent.outputs.heard}}"}
    """
    job = submit(client, tmp_path, text)
    completed(ws, job.name)
    nested = children(client, job.name)
    assert {name: child.status for name, child in nested.items()} == {"nested": "Completed"}
    assert list(children(client, nested["nested"].name)) == ["deep"]
    client.jobs.download(job.name, download_path=tmp_path / "down", output_name="heard")
    assert next((tmp_path / "down").rglob("said")).read_text() == "nested 1\n"


def test_a_parallel_step_runs_over_its_mini_batches(ws: Workspace, client: Any, tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path, f"data/{name}.txt", name)
    write(tmp_path, "code/entry.py", "def init(): pass\ndef run(batch): return [open(p).read().upper() for p in batch]")
    write(
        tmp_path,
        "shout.yml",
        """
        $schema: https://azuremlschemas.azureedge.net/latest/parallelComponent.schema.json
        type: parallel
        name: shout
        version: 1
        inputs: {files: {type: uri_folder}}
        outputs: {said: {type: uri_file}}
        input_data: ${{inputs.files}}
        mini_batch_size: "1"
        resources: {instance_count: 1}
        task:
          type: run_function
          code: ./code
          entry_script: entry.py
          environment: {image: 'ubuntu:24.04'}
          append_row_to: ${{outputs.said}}
        """,
    )
    text = """
        type: pipeline
        settings: {default_compute: azureml:cpu}
        outputs: {said: {type: uri_file}}
        jobs:
          shout:
            type: parallel
            component: ./shout.yml
            inputs: {files: {type: uri_folder, path: ./data}}
            outputs: {said: "${{parent.outputs.said}}"}
            mini_batch_error_threshold: 0
    """
    job = submit(client, tmp_path, text)
    run = completed(ws, job.name)
    assert sorted(ws.jobs.places.path(run.outputs["said"].uri).read_text().split()) == ["A", "B", "C"]


def test_a_job_of_one_command_is_its_own_step(ws: Workspace, client: Any, tmp_path: Path) -> None:
    from azure.ai.ml import Input, Output, command
    from azure.ai.ml.entities import Environment

    write(tmp_path, "code/go.sh", "echo $AZUREML_RUN_ID $COLOUR && cat $1 > $2/copy")
    job = command(
        command="bash go.sh ${{inputs.text}} ${{outputs.out}}",
        code=str(tmp_path / "code"),
        environment=Environment(image="ubuntu:24.04"),
        inputs={"text": Input(type="uri_file", path=str(write(tmp_path, "text.txt", "words")))},
        outputs={"out": Output(type="uri_folder")},
        environment_variables={"COLOUR": "blue"},
        compute="cpu",
    )
    sent = client.jobs.create_or_update(job)
    completed(ws, sent.name)
    client.jobs.download(sent.name, download_path=tmp_path / "down", all=True)
    assert (tmp_path / "down/named-outputs/out/copy").read_text() == "words\n"
    assert (tmp_path / "down/artifacts/user_logs/std_log.txt").read_text() == f"{sent.name} blue\n"
    assert children(client, sent.name) == {}


def test_a_step_is_told_what_azure_tells_it(ws: Workspace, client: Any, tmp_path: Path) -> None:
    job = submit(client, tmp_path, one_step("env > ${{outputs.out}}"))
    ws.jobs.wait(job.name)
    step = children(client, job.name)["step"]
    client.jobs.download(step.name, download_path=tmp_path / "down", output_name="out")
    lines = next((tmp_path / "down").rglob("out/out")).read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    assert told["AZUREML_RUN_ID"] == told["MLFLOW_RUN_ID"] == step.name
    assert told["AZUREML_ROOT_RUN_ID"] == job.name
    assert told["AZUREML_ARM_WORKSPACE_NAME"] == ws.name
    assert told["MLFLOW_EXPERIMENT_NAME"] == "small"
    assert told["MLFLOW_TRACKING_URI"] == client.workspaces.get(ws.name)._mlflow_tracking_uri.replace("v2.0", "v1.0")
    assert not told.get("AZDISTILL_METRICS_FILE")


def test_a_standing_output_is_the_containers_own_folder(ws: Workspace, client: Any, tmp_path: Path) -> None:
    where = "azureml://datastores/workspaceblobstore/paths/azdistill/answers"
    more = f"outputs: {{kept: {{type: uri_folder, path: '{where}'}}}}"
    text = one_step("ls ${{outputs.kept}} && date > ${{outputs.kept}}/$AZUREML_RUN_ID", output=False, more=more)
    text = text.replace("settings: {", "settings: {force_rerun: true, ")
    for _ in range(2):
        completed(ws, submit(client, tmp_path, text).name)
    assert len(list(ws.blobs.path("azureml-blobstore", "azdistill/answers").iterdir())) == 2


def test_outputs_become_data_assets_under_the_names_they_ask_for(ws: Workspace, client: Any, tmp_path: Path) -> None:
    named = "outputs: {rows: {type: uri_file, name: rows, version: '7'}}"
    job = submit(client, tmp_path, one_step("echo 1 > ${{outputs.rows}}", output=False, more=named))
    completed(ws, job.name)
    step = children(client, job.name)["step"]
    asset = client.data.get("rows", "7")
    assert asset.path.endswith(f"azureml/{step.name}/rows")
    assert client.data.get(f"azureml_{step.name}_output_data_rows", "1").path == asset.path

    read = "inputs: {a: {type: uri_file, path: 'azureml:rows:7'}, b: {type: uri_file, path: 'azureml:rows@latest'}}"
    after = submit(client, tmp_path, one_step("cat ${{inputs.a}} ${{inputs.b}} > ${{outputs.out}}", more=read))
    completed(ws, after.name)
    reader = children(client, after.name)["step"]
    assert ws.jobs.places.path(f"azureml://jobs/{reader.name}/outputs/out").read_text() == "1\n1\n"


def test_missing_data_fails_the_job_and_says_which(ws: Workspace, client: Any, tmp_path: Path) -> None:
    path = "azureml://datastores/workspaceblobstore/paths/no/such.jsonl"
    more = f"inputs: {{x: {{type: uri_file, path: '{path}'}}}}"
    job = submit(client, tmp_path, one_step("cat ${{inputs.x}}", output=False, more=more))
    run = ws.jobs.wait(job.name)
    assert run.status == "Failed"
    assert path in run.error["error"]["message"]


def test_tags_and_names_change_in_arm_and_in_run_history(ws: Workspace, client: Any, pair: Any) -> None:
    changed = client.jobs.update(pair.name, tags={"colour": "blue"}, display_name="Blue")
    assert (changed.display_name, changed.tags["colour"]) == ("Blue", "blue")
    assert ws.jobs.runs.get(pair.name).display_name == "Blue"
    client.jobs.archive(pair.name)
    assert pair.name not in [job.name for job in client.jobs.list()]
    client.jobs.restore(pair.name)
    assert pair.name in [job.name for job in client.jobs.list()]


def test_it_runs_on_storage_that_is_opened_by_identity(tmp_path: Path) -> None:
    with Workspace(tmp_path / "workspace", identity_storage=True) as ws:
        client = ready(ws)
        job = submit(client, tmp_path, two_steps(tmp_path))
        completed(ws, job.name)
        client.jobs.download(job.name, download_path=tmp_path / "down", output_name="result")
        assert (tmp_path / "down/named-outputs/result/all.txt").read_text().endswith("data\n")
        assert ws.errors == []


def test_closing_the_workspace_ends_what_still_runs(tmp_path: Path) -> None:
    with Workspace(tmp_path / "workspace") as ws:
        client = ready(ws)
        mark = tmp_path / "ended"
        command = f"trap 'touch {mark}' TERM; touch {tmp_path}/began; sleep 60 & wait"
        submit(client, tmp_path, one_step(f'"{command}"', output=False))
        until((tmp_path / "began").exists)
    assert mark.exists()


def test_a_sweep_gives_its_best_trials_output(ws: Workspace, client: Any, tmp_path: Path) -> None:
    said = """printf '{"kind": "metric", "name": "loss", "value": %s}\\n' ${{inputs.x}} >> "$AZDISTILL_METRICS_FILE";"""
    write(
        tmp_path,
        "trial.yml",
        f"""
        type: command
        name: trial
        {IMAGE}
        inputs: {{x: {{type: number}}}}
        outputs: {{out: {{type: uri_folder}}}}
        command: >-
          {said}
          echo ${{{{inputs.x}}}} > ${{{{outputs.out}}}}/x
        """,
    )
    job = submit(
        client,
        tmp_path,
        """
        type: pipeline
        experiment_name: sweeps
        settings: {default_compute: azureml:cpu}
        outputs: {best: {type: uri_folder}}
        jobs:
          tune:
            type: sweep
            trial: ./trial.yml
            search_space: {x: {type: choice, values: [3, 1, 2]}}
            sampling_algorithm: grid
            objective: {goal: minimize, primary_metric: loss}
            early_termination: {type: median_stopping, evaluation_interval: 2, delay_evaluation: 5}
            limits: {max_total_trials: 3, max_concurrent_trials: 1}
            outputs: {out: "${{parent.outputs.best}}"}
        """,
    )
    completed(ws, job.name)
    client.jobs.download(job.name, download_path=tmp_path / "got", output_name="best")
    assert [path.read_text() for path in (tmp_path / "got").rglob("x")] == ["1\n"]
