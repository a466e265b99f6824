"""Conditions, loops and kinds that only Azure runs: prepared, planned and submitted as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Workspace
from loopback_pipelines import IMAGE, completed, write
from submit_helpers import connection_to

from azdistill.cloud.submit.command_steps import leaves
from azdistill.cloud.submit.plan import plan_submission
from azdistill.cloud.submit.prepare import Submission, prepare
from azdistill.cloud.submit.sdk_job import pipeline_job
from azdistill.cloud.submit.submit import submit
from azdistill.cloud.workspace.connect import Connection

CHECK = f"""
    name: check
    type: command
    inputs: {{word: {{type: string}}}}
    outputs: {{flag: {{type: boolean, is_control: true}}, said: {{type: uri_file}}}}
    {IMAGE}
    command: test ${{{{inputs.word}}}} = yes && echo True > ${{{{outputs.flag}}}} || echo False > ${{{{outputs.flag}}}};
      echo ${{{{inputs.word}}}} > ${{{{outputs.said}}}}
"""
BODY = f"""
    name: body
    type: command
    inputs: {{rows: {{type: uri_file, optional: true}}}}
    outputs: {{flag: {{type: boolean}}, said: {{type: uri_file}}}}
    {IMAGE}
    command: cat $[[${{{{inputs.rows}}}}]] > ${{{{outputs.said}}}}; echo False > ${{{{outputs.flag}}}}
"""
CHOICE = """
    type: pipeline
    experiment_name: choices
    inputs: {word: "no"}
    settings: {default_compute: azureml:cpu-cluster}
    jobs:
      check: {type: command, component: ./check.yml, inputs: {word: "${{parent.inputs.word}}"}}
      choose:
        type: if_else
        condition: ${{parent.jobs.check.outputs.flag}}
        true_block: ${{parent.jobs.big}}
        false_block: ["${{parent.jobs.small}}"]
      big: {type: command, component: ./check.yml, inputs: {word: big}}
      small: {type: command, component: ./check.yml, inputs: {word: small}}
"""
ELSEWHERE = """
    type: pipeline
    experiment_name: elsewhere
    inputs: {rows: {type: uri_file, path: ./rows.jsonl}}
    settings: {default_compute: azureml:cpu-cluster}
    jobs:
      count:
        type: spark
        code: ./src
        entry: {file: count.py}
        inputs: {rows: {type: uri_file, path: "${{parent.inputs.rows}}", mode: direct}}
        outputs: {counted: {type: uri_folder, mode: direct}}
        args: --rows ${{inputs.rows}} --counted ${{outputs.counted}}
        conf: {spark.driver.cores: 1, spark.driver.memory: 2g, spark.executor.cores: 2, spark.executor.memory: 2g,
          spark.executor.instances: 2}
        resources: {instance_type: standard_e4s_v3, runtime_version: "3.4"}
        identity: {type: managed}
      body: {type: command, component: ./body.yml, limits: {timeout: 3600}}
      again:
        type: do_while
        body: ${{parent.jobs.body}}
        condition: ${{parent.jobs.body.outputs.flag}}
        mapping: {said: [rows]}
        limits: {max_iteration_count: 5}
"""


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace")) as workspace, workspace.environ():
        yield workspace


@pytest.fixture(scope="module")
def connection(ws: Workspace) -> Connection:
    return connection_to(ws)


def prepared(folder: Path, text: str) -> Submission:
    write(folder, "check.yml", CHECK)
    write(folder, "body.yml", BODY)
    write(folder, "src/count.py", "print(1)")
    write(folder, "rows.jsonl", "{}")
    return prepare(write(folder, "pipeline.yml", text))


def test_what_decides_is_no_step_of_its_own(tmp_path: Path) -> None:
    assert [leaf.name for leaf in leaves(prepared(tmp_path, CHOICE).pipeline)] == ["check", "big", "small"]


def test_a_loop_takes_as_long_as_all_its_rounds(tmp_path: Path) -> None:
    found = {leaf.name: leaf.timeout for leaf in leaves(prepared(tmp_path, ELSEWHERE).pipeline)}
    assert found == {"count": None, "body": 5 * 3600}


def test_a_local_run_that_would_refuse_is_no_warning_of_a_submission(tmp_path: Path) -> None:
    assert prepared(tmp_path, ELSEWHERE).warnings == []


def test_the_fingerprint_knows_what_is_not_looked_into(tmp_path: Path) -> None:
    before = prepared(tmp_path, ELSEWHERE).fingerprint
    assert prepared(tmp_path, ELSEWHERE).fingerprint == before
    write(tmp_path, "src/count.py", "print(2)")
    code = prepare(tmp_path / "pipeline.yml").fingerprint
    changed = prepared(tmp_path, ELSEWHERE.replace("max_iteration_count: 5", "max_iteration_count: 6")).fingerprint
    assert len({before, code, changed}) == 3


def test_the_fingerprint_reads_the_component_of_a_step_that_is_not_looked_into(tmp_path: Path) -> None:
    text = "type: pipeline\njobs: {a: {type: spark, component: ./spark.yml}}\n"
    component = "type: spark\nname: s\ncode: ./src\nentry: {file: count.py}\n"
    write(tmp_path, "spark.yml", component)
    before = prepared(tmp_path, text).fingerprint
    write(tmp_path, "src/count.py", "print(2)")
    code = prepare(tmp_path / "pipeline.yml").fingerprint
    write(tmp_path, "spark.yml", component + "args: --x\n")
    assert len({before, code, prepare(tmp_path / "pipeline.yml").fingerprint}) == 3


def test_the_plan_names_what_travels_and_knows_no_hours_of_it(connection: Connection, tmp_path: Path) -> None:
    plan = plan_submission(connection, prepared(tmp_path, ELSEWHERE))
    assert [step.name for step in plan.steps] == ["count", "body"]
    assert [step.hours for step in plan.steps] == [None, 5.0]
    assert [upload.what for upload in plan.uploads] == ["code of count", "data rows"]
    assert plan.problems == []


@pytest.mark.parametrize(("word", "left_out"), [("yes", "small"), ("no", "big")])
def test_a_submitted_condition_decides_what_runs(
    ws: Workspace, connection: Connection, tmp_path: Path, word: str, left_out: str
) -> None:
    done = submit(connection, prepared(tmp_path, CHOICE.replace('"no"', f'"{word}"')))
    completed(ws, done.name)
    assert _ran(ws, done.name) == {"check", "big", "small"} - {left_out}


def _ran(ws: Workspace, name: str) -> set[str]:
    client: Any = ws.client()
    return {child.display_name for child in client.jobs.list(parent_job_name=name) if child.status == "Completed"}


def test_loops_and_spark_reach_the_workspace_as_they_are(ws: Workspace, connection: Connection, tmp_path: Path) -> None:
    done = submit(connection, prepared(tmp_path, ELSEWHERE))
    nodes = ws.store["jobs"][done.name]["properties"]["jobs"]
    assert {name: node["type"] for name, node in nodes.items()} == {
        "count": "spark",
        "body": "command",
        "again": "do_while",
    }
    assert nodes["again"]["body"] == "${{parent.jobs.body}}"
    assert nodes["again"]["limits"] == {"max_iteration_count": 5}


def test_the_switch_of_the_sdk_is_as_it_was(connection: Connection, tmp_path: Path) -> None:
    before = dict(os.environ)
    pipeline_job(prepared(tmp_path, CHOICE), connection.cloud)
    assert dict(os.environ) == before
