"""What comes and goes of orders to halt, without any I/O: what a device takes in from wherever it comes, and how an admin's order gets its number. A core.

Rules (SPEC HLT-2, HLT-3). What the home has kept rules before anything else runs; what is news is kept before the next thing happens. An order's number is
higher than all that its giver knows of; where somebody else was first, or gave the opposite with the same number (a device then stays halted), it
is given again with the next one. Counterparts: `halting` (which order holds), `halt_watch`, `halt_swarm` and the simulator (carry things to and fro).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.charter import Charter
from protocol.directory import Directory
from protocol.errors import Rejected
from protocol.halts import HaltOrder, open_halt, pack_halt, sign_halt, unpack_halt
from protocol.messages import Halt, Heartbeat
from protocol.signing import SigningKey

from .halting import Halts

__all__ = ["LOOK_S", "PATIENCE_S", "RETRY_S", "TRIES", "Giver", "Orders"]

LOOK_S: Final = 30.0
"""How often the store is asked without a reason."""
PATIENCE_S: Final = 5.0
"""So long work waits for the store's answer; after that the device goes on with what it knows, and asks on."""
RETRY_S: Final = 1.0
"""The pause after an answer that did not come."""
TRIES: Final = 5
"""So often an admin's order is given again with a higher number."""


class Orders:
    """One device's door for orders.

    Args:
        halts: where they end.
        charter: the head of the chain as it is known now.
        directory: where revocations are looked up.
        keep: write an order down, so that a restart obeys it before anything else; must not raise.
        tell: told, for people, what happened.
    """

    def __init__(
        self,
        halts: Halts,
        charter: Callable[[], Charter],
        directory: Callable[[], Directory | None],
        keep: Callable[[bytes], None],
        tell: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._halts = halts
        self._charter = charter
        self._directory = directory
        self._keep = keep
        self._tell = tell

    def restored(self, stored: bytes | None) -> None:
        """What the home has kept; None: nothing."""
        if stored is not None:
            self._take_stored(stored, keep=False)

    def answered(self, stored: bytes | None) -> None:
        """The swarm's store said what it has; None: nothing."""
        if stored is not None:
            self._take_stored(stored, keep=True)
        self._halts.set_sure(True)

    def unanswered(self) -> None:
        """It did not say in time: on with what is known."""
        self._halts.set_sure(True)

    def moved(self) -> None:
        """The connection went or came: the store has to be asked."""
        self._halts.set_sure(False)

    def said(self, item: Halt) -> None:
        """An order came over the bus."""
        self._take(item.halt, item.certificate, keep=True)

    def _take_stored(self, stored: bytes, *, keep: bool) -> None:
        try:
            raw, certificate = unpack_halt(stored)
        except Rejected as error:
            self._halts.counts[error.code] += 1
            self._tell(f"a stored halt cannot be read: {error}")
            return
        self._take(raw, certificate, keep=keep)

    def _take(self, raw: bytes, certificate: bytes, *, keep: bool) -> None:
        halts = self._halts
        try:
            news = halts.take(raw, certificate, self._charter(), self._directory())
        except Rejected as error:
            self._tell(f"an order to halt does not hold: {error}")
            return
        if news:
            self._tell(halts.why or f"{halts.by} lets the swarm go on")
            if keep:
                self._keep(pack_halt(raw, certificate))


class Giver:
    """One order of an admin on its way: which number it gets.

    Args:
        charter: the verified head.
        key: the admin's own key for envelopes.
        certificate: the admin's own.
        on: stop (True) or go on (False).
        why: told to everybody.
    """

    def __init__(
        self, charter: Charter, key: SigningKey, certificate: bytes, *, on: bool, why: str = ""
    ) -> None:
        self.on = on
        self.n = 0
        """The number that it got; 0: none yet."""
        self._charter = charter
        self._key = key
        self._certificate = certificate
        self._why = why[:200]
        self._least = 0
        self._raw = b""
        self._again = False

    def known(self, stored: bytes | None) -> None:
        """An order that was given before, as it is stored; what does not hold is as none."""
        try:
            raw, certificate = unpack_halt(stored or b"")
            self._least = max(self._least, open_halt(raw, certificate, self._charter).order.n)
        except Rejected:
            return

    def sign(self, at: float) -> Halt:
        """The order with the next number, to be said; `at`: Unix seconds."""
        self.n = self._least + 1
        order = HaltOrder(swarm=self._charter.swarm_id, n=self.n, at=int(at), on=self.on, why=self._why)
        self._raw = sign_halt(order, self._key)
        return Halt(halt=self._raw, reason=self._why, certificate=self._certificate)

    def stored(self) -> bytes:
        """The signed order, as the swarm's store keeps it."""
        return pack_halt(self._raw, self._certificate)

    def overtaken(self) -> None:
        """Somebody else has stored an order meanwhile: the next number has to be higher."""
        self._least = max(self._least, self.n)

    def contradicted(self, word: Heartbeat) -> bool:
        """Whether a device obeys another order of the very same number, so that this one has to be given again: at most once, since its owner may have halted it, too."""
        if self._again or self.on or not word.halted or word.halt != self.n or not self.n:
            return False
        self._again = True
        return True
