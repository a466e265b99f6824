"""Sweeps by example, marked as in ``spec_cases``."""

from __future__ import annotations

TRIAL = """\
name: trial
type: command
inputs:
  rows: {type: uri_file}
  rate: {type: number, min: 0, max: 1}
  kernel: {type: string, enum: [rbf, linear], default: rbf}
  depth: {type: integer, default: 3}
  word: {type: string, optional: true}
outputs:
  model: {type: uri_folder}
environment: azureml:env@latest
command: >-
  python train.py ${{inputs.rows}} --rate ${{inputs.rate}} --kernel '${{inputs.kernel}}' --depth ${{inputs.depth}}
  $[[--word "${{inputs.word}}"]] --model ${{outputs.model}}
"""
RATE = "rate: {type: uniform, min_value: 0.1, max_value: 0.9}"


def sweep(
    space: str = RATE,
    *,
    limits: str = "{max_total_trials: 4, max_concurrent_trials: 2}",
    objective: str = "{goal: minimize, primary_metric: loss}",
    sampling: str = "random",
    inputs: str = "",
    more: str = "",
    trial: str = "./trial.yml",
    pipeline: str = "{n: 4}",
) -> dict[str, str]:
    """A pipeline of one sweep step; ``space`` and ``inputs`` are lines, ``more`` is lines of the step."""
    lines = "\n".join(f"      {line}" for line in space.splitlines())
    given = "".join(f"      {line}\n" for line in inputs.splitlines())
    text = f"""\
type: pipeline
inputs: {pipeline}
jobs:
  tune:
    type: sweep
    trial: {trial}
    inputs:
      rows: {{type: uri_file, path: rows.jsonl}}
{given}    search_space:
{lines}
    objective: {objective}
    sampling_algorithm: {sampling}
    limits: {limits}
{more}"""
    return {"pipeline.yml": text, "trial.yml": TRIAL, "rows.jsonl": "{}\n"}


def job(old: str = "", new: str = "") -> dict[str, str]:
    """A sweep job by itself with one thing changed."""
    assert old in JOB
    return {"job.yml": JOB.replace(old, new) if old else JOB, "rows.jsonl": "{}\n"}


JOB = """\
$schema: https://azuremlschemas.azureedge.net/latest/sweepJob.schema.json
type: sweep
trial:
  command: train ${{inputs.rows}} --rate ${{search_space.rate}} --kernel ${{search_space.kernel}} > ${{outputs.model}}
  environment: azureml:env@latest
  environment_variables: {A: b}
inputs:
  rows: {type: uri_file, path: rows.jsonl}
outputs:
  model: {type: uri_folder}
compute: azureml:cpu
sampling_algorithm: random
search_space:
  rate: {type: loguniform, min_value: -6, max_value: -1}
  kernel: {type: choice, values: [rbf, linear]}
objective: {goal: maximize, primary_metric: accuracy}
limits: {max_total_trials: 4, max_concurrent_trials: 2, timeout: 3600, trial_timeout: 600}
early_termination: {type: median_stopping, evaluation_interval: 2, delay_evaluation: 5}
queue_settings: {job_tier: spot}
resources: {instance_count: 1}
experiment_name: e
tags: {a: b}
"""

EVERY_KIND = """\
rate: {type: uniform, min_value: 0.1, max_value: 0.9}
kernel: {type: choice, values: [rbf, linear]}
depth: {type: quniform, min_value: 1, max_value: 9, q: 2}"""
NUMBERS = """\
rate: {type: quniform, min_value: 0.1, max_value: 0.9, q: 0.1}
depth: {type: randint, upper: 8}
word: {type: choice, values: [a, b c, 3, 0.5]}"""

