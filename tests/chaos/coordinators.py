"""kill -9 of a coordinator's daemon, at random times and at named points; the same device comes back, or another takes its runs over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from coordinator_node.crash_proc import CRASH_AT, POINTS
from protocol.records import Owned

from .checker import History
from .load import Load
from .swarm import Chaos, Node, Shape, Stuck, chaos_swarm, until
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
            armed: dict[str, str] = {}
            for number in range(count):
                if points:
                    batch.blows.append(await _at_point(chaos.coordinators[0], points[number % len(points)]))
                    chaos.coordinators[0].start()
                    await chaos.coordinators[0].serving()
                else:
                    batch.blows.append(await _strike(chaos, people, batch, armed))
            # Whoever is still armed would die when there is nobody left to bring it back.
            for node in chaos.coordinators:
                if node.alive and node.id in armed:
                    node.kill()
                if not node.alive:
                    node.start()
            for node in chaos.coordinators:
                await node.serving()
        _measure(batch.blows, batch.history)

    return trial


async def _strike(chaos: Chaos, people: Load, batch: Batch, armed: dict[str, str]) -> Blow:
    """Kill whoever has the most runs, at some time, or let one die at the point that it was armed with; then bring it back."""
    rng = batch.rng
    await until("somebody has work", lambda: people.open_runs(), 60.0)
    blow = await _dead_by_itself(chaos, armed, rng.uniform(0.0, 1.2))
    if blow is None:
        victim = _busiest(chaos, people)
        blow = Blow("time", victim.id, victim.kill())
    victim = chaos.by_id()[blow.node]
    if any(node.serves and node.alive for node in chaos.coordinators) and rng.random() < 0.7:
        # Another one takes the runs over.
        with contextlib.suppress(Stuck):
            await until(
                "taken over",
                lambda: not people.open_runs(victim.id) or not any(node.alive for node in chaos.coordinators),
                8.0,
            )
    elif rng.random() < 0.5:
        await asyncio.sleep(rng.uniform(0.0, 0.3))
    armed.pop(victim.id, None)
    if rng.random() < 0.35:
        point = rng.choice(POINTS)
        # What is passed at each start, and what is passed a thousand times a second.
        often = 1 if point.startswith("recover.") else rng.choice((1, 2, 5, 30, 200))
        armed[victim.id] = f"{point}:{often}"
        victim.start(**{CRASH_AT: armed[victim.id]})
    else:
        victim.start()
    if rng.random() < 0.85:
        with contextlib.suppress(Stuck):  # it may die on its way
            await victim.serving()
    return blow


async def _dead_by_itself(chaos: Chaos, armed: dict[str, str], within_s: float) -> Blow | None:
    """A coordinator that dies at its point within that time."""
    end = time.monotonic() + within_s
    while True:
        for node in chaos.coordinators:
            if not node.alive:
                return Blow(armed.get(node.id, "by itself"), node.id, time.time())
        if time.monotonic() > end:
            return None
        await asyncio.sleep(0.01)


def _busiest(chaos: Chaos, people: Load) -> Node:
    """The living coordinator with the most open runs."""
    return max(
        (node for node in chaos.coordinators if node.alive), key=lambda node: len(people.open_runs(node.id))
    )


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
    """How long after each kill the runs of the killed one were owned again: by itself (`back_s`), or by another (`takeover_s`).

    Nothing is shown by the death of one that owned nothing.
    """
    for blow in blows:
        owned = [run for run, owner in owners_at(history, blow.at).items() if owner == blow.node]
        if not owned:
            blow.outcome = "void"
        for run in owned:
            for message in history[run]:
                first = message.records[0]
                if message.at_ms / 1000 > blow.at and isinstance(first, Owned):
                    name = "back_s" if first.owner == blow.node else "takeover_s"
                    blow.times[name] = max(blow.times.get(name, 0.0), message.at_ms / 1000 - blow.at)
                    break
