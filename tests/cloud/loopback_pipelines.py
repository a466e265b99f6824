"""Small pipelines for tests of the loopback workspace: quick commands of bash, submitted by the real SDK."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

IMAGE = "environment: {image: 'ubuntu:24.04'}"


def write(folder: Path, name: str, text: str) -> Path:
    """Write a file, whose text may be indented."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).strip() + "\n", encoding="utf-8")
    return path


def submit(client: Any, folder: Path, text: str, **changes: Any) -> Any:
    """Submit the pipeline that ``text`` is; ``changes`` are attributes to set on it first."""
    from azure.ai.ml import load_job

    job = load_job(write(folder, "pipeline.yml", text))
    for name, value in changes.items():
        setattr(job, name, value)
    return client.jobs.create_or_update(job)


def one_step(command: str, *, more: str = "", output: bool = True) -> str:
    """A pipeline of one step, ``step``, with an output ``out`` (a file)."""
    outputs = "outputs: {out: {type: uri_file}}" if output else ""
    return textwrap.dedent(
        f"""
        type: pipeline
        experiment_name: small
        settings: {{default_compute: azureml:cpu}}
        jobs:
          step:
            type: command
            command: {command}
            {IMAGE}
            {outputs}
            {more}
        """
    )


TWO_STEPS = f"""
    type: pipeline
    experiment_name: pair
    inputs:
      word: hello
      times: 3
      text: {{type: uri_file, path: ./text.txt}}
    outputs:
      result: {{type: uri_folder}}
    settings: {{default_compute: azureml:cpu}}
    jobs:
      say:
        type: command
        component: ./say.yml
        inputs: {{word: "${{{{parent.inputs.word}}}}", times: "${{{{parent.inputs.times}}}}"}}
      join:
        type: command
        command: cat ${{{{inputs.said}}}} ${{{{inputs.text}}}} > ${{{{outputs.joined}}}}/all.txt
        {IMAGE}
        inputs: {{said: "${{{{parent.jobs.say.outputs.said}}}}", text: "${{{{parent.inputs.text}}}}"}}
        outputs: {{joined: "${{{{parent.outputs.result}}}}"}}
"""


def two_steps(folder: Path) -> str:
    """The files of ``TWO_STEPS``: a component with code of its own, and data."""
    write(folder, "text.txt", "data")
    write(
        folder,
        "code/say.sh",
        """
        for n in $(seq $2); do echo "$1 $n"; done > "$3"
        echo "saying $1"
        mkdir -p outputs logs && echo kept > outputs/kept.txt && echo noted > logs/noted.txt
        """,
    )
    write(
        folder,
        "say.yml",
        """
        type: command
        name: say
        version: 1
        inputs:
          word: {type: string}
          times: {type: integer, default: 1}
        outputs:
          said: {type: uri_file}
        code: ./code
        environment: {image: 'ubuntu:24.04'}
        command: bash say.sh ${{inputs.word}} ${{inputs.times}} ${{outputs.said}}
        """,
    )
    return TWO_STEPS


def ready(workspace: Any) -> Any:
    """A client of a workspace, which has the compute that these pipelines name."""
    workspace.add_compute("cpu")
    return workspace.client()


def completed(workspace: Any, name: str) -> Any:
    """The run of a job, which has to complete."""
    run = workspace.jobs.wait(name)
    assert run.status == "Completed", workspace.jobs.told(name)
    return run
