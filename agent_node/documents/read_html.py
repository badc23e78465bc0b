"""Reader of HTML: what a person sees of a page, each line with the number of the source line it starts on.

Scripts, styles and comments are left out. The tokenizer below follows the WHATWG rules as far as text needs them and goes through the
source once, without recursion, so neither depth nor unclosed markup costs more than length. Soft line breaks of the source stay line
breaks, so that citations stay exact. Links are kept beside the text (`Unit.links`), `mailto:` among them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from html import unescape

from .text import Unit, cut

__all__ = ["read_html"]

_BLOCK_NAMES = """
address article aside blockquote body button caption center dd details dialog div dl dt fieldset
figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu nav
noscript ol option p pre search section select summary table tbody tfoot thead title tr ul
"""
_BLOCK = frozenset(_BLOCK_NAMES.split())
"""Elements that begin and end a paragraph of their own."""

_LEVELS = {"title": 1, "h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
"""Elements that are headings, with their level."""

_RAW = frozenset(
    ("script", "style", "template", "svg", "math", "iframe", "object", "noembed", "noframes", "canvas")
)
"""Elements whose content no reader sees as text: skipped to their end tag."""

_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*+)((?:[^>\"'=]++|=\s*+(?:\"[^\"]*+\"|'[^']*+')?+|[\"'])*+)>")
_HREF = re.compile(
    r"(?:\A|[\s\"'/])href\s{0,9}=\s{0,9}(?:\"([^\"]{0,4000})\"|'([^']{0,4000})'|([^\s\"'>]{1,4000}))",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"[ \t\f\v\u00a0]+")
_LINKS = ("http://", "https://", "ftp://", "mailto:")

_MAX_ROW_CHARS = 4_000
"""A table row with more text than this is page layout, not data: its lines are then ordinary lines."""


def _tokens(source: str) -> Iterator[tuple[int, str, str, str]]:
    """(offset, kind, value, attributes) with kind `text`, `open` or `close`; values are raw (entities not yet replaced)."""
    position, end = 0, len(source)
    while position < end:
        start = source.find("<", position)
        if start < 0:
            yield position, "text", source[position:], ""
            return
        if start > position:
            yield position, "text", source[position:start], ""
        if source.startswith("<!--", start):
            close = source.find("-->", start + 4)
            position = end if close < 0 else close + 3
            continue
        following = source[start + 1 : start + 3]
        if following[:1] in ("!", "?"):
            close = source.find(">", start)
            position = end if close < 0 else close + 1
            continue
        if not (following[:1].isalpha() or (following[:1] == "/" and following[1:].isalpha())):
            yield start, "text", "<", ""
            position = start + 1
            continue
        tag = _TAG.match(source, start)
        if tag is None:
            # An unclosed tag swallows the rest, as in a browser; trying again at the next "<" would be quadratic.
            return
        name = tag[2].lower()
        position = tag.end()
        yield start, "close" if tag[1] else "open", name, tag[3]
        if not tag[1] and name in _RAW and not tag[3].endswith("/"):
            close_tag = re.compile(rf"</{name}[\s/>]", re.IGNORECASE).search(source, position)
            position = end if close_tag is None else close_tag.start()


class _Page:
    """Builds units from tokens. `_sink` is the page, or the open cell of a table row."""

    def __init__(self, source: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", source))]
        self.units: list[Unit] = []
        self._block = 1
        self._line: list[str] = []
        self._line_at = 0
        self._links: list[str] = []
        self._pre = 0
        self._heading = 0
        self._table_depth = 0
        self._tables = 0
        self._row: list[list[Unit]] | None = None
        self._row_at = 0
        self._row_nested = False

    def _number(self, offset: int) -> int:
        return bisect_right(self._starts, offset)

    def text(self, offset: int, raw: str) -> None:
        """Character data."""
        for index, piece in enumerate(raw.split("\n")):
            if index:
                self.flush()
            if piece.strip():
                if not self._line:
                    self._line_at = self._number(offset + (len(piece) - len(piece.lstrip())))
                self._line.append(unescape(piece))
            elif piece and self._line:
                self._line.append(" ")
            offset += len(piece) + 1

    def flush(self) -> None:
        """End the output line."""
        if not self._line and not self._links:
            return
        text = "".join(self._line)
        text = text.rstrip() if self._pre else _BLANKS.sub(" ", text).strip()
        links, self._line, self._links = tuple(self._links), [], []
        text = text.replace("\n", " ").replace("\r", " ")
        if not text and not links:
            return
        for index, part in enumerate(cut(text)):
            unit = Unit(
                "line",
                self._line_at,
                part,
                self._block,
                links=links if index == 0 else (),
                heading=self._heading,
            )
            if self._row is not None:
                if not self._row:
                    self._row.append([])
                self._row[-1].append(unit)
            else:
                self.units.append(unit)

    def end_block(self) -> None:
        """End the output line and the paragraph."""
        self.flush()
        self._block += 1

    def link(self, offset: int, attributes: str) -> None:
        """An `a` or `area` start tag: keep where it leads, if that is somewhere outside of the page's own site."""
        found = _HREF.search(attributes[:20_000])
        if found is None:
            return
        target = unescape(next(group for group in found.groups() if group is not None)).strip()
        if target[:8].lower().startswith(_LINKS):
            if not self._line:
                self._line_at = self._number(offset)
            self._links.append(target)

    def open(self, offset: int, name: str, attributes: str) -> None:
        """A start tag."""
        if name in {"a", "area"}:
            self.link(offset, attributes)
        elif name in {"td", "th"}:
            self.flush()
            if self._row is not None and self._table_depth == 1:
                self._row.append([])
            else:
                self._block += 1
        elif name == "br":
            self.flush()
        elif name == "tr":
            self._begin_row(offset)
        elif name in _BLOCK:
            self.end_block()
            if name == "table":
                self._begin_table()
            elif name == "pre":
                self._pre += 1
            else:
                self._heading = _LEVELS.get(name, self._heading)

    def close(self, name: str) -> None:
        """An end tag."""
        if name in {"td", "th"}:
            self.flush()
        elif name in _BLOCK or name == "tr":
            self.end_block()
            if name == "tr" and self._table_depth == 1:
                self.end_row()
            elif name == "table":
                self._end_table()
            elif name == "pre":
                self._pre = max(0, self._pre - 1)
            elif name in _LEVELS:
                self._heading = 0

    def _begin_table(self) -> None:
        if self._table_depth == 0:
            self._tables += 1
        elif self._row is not None:
            self._row_nested = True
        self._table_depth += 1

    def _end_table(self) -> None:
        if self._table_depth == 1:
            self.end_row()
        self._table_depth = max(0, self._table_depth - 1)

    def _begin_row(self, offset: int) -> None:
        self.end_block()
        if self._table_depth == 1:
            self.end_row()
            self._row, self._row_at, self._row_nested = [], self._number(offset), False

    def end_row(self) -> None:
        """End the open table row: one unit with cells, or its lines if it was only layout."""
        self.flush()
        row, self._row = self._row, None
        if not row:
            return
        pieces = [unit for cell in row for unit in cell]
        self._block += 1
        if self._row_nested or sum(len(unit.text) for unit in pieces) > _MAX_ROW_CHARS or len(row) == 1:
            self.units.extend(pieces)
        elif pieces:
            cells = tuple(" ".join(unit.text for unit in cell if unit.text) for cell in row)
            links = tuple(link for unit in pieces for link in unit.links)
            text = " | ".join(cells)
            self.units.append(Unit("line", self._row_at, text, self._block, cells, self._tables, links))
        self._block += 1


def read_html(source: str) -> tuple[list[Unit], tuple[str, ...]]:
    """The units of a page and warnings."""
    page = _Page(source)
    last = 0
    for offset, kind, value, attributes in _tokens(source):
        last = offset
        if kind == "text":
            page.text(offset, value)
        elif kind == "open":
            page.open(offset, value, attributes)
        else:
            page.close(value)
    page.end_row()
    page.flush()
    cut_off = source.rfind("<") > last and _TAG.match(source, source.rfind("<")) is None
    return page.units, (("a tag is not closed: what follows it was not read",) if cut_off else ())
