"""A capability for tests that kill things in the middle: says that it began, then waits for a gate, then does its work."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agent_node.functions import Job, Output


def offered(slots: int) -> str:
    """The configuration of a node that offers `shout` and nothing else."""
    return f"""
[agent]
documents = false
slots = {slots}
[[agents]]
name = "gated"
adapter = "python"
target = "tests.support.gated:shout"
capability = "test.shout"
slots = {slots}
"""


def shout(job: Job) -> Output:
    """Capitals of the first input, once the file `gate` exists; `begun` collects a line for each beginning."""
    with Path(job.params["begun"]).open("a") as begun:
        begun.write(f"{job.inputs[0].name} {os.getpid()}\n")
    gate = Path(job.params["gate"])
    while not gate.exists():
        job.progress("waiting at the gate", 0.1)
        time.sleep(0.05)
    return Output("shout.txt", job.inputs[0].text().upper(), "text/plain")


def join(job: Job) -> Output:
    """All inputs, one after the other in the order of their texts."""
    return Output("joined.txt", "\n".join(sorted(given.text() for given in job.inputs)), "text/plain")
