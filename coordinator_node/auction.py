"""Rounds of sealed bids: open, collect, close early or at the end of the window, and decide several at once.

Rules. A round closes when every node that is worth waiting for has answered, when enough good bids are in, or when its window ends. A bid for a
round that is not open is late. A node has one bid in a round: its last. Rounds that close in the same step are decided together, over all runs,
because their bids compete for the same slots. Bids are judged by `scoring`, shared out by `assignment`. A core: no clock, no bus.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from protocol.messages import Bid, Decline
from protocol.records import BidNote, DeclineNote

from .assignment import FULL, Lot, assign
from .history import History
from .market import Market, Seller
from .orders import Answer
from .scoring import Candidate, gate, score_round
from .timers import Timers

__all__ = ["BUSY", "Auction", "Decision", "Key", "Round", "noted"]

Key = tuple[str, str]
"""(run, subtask)"""

Afford = Callable[[Key, str, Bid], tuple[str, str] | None]
"""(subtask, node, its bid) -> why it cannot be paid, as code and words."""
UNPAID: Final = frozenset({"E_BUDGET", "E_UNPRICED"})
BUSY: Final = frozenset({"E_SLOTS", "E_LOAD", "E_DRAINING", "E_LIMIT", "E_HALTED", "E_DISK_FULL"})
"""Declines that may be otherwise in a moment."""
_ENOUGH: Final = 8
"""Bids with a free slot that close a round early, once half of those asked have answered: more improve the price by little."""
_CROWD_LOAD: Final = 0.4
_CROWD_WAIT: Final = 0.8
_NOTES_MAX: Final = 64
_OPENED_MAX: Final = 20_000


@dataclass(slots=True)
class _Batch:
    """Rounds that were opened together, with the same nodes asked."""

    opened: float
    asked: dict[str, Seller]
    open: dict[Key, None]
    silent: set[str]


@dataclass(slots=True)
class Round:
    """One subtask that is open for bids."""

    key: Key
    capability: str
    number: int
    deadline_ms: int
    input_bytes: int
    failed: dict[str, int]
    """Node -> how often it failed this very subtask."""
    everybody: bool
    """Whether the announcement went to all who offer the capability."""
    batch: _Batch
    waiting: set[str]
    bids: dict[str, Candidate] = field(default_factory=dict)
    declines: dict[str, DeclineNote] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """How many nodes were asked."""
        return len(self.batch.asked)

    @property
    def busy_note(self) -> DeclineNote | None:
        """What somebody said who would do it, only not now; None when there is nobody such."""
        return next((note for note in self.declines.values() if note.code in BUSY), None)

    @property
    def unpaid(self) -> DeclineNote | None:
        """A bid that cannot be paid, and why; None when there is none."""
        return next((note for note in self.declines.values() if note.code in UNPAID), None)

    @property
    def unanswered(self) -> bool:
        """Whether somebody who was asked said nothing."""
        return any(node not in self.bids and node not in self.declines for node in self.batch.asked)


@dataclass(slots=True)
class Decision:
    """What became of a round: `ranked` are all usable bids, the winner first; empty when there is none (yet)."""

    round: Round
    ranked: list[Candidate]
    notes: list[BidNote]
    reason: str
    crowded: bool = False
    """There were bids, but their nodes' slots went to other subtasks of the same decision."""


