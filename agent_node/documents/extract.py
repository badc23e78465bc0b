"""The capability `text.extract`: dates, amounts of money, e-mail addresses and links of a document, each with its place.

One row a value and place: the same value twice on one line is told once. Every amount carries the date that stands nearest to it in the
same row or sentence, so that a table by month can be made later. Counterpart: `tables` and `report` read the rows.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .amounts import find_amounts
from .columns import column_amounts
from .contacts import address_of, find_emails, find_links, link_value
from .dates import find_dates
from .errors import DocumentError
from .files import InputFile, OutputFile, Progress, json_output, only_input
from .spans import Found, Spans, Text
from .text import TextDocument, load_text

__all__ = ["KINDS", "SCHEMA", "Row", "extract", "text_extract"]

SCHEMA = "zwerm.rows/1"

KINDS = ("date", "amount", "email", "link")
"""What can be looked for, in the order in which tables show it."""

CONTEXT_CHARS = 60
"""Text on either side of a find that is shown with it, in characters."""

_NEAR = 200
"""An amount belongs to the nearest date of its sentence if at most so many characters lie between them."""

_MONTH = re.compile(r"\d{4}-\d{2}")
_SENTENCE_END = re.compile(r"[.!?]\s+[A-Z]|;\s*\n")


@dataclass(frozen=True, slots=True)
class Row:
    """One find. `raw` is how the document writes it, `date` (amounts only) the ISO date it goes with or ""."""

    kind: str
    value: str
    raw: str
    at: dict[str, int]
    context: str
    currency: str = ""
    date: str = ""
    doubt: str = ""

    def to_json(self) -> dict[str, Any]:
        """The row as in rows.json."""
        value: dict[str, Any] = {
            "kind": self.kind,
            "value": self.value,
            "raw": self.raw,
            "at": self.at,
            "context": self.context,
        }
        if self.kind == "amount":
            value["currency"] = self.currency
            value["date"] = self.date
        if self.doubt:
            value["doubt"] = self.doubt
        return value


def extract(
    document: TextDocument, kinds: Sequence[str] = KINDS, progress: Callable[[float], None] = lambda _: None
) -> list[Row]:
    """The rows of `document` for `kinds`, in reading order; `progress` is called with the fraction done.

    Dates are always looked for, since amounts are tied to them and must not be taken for them.
    """
    text = Text(document)
    links, emails = find_links(text.whole), find_emails(text.whole)
    taken = Spans()
    taken.update(links)
    emails = [item for item in emails if taken.free(item.start, item.end)]
    taken.update(emails)
    progress(0.2)
    month_first = _month_first_by_currency(text.whole)
    dates = find_dates(text.whole, taken, month_first=month_first)
    progress(0.5)
    found: list[Found] = []
    if "amount" in kinds:
        taken.update(dates)
        amounts = find_amounts(text.whole, taken)
        found += amounts + _from_columns(document, text, amounts, taken)
    found += [
        item
        for kind, items in (("date", dates), ("email", emails), ("link", links))
        if kind in kinds
        for item in items
    ]
    found += _from_targets(document, text, kinds)
    progress(0.8)
    found.sort(key=lambda item: (item.start, item.end, item.kind, item.value))
    return _rows(text, found, dates)


def _month_first_by_currency(text: str) -> bool | None:
    """Americans write the month first, and dollars; others write pounds and euros. A hint, used when no date of the text decides."""
    dollars, others = (
        text.count("$"),
        text.count("£") + text.count("€") + text.count("EUR") + text.count("GBP"),
    )
    return None if dollars == others else dollars > others


def _from_columns(document: TextDocument, text: Text, amounts: Sequence[Found], taken: Spans) -> list[Found]:
    """Numbers in money columns that are not already an amount or a date."""
    used = Spans()
    used.update(list(amounts))
    starts = {id(unit): start for unit, start in zip(text.units, text.starts, strict=True)}
    found = []
    for unit, index, value, currency in column_amounts(document.units):
        start = starts[id(unit)] + sum(len(cell) + 3 for cell in unit.cells[:index])
        end = start + len(unit.cells[index])
        if used.free(start, end) and taken.free(start, end):
            found.append(Found(start, end, "amount", value, currency))
    return found


def _from_targets(document: TextDocument, text: Text, kinds: Sequence[str]) -> list[Found]:
    """Link targets that the text does not spell out."""
    found = []
    for unit, start in zip(text.units, text.starts, strict=True):
        for target in unit.links:
            mail = target[:7].lower() == "mailto:"
            value = address_of(target) if mail else link_value(target)
            kind = "email" if mail else "link"
            if value and kind in kinds:
                found.append(Found(start, start, kind, value))
    return found


def _rows(text: Text, found: Sequence[Found], dates: Sequence[Found]) -> list[Row]:
    rows = []
    seen: set[tuple[str, str, str, str, int]] = set()
    nearest = _Nearest(text, dates)
    for item in found:
        unit = text.unit_at(item.start)
        key = (item.kind, item.value, item.currency, unit.kind, unit.n)
        if key in seen:
            continue
        seen.add(key)
        raw = " ".join(text.whole[item.start : item.end].split()) or item.value
        date = nearest.to(item) if item.kind == "amount" else ""
        rows.append(
            Row(item.kind, item.value, raw, unit.at, _context(text, item), item.currency, date, item.doubt)
        )
    return rows


def _context(text: Text, item: Found) -> str:
    """The words around a find, within its unit."""
    index = text.index_at(item.start)
    start, unit = text.starts[index], text.units[index]
    low, high = item.start - start, min(item.end - start, len(unit.text))
    begin, end = max(0, low - CONTEXT_CHARS), min(len(unit.text), high + CONTEXT_CHARS)
    if begin > 0:
        blank = unit.text.find(" ", begin, low)
        begin = blank + 1 if blank >= 0 else begin
    if end < len(unit.text):
        blank = unit.text.rfind(" ", high, end)
        end = blank if blank > high else end
    snippet = " ".join(unit.text[begin:end].split())
    return ("…" if begin > 0 else "") + snippet + ("…" if end < len(unit.text) else "")


class _Nearest:
    """Finds the date that an amount goes with: the first of its table row, else the nearest of its sentence.

    Text is in order, so only the last date before the amount and the first one behind it can be the nearest.
    """

    def __init__(self, text: Text, dates: Sequence[Found]) -> None:
        self._text = text
        self._dates = sorted(
            (date for date in dates if _MONTH.match(date.value)), key=lambda date: date.start
        )
        self._starts = [date.start for date in self._dates]

    def to(self, amount: Found) -> str:
        """The date's value, or ""."""
        unit = self._text.unit_at(amount.start)
        index = bisect_left(self._starts, amount.start)
        if unit.cells:
            # The first date of a row is when it happened; later ones say when it was paid, shipped or closed.
            first = bisect_left(self._starts, self._text.starts[self._text.index_at(amount.start)])
            date = self._dates[first] if first < len(self._dates) else None
            return date.value if date is not None and self._text.unit_at(date.start) is unit else ""
        candidates = []
        for date in self._dates[max(0, index - 1) : index + 1]:
            low, high = sorted((amount, date), key=lambda item: item.start)
            gap = high.start - low.end
            between = self._text.whole[low.end : high.start] if gap <= _NEAR else "\n\n"
            if "\n\n" not in between and not _SENTENCE_END.search(between):
                candidates.append((gap, date.start, date.value))
        return min(candidates)[2] if candidates else ""


