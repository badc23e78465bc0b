"""Who owns which run, and who takes one whose owner is gone: a core that is told what leases say, and when.

Rules (SPEC OWN-1 to OWN-4). All times are this device's own monotonic seconds; whether another's lease is over is judged by its revision, never by a time in it. A lease that
was seen unchanged for its length is over, one that is not there is over at once; what could not be read meanwhile counts against nobody for longer
than half a lease. Our own is held from the moment at which the renewal was asked for, a little shorter than others grant it. A run goes to
the living coordinator that the hash of both names; the next ones wait, in case that one cannot. A lease is never a fence: taking is the append of
`run.owned`, which one writer wins. The time in a lease says how far two clocks are apart, so that a run's time does not depend on who counts it. Counterparts: `ownership_board` reads and renews, `archive` reads the runs, `recovery` says what is written first.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["LEASE_CLUSTER_S", "LEASE_S", "Lease", "Ownership", "rank"]

LEASE_S = 3.0
"""How long a coordinator may be silent before others take its runs, on a bus of one server."""
LEASE_CLUSTER_S = 15.0
"""The same on a cluster, where the choice of another leader alone takes 4 to 9 s."""

_SAFETY = 0.9
"""We trust our own lease for this share of its length: clocks do not run equally fast."""
_BLIND = 0.5
"""A pause in reading counts against others for at most this share of a lease."""
_DOUBT = 0.5
"""After this share of its length without a renewal, where three were due, a lease is doubtful."""
_LATEST = 8
"""Of so many of its renewals the one that we read soonest says how far a coordinator's clock is apart from ours."""
_READ_S = 0.5
"""Others' leases are looked at at least this often: so much later than it is over is the end of one seen."""
_NEXT = 2.0
"""So many lengths of a lease the next in rank waits for the one before it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Another coordinator's lease as it was read."""

    node: str
    revision: int
    ttl_s: float
    name: str = ""
    at_ms: int | None = None
    """Its holder's clock when it asked for this renewal."""
    session: bytes = b""
    """Another one for each process: its clock may be another, too."""


@dataclass(slots=True)
class _Apart:
    session: bytes
    ms: deque[int] = field(default_factory=lambda: deque(maxlen=_LATEST))


@dataclass(slots=True)
class _Seen:
    lease: Lease
    since: float
    """When this revision was seen first."""


def rank(run: str, nodes: frozenset[str]) -> list[str]:
    """The coordinators in the order in which they are to take a run: each run has an order of its own, the same for everybody."""
    return sorted(
        nodes,
        key=lambda node: hashlib.sha256(f"swarm-owner-v1\0{run}{node}".encode()).digest(),
        reverse=True,
    )


class Ownership:
    """One coordinator's view.

    Args:
        node: our node id, hex.
        ttl_s: length of our lease.
    """

    def __init__(self, node: str, ttl_s: float = LEASE_S) -> None:
        self.node = node
        self.ttl_s = ttl_s
        self._until: float | None = None
        self._seen: dict[str, _Seen] = {}
        self._read_at: float | None = None
        self._over: dict[str, float] = {}
        """Owner -> when we found that its lease is over."""
        self._apart: dict[str, _Apart] = {}
        """Kept when a lease ends: that is when it is needed."""

    # --- our own lease ---

    def renewed(self, asked_at: float) -> None:
        """The renewal that was asked for at `asked_at` is confirmed."""
        self._until = max(self._until or asked_at, asked_at + self.ttl_s * _SAFETY)

    def left(self) -> None:
        """Our lease is deleted: we are going."""
        self._until = None

    def holds(self, now: float) -> bool:
        """Whether our lease is good, so that we may decide things."""
        return self._until is not None and now < self._until

    def renew_every(self) -> float:
        """Seconds from one renewal to the next."""
        return self.ttl_s / 4

    def read_every(self) -> float:
        """Seconds from one look at the board to the next."""
        return min(self.ttl_s / 8, _READ_S)

    # --- the others ---

    def observed(
        self, leases: Mapping[str, Lease], now: float, began: float | None = None, at_ms: int | None = None
    ) -> None:
        """The board was read, from `began` until now: these leases are there, and no others. `at_ms`: our own clock now."""
        began = now if began is None else began
        if self._read_at is not None:
            blind = began - self._read_at - self.ttl_s * _BLIND
            if blind > 0:
                for seen in self._seen.values():
                    seen.since += blind
        self._read_at = began
        for node, lease in leases.items():
            known = self._seen.get(node)
            if known is None or known.lease.revision != lease.revision:
                self._seen[node] = _Seen(lease, now)
                if known is not None and at_ms is not None and lease.at_ms is not None:
                    self._measure(lease, at_ms - lease.at_ms)
        for node in self._seen.keys() - leases.keys():
            del self._seen[node]
        for node in [node for node in self._over if self._alive(node)]:
            del self._over[node]

    def _measure(self, lease: Lease, ms: int) -> None:
        apart = self._apart.get(lease.node)
        if apart is None or apart.session != lease.session:
            apart = self._apart[lease.node] = _Apart(lease.session)
        apart.ms.append(ms)

    def apart_ms(self, node: str) -> int:
        """By how much our clock is ahead of another coordinator's, at most so much too high as a renewal takes to be read; 0 where we saw none of its renewals."""
        apart = self._apart.get(node)
        return min(apart.ms) if apart is not None and node != self.node else 0

    def _alive(self, node: str) -> bool:
        """As of the last look at the board: what was not looked at since may have changed."""
        seen = self._seen.get(node)
        return seen is not None and (self._read_at or 0.0) - seen.since < seen.lease.ttl_s

    def alive(self, now: float) -> frozenset[str]:
        """The coordinators that live as far as we know; we are among them while we hold our lease."""
        others = {node for node in self._seen if node != self.node and self._alive(node)}
        return frozenset(others | ({self.node} if self.holds(now) else set()))

    def lives(self, node: str) -> bool:
        """Whether another coordinator's lease holds, or may hold since nothing was read yet."""
        return self._read_at is None or (node != self.node and self._alive(node))

    def takes(self, run: str, owner: str, now: float) -> bool:
        """Whether we are to take a run of `owner` now."""
        if not self.holds(now) or self._read_at is None:
            return False
        if owner == self.node:
            return True
        if self._alive(owner):
            return False
        over_since = self._over.setdefault(owner, now)
        place = rank(run, self.alive(now)).index(self.node)
        return place <= (now - over_since) // (self.ttl_s * _NEXT)

    def expects(self, run: str, owner: str, now: float) -> bool:
        """Whether we are likely to take a run soon: its owner has missed renewals, and we are the next. Reading ahead does no harm."""
        seen = self._seen.get(owner)
        if seen is None or owner == self.node or not self.holds(now):
            return False
        silent = (self._read_at or 0.0) - seen.since
        if not self.ttl_s * _DOUBT <= silent < seen.lease.ttl_s:
            return False
        return rank(run, self.alive(now) - {owner})[0] == self.node

    def speaks_for(self, run: str, owner: str, now: float) -> bool:
        """Whether we answer for an ended run of `owner`, whose last messages may still be on their way."""
        if owner == self.node:
            return True
        alive = self.alive(now)
        return owner not in alive and bool(alive) and rank(run, alive)[0] == self.node
