"""What a piece of work says while a model works on it: steps, what it used, that it waits. Holds it to what it may use before it is used.

Rules. The first text is told at once, what follows at most four times a second: each is a message. What a request will use is asked for before it is
sent (`allowed`): the tokens that it reads by the estimate of `tokens`, and as many to write as its caps leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent_node.errors import WorkError, plain
from agent_node.job import Emit, Made, More
from agent_node.tariff import Tariff
from protocol.messages import Usage

from .counts import Counts

__all__ = ["Telling"]

_EVERY_S: Final = 0.25
_LEAST: Final = 64
"""Fewer tokens than this are no answer."""


class Telling:
    """Of one piece of work. `now`: a steady clock, in seconds."""

    def __init__(
        self, emit: Emit, tariff: Tariff, caps: Usage | None, now: Callable[[], float], wait_most_s: float
    ) -> None:
        self.counts = Counts()
        """Of all requests that are over."""
        self._requests = 0
        self._emit = emit
        self._tariff = tariff
        self._caps = caps
        self._now = now
        self._wait_most_s = wait_most_s
        self._step = 0
        self._told_at = float("-inf")
        self._waiting = False
        self._current = Counts()
        self._read = 0

    @property
    def used(self) -> Usage:
        """All of it so far."""
        counts = self.counts.plus(self._current)
        return Usage(
            money=self._tariff.cost(counts.read, counts.cached, counts.written),
            tokens=counts.total,
            steps=self._requests,
        )

    def allowed(self, read: int, wanted: int) -> int:
        """How many tokens the next request may write.

        Raises:
            WorkError: E_BUDGET, too few to be worth asking.
        """
        if self._caps is None:
            return wanted
        used = self.used
        most = min(
            wanted,
            self._caps.tokens - used.tokens - read,
            self._tariff.affordable(self._caps.money - used.money, read),
        )
        if most < min(wanted, _LEAST) or used.steps + 1 > self._caps.steps:
            raise WorkError(
                "E_BUDGET",
                f"a request of about {read:,} tokens, and up to {wanted:,} in answer, is more than what was set aside leaves",
                again=True,
            )
        return most

    def asks(self, read: int, note: str) -> None:
        """A request begins."""
        self._requests += 1
        # What is said while it is under way is charged at least, so the reading, which is an estimate, is not in it.
        self._current, self._read = Counts(estimated=True), read
        self._waiting = False
        self._say(0.0, note)
        self._told_at = float("-inf")

    def heard(self, pieces: int, wanted: int, tail: str) -> None:
        """Text came."""
        self._current = self._current._replace(written=pieces)
        if self._now() - self._told_at < _EVERY_S:
            return
        self._told_at = self._now()
        words = plain(" ".join(tail.split()), 80)
        self._say(min(0.95, pieces / max(1, wanted)), f"{pieces} pieces: {words}")

    def over(self, counts: Counts | None, written: int) -> None:
        """A request is over; `counts` None: the server did not count, and about `written` tokens came."""
        self.counts = self.counts.plus(counts or Counts(self._read, 0, written, 0, estimated=True))
        self._current = Counts()
        self._emit(self._step, 0.0, "", More(used=self.used))

    def not_used(self) -> None:
        """A request was refused, and used nothing."""
        self._current = Counts()

    def waits(self, wait_s: float, why: str) -> None:
        """It waits for its turn or for a limit of use.

        Raises:
            WorkError: E_LIMITED, for longer than it is worth.
        """
        if wait_s > self._wait_most_s:
            raise WorkError("E_LIMITED", why or "this key may not be used now", again=True, retry_s=wait_s)
        if not self._waiting:
            self._step += 1
        self._waiting = True
        note = plain(why, 200) or "waits for its turn at the model server"
        self._emit(self._step, 0.0, note, More("limited", wait_s, self.used))

    def pauses(self, note: str) -> None:
        """It asks again in a moment."""
        self._say(0.0, note)

    def leaves(self, made: Made) -> None:
        """There is something of the answer, though it is not complete."""
        self._emit(self._step, 0.0, "", More(used=self.used, partial=made))

    def _say(self, fraction: float, note: str) -> None:
        self._step += 1
        self._emit(self._step, fraction, plain(note, 200), More(used=self.used))
