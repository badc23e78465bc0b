"""Shell: lets requests in as a `Ramp` allows, in the order in which they came, for all agents of a node that have the same key."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from .ramp import Ended, Ramp

__all__ = ["Gate", "Gates"]

_SAY_EVERY_S: Final = 5.0


class Gate:
    """One key's. Times are the loop's."""

    def __init__(self, ramp: Ramp) -> None:
        self.ramp = ramp
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, waits: Callable[[float, str], None]) -> float:
        """Wait for room, and begin a request; returns when it began. `waits` is told for about how long, and why, and told again."""
        loop = asyncio.get_running_loop()
        if not self._waiting and self.ramp.room(loop.time()):
            self.ramp.begin(loop.time())
            return loop.time()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            while not turn.done():
                named = self.ramp.wait_s(loop.time())
                waits(max(named, _SAY_EVERY_S), self.ramp.why)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(named, _SAY_EVERY_S)):
                        await asyncio.shield(turn)
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.leave("other", loop.time())
            else:
                turn.cancel()
                self._let_in()
            raise
        return loop.time()

    def leave(self, how: Ended, began: float, wait_s: float = 0.0, why: str = "") -> None:
        """A request is over."""
        self.ramp.end(how, began, asyncio.get_running_loop().time(), wait_s, why)
        self._let_in()

    def _let_in(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and (self._waiting[0].done() or self.ramp.room(loop.time())):
            turn = self._waiting.popleft()
            if not turn.done():
                self.ramp.begin(loop.time())
                turn.set_result(None)
        if self._waiting and (wait_s := self.ramp.wait_s(loop.time())) > 0:
            self._timer = loop.call_later(wait_s, self._let_in)


class Gates:
    """All gates of a node."""

    def __init__(self) -> None:
        self._gates: dict[tuple[str, str], Gate] = {}

    def of(self, server: str, key: str, most: int) -> Gate:
        """The gate of a key at a server."""
        gate = self._gates.get((server, key))
        if gate is None:
            gate = self._gates[server, key] = Gate(Ramp(most))
        else:
            gate.ramp.widen(most)
        return gate
