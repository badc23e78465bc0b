"""Being heard and hearing others: hello, heartbeat, goodbye, and the question who somebody is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import mesh.presence as presence
from mesh.bus import BusState
from mesh.endpoint import Endpoint, Received
from mesh.errors import MeshError
from mesh.presence import Facts, announce_presence, watch_presence
from protocol import subjects
from protocol.messages import AgentCard, Goodbye, Heartbeat, Hello, Item, Who
from tests.support.endpoint_memory import MemorySwarm
from tests.support.members import until


def facts(name: str = "nas") -> Facts:
    made = Facts(name=name, version="1", roles=["agent"], certificate=lambda: b"cert", started_ms=1)
    made.cards = lambda: [AgentCard(name="a", capabilities=["text.summarize"])]
    made.slots = lambda: (1, 4)
    made.load = lambda: 7.0
    made.refused = lambda: 3
    return made


@asynccontextmanager
async def at_work(job: Any, stop: asyncio.Event) -> AsyncIterator[None]:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(job)
        yield
        stop.set()


async def listening(hub: Endpoint) -> list[Item]:
    got: list[Item] = []
    await hub.listen(subjects.heartbeats(), lambda received: got.extend(received.items))
    return got


def kinds(items: list[Item]) -> list[str]:
    return [type(item).__name__ for item in items]


async def test_a_node_says_hello_then_beats_then_goodbye(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(presence, "HEARTBEAT_S", 0.005)
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await swarm.join("hub", ["coordinator"]), await swarm.join("nas", ["agent"])
        got = await listening(hub)
        stop = asyncio.Event()
        async with at_work(announce_presence(nas, facts(), stop, on_demand=True), stop):
            await until("beats", lambda: len(got) >= 30)
        await until("goodbye", lambda: isinstance(got[-1], Goodbye))
    assert kinds(got[:2]) == ["Hello", "Heartbeat"]
    assert got[0] == facts().hello()
    assert got[1] == Heartbeat(load=1.0, slots_used=1, slots=4, running=1, refused=3)
    hellos = [number for number, kind in enumerate(kinds(got)) if kind == "Hello"]
    assert hellos[:3] == [0, 13, 26]  # each twelfth beat is preceded by one


async def test_a_node_that_is_asked_says_hello_at_once_also_while_it_is_speaking(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await swarm.join("hub", ["coordinator"]), await swarm.join("nas", ["agent"])
        got: list[Item] = []
        speaking = asyncio.Event()

        async def ask(received: Received) -> None:
            got.extend(received.items)
            if isinstance(received.items[0], Hello) and not speaking.is_set():
                speaking.set()
                await hub.send(subjects.to_node(nas.me), [Who()])

        await hub.listen(subjects.heartbeats(), ask)
        real = nas.send

        async def slow(*arguments: Any, **options: Any) -> None:
            await real(*arguments, **options)
            for _ in range(50):  # the question comes while this is still going on
                await asyncio.sleep(0)

        nas.send = slow  # type: ignore[method-assign]
        stop = asyncio.Event()
        async with at_work(announce_presence(nas, facts(), stop, on_demand=True), stop):
            await until("a second hello", lambda: kinds(got).count("Hello") == 2, timeout_s=4)


async def test_a_connection_that_is_back_is_announced(tmp_path: Path):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await swarm.join("hub", ["coordinator"]), await swarm.join("nas", ["agent"])
        got = await listening(hub)
        told: list[Any] = []
        nas.bus.on_state = told.append  # type: ignore[method-assign]
        stop = asyncio.Event()
        async with at_work(announce_presence(nas, facts(), stop, on_demand=False), stop):
            await until("hello", lambda: len(got) == 2)
            told[0](BusState.RECONNECTING, "lost")
            told[0](BusState.CONNECTED, "back")
            await until("hello again", lambda: kinds(got).count("Hello") == 2, timeout_s=4)


async def test_a_bus_that_is_down_does_not_end_the_announcing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(presence, "HEARTBEAT_S", 0.005)
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await swarm.join("hub", ["coordinator"]), await swarm.join("nas", ["agent"])
        got = await listening(hub)
        real, failures = nas.send, iter(range(3))

        async def down(*arguments: Any, **options: Any) -> None:
            if next(failures, None) is not None:
                raise MeshError("E_BUS_UNREACHABLE", "down")
            await real(*arguments, **options)

        nas.send = down  # type: ignore[method-assign]
        stop = asyncio.Event()
        async with at_work(announce_presence(nas, facts(), stop, on_demand=False), stop):
            await until("heard", lambda: got)


async def test_a_coordinator_lists_who_is_here_asks_whom_it_does_not_know_and_notices_who_leaves(
    tmp_path: Path,
):
    async with MemorySwarm(tmp_path) as swarm:
        hub, nas = await swarm.join("hub", ["coordinator"]), await swarm.join("nas", ["agent"])
        asked: list[Item] = []
        await nas.listen(subjects.to_node(nas.me), lambda received: asked.extend(received.items))
        stop = asyncio.Event()
        async with at_work(watch_presence(hub, lambda: [nas.me], stop), stop):
            await until("asked at the start", lambda: asked == [Who()])
            await nas.send(subjects.heartbeat(nas.me), [Heartbeat(load=0.0, slots_used=0, slots=1)])
            assert not hub.roster.knows(nas.node)
            await nas.send(subjects.heartbeat(nas.me), [facts().hello()])
            await until("listed", lambda: hub.roster.knows(nas.node))
            found = hub.roster.get(nas.node)
            assert found is not None
            assert (found.name, found.bus_key, found.capabilities) == ("nas", nas.me, {"text.summarize"})
            await nas.send(subjects.heartbeat(nas.me), [Goodbye(reason="stopped")])
            await until("gone", lambda: hub.roster.get(nas.node).state == "gone")  # type: ignore[union-attr]
            assert len(asked) == 1  # not at every beat
