"""Specs by example. A mark like «AZD130» stands where a problem is to be reported; nothing else may be found."""

from __future__ import annotations

import re
from pathlib import Path

from control_cases import CASES as CONTROL_CASES
from shape_cases import CASES as SHAPE_CASES
from sweep_cases import SWEEPS

MARK = re.compile(r"«(AZD\d+)( warning)?»")

TRAIN = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
name: train
type: command
inputs:
  rows: {type: uri_file}
  learning_rate: {type: number, default: 0.1, min: 0, max: 1}
  method: {type: string, default: sft, enum: [sft, logits]}
  epochs: {type: integer, default: 3}
  shuffle: {type: boolean, default: true}
  note: {type: string, optional: true}
outputs:
  model: {type: custom_model}
  summary: {type: uri_file}
environment: azureml:env@latest
command: >-
  python train.py --rows ${{inputs.rows}} --lr ${{inputs.learning_rate}} --method ${{inputs.method}}
  --epochs ${{inputs.epochs}} --shuffle ${{inputs.shuffle}} $[[--note "${{inputs.note}}"]]
  --model ${{outputs.model}} --summary ${{outputs.summary}}
"""

#: A component whose input names one of the files in a folder.
PETS = """\
name: pets
type: command
tags: {azdistill.family.pet: pets}
inputs: {pet: {type: string}}
environment: azureml:env@latest
command: feed '${{inputs.pet}}'
"""
FAMILY = "type: pipeline\njobs:\n  feed:\n    type: command\n    component: ./pets.yml\n    inputs: {{pet: {pet}}}\n"
MORE = "  more:\n    type: command\n    component: ./train.yml\n"
HEAD = "name: c\ntype: command\nenvironment: azureml:e@latest\n"


def pipeline(
    step: str = "",
    inputs: str = "{}",
    outputs: str = "{}",
    more: str = "",
    rows: str = "{path: rows.jsonl, type: uri_file}",
) -> str:
    """A pipeline with one step ``train``; ``step`` are lines of its inputs, ``more`` follows the step."""
    return f"""\
type: pipeline
inputs: {inputs}
outputs: {outputs}
jobs:
  train:
    type: command
    component: ./train.yml
    inputs:
      rows: {rows}
{step}{more}"""


def component(text: str) -> dict[str, str]:
    return {"component.yml": HEAD + text}


def job(text: str, **files: str) -> dict[str, str]:
    named = {name.replace("_yml", ".yml"): content for name, content in files.items()}
    return {"pipeline.yml": text, "train.yml": TRAIN, "rows.jsonl": "{}\n", **named}


INNER = """\
type: pipeline
inputs:
  rate: {type: number}
  rows: {type: uri_file}
  note: {type: string, optional: true}
outputs:
  model: {type: custom_model}
jobs:
  inner:
    type: command
    component: ./train.yml
    inputs: {rows: "${{parent.inputs.rows}}", learning_rate: "${{parent.inputs.rate}}", note: "${{parent.inputs.note}}"}
    outputs: {model: "${{parent.outputs.model}}"}
"""
OUTER = """\
type: pipeline
inputs:
  rate: %s
jobs:
  nested:
    type: pipeline
    component: ./inner.yml
    inputs:
      rows: {path: rows.jsonl, type: uri_file}
      %s
"""

PARALLEL = """\
$schema: https://azuremlschemas.azureedge.net/latest/parallelComponent.schema.json
type: parallel
name: score
inputs:
  texts: {type: uri_folder}
  note: {type: string, optional: true}
outputs:
  lines: {type: uri_file}
input_data: ${{inputs.texts}}
mini_batch_size: "5"
max_concurrency_per_instance: 2
error_threshold: -1
retry_settings: {max_retries: 2, timeout: 60}
logging_level: DEBUG
resources: {instance_count: 2}
task:
  type: run_function
  code: .
  entry_script: score.py
  environment: azureml:e@latest
  program_arguments: $[[--note '${{inputs.note}}']]
  append_row_to: ${{outputs.lines}}
