"""What every adapter is to the node: the contract between the executor and one kind of agent.

An adapter turns a `Job` into an `Outcome`. Rules, tested alike for every adapter:
- `probe` says in words why this agent cannot be offered on this device; it is quick and is called once, before the agent is shown to anybody.
- `run` returns, or raises `WorkError`, or is cancelled; whichever it is, nothing of the job runs any more when it is over. Cancelling
  the task that awaits `run` is how a job is cancelled: ask first, then kill.
- `run` calls `emit(step, fraction, note)` only when the work has moved; `step` only grows. With `More` it says that the work waits (for a
  limit of use, for a person), what it has used so far, and what there is of it; `emit` raises when that is more than it may use.
- An adapter writes nowhere but in `job.dir`, and what it returns as outputs are bytes or ordinary files below it.
- `instant` is for what is over at once and needs no file: its answer spares a task. None means: use `run`.
Counterpart: `executor` fetches inputs, stores outputs and deletes `job.dir`.
"""

from __future__ import annotations

from typing import Protocol

from agent_node.job import OUTPUT_BYTES_MAX, OUTPUTS_MAX, Emit, InputPath, Job, Made, More, Outcome
from agent_node.policy import AgentSpec

__all__ = [
    "OUTPUTS_MAX",
    "OUTPUT_BYTES_MAX",
    "Adapter",
    "Emit",
    "InputPath",
    "Job",
    "Made",
    "More",
    "Outcome",
]


class Adapter(Protocol):
    """One agent of this node."""

    @property
    def spec(self) -> AgentSpec:
        """What the core knows of it: name, capabilities, slots, limits."""
        ...

    def probe(self) -> None:
        """Check that the agent can work here.

        Raises:
            AdapterError: it cannot; message and hint say why and what to do.
        """
        ...

    def instant(self, job: Job) -> Outcome | None:
        """Do the job now, in the caller's thread, if it is of the kind that is over at once; None otherwise.

        Raises:
            WorkError: it failed.
        """
        ...

    async def run(self, job: Job, emit: Emit) -> Outcome:
        """Do the job.

        Raises:
            WorkError: it failed, and nothing of it runs any more.
        """
        ...

    async def close(self) -> None:
        """End everything that this adapter keeps running (warm workers); takes a few seconds at most."""
        ...