#: Azure's public sweep gives its trial a file where that declares a folder.
FILE_FOR_A_FOLDER = {
    name: text.replace("      rows: {", "      rows: «AZD141 warning»{").replace(
        "  rows: {type: uri_file}\n", "  rows: {type: uri_folder}\n"
    )
    for name, text in sweep().items()
}
GOOD: dict[str, dict[str, str]] = {
    "a sweep": sweep(EVERY_KIND, more="    outputs: {model: {mode: upload}}\n    compute: azureml:cpu\n"),
    "a sweep of other kinds": sweep(NUMBERS, sampling="{type: random, rule: sobol, seed: 3, logbase: e}"),
    "a sweep of normal distributions": sweep(
        "rate: {type: qnormal, mu: 0.5, sigma: 0.1, q: 0.01}\nword: {type: lognormal, mu: 0, sigma: 1}"
    ),
    "a sweep of exponents": sweep("rate: {type: loguniform, min_value: -9, max_value: -1}"),
    "a grid": sweep("rate: {type: choice, values: [0.1, 0.2]}\nkernel: {type: choice, values: [rbf]}", sampling="grid"),
    "bayesian": sweep(EVERY_KIND, sampling="{type: bayesian}"),
    "a sweep with bandit": sweep(more="    early_termination: {type: bandit, slack_factor: 0.1}\n"),
    "a sweep with truncation": sweep(
        more="    early_termination: {type: truncation_selection, truncation_percentage: 20, evaluation_interval: 1}\n"
    ),
    "a sweep bound to the pipeline": sweep(
        "rate: {type: uniform, min_value: 0, max_value: '${{parent.inputs.top}}'}",
        pipeline="{n: 4, top: 0.9}",
        limits="{max_total_trials: '${{parent.inputs.n}}', timeout: 7200}",
    ),
    "a nested choice": sweep(
        RATE + "\nword: {type: choice, values: [{a: 1, b: {type: uniform, min_value: 0, max_value: 1}}]}",
        trial="./trial.yml",
    ),
    "a hyperparameter of another name": sweep(
        "speed: {type: uniform, min_value: 0.1, max_value: 0.9}", inputs="rate: ${{search_space.speed}}"
    ),
    "a sweep without a type": {name: text.replace("    type: sweep\n", "") for name, text in sweep(EVERY_KIND).items()},
    "a sweep of a registered trial": sweep(trial="azureml:trial@latest"),
    "a sweep of a trial in place": sweep(
        trial="{type: command, command: 'run ${{inputs.rows}} ${{search_space.rate}}', environment: azureml:e@latest,\n"
        "      inputs: {rows: {type: uri_file}}}"
    ),
    "all keys of a sweep": sweep(
        more="    resources: {instance_count: 1, shm_size: 2g}\n    queue_settings: {job_tier: spot}\n"
        "    identity: {type: user_identity}\n    comment: why\n    display_name: d\n    description: text\n"
        "    tags: {a: b}\n    properties: {a: b}\n    name: tune\n    experiment_name: e\n"
    ),
    "a sweep job": job(),
    "a sweep job on this machine": job("azureml:cpu", "local"),
}

