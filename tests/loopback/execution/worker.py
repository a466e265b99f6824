"""Runs one submitted job in a process of its own: ``python -m loopback.execution.worker FOLDER``.

``FOLDER/job.json`` says what: ``run_id``, ``command`` (whether it is a job of one command), ``experiment``,
``pipeline`` (a mapping), ``variables`` (what every step sees), ``paths`` (what data inputs are called in the
workspace). Written are ``FOLDER/plan.json`` and, where no step has failed but the whole, ``FOLDER/error.json``.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any

from azdistill.aml import check, pipeline_from
from azdistill.errors import AzdistillError, SpecError
from azdistill.local import pipeline_run as runner
from azdistill.local.cache.hashes import Hashes
from azdistill.local.plan.steps import Plan
from azdistill.local.run.listener import Listener, Tracking
from azdistill.local.store.events import Event, RunState


def main(folder: Path) -> int:
    """Run the job in ``folder``; the exit code of ``azdistill run``."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    # Azure knows data by what it is called: the same path means the same data, whatever lies there now.
    runner.Hashes = lambda path: ByName(path, job["paths"])  # type: ignore[assignment, misc]
    try:
        pipeline = pipeline_from(job["pipeline"], folder, "job.yml")
        problems = [problem for problem in check(pipeline) if problem.severity == "error"]
        if problems:
            raise SpecError(problems)
        options = runner.Options(experiment=job["experiment"], run_id=job["run_id"], jobs=2)
        finished = runner.run_pipeline(pipeline, options, [PlanWriter(folder)], OnAzure(job))
        error = finished.error
    except AzdistillError as failure:
        error = failure
    if error is None:
        return 0
    (folder / "error.json").write_text(json.dumps({"code": error.code, "message": str(error)}), encoding="utf-8")
    return error.exit_code


def name_of(job: str, step: str) -> str:
    """The name of the child job that runs ``step`` of the pipeline ``job``."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{job}/{step}"))


def variables(job: dict[str, Any], step: str) -> dict[str, str]:
    """What Azure tells the command of a step, in place of what the local runner does."""
    run = job["run_id"] if job["command"] else name_of(job["run_id"], step)
    # Empty: a step that looks for the local runner's metrics file is to find none.
    told = {**job["variables"], "AZUREML_RUN_ID": run, "MLFLOW_RUN_ID": run, "AZDISTILL_METRICS_FILE": ""}
    if re.search(r"\.trial_\d+$", step):
        # A trial is no job of its own here: its sweep reads what it logs.
        return {name: value for name, value in told.items() if name not in ("MLFLOW_RUN_ID", "AZDISTILL_METRICS_FILE")}
    return told


class OnAzure(Tracking):
    """The tracking of a workspace, which the steps of a job write to themselves."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._job = job

    def variables(self, step: str, uses_mlflow: bool) -> dict[str, str]:
        return variables(self._job, step)


class PlanWriter(Listener):
    """Writes down which step makes what, before the first of them starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def hear(self, event: Event, run: RunState) -> None:
        if event.kind in ("run_started", "run_resumed"):
            self._write(event.fields["plan"])

    def _write(self, plan: Plan) -> None:
        steps = {
            name: {key: {"kind": made.kind, "standing": bool(made.standing)} for key, made in step.outputs.items()}
            for name, step in plan.steps.items()
        }
        outputs = {name: [made.step, made.output] for name, made in plan.outputs.items()}
        beside = self._folder / "plan.part"
        beside.write_text(json.dumps({"steps": steps, "outputs": outputs}), encoding="utf-8")
        beside.rename(self._folder / "plan.json")


class ByName(Hashes):
    """Hashes in which stored data counts by its name."""

    def __init__(self, path: Path, names: dict[str, str]) -> None:
        super().__init__(path)
        self._names = names

    def file(self, path: Path) -> str:
        return self._names.get(str(path)) or super().file(path)

    def tree(self, folder: Path) -> str:
        return self._names.get(str(folder)) or super().tree(folder)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
