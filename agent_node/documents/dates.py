"""Finds dates: words ("3rd of March 2024", "1er mars 2024"), numbers ("2024-03-03", "3.3.2024", "03/04/2024"), quarters and ranges.

Values are ISO 8601: `2024-03-03`; `2024-03` when the text gives no day; `--03-15` when it gives no year; `2024-Q3`. A range gives its two
ends. The order of day and month in `03/04/2024` is what the rest of the document shows; when nothing shows it, the value carries a doubt.
What only looks like a date (versions, sections, paths, file names) is left out. Work is linear: words are looked up one by one, and
around each month's name only a few dozen characters are examined.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from typing import TypeAlias

from .dates_numeric import iso_date, numeric_dates
from .months import ENGLISH, MONTHS, NEEDS_DAY, NEEDS_YEAR, WEEKDAYS
from .spans import Found, Spans

__all__ = ["find_dates"]

_Loose: TypeAlias = tuple[int, int, int, int]
"""Start, end, month and day (0: none) of what may be the beginning of a range that tells its year at its end."""

_AROUND = 48
"""Characters examined on either side of a month's name."""

_WORD = re.compile(r"[^\W\d_]{3,12}")
_GAP = r"(?:[ \t\u00a0]{1,3}|[ \t\u00a0]?\n[ \t\u00a0]{0,40})"
_DAY = r"(0?[1-9]|[12]\d|3[01])"
_ORD = r"(?:\.|º|ª|°|(?:st|nd|rd|th|er|re|e|ste|de)\b)?"
_YEAR = r"((?:1[5-9]|2[01])\d\d)(?![\d\w]|[.,]\d|-\d{3})"
_TO = r"(?:\s?(?:-|–|—|/|bis|to|and|und|through|until|till|thru|&|tot|t/m|au|a|al|y|et|en|e)\s?)"

# After the month's name: "March 3, 2024", "March 3-5, 2024", "March 3", "March 2024", "Mar  3 10:22:11 UTC 2024".
_AFTER_CLOCK = re.compile(
    rf"\.?{_GAP}{_DAY},?\s+\d\d?:\d\d(?::\d\d)?(?:\s[AaPp][Mm])?(?:\s[A-Z]{{2,5}}|\s[+-]\d{{4}})?\s{_YEAR}"
)
_AFTER_DAYS = re.compile(
    rf"\.?{_GAP}?{_DAY}(?:st|nd|rd|th)?{_TO}{_DAY}(?:st|nd|rd|th)?(?![\d:])(?:,?{_GAP}?{_YEAR}|(?:,{_GAP}?|{_GAP}){_YEAR})?"
)
_AFTER_DAY = re.compile(
    rf"\.?(?:{_GAP}|-)(?:the{_GAP})?{_DAY}(?:st|nd|rd|th)?(?![\d:%]|[.,]\d)(?:(?:,{_GAP}?|{_GAP}|-){_YEAR})?"
)
_AFTER_YEAR = re.compile(
    rf"(?:\.,?{_GAP}?|,{_GAP}?|{_GAP}|[-/]|{_GAP}(?:of|de|del|do){_GAP})(?:{_YEAR}|['’](\d\d)(?!\w))"
)
_AFTER_SHORT = re.compile(r"[-/]((?:1[5-9]|2[01])\d\d|\d\d)(?![\w-])")

# Before the month's name: "3rd of ", "3. ", "1er ", "3-", "3 to 5 ", "3 de ".
_BEFORE_DAYS = re.compile(
    rf"(?<![\w.,/-]){_DAY}{_ORD}{_TO}{_DAY}{_ORD}(?:{_GAP}(?:of|de|d'){_GAP}|{_GAP}|{_GAP}?(?<=[.]))?\Z",
    re.IGNORECASE,
)
_BEFORE_DAY = re.compile(
    rf"(?<![\w/$€£])(?<!\d[.,:-]){_DAY}{_ORD}(?:{_GAP}(?:day{_GAP})?(?:of|de|di){_GAP}|{_GAP}|[-/]|(?<=\.)|(?<=\d))\Z",
    re.IGNORECASE,
)
_BEFORE_YEAR = re.compile(r"(?<![\w.,/-])((?:1[5-9]|2[01])\d\d)([ /,.-])\s?\Z")
_BEFORE_RANGE = re.compile(
    rf"\s?(?:-|–|—|to|and|through|until|till|bis|und|tot|t/m|au|à|et|al|y|a|en){_GAP}?\Z"
)
_WEEKDAY = re.compile(
    rf"(?<![^\W_])(?:{WEEKDAYS})\.?,?{_GAP}?(?:den{_GAP}|the{_GAP}|le{_GAP})?\Z", re.IGNORECASE
)

