"""What prepares a step: its code is laid out, its places are made, and its command and variables are filled in.

:func:`prepare` is the one call. Secrets: an input ``env:NAME`` passes the caller's variable NAME, and hides its value.

Paths are spelt as a command can hold them. No path of data on Azure ML holds a space or anything else that a shell
reads, so YAML written for it seldom quotes ``${{inputs.x}}``. A project on this machine may lie anywhere: where its
path would not survive the place it stands at, the command gets one that leads over a link, in a folder of the user's
own under the system's folder for temporary files. A link is named by what it points to, so there is one for each such
folder, however often it is used.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from azdistill import redact, strict_json
from azdistill.aml import expressions
from azdistill.aml.models import PRIMITIVES
from azdistill.aml.quoting import NESTED, PLAIN, UNQUOTED, contexts, render_command
from azdistill.errors import UserError
from azdistill.local.outputs import mlflow_files
from azdistill.local.plan.order import VARIABLE as THREADS
from azdistill.local.plan.steps import Local, PlannedStep, StepValue, Text
from azdistill.local.run.attempt import Attempt
from azdistill.local.run.context import RunContext
from azdistill.local.run.environment import CONSTANT
from azdistill.local.run.interpreter import Interpreter
from azdistill.local.run.result import Result, text_of
from azdistill.local.run.run_code import LAUNCH_SCRIPTS, PARALLEL_SCRIPTS, StepCode, scripts_of
from azdistill.local.runners.base import Job
from azdistill.permissions import make_private

if TYPE_CHECKING:
    from azdistill.local.run.containers import Containers

#: What stays what it is between quotes of either kind.
_QUOTED = re.compile(r"[^'\"$`\\\x00-\x1f\ud800-\udfff]+")
_LINK_NAME = re.compile(r"[^\w.-]+", re.ASCII)
#: How long the path of a step's temporary folder may be before a link makes it short.
_SHORT = 60
#: The folder in the snapshot that the scripts are laid in.
SCRIPTS = ".azdistill"
#: The variable that the driver of a parallel step reads.
PARALLEL = "AZDISTILL_PARALLEL"
_PYTHON = 'exec "$(command -v python || command -v python3)" -I -S'


@dataclass(frozen=True, slots=True)
class PreparedStep:
    """A step that can be started. ``places``: where it writes its outputs; ``logs_to_run``: it logs to MLflow by
    itself.
    """

    job: Job
    places: Mapping[str, Path]
    logs_to_run: bool


def prepare(context: RunContext, step: PlannedStep, results: Mapping[str, Result], attempt: Attempt) -> PreparedStep:
    """Make everything ready for the command of an attempt. Raises UserError for a value that does not fit in there."""
    code = context.code.of(step)
    code.lay_out(attempt.snapshot)
    attempt.make_artifact_folders()
    if scripts := scripts_of(step):
        context.code.scripts.lay_out(attempt.snapshot / SCRIPTS, scripts)
    places = attempt.make_places(step)
    _log_passed_values(step, attempt.metrics)
    texts = {name: text_of(bound, results) for name, bound in step.inputs.items()}
    data = {name: as_word(text) for name, text in texts.items() if not isinstance(step.inputs[name], Text)}
    variables = _variables(context, step, attempt, code, data, places)
    command = _command(step, _render(step, texts, places))
    job = Job(attempt.attempt_id, command, attempt.snapshot, variables, step.timeout)
    if context.containers:
        job = _contained(context.containers, step, attempt, job, texts, data)
    return PreparedStep(job, places, "MLFLOW_RUN_ID" in job.environment)


def _variables(
    context: RunContext,
    step: PlannedStep,
    attempt: Attempt,
    code: StepCode,
    data: Mapping[str, str],
    places: Mapping[str, Path],
) -> dict[str, str]:
    """The environment of a step; of two that name a variable the later one counts."""
    output_paths = {name: as_word(str(path)) for name, path in places.items()}
    hidden = secret_values(step.secrets)
    owner = step.trial_of or step.name
    shims = context.log.folder / "bin" / step.name
    return {
        **({THREADS: str(context.threads[owner])} if context.threads.get(owner) else {}),
        **context.inherited,
        **CONSTANT,
        **({} if context.containers else _own_variables(attempt, context.interpreters[owner], shims)),
        # What Azure ML sets for every job.
        "AZUREML_RUN_ID": attempt.attempt_id,
        "AZUREML_ROOT_RUN_ID": context.log.run_id,
        "AZUREML_EXPERIMENT_NAME": context.plan.experiment,
        **{f"AZURE_ML_INPUT_{name}": path for name, path in data.items()},
        **{f"AZURE_ML_OUTPUT_{name}": path for name, path in output_paths.items()},
        "AZDISTILL_METRICS_FILE": str(attempt.metrics),
        **attempt.previous(),
        **_mlflow_variables(context, step, attempt, code),
        **context.variables,
        **_script_variables(step, data, output_paths),
        **hidden,
        **step.environment_variables,
    }


def _own_variables(attempt: Attempt, interpreter: Interpreter, shims: Path) -> dict[str, str]:
    """What a step that is a process of this machine has for itself."""
    home, temporary = attempt.make_own_places()
    # The name of a socket, which programs put there, has at most 108 bytes, and 104 on macOS.
    is_fit = len(str(temporary)) <= _SHORT and PLAIN.fullmatch(str(temporary))
    short = attempt.own_places if is_fit else Path(_link(str(attempt.own_places.parent)), attempt.own_places.name)
    packages = {"PYTHONUSERBASE": interpreter.user_base} if interpreter.user_base else {}
    places = {"HOME": str(short / home.name), "TMPDIR": str(short / temporary.name)}
    return {**places, **packages, "PATH": _path(interpreter, shims)}


def _path(interpreter: Interpreter, shims: Path) -> str:
    """PATH for a step: ``python`` is its interpreter. ``shims`` holds it where its own folder has no such name."""
    folder = interpreter.executable.parent
    inherited = os.environ.get("PATH", os.defpath)
    if os.access(folder / "python", os.X_OK):
        return f"{folder}{os.pathsep}{inherited}"
    shims.mkdir(parents=True, exist_ok=True)
    # A link would lose the virtual environment that the interpreter finds beside its own name.
    (shims / "python").write_text(f'#!/bin/sh\nexec "{interpreter.executable}" "$@"\n', encoding="utf-8")
    (shims / "python").chmod(0o755)
    return os.pathsep.join((str(shims), str(folder), inherited))


def _mlflow_variables(context: RunContext, step: PlannedStep, attempt: Attempt, code: StepCode) -> dict[str, str]:
    """The MLflow variables of a step; without a network it logs to files, which are read when it has ended.

    So does one whose outputs are values, which it may only log, a trial, whose primary metric is read while it
    runs, and one whose code does not name MLflow: a library may log all the same, and would to a run of its own.
    """
    own_files = any(output.kind in PRIMITIVES for output in step.outputs.values()) or step.trial_of is not None
    apart = context.containers is not None and context.containers.network(step) != "host"
    files = apart or own_files
    # Code that knows the metrics file does not log to MLflow itself.
    uses_mlflow = "mlflow" in step.component.command or code.mentions(b"mlflow", b"AZDISTILL_METRICS_FILE")
    variables = context.tracking.variables(step.name, uses_mlflow and not files) if context.tracking else {}
    if "MLFLOW_RUN_ID" in variables and not files:
        return variables
    if not (variables or own_files):
        return {}
    attempt.mlflow.mkdir()
    without_run = {name: value for name, value in variables.items() if name != "MLFLOW_RUN_ID"}
    # A store of files whose folder is there has no experiment until one is named.
    experiment = {"MLFLOW_EXPERIMENT_NAME": context.plan.experiment}
    return {**without_run, **experiment, **mlflow_files.variables(attempt.mlflow)}


def _contained(
    containers: Containers,
    step: PlannedStep,
    attempt: Attempt,
    job: Job,
    texts: Mapping[str, str],
    data: Mapping[str, str],
) -> Job:
    """The job as a container can run it, which sees its data, its outputs and no other places of this machine."""
    attempt.metrics.touch()
    read = [*data.values(), *(texts[name] for name in data), *attempt.previous().values()]
    write = [attempt.outputs, *step.standing.values(), *([attempt.mlflow] if attempt.mlflow.is_dir() else [])]
    spelt = [as_word(str(path)) for path in write]
    user_inputs = [name for name, bound in step.inputs.items() if isinstance(bound, Local)]
    linked = [place for name in user_inputs for place in (data[name], texts[name])]
    return containers.keep(job, step, read, [*write, *spelt, attempt.metrics], linked)


def hide_secrets(variables: Iterable[str]) -> None:
    """Register the values of those ``variables`` that are set, so that no text shows them."""
    values = [os.environ.get(name, "") for name in variables]
    # A line of a few characters, such as a brace of a key file, is no secret by itself.
    lines = [line for value in values for line in value.splitlines() if len(line.strip()) >= redact.SHORTEST]
    # A shell, and many a program, strips what it is given.
    redact.register(*{form for line in (*values, *lines) for form in (line, line.strip())})


def unset_secrets(variables: Iterable[str]) -> list[str]:
    """Those of ``variables`` that have no value."""
    return [name for name in variables if not os.environ.get(name)]


def secret_values(variables: Iterable[str]) -> dict[str, str]:
    """The values of ``variables``, which no text shows from now on; a UserError names those that are not set."""
    variables = list(variables)
    if missing := unset_secrets(variables):
        raise UserError(
            f"the environment variable {', '.join(missing)} is not set",
            code="AZD330",
            hint=f"the run needs its value: export {missing[0]}=...",
        )
    # Most are hidden since the run began; a trial's hyperparameters, or the default of an input, may name others.
    hide_secrets(variables)
    return {name: os.environ[name] for name in variables}


def _log_passed_values(step: PlannedStep, metrics: Path) -> None:
    """Write down, as parameters of a step's run, the values that others gave it; of literals they are known before."""
    texts = {name: bound.text for name, bound in step.inputs.items() if isinstance(bound, StepValue)}
    records = ({"kind": "param", "name": name, "value": text} for name, text in texts.items())
    if texts:
        metrics.write_text("".join(strict_json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _render(step: PlannedStep, inputs: Mapping[str, str], paths: Mapping[str, Path]) -> str:
    """The command as Azure would hand it to the shell. Paths that it could not hold as they are become links."""
    spell = _speller(step.component.command)

    def look_up(reference: expressions.Reference) -> str | None:
        kind, name = reference.path[0], reference.name
        if kind == "inputs":
            text = inputs.get(name)
            return text if text is None or isinstance(step.inputs[name], Text) else spell(reference, text)
        if kind == "outputs" and name in paths:
            return spell(reference, str(paths[name]))
        raise UserError(f"step '{step.name}': {reference} in the command stands for nothing", code="AZD331")

    # Values that were not known before the run are held to the same rule: none may break out of its quoting.
    return render_command(step.component.command, look_up)


def _command(step: PlannedStep, text: str) -> str:
    """The command that starts ``text``, the step's own command with its values filled in."""
    if step.parallel:
        return f"{_PYTHON} {SCRIPTS}/{PARALLEL_SCRIPTS[0]} {text}"
    if step.processes is None:
        return text
    kind = (step.distribution or {})["type"]
    return f"{_PYTHON} {SCRIPTS}/{LAUNCH_SCRIPTS[0]} {step.processes} {kind} {shlex.quote(text)}"


def _script_variables(step: PlannedStep, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, str]:
    """What the scripts are told in the environment; ``inputs`` and ``outputs`` are where its data lies."""
    if step.parallel is None:
        return {}
    target = step.parallel.append_row_to
    settings = {
        **asdict(step.parallel),
        "input": inputs[step.parallel.input],
        "kind": step.component.inputs[step.parallel.input].type,
        "append_row_to": outputs[target] if target else None,
        "journal": _journal(step, target, outputs),
    }
    return {PARALLEL: strict_json.dumps(settings)}


def _journal(step: PlannedStep, target: str | None, outputs: Mapping[str, str]) -> str | None:
    """The folder where the results are kept for another attempt: the one that the outputs of this one lie in.

    None where the step has outputs of its own besides them: what the script writes there, if only in ``shutdown()``,
    has to be of every mini-batch.
    """
    outputs_of_attempt = [name for name, output in step.outputs.items() if not output.standing]
    return os.path.dirname(outputs[outputs_of_attempt[0]]) if outputs_of_attempt == [target] else None


def _speller(command: str) -> Callable[[expressions.Reference, str], str]:
    """Gives a path as ``command`` can hold it where a reference stands."""
    references = contexts(expressions.parse(command))
    bare = {reference.position for reference, where in references if where in (UNQUOTED, NESTED)}

    def spell(reference: expressions.Reference, path: str) -> str:
        fits = PLAIN if reference.position in bare else _QUOTED
        return path if fits.fullmatch(path) else as_word(path)

    return spell


def as_word(path: str) -> str:
    """``path``, or one over a link to the same place, spelt so that a shell takes it for one word."""
    head, tail = path, ""
    while not PLAIN.fullmatch(head):
        parent, _, name = head.rpartition("/")
        if not PLAIN.fullmatch(name):
            return _link(head) + tail
        # The link is as far up as can be: programs treat a folder and a link to one differently.
        head, tail = parent, f"/{name}{tail}"
    return path


def _link(target: str) -> str:
    name = _LINK_NAME.sub("_", os.path.basename(target))[-80:]
    link = _folder_of_links() / f"{hashlib.sha256(os.fsencode(target)).hexdigest()[:12]}-{name}"
    if not link.is_symlink() or os.readlink(link) != target:
        fresh = link.with_name(f".{uuid.uuid4().hex}")
        fresh.symlink_to(target)
        fresh.replace(link)
    return str(link)


@cache
def _folder_of_links() -> Path:
    base = next(place for place in (tempfile.gettempdir(), "/tmp") if PLAIN.fullmatch(place) or place == "/tmp")
    folder = Path(base, f"azdistill-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
        if status.st_mode & 0o7077:
            # The links in it name the user's projects.
            make_private(folder)
        for link in folder.iterdir():
            if link.is_symlink() and not link.exists():
                link.unlink(missing_ok=True)
        return folder
    # Somebody else made it: what lies there cannot be trusted.
    return Path(tempfile.mkdtemp(prefix="azdistill-", dir=base))
