"""Specs by example, as in ``spec_cases``: conditions, value outputs, and kinds of steps that only Azure runs."""

from __future__ import annotations

CHECK = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
name: check
type: command
inputs: {rows: {type: uri_file, optional: true}}
outputs:
  good: {type: boolean, is_control: true}
  count: {type: integer}
  word: {type: string}
  report: {type: uri_file}
environment: azureml:env@latest
command: >-
  python check.py $[[--rows ${{inputs.rows}}]] --good ${{outputs.good}} --count ${{outputs.count}}
  --word ${{outputs.word}} --report ${{outputs.report}}
"""
BIG = "  big: {type: command, component: ./check.yml}\n"
GOOD = "${{parent.jobs.first.outputs.good}}"


def gated(gate: str, more: str = BIG, inputs: str = "{}") -> dict[str, str]:
    """A pipeline of the step ``first``, the ``if_else`` step ``gate`` with these keys, and ``more``."""
    text = f"type: pipeline\ninputs: {inputs}\njobs:\n  first: {{type: command, component: ./check.yml}}\n"
    return {"pipeline.yml": f"{text}  gate: {gate}\n{more}", "check.yml": CHECK}


def _gate(condition: str = f'"{GOOD}"', true_block: str = "${{parent.jobs.big}}") -> str:
    return f'{{type: if_else, condition: {condition}, true_block: "{true_block}"}}'


SMALL = BIG.replace("big", "small")
NESTED_GATE = """\
type: pipeline
inputs: {flag: {type: boolean}}
jobs:
  a: {type: command, component: ./check.yml}
  choose: {type: if_else, condition: "${{parent.inputs.flag}}", true_block: "${{parent.jobs.a}}"}
"""
SPARK = """\
$schema: https://azuremlschemas.azureedge.net/latest/sparkJob.schema.json
type: «AZD194 warning»spark
code: ./src
entry: {file: count.py}
inputs: {rows: {type: uri_file, path: ./rows.jsonl, mode: direct}}
outputs: {counted: {type: uri_folder, mode: direct}}
args: --rows ${{inputs.rows}} --counted ${{outputs.counted}}
resources: {instance_type: standard_e4s_v3, runtime_version: "3.4"}
"""
ELSEWHERE = """\
type: pipeline
inputs: {rows: {type: uri_file, path: rows.jsonl}, cores: 1}
outputs: {counted: {type: uri_folder}}
jobs:
  count:
    type: «AZD194 warning»spark
    code: .
    entry: {file: count.py}
    inputs: {rows: {type: uri_file, path: "${{parent.inputs.rows}}", mode: direct}}
    outputs: {counted: {type: uri_folder, path: "${{parent.outputs.counted}}", mode: direct}}
    args: --rows ${{inputs.rows}} --counted ${{outputs.counted}}
    conf: {spark.driver.cores: 1, spark.driver.memory: 2g, spark.executor.cores: 2, spark.executor.memory: 2g,
      spark.executor.instances: 2}
    resources: {instance_type: standard_e4s_v3, runtime_version: "3.4"}
    identity: {type: managed}
  learn:
    type: «AZD194 warning»automl
    task: classification
    primary_metric: accuracy
    target_column_name: label
    training_data: {type: mltable, path: "${{parent.jobs.count.outputs.counted}}"}
    outputs: {best_model: {type: mlflow_model}}
  after:
    type: command
    command: ls ${{inputs.model}}
    environment: azureml:env@latest
    inputs: {model: {type: mlflow_model, path: "${{parent.jobs.learn.outputs.best_model}}"}}
"""
LOOPS = """\
type: pipeline
jobs:
  body:
    type: command
    component: ./check.yml
    inputs: {rows: "${{parent.jobs.body.outputs.report}}"}
  again:
    type: «AZD194 warning»do_while
    body: ${{parent.jobs.body}}
    condition: ${{parent.jobs.body.outputs.good}}
    mapping: {"${{parent.jobs.body.outputs.report}}": "${{parent.jobs.body.inputs.rows}}"}
    limits: {max_iteration_count: 5}
  each_body: {type: command, component: ./train.yml}
  each:
    type: «AZD194 warning»parallel_for
    body: ${{parent.jobs.each_body}}
    items: '[{"n": 1}, {"n": 2}]'
  gather:
    type: command
    component: ./check.yml
    inputs: {rows: "${{parent.jobs.each.outputs.models}}"}
