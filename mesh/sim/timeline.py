"""Virtual time: what happens next, the chance behind it, and the trace of what happened.

Rules. One seed is one history: everything random comes from `rng`, nothing reads a clock, and of two things at the same instant the one that was asked
for first happens first. The digest covers every noted line, so two histories are the same exactly when their digests are.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

__all__ = ["START", "NodeClock", "Timeline"]

START: Final = 1_700_000_000.0
"""When every history begins, in Unix seconds."""
_TAIL: Final = 60


class Timeline:
    """One history's time."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - a simulation must be repeatable, not secret
        self.now = START
        self.events = 0
        """Things that happened so far."""
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self._hash = hashlib.sha256()
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, delay: float, action: Callable[..., object], *args: Any) -> None:
        """Do something `delay` virtual seconds from now."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay, self._count, action, args))

    def advance(self) -> bool:
        """Let the next thing happen; False when nothing is left."""
        if not self._heap:
            return False
        self.now, _, action, args = heapq.heappop(self._heap)
        self.events += 1
        action(*args)
        return True

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the beginning."""
        return self.now - START

    def note(self, who: str, what: str) -> None:
        """One line of the trace."""
        line = f"{self.now - START:9.4f} {who:4} {what}"
        self._hash.update(line.encode())
        self.tail.append(line)

    @property
    def digest(self) -> str:
        """Of the whole trace."""
        return self._hash.hexdigest()


class NodeClock:
    """One device's clock. `wall` may be wrong and may jump; `steady` goes on from what `wall` was when the process started, as the daemon's cores see it."""

    __slots__ = ("_base", "_timeline", "offset")

    def __init__(self, timeline: Timeline, offset: float = 0.0) -> None:
        self._timeline = timeline
        self.offset = offset
        """Seconds by which the device's wall clock is ahead of the truth."""
        self._base = offset

    def started(self) -> None:
        """The device's process starts now."""
        self._base = self.offset

    def wall(self) -> float:
        """What the device believes the time to be."""
        return self._timeline.now + self.offset

    def steady(self) -> float:
        """The time by which the cores go: it never jumps while the process lives."""
        return self._timeline.now + self._base
