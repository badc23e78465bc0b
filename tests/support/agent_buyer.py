"""A scripted buyer: the coordinator's side of the exchange, said and heard by hand, for tests of the seller alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from mesh.endpoint import Endpoint, Received
from protocol import subjects
from protocol.ids import new_run_id
from protocol.messages import (
    Announce,
    Award,
    Bid,
    Cancel,
    Item,
    NamedRef,
    Result,
    ResultAck,
)

__all__ = ["Buyer", "announce", "award"]

Kind = TypeVar("Kind", bound=Item)


def announce(subtask: str, capability: str, **more: Any) -> Announce:
    """An announcement with everything that a test does not care about filled in."""
    facts = {"round": 1, "window_ms": 500, "deadline_ms": 60_000}
    return Announce(subtask=subtask, capability=capability, **(facts | more))


def award(subtask: str, capability: str, agent: str, **more: Any) -> Award:
    """An award with everything that a test does not care about filled in."""
    facts = {"round": 1, "attempt": 1, "epoch": 1, "lease_ms": 10_000, "deadline_ms": 60_000}
    return Award(subtask=subtask, capability=capability, agent=agent, **(facts | more))


class Buyer:
    """One run's owner. Everything heard is in `heard`, in order."""

    def __init__(self, endpoint: Endpoint, run: str | None = None) -> None:
        self.endpoint = endpoint
        self.run = run or new_run_id(endpoint.clock.now(), b"0123456789")
        self.heard: list[Item] = []
        self.envelopes = 0
        self._more = asyncio.Event()

    async def listen(self) -> None:
        """Hear bids and work messages of the run."""
        await self.endpoint.listen(subjects.bids(self.run), self._hear)
        await self.endpoint.listen(subjects.works(self.run), self._hear)

    def _hear(self, received: Received) -> None:
        self.envelopes += 1
        self.heard += received.items
        self._more.set()

    async def announce(self, *items: Announce) -> None:
        """Open subtasks of one capability for bids."""
        await self.endpoint.send(subjects.announce(items[0].capability), items, run=self.run)

    async def tell(self, seller: str, *items: Item) -> None:
        """Say something to one node, by its bus key."""
        await self.endpoint.send(subjects.to_node(seller), items, run=self.run)

    async def ack(self, seller: str, ending: Any, *, applied: bool = True) -> None:
        """Acknowledge an ending."""
        ack = ResultAck(subtask=ending.subtask, attempt=ending.attempt, epoch=ending.epoch, applied=applied)
        await self.tell(seller, ack)

    async def cancel(self, seller: str, subtask: str, attempt: int = 1, epoch: int = 1) -> None:
        """Ask for an attempt to be stopped."""
        await self.tell(seller, Cancel(subtask=subtask, attempt=attempt, epoch=epoch))

    async def until(
        self, kind: type[Kind], subtask: str = "", *, count: int = 1, within_s: float = 20.0
    ) -> Kind:
        """Wait for the `count`-th message of a kind (about `subtask`, if given) and return it."""

        def found() -> list[Kind]:
            return [
                item
                for item in self.heard
                if isinstance(item, kind) and (not subtask or getattr(item, "subtask", "") == subtask)
            ]

        await self.wait(lambda: len(found()) >= count, within_s)
        return found()[count - 1]

    async def wait(self, condition: Callable[[], bool], within_s: float = 20.0) -> None:
        """Wait until something heard makes the condition true.

        Raises:
            AssertionError: it did not in time; what was heard is in the message.
        """
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"not heard in {within_s} s; heard: {self.heard}") from None

    async def auction(self, seller: str, item: Announce, **more: Any) -> Bid:
        """Announce, wait for the bid, and award; returns the bid."""
        await self.announce(item)
        bid = await self.until(Bid, item.subtask)
        won = award(item.subtask, item.capability, bid.agent, deadline_ms=item.deadline_ms, **more)
        await self.tell(seller, won)
        return bid

    async def store(self, name: str, data: bytes, media_type: str = "text/plain") -> NamedRef:
        """Put an input into the workspace."""
        ref = await self.endpoint.artifacts.put(data, self.endpoint.me)
        return NamedRef(name=name, media_type=media_type, ref=ref)

    async def read(self, result: Result, index: int = 0) -> bytes:
        """The content of an output."""
        return await self.endpoint.artifacts.read(result.outputs[index].ref, 1 << 26)