class Auction:
    """All open rounds of all runs."""

    def __init__(
        self, market: Market, history: History, rng: random.Random, afford: Afford | None = None
    ) -> None:
        self._afford = afford
        self._market = market
        self._history = history
        self._rng = rng
        self._rounds: dict[Key, Round] = {}
        self._closable: dict[Key, None] = {}
        self._timers: Timers[int] = Timers()
        self._batches: dict[int, _Batch] = {}
        self._count = 0
        self._opened: dict[tuple[Key, int], tuple[float, float]] = {}
        """When rounds were opened and how long their windows were, the last of them: late answers are timed, too, or no window would ever fit a
        slow node. They count as just too late, however late they are: a device that slept is not a slow one."""

    def __contains__(self, key: Key) -> bool:
        return key in self._rounds

    def __len__(self) -> int:
        return len(self._rounds)

    def open(self, rounds: Iterable[Round], batch: _Batch, window_s: float) -> None:
        """Begin to take bids for rounds that were made with `batch`."""
        for one in rounds:
            self._rounds[one.key] = one
            self._opened[one.key, one.number] = (batch.opened, window_s)
            batch.open[one.key] = None
        while len(self._opened) > _OPENED_MAX:
            del self._opened[next(iter(self._opened))]
        self._count += 1
        self._batches[self._count] = batch
        self._timers.set(self._count, batch.opened + window_s)

    def batch(self, asked: Sequence[Seller], now: float) -> _Batch:
        """A batch for rounds that ask these nodes."""
        by_node = {seller.info.node: seller for seller in asked}
        return _Batch(now, by_node, {}, set())

    @staticmethod
    def waited_for(batch: _Batch) -> set[str]:
        """Whose answers a round of the batch waits for: those who usually answer, or everybody if none does."""
        return {node for node, seller in batch.asked.items() if seller.responsive} or set(batch.asked)

    def answered(
        self, run: str, node: str, bus_key: str, items: Sequence[Answer], digest: bytes, now: float
    ) -> list[Bid]:
        """Take in what a node answered; the bids that came too late are returned."""
        late: list[Bid] = []
        seller = self._market.sellers.get(node)
        held = seller.held if seller else 0
        if seller is not None and items:
            opened = self._opened.get(((run, items[0].subtask), items[0].round))
            if opened is not None:
                seller.answered(min(now - opened[0], opened[1]))
        for item in items:
            key = (run, item.subtask)
            one = self._rounds.get(key)
            if one is None or one.number != item.round:
                if isinstance(item, Bid):
                    late.append(item)
                continue
            if isinstance(item, Decline):
                one.declines[node] = DeclineNote(node=node, code=item.code, detail=item.detail)
                one.bids.pop(node, None)
            else:
                one.bids[node] = Candidate(item, node, bus_key, digest, now, held)
                one.declines.pop(node, None)
            one.waiting.discard(node)
            if not one.waiting or self._enough(one):
                self._closable[key] = None
        return late

    @staticmethod
    def _enough(one: Round) -> bool:
        if len(one.bids) < _ENOUGH or 2 * (len(one.bids) + len(one.declines)) < one.asked:
            return False
        return sum(1 for candidate in one.bids.values() if candidate.bid.free_slots > 0) >= _ENOUGH

    def lost(self, node: str) -> None:
        """A node is gone: its bids do not count, and nobody waits for it."""
        for key, one in self._rounds.items():
            one.bids.pop(node, None)
            one.waiting.discard(node)
            if not one.waiting:
                self._closable[key] = None

    def doubt(self, node: str) -> None:
        """A node may be gone: rounds that wait for others, too, or have answers do not wait for it any more."""
        for key, one in self._rounds.items():
            if node in one.waiting and (len(one.waiting) > 1 or one.bids or one.declines):
                one.waiting.discard(node)
                if not one.waiting:
                    self._closable[key] = None

    def of_run(self, run: str) -> list[Key]:
        """The subtasks of a run that are open for bids."""
        return [key for key in self._rounds if key[0] == run]

    def drop(self, key: Key) -> Round | None:
        """End a round without a decision; None when none is open."""
        one = self._rounds.pop(key, None)
        if one is not None:
            self._closable.pop(key, None)
            one.batch.open.pop(key, None)
        return one

    def deadline(self) -> float | None:
        """When the next window ends."""
        return self._timers.next()

    def tick(self, now: float) -> None:
        """Let windows end."""
        for number in self._timers.due(now):
            batch = self._batches.pop(number)
            for key in batch.open:
                one = self._rounds[key]
                batch.silent |= one.waiting
                self._closable[key] = None
            for node in batch.silent:
                batch.asked[node].silent += 1

    def close(self) -> list[Decision]:
        """Decide every round that is to be closed, all together."""
        if not self._closable:
            return []
        rounds = [one for key in list(self._closable) if (one := self.drop(key)) is not None]
        lots: list[Lot] = []
        usable: dict[Key, list[Candidate]] = {}
        for one in rounds:
            candidates = self._judge(one)
            if candidates:
                usable[one.key] = candidates
                lots.append(
                    Lot(one.key, {candidate.node: candidate.score for candidate in candidates}, _seed(one))
                )
        chosen = assign(lots, self._crowding(usable.values()), self._rng) if lots else {}
        return [self._decision(one, usable.get(one.key, []), chosen) for one in rounds]

    def _judge(self, one: Round) -> list[Candidate]:
        candidates: list[Candidate] = []
        for candidate in one.bids.values():
            why = gate(candidate.bid, one.deadline_ms, self._market.slots(candidate.node, one.capability))
            unpaid = (
                self._afford(one.key, candidate.node, candidate.bid) if self._afford and not why else None
            )
            if why:
                one.declines[candidate.node] = DeclineNote(node=candidate.node, code="E_GATE", detail=why)
            elif self._market.limited(candidate.node, one.capability):
                note = "it waits for a limit of use to pass"
                one.declines[candidate.node] = DeclineNote(node=candidate.node, code="E_LIMIT", detail=note)
            elif unpaid is not None:
                code, words = unpaid
                one.declines[candidate.node] = DeclineNote(node=candidate.node, code=code, detail=words[:200])
            else:
                candidates.append(candidate)
        if candidates:
            score_round(
                candidates,
                one.capability,
                deadline_ms=one.deadline_ms,
                input_bytes=one.input_bytes,
                failed=one.failed,
                history=self._history,
                rng=self._rng,
            )
        return candidates

    def _crowding(self, groups: Iterable[list[Candidate]]) -> _Crowding:
        free: dict[str, int] = {}
        total: dict[str, int] = {}
        most: dict[str, int] = {}
        for candidates in groups:
            for candidate in candidates:
                node, bid = candidate.node, candidate.bid
                seller = self._market.sellers.get(node)
                since = max(0, (seller.held if seller else 0) - candidate.held)
                left = bid.free_slots - since
                free[node] = min(free.get(node, left), left)
                if node not in total:
                    total[node] = max(1, bid.free_slots, *(seller.info.slots.values() if seller else ()))
                # Beside its free slots a node takes a queue of about as many; one that bids has room for one at least.
                room = max(1, left + total[node] - bid.queue)
                most[node] = min(most.get(node, room), room)
        return _Crowding(free, total, most)

    def _decision(self, one: Round, candidates: list[Candidate], chosen: dict[Key, str]) -> Decision:
        ranked = sorted(candidates, key=lambda candidate: -candidate.score)
        notes = noted(ranked)
        winner = chosen.get(one.key)
        if winner is None:
            return Decision(one, [], notes, "", crowded=bool(ranked))
        first = next(candidate for candidate in ranked if candidate.node == winner)
        shared = first is not ranked[0]
        ranked.remove(first)
        ranked.insert(0, first)
        return Decision(one, ranked, notes, _reason(first, len(ranked), shared=shared))


