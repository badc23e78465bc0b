"""A device's append-only file in a simulated world: what is written survives the process, what is synced survives the power.

Rules. `append` may fail when the disk is full; then nothing of it is there. A power cut takes away a part of what was not synced, and may leave rubbish in
the rest of it: no byte that was synced is ever touched. `replace` is atomic and durable, as a rename behind an fsync is.
"""

from __future__ import annotations

import random

__all__ = ["DiskFull", "SimFile"]


class DiskFull(OSError):
    """No space is left."""


class SimFile:
    """One file."""

    __slots__ = ("data", "full", "synced")

    def __init__(self) -> None:
        self.data = b""
        self.synced = 0
        self.full = False

    def append(self, data: bytes) -> None:
        """Write behind what is there.

        Raises:
            DiskFull: nothing was written.
        """
        if self.full:
            raise DiskFull
        self.data += data

    def sync(self) -> None:
        """What is there survives the power."""
        self.synced = len(self.data)

    def replace(self, data: bytes) -> None:
        """Put other content in its place, durably.

        Raises:
            DiskFull: the old content is still there.
        """
        if self.full:
            raise DiskFull
        self.data = data
        self.synced = len(data)

    def power_cut(self, rng: random.Random) -> int:
        """Lose a part of the unsynced tail; returns how many bytes went."""
        loose = len(self.data) - self.synced
        if loose == 0:
            return 0
        kept = rng.randint(0, loose)
        tail = bytearray(self.data[self.synced : self.synced + kept])
        if tail and rng.random() < 0.3:
            tail[rng.randrange(len(tail))] ^= 1 << rng.randrange(8)
        self.data = self.data[: self.synced] + bytes(tail)
        self.synced = len(self.data)
        return loose - kept
