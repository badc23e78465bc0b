"""Many deadlines behind one `next()`: a heap whose outdated entries are passed over when they surface.

A key has at most one time; setting it again moves it. Pure: it is told what time it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Timers"]

Key = TypeVar("Key", bound=Hashable)


class Timers(Generic[Key]):
    """Keys and when they are due, in Unix seconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Key]] = []
        self._at: dict[Key, tuple[float, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: Key) -> bool:
        return key in self._at

    def set(self, key: Key, when: float) -> None:
        """The key is due at `when` (and at no other time)."""
        self._count += 1
        self._at[key] = (when, self._count)
        heapq.heappush(self._heap, (when, self._count, key))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._at):
            self._heap = [(at, count, name) for name, (at, count) in self._at.items()]
            heapq.heapify(self._heap)

    def at(self, key: Key) -> float:
        """When the key is due.

        Raises:
            KeyError: it is not.
        """
        return self._at[key][0]

    def cancel(self, key: Key) -> None:
        """The key is not due any more; harmless when it was not."""
        self._at.pop(key, None)

    def next(self) -> float | None:
        """When the first key is due."""
        while self._heap:
            when, count, key = self._heap[0]
            if self._at.get(key) == (when, count):
                return when
            heapq.heappop(self._heap)
        return None

    def due(self, now: float) -> list[Key]:
        """Take out the keys that are due at `now`, the earliest first."""
        keys: list[Key] = []
        while self._heap and self._heap[0][0] <= now:
            when, count, key = heapq.heappop(self._heap)
            if self._at.get(key) == (when, count):
                del self._at[key]
                keys.append(key)
        return keys
