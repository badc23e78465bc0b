"""Shell: runs that are not at work: read back at the start, kept for a while when they end, and found again when somebody asks.

Rules. Unfinished runs of which this node was the last owner are taken up again; those of others are left alone. The newest ended runs teach the
history. Memory is bounded: ended runs leave it, the oldest first, and are folded from the journal when asked for. A run whose
journal is broken is halted: named in the log and in lists, with the reason, never taken up, and it never keeps the others from going on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from mesh.errors import MeshError
from protocol.errors import ZwermError
from protocol.ids import by_time
from protocol.messages import Head
from protocol.plan import Plan
from protocol.records import Record

from .engine import Engine
from .errors import JournalBroken, RunUnknown
from .journal_store import Folded, JournalStore, read_run
from .offers import Brief
from .orders import RunRecovered
from .planner import replan_of
from .snapshot_store import load_snapshot
from .state import RunState

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint

    from .ownership_board import Board

__all__ = ["Archive"]

log = logging.getLogger("zwerm.archive")

_TAUGHT_RUNS: Final = 50
"""So many of the newest runs are folded at the start, for the history; of older ones only the last message is read."""
_KEPT_SUBTASKS_MAX: Final = 10_000
"""Subtasks of ended runs in memory, about 9 KiB each."""
_PLAN_BYTES_MAX: Final = 64 << 20
_READ_MAX: Final = 128
_FOLLOWED_MAX: Final = 64


class Archive:
    """Ended and old runs of one coordinator."""

    def __init__(self, endpoint: Endpoint, engine: Engine, board: Board, kept: int) -> None:
        self._endpoint = endpoint
        self._engine = engine
        self._board = board
        self._kept = kept
        self._ended: OrderedDict[str, int] = OrderedDict()
        """Run -> how many subtasks it has."""
        self._read: OrderedDict[str, tuple[RunState, Brief | None]] = OrderedDict()
        self._followed: OrderedDict[str, Folded] = OrderedDict()
        """Runs of others as far as they were read: of what somebody asks again, or takes over, only the rest is read."""
        self._following = asyncio.Lock()
        self.closed: set[str] = set()
        """Runs that were found to have ended, beside those that the board says so of."""
        self.broken: dict[str, JournalBroken] = {}
        """Runs that are halted, and why."""

    async def recover(self, store: JournalStore) -> list[RunRecovered]:
        """Read what the journal has: teach the history, and return the runs to go on with, the oldest first.

        Raises:
            MeshError: the journal does not answer; ask again, nothing has happened yet.
        """
        self._engine.history.clear()
        runs = await self._endpoint.journal.runs()
        recovered: list[RunRecovered] = []
        for place, run in enumerate(runs):
            recent = len(runs) - place <= _TAUGHT_RUNS
            try:
                found = await self._recover_one(run, store, recent=recent)
            except ZwermError as error:
                if isinstance(error, MeshError) and error.retryable:
                    raise
                self.halted(run, error)
                continue
            if found is not None:
                recovered.append(found)
        return recovered

    def halted(self, run: str, error: ZwermError) -> None:
        """A run cannot be taken up."""
        if isinstance(error, JournalBroken):
            self.broken[run] = error
        log.error("run %s cannot be taken up: %s. %s", run, error, error.hint)

    async def _recover_one(self, run: str, store: JournalStore, *, recent: bool) -> RunRecovered | None:
        head = self._board.heads.get(run)
        if not recent and (head.closed if head else await store.closed(run) is not None):
            self.closed.add(run)
            return None
        folded = await self._read_from(run, head, await self._snapshot(head), self._engine.history.observe)
        return await self._up(folded, store)

    async def take_up(self, run: str, store: JournalStore) -> RunRecovered | None:
        """Read a run whose owner seems to be gone; None when it has ended, or has an owner that lives.

        Raises:
            JournalBroken: it is halted.
            MeshError: it cannot be read now.
        """
        async with self._following:
            return await self._up(await self._follow(run), store)

    async def read_ahead(self, run: str) -> None:
        """Read a run that we may have to take soon, so that little is left to read then.

        Raises:
            JournalBroken, MeshError: as `take_up`.
        """
        async with self._following:
            if run not in self._followed:
                await self._follow(run)

    async def _up(self, folded: Folded | None, store: JournalStore) -> RunRecovered | None:
        if folded is None:
            return None
        state = folded.state
        if state.status == "closed":
            self.closed.add(state.run)
            return None
        if not self._board.takes(state.run, state.owner):
            return None
        plan = await self._plan(state)
        store.adopt(folded)
        self._followed.pop(state.run, None)
        replans = plan is not None and replan_of(plan.planner) is not None
        return RunRecovered(state, plan, replans, self._board.apart_ms(state.owner))

    async def _follow(self, run: str) -> Folded | None:
        """A run of somebody else, from where it was read last; under the lock, since it is folded in place."""
        head = self._board.heads.get(run)
        after = self._followed.pop(run, None) or await self._snapshot(head)
        folded = await self._read_from(run, head, after)
        if folded is not None and folded.state.status != "closed":
            self._followed[run] = folded
            while len(self._followed) > _FOLLOWED_MAX:
                self._followed.popitem(last=False)
        return folded

    async def _snapshot(self, head: Head | None) -> Folded | None:
        found = await load_snapshot(self._endpoint, head)
        return None if found is None else Folded(*found)

    async def _read_from(
        self,
        run: str,
        head: Head | None,
        after: Folded | None,
        observe: Callable[[RunState, Record], None] | None = None,
    ) -> Folded | None:
        """Read what came after what is known; if that does not hang together, everything: it may be what is known that is wrong."""
        if after is not None:
            try:
                return await read_run(self._endpoint, run, after=after, head=head, observe=observe)
            except JournalBroken as error:
                log.warning("run %s is read from its beginning, since: %s", run[-6:], error.why)
        return await read_run(self._endpoint, run, head=head, observe=observe)

    async def _plan(self, state: RunState) -> Plan | None:
        """The content of a run's plan; None when it is not there any more."""
        if state.plan is None:
            return None
        try:
            data = await self._endpoint.artifacts.read(state.plan, _PLAN_BYTES_MAX)
            return Plan.model_validate_json(data)
        except MeshError as error:
            if error.retryable:
                raise
            log.warning("plan of run %s: %s", state.run[-6:], error)
        except ValidationError:
            log.warning("plan of run %s is not one that this version reads", state.run[-6:])
        return None

    # --- ended runs ---

    def ended(self, run: str) -> None:
        """A run has ended; it stays in memory for a while."""
        desk = self._engine.desks.get(run)
        self._ended[run] = len(desk.state.subtasks) if desk is not None else 0

    def overdue(self) -> list[str]:
        """Ended runs that may leave the memory now: too many of them, or too large together (the newest always stays)."""
        gone: list[str] = []
        while len(self._ended) > 1 and (
            len(self._ended) > self._kept or sum(self._ended.values()) > _KEPT_SUBTASKS_MAX
        ):
            gone.append(self._ended.popitem(last=False)[0])
        return gone

    # --- questions ---

    async def find(self, name: str) -> str:
        """The full id of a run that is named by its end (or in full).

        Raises:
            RunUnknown: none or several fit.
        """
        known = set(self._engine.desks)
        if name in known:
            return name
        fitting = {run for run in known if run.endswith(name)}
        if len(fitting) != 1:
            fitting |= {run for run in await self._endpoint.journal.runs() if run.endswith(name)}
        if not fitting:
            raise RunUnknown(f"there is no run {name}")
        if len(fitting) > 1:
            raise RunUnknown(
                f"{len(fitting)} runs end in {name}", "Write more of the id: `zwerm runs ls` shows it."
            )
        return fitting.pop()

    async def get(self, run: str) -> tuple[RunState, Brief | None]:
        """A run's state and plan, from memory or from the journal.

        Raises:
            RunUnknown: it is not in the journal.
            JournalBroken: it is halted.
        """
        desk = self._engine.desks.get(run)
        if desk is not None:
            return desk.state, desk.content
        if run in self._read:
            self._read.move_to_end(run)
            return self._read[run]
        async with self._following:
            folded = await self._follow(run)
            if folded is None:
                raise RunUnknown(f"there is no run {run}")
        plan = await self._plan(folded.state)
        found = (folded.state, Brief(plan) if plan else None)
        if folded.state.status == "closed":
            self._read[run] = found
            if len(self._read) > _READ_MAX:
                self._read.popitem(last=False)
        return found

    async def newest(self, limit: int) -> list[tuple[RunState, Brief | None] | JournalBroken]:
        """The newest runs, each as `get` has it, or why it is halted; those that cannot be read now are left out."""
        known = {*await self._endpoint.journal.runs(), *self._engine.desks}
        runs = sorted(known, key=by_time, reverse=True)[:limit]
        found: list[tuple[RunState, Brief | None] | JournalBroken] = []
        for run in runs:
            try:
                found.append(await self.get(run))
            except JournalBroken as error:
                found.append(error)
            except ZwermError as error:
                log.warning("run %s cannot be read: %s", run[-6:], error)
        return found
