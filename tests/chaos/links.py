"""Links that are only bad: far, narrow, lossy, or standing still for a while and then delivering all at once. Nothing is lost or doubled, nobody is called dead."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from mesh.discovery import parse_endpoint
from protocol.records import AttemptFailed, Awarded, Owned
from tests.support.slow_link import GOOD, Quality, SlowLink

from .swarm import Node, Shape, chaos_swarm
from .trial import Batch, Blow, Trial, busy

__all__ = ["FALSE_DEAD_MAX", "LINKS", "count_false_dead", "slow_links"]

FALSE_DEAD_MAX = 0.001
"""The share of attempts that may be given up although their node lives and works."""
LINKS: dict[str, Quality] = {
    "far": Quality(delay_s=0.075, jitter_s=0.05),
    "lossy": Quality(delay_s=0.01, jitter_s=0.005, loss=0.05),
    "bursts": Quality(delay_s=0.01, jitter_s=0.005),
    "narrow": Quality(delay_s=0.01, bytes_s=125_000),
    "stops": GOOD,
}
"""75 +- 50 ms; 5 % loss; 50 % loss for a second at a time; 1 Mbit/s; still for up to 6 s."""
_BURST = Quality(delay_s=0.01, jitter_s=0.005, loss=0.5)
_STILL_S = (1.0, 6.0)
_UNHEARD = ("E_LEASE", "E_NOT_TAKEN", "E_NODE_GONE")


def slow_links(*, desks: int = 2, hands: int = 4, each_s: float = 12.0) -> Trial:
    """Every link of a swarm is bad in one way after the other, while people hand in goals."""

    async def trial(folder: Path, batch: Batch, count: int) -> None:
        cables = Cables(batch.rng)
        async with (
            cables,
            chaos_swarm(folder, Shape(coordinators=desks, agents=hands), through=cables.between) as chaos,
            busy(chaos, batch, at_once=4, width=(8, 16), ms=(20, 300)) as people,
        ):
            kinds = list(LINKS)
            for number in range(count):
                how = kinds[(batch.seed + number) % len(kinds)]
                blow = Blow(how, at=time.time())
                await cables.suffer(how, each_s)
                blow.times["lasted_s"] = time.time() - blow.at
                batch.blows.append(blow)
                batch.verdict.counts[how] += 1
            cables.mend()
            people.problems += [f"{node.name} ended" for node in chaos.nodes if not node.alive]
        count_false_dead(batch)
        batch.verdict.counts["carried_kib"] = sum(link.carried for link in cables.links.values()) >> 10

    return trial


class Cables:
    """Each device's own way to the bus."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._stack = AsyncExitStack()
        self.links: dict[str, SlowLink] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def between(self, node: Node) -> None:
        """Put a cable between a device, which is not up yet, and the bus."""
        file = node.home.load()
        bus = parse_endpoint(file.bus_urls[0])
        link = await self._stack.enter_async_context(
            SlowLink(bus.host, bus.port, random.Random(self._rng.random()))
        )
        node.home.save(file.model_copy(update={"bus_urls": [f"tls://127.0.0.1:{link.port}"]}))
        self.links[node.name] = link

    def mend(self) -> None:
        """All are good."""
        for link in self.links.values():
            link.quality = GOOD
            link.go_on()

    async def suffer(self, how: str, for_s: float) -> None:
        """All are bad in one way for so long."""
        for link in self.links.values():
            link.quality = LINKS[how]
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            if how == "stops":
                await self._stand_still()
            elif how == "bursts":
                await self._burst()
            else:
                await asyncio.sleep(for_s)
        self.mend()

    async def _stand_still(self) -> None:
        """Some of them, for a time each, and then everything at once."""
        some = self._rng.sample(sorted(self.links), max(1, len(self.links) // 2))
        for name in some:
            self.links[name].stall()
        await asyncio.sleep(self._rng.uniform(*_STILL_S))
        for name in some:
            self.links[name].go_on()
        await asyncio.sleep(1.0)

    async def _burst(self) -> None:
        for link in self.links.values():
            link.quality = _BURST
        await asyncio.sleep(1.0)
        for link in self.links.values():
            link.quality = LINKS["bursts"]
        await asyncio.sleep(self._rng.uniform(0.5, 1.5))


def count_false_dead(batch: Batch, *, silent: Sequence[str] = ("stops",)) -> None:
    """How many attempts were given up for dead, and runs taken from coordinators, although nobody had died; and while which link was bad.

    On `silent` links a coordinator may not be heard for longer than the 3 s of its lease: it is replaced then, and rightly so, which is counted.
    """
    records = [
        (message.at_ms / 1000, record)
        for messages in batch.history.values()
        for message in messages
        for record in message.records
    ]
    awards = sum(isinstance(record, Awarded) for _, record in records)
    dead: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for at, record in records:
        how = next((blow.how for blow in reversed(batch.blows) if blow.at < at), "before")
        if isinstance(record, AttemptFailed) and record.code in _UNHEARD:
            dead[f"{record.code} {how}"] += 1
        elif isinstance(record, Owned):
            taken[how] += 1
    batch.verdict.counts["false_dead"] = dead.total()
    batch.verdict.counts["taken_over"] = taken.total()
    if dead.total() > awards * FALSE_DEAD_MAX:
        batch.verdict.problems.append(f"{dict(dead)} of {awards} attempts were given up for dead")
    for how in silent:
        del taken[how]
    if taken:
        batch.verdict.problems.append(f"runs were taken from coordinators that lived: {dict(taken)}")
