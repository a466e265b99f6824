"""Keys and words that Azure ML refuses or drops where they stand; marks as in ``spec_cases``."""

from __future__ import annotations

COMPONENT = """\
name: c
type: command
environment: azureml:e@latest
inputs: {i: {type: integer, default: 1}}
outputs: {o: {type: uri_folder}}
command: run ${{inputs.i}} ${{outputs.o}}
"""
INNER = "type: pipeline\njobs: {a: {type: command, component: ./c.yml}}\n"
SWEEP = (
    "type: sweep, trial: ./c.yml, search_space: {i: {type: choice, values: [1, 2]}},"
    " objective: {goal: minimize, primary_metric: loss}, limits: {max_total_trials: 2}"
)
INLINE = "type: command, command: run, environment: azureml:e@latest"
INLINE_OUT = "type: command, command: 'run ${{outputs.x}}', environment: azureml:e@latest"
PARALLEL_KEYS = 'input_data: "${{inputs.d}}", inputs: {d: {type: uri_folder, path: .}}'
TASK = "task: {type: run_function, code: ., entry_script: s.py, environment: azureml:e@latest}"
INLINE_PARALLEL = f"type: parallel, {PARALLEL_KEYS}, {TASK}"
PARALLEL = f"name: p\ntype: parallel\ninputs: {{d: {{type: uri_folder}}}}\ninput_data: ${{{{inputs.d}}}}\n{TASK}\n"


def _steps(**steps: str) -> dict[str, str]:
    """A pipeline of steps, each a mapping without its braces."""
    jobs = "".join(f"  {name}: {{{text}}}\n" for name, text in steps.items())
    return {
        "pipeline.yml": f"type: pipeline\njobs:\n{jobs}",
        "c.yml": COMPONENT,
        "inner.yml": INNER,
        "p.yml": PARALLEL,
        "s.py": "def init(): ...\ndef run(batch): ...\n",
    }


def _hooks(settings: str, **steps: str) -> dict[str, str]:
    """A pipeline with steps ``a`` and ``b`` that are bound to nothing."""
    own = _steps(a=f"{INLINE_OUT.replace('x', 'y')}, outputs: {{y: {{type: uri_file}}}}", b=INLINE, **steps)
    return own | {"pipeline.yml": own["pipeline.yml"].replace("jobs:", f"settings: {{{settings}}}\njobs:")}


def _given(mode: str, of: str = "uri_folder") -> dict[str, str]:
    return _steps(a=f"{INLINE}, inputs: {{x: {{type: {of}, path: ., mode: {mode}}}}}")


def _job(more: str) -> dict[str, str]:
    head = "$schema: https://azuremlschemas.azureedge.net/latest/commandJob.schema.json\n"
    return {"pipeline.yml": f"{head}type: command\ncommand: run\nenvironment: azureml:e@latest\n{more}\n"}


RUN = "type: command, component: ./c.yml"
NESTED = "type: pipeline, component: ./inner.yml"
FED = "type: parallel, component: ./p.yml, inputs: {d: {type: uri_folder, path: .}}"