_AT_LINE_START = re.compile(r"(?:\A|\n)[ >#*-]*\Z")

_QUARTER = re.compile(
    rf"(?<![\w.-])(?:[QT]([1-4])(?:{_GAP}|/|-|[ ]?of[ ])?'?{_YEAR}|{_YEAR}(?:{_GAP}|-|/)?[QT]([1-4])(?!\w)"
    rf"|(first|second|third|fourth|1st|2nd|3rd|4th|[1-4]\.){_GAP}(?:quarter|Quartal)(?:,?{_GAP}(?:of{_GAP})?)?{_YEAR})"
)
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4}


def find_dates(text: str, taken: Spans, *, month_first: bool | None = None) -> list[Found]:
    """All dates in `text` outside of `taken`, in order, none overlapping another.

    Args:
        text: the joined text of a document.
        taken: stretches that belong to links and addresses; not changed.
        month_first: a hint for the order of `03/04/2024` from elsewhere (the currency, say), used when no date of the text decides.
    """
    used = Spans()
    found: list[Found] = []
    worded_month_first = [0, 0]

    def keep(item: Found) -> None:
        if item.value and used.free(item.start, item.end) and taken.free(item.start, item.end):
            used.add(item.start, item.end)
            found.append(item)

    for item in _quarters(text):
        keep(item)
    for items, order in _worded(text):
        if order is not None and items:
            worded_month_first[order] += 1
        for item in items:
            keep(item)
    if month_first is None and worded_month_first[0] != worded_month_first[1]:
        month_first = worded_month_first[1] > worded_month_first[0]
    for item in numeric_dates(text, month_first=month_first):
        keep(item)
    return sorted(found, key=lambda item: item.start)


def _partial(month: int, day: int) -> str:
    return f"--{month:02d}-{day:02d}" if 1 <= day <= calendar.monthrange(2000, month)[1] else ""


def _quarters(text: str) -> Iterator[Found]:
    if "Q" not in text and "uart" not in text and "T" not in text:
        return
    for match in _QUARTER.finditer(text):
        q1, y1, y2, q2, ordinal, y3 = match.groups()
        number = int(q1 or q2 or _ORDINALS.get(ordinal, 0) or ordinal[0])
        yield Found(match.start(), match.end(), "date", f"{y1 or y2 or y3}-Q{number}")


def _worded(text: str) -> Iterator[tuple[list[Found], int | None]]:
    """Dates with a month's name, and whether the day (0) or the month (1) comes first where a day and a year are given."""
    pending: _Loose | None = None
    held: list[Found] = []  # "1 January" alone, until it is known that no "to 3 March 2024" follows
    for match in _WORD.finditer(text):
        word = match[0]
        month = MONTHS.get(word.lower())
        if month is None:
            continue
        begin, stop = match.span()
        if text[begin - 1 : begin] == "_" or text[stop : stop + 1] == "_":
            continue
        before, after = text[max(0, begin - _AROUND) : begin], text[stop : stop + _AROUND]
        items, order, loose = _at_month(text, word, month, begin, stop, before, after)
        completed = _complete(text, pending, items) if pending is not None else None
        if completed is not None:
            items = completed
        elif held:
            yield held, None
        if loose is not None:
            pending, held = loose, items
        else:
            pending, held = None, []
            yield items, order
    yield held, None


def _complete(text: str, pending: _Loose, items: list[Found]) -> list[Found] | None:
    """Give the year of "3 March 2024" to the "1 January to" before it; None when they are no range."""
    start, end, month, day = pending
    if not items or items[0].value[:1] in {"", "-"}:
        return None
    first = items[0]
    if not 0 <= first.start - end <= 16 or not _BEFORE_RANGE.fullmatch(text, end, first.start):
        return None
    year = int(first.value[:4])
    return [
        Found(start, end, "date", iso_date(year, month, day) if day else f"{year:04d}-{month:02d}"),
        *items,
    ]


