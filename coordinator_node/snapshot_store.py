"""Shell: snapshots of long runs: made now and then while nothing of the run is on its way, stored as artifacts, named by the run's head.

Rules. A snapshot is made only of what is durable. The one before it is deleted when the head names the new one, and the last one when the run ends. Whatever
goes wrong with a snapshot costs time at the next takeover and nothing else. Counterparts: `snapshot` has the form, `heads_board` writes the head.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from mesh.errors import MeshError
from protocol.artifact import ArtifactRef
from protocol.messages import Head

from .chain import Link
from .snapshot import dump_state, load_state, state_map
from .state import RunState

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint

    from .heads_board import Heads

__all__ = ["SNAPSHOT_RECORDS", "Snapshots", "load_snapshot"]

log = logging.getLogger("zwerm.snapshots")

SNAPSHOT_RECORDS: Final = 2_000
"""So many records more than the last snapshot has make a new one worth its while: about a fifth of a second of reading."""
_PAUSE_S: Final = 2.0
_PAUSE_MAX_S: Final = 10.0
_COST: Final = 30.0
"""Between two snapshots of a run lies a pause, longer where one takes long: so many times what the last one took."""
_BYTES_MAX: Final = 64 << 20


class Snapshots:
    """The snapshots of one coordinator's runs.

    Args:
        endpoint: has the artifacts.
        heads: name them.
        start: starts a task that somebody else awaits.
        every: records between two snapshots.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        heads: Heads,
        start: Callable[[Coroutine[Any, Any, None]], object],
        every: int = SNAPSHOT_RECORDS,
    ) -> None:
        self._endpoint = endpoint
        self._heads = heads
        self._start = start
        self._every = every
        self._busy: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._later: dict[str, tuple[RunState, Link]] = {}
        """Runs that are worth a snapshot when their pause is over, as they were last."""
        self.made = 0
        """Snapshots stored so far."""

    def durable(self, state: RunState, link: Link) -> None:
        """The journal of a run of ours has come so far: make a snapshot, if it is time and the state is just that."""
        run = state.run
        named = self._heads.snapshot(run)
        if state.status == "closed":
            if named is not None and run not in self._busy:
                self._heads.drop_snapshot(run)
                self._start(self._delete(named[0]))
            self._not_before.pop(run, None)
            return
        since = link.count - (named[1] if named is not None else 0)
        now = self._endpoint.clock.monotonic()
        if since < self._every:
            return
        pause = self._not_before.get(run, now) - now
        if run in self._busy or pause > 0:
            if run not in self._later:
                self._start(self._wait(run, max(pause, _PAUSE_S)))
            self._later[run] = (state, link)
        elif state.records == link.count:
            self._busy.add(run)
            self._start(self._store(run, state_map(state), link))

    async def _wait(self, run: str, pause: float) -> None:
        """A run that has gone quiet meanwhile gets its snapshot all the same."""
        await asyncio.sleep(pause)
        self.durable(*self._later.pop(run))

    async def _store(self, run: str, state: dict[str, Any], link: Link) -> None:
        began = self._endpoint.clock.monotonic()
        try:
            data = await asyncio.to_thread(dump_state, state, link)
            before = self._heads.snapshot(run)
            ref = await self._endpoint.artifacts.put(data, self._endpoint.me)
            await self._heads.name_snapshot(run, ref, link.count)
            self.made += 1
            log.debug("snapshot of run %s: %s records, %s bytes", run[-6:], link.count, len(data))
            if before is not None:
                await self._endpoint.artifacts.delete(before[0])
        except MeshError as error:
            log.warning("no snapshot of run %s: %s", run[-6:], error.message)
        finally:
            self._busy.discard(run)
            now = self._endpoint.clock.monotonic()
            self._not_before[run] = now + min(_PAUSE_MAX_S, max(_PAUSE_S, _COST * (now - began)))

    async def _delete(self, ref: ArtifactRef) -> None:
        try:
            await self._endpoint.artifacts.delete(ref)
        except MeshError as error:
            log.warning("a snapshot that nobody needs stays: %s", error.message)


async def load_snapshot(endpoint: Endpoint, head: Head | None) -> tuple[RunState, Link] | None:
    """What a head's snapshot holds; None when there is none that holds.

    Raises:
        MeshError: the store does not answer at the moment.
    """
    if head is None or head.snapshot is None:
        return None
    try:
        data = await endpoint.artifacts.read(head.snapshot, _BYTES_MAX)
    except MeshError as error:
        if error.retryable:
            raise
        log.warning(
            "the snapshot of run %s is not used, its journal is read from the beginning: %s",
            head.run[-6:],
            error,
        )
        return None
    found = await asyncio.to_thread(load_state, head.run, data)
    if found is None or found[1].seq > head.seq:
        log.warning("the snapshot of run %s is not one that can be used here", head.run[-6:])
        return None
    return found
