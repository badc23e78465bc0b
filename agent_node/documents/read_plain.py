"""Readers of plain text, Markdown and CSV: text in, units out.

Each keeps the source's own line numbers, so a citation `line 14` is what an editor shows. Blank lines make no unit; they end a block.
In Markdown a heading, a list item and a table row are blocks of their own, and what is inside a code fence is one block. A CSV record is
one unit with its cells, placed at the line on which it starts.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import csv
import io
import re

from .errors import DocumentError
from .text import Unit, cut

__all__ = ["read_csv", "read_markdown", "read_plain"]

_ITEM = re.compile(r"\s{0,12}(?:[-*+•·o–]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)]|\[?\d{4}-\d\d-\d\d\b.{0,20}?)\s+\S")
"""How a list item begins, or a line of a log."""
_HEADING = re.compile(r"\s{0,3}(#{1,6})\s+\S")
_UNDERLINE = re.compile(r"\s{0,3}(=+|-+)\s*\Z")
_FENCE = re.compile(r"\s{0,12}(```+|~~~+)")
_RULE = re.compile(r"\s*[-=_*~#+^.]{3,}\s*\Z")
_PIPE_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*\Z")
_ESCAPED_PIPE = re.compile(r"(?<!\\)\|")

_MAX_FIELD = 1_000_000
"""Longest CSV field, in characters."""


class _Lines:
    """Collects units and numbers their blocks."""

    def __init__(self) -> None:
        self.units: list[Unit] = []
        self.block = 0
        self._open = False

    def end_block(self) -> None:
        """What follows is another paragraph."""
        self._open = False

    def add(self, n: int, text: str, *, alone: bool = False, heading: int = 0) -> None:
        """A line; `alone` makes it a block of its own."""
        if alone or not self._open:
            self.block += 1
        self._open = not alone
        self.units.extend(Unit("line", n, part, self.block, heading=heading) for part in cut(text))

    def add_row(self, n: int, cells: list[str], table: int) -> None:
        """A table row."""
        self.block += 1
        self._open = False
        text = " | ".join(cells)
        parts = cut(text)
        if len(parts) == 1:
            self.units.append(Unit("line", n, text, self.block, tuple(cells), table))
        else:
            self.units.extend(Unit("line", n, part, self.block) for part in parts)


def read_plain(text: str) -> list[Unit]:
    """The non-blank lines of a plain text; a list item begins a new block."""
    lines = _Lines()
    for n, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or _RULE.match(stripped):
            lines.end_block()
            continue
        if _ITEM.match(line[:40]):
            lines.end_block()
        lines.add(n, line.rstrip())
    return lines.units


def read_markdown(text: str) -> list[Unit]:
    """The non-blank lines of a Markdown text as they are in the source, with headings and pipe tables recognised."""
    lines = _Lines()
    source = text.split("\n")
    fence = ""
    table = 0
    in_table = False
    for n, line in enumerate(source, 1):
        following = source[n] if n < len(source) else ""
        head = line[:40]
        if fence:
            if head.strip().startswith(fence):
                fence = ""
                lines.end_block()
            elif line.strip():
                lines.add(n, line.rstrip())
            continue
        if opened := _FENCE.match(head):
            fence = opened[1][:3]
            lines.end_block()
            continue
        if not line.strip():
            lines.end_block()
            in_table = False
            continue
        if (
            "|" in line
            and not in_table
            and "-" in following
            and "|" in following
            and _PIPE_RULE.match(following[:2000])
        ):
            table += 1
            in_table = True
        if in_table:
            if not _PIPE_RULE.match(line[:2000]):
                lines.add_row(n, _pipe_cells(line), table)
        else:
            _markdown_line(lines, n, line, following)
    return lines.units


def _markdown_line(lines: _Lines, n: int, line: str, following: str) -> None:
    head = line[:40]
    if heading := _HEADING.match(head):
        lines.add(n, line.rstrip(), alone=True, heading=len(heading[1]))
    elif _UNDERLINE.match(line[:200]) or _RULE.match(line[:200]):
        lines.end_block()
    elif following.strip() and (under := _UNDERLINE.match(following[:200])) and not _ITEM.match(head):
        lines.add(n, line.rstrip(), alone=True, heading=1 if under[1][0] == "=" else 2)
    else:
        if _ITEM.match(head):
            lines.end_block()
        lines.add(n, line.rstrip())


def _pipe_cells(line: str) -> list[str]:
    cells = [cell.strip().replace("\\|", "|") for cell in _ESCAPED_PIPE.split(line.strip())]
    if cells and not cells[0]:
        cells = cells[1:]
    if cells and not cells[-1]:
        cells = cells[:-1]
    return cells


def read_csv(name: str, text: str) -> list[Unit]:
    """The records of a CSV (comma, semicolon, tab or bar, whichever divides its records most evenly).

    Raises:
        DocumentError: `E_UNREADABLE` when a quotation mark never closes, or a field is longer than 1,000,000 characters.
    """
    csv.field_size_limit(_MAX_FIELD)
    lines = _Lines()
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=divider(text), strict=False)
    start = 1
    try:
        for record in reader:
            cells = [" ".join(cell.split()) for cell in record]
            if any(cells):
                lines.add_row(start, cells, 1)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DocumentError(
            "E_UNREADABLE",
            f"{name} cannot be read as CSV: {error} in the record that starts on line {start}.",
            "Look for a quotation mark that is never closed.",
        ) from None
    return lines.units


def divider(text: str) -> str:
    """The character that divides a CSV's fields: it occurs in most of the first records, and equally often in each."""
    sample = [line for line in text[:20_000].split("\n")[:50] if line.strip()]
    best, best_score = ",", 0.0
    for candidate in (",", ";", "\t", "|"):
        counts = [record.count(candidate) for record in (_outside_quotes(line) for line in sample)]
        used = [count for count in counts if count]
        if not used:
            continue
        common = max(sorted(set(used)), key=used.count)
        score = used.count(common) / len(counts) + common / 1000
        if score > best_score + 1e-9:
            best, best_score = candidate, score
    return best


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])