def _at_month(
    text: str, word: str, month: int, begin: int, stop: int, before: str, after: str
) -> tuple[list[Found], int | None, _Loose | None]:
    """What stands around a month's name: the dates, their order of day and month, and an end of a range that lacks its year."""
    proper = word[0].isupper()
    english = word.lower() in ENGLISH

    if days := _BEFORE_DAYS.search(before):
        year = _AFTER_YEAR.match(after)
        if year and year[1]:
            low, high = int(days[1]), int(days[2])
            start = begin - len(days[0])
            middle = start + days.end(1) - days.start()
            return (
                [
                    Found(start, middle, "date", iso_date(int(year[1]), month, low)),
                    Found(
                        start + days.start(2) - days.start(),
                        stop + year.end(),
                        "date",
                        iso_date(int(year[1]), month, high),
                    ),
                ],
                0,
                None,
            )
    if day := _BEFORE_DAY.search(before):
        result = _day_month(word, month, begin, stop, day, after, text)
        if result is not None:
            return result
    if year := _BEFORE_YEAR.search(before):  # "2024 March 3", "2024-Mar-03", "2024-Mar"
        later = _AFTER_DAY.match(after)
        if later and not later[2]:
            return (
                [
                    Found(
                        begin - len(year[0]),
                        stop + later.end(1),
                        "date",
                        iso_date(int(year[1]), month, int(later[1])),
                    )
                ],
                None,
                None,
            )
        if year[2] in "-/" and (proper or not english):
            return [Found(begin - len(year[0]), stop, "date", f"{year[1]}-{month:02d}")], None, None
    if text[begin - 1 : begin] in {"-", "/"} or (not proper and english):
        return [], None, None
    return _month_day(word, month, begin, stop, before, after)


def _day_month(
    word: str, month: int, begin: int, stop: int, day: re.Match[str], after: str, text: str
) -> tuple[list[Found], int | None, _Loose | None] | None:
    number = int(day[1])
    start = begin - len(day[0])
    if weekday := _WEEKDAY.search(text[max(0, start - 24) : start]):
        start -= len(weekday[0])
    year = _AFTER_YEAR.match(after)
    if year and year[1]:
        return [Found(start, stop + year.end(), "date", iso_date(int(year[1]), month, number))], 0, None
    if day[0][-1] in "-/" or day[0][-1].isdigit():
        short = _AFTER_SHORT.match(after)
        if short:
            value = int(short[1])
            full = value if value > 99 else value + (2000 if value < 70 else 1900)
            return [Found(start, stop + short.end(), "date", iso_date(full, month, number))], 0, None
        return None
    clock = _AFTER_CLOCK.match(after)
    proper = word[0].isupper() or word.lower() not in ENGLISH
    # "in version 3 May ..." or "5 Mar 3 ..." have the number of something else; "March 5" after "3 March" is looked at on its own.
    if clock or not proper or word.lower() in NEEDS_YEAR or re.match(r"\.?\s?\d", after):
        return None
    if day[0][len(day[1]) : len(day[1]) + 1] == "." and _AT_LINE_START.search(
        text[max(0, start - 8) : start]
    ):
        return None  # "5. May": the fifth item of a list
    return [Found(start, stop, "date", _partial(month, number))], None, (start, stop, month, number)


def _month_day(
    word: str, month: int, begin: int, stop: int, before: str, after: str
) -> tuple[list[Found], int | None, _Loose | None]:
    start = begin
    if weekday := _WEEKDAY.search(before[-24:]):
        start -= len(weekday[0])
    if clock := _AFTER_CLOCK.match(after):
        return (
            [Found(start, stop + clock.end(), "date", iso_date(int(clock[2]), month, int(clock[1])))],
            None,
            None,
        )
    if days := _AFTER_DAYS.match(after):
        year = days[3] or days[4]
        low, high = int(days[1]), int(days[2])
        middle = stop + days.end(1)
        if year:
            return (
                [
                    Found(start, middle, "date", iso_date(int(year), month, low)),
                    Found(stop + days.start(2), stop + days.end(), "date", iso_date(int(year), month, high)),
                ],
                1,
                None,
            )
        if low < high:
            ends = [
                Found(start, middle, "date", _partial(month, low)),
                Found(stop + days.start(2), stop + days.end(), "date", _partial(month, high)),
            ]
            return ends, None, None
    if (day := _AFTER_DAY.match(after)) and word[0].isupper():
        end = stop + day.end()
        if day[2]:
            return [Found(start, end, "date", iso_date(int(day[2]), month, int(day[1])))], 1, None
        if after[day.start() : day.start(1)].strip(" .\n\t\u00a0the"):
            return [], None, None
        return (
            [Found(start, stop + day.end(), "date", _partial(month, int(day[1])))],
            None,
            (start, end, month, int(day[1])),
        )
    if year := _AFTER_YEAR.match(after):
        if word.islower() and word in NEEDS_DAY:
            return [], None, None
        full = int(year[1]) if year[1] else int(year[2]) + (2000 if int(year[2]) < 70 else 1900)
        return [Found(begin, stop + year.end(), "date", f"{full:04d}-{month:02d}")], None, None
    return [], None, ((begin, stop, month, 0) if word[0].isupper() or word.lower() not in ENGLISH else None)
