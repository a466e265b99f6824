"""What people write in Python: :class:`DistillationJob`, and :class:`MLClient`, which runs it.

from azdistill import DistillationJob, MLClient

ml_client = MLClient.from_config()          # or MLClient.local("./project"): the same program, on this machine
job = ml_client.jobs.create_or_update(DistillationJob(teacher_model=..., student_model=..., ...))
ml_client.models.evaluate(model_name="phi-4-mini-distilled", test_data="./test.jsonl")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azdistill.client.client import MLClient
    from azdistill.client.job import DistillationJob

__all__ = ["DistillationJob", "MLClient"]


def __getattr__(name: str) -> Any:
    # Imported when used: the command line takes small things from here.
    if name not in __all__:
        raise AttributeError(f"module 'azdistill.client' has no attribute '{name}'")
    home = "client" if name == "MLClient" else "job"
    return getattr(importlib.import_module(f"azdistill.client.{home}"), name)
