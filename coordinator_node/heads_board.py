"""Shell: heads of runs on the board: how far each journal has come, signed by its owner, and which snapshot there is.

Rules (SPEC OWN-5, OWN-7). A head is written soon after its run began, was taken or ended, and every few seconds while it moves, by compare-and-set; of two the
one that is further on stays. A head that does not verify is as none. Of runs that have ended only the few bytes are kept that are needed to know their
journal again. Counterparts: `ownership_board` reads the board, `journal_store` tells what was written, `snapshot_store` makes snapshots.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mesh.errors import DiskFull, MeshError, StoreUnavailable, WriteConflict
from protocol.artifact import ArtifactRef
from protocol.errors import Rejected
from protocol.messages import Head
from protocol.records import Owned, Record, RunClosed, RunOpened

from .chain import Link

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint
    from mesh.workspace import Change

__all__ = ["HEAD", "Heads"]

log = logging.getLogger("zwerm.ownership")

HEAD: Final = "head"
"""First token of a head's key; the second one is the run."""

_FIRST_S: Final = 0.25
"""A run that begins gets its head after this, if it has not ended by then."""
_NEXT_S: Final = 2.0
"""And the next ones at this distance while it moves."""
_FULL_S: Final = 30.0
_AGAIN_S: Final = 1.0


@dataclass(slots=True)
class _Due:
    """A head that is to be written."""

    head: Head
    at: float


class Heads:
    """All heads that a coordinator knows, and the writing of its own.

    Args:
        endpoint: has the board, signs and verifies.
        epoch_of: the epoch of a run that we write; 0 when it is not known.
    """

    def __init__(self, endpoint: Endpoint, epoch_of: Callable[[str], int]) -> None:
        self._endpoint = endpoint
        self._clock = endpoint.clock
        self._epoch_of = epoch_of
        self.open: dict[str, Head] = {}
        """Heads of runs that have not ended."""
        self._closed: dict[str, tuple[int, int, bytes, int, str]] = {}
        self._revisions: dict[str, int] = {}
        self._snapshots: dict[str, tuple[ArtifactRef, int]] = {}
        """Run of ours -> its snapshot, and the records that it holds."""
        self._due: dict[str, _Due] = {}
        self._written_at: dict[str, float] = {}
        self._wake = asyncio.Event()

    # --- what is known ---

    def __contains__(self, run: str) -> bool:
        return run in self.open or run in self._closed

    def get(self, run: str) -> Head | None:
        """The head of a run as it was read or written last."""
        if run in self.open:
            return self.open[run]
        if run not in self._closed:
            return None
        seq, count, digest, epoch, owner = self._closed[run]
        return Head(run=run, seq=seq, count=count, digest=digest, epoch=epoch, owner=owner, closed=True)

    def changed(self, run: str, change: Change) -> None:
        """A head was read from the board."""
        self._revisions[run] = change.revision
        if change.value is None:
            return
        try:
            self._learn(self._endpoint.open_head(run, change.value, change.at_ms))
        except Rejected as error:
            log.warning("the head of run %s does not hold and is as none: %s", run[-6:], error)

    def _learn(self, head: Head) -> None:
        known = self.open.get(head.run)
        before = known.seq if known is not None else self._closed.get(head.run, (0,))[0]
        if before > head.seq:
            return
        if head.closed:
            self.open.pop(head.run, None)
            owner = sys.intern(head.owner)
            self._closed[head.run] = (head.seq, head.count, head.digest, head.epoch, owner)
            # What is said behind the end of a run finds its revision by a conflict: that is rare.
            self._revisions.pop(head.run, None)
        else:
            self.open[head.run] = head

    # --- writing ---

    def wrote(self, run: str, link: Link, records: Sequence[Record]) -> None:
        """Records of a run of ours are in its journal: its head is written soon."""
        due = self._due.get(run)
        known = due.head if due is not None else self.get(run)
        begins = any(isinstance(record, (RunOpened, Owned)) for record in records)
        closed = any(isinstance(record, RunClosed) for record in records)
        head = Head(
            run=run,
            seq=link.seq,
            count=link.count,
            digest=link.digest,
            epoch=self._epoch_of(run) or (known.epoch if known else 1),
            owner=self._endpoint.node,
            closed=closed or (known is not None and known.closed),
            snapshot=None if closed else self._snapshot_of(run),
        )
        now = self._clock.monotonic()
        if head.closed:
            at = now
        elif begins and due is None:
            at = now + _FIRST_S
        else:
            at = max(now, self._written_at.get(run, now - _NEXT_S) + _NEXT_S)
        self._due[run] = _Due(head, at if due is None else min(at, due.at))
        self._wake.set()

    async def run(self) -> None:
        """Write what is due, until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            for run in [run for run, due in self._due.items() if due.at <= now]:
                await self._write(run)
            next_at = min((due.at for due in self._due.values()), default=None)
            pause = None if next_at is None else max(0.02, next_at - self._clock.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def flush(self) -> None:
        """Write all that is due, now."""
        for run in list(self._due):
            await self._write(run)

    async def _write(self, run: str) -> None:
        due = self._due.pop(run, None)
        if due is None:
            return
        head = due.head
        try:
            raw = self._endpoint.seal_head(head)
            revision = await self._endpoint.kv.put(f"{HEAD}.{run}", raw, self._revisions.get(run, 0))
        except WriteConflict as conflict:
            if self._ahead(run, head, conflict):
                # Only now: what was learned from a head that says "closed" forgets the revision, and without it this would conflict for ever.
                self._revisions[run] = conflict.revision
                self._again(run, due, 0.0)
            return
        except DiskFull as error:
            log.warning("the head of run %s is not written: %s", run[-6:], error.message)
            self._again(run, due, _FULL_S)
            return
        except MeshError:
            self._again(run, due, _AGAIN_S)
            return
        self._revisions[run] = revision
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

    def _again(self, run: str, due: _Due, pause: float) -> None:
        if run not in self._due:
            self._due[run] = _Due(due.head, self._clock.monotonic() + pause)
            self._wake.set()

    # --- snapshots ---

    def _snapshot_of(self, run: str) -> ArtifactRef | None:
        """The snapshot that our next head names: our own, or that of the owner before us."""
        if run in self._snapshots:
            return self._snapshots[run][0]
        return self.open[run].snapshot if run in self.open else None

    def snapshot(self, run: str) -> tuple[ArtifactRef, int] | None:
        """The snapshot that a run of ours has, and the records in it (0: not known, an earlier owner made it)."""
        ref = self._snapshot_of(run)
        return None if ref is None else (ref, self._snapshots[run][1] if run in self._snapshots else 0)

    def drop_snapshot(self, run: str) -> None:
        """The run has ended: no head names a snapshot any more."""
        self._snapshots.pop(run, None)
        if run in self.open:
            self.open[run] = self.open[run].model_copy(update={"snapshot": None})

    async def name_snapshot(self, run: str, ref: ArtifactRef, count: int) -> None:
        """Name a snapshot in the run's head, now.

        Raises:
            MeshError: the board did not take it, or the run has ended or is not ours any more.
        """
        known = self._due[run].head if run in self._due else self.get(run)
        if known is None or known.closed or known.owner != self._endpoint.node:
            raise StoreUnavailable("the run has no head of ours, or has ended")
        self._snapshots[run] = (ref, count)
        self._due[run] = _Due(known.model_copy(update={"snapshot": ref}), self._clock.monotonic())
        await self._write(run)
        if run in self._due:
            raise StoreUnavailable("the head was not written")
