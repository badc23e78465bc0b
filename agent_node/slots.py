"""How much this node may take on at once: slots in use, a short queue, and soft reservations for bids.

Rules. What runs never exceeds the slots of its agent nor, for agents that use a processor, those of the node; nothing is ever negative. A
reservation is a promise with an end: an award that comes while it holds finds room if any bid could. Not every bid wins, so promises
are weighed with the measured share of bids that won (a bidder that reserved fully for each bid would idle; one that reserved
nothing would take more than it can do). It knows no clock: whoever owns it says when a reservation ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Pool", "Slots"]

_WIN_DECAY = 0.97
"""Weight of the past in the share of bids that won, per bid: about the last 33 count."""


@dataclass(slots=True)
class Pool:
    """One agent's capacity. `shared`: it also takes a slot of the node."""

    slots: int
    queue: int
    shared: bool
    running: int = 0
    queued: int = 0
    reserved: int = 0

    @property
    def taken(self) -> int:
        """Awards that are ours: running or waiting for a slot."""
        return self.running + self.queued


class Slots:
    """The ledger of one node."""

    def __init__(self, total: int, pools: dict[str, Pool]) -> None:
        if total < 0 or any(pool.slots < 1 or pool.queue < 0 for pool in pools.values()):
            raise ValueError("slots and queues are counts")
        self.total = total
        self.pools = pools
        self.running_shared = 0
        self._taken_shared = 0
        self._reserved_shared = 0
        self._won = 1.0
        self._bids = 2.0

    @property
    def win_share(self) -> float:
        """The share of recent bids that won (a half, before there are any)."""
        return self._won / self._bids

    def capacity(self, agent: str) -> int:
        """How many of this agent can run at once when nothing else does."""
        pool = self.pools[agent]
        return min(pool.slots, self.total) if pool.shared else pool.slots

    def ahead(self, agent: str) -> int:
        """How many would run or wait before one more of this agent, open bids counted with the chance that they win."""
        pool = self.pools[agent]
        own = pool.taken + math.ceil(pool.reserved * self.win_share)
        if not pool.shared:
            return own
        everybody = self._taken_shared + math.ceil(self._reserved_shared * self.win_share)
        return max(own, everybody - max(0, self.total - self.capacity(agent)))

    def room(self, agent: str) -> bool:
        """Whether one more may be promised: something runs or queues at once, if bids win as often as they did lately."""
        return self.capacity(agent) > 0 and self.ahead(agent) < self.capacity(agent) + self.pools[agent].queue

    def fits(self, agent: str) -> bool:
        """Whether one more award fits, leaving reservations aside."""
        pool = self.pools[agent]
        if self.capacity(agent) == 0 or pool.taken >= pool.slots + pool.queue:
            return False
        return not pool.shared or self._taken_shared < self.total + pool.queue

    def free(self, agent: str) -> int:
        """Slots in which one more could start now."""
        pool = self.pools[agent]
        own = pool.slots - pool.taken
        return max(0, min(own, self.total - self._taken_shared) if pool.shared else own)

    def reserve(self, agent: str) -> None:
        """A bid was made."""
        pool = self.pools[agent]
        pool.reserved += 1
        if pool.shared:
            self._reserved_shared += 1

    def unreserve(self, agent: str, *, won: bool) -> None:
        """A bid was decided or ran out."""
        pool = self.pools[agent]
        if pool.reserved <= 0:
            raise ValueError(f"{agent} has no open bid to release")
        pool.reserved -= 1
        if pool.shared:
            self._reserved_shared -= 1
        self._won = self._won * _WIN_DECAY + (1.0 if won else 0.0)
        self._bids = self._bids * _WIN_DECAY + 1.0

    def enqueue(self, agent: str) -> None:
        """An award was taken and waits for a slot."""
        pool = self.pools[agent]
        pool.queued += 1
        if pool.shared:
            self._taken_shared += 1

    def startable(self, agent: str) -> bool:
        """Whether one that waits may start now."""
        pool = self.pools[agent]
        return pool.running < pool.slots and (not pool.shared or self.running_shared < self.total)

    def start(self, agent: str) -> None:
        """One that waits starts.

        Raises:
            ValueError: none waits, or no slot is free: the caller's ledger and this one disagree.
        """
        pool = self.pools[agent]
        if pool.queued <= 0 or not self.startable(agent):
            raise ValueError(f"{agent} cannot start: {pool.queued} wait, {pool.running} of {pool.slots} run")
        pool.queued -= 1
        pool.running += 1
        if pool.shared:
            self.running_shared += 1

    def release(self, agent: str, *, ran: bool) -> None:
        """One that ran (or, with `ran` false, waited) is over.

        Raises:
            ValueError: there is none.
        """
        pool = self.pools[agent]
        if (pool.running if ran else pool.queued) <= 0:
            raise ValueError(f"{agent} has nothing to release")
        if ran:
            pool.running -= 1
        else:
            pool.queued -= 1
        if pool.shared:
            self._taken_shared -= 1
            if ran:
                self.running_shared -= 1

    @property
    def used(self) -> int:
        """Slots in use now, over all agents."""
        return sum(pool.running for pool in self.pools.values())

    @property
    def offered(self) -> int:
        """Slots in all: the node's, and those of agents that need none of the node's."""
        shared = any(pool.shared for pool in self.pools.values())
        return (self.total if shared else 0) + sum(
            pool.slots for pool in self.pools.values() if not pool.shared
        )
