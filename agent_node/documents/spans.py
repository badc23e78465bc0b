"""The whole text of a document as one string, and the way back from a position to its unit.

Extractors look at this string, so a date that a line break divides is still found. Lines of one block are joined by LF, blocks by two,
and nothing that is looked for may contain an empty line. Positions that one extractor has used are not offered to the next.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from .text import TextDocument, Unit

__all__ = ["Found", "Spans", "Text"]


@dataclass(frozen=True, slots=True)
class Found:
    """Something found at `start:end` of the joined text: its kind, normalised value, and for amounts the ISO 4217 code ("" unknown).

    `doubt` says what the normalisation had to assume, for example the order of day and month; "" when nothing.
    """

    start: int
    end: int
    kind: str
    value: str
    currency: str = ""
    doubt: str = ""


class Text:
    """The joined text of a document."""

    def __init__(self, document: TextDocument) -> None:
        self.units = document.units
        self.starts: list[int] = []
        pieces: list[str] = []
        length = 0
        previous: Unit | None = None
        for unit in document.units:
            if previous is not None:
                same = unit.block == previous.block
                # The parts of one long line follow each other without a break.
                joint = ("" if unit.n == previous.n else "\n") if same else "\n\n"
                pieces.append(joint)
                length += len(joint)
            self.starts.append(length)
            pieces.append(unit.text)
            length += len(unit.text)
            previous = unit
        self.whole = "".join(pieces)

    def index_at(self, position: int) -> int:
        """Index of the unit that `position` lies in (or the one before the break it lies in)."""
        return max(0, bisect_right(self.starts, position) - 1)

    def unit_at(self, position: int) -> Unit:
        """The unit that `position` lies in."""
        return self.units[self.index_at(position)]


class Spans:
    """Disjoint stretches of the text, sorted; for asking whether a stretch is still free."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Take `start:end`; the caller has asked `free` before."""
        index = bisect_left(self._starts, start)
        self._starts.insert(index, start)
        self._ends.insert(index, end)

    def free(self, start: int, end: int) -> bool:
        """True when nothing taken overlaps `start:end`."""
        index = bisect_left(self._starts, end)
        return index == 0 or self._ends[index - 1] <= start

    def update(self, found: list[Found]) -> None:
        """Take all of `found` that is free."""
        for item in found:
            if self.free(item.start, item.end):
                self.add(item.start, item.end)
