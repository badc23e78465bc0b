"""Shell: the board that coordinators share: their leases, and how far each run's journal has come (`heads_board`).

Rules. Both are keys of the bucket BOARD, changed by compare-and-set only (SPEC OWN-1, OWN-5). One loop renews our lease, one reads what has changed, one
writes the heads of our runs, each at its own pace, so that none waits for another. What the board says is a hint about who lives and
which runs there are; what counts is the journal. Counterparts: `ownership` decides, `takeover_store` acts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mesh.errors import MeshError, StoreUnavailable, WriteConflict
from protocol.codec import pack, unpack
from protocol.errors import Rejected

from .heads_board import HEAD, Heads
from .ownership import Lease, Ownership

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint
    from mesh.workspace import Change

__all__ = ["Board"]

log = logging.getLogger("zwerm.ownership")

_OWNER: Final = "owner"
_RETRY_S: Final = 0.2
_LEAVE_S: Final = 2.0
_LEASE_VALUES: Final = 32


class Board:
    """One coordinator's hold on the board.

    Args:
        endpoint: has the board.
        ownership: is told what is read.
        changed: called after each look at the board.
        epoch_of: the epoch of a run that we write.
        now: our clock, as our records have it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ownership: Ownership,
        changed: Callable[[], None],
        epoch_of: Callable[[str], int],
        now: Callable[[], float],
    ) -> None:
        self._endpoint = endpoint
        self._clock = endpoint.clock
        self._kv = endpoint.kv
        self._core = ownership
        self._changed = changed
        self._key = f"{_OWNER}.{endpoint.node}"
        self._now = now
        self._session = os.urandom(8)
        self._revision = 0
        self._unconfirmed: dict[bytes, float] = {}
        """What was sent since the last confirmed renewal, and when that was asked for."""
        self._seen = 0
        """Revision up to which the board was read."""
        self._leases: dict[str, Lease] = {}
        self.heads = Heads(endpoint, epoch_of)
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

    def expects(self, run: str, owner: str) -> bool:
        """Whether we are likely to take a run of this owner soon."""
        return self._core.expects(run, owner, self._clock.monotonic())

    def apart_ms(self, node: str) -> int:
        """By how much our clock is ahead of that of another coordinator, as far as is known."""
        return self._core.apart_ms(node)

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
            tasks.create_task(self.heads.run())

    async def leave(self) -> None:
        """Hand our runs over: write what is known of them, and delete our lease; `run` was cancelled before."""
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self.heads.flush()
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
        asked, value = self._clock.monotonic(), self._value()
        self._unconfirmed.setdefault(value, asked)
        try:
            async with asyncio.timeout(max(1.0, self._core.ttl_s / 2)):
                if self._revision == 0:
                    entry = await self._kv.get(self._key)
                    if entry is None:
                        self._revision = await self._kv.create(self._key, value)
                    else:
                        self._revision = await self._kv.put(self._key, value, entry.revision)
                else:
                    self._revision = await self._kv.put(self._key, value, self._revision)
        except WriteConflict as conflict:
            arrived = self._unconfirmed.get(conflict.data or b"")
            if arrived is None:  # another process uses our identity, and the journal settles who writes
                self._revision = 0
                self._unconfirmed.clear()
                raise StoreUnavailable("our lease is not as we left it") from None
            # One of ours whose confirmation we did not wait for: on a bad link there would be no time to ask again.
            self._revision, asked = conflict.revision, arrived
        except TimeoutError:
            raise StoreUnavailable("our lease could not be renewed in time") from None
        self._unconfirmed.clear()
        self._core.renewed(asked)

    def _value(self) -> bytes:
        return pack(
            {
                "v": 1,
                "ttl_ms": int(self._core.ttl_s * 1000),
                "name": self._endpoint.name[:64],
                "session": self._session,
                "at_ms": int(self._now() * 1000),
            }
        )

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
            elif kind == HEAD:
                self.heads.changed(name, change)
            self._seen = change.revision
        self._core.observed(self._leases, self._clock.monotonic(), began, int(self._now() * 1000))

    def _lease(self, node: str, change: Change) -> None:
        ttl_s, name, at_ms, session = self._core.ttl_s, node[:8], None, b""
        if change.value is None:
            self._leases.pop(node, None)
            return
        with contextlib.suppress(Rejected, KeyError, TypeError, AttributeError):
            value: Any = unpack(change.value, max_nodes=_LEASE_VALUES)
            ttl_s, name = min(600.0, max(0.5, float(value["ttl_ms"]) / 1000)), str(value["name"])
            if isinstance(value["at_ms"], int) and isinstance(value["session"], bytes):
                at_ms, session = value["at_ms"], value["session"]
        self._leases[node] = Lease(node, change.revision, ttl_s, name, at_ms, session)
