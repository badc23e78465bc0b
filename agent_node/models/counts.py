"""What a model server says that a request used. Pure.

Servers say it in several ways; what is not a number that makes sense is left out, and what nobody counted is estimated and marked so.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

__all__ = ["Counts", "counts_of"]

_MOST: Final = 1 << 40


class Counts(NamedTuple):
    """Tokens of one request or of several. `cached` are part of `read`, `thought` part of `written`."""

    read: int = 0
    cached: int = 0
    written: int = 0
    thought: int = 0
    estimated: bool = False
    """At least a part was not counted by the server."""

    @property
    def total(self) -> int:
        """What counts against a bound of tokens."""
        return self.read + self.written

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts(
            self.read + other.read,
            self.cached + other.cached,
            self.written + other.written,
            self.thought + other.thought,
            self.estimated or other.estimated,
        )


def counts_of(usage: Any) -> Counts | None:
    """The object `usage` of an answer; None when there is nothing in it to go by."""
    if not isinstance(usage, dict):
        return None
    read = _number(usage, "prompt_tokens", "input_tokens")
    written = _number(usage, "completion_tokens", "output_tokens")
    if read is None and written is None:
        return None
    read, written = read or 0, written or 0
    details = (usage.get("prompt_tokens_details"), usage.get("input_tokens_details"), usage)
    cached = next((n for part in details if (n := _number(part, "cached_tokens")) is not None), 0)
    details = (usage.get("completion_tokens_details"), usage.get("output_tokens_details"), usage)
    thought = next((n for part in details if (n := _number(part, "reasoning_tokens")) is not None), 0)
    # Some servers leave thinking out of what was written; it was generated, and is paid for, all the same.
    total = _number(usage, "total_tokens")
    if total is not None and thought and total == read + written + thought:
        written += thought
    return Counts(read, min(cached, read), written, min(thought, written))


def _number(part: Any, *names: str) -> int | None:
    if not isinstance(part, dict):
        return None
    for name in names:
        value = part.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MOST:
            return int(value)
    return None
