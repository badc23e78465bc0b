"""Shell: brings orders to halt to this device, however they come: over the bus, from the swarm's store, from its own files.

The store is asked at the start and whenever the device is connected again, before it takes work; and now and then, for an order that got lost on its
way. What holds is written into the home, so that a restart obeys it before anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from protocol import subjects
from protocol.errors import Rejected, ZwermError
from protocol.halts import pack_halt, unpack_halt
from protocol.messages import Halt

from .bus import BusState
from .endpoint import Endpoint, Received
from .errors import MeshError
from .halt_file import read_local, read_order, say_obeyed, write_order
from .halting import HALT_KEY, Halts
from .membership import Membership

__all__ = ["HaltWatch", "what_holds"]

log = logging.getLogger("zwerm.halt")

_LOOK_S: Final = 30.0
"""How often the store is asked without a reason."""
_PATIENCE_S: Final = 5.0
"""So long work waits for the store's answer; after that the device goes on with what it knows, and asks on."""
_AGAIN_S: Final = 1.0


def what_holds(membership: Membership, stored: bytes | None = None) -> Halts:
    """The orders that hold for this device, from its files and what the swarm's store has (for commands that show it)."""
    halts = Halts()
    for one in (read_order(membership.home), stored):
        if one is not None:
            with contextlib.suppress(Rejected):
                halts.take(*unpack_halt(one), membership.charter)
    halts.set_local(read_local(membership.home))
    return halts


class HaltWatch:
    """One device's watch. `load` before anything runs, `begin` before any work is taken, `run` until the end."""

    def __init__(self, membership: Membership, endpoint: Endpoint, halts: Halts) -> None:
        self.halts = halts
        self._membership = membership
        self._endpoint = endpoint
        self._wake = asyncio.Event()
        halts.on_obeyed(self._obeyed)

    def load(self) -> None:
        """Take in what the home has."""
        stored = read_order(self._membership.home)
        if stored is not None:
            self._take_stored(stored, keep=False)
        self.halts.set_local(read_local(self._membership.home))

    def look(self) -> None:
        """Read the order of the device's owner."""
        before, why = self.halts.local, read_local(self._membership.home)
        self.halts.set_local(why)
        if why == before and not self.halts.pending:
            self._obeyed()  # the same once more: whoever repeats an order waits for its mark

    async def begin(self) -> None:
        """Listen, and ask the store once."""
        await self._endpoint.listen(subjects.control(), self._on_control)
        self._endpoint.bus.on_state(self._on_state)
        await self._ask(_PATIENCE_S)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(stop.wait())
            while not stop.is_set():
                woken = tasks.create_task(self._wake.wait())
                await asyncio.wait([stopping, woken], timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                if stop.is_set():
                    return
                self._wake.clear()
                if not await self._ask(_PATIENCE_S):
                    self.halts.set_sure(True)
                    await asyncio.wait([stopping], timeout=_AGAIN_S)
                    self._wake.set()

    async def _ask(self, patience_s: float) -> bool:
        """Read the store; False if it does not answer."""
        try:
            async with asyncio.timeout(patience_s):
                entry = await self._endpoint.workspace.swarm.get(HALT_KEY)
        except (TimeoutError, ZwermError) as error:
            log.warning("whether the swarm is halted could not be looked up: %s", str(error) or "no answer")
            return False
        if entry is not None:
            self._take_stored(entry.value, keep=True)
        self.halts.set_sure(True)
        return True

    def _on_state(self, state: BusState, _reason: str) -> None:
        self.halts.set_sure(False)
        if state is BusState.CONNECTED:
            self._wake.set()

    def _on_control(self, received: Received) -> None:
        for item in received.items:
            if isinstance(item, Halt):
                self._take(item.halt, item.certificate, keep=True)

    def _take_stored(self, stored: bytes, *, keep: bool) -> None:
        try:
            raw, certificate = unpack_halt(stored)
        except Rejected as error:
            self.halts.counts[error.code] += 1
            log.warning("a stored halt cannot be read: %s", error)
            return
        self._take(raw, certificate, keep=keep)

    def _take(self, raw: bytes, certificate: bytes, *, keep: bool) -> None:
        store = self._membership.store
        try:
            news = self.halts.take(raw, certificate, store.charter, store.directory)
        except Rejected as error:
            log.warning("an order to halt does not hold: %s", error)
            return
        if not news:
            return
        log.warning("%s", self.halts.why or f"{self.halts.by} lets the swarm go on")
        if keep:
            try:
                write_order(self._membership.home, pack_halt(raw, certificate))
            except (OSError, MeshError) as error:
                log.error("the order to halt is not kept across a restart: %s", error)  # noqa: TRY400

    def _obeyed(self) -> None:
        try:
            say_obeyed(self._membership.home)
        except (OSError, MeshError) as error:
            log.warning("that the owner's order was carried out cannot be written down: %s", error)