def _kinds(params: dict[str, Any]) -> tuple[str, ...]:
    unknown = sorted(set(params) - {"kinds"})
    kinds = params.get("kinds", list(KINDS))
    if unknown or not isinstance(kinds, list) or not kinds or any(kind not in KINDS for kind in kinds):
        raise DocumentError(
            "E_PARAMS",
            f"text.extract takes kinds, a list of some of {', '.join(KINDS)}, and was given {params!r:.200}.",
            "Correct the step in the plan.",
        )
    return tuple(kind for kind in KINDS if kind in kinds)


def text_extract(params: dict[str, Any], inputs: list[InputFile], progress: Progress) -> list[OutputFile]:
    """`text.extract`: one text.json in, `rows.json` out; params `{"kinds": [...]}` (default: all four).

    Raises:
        DocumentError: `E_PARAMS`, `E_INPUT`.
    """
    kinds = _kinds(params)
    progress("opening", 0.0)
    document = load_text(only_input(inputs, "text.extract"))
    progress("finding", 0.2)
    rows = extract(document, kinds, lambda done: progress("finding", 0.2 + 0.7 * done))
    progress("writing", 0.9)
    value = {
        "schema": SCHEMA,
        "source": document.source,
        "media_type": document.media_type,
        "kinds": list(kinds),
        "chars": document.chars,
        "warnings": list(document.warnings),
        "rows": [row.to_json() for row in rows],
    }
    return [json_output("rows.json", value)]
