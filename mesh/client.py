"""A program's door into its swarm.

    from mesh import connect

    async with connect() as swarm:
        run = await swarm.run("Summarise this folder", inputs=["notes/"])
        async for event in run.events():
            print(event.seq, event.kind, event.subtask)
        print(await run.deliver("out"))

The program is a member like any other: it speaks on the bus with this device's keys, under the role `client`. All errors are `protocol.errors.ZwermError`,
with `code`, `message` and `hint`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocol.messages import Budget

from .endpoint import Endpoint
from .home import Home, locate_home
from .membership import Membership
from .sdk import RunEvent, RunHandle, RunsPort, load_runs

if TYPE_CHECKING:
    from .halt_swarm import HaltSent

__all__ = ["Swarm", "connect", "connect_home"]


class Swarm:
    """A connection to the swarm under one role, as `connect` and `connect_home` make it."""

    def __init__(self, membership: Membership, endpoint: Endpoint) -> None:
        self.membership = membership
        self.endpoint = endpoint
        self._port: RunsPort | None = None

    @property
    def _runs(self) -> RunsPort:
        if self._port is None:
            self._port = load_runs(self.endpoint)
        return self._port

    async def run(
        self,
        goal: str = "",
        *,
        inputs: Sequence[str | Path] = (),
        plan: Mapping[str, Any] | str | Path | None = None,
        budget: Budget | Mapping[str, Any] | str | None = None,
        parent: str | None = None,
    ) -> RunHandle:
        """Have a goal done; returns when the run stands in the journal, so that it survives whatever happens to this program.

        Args:
            goal: what to do, in words that a planner understands; with a plan it may be left out.
            inputs: files and folders to work on.
            plan: a plan file's path, or its content, instead of a rule (`zwerm help plan`).
            budget: the most that the run may use: `"money=5,tokens=2M"`, `{"money": 5}`, or a `Budget`. None: no bound but the swarm's own.
            parent: the run whose work this one is part of: what it spends is taken from that one's budget. Its whole id.

        Raises:
            InputsError: a file is not there, or there is nothing to work on.
            PlanInvalid, BudgetInvalid: what was given is not one.
            CallFailed: the swarm does not take it (no rule fits the goal, its journal is full, ...).
            NoAnswer: no coordinator is up.
            BusUnreachable: there is no connection.
        """
        return await self._runs.begin(goal, inputs, plan, budget, parent)

    async def find(self, run: str) -> RunHandle:
        """A run that is there already, by its id or the end of it.

        Raises:
            CallFailed: none or several fit. NoAnswer: no coordinator is up.
        """
        return await self._runs.find(run)

    def events(
        self, run: str | None = None, *, after: int = 0, patience_s: float | None = 60.0
    ) -> AsyncIterator[RunEvent]:
        """What happens: `async for event in swarm.events(run)`.

        Of one run (its id or the end of it): each durable event behind number `after` once and in order, until the run has ended, whatever happens to the bus
        and the coordinators meanwhile; a program that keeps the last `seq` goes on later without a gap or a double. Without `run`: of all runs, from now on.

        Args:
            run: which run; None: all.
            after: only what is behind this number.
            patience_s: how long the swarm may give no answer; None: for ever.

        Raises:
            WatchLost: it gave none for longer. The hint names the number to go on from.
            CallFailed: there is no such run, or its journal is damaged.
        """
        return self._runs.events(run, after, patience_s)

    async def runs(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest runs, as `zwerm runs ls --json` lists them.

        Raises:
            NoAnswer: no coordinator is up. BusUnreachable: there is no connection.
        """
        return await self._runs.runs(limit)

    async def nodes(self) -> list[dict[str, Any]]:
        """The swarm's devices with their agents, as `zwerm nodes --json` lists them.

        Raises:
            NoAnswer: no coordinator is up. BusUnreachable: there is no connection.
        """
        return await self._runs.nodes()

    async def cancel(self, run: str, *, subtask: str = "", reason: str = "") -> None:
        """Ask to stop a run, or one subtask of it; its events tell when it has stopped.

        Raises:
            CallFailed: there is no such run, or it has no such subtask. NoAnswer: no coordinator is up.
        """
        await self._runs.cancel(run, subtask, reason)

    async def pause(self, run: str, *, reason: str = "") -> None:
        """Begin nothing more of a run until `resume`; what is at work goes on.

        Raises:
            CallFailed: there is no such run. NoAnswer: no coordinator is up.
        """
        await self._runs.pause(run, reason)

    async def resume(self, run: str) -> None:
        """Go on with a paused run.

        Raises:
            CallFailed: there is no such run. NoAnswer: no coordinator is up.
        """
        await self._runs.resume(run)

    async def halt(self, why: str = "", *, wait_s: float = 5.0) -> HaltSent:
        """Stop every agent process of the swarm until `lift`; this device must have the role admin.

        Args:
            why: told to everybody.
            wait_s: how long to wait for the devices' word; `silent` of what is returned names those that did not answer.

        Raises:
            NoSuchRole: this device is no admin.
            BusUnreachable: the order could not be said.
        """
        return await self._order(on=True, why=why, wait_s=wait_s)

    async def lift(self, *, wait_s: float = 5.0) -> HaltSent:
        """Let a halted swarm go on.

        Raises:
            NoSuchRole, BusUnreachable: as `halt`.
        """
        return await self._order(on=False, why="", wait_s=wait_s)

    async def _order(self, *, on: bool, why: str, wait_s: float) -> HaltSent:
        from .halt_swarm import halt_swarm

        # A client may not say orders: they are given over a connection of the admin's.
        async with self.membership.connect("admin", timeout_s=10.0) as endpoint:
            return await halt_swarm(self.membership, endpoint, on=on, why=why, wait_s=wait_s)


@asynccontextmanager
async def connect_home(home: Home, *, role: str = "client", timeout_s: float = 10.0) -> AsyncIterator[Swarm]:
    """Connect with the membership of `home`.

    Raises:
        NotInSwarm: the device is in no swarm.
        BusUnreachable: the bus does not answer.
    """
    membership = Membership.load(home)
    async with membership.connect(role, timeout_s=timeout_s) as endpoint:
        yield Swarm(membership, endpoint)


@asynccontextmanager
async def connect(home: str | Path | None = None, *, timeout_s: float = 10.0) -> AsyncIterator[Swarm]:
    """Connect this program to the swarm that this device is in.

    Args:
        home: the state directory; by default the device's own.
        timeout_s: how long to look for the bus.

    Raises:
        NotInSwarm: the device is in no swarm.
        BusUnreachable: the bus does not answer.
    """
    async with connect_home(Home(locate_home(str(home) if home else None)), timeout_s=timeout_s) as swarm:
        yield swarm
