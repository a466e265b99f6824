"""What a step gets: its code, its command with all values filled in, and inputs that must not change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from azdistill import snapshot
from azdistill.aml import expressions
from azdistill.aml.quoting import render_command
from azdistill.errors import MachineError, UserError
from azdistill.local.plan.bindings import Bound, Local, Made, Passed, Text
from azdistill.local.plan.steps import Plan, PlannedStep
from azdistill.local.run import secrets, shell_safe_paths
from azdistill.local.run.result import Result
from azdistill.local.runners.base import Ended
from azdistill.local.store.durable_files import walk_files

#: Name of an input -> relative path -> size and time.
Stamps = Mapping[str, Mapping[str, tuple[int, int]]]


def take_code(step: PlannedStep) -> snapshot.Snapshot:
    """The snapshot of a step. Raises UserError for what is missing or leaves the project."""
    code = step.component.code
    return snapshot.take(code if isinstance(code, Path) else None, step.component.additional_includes, base=step.base)


def secrets_of(step: PlannedStep) -> list[str]:
    """Names of the caller's variables that a step's inputs and variables refer to."""
    written = (bound for bound in step.inputs.values() if not isinstance(bound, Passed))
    literals = [bound.text for bound in written if isinstance(bound, Text)]
    searched = step.sweep.choices() if step.sweep else ()
    return secrets.names([*literals, *searched, *step.environment_variables.values()])


def render(step: PlannedStep, inputs: Mapping[str, str], paths: Mapping[str, Path]) -> str:
    """The command as Azure would hand it to the shell. Paths that it could not hold as they are become links."""
    spell = shell_safe_paths.speller(step.component.command)

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


def uses_mlflow(step: PlannedStep, taken: snapshot.Snapshot) -> bool:
    """Whether a step may log to MLflow itself; code that knows the metrics file does not."""
    return "mlflow" in step.component.command or taken.mentions(b"mlflow", b"AZDISTILL_METRICS_FILE")


def text_of(bound: Bound, results: Mapping[str, Result]) -> str:
    """An input as the command gets it: its value, or where its data lies."""
    if isinstance(bound, Text):
        return bound.text
    if isinstance(bound, Local):
        return str(bound.path)
    found = results[bound.step].outputs.get(bound.output)
    if found is None:
        raise MachineError(f"step '{bound.step}' has no output '{bound.output}'", code="AZD332")
    return str(found)


def stores(step: PlannedStep, plan: Plan) -> set[str]:
    """The inputs that are stores of azdistill's, so that no key says what is in them."""
    return {name for name, made in _made(step) if plan.steps[made.step].outputs[made.output].store}


def shared(step: PlannedStep, plan: Plan) -> set[str]:
    """The inputs that lie where other steps and runs may write as well."""
    return {name for name, made in _made(step) if made.output in plan.steps[made.step].in_place}


def _made(step: PlannedStep) -> list[tuple[str, Made]]:
    return [(name, bound) for name, bound in step.inputs.items() if isinstance(bound, Made)]


def stamps_of(step: PlannedStep, results: Mapping[str, Result], names: Collection[str]) -> Stamps:
    """Size and time of every file of the data inputs in ``names``; what a step writes to itself may change."""
    stamps: dict[str, dict[str, tuple[int, int]]] = {}
    for name, bound in step.inputs.items():
        if name not in names or isinstance(bound, Text):
            continue
        path = Path(text_of(bound, results))
        if path in step.standing.values():
            continue
        files = walk_files(path) if path.is_dir() else [("", path)]
        stamps[name] = {key: (file.stat().st_size, file.stat().st_mtime_ns) for key, file in files if file.exists()}
    return stamps


def changed(before: Stamps, after: Stamps, ended: Ended, shared: Collection[str] = ()) -> Result | None:
    """The failure of a step whose inputs are not what they were: its result belongs to neither content.

    To ``shared`` inputs other steps may add meanwhile.
    """
    differ = []
    for name, files in before.items():
        now = {key: stamp for key, stamp in after[name].items() if name not in shared or key in files}
        differ += [name] if now != files else []
    if not differ:
        return None
    error = f"input {', '.join(map(repr, differ))} was changed while the step ran: inputs are read-only, as on Azure"
    return Result("failed", ended.seconds, ended.returncode, error)
