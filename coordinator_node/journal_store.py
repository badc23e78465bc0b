"""Shell: the journal as the engine needs it: records in, durable, then the commands that they justify out.

Rules. One append of a run is in flight; everything that comes meanwhile goes into the next one (group commit), up to what a journal message may
hold. Commands of a run leave in order, each after all records before it. An append that was not confirmed is repeated with the same
bytes until it is known to be there. If somebody else has written, we are deposed: nothing of the run leaves any more. Appends of
different runs do not wait for each other. Counterparts: `engine` makes steps, `node` carries commands out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mesh.errors import DiskFull, MeshError, WriteConflict
from protocol.errors import Rejected
from protocol.messages import Head
from protocol.records import Record, RunClosed

from .chain import Follower, Link, follow_on
from .crash_proc import crash_point, crash_points, crash_soon
from .lane import Durable, Lane
from .orders import Command
from .state import RunState

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint

__all__ = ["Folded", "JournalStore", "read_run"]

log = logging.getLogger("zwerm.journal")

_PAUSE_FIRST_S: Final = 0.1
_PAUSE_MAX_S: Final = 5.0

Released = Callable[[str, Sequence[Durable], Sequence[Command]], None]


@dataclass(slots=True)
class Folded:
    """A run as its journal has it: its state, and where the journal ended."""

    state: RunState
    link: Link

    @property
    def seq(self) -> int:
        """Sequence number of the last message."""
        return self.link.seq


async def read_run(
    endpoint: Endpoint,
    run: str,
    *,
    after: Folded | None = None,
    head: Head | None = None,
    observe: Callable[[RunState, Record], None] | None = None,
) -> Folded | None:
    """Read, verify and fold a run's journal; None when it is empty.

    Args:
        endpoint: has the journal.
        run: which run.
        after: what was read before: only what came since is read, and folded into the same state.
        head: the checkpoint that it must hold, if one is known; one of before the call.
        observe: told each record with the state that it made.

    Raises:
        JournalBroken: it is not what the run's owners wrote, one after the other.
        MeshError: the journal cannot be read.
    """
    state, link = (after.state, after.link) if after else (None, None)
    follower = Follower(run, state, link, head=head, observe=observe)
    async for stored in endpoint.journal.read(run, follower.link.seq):
        try:
            pack = endpoint.open_pack(run, stored.data, stored.at_ms)
        except Rejected as error:
            hint = error.hint if error.code == "E_VERSION" else ""
            raise follower.broken(stored.seq, f"{error.message} ({error.code})", hint) from error
        follower.take(stored.seq, stored.data, pack)
    follower.finish()
    return None if follower.state is None else Folded(follower.state, follower.link)


class JournalStore:
    """All runs' journals.

    Args:
        endpoint: seals records and has the journal.
        start: starts a task that somebody else awaits (a TaskGroup's `create_task`).
        released: told (run, durable records, commands) in order; must not raise.
        deposed: told a run that somebody else has taken.
        wrote: told (run, the end of its journal, records) after each append, before `released`.
        full: told that there was no room for an append, which is repeated until there is, and then that there was.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        start: Callable[..., object],
        released: Released,
        deposed: Callable[[str], None],
        wrote: Callable[[str, Link, Sequence[Record]], None] = lambda *_: None,
        full: Callable[[], None] = lambda: None,
    ) -> None:
        self._endpoint = endpoint
        self._start = start
        self._released = released
        self._deposed = deposed
        self._wrote = wrote
        self._full = full
        self._lanes: dict[str, Lane] = {}
        self._links: dict[str, Link] = {}
        """Run -> the end of its journal, for the runs that have a lane."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._writing: set[str] = set()
        self.refused: set[str] = set()
        """Runs of which an append waits for room."""
        self.appends = 0
        """Messages written so far."""

    def adopt(self, folded: Folded) -> None:
        """Go on with a run that was read."""
        self._lanes[folded.state.run] = Lane(folded.link.seq, folded.link.count)
        self._links[folded.state.run] = folded.link

    def forget(self, run: str) -> None:
        """Nothing more will be written for a run."""
        lane = self._lanes.get(run)
        if lane is not None and run not in self._writing:
            del self._lanes[run]
            self._links.pop(run, None)

    def count(self, run: str) -> int:
        """How many records of a run are durable."""
        lane = self._lanes.get(run)
        return lane.count if lane else 0

    def submit(self, run: str, records: Sequence[Record], commands: Sequence[Command]) -> None:
        """Write records, then let commands out; commands alone leave at once when nothing of the run waits."""
        lane = self._lanes.get(run)
        if lane is None:
            if not records:
                # Of a run that is not ours, or has ended long ago: nothing to keep about it.
                self._released(run, (), commands)
                return
            lane = self._lanes[run] = Lane()
        at_once = lane.push(records, commands)
        if at_once:
            self._released(run, (), at_once)
        if lane.waiting and run not in self._writing:
            self._writing.add(run)
            self._idle.clear()
            self._start(self._write(run, lane))

    async def drain(self) -> None:
        """Wait until nothing waits."""
        await self._idle.wait()

    async def _write(self, run: str, lane: Lane) -> None:
        try:
            while lane.take():
                if not await self._append(run, lane):
                    lane.close()
                    self._deposed(run)
                    return
                durable, commands = lane.written()
                self._released(run, durable, commands)
                crash_point("append.released")
        finally:
            self._writing.discard(run)
            if not self._writing:
                self._idle.set()

    def _sealed(self, run: str, lane: Lane, link: Link) -> bytes:
        """The pack of a lane as a journal message, smaller if it does not fit; nothing if not even one record does."""
        try:
            return lane.sealed(
                lambda records: self._endpoint.seal_record(run, records, link.chain(records[0].at_ms))
            )
        except MeshError as error:
            # The engine makes none such; if it did, all other runs must go on.
            what = lane.flying[0].k
            log.warning("run %s is halted: %s cannot be written: %s", run[-6:], what, error.message)
            return b""

    async def _append(self, run: str, lane: Lane) -> bool:
        """Make the pack of a lane durable, however long it takes; False when nothing of the run may be written (by us) any more."""
        link = self._links.get(run) or Link()
        raw = self._sealed(run, lane, link)
        if not raw:
            return False
        records = lane.flying
        crash_points("before", (record.k for record in records))
        crash_point("append.before")
        crash_soon("append.flying")
        pause = _PAUSE_FIRST_S
        while True:
            try:
                seq = await self._endpoint.journal.append(run, raw, expected=link.seq)
            except WriteConflict as conflict:
                if conflict.data == raw:
                    seq = conflict.revision
                    break
                log.warning("run %s was taken by another coordinator", run[-6:])
                self._room(run)
                return False
            except MeshError as error:
                log.warning("journal of run %s: %s; trying again", run[-6:], error.message)
                if isinstance(error, DiskFull):
                    self.refused.add(run)
                    self._full()
                await asyncio.sleep(pause)
                pause = min(_PAUSE_MAX_S, pause * 2)
                continue
            break
        self._room(run)
        lane.seq = seq
        end = self._links[run] = follow_on(link, seq, raw, len(records))
        self._wrote(run, end, records)
        self.appends += 1
        crash_point("append.acked")
        crash_points("durable", (record.k for record in records))
        return True

    def _room(self, run: str) -> None:
        """Nothing of this run waits for room any more."""
        if run in self.refused:
            self.refused.discard(run)
            self._full()

    async def closed(self, run: str) -> RunClosed | None:
        """How a run ended, from its last message alone; None when it has not."""
        stored = await self._endpoint.journal.last(run)
        if stored is None:
            return None
        try:
            _, records = self._endpoint.open_record(run, stored.data, stored.at_ms)
        except Rejected:
            return None
        return next((record for record in reversed(records) if isinstance(record, RunClosed)), None)
