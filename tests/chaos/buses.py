"""kill -9 of nats-server while at least fifty journal messages a second are written: nothing that was acknowledged is lost, and all are back at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from .swarm import Chaos, Shape, chaos_swarm, until
from .trial import Batch, Blow, Trial, busy

__all__ = ["WRITES_MIN", "bus_kills"]

WRITES_MIN = 50
"""Journal messages a second without which a trial shows nothing."""
_BACK_S = 30.0


def bus_kills(*, desks: int = 1) -> Trial:
    """Kills of the server under load; its daemon starts it again."""

    async def trial(folder: Path, batch: Batch, count: int) -> None:
        async with (
            chaos_swarm(folder, Shape(coordinators=desks)) as chaos,
            busy(chaos, batch, at_once=10, width=(12, 24), ms=(2, 60)),
        ):
            for _ in range(count):
                await _busy_writing(chaos)
                await asyncio.sleep(batch.rng.uniform(0.0, 0.3))
                blow = Blow("kill", "bus", time.time())
                os.kill(chaos.bus.server_pid(), signal.SIGKILL)
                batch.blows.append(blow)
                await until("a coordinator answers again", chaos.answers, _BACK_S, step_s=0.02)
                blow.times["answers_s"] = time.time() - blow.at
        _measure(batch)

    return trial


async def _busy_writing(chaos: Chaos) -> None:
    """Wait (not for ever) until enough is written, measured over a second."""
    for _ in range(12):
        before = await chaos.written()
        await asyncio.sleep(1.0)
        if await chaos.written() - before > WRITES_MIN * 1.2:
            return


def _measure(batch: Batch) -> None:
    stored = sorted(message.at_ms / 1000 for messages in batch.history.values() for message in messages)
    for blow in batch.blows:
        writes = sum(blow.at - 1.0 <= at <= blow.at for at in stored)
        batch.verdict.counts["writes_before_kills"] += writes
        after = next((at for at in stored if at > blow.at), None)
        if after is not None:
            blow.times["writes_again_s"] = after - blow.at
        if writes < WRITES_MIN:
            blow.outcome = "void"
            blow.note = f"{writes} journal messages in the second before the kill"
