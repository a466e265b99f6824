"""What people write in Python: :class:`DistillationJob`, and :class:`MLClient`, which runs it.

from azdistill import DistillationJob, MLClient

ml_client = MLClient.from_config()          # or MLClient.local("./project"): the same program, on this machine
job = ml_client.jobs.create_or_update(DistillationJob(teacher_model=..., student_model=..., ...))
ml_client.models.evaluate(model_name="phi-4-mini-distilled", test_data="./test.jsonl")
"""

from azdistill.client.client import MLClient
from azdistill.client.job import DistillationJob

__all__ = ["DistillationJob", "MLClient"]
