"""Shell: this coordinator among others: which runs it takes when their owner is gone, and whose messages it listens to.

Rules (SPEC OWN-3, OWN-4). After each look at the board: a run that another has taken is dropped, one whose owner's lease is over is read and taken if it is ours
to take. Messages about a run that is being read are kept and follow behind it. Messages about runs of others are dropped before their signature is
checked. Without our lease nothing is decided: what comes waits until we have it again. Counterparts: `ownership` and `ownership_board`, `archive`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from mesh.errors import MeshError
from protocol.errors import ZwermError
from protocol.subjects import Route

from .budget_children import used_by
from .orders import AnswersReceived, ChildEnded, Event, RunDeposed, RunForgotten, WorkReceived
from .ownership import LEASE_CLUSTER_S, LEASE_S, Ownership
from .ownership_board import Board
from .waiting import HELD_MAX, Waiting

if TYPE_CHECKING:
    from .node import CoordinatorRole

__all__ = ["Takeover"]

log = logging.getLogger("zwerm.ownership")

_STRAYS_S: Final = 20.0
"""So often runs are looked for that have no head: their owner died before it was written."""


class Takeover:
    """One coordinator's part in sharing the runs."""

    def __init__(self, role: CoordinatorRole) -> None:
        self._role = role
        endpoint = role.endpoint
        ttl_s = role.config.lease_s or (
            LEASE_CLUSTER_S if getattr(endpoint.bus, "clustered", False) else LEASE_S
        )
        self.core = Ownership(endpoint.node, ttl_s)
        self.board = Board(endpoint, self.core, self._changed, self._epoch_of, role.now)
        self._reading: dict[str, list[Event]] = {}
        """Runs that are being read, and what was said about them meanwhile."""
        self._ahead: set[str] = set()
        self._settling: set[str] = set()
        self._waiting = Waiting()
        """What came while we do not hold our lease."""
        self._task: asyncio.Task[None] | None = None
        self._alive: frozenset[str] = frozenset()
        self._strays_at = 0.0
        self._looking = False
        self._led = True

    # --- life ---

    async def begin(self) -> None:
        """Get our lease and read the board.

        Raises:
            MeshError: it does not answer.
        """
        if self._task is None:
            await self.board.begin()
            self._alive = self.core.alive(self._role.endpoint.clock.monotonic())
            self._task = self._role.tasks.create_task(self.board.run())

    async def leave(self) -> None:
        """Hand everything over."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.board.leave()

    # --- what is ours to hear ---

    def wanted(self, route: Route) -> bool:
        """Whether a message about a run is for us: ours, one that we are taking, or an ended one that nobody else answers for."""
        run = route.run
        return (
            run in self._role.engine.desks
            or run in self._reading
            or self._role.engine.is_closed(run)
            or run in self._role.archive.closed
            or self.board.speaks_for(run)
        )

    def keeps(self, event: Event) -> bool:
        """Take an event that must wait; False: it may be handled now."""
        if isinstance(event, (AnswersReceived, WorkReceived)):
            reading = self._reading.get(event.run)
            if reading is not None:
                if len(reading) < HELD_MAX:
                    reading.append(event)
                return True
        if self.board.holds():
            first = self._waiting.overtaken_by(event)
            self._go_on()
            return first
        if self._led:
            self._led = False
            log.warning("our lease could not be renewed in time: nothing is decided until it is")
        self._waiting.put(event)
        return True

    def before(self, event: Event) -> RunForgotten | None:
        """What the engine must know before an event: that the run has ended, if it does not."""
        if not isinstance(event, WorkReceived) or event.run in self._role.engine.desks:
            return None
        if self._role.engine.is_closed(event.run):
            return None
        ended = event.run in self._role.archive.closed or self.board.speaks_for(event.run)
        return RunForgotten(event.run) if ended else None

    # --- after each look at the board ---

    def _changed(self) -> None:
        role = self._role
        if role.closing or not self.board.holds():
            return
        self._go_on()
        self._drop_lost()
        if not role.serving.is_set():
            return
        for run, head in list(self.board.heads.open.items()):
            if self._free(run) and self.board.takes(run, head.owner):
                self._begin(run)
            elif run not in self._ahead and self._free(run) and self.board.expects(run, head.owner):
                self._ahead.add(run)
                role.start(self._read_ahead(run))
        for run, child in role.engine.children.elsewhere():
            below = self.board.heads.get(child)
            if below is not None and below.closed and child not in self._settling:
                self._settling.add(child)
                role.start(self._settle(run, child))
        now = role.endpoint.clock.monotonic()
        alive = self.core.alive(now)
        if (self._alive - alive or now >= self._strays_at) and not self._looking:
            self._looking = True
            self._strays_at = now + _STRAYS_S
            role.start(self._look_for_strays())
        self._alive = alive

    def _go_on(self) -> None:
        """We have our lease (again): what came while we had not is decided, before anything that comes now."""
        if not self._led:
            self._led = True
            log.warning("our lease is renewed: going on")
        for event in self._waiting.take():
            self._role.take(event)

    def _free(self, run: str) -> bool:
        role = self._role
        return not (
            run in role.engine.desks
            or run in self._reading
            or run in role.archive.broken
            or run in role.archive.closed
            or role.engine.is_closed(run)
        )

    def _drop_lost(self) -> None:
        """Runs of ours that somebody else has taken."""
        desks = self._role.engine.desks
        for run in [run for run in desks if run in self.board.heads.open]:
            head, state = self.board.heads.open[run], desks[run].state
            if head.epoch > state.epoch and head.owner != self._role.endpoint.node:
                log.warning("run %s was taken by another coordinator", run[-6:])
                self._role.take(RunDeposed(run))

    async def _look_for_strays(self) -> None:
        """Runs whose owner died before the board knew of them."""
        try:
            for run in await self._role.endpoint.journal.runs():
                if run not in self.board.heads and self._free(run):
                    self._begin(run)
        except MeshError as error:
            self._strays_at = 0.0
            log.warning("the journal's runs cannot be listed yet: %s", error.message)
        finally:
            self._looking = False

    async def _settle(self, run: str, child: str) -> None:
        """A run below one of ours has ended at another coordinator: what it used is in its journal."""
        try:
            state, _ = await self._role.archive.get(child)
            if state.status == "closed" and state.parent == run:
                self._role.take(ChildEnded(run, child, used_by(state)))
        except ZwermError as error:
            log.warning("run %s, below run %s, cannot be settled yet: %s", child[-6:], run[-6:], error)
        finally:
            self._settling.discard(child)

    async def _read_ahead(self, run: str) -> None:
        """Read a run whose owner has missed renewals; what goes wrong here shows again when it is taken."""
        try:
            with contextlib.suppress(ZwermError):
                await self._role.archive.read_ahead(run)
        finally:
            self._ahead.discard(run)

    def _begin(self, run: str) -> None:
        self._reading[run] = []
        self._role.start(self._take(run))

    async def _take(self, run: str) -> None:
        """Read a run and take it, if it is ours to take; otherwise the next look at the board tries again."""
        role = self._role
        try:
            recovered = await role.archive.take_up(run, role.store)
        except MeshError as error:
            log.warning("run %s cannot be read yet: %s", run[-6:], error.message)
            recovered = None
        except ZwermError as error:
            role.archive.halted(run, error)
            recovered = None
        held = self._reading.pop(run)
        if recovered is not None:
            log.info("taking run %s of %s", run[-6:], recovered.state.owner[:8])
            role.take(recovered)
            for event in held:
                role.take(event)

    def _epoch_of(self, run: str) -> int:
        state = self._role.engine.state(run)
        return state.epoch if state is not None else 0
