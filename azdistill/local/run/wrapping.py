"""Steps whose command is not started as it stands: a script of ours, laid beside the step's code, starts it.

The scripts need Python and nothing else, in a process as in a container.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path

from azdistill import strict_json
from azdistill.local import in_step
from azdistill.local.plan.steps import PlannedStep

#: The folder in the snapshot that the scripts are laid in.
FOLDER = ".azdistill"
#: What the driver of a parallel step is told by.
VARIABLE = "AZDISTILL_PARALLEL"
_PYTHON = 'exec "$(command -v python || command -v python3)" -I -S'
_LAUNCH = ("launch.py",)
_PARALLEL = ("parallel_driver.py", "parallel_worker.py", "parallel_table.py", "parallel_journal.py", *_LAUNCH)


def lay_out(step: PlannedStep, snapshot: Path) -> None:
    """Lay the scripts that ``step`` needs into its snapshot."""
    for name in _PARALLEL if step.parallel else _LAUNCH if step.processes is not None else ():
        (snapshot / FOLDER).mkdir(exist_ok=True)
        shutil.copyfile(Path(in_step.__file__).with_name(name), snapshot / FOLDER / name)


def command(step: PlannedStep, text: str) -> str:
    """The command that starts ``text``, the step's own command with its values filled in."""
    if step.parallel:
        return f"{_PYTHON} {FOLDER}/{_PARALLEL[0]} {text}"
    if step.processes is None:
        return text
    kind = (step.distribution or {})["type"]
    return f"{_PYTHON} {FOLDER}/{_LAUNCH[0]} {step.processes} {kind} {shlex.quote(text)}"


def variables(
    step: PlannedStep, inputs: Mapping[str, str], outputs: Mapping[str, str], standing: Collection[str]
) -> dict[str, str]:
    """What the scripts are told in the environment.

    ``inputs`` and ``outputs`` are where its data lies; ``standing`` names the inputs that no key knows the content of.
    """
    if step.parallel is None:
        return {}
    target = step.parallel.append_row_to
    told = {
        **asdict(step.parallel),
        "input": inputs[step.parallel.input],
        "kind": step.component.inputs[step.parallel.input].type,
        "append_row_to": outputs[target] if target else None,
        "standing": step.parallel.input in standing,
        "journal": _journal(step, target, outputs),
    }
    return {VARIABLE: strict_json.dumps(told)}


def _journal(step: PlannedStep, target: str | None, outputs: Mapping[str, str]) -> str | None:
    """The folder where the results are kept for another attempt: the one that the outputs of this one lie in.

    None where the step has outputs of its own besides them: what the script writes there, if only in ``shutdown()``,
    has to be of every mini-batch.
    """
    own = [name for name, output in step.outputs.items() if not output.standing]
    return os.path.dirname(outputs[own[0]]) if own == [target] else None
