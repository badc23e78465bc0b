"""A coordinator and agents in one process over real endpoints: the two roles as the daemon runs them, on the bus and workspace in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent_node.node import AgentRole
from coordinator_node.node import CoordinatorRole
from mesh.clock import Clock
from mesh.endpoint import Endpoint, Received
from protocol import subjects
from protocol.ids import new_run_id
from protocol.messages import Event, Goodbye, Hello, Item, NamedRef, Reply, SubmitRun
from tests.support.endpoint_memory import MemorySwarm

__all__ = ["Team"]


class Team:
    """A swarm with one client; coordinators and agents are started and stopped by name."""

    def __init__(self, folder: Path, *, clock: Clock | None = None, swarm: MemorySwarm | None = None) -> None:
        self.swarm = swarm or MemorySwarm(folder, clock=clock)
        self.client: Endpoint
        self.coordinator: CoordinatorRole
        self.events: list[Event] = []
        self._more = asyncio.Event()
        self._stack = AsyncExitStack()
        self._running: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}
        self._runs = 0

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.swarm)
        self.client = await self.swarm.join("client", ["client"])
        await self.client.listen(subjects.events_all(), self._on_event)
        await self.client.bus.flush()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._running):
            await self.stop(name)
        await self._stack.aclose()

    def _on_event(self, received: Received) -> None:
        self.events += [item for item in received.items if isinstance(item, Event)]
        self._more.set()

    # --- roles ---

    async def coordinate(self, name: str = "desk", **config: Any) -> CoordinatorRole:
        """Start a coordinator; the same name again is the same device after a restart."""
        endpoint = await self.swarm.join(name, ["coordinator"])
        self.coordinator = CoordinatorRole(
            endpoint, {"grace_s": 0.2, "lost_grace_s": 5.0, "settle_s": 0.0, "seed": 1, **config}
        )
        self._start(name, self.coordinator)
        await self.until(lambda: endpoint.bus.stats is not None and self._listens(endpoint))
        await endpoint.bus.flush()  # a real server has heard of it, too
        return self.coordinator

    def _listens(self, endpoint: Endpoint) -> bool:
        return (subjects.requests_of("runs"), "runs") in endpoint._handlers

    async def work(
        self, name: str, *, functions: Iterable[Callable[..., Any]] = (), **config: Any
    ) -> AgentRole:
        """Start an agent node and introduce it."""
        endpoint = await self.swarm.join(name)
        role = AgentRole(endpoint, {"documents": False, "drain_s": 0.0, **config}, functions=functions)
        self._start(name, role)
        await self.until(lambda: (subjects.to_node(endpoint.me), "") in endpoint._handlers)
        for capability in role.agent.capabilities:
            await self.until(lambda wanted=capability: (subjects.announce(wanted), "") in endpoint._handlers)
        await endpoint.bus.flush()
        self.introduce(endpoint, role)
        return role

    def introduce(self, endpoint: Endpoint, role: AgentRole) -> None:
        """The coordinator hears the node's hello."""
        hello = Hello(
            name=endpoint.name,
            version="0",
            roles=["agent"],
            agents=role.cards(),
            slots=role.slots_total,
            certificate=b"",
        )
        session = str(id(role)).encode()[:8].ljust(8)
        self.coordinator.endpoint.roster.hello(
            endpoint.node, endpoint.me, session, hello, endpoint.clock.now()
        )

    def dismiss(self, node: str, reason: str = "gone") -> None:
        """The coordinator hears the node's goodbye."""
        self.coordinator.endpoint.roster.goodbye(node, Goodbye(reason=reason))

    def _start(self, name: str, role: Any) -> None:
        stop = asyncio.Event()
        self._running[name] = (stop, asyncio.ensure_future(role.run(stop)))

    async def stop(self, name: str) -> None:
        """Let a role end as the daemon does."""
        stop, task = self._running.pop(name)
        stop.set()
        async with asyncio.timeout(20):
            await task

    async def kill(self, name: str) -> None:
        """End a role without letting it say or write anything more."""
        _, task = self._running.pop(name)
        task.cancel()
        await asyncio.wait([task])

    def stopped(self, name: str) -> bool:
        """Whether a role has ended by itself."""
        return self._running[name][1].done()

    # --- the client ---

    async def put(self, name: str, data: bytes, media_type: str = "text/plain") -> NamedRef:
        """Store an input."""
        return NamedRef(
            name=name, media_type=media_type, ref=await self.client.artifacts.put(data, self.client.me)
        )

    def new_run(self) -> str:
        """A fresh run id."""
        self._runs += 1
        return new_run_id(self.client.clock.now(), self._runs.to_bytes(10, "big"))

    async def submit(self, *steps: dict[str, Any], run: str | None = None, **request: Any) -> str:
        """Submit a run; `steps` are those of a plan file."""
        run = run or self.new_run()
        if steps:
            request = {"goal": "do it", "planner": "file", "plan": {"steps": list(steps)}, **request}
        await self.ask(SubmitRun(**request), run=run)
        return run

    async def ask(self, item: Item, run: str | None = None) -> Reply:
        """Ask the coordinator."""
        return await self.client.call("runs", item, timeout_s=20, run=run)

    async def until(self, wanted: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Wait for something to become true; looked at whenever the loop has turned."""
        async with asyncio.timeout(timeout_s):
            while not wanted():
                await asyncio.sleep(0)

    async def event(self, kind: str, **fields: Any) -> Event:
        """Wait for an event of a kind."""

        def found() -> Event | None:
            return next(
                (
                    event
                    for event in self.events
                    if event.kind == kind
                    and all(getattr(event, key) == value for key, value in fields.items())
                ),
                None,
            )

        async with asyncio.timeout(30):
            while (event := found()) is None:
                self._more.clear()
                await self._more.wait()
        return event
