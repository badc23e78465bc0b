"""Shell: how busy this device's processors are, as a bid needs it: over the last second or so, not over the last minute.

Linux counts the processors' time in /proc/stat; elsewhere the one-minute load average, divided by the processors, has to do.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["LoadMeter"]

_SMOOTH = 0.5
"""Weight of the newest interval."""


class LoadMeter:
    """Call `measure` about once a second."""

    def __init__(self, stat: Path = Path("/proc/stat")) -> None:
        self._stat = stat
        self._last = self._counts()
        self._load: float | None = None

    def measure(self) -> float:
        """The share of processor time that was used since the last call, smoothed; 0 to 1."""
        counts = self._counts()
        if counts is None or self._last is None:
            average = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
            return min(1.0, average / max(1, os.cpu_count() or 1))
        busy, total = counts[0] - self._last[0], counts[1] - self._last[1]
        if total > 0:
            self._last = counts
            share = min(1.0, max(0.0, busy / total))
            self._load = share if self._load is None else self._load + _SMOOTH * (share - self._load)
        return self._load or 0.0

    def _counts(self) -> tuple[int, int] | None:
        """(busy, all) in clock ticks since boot."""
        try:
            line = self._stat.read_text(encoding="ascii").split("\n", 1)[0].split()
            ticks = [int(word) for word in line[1:9]]
        except (OSError, ValueError, IndexError):
            return None
        if len(ticks) < 5:
            return None
        total = sum(ticks)
        return total - ticks[3] - ticks[4], total
