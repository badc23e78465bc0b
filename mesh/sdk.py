"""What a program sees of runs: events, results and errors, and the port behind which the buying role's client side stands.

`mesh` imports no role. What knows how to ask for runs registers itself under the entry point group `zwerm.sdk`, name `runs`: a class that is called with the
connection's `Endpoint` and is a `RunsPort`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from protocol.errors import ZwermError
from protocol.messages import Budget, Event

from .endpoint import Endpoint
from .errors import MeshError

__all__ = ["NoRuns", "RunEvent", "RunFailed", "RunHandle", "RunResult", "RunsPort", "load_runs"]


@dataclass(frozen=True, slots=True)
class RunEvent:
    """Something that happened in a run (schema `zwerm.event/1`).

    A durable event has a number of its own: 1, 2, 3, ... within its run. A volatile one (`volatile`) is told while it happens and kept nowhere; its `seq` is
    that of the durable event before it.
    """

    run: str
    seq: int
    at_ms: int
    """When, in Unix milliseconds by the coordinator's clock."""
    kind: str
    subtask: str
    node: str
    node_name: str
    volatile: bool
    data: dict[str, Any]

    @classmethod
    def of(cls, run: str, event: Event) -> RunEvent:
        """From the message."""
        return cls(
            run=run,
            seq=event.seq,
            at_ms=event.at_ms,
            kind=event.kind,
            subtask=event.subtask,
            node=event.node,
            node_name=event.node_name,
            volatile=event.volatile,
            data=dict(event.data),
        )

    def document(self) -> dict[str, Any]:
        """The JSON object that `zwerm events --json` prints for it."""
        event = Event(
            seq=self.seq,
            at_ms=self.at_ms,
            kind=self.kind,
            subtask=self.subtask,
            node=self.node,
            node_name=self.node_name,
            volatile=self.volatile,
            data=self.data,
        )
        return event.document(self.run)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. `outcome`: `done`, or `partial` (delivered, but something failed on the way); others are a `RunFailed`."""

    run: str
    outcome: str
    code: str
    message: str
    hint: str
    files: list[str] = field(default_factory=list)
    """Names of what it delivers; `RunHandle.deliver` fetches them."""
    view: dict[str, Any] = field(default_factory=dict)
    """The run in full (schema `zwerm.run/1`): each subtask with its bids and attempts, and all files with their digests."""


class RunFailed(MeshError):
    """A run ended with nothing to deliver: failed, cancelled, or nobody could do it (`result.outcome`)."""

    def __init__(self, result: RunResult) -> None:
        code = result.code if result.code.startswith("E_") else "E_RUN"
        super().__init__(
            code,
            result.message or f"the run ended: {result.outcome}",
            result.hint or f"`zwerm runs show {result.run[-6:]}` has the whole story.",
        )
        self.result = result


class NoRuns(MeshError):
    """Nothing that is installed here can ask for runs."""

    def __init__(self) -> None:
        super().__init__(
            "E_NO_SDK",
            "no package with the entry point `runs` of group `zwerm.sdk` is installed",
            "Install zwerm anew, with all its packages: `pip install zwerm`.",
        )


class RunHandle(Protocol):
    """One run, as the program that began it (or found it) holds it."""

    @property
    def run(self) -> str:
        """The run's id."""
        ...

    def events(self, after: int = 0) -> AsyncIterator[RunEvent]:
        """As `Swarm.events` of this run."""
        ...

    async def result(self) -> RunResult:
        """Wait for the end, through restarts of the bus and of coordinators.

        Raises:
            RunFailed: nothing is delivered.
            WatchLost: the swarm gave no answer for a minute; the run goes on.
        """
        ...

    async def deliver(self, folder: str | Path) -> list[Path]:
        """Wait for the end, fetch what the run delivers into `folder`, and write `provenance.json` beside it; returns the files.

        Raises:
            RunFailed, WatchLost: as `result`.
            OutputError: a file cannot be written.
            DigestMismatch, NotFound: stored bytes are damaged or gone.
        """
        ...

    async def cancel(self, reason: str = "") -> None:
        """As `Swarm.cancel` of this run."""
        ...


class RunsPort(Protocol):
    """What stands behind `Swarm.run`, `events`, `runs` and their like."""

    async def begin(
        self,
        goal: str,
        inputs: Sequence[str | Path],
        plan: Mapping[str, Any] | str | Path | None,
        budget: Budget | Mapping[str, Any] | str | None,
        parent: str | None,
    ) -> RunHandle:
        """See `Swarm.run`."""
        ...

    async def find(self, run: str) -> RunHandle:
        """See `Swarm.find`."""
        ...

    def events(self, run: str | None, after: int, patience_s: float | None) -> AsyncIterator[RunEvent]:
        """See `Swarm.events`."""
        ...

    async def runs(self, limit: int) -> list[dict[str, Any]]:
        """See `Swarm.runs`."""
        ...

    async def nodes(self) -> list[dict[str, Any]]:
        """See `Swarm.nodes`."""
        ...

    async def cancel(self, run: str, subtask: str, reason: str) -> None:
        """See `Swarm.cancel`."""
        ...

    async def pause(self, run: str, reason: str) -> None:
        """See `Swarm.pause`."""
        ...

    async def resume(self, run: str) -> None:
        """See `Swarm.resume`."""
        ...


def load_runs(endpoint: Endpoint) -> RunsPort:
    """What is registered, for one connection.

    Raises:
        NoRuns: nothing is, or it cannot be loaded.
    """
    for point in entry_points(group="zwerm.sdk", name="runs"):
        try:
            port: RunsPort = point.load()(endpoint)
        except ZwermError:
            raise
        except Exception as error:
            raise NoRuns from error
        return port
    raise NoRuns
