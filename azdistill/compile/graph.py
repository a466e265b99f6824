"""The steps of a distillation and what flows between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azdistill import assets
from azdistill.compile.compute import default_compute, processes_of, resources_of
from azdistill.compile.gold import has_gold
from azdistill.compile.inputs import inputs_of
from azdistill.compile.naming import short_name
from azdistill.compile.teachers import in_job, nodes_of, placed
from azdistill.recipe.models import Latest, Recipe
from azdistill.recipe.read import Reading

SCHEMA = "https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json"
#: Where rows are kept that data assets point at: each under the hash of what it holds.
ASSETS = "azureml://datastores/workspaceblobstore/paths/azdistill/assets"
#: Where the teacher's answers are kept between runs, so that none is paid for twice.
ANSWERS = "azureml://datastores/workspaceblobstore/paths/azdistill/answers"
HOUR = 3600
#: Data that may be looked up when the run starts, by a step of its own.
LOOKED_UP = ("training_data", "validation_data", "test_data")


@dataclass(frozen=True)
class Step:
    """One node. Inputs of its component are fed by the pipeline's inputs of the same name, or as ``names`` says where
    they differ (``mine=theirs``); those in ``unfed`` keep the component's default.
    """

    component: str
    hours: int
    names: str = ""
    unfed: str = ""
    role: str = ""
    gpu: bool = False
    kind: str = "command"


_ENGINE_NAMES = "timeout=teacher_timeout revision=teacher_revision"
#: Every step there can be. Hours are wall-clock limits, generous: a step that hangs must not bill for weeks.
STEPS = {
    **{
        f"resolve_{name}": Step(
            "resolve_data", hours=2, names=f"reference={name}_reference folder={name}_folder offset={name}_offset"
        )
        for name in LOOKED_UP
    },
    "prepare": Step("prepare_data", hours=2, names="seed=split_seed"),
    "teacher_shards": Step("shard_rows", hours=2),
    "teacher_parallel": Step(
        "teacher_parallel", hours=48, names=_ENGINE_NAMES, unfed="dtype", role="teacher", gpu=True, kind="parallel"
    ),
    "teacher": Step("teacher_inference", hours=48, names="timeout=teacher_timeout", role="teacher"),
    "teacher_test": Step("teacher_inference", hours=12, names="timeout=teacher_timeout", role="teacher"),
    "curate": Step("curate", hours=2),
    "teacher_logits": Step("teacher_logits", hours=48, unfed="batch_size", role="teacher_logits", gpu=True),
    "finetune": Step("finetune_student", hours=48, role="student", gpu=True),
    "finetune_gold": Step(
        "finetune_student",
        hours=48,
        unfed="method distillation_temperature distillation_alpha",
        role="student",
        gpu=True,
    ),
    "evaluate": Step(
        "evaluate",
        hours=24,
        names="baseline_weights=student_weights baseline_id=student_id batch_size=evaluation_batch_size "
        "dtype=evaluation_dtype",
        role="evaluate",
        gpu=True,
    ),
    "compare": Step("compare", hours=1),
    "register": Step("register_model", hours=2),
}

#: The steps that a teacher without an endpoint has in place of those above.
IN_JOB = {
    "teacher": Step("teacher_in_job", hours=48, names=_ENGINE_NAMES, unfed="dtype", role="teacher", gpu=True),
    "teacher_test": Step("teacher_in_job", hours=12, names=_ENGINE_NAMES, unfed="dtype", role="teacher", gpu=True),
}
#: What ``teacher`` is where several machines answer: it puts together what they wrote.
GATHER = Step("gather_rows", hours=2)
GATHERED = {
    "results": "teacher_parallel.results",
    "shards": "teacher_shards.shards",
    "index": "teacher_shards.index",
}
#: Shards for each machine: enough that none waits long for the last.
SHARDS = 8

#: What flows: step -> input -> the step and output it comes from. A line from a step that is absent falls away.
FLOWS: dict[str, dict[str, str]] = {
    **{f"resolve_{name}": {} for name in LOOKED_UP},
    "prepare": {name: f"resolve_{name}.data" for name in LOOKED_UP},
    "teacher_shards": {"rows": "prepare.train", "validation_rows": "prepare.validation"},
    "teacher_parallel": {"shards": "teacher_shards.shards"},
    "teacher": {"rows": "prepare.train", "validation_rows": "prepare.validation"},
    "teacher_test": {"rows": "prepare.test"},
    "curate": {"rows": "teacher.train", "validation_rows": "teacher.validation"},
    "teacher_logits": {"rows": "curate.train", "validation_rows": "curate.validation"},
    "finetune": {"rows": "curate.train", "validation_rows": "curate.validation", "logits": "teacher_logits.logits"},
    "finetune_gold": {"rows": "curate.train", "validation_rows": "curate.validation"},
    "evaluate": {
        "test_rows": "prepare.test",
        "teacher_rows": "teacher_test.train",
        "distilled": "finetune.model",
        "gold_sft": "finetune_gold.model",
    },
    "compare": {"results": "evaluate.results", "curation": "curate.summary", "generation": "teacher.summary"},
    # The report, so that a model that fails compare's gate is not registered.
    "register": {
        "model": "finetune.model",
        "report": "compare.report",
        "teacher_rows": "teacher.train",
        "curated": "curate.train",
    },
}
#: Inputs of a step that are the same in every recipe.
FIXED = {"finetune_gold": {"method": "sft", "target": "reference"}}
OUTPUTS = {
    "report": ("compare", "report", "uri_folder"),
    "model": ("finetune", "model", "custom_model"),
    "curated": ("curate", "train", "uri_file"),
}


def steps_of(reading: Reading) -> list[str]:
    """The names of the steps that this recipe needs, in order."""
    recipe = reading.sound
    needed = {
        "teacher_shards": nodes_of(recipe) > 1,
        "teacher_parallel": nodes_of(recipe) > 1,
        "teacher_test": not recipe.teacher.weights,
        "teacher_logits": recipe.method == "logits",
        "finetune_gold": has_gold(reading),
        **{f"resolve_{name}": isinstance(getattr(recipe.data, name), Latest) for name in LOOKED_UP},
    }
    return [name for name in STEPS if needed.get(name, True)]


def step_of(name: str, reading: Reading) -> Step:
    """The step of that name as this recipe needs it."""
    if name == "teacher" and nodes_of(reading.sound) > 1:
        return GATHER
    return IN_JOB[name] if name in IN_JOB and in_job(reading.sound) else STEPS[name]


def pipeline_of(reading: Reading) -> dict[str, Any]:
    """The recipe as an Azure ML pipeline job. Values that the recipe leaves out are left to the components."""
    recipe = reading.sound
    inputs = inputs_of(reading)
    names = steps_of(reading)
    models = f"{short_name(recipe.teacher.model)} to {short_name(recipe.student.model)}"
    about = {
        "display_name": recipe.name or f"{recipe.task}: {models}",
        "description": recipe.description,
        "experiment_name": recipe.experiment_name or f"distill-{recipe.task}",
        "tags": recipe.tags or None,
    }
    return {
        "$schema": SCHEMA,
        "type": "pipeline",
        **{key: value for key, value in about.items() if value},
        "settings": {"default_compute": default_compute(recipe.compute)},
        "inputs": inputs,
        "outputs": {name: {"type": kind} for name, (_, _, kind) in OUTPUTS.items()},
        "jobs": {name: _node(name, inputs, names, reading) for name in names},
    }


def _node(name: str, inputs: dict[str, Any], names: list[str], reading: Reading) -> dict[str, Any]:
    step, recipe = step_of(name, reading), reading.sound
    if name == "evaluate" and not recipe.teacher.weights:
        # A teacher that a step of its own has asked is measured by its answers.
        inputs = {key: value for key, value in inputs.items() if key not in ("teacher_weights", "teacher_id")}
    instance = placed(reading) if step.role == "teacher" else None
    fixed = {"shards": SHARDS * nodes_of(recipe)} if name == "teacher_shards" else FIXED.get(name, {})
    node: dict[str, Any] = {
        "type": step.kind,
        "component": str(assets.component(step.component)),
        "inputs": {**_flows(GATHERED if step is GATHER else FLOWS[name], names), **_parameters(step, inputs), **fixed},
    }
    outputs = _outputs(name, step)
    place = resources_of(recipe.compute, step.role, step.gpu, *([instance.instance_type] if instance else []))
    return {
        **node,
        **({"outputs": outputs} if outputs else {}),
        **_spread(place, step, recipe),
        # Of a parallel step Azure ML limits the mini-batches' time only.
        **({"limits": {"timeout": recipe.limits.timeout or step.hours * HOUR}} if step.kind == "command" else {}),
    }


def _spread(place: dict[str, Any], step: Step, recipe: Recipe) -> dict[str, Any]:
    """``place`` with the machines and processes that a step has."""
    if step.kind == "parallel":
        # A parallel step knows no queue of its own.
        place = {key: value for key, value in place.items() if key != "queue_settings"}
        return {**place, "resources": {**place.get("resources", {}), "instance_count": nodes_of(recipe)}}
    if step.role != "student":
        return place
    nodes, processes = recipe.compute.student_nodes or 1, processes_of(recipe.compute)
    if nodes * processes == 1:
        return place
    resources = {**place.get("resources", {}), **({"instance_count": nodes} if nodes > 1 else {})}
    distribution = {"type": "pytorch", "process_count_per_instance": processes}
    return {**place, **({"resources": resources} if resources else {}), "distribution": distribution}


def _flows(sources: Mapping[str, str], names: list[str]) -> dict[str, str]:
    flows = {key: origin.partition(".") for key, origin in sources.items()}
    return {
        key: f"${{{{parent.jobs.{step}.outputs.{output}}}}}"
        for key, (step, _, output) in flows.items()
        if step in names
    }


def _parameters(step: Step, inputs: dict[str, Any]) -> dict[str, str]:
    renamed = dict(pair.split("=") for pair in step.names.split())
    sources = {
        mine: renamed.get(mine, mine) for mine in assets.inputs_of(step.component) if mine not in step.unfed.split()
    }
    return {mine: f"${{{{parent.inputs.{theirs}}}}}" for mine, theirs in sources.items() if theirs in inputs}


def _outputs(name: str, step: Step) -> dict[str, Any]:
    outputs: dict[str, Any] = {
        output: f"${{{{parent.outputs.{key}}}}}" for key, (owner, output, _) in OUTPUTS.items() if owner == name
    }
    if step.role == "teacher":
        outputs["answers"] = {"type": "uri_folder", "path": ANSWERS, "mode": "rw_mount"}
    if step.component == "register_model":
        outputs["assets"] = {"type": "uri_folder", "path": ASSETS, "mode": "rw_mount"}
    return outputs
