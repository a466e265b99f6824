"""Steps whose command is not started as it stands: a script of ours, laid beside the step's code, starts it.

The scripts need Python and nothing else, in a process as in a container.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from azdistill.local.inside import launch
from azdistill.local.plan import PlannedStep

#: The folder in the snapshot that the scripts are laid in.
FOLDER = ".azdistill"
_PYTHON = 'exec "$(command -v python || command -v python3)" -I -S'


def lay_out(step: PlannedStep, snapshot: Path) -> None:
    """Lay the scripts that ``step`` needs into its snapshot."""
    for script in _scripts(step):
        (snapshot / FOLDER).mkdir(exist_ok=True)
        shutil.copyfile(script, snapshot / FOLDER / script.name)


def command(step: PlannedStep, text: str) -> str:
    """The command that starts ``text``, the step's own command with its values filled in."""
    if step.processes is None:
        return text
    return f"{_PYTHON} {FOLDER}/{Path(launch.__file__).name} {step.processes} {shlex.quote(text)}"


def _scripts(step: PlannedStep) -> list[Path]:
    return [Path(launch.__file__)] if step.processes is not None else []