CASES: dict[str, dict[str, str]] = {
    "keys of resources": _steps(
        a=f"{RUN}, resources: {{«AZD110»instance_cout: 3}}",
        b=f"{INLINE}, resources: {{«AZD110»anything: 3}}",
        c=f"{SWEEP}, resources: {{«AZD110»instance_cunt: 3}}",
        d=f"{INLINE_PARALLEL}, resources: {{«AZD110»instnce_count: 3}}",
        e=f"{RUN}, resources: {{instance_count: 2, instance_type: x, locations: [a], max_instance_count: 3,"
        " shm_size: 2g, docker_args: --x, properties: {a: {b: 1}}}",
    ),
    "words of resources": _steps(
        a=f"{RUN}, resources: {{shm_size: «AZD111»2, instance_type: x}}",
        b=f"{INLINE}, resources: {{shm_size: 2g, instance_type: «AZD111»[a, b]}}",
    ),
    "what is left empty": _steps(
        a=f"{INLINE}, compute: «AZD111», code: «AZD111», limits: «AZD111», inputs: «AZD111», display_name: «AZD111»",
        b=f"{RUN}, code: , display_name: , description: ",
    ),
    "what a command job leaves empty": _job("compute:«AZD111»\nlimits:«AZD111»"),
    "keys of resources of a command job": _job("resources: {«AZD110»instance_cont: 3}"),
    "keys of resources of a component are dropped": {
        "component.yml": COMPONENT + "resources: {«AZD110»instance_cout: 2, «AZD110 warning»flavour: 1}\n"
    },
    "a way to hand over data that is none": _given("«AZD113»mountt"),
    "a way to hand over data that outputs have": _given("«AZD113»rw_mount"),
    "what only tables are": _given("«AZD113»eval_mount"),
    "tables are evaluated": _given("eval_mount", "mltable"),
    "data in any case": _given("RO_MOUNT", "Uri_Folder"),
    "a mode of a binding": {
        "pipeline.yml": "type: pipeline\ninputs: {f: {type: uri_folder, path: ., mode: «AZD113»ro_mnt}}\njobs:\n"
        f"  a: {{{INLINE}, inputs: {{x: {{path: '${{{{parent.inputs.f}}}}', mode: «AZD113»ro_mnt}}}}}}\n"
    },
    "a mode that outputs do not have": {
        "pipeline.yml": "type: pipeline\noutputs: {f: {type: uri_folder, mode: «AZD113»ro_mount}}\njobs:\n"
        f"  a: {{{INLINE}, outputs: {{«AZD153 warning»x: {{mode: «AZD113»download}},"
        " «AZD153 warning»y: {path: '${{parent.outputs.f}}', mode: «AZD113»ro_mount}}}\n"
    },
    "a description of a step's output": _steps(
        a=f"{RUN}, outputs: {{o: {{type: uri_folder, «AZD110»description: x}}}}"
    ),
    "a mini-batch size that is no text": _steps(a=f"{INLINE_PARALLEL}, mini_batch_size: «AZD111»2"),
    "an unknown logging level": _steps(
        a=f"{INLINE_PARALLEL}, logging_level: «AZD113»INFOO",
        b=f"{FED}, logging_level: «AZD113»info",
        c=f"{FED}, logging_level: WARNING",
    ),
    "settings of the queue": _steps(
        a=f"{RUN}, queue_settings: {{job_tier: «AZD113»fast, priority: «AZD113»hi}}",
        b=f"{INLINE}, queue_settings: {{«AZD110»tier: spot}}",
        c=f"{SWEEP}, queue_settings: {{job_tier: Spot, priority: High}}",
    ),
    "identities": _steps(
        a=f"{RUN}, identity: {{type: «AZD113»usr}}",
        b=f"{INLINE}, identity: {{type: user_identity, «AZD110»client_id: x}}",
        c=f"{INLINE}, identity: «AZD112»{{client_id: x}}",
        d=f"{RUN}, identity: {{type: AMLToken}}",
        e=f"{RUN}, identity: {{type: managed, client_id: x, «AZD110»msi_resource_id: y}}",
        f=f"{INLINE}, identity: {{type: «AZD113»amltoken}}",
        g=f"{INLINE}, identity: {{type: ManagedIdentity}}",
        h=f"{INLINE_PARALLEL}, identity: {{type: MANAGED, msi_resource_id: y}}",
    ),
    "the identity of a pipeline": {
        "pipeline.yml": f"type: pipeline\nidentity: {{type: «AZD113»usr}}\njobs: {{a: {{{INLINE}}}}}\n"
    },
    "types of a component are written small": {
        "component.yml": COMPONENT.replace("type: integer", "type: «AZD113»Integer").replace(
            "type: uri_folder", "type: «AZD113»Uri_Folder"
        )
    },
    "keys that an input's type does not have": {
        "component.yml": COMPONENT.replace(
            "i: {type: integer, default: 1}",
            "i: {type: string, «AZD110»min: 1, enum: [a]}, b: {type: boolean, «AZD110»max: 1},"
            " n: {type: number, min: 1, max: 2, «AZD110»mode: direct},"
            " d: {type: uri_file, mode: direct, «AZD110»enum: [a]}",
        )
    },
    "tags of an inline command, and properties, are text": _steps(
        a=f"{INLINE}, tags: {{a: «AZD111»1}}, properties: {{b: «AZD111»1}}",
        b=f"{RUN}, tags: {{a: 1}}, properties: {{b: «AZD111»true}}",
    ),
    "variables of a parallel step are text": _steps(a=f"{FED}, environment_variables: {{A: «AZD111»1, B: '1'}}"),
    "a step that says whether it is deterministic": _steps(
        a=f"{RUN}, «AZD110 warning»is_deterministic: false",
        b=f"{INLINE}, «AZD110 warning»is_deterministic: false",
        c=f"{INLINE_PARALLEL}, «AZD110 warning»is_deterministic: false",
        d=f"{FED}, «AZD110 warning»is_deterministic: false",
        e=f"{SWEEP}, «AZD110 warning»is_deterministic: false",
        f=f"{NESTED}, «AZD110 warning»is_deterministic: false",
    ),
    "what a pipeline step does not pass on": _steps(
        a=f"{NESTED}, «AZD110 warning»environment_variables: {{A: b}}, «AZD110 warning»limits: {{timeout: 1}},"
        " «AZD110 warning»environment: azureml:e@latest, «AZD110 warning»resources: {instance_count: 2},"
        " compute: azureml:c, display_name: d, tags: {a: b}, comment: x"
    ),
    "keys that an inline parallel step does not have": _steps(
        a=f"{INLINE_PARALLEL}, «AZD110»environment: azureml:e@latest, «AZD110»distribution: {{type: pytorch}},"
        " «AZD110»queue_settings: {job_tier: spot}, «AZD110»limits: {timeout: 1}, «AZD110»comment: x",
        b=f"{FED}, «AZD110 warning»distribution: {{type: pytorch}}, «AZD110 warning»queue_settings: {{job_tier: spot}},"
        " environment: azureml:e@latest, comment: x",
    ),
    "a comment on an inline command": _steps(a=f"{INLINE}, «AZD110»comment: x"),
    "words of other places are dropped": _steps(
        a=f"{RUN}, «AZD110 warning»command: run, «AZD110 warning»settings: {{}}, «AZD110 warning»task: {{}}",
        b=f"{SWEEP}, «AZD110 warning»distribution: {{type: pytorch}}",
        c=f"{FED}, «AZD110 warning»command: run",
    ),
    "steps that run before and after all others": _hooks("on_init: a, on_finalize: b", c=INLINE),
    "a hook that names no step": _hooks("on_init: «AZD140»zz"),
    "hooks that are bound to others": _hooks(
        "on_init: «AZD193»a, on_finalize: «AZD193»c", c=f"{INLINE}, inputs: {{x: '${{{{parent.jobs.a.outputs.y}}}}'}}"
    ),
    "one step for both hooks": _hooks("on_init: a, on_finalize: «AZD193»a"),
    "nothing but hooks": _hooks("on_init: «AZD193»a, on_finalize: «AZD193»b"),
    "optional inputs that lead to required ones": {
        **_steps(a=NESTED),
        "inner.yml": "type: pipeline\ninputs: {n: {type: integer, optional: true, default: 2}, m: {type: integer}}\n"
        "jobs:\n  a: {type: command, component: ./c.yml, inputs: {i: «AZD131»'${{parent.inputs.n}}'}}\n"
        "  b: {type: command, component: ./c.yml, inputs: {i: '${{parent.inputs.m}}'}}\n",
    },
    "two steps that write one output": {
        **_steps(),
        "pipeline.yml": "type: pipeline\noutputs: {f: {type: uri_file}}\njobs:\n"
        f"  a: {{{INLINE_OUT}, outputs: {{x: '${{{{parent.outputs.f}}}}'}}}}\n"
        f"  b: {{{INLINE_OUT}, outputs: {{x: «AZD144»'${{{{parent.outputs.f}}}}'}}}}\n",
    },
    "bindings with other braces": {
        **_steps(),
        "pipeline.yml": "type: pipeline\ninputs: {k: 3}\njobs:\n"
        "  a: {component: ./c.yml, inputs: {i: «AZD155»'${parent.inputs.k}'}}\n"
        "  b: {component: ./c.yml, inputs: {i: «AZD155»'${{parent.inputs.k}'}}\n"
        "  c: {component: ./c.yml, inputs: {i: «AZD140»«AZD155»'${{ parent.inputs.kk '}}\n",
    },
    "retries of a sweep": _steps(a=f"{SWEEP}, «AZD161»retry_settings: {{timeout: 1}}"),
    "a timeout in the past": _steps(a=f"{RUN}, limits: {{timeout: «AZD134»-5}}"),
    "ways to run that only Azure has": _steps(
        a=f"{RUN}, distribution: {{type: «AZD194 warning»mpi}}",
        b=f"{INLINE_PARALLEL.replace('run_function', '«AZD194 warning»function')}",
    ),
    "a value among the outputs of a step or job": {
        **_steps(),
        "pipeline.yml": "type: pipeline\noutputs: {f: {type: «AZD113 warning»boolean}}\njobs:\n"
        f"  a: {{{INLINE_OUT}, outputs: {{x: {{type: «AZD113 warning»boolean}}}}}}\n"
        f"  b: {{{INLINE_OUT}, outputs: {{x: '${{{{parent.outputs.f}}}}'}}}}\n",
    },
}