@dataclass(frozen=True, slots=True)
class _Crowding:
    """What one more subtask at a node is worth less: its load first, then the wait for a slot, until its queue is full."""

    free: dict[str, int]
    total: dict[str, int]
    most: dict[str, int]

    def __call__(self, node: str, given: int) -> float:
        if given >= self.most[node]:
            return FULL
        total = self.total[node]
        over = given - self.free[node] + 1
        return _CROWD_LOAD * given / total + (_CROWD_WAIT * over / total if over > 0 else 0.0)


def _seed(one: Round) -> int:
    """The seed of a round's ties: anybody who knows the announcement can compute it."""
    text = f"{one.key[0]}/{one.key[1]}/{one.number}".encode()
    return int.from_bytes(hashlib.blake2s(text, digest_size=8).digest(), "big")


def noted(ranked: Sequence[Candidate]) -> list[BidNote]:
    """What an award writes down of the bids, the best first."""
    return [_note(candidate) for candidate in ranked[:_NOTES_MAX]]


def _note(candidate: Candidate) -> BidNote:
    bid = candidate.bid
    return BidNote(
        node=candidate.node,
        agent=bid.agent,
        price=bid.price,
        eta_ms=bid.eta_ms,
        success=bid.success,
        load=bid.load,
        score=round(candidate.score, 6),
        envelope=candidate.digest,
    )


def _reason(first: Candidate, count: int, *, shared: bool) -> str:
    bid = first.bid
    why = "the only bid" if count == 1 else f"best of {count} bids"
    if shared:
        why = f"best of {count} bids shared with other subtasks"
    return (
        f"{why}: {bid.eta_ms / 1000:.3g} s, {bid.price / 1_000_000:.3g} credits,"
        f" load {bid.load:.0%}, success {first.quality:.0%}"
    )
