"""kill -9 on a bus of three servers: of the coordinator that has the most runs, of the server that leads a stream, or of both at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import cast

from mesh.bus_nats import NatsBus
from mesh.errors import MeshError
from mesh.workspace import BOARD, JOURNAL, STREAMS, kv_stream
from mesh.workspace_nats import NatsStream
from protocol.records import Owned

from .checker import History
from .load import Load
from .swarm import Chaos, Kit, Node, Shape, Stuck, chaos_swarm, until
from .trial import Batch, Blow, Trial, busy, owners_at

__all__ = ["KINDS", "TAKEN_S", "cluster_kills"]

TAKEN_S = 20.0
"""So long after its owner's death a run must be owned by another; and so long after a server's death the journal must be written again."""
_WAIT_S = 45.0
KINDS = (
    "coordinator",
    "coordinator and the journal's leader",
    "the journal's leader",
    "coordinator and the board's leader",
)


def cluster_kills(*, desks: int = 2, agents: int = 2, kinds: tuple[str, ...] = KINDS) -> Trial:
    """Kills of all kinds in turn; after each everybody comes back, and the servers have caught up before the next."""

    async def trial(folder: Path, batch: Batch, count: int) -> None:
        shape = Shape(coordinators=desks, agents=agents, servers=3)
        async with (
            chaos_swarm(folder, shape) as chaos,
            busy(chaos, batch, at_once=4, width=(8, 16), ms=(20, 200)) as people,
        ):
            for number in range(count):
                await until("the servers have caught up", lambda: _whole(chaos), 60.0, step_s=0.3)
                batch.blows.append(await _strike(chaos, people, batch, kinds[number % len(kinds)]))
        _measure(batch.blows, batch.history)

    return trial


async def _strike(chaos: Chaos, people: Load, batch: Batch, how: str) -> Blow:
    await asyncio.sleep(batch.rng.uniform(0.0, 4.0))  # anywhere between two renewals of a lease
    victim = await _owner(chaos, people)
    server: Kit | Node | None = None
    if "leader" in how:
        stream = kv_stream(BOARD) if "board" in how else JOURNAL
        server = _server(chaos, await _leader(chaos, stream))
    blow = Blow(how, victim.id if "coordinator" in how else "", time.time())
    if server is not None:
        _kill_host(server)
    if "coordinator" in how:
        victim.kill()
        with contextlib.suppress(Stuck):
            await until("its runs are taken", lambda: not people.open_runs(victim.id), _WAIT_S)
        victim.start()
    elif server is not None:
        before = time.time()
        with contextlib.suppress(Stuck):
            await until("work goes on", lambda: people.heard > before, _WAIT_S)
    if server is not None:
        server.start()
    for node in (victim, *([server] if isinstance(server, Node) else [])):
        await node.serving()
    return blow


async def _owner(chaos: Chaos, people: Load) -> Node:
    """The coordinator with the most open runs; waits until there is one."""
    await until("somebody has work", lambda: people.open_runs(), 60.0)
    return max(chaos.coordinators, key=lambda node: len(people.open_runs(node.id)))


def _kill_host(server: Kit | Node) -> None:
    """The server, and what would start it again."""
    assert server.process is not None
    os.kill(server.server_pid(), signal.SIGKILL)
    server.process.kill()
    server.process.wait(10)


def _server(chaos: Chaos, name: str) -> Kit | Node:
    return next(server for server in (chaos.bus, *chaos.kits) if server.name == name)


async def _leader(chaos: Chaos, stream: str) -> str:
    info = await NatsStream(cast("NatsBus", chaos.judge.endpoint.bus), stream).info()
    return str(info["cluster"]["leader"])


async def _whole(chaos: Chaos) -> bool:
    """Whether each stream has a leader and two others that have all that it has."""
    with contextlib.suppress(MeshError):
        for name in STREAMS:
            info = await NatsStream(cast("NatsBus", chaos.admin.endpoint.bus), name).info()
            others = info["cluster"].get("replicas") or []
            if not info["cluster"].get("leader") or len(others) != 2:
                return False
            if not all(other.get("current") and not other.get("offline") for other in others):
                return False
        return True
    return False


def _measure(blows: list[Blow], history: History) -> None:
    """When the runs of who was killed were owned by another, or when the journal was written again. Nothing is shown by the death of one that owned nothing."""
    stored = sorted(message.at_ms / 1000 for messages in history.values() for message in messages)
    for blow in blows:
        if blow.node:
            owned = [run for run, owner in owners_at(history, blow.at).items() if owner == blow.node]
            times = [_taken(history, run, blow) for run in owned]
            name = "takeover_s" if "leader" not in blow.how else "takeover_with_server_s"
        else:
            times = [next((at for at in stored if at > blow.at), float("inf")) - blow.at]
            name = "writes_again_s"
        if not times:
            blow.outcome = "void"
            continue
        blow.times[name] = max(times)
        if max(times) > TAKEN_S:
            blow.outcome = "slow"
            blow.note = f"{blow.how}: {max(times):.1f} s"


def _taken(history: History, run: str, blow: Blow) -> float:
    for message in history[run]:
        first = message.records[0]
        if message.at_ms / 1000 > blow.at and isinstance(first, Owned) and first.owner != blow.node:
            return message.at_ms / 1000 - blow.at
    return float("inf")
