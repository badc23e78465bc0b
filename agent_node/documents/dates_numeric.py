"""Finds dates that are written in numbers: "2024-03-03", "3.3.2024", "03/04/2024", "3-4-2024", "05/2013".

What comes first in `03/04/2024`, day or month, is told by the other dates of the document, else by a hint, else assumed and doubted.
Versions, sections, paths, part numbers and file names look alike and are left out: by what stands around them, and because a version
hardly ever has two zero-padded parts.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .spans import Found

__all__ = ["DOUBT", "iso_date", "numeric_dates"]

DOUBT = "day/month order assumed"
"""Why `03/04/2024` may mean another day: nothing in the document shows whether the day or the month comes first."""

_MIN_YEAR, _MAX_YEAR = 1500, 2199
_NUMERIC = re.compile(
    r"(?<![\w.+/~\\-])(?<!==)(?<!\d[:,])(\d{1,4})([-/.])(\d{1,2})\2(\d{4}|\d{1,2})"
    r"(?=[T ]\d{1,2}[:h.]\d\d|T\d{4}|[^\w.+/~\\-]|[-/~.](?:\s|\d{4}-\d|\Z)|[.–](?:[^\w]|\Z)|-{2}|\Z)"
)
_MONTH_SLASH_YEAR = re.compile(r"(?<![\w./+-])(0[1-9]|1[0-2])/((?:19|20)\d\d)(?![\w/]|[.,-]\d)")


@dataclass(slots=True)
class _Numeric:
    """`a` and `b` in the order of the text, to be told apart once the whole document was seen."""

    start: int
    end: int
    a: int
    b: int
    year: int
    separator: str


def iso_date(year: int, month: int, day: int) -> str:
    """The ISO value, or "" when there is no such day."""
    if not (_MIN_YEAR <= year <= _MAX_YEAR and 1 <= month <= 12):
        return ""
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        return ""
    return f"{year:04d}-{month:02d}-{day:02d}"


def numeric_dates(text: str, *, month_first: bool | None) -> Iterator[Found]:
    """The dates in `text` that are written in numbers, in no particular order; values of days that do not exist are ""."""
    undecided: list[_Numeric] = []
    votes = {"/": [0, 0], "-": [0, 0], ".": [0, 0]}
    for match in _NUMERIC.finditer(text):
        first, separator, second, last = match.groups()
        start, end = match.span()
        if len(first) == 4:
            if len(last) <= 2 and _year_first_is_date(separator, second, last):
                yield Found(start, end, "date", iso_date(int(first), int(second), int(last)))
            continue
        if len(first) > 2 or not _year_last_is_date(text, start, separator, first, second, last):
            continue
        a, b, year = int(first), int(second), int(last)
        if len(last) == 2:
            year += 2000 if year < 70 else 1900
        if iso_date(year, b, a) or iso_date(year, a, b):
            undecided.append(_Numeric(start, end, a, b, year, separator))
            if a > 12 >= b or b > 12 >= a:
                votes[separator][b > 12] += 1
    for number in undecided:
        yield _decide(number, votes[number.separator], month_first)
    for match in _MONTH_SLASH_YEAR.finditer(text):
        yield Found(match.start(), match.end(), "date", f"{match[2]}-{match[1]}")


def _decide(number: _Numeric, votes: list[int], month_first: bool | None) -> Found:
    day_wins, month_wins = votes
    doubt = ""
    if number.a > 12 or number.b > 12:
        first = number.b > 12
    elif day_wins != month_wins:
        first = month_wins > day_wins
    elif number.separator == ".":
        first = False  # nobody writes month.day.year
    else:
        first = bool(month_first) if number.separator == "/" else False
        if number.a != number.b and (month_first is None or number.separator == "-"):
            doubt = DOUBT
    day, month = (number.b, number.a) if first else (number.a, number.b)
    return Found(number.start, number.end, "date", iso_date(number.year, month, day), doubt=doubt)


def _year_first_is_date(separator: str, month: str, day: str) -> bool:
    """`2024.3.3` is how versions are numbered; with two digits each it is a date."""
    return separator != "." or (len(month) == 2 and len(day) == 2)


def _year_last_is_date(text: str, start: int, separator: str, first: str, second: str, last: str) -> bool:
    if len(last) == 4:
        return True
    if len(last) != 2 or separator == "-":
        return False
    if separator == "/":
        return len(first) + len(second) > 2 or _introduced(text, start)
    return len(first) == 2 and len(second) == 2 and _introduced(text, start)


_INTRODUCTION = re.compile(
    r"\b(?:date|dated|datum|due|on|am|vom|den|dem|bis|ab|op|van|le|du|el|fecha|from|until|by|since|per)[: \t]{1,3}\Z",
    re.IGNORECASE,
)


def _introduced(text: str, start: int) -> bool:
    return _INTRODUCTION.search(text[max(0, start - 16) : start]) is not None
