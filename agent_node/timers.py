"""Named moments, kept in order: what a core's `deadline()` is made of.

Rules. A name has at most one moment; setting it again moves it. Cost is logarithmic, and what was cancelled takes no space for long: a busy
node sets and cancels thousands a second. It knows no clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Timers"]

Name = TypeVar("Name", bound=Hashable)
_SLACK = 64


class Timers(Generic[Name]):
    """Moments by name, in Unix seconds."""

    def __init__(self) -> None:
        self._when: dict[Name, float] = {}
        self._heap: list[tuple[float, int, Name]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._when)

    def set(self, name: Name, when: float) -> None:
        """Let `name` be due at `when`, instead of any earlier setting."""
        self._when[name] = when
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, name))
        if len(self._heap) > 2 * len(self._when) + _SLACK:
            self._compact()

    def cancel(self, name: Name) -> None:
        """Forget `name`; harmless when it is not set."""
        self._when.pop(name, None)

    def next(self) -> float | None:
        """The earliest moment, or None."""
        while self._heap:
            when, _, name = self._heap[0]
            if self._when.get(name) == when:
                return when
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now: float) -> list[Name]:
        """Take out everything that is due, in order of its moment, then of its setting."""
        due: list[Name] = []
        while (when := self.next()) is not None and when <= now:
            _, _, name = heapq.heappop(self._heap)
            del self._when[name]
            due.append(name)
        return due

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if self._when.get(entry[2]) == entry[0]]
        heapq.heapify(self._heap)