"""
TRAIN = (
    CHECK.replace("name: check", "name: train")
    .replace("inputs: {rows", "inputs: {n: {type: integer}, rows")
    .replace("python check.py", "python train.py --n ${{inputs.n}}")
)
ROWS = {"rows.jsonl": "{}\n", "count.py": "", "check.yml": CHECK}

CASES: dict[str, dict[str, str]] = {
    # -- conditions
    "a condition": gated(
        f'{{type: if_else, condition: "{GOOD}", true_block: "${{{{parent.jobs.big}}}}", '
        'false_block: ["${{parent.jobs.small}}"]}',
        BIG + SMALL,
    ),
    "a condition that is written": gated(_gate("true")),
    "a condition of the pipeline": gated(_gate('"${{parent.inputs.flag}}"'), inputs="{flag: false}"),
    "a condition of the pipeline, as text": gated(_gate('"${{parent.inputs.flag}}"'), inputs="{flag: 'True'}"),
    "a condition of a pipeline component": {
        "pipeline.yml": "type: pipeline\ninputs: {flag: true}\njobs:\n"
        '  in: {type: pipeline, component: ./in.yml, inputs: {flag: "${{parent.inputs.flag}}"}}\n',
        "in.yml": NESTED_GATE,
        "check.yml": CHECK,
    },
    "an if_else in a block of another": gated(
        _gate(true_block="${{parent.jobs.inner}}"),
        BIG + '  inner: {type: if_else, condition: "${{parent.jobs.first.outputs.good}}", '
        'false_block: "${{parent.jobs.big}}"}\n',
    ),
    "no condition": gated('«AZD112»{type: if_else, true_block: "${{parent.jobs.big}}"}'),
    "no block": gated("«AZD112»{type: if_else, condition: true}"),
    "a condition that is a number": gated(_gate("«AZD190»1")),
    "a condition that is a word": gated(_gate("«AZD190»perhaps")),
    "a condition that is a file": gated(_gate('«AZD190»"${{parent.jobs.first.outputs.report}}"')),
    "a condition that counts": gated(_gate('«AZD190»"${{parent.jobs.first.outputs.count}}"')),
    "a condition that is text": gated(_gate('«AZD190 warning»"${{parent.jobs.first.outputs.word}}"')),
    "a condition that is a number of the pipeline": gated(_gate('«AZD190»"${{parent.inputs.n}}"'), inputs="{n: 3}"),
    "a condition that may be absent": {
        "component.yml": "name: in_\n"
        + NESTED_GATE.replace("boolean}", "boolean, optional: true}").replace('"${{parent.in', '«AZD190»"${{parent.in'),
        "check.yml": CHECK,
    },
    "a condition on nothing": gated(_gate('«AZD140»"${{parent.jobs.first.outputs.goood}}"')),
    "a condition on no step": gated(_gate('«AZD140»"${{parent.jobs.fist.outputs.good}}"')),
    "an unknown key of an if_else": gated(
        '{type: if_else, condition: true, true_block: "${{parent.jobs.big}}", «AZD110»flase_block: x}'
    ),
    "a block that names no step": gated('{type: if_else, condition: true, true_block: «AZD140»"${{parent.jobs.bgi}}"}'),
    "a block that is a name": gated("{type: if_else, condition: true, true_block: «AZD191»big}"),
    "a block that is an output": gated(
        '{type: if_else, condition: true, true_block: «AZD191»"${{parent.jobs.big.outputs.good}}"}'
    ),
    "a block that holds a step": gated("{type: if_else, condition: true, true_block: [«AZD191»{type: command}]}"),
    "a step in both blocks": gated(
        '{type: if_else, condition: true, true_block: "${{parent.jobs.big}}", '
        'false_block: «AZD192»"${{parent.jobs.big}}"}'
    ),
    "a step in a block twice": gated(
        '{type: if_else, condition: true, true_block: ["${{parent.jobs.big}}", «AZD192»"${{parent.jobs.big}}"]}'
    ),
    "a step in blocks of two": gated(
        _gate("true"), BIG + '  other: {type: if_else, condition: true, true_block: «AZD192»"${{parent.jobs.big}}"}\n'
    ),
    "a circle through a condition": gated(
        '{type: if_else, condition: "${{parent.jobs.big.outputs.good}}", true_block: «AZD142»"${{parent.jobs.first}}"}',
        '  big: {type: command, component: ./check.yml, inputs: {rows: "${{parent.jobs.first.outputs.report}}"}}\n',
    ),
    "a block that holds its own if_else": gated(
        '{type: if_else, condition: true, true_block: «AZD142»"${{parent.jobs.gate}}"}'
    ),
    "an output of an if_else": gated(
        _gate("true"),
        BIG
        + '  c: {type: command, component: ./check.yml, inputs: {rows: «AZD140»"${{parent.jobs.gate.outputs.x}}"}}\n',
    ),
    # -- value outputs
    "a value for an input": gated(
        _gate(),
        BIG + '  c: {type: command, component: ./train.yml, inputs: {n: "${{parent.jobs.first.outputs.count}}"}}\n',
    )
    | {"train.yml": TRAIN},
    "a value of another type": gated(
        _gate(),
        BIG
        + '  c: {type: command, component: ./train.yml, inputs: {n: «AZD141»"${{parent.jobs.first.outputs.word}}"}}\n',
    )
    | {"train.yml": TRAIN},
    # -- kinds that only Azure runs
    "spark and automl": {"pipeline.yml": ELSEWHERE, **ROWS},
    "a spark job by itself": {"pipeline.yml": SPARK, "src/count.py": "", **ROWS},
    "a spark component, without a type": {
        "pipeline.yml": "type: pipeline\njobs: {a: {component: «AZD194 warning»./spark.yml}}\n",
        "spark.yml": SPARK.replace("«AZD194 warning»", ""),
    },
    "a spark component that is not there": {
        "pipeline.yml": "type: pipeline\njobs: {a: {type: «AZD194 warning»spark, component: «AZD121»./sprak.yml}}\n"
    },
    "a spark component in a command step": {
        "pipeline.yml": "type: pipeline\njobs: {a: {type: command, component: «AZD113»./spark.yml}}\n",
        "spark.yml": SPARK.replace("«AZD194 warning»", ""),
    },
    "loops": {"pipeline.yml": LOOPS, "train.yml": TRAIN, **ROWS},
    "a loop without a body": {
        "pipeline.yml": "type: pipeline\njobs: {a: «AZD112»{type: «AZD194 warning»parallel_for, items: '[{}]'}}\n"
    },
    "a loop around no step": {
        "pipeline.yml": "type: pipeline\njobs:\n"
        '  a: {type: «AZD194 warning»do_while, body: «AZD140»"${{parent.jobs.bdoy}}", mapping: {}, limits: {}}\n'
        "  body: {type: command, component: ./check.yml}\n",
        "check.yml": CHECK,
    },
    "spark bound to nothing": {
        "pipeline.yml": ELSEWHERE.replace('"${{parent.inputs.rows}}"', '«AZD140»"${{parent.inputs.row}}"'),
        **ROWS,
    },
    "automl bound to nothing": {
        "pipeline.yml": ELSEWHERE.replace("${{parent.jobs.count", "«AZD140 warning»${{parent.jobs.cuont"),
        **ROWS,
    },
    "a command job as a component": {
        "pipeline.yml": "type: pipeline\njobs: {a: {type: command, component: ./job.yml}}\n",
        "job.yml": "«AZD114»type: command\ncommand: run\nenvironment: azureml:e@latest\ncompute: azureml:c\n",
    },
}
