"""The referee of halts: which order has reached whom, and whether anybody acts against the one that reached him.

Rules (SPEC HLT-2 to HLT-4). Of the orders that reached a process the one with the highest number rules, of two with one number the one that stops; a process that
comes back obeys what its device had kept. Under a halt a node begins nothing, has nothing running any more after `END_S`, has said so by then, and never says so
before; a coordinator announces and awards nothing. Awards wait while a device that was connected anew has not asked. No work fails for having been halted.
It counts for itself which order rules, so that a mistake in `mesh.halting` is one that it can see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from protocol.errors import Rejected as NotAnOrder
from protocol.halts import unpack_halt
from protocol.messages import Announce, Heartbeat, Item
from protocol.records import AttemptFailed, Awarded, Record, Rejected, SubtaskFailed

from .ledger import Broken
from .timeline import Timeline

__all__ = ["END_S", "Stops"]

END_S: Final = 5.0
"""So long after a halt has reached a node everything of its agents is ended, and its word has left."""
_UNSURE_S: Final = 5.0
"""So long awards wait at most for what the swarm's store says."""
_POISON_TRIES: Final = 3


class _Order(NamedTuple):
    n: int = 0
    on: bool = False


class Stops:
    """All devices of a world."""

    def __init__(self, timeline: Timeline) -> None:
        self.seen: Counter[str] = Counter()
        """What happened under halts, so that tests know whether anything was tried."""
        self.took: list[float] = []
        """Seconds from each halt to the word of each node that it ended everything."""
        self._timeline = timeline
        self._given: dict[bytes, tuple[_Order, float]] = {}
        self._known: dict[str, _Order] = {}
        self._kept: dict[str, _Order] = {}
        self._lives: Counter[str] = Counter()
        self._word: dict[str, int] = {}
        self._unsure: dict[str, float] = {}
        self._working: dict[str, Callable[[], int]] = {}
        self._failed: Counter[tuple[str, str]] = Counter()
        self._halted: Counter[tuple[str, str]] = Counter()

    # --- orders ---

    def given(self, raw: bytes, n: int, *, on: bool) -> None:
        """An admin has signed an order."""
        self._given[raw] = (_Order(n, on), self._timeline.elapsed)
        self.seen["halts" if on else "lifts"] += 1

    def reached(self, who: str, raw: bytes) -> None:
        """An order comes to a process."""
        order = self._given[raw][0]
        if order <= self._known.get(who, _Order()):
            return
        self._known[who] = order
        if order.on and who in self._working:
            self.seen["attempts under way"] += self._working[who]()
            self._timeline.at(END_S, self._ended, who, self._lives[who], order)

    def reached_stored(self, who: str, stored: bytes) -> None:
        """The same, as the store has it."""
        try:
            self.reached(who, unpack_halt(stored)[0])
        except NotAnOrder:
            raise Broken("the swarm's store has something else than an order") from None

    def handled(self, who: str, *, room: bool) -> None:
        """The process has done with the order what it does; its device keeps it when its disk has room."""
        if room and who in self._known:
            self._kept[who] = self._known[who]

    def halted(self, who: str) -> bool:
        """Whether a halt holds for a process, by what has reached it."""
        return self._known.get(who, _Order()).on

    # --- lives ---

    def begun(self, who: str, working: Callable[[], int] | None = None) -> None:
        """A process starts; `working` counts what it works on, if it is a node."""
        self._lives[who] += 1
        self._known[who] = self._kept.get(who, _Order())
        self._unsure[who] = self._timeline.elapsed
        self._word.pop(who, None)
        if working is not None:
            self._working[who] = working
            if self._known[who].on:
                self.seen["started under a halt"] += 1
                self._timeline.at(2 * END_S, self._ended, who, self._lives[who], self._known[who])

    def over(self, who: str) -> None:
        """The process is gone."""
        self._lives[who] += 1

    def connected(self, who: str) -> None:
        """The device is connected anew."""
        self._unsure[who] = self._timeline.elapsed

    def asked(self, who: str) -> None:
        """The store has told the device what it has."""
        self._unsure.pop(who, None)

    # --- what nodes do ---

    def takes(self, who: str) -> None:
        """A node is about to decide on an award.

        Raises:
            Broken: it cannot know yet whether it may.
        """
        since = self._unsure.get(who)
        if since is not None and self._timeline.elapsed < since + _UNSURE_S - 0.001:
            raise Broken(
                f"{who} takes an award, and has not asked since it was connected whether the swarm is halted"
            )

    def begins(self, who: str, what: str) -> None:
        """A node starts an agent.

        Raises:
            Broken: it is halted.
        """
        if self.halted(who):
            raise Broken(f"{who} begins {what} under a halt that has reached it")

    def word(self, who: str, item: Heartbeat, working: int) -> None:
        """A node says how it is.

        Raises:
            Broken: it says that it is halted, and it works.
        """
        known = self._known.get(who, _Order())
        if item.halt > known.n:
            raise Broken(f"{who} says that it has carried out order {item.halt}, and only {known.n} has come")
        if item.halt != known.n:
            return
        if item.halted != known.on:
            raise Broken(
                f"{who} says of order {known.n} that it is {'' if item.halted else 'not '}halted, and it is not so"
            )
        if known.on and working:
            raise Broken(f"{who} says that it has carried out the halt {known.n}, and {working} attempts run")
        if known.on and self._word.get(who, 0) < known.n:
            self.took += [
                self._timeline.elapsed - at for order, at in self._given.values() if order == known
            ][-1:]
        self._word[who] = known.n

    def _ended(self, who: str, life: int, order: _Order) -> None:
        if self._lives[who] != life or self._known[who] != order:
            return
        if left := self._working[who]():
            raise Broken(f"{who} has {left} attempts {END_S:.0f} s after the halt {order.n} has reached it")
        if self._word.get(who, 0) < order.n:
            raise Broken(f"{who} has not said that it has carried out the halt {order.n}")
        self.seen["carried out"] += 1

    # --- what coordinators do ---

    def decided(self, who: str, records: Iterable[tuple[str, Record]], items: Iterable[Item]) -> None:
        """A coordinator decided this, and wants to say that.

        Raises:
            Broken: it begins something under a halt.
        """
        if not self.halted(who):
            return
        for _, record in records:
            if isinstance(record, Awarded):
                raise Broken(f"{record.subtask}: awarded by {who}, which knows that the swarm is halted")
        for item in items:
            if isinstance(item, Announce):
                raise Broken(f"{item.subtask}: announced by {who}, which knows that the swarm is halted")

    def durable(self, run: str, record: Record) -> None:
        """A record is in the journal.

        Raises:
            Broken: work fails for having been halted.
        """
        if isinstance(record, AttemptFailed) and record.code == "E_HALTED":
            self.seen["ended by a halt"] += 1
            self._halted[run, record.subtask] += 1
        elif isinstance(record, (AttemptFailed, Rejected)):
            self._failed[run, record.subtask] += 1
        elif isinstance(record, SubtaskFailed):
            place = (run, record.subtask)
            poison = record.code == "E_POISON" and self._failed[place] < _POISON_TRIES
            if self._halted[place] and (record.code == "E_HALTED" or poison):
                raise Broken(f"{record.subtask} failed as {record.code} for having been halted")