"""


def parallel(old: str = "", new: str = "", script: str = "def init(): ...\ndef run(batch): ...\n") -> dict[str, str]:
    """A parallel component with one thing changed."""
    assert old in PARALLEL
    return {"component.yml": PARALLEL.replace(old, new) if old else PARALLEL, "score.py": script}


CASES: dict[str, dict[str, str]] = {
    # -- nothing wrong
    "a good component": {"component.yml": TRAIN},
    "a good pipeline": job(pipeline("      learning_rate: 1e-5\n")),
    "a number as text": job(pipeline('      learning_rate: "0.5"\n      epochs: 2.0\n      shuffle: "False"\n')),
    "a nested pipeline": job(OUTER % ("0.5", "rate: ${{parent.inputs.rate}}"), inner_yml=INNER),
    "an input that feeds optional inputs only is optional": job(
        OUTER % ("0.5", "rate: 0.1"), inner_yml=INNER.replace(", optional: true", "", 1)
    ),
    "text inside a binding": job(
        pipeline(inputs="{folder: {type: uri_folder, path: .}}", rows='"${{parent.inputs.folder}}/rows.jsonl"')
    ),
    "text for data is its path": job(pipeline(rows="./rows.jsonl")),
    "a registered component": job(
        "type: pipeline\njobs: {a: {type: command, component: azureml:x@latest, inputs: {q: 1}}}\n"
    ),
    "a literal with spaces, unquoted": component(
        "inputs: {args: {type: string, default: --a 1 --b 2}}\ncommand: run ${{inputs.args}}\n"
    ),
    "keys that Azure ML drops, if they are no near miss": component("«AZD110 warning»flavour: 1\ncommand: run\n"),
    # -- shape
    "unknown key": component("command: run\n«AZD110»comand: run\n"),
    "unknown key of an input": component(
        "inputs: {a: {type: string, «AZD110»defualt: x}}\ncommand: run ${{inputs.a}}\n"
    ),
    "unknown key of a pipeline": job(pipeline(more="«AZD110»setings: {force_rerun: true}\n")),
    "unknown key of a step": job(pipeline(more="    «AZD110»compte: cpu\n")),
    "unknown setting": job(pipeline(more="settings: {«AZD110 warning»force_reran: true}\n")),
    "text where a mapping belongs": component("inputs: «AZD111»rows\ncommand: run\n"),
    "a list where text belongs": component("command: «AZD111»[run]\n"),
    "a tag that is a number": component("tags: {a: «AZD111»1}\ncommand: run\n"),
    "an enum of numbers": component(
        "inputs: {a: {type: integer, enum: [«AZD111»1, '2']}}\ncommand: run ${{inputs.a}}\n"
    ),
    "a timeout that is no number": job(pipeline(more="    limits: {timeout: «AZD111»soon}\n")),
    "unknown limit": job(pipeline(more="    limits: {«AZD110»timeot: 60}\n")),
    "unknown distribution": job(pipeline(more="    distribution: {type: «AZD113»torch}\n")),
    "not a boolean": component("is_deterministic: «AZD111»perhaps\ncommand: run\n"),
    "missing command": {"component.yml": "«AZD112»" + HEAD},
    "missing environment": {"component.yml": "«AZD112»name: c\ntype: command\ncommand: run\n"},
    "missing type of an input": component("inputs: {a: «AZD112»{default: 1}}\ncommand: run ${{inputs.a}}\n"),
    "no steps": {"pipeline.yml": "«AZD112»type: pipeline\nexperiment_name: x\njobs: {}\n"},
    "unknown type of an input": component("inputs: {a: {type: «AZD113»uri_flie}}\ncommand: run ${{inputs.a}}\n"),
    "value of a job declared as a component would": job(
        "$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json\n"
        + pipeline(inputs="{a: {type: «AZD113»integer, default: 2}}", step="      epochs: ${{parent.inputs.a}}\n")
    ),
    "unknown mode": component("inputs: {a: {type: uri_file, mode: «AZD113»mounted}}\ncommand: run ${{inputs.a}}\n"),
    "unknown type of a step": job("type: pipeline\njobs: {a: {type: «AZD113»comand, component: ./train.yml}}\n"),
    "a pipeline step on a command component": job(
        "type: pipeline\njobs: {a: {type: pipeline, component: «AZD113»./train.yml}}\n"
    ),
    "unknown type of a file": {"pipeline.yml": "type: «AZD107»pipline\njobs: {}\n"},
    "a value and a type": job(pipeline(inputs="{a: {«AZD110»type: string, value: x}}")),
    "text where a step belongs": job("type: pipeline\njobs: {a: «AZD111»run}\n"),
    # -- names
    "name of a job": job("name: «AZD115»My Pipe/line\n" + pipeline()),
    "name of a component": {"component.yml": HEAD.replace("name: c", "name: «AZD115»My-Component") + "command: run\n"},
    "name of a step's component": job(
        pipeline(more="  upper: {type: command, component: ./upper.yml}\n"),
        upper_yml=HEAD.replace("name: c", "name: «AZD115 warning»My-Component") + "command: run\n",
    ),
    "name of a step's inline component": job(
        pipeline(
            more="  upper:\n    type: command\n"
            "    component: {name: «AZD115 warning»Upper, type: command, command: run, environment: azureml:e@latest}\n"
        )
    ),
    "name of a step": job("type: pipeline\njobs: {«AZD115»a-b: {type: command, component: azureml:x:1}}\n"),
    "name of an input": component("inputs: {«AZD115»a-b: {type: string}}\ncommand: run\n"),
    "names that differ in case only": component(
        "inputs: {a: {type: string}, «AZD115»A: {type: string}}\ncommand: run ${{inputs.a}} ${{inputs.A}}\n"
    ),
    "reserved name": component("inputs: {«AZD116»path: {type: string}}\ncommand: run ${{inputs.path}}\n"),
    "reserved output": component("outputs: {«AZD116»HOME: {type: uri_folder}}\ncommand: run ${{outputs.HOME}}\n"),
    # -- files
    "missing code": component("code: «AZD120»./srcs\ncommand: run\n"),
    "missing component": job("type: pipeline\njobs: {a: {type: command, component: «AZD121»./trian.yml}}\n"),
    "a component that is an environment": job(
        "type: pipeline\njobs: {a: {component: «AZD107»./env.yml}}\n", env_yml="name: e\nimage: ubuntu\n"
    ),
    "a component that is a folder": job("type: pipeline\njobs: {a: {component: «AZD121»./}}\n"),
    "missing conda file": {
        "component.yml": "name: c\ntype: command\ncommand: run\n"
        "environment: {image: ubuntu, conda_file: «AZD122»conda.yml}\n"
    },
    "missing build context": {"environment.yml": "name: e\nbuild: {path: «AZD122»docker}\n"},
    "missing Dockerfile": {"environment.yml": "name: e\nbuild: {path: ., dockerfile_path: «AZD122»Dockerfile.gpu}\n"},
    "missing environment file": {
        "component.yml": "name: c\ntype: command\ncommand: run\nenvironment: «AZD122»file:env.yml\n"
    },
    "missing data of the pipeline": job(pipeline(inputs="{a: {type: uri_file, path: «AZD123»./nothing.jsonl}}")),
    "missing data of a step": job(pipeline(rows="{type: uri_file, path: «AZD123»./nothing.jsonl}")),
    "missing include": component("code: .\nadditional_includes: [«AZD124»../nothing]\ncommand: run\n"),
    "includes of one name": {
        **component("code: ./src\nadditional_includes: [./x/common, «AZD124»./y/common]\ncommand: run\n"),
        "src/a": "",
        "x/common/a": "",
        "y/common/a": "",
    },
    "an include over the code": {
        **component("code: ./src\nadditional_includes: [«AZD124»./lib]\ncommand: run\n"),
        "src/lib/a": "",
        "lib/a": "",
    },
    "code outside of the project": component("code: «AZD177»/etc/hostname\ncommand: run\n"),
    # -- inputs
    "misspelt input": job(pipeline("      «AZD130»learning_rat: 0.1\n")),
    "misspelt output": job(pipeline(more="    outputs: {«AZD130»modle: {mode: upload}}\n")),
    "missing input": job("type: pipeline\njobs:\n  «AZD131»a: {type: command, component: ./train.yml}\n"),
    "an input without a value": job(
        pipeline(
            "      learning_rate: ${{parent.inputs.lr}}\n      epochs: ${{parent.inputs.n}}\n",
            "{«AZD131»lr: , «AZD131»n: }",
        )
    ),
    "an input without data": job(
        pipeline(inputs="{«AZD131»r: {type: uri_file}}", rows="${{parent.inputs.r}}", more="experiment_name: x\n")
    ),
    "required, but bound to an optional input": job(
        OUTER % ("0.5", "rate: 0.1"),
        inner_yml=INNER.replace(
            "rate: {type: number}", "rate: {type: number}\n  more: {type: uri_file, optional: true}"
        ).replace('rows: "${{parent.inputs.rows}}"', 'rows: «AZD131»"${{parent.inputs.more}}"'),
    ),
    "not a number": job(pipeline("      learning_rate: «AZD132»fast\n")),
    "not a whole number": job(pipeline("      epochs: «AZD132»2.5\n")),
    "not a boolean value": job(pipeline("      shuffle: «AZD132»1\n")),
    "a value for data": job(pipeline(rows="«AZD132»3")),
    "a default of the wrong type": component(
        "inputs: {a: {type: integer, default: «AZD132»many}}\ncommand: run ${{inputs.a}}\n"
    ),
    "a default for data": component("inputs: {a: {type: uri_file, default: «AZD132»x}}\ncommand: run ${{inputs.a}}\n"),
    "a limit of the wrong type": component(
        "inputs: {a: {type: integer, min: «AZD132»low}}\ncommand: run ${{inputs.a}}\n"
    ),
    "not in the enum": job(pipeline("      method: «AZD133»stf\n")),
    "no file of the folder that an input names": job(
        FAMILY.format(pet="«AZD133»hen"), pets_yml=PETS, **{"pets/cat.py": "", "pets/dog.py": 'ALIASES = ("hound",)'}
    ),
    "a file of the folder that an input names": job(
        FAMILY.format(pet="Big-Hound"), pets_yml=PETS, **{"pets/dog.py": 'ALIASES = ("big_hound",)', "pets/_hen.py": ""}
    ),
    "a folder that is not here": job(FAMILY.format(pet="hen"), pets_yml=PETS),
    "a number where words are allowed": job(pipeline("      method: «AZD133 warning»3\n")),
    "a default not in the enum": component(
        "inputs: {a: {type: string, default: «AZD133»c, enum: [a, b]}}\ncommand: run ${{inputs.a}}\n"
    ),
    "of the wrong type, told once though it is passed on": job(
        OUTER % ("«AZD132»fast", "rate: ${{parent.inputs.rate}}"), inner_yml=INNER
    ),
    "above the maximum, through an input of another step": job(
        pipeline(
            "      learning_rate: ${{parent.inputs.lr}}\n",
            inputs="{lr: «AZD134»2}",
            more=MORE
            + "    inputs: {rows: rows.jsonl, learning_rate: '${{parent.jobs.train.inputs.learning_rate}}'}\n",
        )
    ),
    "a range that allows nothing": component(
        "inputs: {a: {type: integer, min: «AZD134»5, max: 1}}\ncommand: run ${{inputs.a}}\n"
    ),
    "no number at all": job(pipeline("      learning_rate: «AZD134»«AZD175 warning».nan\n")),
    "numbers beyond all": {
        "pipeline.yml": pipeline("      r: «AZD175 warning»1.0e+400\n      s: «AZD175 warning»1e400\n      t: 1e300\n"),
        "train.yml": HEAD
        + "inputs: {rows: {type: uri_file}, r: {type: number}, s: {type: number}, t: {type: number}}\n"
        "command: run ${{inputs.rows}} ${{inputs.r}} ${{inputs.s}} ${{inputs.t}}\n",
        "rows.jsonl": "{}\n",
    },
    "name of a variable": job(pipeline(more="    environment_variables: {«AZD115»A=B: c, «AZD115»'': d}\n")),
    "variables that YAML reads otherwise": job(
        pipeline(
            more="    environment_variables: {A: «AZD175 warning».nan, B: «AZD175 warning»1.0e+400, C: 1e400, D: true,"
            " E: '.inf'}\n"
        )
    ),
    "what YAML reads otherwise": job(
        pipeline("      note: «AZD175 warning»12:30:45\n      method: «AZD175 warning»«AZD133»off\n")
    ),
    "a date without quotes": job(pipeline("      note: «AZD132»2024-01-01\n", inputs="{day: «AZD132»2024-01-02}")),
    "a date as a default": component(
        "inputs: {a: {type: string, default: «AZD132»2024-01-01}}\ncommand: run ${{inputs.a}}\n"
    ),
    "what YAML reads as it is written": job(pipeline("      note: True\n", inputs="{x: 1.5}")),
    "below the minimum": job(pipeline("      learning_rate: «AZD134»-1\n")),
    "above the maximum": job(pipeline("      learning_rate: «AZD134»1.5\n")),
    "above the maximum, through a binding": job(
        pipeline("      learning_rate: ${{parent.inputs.lr}}\n", inputs="{lr: «AZD134»2}")
    ),
    "above the maximum, through two bindings": job(
        OUTER % ("«AZD134»3", "rate: ${{parent.inputs.rate}}"), inner_yml=INNER
    ),
    # -- wiring
    "binding to an unknown input": job(
        pipeline("      learning_rate: «AZD140»${{parent.inputs.lr}}\n", inputs="{lrr: 0.1}")
    ),
    "binding to an unknown step": job(pipeline(rows="«AZD140»${{parent.jobs.prepare.outputs.rows}}")),
    "binding to an unknown output": job(
        pipeline(more=MORE + '    inputs: {rows: «AZD140»"${{parent.jobs.train.outputs.sumary}}"}\n')
    ),
    "binding without parent": job(pipeline("      learning_rate: «AZD140»${{inputs.lr}}\n", inputs="{lr: 0.1}")),
    "binding to an unknown pipeline output": job(
        pipeline(more='    outputs: {model: «AZD140»"${{parent.outputs.modle}}"}\n')
    ),
    "binding of the compute": job(pipeline(more="    compute: «AZD140»${{parent.inputs.machine}}\n")),
    "binding inside text": job(pipeline("      note: from «AZD140»${{parent.inputs.nowhere}} on\n")),
    "stored data of another type": job(
        pipeline(inputs="{r: {type: uri_folder, path: .}}", rows="«AZD141 warning»${{parent.inputs.r}}")
    ),
    "stored data of another type at a step": job(pipeline(rows="«AZD141 warning»{type: uri_folder, path: .}")),
    "stored data of another type in a pipeline component": job(
        "type: pipeline\njobs:\n"
        "  a: {type: pipeline, component: ./inner.yml, inputs: {rows: «AZD141 warning»{type: uri_folder, path: .}}}\n",
        inner_yml="type: pipeline\nversion: 1\ninputs: {rows: {type: uri_file}}\njobs:\n"
        "  a: {type: command, component: ./train.yml, inputs: {rows: '${{parent.inputs.rows}}'}}\n",
    ),
    "a folder that a step makes for a file": job(
        pipeline(
            more="    outputs: {model: {type: custom_model}}\n"
            "  make: {type: command, command: 'run ${{outputs.o}}', environment: azureml:e@latest,\n"
            "    outputs: {o: {type: uri_folder}}}\n"
            "  b: {type: command, component: ./train.yml, inputs: {rows: «AZD141»'${{parent.jobs.make.outputs.o}}'}}\n"
        )
    ),
    "a folder asked for where a step makes a file": job(
        "type: pipeline\njobs:\n  outer: {type: pipeline, component: ./inner.yml, inputs: {rows: rows.jsonl}}\n",
        inner_yml="type: pipeline\nversion: 1\ninputs: {rows: {type: uri_folder}}\njobs:\n"
        "  a: {type: command, component: ./train.yml, inputs: {rows: «AZD141»'${{parent.inputs.rows}}'}}\n",
    ),
    "a model for a number": job(
        pipeline(
            more=MORE
            + "    inputs:\n      rows: rows.jsonl\n      learning_rate: «AZD141»${{parent.jobs.train.outputs.model}}\n"
        )
    ),
    "an output of another type": job(
        pipeline(outputs="{s: {type: uri_folder}}", more="    outputs:\n      summary: «AZD141»${{parent.outputs.s}}\n")
    ),
    "a circle": job(
        "type: pipeline\njobs:\n"
        '  a: {type: command, component: ./train.yml, inputs: {rows: «AZD142»"${{parent.jobs.b.outputs.summary}}"}}\n'
        '  b: {type: command, component: ./train.yml, inputs: {rows: "${{parent.jobs.a.outputs.summary}}"}}\n'
    ),
    "a step that waits for itself": job(
        "type: pipeline\njobs:\n"
        '  a: {type: command, component: ./train.yml, inputs: {rows: «AZD142»"${{parent.jobs.a.outputs.summary}}"}}\n'
    ),
    "a circle of values": job(
        "type: pipeline\njobs:\n"
        "  a: {component: ./train.yml, inputs: {rows: rows.jsonl, note: «AZD142»'${{parent.jobs.b.inputs.note}}'}}\n"
        "  b: {component: ./train.yml, inputs: {rows: rows.jsonl, note: '${{parent.jobs.a.inputs.note}}'}}\n"
    ),
    "a pipeline that contains itself": job(
        "type: pipeline\njobs: {a: {type: pipeline, component: ./inner.yml}}\n",
        inner_yml="type: pipeline\njobs: {b: {type: pipeline, component: «AZD142»./inner.yml}}\n",
    ),
    "an output that no step writes": job(pipeline(outputs="{«AZD143 warning»report: {type: uri_folder}}")),
    # -- commands
    "undefined input in a command": component(
        "inputs: {prompts: {type: string}}\ncommand: run ${{inputs.prompts}} «AZD150»${{inputs.prompt}}\n"
    ),
    "undefined output, folded text": component(
        "command: >-\n  run\n  --out «AZD150»${{outputs.out}}\n  --again «AZD150»${{outputs.out}}\n"
    ),
    "a binding in a command": component("command: run «AZD150»${{parent.inputs.x}}\n"),
    "undefined input of an inline command": job(
        "type: pipeline\njobs:\n  a:\n    type: command\n    environment: azureml:e@latest\n"
        "    command: echo «AZD150»${{inputs.x}}\n"
    ),
    "optional outside": component(
        "inputs: {a: {type: string, optional: true}}\ncommand: run --a «AZD151»${{inputs.a}}\n"
    ),
    "required inside": component("inputs: {a: {type: string}}\ncommand: run $[[--a «AZD152»${{inputs.a}}]]\n"),
    "output never written": component("outputs: {«AZD153 warning»out: {type: uri_folder}}\ncommand: run\n"),
    "line continuation": component("command: |\n  run «AZD154 warning»\\\n    --fast\n"),
    "line continuation between double quotes": component('command: «AZD154 warning»"run \\\\\\n --fast"\n'),
    "a line that YAML itself continues": component('command: "run \\\n  --fast"\n'),
    "not closed": component("command: run «AZD155»${{inputs.x\n"),
    "block not closed": component("command: run «AZD155»$[[--x\n"),
    "default that breaks out": component(
        "inputs: {a: {type: string, default: «AZD156»\"it's\"}}\ncommand: run '${{inputs.a}}'\n"
    ),
    "text that arithmetic reads from a variable": component(
        "inputs: {n: {type: string}}\ncommand: |\n  N='«AZD159 warning»${{inputs.n}}'\n  echo $(( N + 1 ))\n"
    ),
    "a number that arithmetic reads": component(
        "inputs: {n: {type: integer}}\ncommand: echo $(( ${{inputs.n}} + 1 ))\n"
    ),
    "a word of an enum that is run": component(
        "inputs: {n: {type: string, enum: [ls, pwd]}}\ncommand: eval '${{inputs.n}}'\n"
    ),
    "text of an enum that is run, and is not one word": component(
        "inputs: {n: {type: string, enum: ['ls; pwd']}}\ncommand: eval '«AZD159 warning»${{inputs.n}}'\n"
    ),
    "text beside arithmetic that does not read it": component(
        "inputs: {n: {type: string}}\ncommand: N=1; echo $(( N + 1 )) '${{inputs.n}}'\n"
    ),
    "text that an inline command runs": job(
        "type: pipeline\ninputs: {n: ls}\njobs:\n  a:\n    type: command\n    environment: azureml:e@latest\n"
        "    command: bash -c '«AZD159 warning»${{inputs.n}} ${{inputs.own}}'\n"
        "    inputs: {n: '${{parent.inputs.n}}', own: a}\n"
    ),
    "text that a command runs from a variable of its environment": job(
        "type: pipeline\ninputs: {n: ls, m: ls}\njobs:\n  a:\n    type: command\n    environment: azureml:e@latest\n"
        "    command: eval $N\n    environment_variables:\n"
        "      N: «AZD159 warning»${{parent.inputs.n}}\n      M: ${{parent.inputs.m}}\n"
    ),
    "value that breaks out": job(pipeline('      note: «AZD156»"a $(reboot)"\n')),
    "value that breaks out, through a binding inside text": job(
        pipeline("      note: «AZD156»told ${{parent.inputs.n}}\n", inputs="{n: 'say \"hi\"'}")
    ),
    "text around a binding is no number": job(
        pipeline("      epochs: «AZD132»1 or ${{parent.inputs.n}}\n", inputs="{n: 2}")
    ),
    "value that breaks out, through a binding": job(
        pipeline("      note: ${{parent.inputs.n}}\n", inputs="{n: «AZD156»'say \"hi\"'}")
    ),
    "value that the service fills in": job(
        pipeline("      note: at ${{parent.inputs.n}}\n", inputs='{n: "${{ creation_context.trigger_time }}"}')
    ),
    "value that the service does not know": job(
        pipeline("      note: ${{parent.inputs.n}}\n", inputs='{n: "«AZD157»${{creation_context.trigger_tme}}"}')
    ),
    "value that is text, and looks like an expression": job(
        pipeline("      epochs: 1\n", inputs="{n: '«AZD157 warning»${{github.ref}}'}")
    ),
    "value of the service's that stands in paths only": job(
        pipeline("      note: ${{parent.inputs.n}}\n", inputs='{n: "of «AZD157»${{output_name}}"}')
    ),
    # -- parallel components
    "a parallel component": parallel(),
    "a parallel step": {
        "pipeline.yml": "type: pipeline\njobs:\n  a:\n    type: parallel\n    component: ./component.yml\n"
        "    mini_batch_size: '3'\n    retry_settings: {max_retries: 0}\n    environment_variables: {A: b}\n"
        "    inputs: {texts: {type: uri_folder, path: ., mode: download}}\n",
        **parallel(),
    },
    "mini-batches of a value": parallel("${{inputs.texts}}", "«AZD171»${{inputs.note}}"),
    "a mini-batch size that is none": parallel('"5"', '«AZD172»"five"'),
    "a mini-batch size of bytes": parallel('"5"', '"10kb"'),
    "no entry script": parallel("score.py", "«AZD173»scores.py"),
    "an entry script without run()": parallel("score.py", "«AZD173»score.py", script="def init(): ...\n"),
    "an entry script that imports run()": parallel(script="from other import run\ninit = print\n"),
    "rows to an unknown output": parallel("${{outputs.lines}}", "«AZD174»${{outputs.line}}"),
    "arguments on several lines": parallel("$[[--note", "|\n    --a 'b\n    c'\n    $[[--note"),
    "a comment among arguments": parallel("$[[--note", "|\n    --a 1  «AZD178»# c\n    $[[--note"),
    "a command after arguments": parallel("$[[--note", "--a '#;' b#c «AZD178»; $[[--note"),
    "arguments with an open quote": parallel("$[[--note", '«AZD178»--a " $[[--note'),
    "a parallel component in a command step": {
        "pipeline.yml": "type: pipeline\njobs:\n  a:\n    type: command\n    component: «AZD113»./component.yml\n"
        "    inputs: {texts: {type: uri_folder, path: .}}\n",
        **parallel(),
    },
    # -- Azure ML's silence
    "variables on a component": component("«AZD160»environment_variables: {A: b}\ncommand: run\n"),
    "retries on a command": job(pipeline(more="    «AZD161»retry_settings: {max_retries: 3}\n")),
    "local compute": job(pipeline(more="    compute: «AZD162»local\n")),
    "local compute of all steps": job(
        pipeline(more="compute: «AZD162»local\nsettings: {default_compute: «AZD162»azureml:local}\n")
    ),
    "variables on a component without a name": {
        "component.yml": "type: command\nenvironment: azureml:e@1\ncommand: run\n"
        "«AZD160»environment_variables: {A: b}\n"
    },
    "variables on a component inside a step": job(
        "type: pipeline\njobs:\n  a:\n    type: command\n    environment_variables: {A: b}\n    component:\n"
        "      {environment: 'azureml:e@1', command: run, «AZD160»environment_variables: {A: b}}\n"
    ),
    "retries on a pipeline": job(
        "type: pipeline\njobs:\n  a:\n    type: pipeline\n    component: ./inner.yml\n"
        "    «AZD161»retry_settings: {max_retries: 3}\n    inputs: {rows: rows.jsonl, rate: 1}\n",
        inner_yml=INNER,
    ),
    "an environment that is no reference": {
        "component.yml": "name: c\ntype: command\nenvironment: «AZD176»my-env\ncommand: run\n"
    },
    "environments of steps that are no references": job(
        "type: pipeline\nsettings: {default_compute: «AZD176»cpu, default_datastore: «AZD176»d}\njobs:\n"
        "  a: {command: run, environment: «AZD176»./env.yml}\n"
        "  b: {command: run, environment: «AZD176»ubuntu:22.04}\n"
    ),
    # -- secrets
    "a literal key": job(pipeline(inputs="{api_key: «AZD170»abcdef123456}")),
    "a literal default": component(
        "inputs: {password: {type: string, default: «AZD170»hunter2000}}\ncommand: run '${{inputs.password}}'\n"
    ),
    "a literal variable": job(pipeline(more="    environment_variables: {HF_TOKEN: «AZD170»abcdefgh}\n")),
    "the shape of a key": job(pipeline("      note: «AZD170»sk-abcdefghijklmnopqrstuvwx\n")),
    "the shape of a storage key": job(
        pipeline(inputs="{store: 'AccountName=a;«AZD170»AccountKey=abcdefghijklmnopqrstuvwxyz0123456789=='}")
    ),
    "words that only sound like secrets": job(
        pipeline(inputs="{eos_token: '</s>', sort_key: name, max_tokens: 5, key_name: abcdefgh, tokenizer: slow}")
    ),
    "a package that is called like a key": job(pipeline("      note: sk-learn-contrib-2024-some-long-name\n")),
    "a hash, a path and an id": job(
        pipeline(
            inputs="{a: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, b: /run/secrets/token,"
            " c: 123e4567-e89b-12d3-a456-426614174000, d: 'https://host:8080/x@y', password_file: /etc/pw}"
        )
    ),
    "a key in camel case": job(pipeline(inputs="{clientSecret: «AZD170»abcdefgh}")),
    "a tag": job(pipeline(more="    tags: {api_key: «AZD170»abcdefgh}\ntags: {password: «AZD170»hunter2000}\n")),
    "a password in an address": job(pipeline(inputs="{index: 'https://«AZD170»me:hunter2000@host/simple'}")),
    "secrets in a command": component(
        "command: >-\n  export API_KEY=«AZD170»abcdefgh12 &&\n"
        "  curl --password «AZD170»hunter2000 -H 'Authorization: Bearer «AZD170»abcdefgh0123456789'\n"
    ),
    "what a command takes from elsewhere": component(
        "inputs: {key: {type: string}}\n"
        "command: API_KEY=$KEY run --api-key '${{inputs.key}}' --use_auth_token true --token \"$T\" --secret\n"
    ),
    "files that hold what a command takes": component(
        "command: run --credentials ./creds.json --private_key=/etc/k.pem --password ~/pw --secret keys/a.txt\n"
    ),
    "references to secrets": job(
        pipeline(inputs="{api_key: 'env:KEY', teacher_key: 'connection:t', token: 'keyvault:v/s', secret: entra}")
    ),
    **CONTROL_CASES,
    # -- sweeps
    **SWEEPS,
    **SHAPE_CASES,
}


def write(folder: Path, files: dict[str, str]) -> tuple[Path, set[tuple[str, str, str, int, int]]]:
    """Writes ``files`` without their marks; gives the file to check and what its marks say."""
    expected = set()
    for name, marked in files.items():
        text = ""
        for line_number, line in enumerate(marked.split("\n"), 1):
            while mark := MARK.search(line):
                severity = (mark[2] or " error").strip()
                expected.add((mark[1], severity, name, line_number, mark.start() + 1))
                line = line[: mark.start()] + line[mark.end() :]
            text += line + "\n"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text[:-1])
    return folder / next(iter(files)), expected
