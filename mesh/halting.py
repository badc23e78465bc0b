"""Whether this device is halted: the newest order of the swarm that holds, and the order of the device's own owner. A core.

Rules. Only an order that `protocol.halts.open_halt` accepted arrives here, or one of the device's owner (`halt_file`); what is older or does not
hold is counted. A device is halted as long as either says so. Parts that run work subscribe, stop it, and say `carried_out`; where no part
does, an order is carried out as soon as it is known. Work that is awarded while it is not `sure` (the swarm's store has not been asked since
the device was connected) waits until it is. Counterparts: `halt_orders` (takes them in), `halt_watch` (brings them), the agent role (obeys), `presence` (tells).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from protocol.charter import Charter
from protocol.directory import Directory
from protocol.errors import Rejected
from protocol.halts import HaltOrder, newer, open_halt

__all__ = ["HALT_KEY", "Halts"]

HALT_KEY = "halt"
"""Where the newest order lies in the swarm's key-value store."""


class Halts:
    """One device's state; shared by all of its connections."""

    def __init__(self) -> None:
        self.order: HaltOrder | None = None
        self.by = ""
        """Name of the admin who gave `order`."""
        self._raw: bytes | None = None
        self.local: str | None = None
        """Why the device's owner halted it; None: has not."""
        self.sure = True
        self.has_workers = False
        """A part of this device runs work, and will say `carried_out`."""
        self.pending = False
        """A change is being carried out."""
        self.obeyed = 0
        """Number of the newest order of the swarm that was carried out."""
        self.stopped = 0
        """Processes that the last halt ended."""
        self.counts: Counter[str] = Counter()
        """Orders that changed nothing, by code; `E_STALE`: an older one than is known."""
        self._on_change: list[Callable[[], None]] = []
        self._on_obeyed: list[Callable[[], None]] = []

    @property
    def halted(self) -> bool:
        """Whether agents may do nothing here."""
        return self.local is not None or (self.order is not None and self.order.on)

    @property
    def why(self) -> str:
        """Who halted it, and why, in one sentence; "" when nobody did."""
        if self.local is not None:
            return "the owner of this device halted it" + (f": {self.local}" if self.local else "")
        if self.order is not None and self.order.on:
            return f"{self.by} halted the swarm" + (f": {self.order.why}" if self.order.why else "")
        return ""

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each change of `halted` or `sure`, and after each new order."""
        self._on_change.append(callback)

    def on_obeyed(self, callback: Callable[[], None]) -> None:
        """Call `callback` when an order was carried out."""
        self._on_obeyed.append(callback)

    def take(
        self, raw: bytes, certificate: bytes, charter: Charter, directory: Directory | None = None
    ) -> bool:
        """Take in an order from wherever it came; whether it is news.

        Raises:
            Rejected: it does not hold; it changed nothing and was counted.
        """
        if raw == self._raw:
            return False  # what rules already, asked for again and again
        try:
            opened = open_halt(raw, certificate, charter, directory)
        except Rejected as error:
            self.counts[error.code] += 1
            raise
        if opened.order == self.order:
            return False
        if not newer(opened.order, self.order):
            self.counts["E_STALE"] += 1
            return False
        self.order, self.by, self._raw = opened.order, opened.by.name, raw
        self._changed()
        return True

    def set_local(self, why: str | None) -> None:
        """The device's owner halts it (`why` may be empty), or lets it go on (None)."""
        if why != self.local:
            self.local = why
            self._changed()

    def set_sure(self, sure: bool) -> None:
        """Whether the swarm's store was asked since the device was connected."""
        if sure != self.sure:
            self.sure = sure
            self._tell(self._on_change)

    def carried_out(self, stopped: int) -> None:
        """Nothing of the agents runs any more (or may run again); `stopped` processes were ended."""
        self.pending = False
        self.obeyed = self.order.n if self.order is not None else 0
        self.stopped = stopped
        self._tell(self._on_obeyed)

    def _changed(self) -> None:
        self.pending = True
        self._tell(self._on_change)
        if not self.has_workers:
            self.carried_out(0)

    @staticmethod
    def _tell(callbacks: list[Callable[[], None]]) -> None:
        for callback in callbacks:
            callback()
