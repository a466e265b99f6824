"""The same pipeline of trivial steps for each runner: a chain, or a fan, of steps that copy six bytes."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path


def sources(shape: str, count: int) -> list[int | None]:
    """For each step the number of the step it reads from; None: the file that the pipeline is given."""
    return [number - 1 if shape == "chain" and number else None for number in range(count)]


def write_azdistill(folder: Path, shape: str, count: int) -> None:
    """An Azure ML pipeline. The comment keeps the steps apart: equal ones would be answered from the cache."""
    jobs = {}
    for number, source in enumerate(sources(shape, count)):
        given = "${{parent.inputs.start}}" if source is None else f"${{{{parent.jobs.s{source}.outputs.made}}}}"
        jobs[f"s{number}"] = {
            "type": "command",
            "command": f"# {number}\ncat ${{{{inputs.given}}}} > ${{{{outputs.made}}}}",
            "environment": "azureml:any@latest",
            "inputs": {"given": given},
            "outputs": {"made": {"type": "uri_file"}},
        }
    pipeline = {
        "type": "pipeline",
        "display_name": "bench",
        "settings": {"default_compute": "azureml:cpu"},
        "inputs": {"start": {"type": "uri_file", "path": "./start.txt"}},
        "jobs": jobs,
    }
    (folder / "start.txt").write_text("hello\n")
    # JSON is YAML, and faster to write.
    (folder / "pipeline.yml").write_text(json.dumps(pipeline))


def write_snakemake(folder: Path, shape: str, count: int) -> None:
    """One rule for each step, and one that asks for all of them."""
    (folder / "start.txt").write_text("hello\n")
    rules = [f"rule all:\n    input: {', '.join(repr(f's{n}.txt') for n in range(count))}\n"]
    for number, source in enumerate(sources(shape, count)):
        given = "start.txt" if source is None else f"s{source}.txt"
        files = f"    input: '{given}'\n    output: 's{number}.txt'\n"
        rules.append(f"rule s{number}:\n{files}    shell: 'cat {{input}} > {{output}}'\n")
    (folder / "Snakefile").write_text("\n".join(rules))


def write_dvc(folder: Path, shape: str, count: int) -> None:
    """One stage for each step."""
    (folder / "start.txt").write_text("hello\n")
    stages = {}
    for number, source in enumerate(sources(shape, count)):
        given = "start.txt" if source is None else f"s{source}.txt"
        stages[f"s{number}"] = {"cmd": f"cat {given} > s{number}.txt", "deps": [given], "outs": [f"s{number}.txt"]}
    (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))


def write_kfp(folder: Path, shape: str, count: int) -> None:
    """One component, once for each step; kfp's own runner of processes and its cache; kfp is not installed in each."""
    lines = []
    for number, source in enumerate(sources(shape, count)):
        given = "start" if source is None else f"t{source}.output"
        lines.append(f"    t{number} = copy(text={given}, number={number})")
    (folder / "flow.py").write_text(
        textwrap.dedent("""\
        from kfp import dsl, local

        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root="./out", enable_caching=True)

        @dsl.component(install_kfp_package=False)
        def copy(text: str, number: int) -> str:
            return text

        @dsl.pipeline
        def bench(start: str = "hello"):
        """)
        + "\n".join(lines)
        + "\n\nbench()\n"
    )


def write_metaflow(folder: Path, shape: str, count: int) -> None:
    """A linear flow, or a foreach with a join."""
    if shape == "chain":
        steps = []
        for number in range(max(count, 2)):
            last = number == max(count, 2) - 1
            name = "start" if number == 0 else "end" if last else f"s{number}"
            after = (
                ""
                if last
                else f"\n        self.next(self.{'end' if number == max(count, 2) - 2 else f's{number + 1}'})"
            )
            steps.append(f"    @step\n    def {name}(self):\n        self.text = 'hello'{after}\n")
        body = "\n".join(steps)
    else:
        body = textwrap.indent(
            textwrap.dedent(f"""\
            @step
            def start(self):
                self.items = list(range({count}))
                self.next(self.copy, foreach="items")

            @step
            def copy(self):
                self.text = "hello"
                self.next(self.join)

            @step
            def join(self, inputs):
                self.next(self.end)

            @step
            def end(self):
                pass
            """),
            "    ",
        )
    head = "from metaflow import FlowSpec, step\n\n\nclass Bench(FlowSpec):\n"
    (folder / "flow.py").write_text(f'{head}{body}\n\nif __name__ == "__main__":\n    Bench()\n')


WRITERS = {
    "azdistill": write_azdistill,
    "snakemake": write_snakemake,
    "dvc": write_dvc,
    "kfp": write_kfp,
    "metaflow": write_metaflow,
}
