"""What a model's work costs, from tokens. Pure.

Money is in micro-credits; rates are micro-credits for a million tokens, at the highest step of a price that has steps, so that nothing costs more than
was said. A local model's rates are 0, which is a price; an unknown price is not a tariff with zeros but `unpriced` (see `policy`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Tariff"]

_MILLION = 1_000_000
_BYTES_PER_TOKEN = 3


@dataclass(frozen=True, slots=True)
class Tariff:
    """Of one agent. `written`: the longest answer. `overhead`: tokens that a request has beside its input files."""

    input: int = 0
    cached: int = 0
    output: int = 0
    written: int = 1024
    overhead: int = 500

    def cost(self, read: int, cached: int, written: int) -> int:
        """What these tokens cost; `cached` of the read ones were known to the server."""
        fresh = max(0, read - cached)
        return math.ceil(
            (fresh * self.input + min(cached, read) * self.cached + written * self.output) / _MILLION
        )

    def read(self, size: int) -> int:
        """Tokens that a request over `size` bytes of input reads."""
        return self.overhead + math.ceil(size / _BYTES_PER_TOKEN)

    def tokens(self, size: int, seen: int = 0) -> int:
        """Tokens of one job at most; `seen`: the most that one used so far, with room to spare."""
        return max(seen, self.read(size) + self.written)

    def price(self, size: int, seen: int = 0) -> int:
        """What a job is offered for: its reading, and an answer as long as it may be, or as the longest so far."""
        read = self.read(size)
        written = min(self.written, max(64, seen - read)) if seen else self.written
        return self.cost(read, 0, written)

    def affordable(self, money: int, read: int) -> int:
        """How many tokens may be written for this much, after `read` were read."""
        left = money - self.cost(read, 0, 0)
        if left < 0:
            return 0
        return self.written if self.output == 0 else left * _MILLION // self.output
