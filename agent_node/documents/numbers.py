"""Numbers as documents write them: "1,234.50", "1.234,50", "1'234.50", "12 million", "five thousand"; read as exact decimals."""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from .money import MULTIPLIERS

__all__ = ["MULTIPLIER", "NUMBER", "decimal_value", "number_in_cell", "plain", "scaled", "spelled"]

NUMBER = (
    r"(?:\d{1,3}(?:,\d{2,3})+(?:\.\d{1,8})?|\d{1,3}(?:\.\d{3})+(?:,\d{1,8})?"
    r"|\d{1,3}(?:[\u00a0\u202f ’']\d{3})+(?:[.,]\d{1,8})?(?!\d)|\d{1,15}[.,]\d{1,8}|\d{1,15}|[.,]\d{1,8})"
)
"""Pattern of one number, without sign."""


def _alternatives(names: list[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))


MULTIPLIER = (
    rf"(?:(?P<m1>{_alternatives(list(MULTIPLIERS))})(?![\w’']|-\w)"
    rf"|[ \u00a0]?[ -]?\n?(?P<m2>{_alternatives([name for name in MULTIPLIERS if len(name) > 2])}|bn|mn|tn|[MB](?=[\s,.;)]|\Z))\b\.?)"
)
"""Pattern of a multiplier behind a number: close to it in group `m1`, behind a blank in group `m2`."""

_POINT_FOR_THOUSANDS = frozenset(
    ("EUR", "CHF", "DKK", "NOK", "SEK", "PLN", "BRL", "IDR", "TRY", "RUB", "CZK", "HUF")
)
_MAX = Decimal(10) ** 18
_CELL = re.compile(
    rf"[ \u00a0]?(?P<open>\(?)(?P<minus>[-−–+]?)(?P<n>{NUMBER})(?:,[-–—]+)?(?:{MULTIPLIER})?(?P<close>\)?)[ \u00a0]?\Z"
)

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {name: value for value, name in enumerate(_UNITS.split())} | {
    name: 10 * value for value, name in enumerate(_TENS.split(), 2)
}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORD = rf"(?:{_alternatives([*_SMALL, *_LARGE, 'hundred'])})"
_SPELLED = re.compile(
    rf"(?<![\w-])(?:an?[ \n])?{_WORD}(?:(?:[ -]|\n|,[ \n]|[ \n]and[ \n]){_WORD}){{0,10}}[ \n-]\Z",
    re.IGNORECASE,
)


def decimal_value(raw: str, currency: str = "", comma_decimal: bool | None = None) -> Decimal | None:
    """The number that `raw` writes, whichever marks it uses for thousands and decimals; None when it is not one number.

    With both marks the last is the decimal one. One mark before exactly three digits is a thousands mark, except a point where the
    document (`comma_decimal` False) or the currency writes decimals with a point and the number has a single group.
    """
    compact = re.sub(r"[\u00a0\u202f ’']", "", raw)
    point, comma = compact.rfind("."), compact.rfind(",")
    mark = "." if point > comma else ","
    last = max(point, comma)
    group = len(compact) - last - 1 == 3 and 0 < last <= 3 and compact[0] != "0"
    if last < 0 or (min(point, comma) < 0 and compact.count(mark) > 1):
        decimal = ""
    elif min(point, comma) >= 0 or not group:
        decimal = mark
    elif mark == ",":
        decimal = ""
    else:
        thousands = comma_decimal if comma_decimal is not None else currency in _POINT_FOR_THOUSANDS
        decimal = "" if thousands else "."
    digits = "".join(
        "." if char == decimal and index == last else char
        for index, char in enumerate(compact)
        if char not in ".," or index == last
    )
    try:
        value = Decimal(digits if decimal else digits.replace(".", "").replace(",", ""))
    except InvalidOperation:
        return None
    return value if value < _MAX else None


def scaled(value: Decimal, name: str | None) -> Decimal:
    """`value` times what the multiplier `name` stands for; None changes nothing."""
    return value.scaleb(MULTIPLIERS.get(name, MULTIPLIERS.get(name.lower(), 0))) if name else value


def plain(value: Decimal) -> str:
    """The value with a point, at least two digits behind it, and no more zeros than that."""
    text = f"{value:f}"
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction.ljust(2, '0')}"


def number_in_cell(cell: str, currency: str, comma_decimal: bool | None = None) -> str:
    """The value of a table cell that holds nothing but a number, or ""."""
    match = _CELL.match(cell) if cell and len(cell) < 48 else None
    value = decimal_value(match["n"], currency, comma_decimal) if match is not None else None
    if match is None or value is None:
        return ""
    total = scaled(value, match["m1"] or match["m2"])
    negative = match["minus"] in {"-", "−", "–"} or (match["open"] == "(" and match["close"] == ")")
    return plain(-total if negative and total else total)


def spelled(before: str) -> tuple[Decimal, int] | None:
    """The number in English words at the end of `before` ("... one hundred and five "), and where in it the number starts."""
    found = _SPELLED.search(before)
    if found is None:
        return None
    total = part = 0
    for word in re.findall(r"[a-z]+", found[0].lower()):
        if word in _SMALL:
            part += _SMALL[word]
        elif word == "hundred":
            part = (part or 1) * 100
        elif word in _LARGE:
            total += (part or 1) * _LARGE[word]
            part = 0
    return Decimal(total + part), found.start()
