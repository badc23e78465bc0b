"""Somebody who watches all runs through every kill, and must see each event of each run once and in order (EVT-3)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from coordinator_node.watching_bus import Watcher
from mesh.endpoint import Endpoint

__all__ = ["Onlooker"]

_SEES_S = 60.0
"""So long after the end of everything an onlooker may take to have seen it."""


class Onlooker:
    """What one watcher was told: numbers of each run, in the order in which they came."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.numbers: dict[str, list[int]] = {}
        self.ended: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.ready = asyncio.Event()

    async def watch(self) -> None:
        """Watch until cancelled."""
        async with Watcher(self._endpoint, None, patience_s=None) as watcher:
            while not watcher.begun:
                await asyncio.sleep(0.05)
            self.ready.set()
            async for run, event in watcher:
                if event.volatile:
                    self.counts["volatile"] += 1
                    continue
                self.counts["durable"] += 1
                self.numbers.setdefault(run, []).append(event.seq)
                if event.kind == "run.closed":
                    self.ended.add(run)

    async def missed(self, runs: list[str]) -> list[str]:
        """What is wrong with what it saw of these runs, all of which have ended and began after it was ready."""
        end = time.monotonic() + _SEES_S
        while not self.ended.issuperset(runs) and time.monotonic() < end:
            await asyncio.sleep(0.1)
        wrong = []
        for run in runs:
            seen = self.numbers.get(run, [])
            if run not in self.ended:
                wrong.append(
                    f"UNSEEN: the watcher has not seen the end of run {run[-6:]} ({len(seen)} events)"
                )
            if seen != list(range(1, len(seen) + 1)):
                wrong.append(f"UNSEEN: the watcher of run {run[-6:]} was told {seen[:400]}")
        return wrong
