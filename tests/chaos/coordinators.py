"""kill -9 of a coordinator's daemon, at random times and at named points; the same device comes back, or another takes its runs over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from coordinator_node.crash_proc import CRASH_AT, POINTS
from protocol.records import Owned

from .checker import History
from .load import Load
from .swarm import Chaos, Node, Shape, chaos_swarm
from .trial import Batch, Blow, Trial, busy, owners_at

__all__ = ["SMALL_POINTS", "coordinator_kills"]

_LEFT_OUT = frozenset(
    {"submit.planned", "event.before", "command.before", "check.before", "before.plan.adopted"}
    | {"say.Announce", "said.Announce", "said.Award", "say.Event", "said.Event"}
)
"""Points whose neighbours show the same."""
SMALL_POINTS = tuple(point for point in POINTS if point not in _LEFT_OUT)
_AT_POINT_S = 15.0
"""So long a coordinator may take to come to the point at which it is to die."""


def coordinator_kills(*, desks: int, points: Sequence[str] = (), at_once: int = 4) -> Trial:
    """Kills of one of `desks` coordinators at a time. With `points` each kill is at the next of them; otherwise at random times and points."""

    async def trial(folder: Path, batch: Batch, count: int) -> None:
        async with (
            chaos_swarm(folder, Shape(coordinators=desks)) as chaos,
            busy(chaos, batch, at_once=at_once) as people,
        ):
            for number in range(count):
                point = points[number % len(points)] if points else ""
                batch.blows.append(await _one(chaos, people, batch, point, random_too=not points))
            for node in chaos.coordinators:
                if not node.alive:
                    node.start()
            for node in chaos.coordinators:
                await node.serving()
        _measure(batch.blows, batch.history)

    return trial


async def _one(chaos: Chaos, people: Load, batch: Batch, point: str, *, random_too: bool) -> Blow:
    rng = batch.rng
    victim = rng.choice(chaos.coordinators)
    if random_too and rng.random() < 0.25:
        point = rng.choice(POINTS)
        if not point.startswith("recover."):  # which is passed once a start
            point = f"{point}:{rng.randint(1, 6)}"
    if point:
        blow = await _at_point(victim, point)
    else:
        if victim.alive and rng.random() < 0.85:
            await victim.serving()
            await asyncio.sleep(rng.uniform(0.0, 1.0))
        elif not victim.alive:
            victim.start()
            await asyncio.sleep(rng.uniform(0.1, 1.2))
        blow = Blow("time", victim.id, victim.kill())
    if all(asked.closed for asked in people.runs.values()):
        blow.outcome = "void"
    if len(chaos.coordinators) > 1 and rng.random() < 0.6:
        # Long enough for another one to take the runs over.
        await asyncio.sleep(rng.uniform(2.0, 7.0))
    else:
        await asyncio.sleep(rng.uniform(0.0, 0.3))
    victim.start()
    if len(chaos.coordinators) == 1 or rng.random() < 0.7:
        await victim.serving()
    return blow


async def _at_point(victim: Node, point: str) -> Blow:
    """Start the victim anew so that it dies at the point; where it does not come to it, kill it."""
    if victim.alive:
        victim.kill()
    victim.start(**{CRASH_AT: point})
    assert victim.process is not None
    try:
        async with asyncio.timeout(_AT_POINT_S):
            while victim.alive:
                await asyncio.sleep(0.01)
    except TimeoutError:
        return Blow(f"time (not at {point})", victim.id, victim.kill())
    return Blow(point, victim.id, time.time())


def _measure(blows: list[Blow], history: History) -> None:
    """How long after each kill the runs of the killed one were owned again: by itself (`back_s`), or by another (`takeover_s`)."""
    for blow in blows:
        for run, owner in owners_at(history, blow.at).items():
            if owner != blow.node:
                continue
            for message in history[run]:
                first = message.records[0]
                if message.at_ms / 1000 > blow.at and isinstance(first, Owned):
                    name = "back_s" if first.owner == blow.node else "takeover_s"
                    blow.times[name] = max(blow.times.get(name, 0.0), message.at_ms / 1000 - blow.at)
                    break
