"""Who could do the work: the nodes that are here, what they offer, what they hold for us, and how fast they answer.

Rules. A core; it decides nothing about any subtask. `flight` counts open rounds and live attempts by capability, so that no more is announced than
could be taken on soon. A node that let two windows pass in silence, or a lease, is still asked but no longer waited for, until it speaks again.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from .orders import NodeInfo
from .timers import Timers

__all__ = ["ASKED_MAX", "WINDOW_MAX_S", "WINDOW_MIN_S", "Market", "Seller"]

ASKED_MAX: Final = 32
"""At most so many nodes are asked about one subtask; more are drawn by lot. Beyond that bids cost more than they improve."""
_ASKED_FULL: Final = 8
WINDOW_MIN_S: Final = 0.15
WINDOW_MAX_S: Final = 5.0
WINDOW_FIRST_S: Final = 1.0
"""For a node whose answers were never timed."""
_THINK_S: Final = 0.1
"""Time to think, beside three times the slowest recent answer."""
_SILENT: Final = 2
_ANSWER_FADE: Final = 0.9
_BACKLOG: Final = 2
"""Subtasks announced or awarded for each slot there is: one at work, one waiting, so that no slot idles for a round trip."""
_BACKLOG_MIN: Final = 8
_PROBE: Final = 2
"""How many more than before are tried first with full sellers."""


@dataclass(slots=True)
class Seller:
    """One node. `held`: attempts that it has from us; `slowest_s`: its slowest recent answer, 0 when there was none."""

    info: NodeInfo
    held: int = 0
    slowest_s: float = 0.0
    silent: int = 0

    @property
    def responsive(self) -> bool:
        """Whether its answer is worth waiting for."""
        return self.silent < _SILENT

    def answered(self, seconds: float) -> None:
        """It answered an announcement after so long."""
        self.silent = 0
        self.slowest_s = max(seconds, self.slowest_s * _ANSWER_FADE)


@dataclass(slots=True)
class _Demand:
    """One capability: what is in the air, and whether sellers said that they are full."""

    flight: int = 0
    waiting: int = 0
    """Attempts in flight that wait for a limit of use or for a person: they keep nobody else from being asked."""
    sellers: dict[str, Seller] = field(default_factory=dict)
    ever: bool = False
    deck: list[str] = field(default_factory=list)
    """Whom to ask next, where not everybody is asked."""
    most: int | None = None
    """What was in flight when its sellers last said that they are full; None when they did not."""
    probe: int = _PROBE
    """How many more than that are tried next."""
    seemed: int = 0
    """Slots that seemed free then: others must have had them."""
    room: tuple[tuple[int, bool], int] = ((-1, False), 0)
    """What there was room for, and at which change of the market that was reckoned."""


class Market:
    """All nodes."""

    def __init__(self) -> None:
        self.sellers: dict[str, Seller] = {}
        self._demand: dict[str, _Demand] = {}
        self._flight = self._held = 0
        self._changes = 0
        """Grows with everything on which `room` depends: it is asked at every event, and rarely differs."""
        self._limits: Timers[tuple[str, str]] = Timers()
        """(node, capability) that reached somebody's limit of use -> until when."""

    def seen(self, info: NodeInfo) -> bool:
        """A node is here; whether it or what it offers is new."""
        self._changes += 1
        seller = self.sellers.get(info.node)
        if seller is not None and seller.info == info:
            seller.silent = 0
            return False
        if seller is None:
            seller = self.sellers[info.node] = Seller(info)
        else:
            self._withdraw(seller)
            seller.info = info
            seller.silent = 0
        for capability in info.slots:
            demand = self._of(capability)
            demand.sellers[info.node] = seller
            demand.ever = True
        return True

    def lost(self, node: str) -> None:
        """A node is gone. What it holds is not forgotten: its attempts end one by one."""
        self._changes += 1
        seller = self.sellers.get(node)
        if seller is not None:
            self._withdraw(seller)
            if seller.held == 0:
                del self.sellers[node]
            else:
                seller.info = NodeInfo(seller.info.node, seller.info.bus_key, seller.info.name, {})

    def doubt(self, node: str) -> None:
        """A node let a lease run out: nobody waits for its answers until it speaks again."""
        seller = self.sellers.get(node)
        if seller is not None:
            seller.silent = max(seller.silent, _SILENT)

    def _withdraw(self, seller: Seller) -> None:
        for capability in seller.info.slots:
            self._of(capability).sellers.pop(seller.info.node, None)

    def _of(self, capability: str) -> _Demand:
        demand = self._demand.get(capability)
        if demand is None:
            demand = self._demand[capability] = _Demand()
        return demand

    def name(self, node: str) -> str:
        """What people call the node."""
        seller = self.sellers.get(node)
        return seller.info.name if seller else node[:8]

    def limit(self, node: str, capability: str, until: float) -> None:
        """The node has reached a limit of use there: it is offered nothing of the capability before `until`."""
        self._changes += 1
        if (node, capability) not in self._limits or until > self._limits.at((node, capability)):
            self._limits.set((node, capability), until)

    def lift(self, node: str, capability: str) -> bool:
        """It works again; whether it was at a limit."""
        self._changes += 1
        found = (node, capability) in self._limits
        self._limits.cancel((node, capability))
        return found

    def limited(self, node: str, capability: str) -> bool:
        """Whether it is at a limit of use."""
        return (node, capability) in self._limits

    def deadline(self) -> float | None:
        """When the next limit has passed."""
        return self._limits.next()

    def tick(self, now: float) -> bool:
        """Let time pass; whether somebody may be asked again."""
        passed = bool(self._limits.due(now))
        self._changes += passed
        return passed

    def able(self, capability: str) -> dict[str, Seller]:
        """Who offers the capability and is at no limit."""
        sellers = self._of(capability).sellers
        if not len(self._limits):
            return sellers
        return {node: seller for node, seller in sellers.items() if not self.limited(node, capability)}

    def offering(self, capability: str) -> dict[str, Seller]:
        """Who offers the capability now, by node."""
        return self._of(capability).sellers

    def ever_offered(self, capability: str) -> bool:
        """Whether anybody has offered it since we began to listen."""
        return self._of(capability).ever

    def slots(self, node: str, capability: str) -> int:
        """How many of the capability the node does at once; 0 when it does not offer it (any more)."""
        seller = self.sellers.get(node)
        return seller.info.slots.get(capability, 0) if seller else 0

    def room(self, capability: str, *, probe: bool = True) -> int:
        """How many more subtasks are worth announcing now; `probe`: a few more than its sellers took when they were last full."""
        demand = self._of(capability)
        place = (self._changes, probe)
        if demand.room[0] != place:
            demand.room = (place, self._room(capability, demand, probe=probe))
        return demand.room[1]

    def _room(self, capability: str, demand: _Demand, *, probe: bool) -> int:
        able = self.able(capability)
        if not able:
            return 0
        slots = sum(seller.info.slots[capability] for seller in able.values())
        flight = demand.flight - demand.waiting
        room = max(_BACKLOG_MIN, _BACKLOG * slots) - flight
        if demand.most is not None:
            tried = demand.most + (demand.probe if probe else 0) - flight
            open_rounds = self._flight - self._held
            room = min(room, max(tried, self._free(capability) - demand.seemed - open_rounds))
        return max(0, room)

    def _free(self, capability: str) -> int:
        """Slots that are free as far as we know."""
        return sum(
            max(0, seller.info.slots[capability] - seller.held) for seller in self.able(capability).values()
        )

    def full(self, capability: str) -> None:
        """Everybody who was asked is full: no more than now is in flight until somebody takes more."""
        self._changes += 1
        demand = self._of(capability)
        demand.most = demand.flight - demand.waiting
        demand.seemed = self._free(capability)
        demand.probe = _PROBE

    def took(self, capability: str) -> bool:
        """Somebody took one; whether it was one more than they took when they were full."""
        demand = self._of(capability)
        if demand.most is None or demand.flight - demand.waiting <= demand.most:
            return False
        self._changes += 1
        demand.most = demand.flight - demand.waiting
        demand.probe *= 2
        return True

    def not_full(self, capability: str) -> None:
        """Sellers came or went: what was known of how much they take holds no longer."""
        self._changes += 1
        self._of(capability).most = None

    def flight(self, capability: str) -> int:
        """How many subtasks of the capability are announced or awarded now."""
        return self._of(capability).flight

    def fly(self, capability: str, change: int) -> None:
        """A round was opened, or a round or an attempt ended."""
        self._changes += 1
        demand = self._of(capability)
        demand.flight += change
        self._flight += change
        assert demand.flight >= 0, f"more ends than beginnings of {capability}"

    def wait(self, capability: str, change: int) -> None:
        """An attempt in flight began or ceased to wait."""
        self._changes += 1
        demand = self._of(capability)
        demand.waiting += change
        assert 0 <= demand.waiting <= demand.flight, f"more attempts of {capability} wait than there are"

    def hold(self, node: str, change: int) -> None:
        """The node was given an attempt, or one of its attempts ended."""
        self._changes += 1
        self._held += change
        seller = self.sellers.get(node)
        if seller is None:
            if change < 0:
                return
            seller = self.sellers[node] = Seller(NodeInfo(node, "", node[:8], {}))
        seller.held = max(0, seller.held + change)
        if seller.held == 0 and not seller.info.slots and not seller.info.bus_key:
            del self.sellers[node]

    def ask(self, capability: str, avoid: frozenset[str], rng: random.Random) -> tuple[list[Seller], bool]:
        """Whom to ask: at most `ASKED_MAX`; and whether that is everybody who offers it.

        Of many, those who have a slot free, as far as we know, come first; the others are dealt from a shuffled deck, so that nobody is asked
        twice before everybody was asked once.
        """
        demand = self._of(capability)
        able = self.able(capability)
        sellers = [seller for node, seller in able.items() if node not in avoid]
        if len(sellers) <= ASKED_MAX:
            return sellers, True
        free = [seller for seller in sellers if seller.held < seller.info.slots[capability]]
        if len(free) < len(sellers):
            first = free if len(free) <= ASKED_MAX else rng.sample(free, ASKED_MAX)
        else:
            first = []
        # Full sellers are asked by few at a time: many would say no to each of many.
        most = ASKED_MAX if demand.most is None else max(_ASKED_FULL, len(first))
        dealt: dict[str, Seller] = {seller.info.node: seller for seller in first}
        while len(dealt) < most:
            if not demand.deck:
                demand.deck = list(demand.sellers)
                rng.shuffle(demand.deck)
            node = demand.deck.pop()
            if node in able and node not in avoid:
                dealt[node] = able[node]
        return list(dealt.values()), False

    def window_s(self, asked: list[Seller]) -> float:
        """How long to wait for the answers of these nodes; longer for those who let the last window pass.

        Nodes that are not waited for do not make it longer, unless there are no others.
        """
        waited = [seller for seller in asked if seller.responsive] or asked
        slowest = max(
            ((seller.slowest_s or WINDOW_FIRST_S / 3) * 2.0 ** min(seller.silent, 4) for seller in waited),
            default=0.0,
        )
        return min(WINDOW_MAX_S, max(WINDOW_MIN_S, 3 * slowest + _THINK_S))
