"""The only reader of the wall clock.

Everything that needs the time takes `now: float` (Unix seconds) or a `Clock`; so a simulated world can own time.
"""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Two times: `now` for dates on the wire, `monotonic` for durations and deadlines."""

    def now(self) -> float:
        """Unix time in seconds; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""
        ...


class SystemClock:
    """The device's own clock."""

    def now(self) -> float:
        """Unix time in seconds; may jump."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back."""
        return time.monotonic()
