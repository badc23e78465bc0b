"""Saying hello, being heard, and hearing others: the shell around `roster`.

Every node says hello when it starts or reconnects and when a coordinator asks (`who`), sends a heartbeat every 5 s, and says goodbye. Coordinators and
observers listen and keep a roster. A heartbeat says that the device is here, nothing about any work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from protocol import subjects
from protocol.messages import AgentCard, Goodbye, Heartbeat, Hello, Who

from .bus import BusState
from .endpoint import Endpoint, Received
from .errors import MeshError
from .halting import Halts
from .roster import HEARTBEAT_S

__all__ = ["HELLO_EVERY", "Facts", "announce_presence", "watch_presence"]

log = logging.getLogger("zwerm.presence")

HELLO_EVERY = 12
"""Each so many heartbeats is preceded by a hello, for listeners that missed the first."""


class Facts:
    """What a node says of itself; the daemon fills it from the roles that it runs."""

    def __init__(
        self, *, name: str, version: str, roles: list[str], certificate: Callable[[], bytes], started_ms: int
    ) -> None:
        self.name = name
        self.version = version
        self.roles = roles
        self.certificate = certificate
        self.started_ms = started_ms
        self.cards: Callable[[], list[AgentCard]] = list
        self.slots: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.load: Callable[[], float] = lambda: 0.0
        self.refused: Callable[[], int] = lambda: 0
        self.halts = Halts()

    def hello(self) -> Hello:
        """The introduction."""
        return Hello(
            name=self.name,
            version=self.version,
            roles=self.roles,
            agents=self.cards(),
            slots=self.slots()[1],
            certificate=self.certificate(),
            started_ms=self.started_ms,
        )

    def heartbeat(self) -> Heartbeat:
        """Still here."""
        used, total = self.slots()
        return Heartbeat(
            load=min(1.0, max(0.0, self.load())),
            slots_used=used,
            slots=total,
            running=used,
            refused=self.refused(),
            halted=self.halts.halted,
            halt=self.halts.obeyed,
            stopped=min(1 << 20, self.halts.stopped) if self.halts.halted else 0,
        )


async def announce_presence(
    endpoint: Endpoint, facts: Facts, stop: asyncio.Event, *, on_demand: bool
) -> None:
    """Hello, heartbeats, goodbye, until `stop` is set. `on_demand`: also answer coordinators that ask who this is (agents and coordinators can be asked)."""
    subject = subjects.heartbeat(endpoint.me)
    wake = asyncio.Event()

    def on_who(received: Received) -> None:
        if any(isinstance(item, Who) for item in received.items):
            wake.set()

    def on_state(state: BusState, _reason: str) -> None:
        if state is BusState.CONNECTED:
            wake.set()

    if on_demand:
        await endpoint.listen(subjects.to_node(endpoint.me), on_who)
    facts.halts.on_obeyed(wake.set)  # whoever halted the swarm waits for the word
    endpoint.bus.on_state(on_state)
    beats = 0
    introduce = True
    while not stop.is_set():
        wake.clear()  # before anything is sent: who asks meanwhile is answered next
        try:
            if introduce or beats % HELLO_EVERY == 0:
                await endpoint.send(subject, [facts.hello()])
            await endpoint.send(subject, [facts.heartbeat()])
        except MeshError as error:
            log.warning("not heard: %s", error.message)
        beats += 1
        introduce = await _either(stop, wake, HEARTBEAT_S)
    with contextlib.suppress(MeshError, TimeoutError):
        async with asyncio.timeout(2):
            await endpoint.send(subject, [Goodbye(reason="stopped")])
            await endpoint.bus.flush(1)


async def _either(stop: asyncio.Event, wake: asyncio.Event, timeout_s: float) -> bool:
    """Wait for one of two events, bounded; True when `wake` came."""
    tasks = {asyncio.Task(stop.wait()), asyncio.Task(wake.wait())}
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return wake.is_set()


async def watch_presence(endpoint: Endpoint, members: Callable[[], list[str]], stop: asyncio.Event) -> None:
    """Keep `endpoint.roster`, until `stop` is set. `members()` lists the bus keys of agents that may be up; each is asked to say hello."""
    roster = endpoint.roster
    asked: dict[str, float] = {}

    def on_presence(received: Received) -> None:
        now = endpoint.clock.now()
        node, session = received.node, received.header.session
        for item in received.items:
            if isinstance(item, Hello):
                roster.hello(node, received.member.bus_key, session, item, now)
            elif isinstance(item, Heartbeat):
                roster.heartbeat(node, item, now)
                if not roster.knows(node):
                    unknown.add(received.member.bus_key)
                    wake.set()
            elif isinstance(item, Goodbye):
                roster.goodbye(node, item)

    unknown: set[str] = set(members())
    wake = asyncio.Event()
    await endpoint.listen(subjects.heartbeats(), on_presence)
    while not stop.is_set():
        now = endpoint.clock.monotonic()
        wake.clear()
        due = sorted(key for key in unknown if now - asked.get(key, -60.0) > HEARTBEAT_S - 1)
        unknown.clear()  # those heard while the question is sent are asked next
        for bus_key in due:
            asked[bus_key] = now
            with contextlib.suppress(MeshError):
                await endpoint.send(subjects.to_node(bus_key), [Who()], ttl_s=10)
        await _either(stop, wake, 1.0)
        roster.tick(endpoint.clock.now())
