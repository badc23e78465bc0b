"""What a node does about orders to halt: when its agents are stopped, when they may go on, what waits until it is known. A core.

Rules (SPEC HLT-3, HLT-4). The order reaches the selling core and what starts processes first, then everything that runs is ended; it is carried out
when nothing runs any more. An award that comes while the swarm's store has not been asked waits for the answer. Counterparts: `mesh.halting`
(whether there is an order), `node` and `sim_actor` (end processes).
"""

from __future__ import annotations

from collections.abc import Callable

from mesh.halting import Halts

from .events import Awarded, Event, HaltAsked, HaltLifted

__all__ = ["Obedience"]


class Obedience:
    """One node's.

    Args:
        halts: the device's orders.
        take: hands an event to the selling core.
        forbid: no process may be started (True), or again (False).
        end: begin to end everything that runs; `ended` is to be called with this number when nothing does.
    """

    def __init__(
        self,
        halts: Halts,
        take: Callable[[Event], None],
        forbid: Callable[[bool], None],
        end: Callable[[int], None],
    ) -> None:
        self._halts = halts
        self._take = take
        self._forbid = forbid
        self._end = end
        self._turn = 0
        """Number of the newest order to end everything."""
        self._ending = False
        self._deferred: list[Event] = []
        halts.has_workers = True
        halts.subscribe(self._changed)

    def begin(self) -> None:
        """The node starts to work: an order of before its start is carried out first."""
        if self._halts.halted:
            self._halt()

    def defers(self, event: Event) -> bool:
        """Take an event that has to wait; False: it may be handled now."""
        if not isinstance(event, Awarded) or self._halts.sure:
            return False
        self._deferred.append(event)  # it may be that the swarm was halted while this node was away
        return True

    def holds(self, turn: int) -> bool:
        """Whether what was to be ended still has to be: not after the order was lifted, nor when it was given anew."""
        return self._halts.halted and turn == self._turn

    def ended(self, turn: int, stopped: int) -> None:
        """Nothing runs any more; `stopped` processes were ended."""
        if self.holds(turn):
            self._ending = False
            self._halts.carried_out(stopped)

    def _changed(self) -> None:
        """An order came, or whether there is one has been looked up."""
        halts = self._halts
        if halts.pending and halts.halted:
            if not self._ending:
                self._halt()
        elif halts.pending:
            self._ending = False
            self._turn += 1
            self._forbid(False)
            self._take(HaltLifted())
            halts.carried_out(0)
        if halts.sure and self._deferred:
            deferred, self._deferred = self._deferred, []
            for event in deferred:
                self._take(event)

    def _halt(self) -> None:
        self._ending = True
        self._forbid(True)
        self._take(HaltAsked(self._halts.why))
        self._turn += 1
        self._end(self._turn)