#: Every mark is one that Azure ML does not make, or makes as a wall of text.
BAD: dict[str, dict[str, str]] = {
    "a sweep without a trial": sweep("«AZD180»x: {type: randint, upper: 2}", trial="./trial.yml", inputs="rate: 0.5"),
    "no trial": {
        name: text.replace("    type: sweep\n    trial: ./trial.yml\n", "    «AZD112»type: sweep\n")
        for name, text in sweep().items()
    },
    "a pipeline component as a trial": {
        **sweep(trial="«AZD113»./inner.yml"),
        "inner.yml": "type: pipeline\njobs: {a: {type: command, command: run, environment: azureml:e@latest}}\n"
        "inputs: {rate: {type: number}, rows: {type: uri_file}}\n"
        "$schema: https://azuremlschemas.azureedge.net/latest/pipelineComponent.schema.json\n",
    },
    "no trial file": sweep(trial="«AZD121»./trail.yml"),
    "a searched input misspelt": sweep("«AZD180»ratte: {type: randint, upper: 2}", inputs="rate: 0.5"),
    "searched and given": sweep(inputs="«AZD184»rate: 0.5"),
    "a required input neither given nor searched": {
        name: text.replace("  tune:", "  «AZD131»tune:")
        for name, text in sweep("depth: {type: randint, upper: 4}").items()
    },
    "an unknown kind of distribution": sweep("rate: {type: «AZD113»unifrom, min_value: 0, max_value: 1}"),
    "an unknown key of a distribution": sweep("rate: {type: uniform, min_value: 0, max_value: 1, «AZD110»q: 1}"),
    "a distribution without a bound": sweep("rate: «AZD112»{type: uniform, min_value: 0}"),
    "a bound that is text": sweep("rate: {type: uniform, min_value: «AZD111»low, max_value: 1}"),
    "bounds the wrong way round": sweep("rate: {type: uniform, min_value: «AZD181»0.9, max_value: 0.1}"),
    "a step of 0": sweep("rate: {type: quniform, min_value: 0, max_value: 1, q: «AZD181»0}"),
    "a width of 0": sweep("rate: {type: normal, mu: 0, sigma: «AZD181»0}"),
    "no integer below": sweep(RATE + "\ndepth: {type: randint, upper: «AZD181»0}"),
    "a choice of nothing": sweep("rate: {type: choice, values: «AZD181»[]}"),
    "a choice of booleans": sweep(RATE + "\nword: {type: choice, values: [«AZD111»true]}"),
    "a choice that is not a list": sweep("rate: {type: choice, values: «AZD111»0.5}"),
    "exponents that look like values": sweep(
        "rate: {type: loguniform, min_value: «AZD183 warning»«AZD134»0.001, max_value: «AZD134»0.1}"
    ),
    "exponents beyond numbers": sweep("rate: {type: loguniform, min_value: 0, max_value: «AZD181»1000}"),
    "a mean beyond numbers": sweep("rate: {type: lognormal, mu: «AZD181»1000, sigma: 1}"),
    "a value that the trial does not allow": sweep(RATE + "\nkernel: {type: choice, values: [rbf, «AZD133»poly]}"),
    "a value of the wrong type": sweep("rate: {type: choice, values: [0.5, «AZD132»fast]}"),
    "a bound beyond the trial's": sweep("rate: {type: uniform, min_value: 0.1, max_value: «AZD134»2}"),
    "numbers between for an integer": sweep(RATE + "\ndepth: {type: «AZD132»uniform, min_value: 1, max_value: 4}"),
    "half numbers for an integer": sweep(
        RATE + "\ndepth: {type: «AZD132»quniform, min_value: 1, max_value: 4, q: 0.5}"
    ),
    "a path to search": {
        name: text.replace("      rows: {type: uri_file, path: rows.jsonl}\n", "      depth: 4\n")
        for name, text in sweep(RATE + "\nrows: {type: choice, values: [«AZD132»a.jsonl]}").items()
    },
    "a value that would break out": sweep(RATE + "\nword: {type: choice, values: [a, «AZD156»'\"; rm -rf x']}"),
    "a secret to choose": sweep("«AZD180»api_key: {type: choice, values: [«AZD170»abcdef123456]}", inputs="rate: 0.5"),
    "a grid of what goes on for ever": sweep(
        "rate: {type: «AZD182»uniform, min_value: 0, max_value: 1}", sampling="grid"
    ),
    "bayesian of exponents": sweep(
        "rate: {type: «AZD182»loguniform, min_value: -3, max_value: -1}", sampling="bayesian"
    ),
    "bayesian with early termination": sweep(
        sampling="bayesian", more="    «AZD185»early_termination: {type: median_stopping}\n"
    ),
    "an unknown sampling": sweep(sampling="«AZD113»bayes"),
    "an unknown rule": sweep(sampling="{type: random, rule: «AZD113»sobl}"),
    "a seed for a grid": sweep("rate: {type: choice, values: [0.5]}", sampling="{type: grid, «AZD110»seed: 3}"),
    "a base of 1": sweep(sampling="{type: random, logbase: «AZD181»1}"),
    "an unknown goal": sweep(objective="{goal: «AZD113»minimise, primary_metric: loss}"),
    "no goal": sweep(objective="«AZD112»{primary_metric: loss}"),
    "no primary metric": sweep(objective="«AZD112»{goal: minimize}"),
    "no limit": sweep(limits="«AZD112»{timeout: 100}"),
    "an unknown limit": sweep(limits="{max_total_trials: 3, «AZD110»max_trials: 3}"),
    "more at a time than in all": sweep(limits="{max_total_trials: 3, max_concurrent_trials: «AZD186»4}"),
    "a trial longer than the sweep": sweep(limits="{max_total_trials: 3, timeout: 60, trial_timeout: «AZD186»90}"),
    "no trials": sweep(limits="{max_total_trials: «AZD134»0}"),
    "a limit bound to nothing": sweep(limits="{max_total_trials: '«AZD140»${{parent.inputs.m}}'}"),
    "bandit without slack": sweep(more="    early_termination: «AZD185»{type: bandit}\n"),
    "bandit with two": sweep(more="    early_termination: «AZD185»{type: bandit, slack_factor: 1, slack_amount: 1}\n"),
    "an unknown policy": sweep(more="    early_termination: {type: «AZD113»bandid}\n"),
    "a key that azure-ai-ml does not know": sweep(
        more="    early_termination: {type: truncation_selection, truncation_percentage: 20, "
        "«AZD110»exclude_finished_jobs: true}\n"
    ),
    "all of them truncated": sweep(
        more="    early_termination: {type: truncation_selection, truncation_percentage: «AZD185»100}\n"
    ),
    "a hyperparameter that is not searched": sweep(inputs="word: «AZD140»${{search_space.speed}}"),
    "a hyperparameter outside a sweep": {
        "pipeline.yml": "type: pipeline\njobs:\n  a:\n    type: command\n    command: run ${{inputs.x}}\n"
        "    environment: azureml:e@latest\n    inputs: {x: «AZD140»'${{search_space.x}}'}\n"
    },
    "a misspelt key of a sweep": sweep(more="    «AZD110»early_terminaton: {type: median_stopping}\n"),
    "a misspelt hyperparameter in a sweep job": job(
        "  command: train ${{inputs.rows}} --rate ${{search_space.rate}}",
        "  command: train ${{inputs.rows}} --rate «AZD150»${{search_space.rat}}",
    ),
    "a sweep job without an environment": job("trial:\n  command", "trial:\n  «AZD112»command"),
    "a misspelt key of a sweep job": job("compute:", "«AZD110»computer:"),
    "a sweep job as a component": {
        "pipeline.yml": "type: pipeline\njobs: {a: {type: command, component: ./job.yml}}\n",
        "job.yml": "«AZD114»" + JOB,
        "rows.jsonl": "{}\n",
    },
}
BAD["a sweep job without an environment"]["job.yml"] = BAD["a sweep job without an environment"]["job.yml"].replace(
    "  environment: azureml:env@latest\n", ""
)
SWEEPS = {**GOOD, **BAD, "a file for a folder, written at the step": FILE_FOR_A_FOLDER}
