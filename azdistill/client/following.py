"""What a program sees on stderr while it waits for a job on Azure."""

from __future__ import annotations

from azdistill.client import verdict
from azdistill.client.progress import say
from azdistill.cloud.jobs.follow import FollowListener, Job, JobStep
from azdistill.cloud.jobs.job import ENDED


class FollowLines(FollowListener):
    """Tells how a job on Azure goes."""

    def step_changed(self, step: JobStep) -> None:
        took = f" in {step.seconds:.0f} s" if step.status in ENDED and step.seconds is not None else ""
        say(f"  {step.name}: {step.status}{' (reused)' if step.reused else ''}{took}")

    def trouble(self, text: str) -> None:
        say(f"  still waiting: {text}")

    def ended(self, job: Job) -> None:
        say(f"{job.name}: {job.status}")
        if line := verdict.of_tags(job.tags):
            say(line)
