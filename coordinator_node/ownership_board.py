"""Shell: the board that coordinators share: their leases, and how far each run's journal has come.

Rules. Both are keys of the bucket BOARD, changed by compare-and-set only (SPEC OWN-1, OWN-5). One loop renews our lease, one reads what has changed, one
writes the heads of our runs, each at its own pace, so that none waits for another. What the board says is a hint about who lives and
which runs there are; what counts is the journal. A head that does not verify is as none. Counterparts: `ownership` decides, `node` acts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mesh.errors import DiskFull, MeshError, StoreUnavailable, WriteConflict
from protocol.artifact import ArtifactRef
from protocol.codec import pack, unpack
from protocol.errors import Rejected
from protocol.messages import Head
from protocol.records import Owned, Record, RunClosed, RunOpened

from .chain import Link
from .ownership import Lease, Ownership

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint
    from mesh.workspace import Change

__all__ = ["Board"]

log = logging.getLogger("zwerm.ownership")

_OWNER: Final = "owner"
_HEAD: Final = "head"
_RETRY_S: Final = 0.2
_FIRST_S: Final = 0.25
"""A run that begins gets its head after this, if it has not ended by then."""
_NEXT_S: Final = 2.0
"""And the next ones at this distance while it moves."""
_LEAVE_S: Final = 2.0
_LEASE_VALUES: Final = 32


@dataclass(slots=True)
class _Due:
    """A head that is to be written."""

    head: Head
    at: float


class Board:
    """One coordinator's hold on the board.

    Args:
        endpoint: has the board, and signs heads.
        ownership: is told what is read.
        changed: called after each look at the board.
        epoch_of: the epoch of a run that we write.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ownership: Ownership,
        changed: Callable[[], None],
        epoch_of: Callable[[str], int],
    ) -> None:
        self._endpoint = endpoint
        self._clock = endpoint.clock
        self._kv = endpoint.kv
        self._core = ownership
        self._changed = changed
        self._epoch_of = epoch_of
        self._key = f"{_OWNER}.{endpoint.node}"
        self._value = pack(
            {
                "v": 1,
                "ttl_ms": int(ownership.ttl_s * 1000),
                "name": endpoint.name[:64],
                "session": os.urandom(8),
            }
        )
        self._revision = 0
        self._seen = 0
        """Revision up to which the board was read."""
        self._leases: dict[str, Lease] = {}
        self.heads: dict[str, Head] = {}
        """Run -> its head as last read or written."""
        self.open: dict[str, Head] = {}
        """Those of runs that have not ended."""
        self._revisions: dict[str, int] = {}
        self._snapshots: dict[str, tuple[ArtifactRef, int]] = {}
        """Run of ours -> its snapshot, and the records that it holds."""
        self._due: dict[str, _Due] = {}
        self._written_at: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._troubled = False

    # --- what others ask ---

    def holds(self) -> bool:
        """Whether our lease is good."""
        return self._core.holds(self._clock.monotonic())

    def lives(self, node: str) -> bool:
        """Whether another coordinator lives."""
        return self._core.lives(node)

    def takes(self, run: str, owner: str) -> bool:
        """Whether we are to take a run of this owner now."""
        return self._core.takes(run, owner, self._clock.monotonic())

    def speaks_for(self, run: str) -> bool:
        """Whether we answer for a run that is known to have ended."""
        head = self.heads.get(run)
        return (
            head is not None
            and head.closed
            and self._core.speaks_for(run, head.owner, self._clock.monotonic())
        )

    def others(self) -> list[str]:
        """The living coordinators beside us, by name."""
        alive = self._core.alive(self._clock.monotonic())
        return sorted(lease.name for node, lease in self._leases.items() if node in alive - {self._core.node})

    # --- life ---

    async def begin(self) -> None:
        """Get our lease, and read the board for the first time.

        Raises:
            MeshError: the board does not answer.
        """
        await self._renew()
        await self._read()

    async def run(self) -> None:
        """Renew, read and write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forever(self._renew, self._core.renew_every()))
            tasks.create_task(self._forever(self._look, self._core.read_every()))
            tasks.create_task(self._write_heads())

    async def leave(self) -> None:
        """Hand our runs over: write what is known of them, and delete our lease; `run` was cancelled before."""
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                for run in list(self._due):
                    await self._write_head(run)
                if self._revision:
                    await self._kv.delete(self._key, self._revision)
        self._core.left()

    async def _forever(self, step: Callable[[], Any], every_s: float) -> None:
        while True:
            pause = every_s
            try:
                await step()
                if self._troubled:
                    self._troubled = False
                    log.info("the board answers again")
            except MeshError as error:
                pause = min(every_s, _RETRY_S)
                if not self._troubled:
                    self._troubled = True
                    log.warning("the board does not answer: %s", error.message)
            await asyncio.sleep(pause)

    # --- leases ---

    async def _renew(self) -> None:
        """Renew our lease; its time counts from the moment of asking.

        Raises:
            MeshError: not confirmed; our time runs on.
        """
        asked = self._clock.monotonic()
        try:
            async with asyncio.timeout(max(1.0, self._core.ttl_s / 2)):
                if self._revision == 0:
                    entry = await self._kv.get(self._key)
                    if entry is None:
                        self._revision = await self._kv.create(self._key, self._value)
                    else:
                        self._revision = await self._kv.put(self._key, self._value, entry.revision)
                else:
                    self._revision = await self._kv.put(self._key, self._value, self._revision)
        except WriteConflict:
            # A renewal that was not confirmed did arrive; or another process uses our identity, and the journal settles who writes.
            self._revision = 0
            raise StoreUnavailable("our lease is not as we left it") from None
        except TimeoutError:
            raise StoreUnavailable("our lease could not be renewed in time") from None
        self._core.renewed(asked)

    async def _look(self) -> None:
        await self._read()
        self._changed()

    async def _read(self) -> None:
        """Read what has changed on the board.

        Raises:
            MeshError: it does not answer.
        """
        began = self._clock.monotonic()
        async for change in self._kv.changes(after=self._seen):
            kind, _, name = change.key.partition(".")
            if kind == _OWNER:
                self._lease(name, change)
            elif kind == _HEAD:
                self._head(name, change)
            self._seen = change.revision
        self._core.observed(self._leases, self._clock.monotonic(), began)

    def _lease(self, node: str, change: Change) -> None:
        ttl_s, name = self._core.ttl_s, node[:8]
        if change.value is None:
            self._leases.pop(node, None)
            return
        with contextlib.suppress(Rejected, KeyError, TypeError, AttributeError):
            value: Any = unpack(change.value, max_nodes=_LEASE_VALUES)
            ttl_s, name = min(600.0, max(0.5, float(value["ttl_ms"]) / 1000)), str(value["name"])
        self._leases[node] = Lease(node, change.revision, ttl_s, name)

    # --- heads ---

    def _head(self, run: str, change: Change) -> None:
        self._revisions[run] = change.revision
        if change.value is None:
            return
        try:
            head = self._endpoint.open_head(run, change.value, change.at_ms)
        except Rejected as error:
            log.warning("the head of run %s does not hold and is as none: %s", run[-6:], error)
            return
        self._learn(head)

    def _learn(self, head: Head) -> None:
        known = self.heads.get(head.run)
        if known is not None and known.seq > head.seq:
            return
        self.heads[head.run] = head
        if head.closed:
            self.open.pop(head.run, None)
        else:
            self.open[head.run] = head

    def wrote(self, run: str, link: Link, records: Sequence[Record]) -> None:
        """Records of a run of ours are in its journal: its head is written soon."""
        known = self._due[run].head if run in self._due else self.heads.get(run)
        begins = any(isinstance(record, (RunOpened, Owned)) for record in records)
        closed = (known is not None and known.closed) or any(
            isinstance(record, RunClosed) for record in records
        )
        head = Head(
            run=run,
            seq=link.seq,
            count=link.count,
            digest=link.digest,
            epoch=self._epoch_of(run) or (known.epoch if known else 1),
            owner=self._endpoint.node,
            closed=closed,
            snapshot=self._snapshot_of(run),
        )
        now = self._clock.monotonic()
        if closed:
            at = now
        elif begins and run not in self._due:
            at = now + _FIRST_S
        else:
            at = max(now, self._written_at.get(run, now - _NEXT_S) + _NEXT_S)
        due = self._due.get(run)
        self._due[run] = _Due(head, at if due is None else min(at, due.at))
        self._wake.set()

    # --- snapshots ---

    def _snapshot_of(self, run: str) -> ArtifactRef | None:
        """The snapshot that our next head names: our own, or that of the owner before us."""
        if run in self._snapshots:
            return self._snapshots[run][0]
        known = self.heads.get(run)
        return known.snapshot if known is not None else None

    def snapshot(self, run: str) -> tuple[ArtifactRef, int] | None:
        """The snapshot that a run of ours has, and the records in it (0: not known, an earlier owner made it)."""
        ref = self._snapshot_of(run)
        return None if ref is None else (ref, self._snapshots[run][1] if run in self._snapshots else 0)

    def name_snapshot(self, run: str, ref: ArtifactRef | None, count: int) -> None:
        """The next head names this one; None: it names none."""
        if ref is not None:
            self._snapshots[run] = (ref, count)
        else:
            self._snapshots.pop(run, None)
            for heads in (self.heads, self.open):
                if run in heads:
                    heads[run] = heads[run].model_copy(update={"snapshot": None})
        due = self._due.get(run)
        if due is not None:
            due.head = due.head.model_copy(update={"snapshot": ref})

    async def write_snapshot(self, run: str, ref: ArtifactRef, count: int) -> None:
        """Name a snapshot in the run's head now.

        Raises:
            MeshError: the board did not take it.
        """
        self.name_snapshot(run, ref, count)
        known = self._due[run].head if run in self._due else self.heads.get(run)
        if known is None or known.closed:
            raise StoreUnavailable("the run has no head, or has ended")
        self._due[run] = _Due(known.model_copy(update={"snapshot": ref}), self._clock.monotonic())
        await self._write_head(run)
        if run in self._due:
            raise StoreUnavailable("the head was not written")

    async def _write_heads(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            for run in [run for run, due in self._due.items() if due.at <= now]:
                await self._write_head(run)
            next_at = min((due.at for due in self._due.values()), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    None if next_at is None else max(0.02, next_at - self._clock.monotonic())
                ):
                    await self._wake.wait()

    async def _write_head(self, run: str) -> None:
        due = self._due.pop(run, None)
        if due is None:
            return
        head, raw = due.head, self._endpoint.seal_head(due.head)
        try:
            expected = self._revisions.get(run, 0)
            self._revisions[run] = await self._kv.put(f"{_HEAD}.{run}", raw, expected)
        except WriteConflict as conflict:
            self._revisions[run] = conflict.revision
            self._again(run, due, 0.0 if self._ahead(run, head, conflict) else None)
            return
        except DiskFull as error:
            log.warning("the head of run %s is not written: %s", run[-6:], error.message)
            self._again(run, due, 30.0)
            return
        except MeshError:
            self._again(run, due, 1.0)
            return
        self._learn(head)
        if head.closed:
            self._written_at.pop(run, None)
        else:
            self._written_at[run] = self._clock.monotonic()

    def _ahead(self, run: str, head: Head, conflict: WriteConflict) -> bool:
        """Whether our head is newer than the one that somebody (or a write of ours that was not confirmed) put there."""
        if conflict.data is None:
            return True
        try:
            theirs = self._endpoint.open_head(run, conflict.data, int(self._clock.now() * 1000))
        except Rejected:
            return True
        self._learn(theirs)
        return theirs.seq < head.seq

    def _again(self, run: str, due: _Due, pause: float | None) -> None:
        if pause is not None and run not in self._due:
            self._due[run] = _Due(due.head, self._clock.monotonic() + pause)
            self._wake.set()
