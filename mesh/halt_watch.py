"""Shell: brings orders to halt to this device, however they come: over the bus, from the swarm's store, from its own files.

The store is asked at the start and whenever the device is connected again, before it takes work; and now and then, for an order that got lost on its
way. What holds is written into the home, so that a restart obeys it before anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from protocol import subjects
from protocol.errors import Rejected, ZwermError
from protocol.halts import unpack_halt
from protocol.messages import Halt

from .bus import BusState
from .endpoint import Endpoint, Received
from .errors import MeshError
from .halt_file import read_local, read_order, say_obeyed, write_order
from .halt_orders import LOOK_S, PATIENCE_S, RETRY_S, Orders
from .halting import HALT_KEY, Halts
from .membership import Membership

__all__ = ["HaltWatch", "what_holds"]

log = logging.getLogger("zwerm.halt")


def what_holds(membership: Membership, stored: bytes | None = None) -> Halts:
    """The orders that hold for this device, from its files and what the swarm's store has (for commands that show it)."""
    halts = Halts()
    for one in (read_order(membership.home), stored):
        if one is not None:
            with contextlib.suppress(Rejected):
                halts.take(*unpack_halt(one), membership.charter)
    halts.set_local(read_local(membership.home))
    return halts


def _tell(line: str) -> None:
    log.warning("%s", line)


class HaltWatch:
    """One device's watch. `load` before anything runs, `begin` before any work is taken, `run` until the end."""

    def __init__(self, membership: Membership, endpoint: Endpoint, halts: Halts) -> None:
        self.halts = halts
        self._membership = membership
        self._endpoint = endpoint
        self._wake = asyncio.Event()
        store = membership.store
        self._orders = Orders(halts, lambda: store.charter, lambda: store.directory, self._keep, _tell)
        halts.on_obeyed(self._obeyed)

    def load(self) -> None:
        """Take in what the home has."""
        self._orders.restored(read_order(self._membership.home))
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
        await self._ask(PATIENCE_S)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(stop.wait())
            while not stop.is_set():
                woken = tasks.create_task(self._wake.wait())
                await asyncio.wait([stopping, woken], timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                if stop.is_set():
                    return
                self._wake.clear()
                if not await self._ask(PATIENCE_S):
                    self._orders.unanswered()
                    await asyncio.wait([stopping], timeout=RETRY_S)
                    self._wake.set()

    async def _ask(self, patience_s: float) -> bool:
        """Read the store; False if it does not answer."""
        try:
            async with asyncio.timeout(patience_s):
                entry = await self._endpoint.workspace.swarm.get(HALT_KEY)
        except (TimeoutError, ZwermError) as error:
            log.warning("whether the swarm is halted could not be looked up: %s", str(error) or "no answer")
            return False
        self._orders.answered(None if entry is None else entry.value)
        return True

    def _on_state(self, state: BusState, _reason: str) -> None:
        self._orders.moved()
        if state is BusState.CONNECTED:
            self._wake.set()

    def _on_control(self, received: Received) -> None:
        for item in received.items:
            if isinstance(item, Halt):
                self._orders.said(item)

    def _keep(self, stored: bytes) -> None:
        try:
            write_order(self._membership.home, stored)
        except (OSError, MeshError) as error:
            log.error("the order to halt is not kept across a restart: %s", error)  # noqa: TRY400

    def _obeyed(self) -> None:
        try:
            say_obeyed(self._membership.home)
        except (OSError, MeshError) as error:
            log.warning("that the owner's order was carried out cannot be written down: %s", error)
