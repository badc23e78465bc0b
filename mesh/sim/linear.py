"""Is there one order of all appends to a log that explains what every client was told? A small checker for histories of compare-and-set.

    check(entries, calls) -> why not, or ""

Rules. A call took effect at one instant between its beginning and its end; one whose answer never came may have taken effect at any time after its beginning,
or not at all. A successful call number s turns a log of s - 1 entries into one of s. A conflict that names r saw a log of exactly r entries. Because a log
only grows, the order is known, and it remains to see whether instants exist: the latest lower bound so far must not pass the earliest
upper bound. Linear in the number of calls. It knows nothing of the simulator: histories of a real store can be judged as well.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Call", "check"]

_NEVER: Final = float("inf")


@dataclass(slots=True)
class Call:
    """One append as its client saw it. `told`: what the client believes; `seq`: the entry's number, or the last one that a conflict named."""

    client: str
    token: Hashable
    expected: int
    began: float
    ended: float = _NEVER
    told: Literal["", "ok", "conflict"] = ""
    seq: int = 0

    def end(self, told: Literal["ok", "conflict"], seq: int, at: float) -> None:
        """The client came to this conclusion at this time."""
        self.told, self.seq, self.ended = told, seq, at


def check(entries: Sequence[Hashable], calls: Sequence[Call]) -> str:
    """Why no order explains this, or "" when one does.

    Args:
        entries: the tokens of the log's entries, first to last.
        calls: all calls to this log.
    """
    count = len(entries)
    earliest = [_NEVER] * (count + 2)
    latest = [_NEVER] * (count + 2)
    low = [float("-inf")] * (count + 2)
    for call in calls:
        number = call.expected + 1
        mine = number <= count and entries[number - 1] == call.token
        if mine:
            earliest[number] = min(earliest[number], call.began)
        if call.told == "ok":
            if not mine or call.seq != number:
                return f"{call.client} was told that entry {call.seq} is its own, and it is not in the log"
            latest[number] = min(latest[number], call.ended)
        elif call.told == "conflict":
            if call.seq == call.expected:
                return f"{call.client} was refused entry {number}, although nothing was there"
            if call.seq > count:
                return f"{call.client} saw entry {call.seq} of a log of {count}"
            latest[call.seq] = min(latest[call.seq], call.ended)
            low[call.seq + 1] = max(low[call.seq + 1], call.began)
    if len(set(entries)) != count:
        return "the same append is in the log twice"
    instant = float("-inf")
    for number in range(1, count + 1):
        if earliest[number] == _NEVER:
            return f"nobody asked for entry {number}"
        instant = max(instant, earliest[number], low[number])
        if instant > latest[number]:
            return f"entry {number} was seen before it can have been written"
    return ""
