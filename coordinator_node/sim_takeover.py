"""A coordinator among others in a simulated world: the daemon's Ownership core, with the board played in virtual time.

Rules. It does what `takeover_store` and `ownership_board` do: renew our lease, look at the board, drop what others have taken, read and take what is ours to take, and
decide nothing while our lease is out. What a head says is read from the log itself, so it is never behind; the lease is a value like any other, and counts for
nothing against the append of `run.owned`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mesh.sim.store import BoardView, Entry, Head

from .orders import AnswersReceived, Event, RunDeposed, RunForgotten, WorkReceived
from .ownership import LEASE_S, Lease, Ownership
from .waiting import Waiting

if TYPE_CHECKING:
    from .sim_actor import SimCoordinator

__all__ = ["SimTakeover"]


class SimTakeover:
    """One life of a coordinator's part in sharing the runs."""

    def __init__(
        self, actor: SimCoordinator, take_up: Callable[[str, list[Entry], Head | None], None]
    ) -> None:
        self.core = Ownership(actor.peer.node, LEASE_S)
        self._actor = actor
        self._take_up = take_up
        self._reading: dict[str, list[Event]] = {}
        self._waiting = Waiting()
        self._view: BoardView | None = None
        self._renew()
        self._look()

    @property
    def _now(self) -> float:
        return self._actor.peer.clock.steady()

    @property
    def ready(self) -> bool:
        """Whether clients are answered: the lease is held, and the board was read."""
        return self._view is not None and self.core.holds(self._now)

    # --- what is ours to hear ---

    def wanted(self, run: str) -> bool:
        """Whether a message about a run is for us."""
        engine = self._actor.engine
        assert engine is not None
        return run in engine.desks or run in self._reading or engine.is_closed(run) or self._speaks_for(run)

    def _speaks_for(self, run: str) -> bool:
        head = self._view.heads.get(run) if self._view is not None else None
        return head is not None and head.closed and self.core.speaks_for(run, head.owner, self._now)

    def keeps(self, event: Event) -> bool:
        """Take an event that must wait; False: it may be handled now."""
        if isinstance(event, (AnswersReceived, WorkReceived)):
            reading = self._reading.get(event.run)
            if reading is not None:
                reading.append(event)
                return True
        if self.core.holds(self._now):
            first = self._waiting.overtaken_by(event)
            self._go_on()
            return first
        self._waiting.put(event)
        return True

    def before(self, event: Event) -> RunForgotten | None:
        """What the engine must know before an event: that the run has ended, if it does not."""
        engine = self._actor.engine
        assert engine is not None
        if not isinstance(event, WorkReceived) or event.run in engine.desks or engine.is_closed(event.run):
            return None
        return RunForgotten(event.run) if self._speaks_for(event.run) else None

    # --- the board ---

    def _renew(self) -> None:
        actor, asked = self._actor, self._now
        life = actor.life
        actor.store.renew(actor.peer, life, lambda: actor.in_life(life, self.core.renewed, asked))
        actor.later(self.core.renew_every(), self._renew)

    def _look(self) -> None:
        actor, life, began = self._actor, self._actor.life, self._now
        actor.store.look(actor.peer, lambda view: actor.in_life(life, self._seen, view, began))
        actor.later(self.core.read_every(), self._look)

    def _seen(self, view: BoardView, began: float) -> None:
        self._view = view
        leases = {
            node: Lease(node, held.revision, LEASE_S, "", held.at_ms, held.life.to_bytes(8))
            for node, held in view.leases.items()
        }
        self.core.observed(leases, self._now, began, int(self._now * 1000))
        if not self.core.holds(self._now):
            return
        self._go_on()
        actor = self._actor
        engine = actor.engine
        assert engine is not None
        for run, head in view.heads.items():
            desk = engine.desks.get(run)
            if desk is not None:
                if head.epoch > desk.state.epoch and head.owner != actor.peer.node:
                    actor.take(RunDeposed(run))
            elif head.closed:
                if head.owner == actor.peer.node and not engine.is_closed(run):
                    actor.take(RunForgotten(run))
            elif run not in self._reading and self.core.takes(run, head.owner, self._now):
                self._reading[run] = []
                self._read(run, head, actor.life)

    def _go_on(self) -> None:
        """We have our lease (again): what came while we had not is decided, before anything that comes now."""
        for event in self._waiting.take():
            self._actor.take(event)

    def _read(self, run: str, head: Head, life: int) -> None:
        actor = self._actor
        if run in self._reading:
            actor.store.read(
                actor.peer, run, lambda entries: actor.in_life(life, self._found, run, head, entries)
            )
            actor.later(2.0, self._read, run, head, life)

    def _found(self, run: str, head: Head, entries: list[Entry]) -> None:
        held = self._reading.pop(run, None)
        actor = self._actor
        if held is None or actor.engine is None or run in actor.engine.desks:
            return
        actor.point("recover.read")
        self._take_up(run, entries, head)
        for event in held:
            actor.take(event)
        actor.point("recover.taken")
