"""A capability that asks a person, keeps what it has, meets a limit of use, and goes on where the attempt before it ended."""

from __future__ import annotations

import time
from pathlib import Path

from agent_node.functions import Job, JobFailed, Output


def write(job: Job) -> Output:
    """The first attempt leaves half of it; the next one makes it whole."""
    if job.previous:
        return Output("whole.txt", job.previous[0].text() + " and whole", "text/plain")
    job.spend(tokens=700)
    job.partial("half", "draft.txt", "text/plain")
    job.wait_for_person("Which half?")
    gate = Path(job.params["gate"])
    while not gate.exists():
        time.sleep(0.02)
    job.progress("the left one", 0.5)
    raise JobFailed("E_LIMITED", "no more tokens this minute", retry=True, retry_s=0.2)
