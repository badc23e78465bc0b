"""Saying the same thing twice: sliding windows per (sender, session), and the challenge to sessions that are new (SPEC ENV-13 to ENV-17).

`ReplayWindows` is one sender's memory: for each session the highest sequence number and a bit for each of the 1,024 below it. Asking never
changes anything; only what has a good signature is entered (`commit`), so a forger cannot push a window forward.

A session is forgotten when even its youngest message would fail on time: at (time + ttl + 30 s) of the latest-lasting message, which is the
sender's own stamp, not the moment of arrival. Counting from the arrival would leave a gap for a sender whose clock is ahead.

`SessionGate` is for a receiver that has just started and remembers nothing: until 660 s after its start, when every envelope from before
fails on time, a new session must first repeat a number that the receiver drew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from .limits import REPLAY_WINDOW, SESSIONS_PER_SENDER, SKEW_MS, YOUNG_RECEIVER_MS

__all__ = ["ReplayWindows", "SessionGate", "Window"]

_MASK: Final = (1 << REPLAY_WINDOW) - 1
_PENDING_MAX: Final = 4096
"""Challenges that wait for an answer; members only can cause one."""


class Window:
    """One session. All numbers above `anchor` up to `top` were accepted; bit i of `bits` says that `anchor - i` was.

    A session whose messages come in order only ever moves `top`; the 1,024 bits are touched when one is missing or late.
    """

    __slots__ = ("anchor", "bits", "dead_ms", "top")

    def __init__(self) -> None:
        self.top = 0
        self.anchor = 0
        self.bits = 0
        self.dead_ms = 0

    def fresh(self, seq: int) -> bool:
        """Tell whether a number was not accepted before and is not too far behind to know."""
        if seq > self.top:
            return True
        return (
            0 < seq <= self.anchor
            and self.top - seq < REPLAY_WINDOW
            and not self.bits >> self.anchor - seq & 1
        )

    def enter(self, seq: int, dead_ms: int) -> None:
        """Enter an accepted number, of a message that fails on time after `dead_ms`."""
        if seq == self.top + 1:
            self.top = seq
        elif seq > self.top:
            self.bits = _shifted(_shifted(self.bits, self.top - self.anchor, _MASK), seq - self.top, 1)
            self.anchor = self.top = seq
        else:
            self.bits |= 1 << self.anchor - seq
        if dead_ms > self.dead_ms:
            self.dead_ms = dead_ms


def _shifted(bits: int, by: int, fill: int) -> int:
    """Move the window up by `by` numbers, of which those in `fill` were accepted."""
    if by >= REPLAY_WINDOW:
        return fill & _MASK
    return (bits << by | fill & (1 << by) - 1) & _MASK


class ReplayWindows:
    """What was accepted from one sender."""

    __slots__ = ("windows",)

    def __init__(self) -> None:
        self.windows: dict[bytes, Window] = {}
        """By session, for reading only."""

    def __len__(self) -> int:
        return len(self.windows)

    def knows(self, session: bytes) -> bool:
        """Tell whether something of this session was accepted and is not forgotten."""
        return session in self.windows

    def fresh(self, session: bytes, seq: int) -> bool:
        """Tell whether (session, seq) was not accepted before and is not too far behind to know. Changes nothing."""
        window = self.windows.get(session)
        return seq > 0 if window is None else window.fresh(seq)

    def has_room(self, session: bytes, now_ms: int) -> bool:
        """Tell whether this session has a window or may have one; forgets sessions that are over."""
        windows = self.windows
        return session in windows or len(windows) < SESSIONS_PER_SENDER or self.forget(now_ms) > 0

    def commit(self, session: bytes, seq: int, time_ms: int, ttl_s: int, now_ms: int) -> None:
        """Enter an accepted message. The caller has asked `fresh` and `has_room` and has verified the signature."""
        window = self.windows.get(session)
        if window is None:
            self.forget(now_ms)
            window = self.windows[session] = Window()
        window.enter(seq, time_ms + ttl_s * 1000 + SKEW_MS)

    def forget(self, now_ms: int) -> int:
        """Drop every session of which no message could still pass the time window; returns how many."""
        over = [session for session, window in self.windows.items() if window.dead_ms < now_ms]
        for session in over:
            del self.windows[session]
        return len(over)


class SessionGate:
    """A young receiver's distrust of sessions that it has not met: `Verifier(..., gate=SessionGate(...))`.

    After `E_SESSION` the shell takes the nonces to send from `challenges()`; the sender answers in a message of one of the `answer_types`,
    which pass the gate; the shell then calls `confirm` with the nonce found in it.
    """

    __slots__ = ("_confirmed", "_nonce", "_pending", "_unsent", "_until_ms", "answer_types")

    def __init__(
        self, started_ms: int, answer_types: frozenset[int], draw_nonce: Callable[[], bytes]
    ) -> None:
        """Start the distrust.

        Args:
            started_ms: Unix milliseconds of the receiver's start.
            answer_types: Types in which an answer may come (`hello`).
            draw_nonce: Gives 16 fresh random bytes.
        """
        self._until_ms = started_ms + YOUNG_RECEIVER_MS
        self._nonce = draw_nonce
        self._pending: OrderedDict[tuple[bytes, bytes], bytes] = OrderedDict()
        self._unsent: list[tuple[bytes, bytes, bytes]] = []
        self._confirmed: set[tuple[bytes, bytes]] = set()
        self.answer_types: Final = answer_types

    def admits(self, sender: bytes, session: bytes, kind: int, now_ms: int) -> bool:
        """Tell whether a message with a GOOD signature may pass; draws a challenge for a session met for the first time."""
        who = (sender, session)
        if now_ms >= self._until_ms or who in self._confirmed or kind in self.answer_types:
            return True
        if who not in self._pending:
            nonce = self._nonce()
            self._pending[who] = nonce
            self._unsent.append((sender, session, nonce))
            if len(self._pending) > _PENDING_MAX:
                self._pending.popitem(last=False)
                del self._unsent[:-_PENDING_MAX]
        return False

    def challenges(self) -> list[tuple[bytes, bytes, bytes]]:
        """Take the challenges to send since the last call: (sender, session, nonce)."""
        unsent, self._unsent = self._unsent, []
        return unsent

    def confirm(self, sender: bytes, session: bytes, nonce: bytes) -> bool:
        """Enter an answer; True when it was the right one, once."""
        who = (sender, session)
        if self._pending.get(who) != nonce:
            return False
        del self._pending[who]
        self._confirmed.add(who)
        return True
