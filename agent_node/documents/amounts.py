"""Finds amounts of money: "$1,234.50", "EUR 1.234,50", "12 million dollars", "(£5k)", "12,- €", and numbers in money columns of tables.

Values are decimals with a point and at least two digits behind it; the currency is an ISO 4217 code, or "" in a table column that is
called an amount without saying of what. A sign or a code must be there: bare numbers, versions, telephone numbers and shell variables
are no amounts. Around each sign only a few dozen characters are examined, so work is linear.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from .money import CODES, MULTIPLIERS, PREFIXED_DOLLARS, SIGNS, WORDS
from .spans import Found, Spans

__all__ = ["decimal_value", "find_amounts", "number_in_cell", "writes_comma_decimals"]

_AROUND = 48

_NUMBER = (
    r"(?:\d{1,3}(?:,\d{2,3})+(?:\.\d{1,8})?|\d{1,3}(?:\.\d{3})+(?:,\d{1,8})?|\d{1,3}(?:[\u00a0\u202f ’']\d{3})+(?:[.,]\d{1,8})?"
    r"|\d{1,15}[.,]\d{1,8}|\d{1,15}|[.,]\d{1,8})"
)
_MULT = "|".join(sorted(map(re.escape, MULTIPLIERS), key=lambda name: (-len(name), name)))
_LONG = "|".join(
    sorted((re.escape(name) for name in MULTIPLIERS if len(name) > 2), key=lambda name: (-len(name), name))
)
_MULTIPLIER = (
    rf"(?:(?P<m1>{_MULT})(?![\w’']|-\w)|[ \u00a0]?[ -]?\n?(?P<m2>{_LONG}|bn|mn|tn|[MB](?=[\s,.;)]|\Z))\b\.?)"
)
_NEVER = r"(?![\d])(?![.,]\d)"

_MARK = re.compile(
    rf"[{''.join(map(re.escape, SIGNS))}¢]|(?<![^\W_])(?:{'|'.join(sorted(CODES))})(?![^\W_])"
    rf"|(?<![^\W_])(?:{'|'.join(sorted(WORDS, key=lambda w: (-len(w), w)))})(?![^\W_])|(?<=[\d ])¢",
    re.IGNORECASE,
)
_AFTER = re.compile(
    rf"(?P<gap>[ \u00a0\u202f]?)(?P<minus>[-−–]?)(?P<n>{_NUMBER})(?:,[-–—]+|\.[-–—]+)?{_NEVER}(?:{_MULTIPLIER})?"
)
_BEFORE = re.compile(
    rf"(?<![\w.,/:])(?<![\d]-)(?P<minus>[-−–+]?)(?P<n>{_NUMBER})(?:,[-–—]+|\.[-–—]+)?(?:{_MULTIPLIER})?(?P<gap>[ \u00a0\u202f-]?\n?)\Z"
)
_RANGE = re.compile(
    rf"[ \u00a0]?(?:-|–|—|to|bis|and|or|tot|à)[ \u00a0]?(?P<n>{_NUMBER}){_NEVER}(?:{_MULTIPLIER})?(?!\w)(?!\s?%)"
)
_PREFIX = re.compile(
    rf"(?<![\w.])(?:{'|'.join(sorted(map(re.escape, PREFIXED_DOLLARS), key=lambda p: (-len(p), p)))})\Z"
)
_ADJECTIVE = re.compile(
    r"(?:\b(US|U\.S\.|American|Canadian|Australian|New Zealand|Hong Kong|Singapore|Swiss|Indian))[ \n]\Z"
)
_ADJECTIVES = {
    "US": "USD", "U.S.": "USD", "American": "USD", "Canadian": "CAD", "Australian": "AUD", "New Zealand": "NZD", "Hong Kong": "HKD",
    "Singapore": "SGD", "Swiss": "CHF", "Indian": "INR",
}  # fmt: skip
_CELL = re.compile(
    rf"[ \u00a0]?(?P<open>\(?)(?P<minus>[-−–+]?)(?P<n>{_NUMBER})(?:,[-–—]+)?(?:{_MULTIPLIER})?(?P<close>\)?)[ \u00a0]?\Z"
)
_CODE_LINE = re.compile(
    r"\b(?:awk|sed|perl|grep|echo|printf|bash|sh|eval|exec|shift|set|regex|argv|argument|macro|param)\b|\$[@#?*0({]|\\\$"
)


@dataclass(slots=True)
class _Style:
    """How this document writes numbers: whether a comma marks decimals, and whether signs follow their numbers."""

    comma_decimal: bool | None
    sign_follows: bool


def find_amounts(text: str, taken: Spans) -> list[Found]:
    """All amounts in `text` outside of `taken` (dates, links and addresses), in order."""
    style = _style(text)
    used = Spans()
    found: list[Found] = []
    for mark in _MARK.finditer(text):
        for item in _at_mark(text, mark, style, used, taken):
            used.add(item.start, item.end)
            found.append(item)
    return sorted(found, key=lambda item: item.start)


def writes_comma_decimals(text: str) -> bool | None:
    """True when amounts in `text` are written `1.234,50`, False when `1,234.50`, None when nothing shows it."""
    return _style(text).comma_decimal


def _style(text: str) -> _Style:
    sample = text[:400_000]
    comma = len(
        re.findall(
            r"(?<![\d.,])\d{1,3}(?:\.\d{3})*,\d{2}(?![\d,.])\s?(?:€|EUR|CHF|kr|zł|PLN)|(?:€|EUR|CHF)\s?\d{1,3}(?:\.\d{3})*,\d{2}(?!\d)",
            sample,
        )
    )
    point = len(
        re.findall(
            r"[$£€¥]\s?\d{1,3}(?:,\d{3})*\.\d{2}(?!\d)|(?:USD|EUR|GBP|CHF) \d{1,3}(?:,\d{3})*\.\d{2}(?!\d)",
            sample,
        )
    )
    follows = len(re.findall(r"\d\s?[€$£](?!\s?\d)", sample))
    leads = len(re.findall(r"(?<!\d)(?<!\d )[€$£]\s?\d", sample))
    return _Style(None if comma == point else comma > point, follows > leads)


def _at_mark(text: str, mark: re.Match[str], style: _Style, used: Spans, taken: Spans) -> list[Found]:
    sign = mark[0]
    start, stop = mark.span()
    currency, start = _currency(text, sign, start)
    if not currency:
        return []
    word = sign.lower() in WORDS
    behind = text[max(0, start - _AROUND) : start]
    before = _BEFORE.search(behind)
    if before is not None and not _usable(before, start, used, taken, behind):
        before = None
    after = None if word or sign == "¢" else _AFTER.match(text, stop)
    if after is not None and not (
        _allowed_after(text, sign, start, after)
        and used.free(start, after.end())
        and taken.free(start, after.end())
    ):
        after = None
    if before is not None and after is not None:
        attached = not before["gap"] and bool(after["gap"])
        if attached or (style.sign_follows and len(sign) == 1):
            after = None
        else:
            before = None
    if after is not None:
        return _lead(text, sign, currency, start, after, style, used, taken)
    if before is not None and not (len(sign) == 1 and sign in "$£" and before["gap"].strip(" ") == "-"):
        return _follow(text, sign, currency, start, stop, before, style, used, taken)
    return []


def _currency(text: str, sign: str, start: int) -> tuple[str, int]:
    """The ISO code of a mark, and where the mark begins when letters before it belong to it; "" when it is none."""
    if sign == "$":
        if prefix := _PREFIX.search(text[max(0, start - 5) : start]):
            return PREFIXED_DOLLARS[prefix[0]], start - len(prefix[0])
        return "USD", start
    if sign == "¢":
        return "USD", start
    if sign in SIGNS:
        return SIGNS[sign], start
    lowered = sign.lower()
    if lowered in WORDS:
        currency = WORDS[lowered]
        if adjective := _ADJECTIVE.search(text[max(0, start - 14) : start]):
            return (
                _ADJECTIVES[adjective[1]] if lowered.startswith(("dollar", "fran", "rupee")) else currency
            ), start - len(adjective[0])
        return currency, start
    # Codes are written in capitals: "all eur" in lower case is no code.
    if sign.isupper():
        return ("CNY" if sign == "RMB" else sign), start
    return "", start


def _usable(before: re.Match[str], start: int, used: Spans, taken: Spans, behind: str) -> bool:
    begin = start - (len(behind) - before.start("n"))
    return (
        used.free(begin, start)
        and taken.free(begin, start)
        and not ("\n" in before["gap"] and before["gap"] != "\n")
    )


def _allowed_after(text: str, sign: str, start: int, after: re.Match[str]) -> bool:
    """False for what is a shell variable, TeX, a pattern, or a code before a year or a version."""
    number = after["n"]
    previous = text[start - 1 : start]
    following = text[after.end() : after.end() + 2]
    if len(sign) > 1:  # a code: "CAD 2020" is a version of something, "EUR 2,020" is money
        digits = number.isdigit() and len(number) == 4 and number[:2] in {"19", "20"}
        return not (digits and not after["m1"] and not after["m2"]) or sign in {"EUR", "USD", "GBP", "CHF"}
    if previous and (previous.isalnum() or previous in "\\{`$@%"):
        return False
    if (
        following[:1].isalpha()
        or following[:1] in {"_", "$", "}", "\\"}
        or (following[:1] == "`" and previous == "`")
    ):
        return False
    if (
        sign == "$"
        and not after["gap"]
        and number.isdigit()
        and len(number) <= 2
        and not (after["m1"] or after["m2"])
    ):
        begin, end = text.rfind("\n", 0, start) + 1, text.find("\n", start)
        line = text[max(begin, start - 200) : min(end if end >= 0 else len(text), start + 200)]
        return (
            _CODE_LINE.search(line) is None
            and following[:1] not in {"'", '"', "/", "=", ":"}
            and previous not in {"'", '"', "/", "="}
        )
    return True


def _lead(
    text: str,
    sign: str,
    currency: str,
    start: int,
    after: re.Match[str],
    style: _Style,
    used: Spans,
    taken: Spans,
) -> list[Found]:
    """The sign stands before the number; a second number after "-" or "to" has the same currency."""
    value = decimal_value(after["n"], currency, style.comma_decimal)
    if value is None:
        return []
    name = after["m1"] or after["m2"]
    begin, end = start, after.end()
    negative = bool(after["minus"])
    previous = text[start - 1 : start]
    if (
        previous in {"-", "−"}
        and (start < 2 or not text[start - 2].isalnum())
        and text[start - 2 : start - 1] not in {"-", "−"}
    ):
        negative, begin = True, start - 1
    elif previous == "(" and text[end : end + 1] == ")" and "." in after["n"] and _accounting(text, start):
        # Accounting writes a loss in brackets; prose puts a remark there, after a word.
        negative, begin, end = True, start - 1, end + 1
    ends = _RANGE.match(text, after.end())
    if ends is not None and (
        not used.free(begin, ends.end())
        or not taken.free(begin, ends.end())
        or text[ends.end() : ends.end() + 1] in {"/", ":"}
    ):
        ends = None
    if ends is not None and text[after.end() : ends.start("n")].strip() in {
        "and",
        "or",
        "-",
        "–",
        "—",
        "to",
        "bis",
        "tot",
        "à",
    }:
        high = decimal_value(ends["n"], currency, style.comma_decimal)
        other = ends["m1"] or ends["m2"]
        separator = text[after.end() : ends.start("n")].strip()
        if (
            high is not None
            and (separator not in {"and", "or"} or other)
            and not _is_date_like(text, ends.end())
        ):
            scaled = _scaled(value, name or (other if separator in {"-", "–", "—", "to"} else None))
            return [
                Found(begin, after.end(), "amount", _plain(-scaled if negative else scaled), currency),
                Found(ends.start("n"), ends.end(), "amount", _plain(_scaled(high, other)), currency),
            ]
    scaled = _scaled(value, name)
    tail = re.compile(r"[ ]?[cC]ents?\b").match(text, end)
    if sign == "$" and tail is not None:
        return []
    return [Found(begin, end, "amount", _plain(-scaled if negative else scaled), currency)]


def _is_date_like(text: str, end: int) -> bool:
    return text[end : end + 1] in {"-", "."} and text[end + 1 : end + 2].isdigit()


def _accounting(text: str, start: int) -> bool:
    line = text[text.rfind("\n", 0, start) + 1 : start - 1]
    return not line.strip() or line.rstrip().endswith("|") or "  " in line[-4:]


def _follow(
    text: str,
    sign: str,
    currency: str,
    start: int,
    stop: int,
    before: re.Match[str],
    style: _Style,
    used: Spans,
    taken: Spans,
) -> list[Found]:
    """The number stands before the sign, code or word."""
    name = before["m1"] or before["m2"]
    lowered = sign.lower()
    if lowered == "pounds" and name is None and not text[stop : stop + 12].lstrip().startswith("sterling"):
        return []
    if lowered == "sterling" and "pound" not in text[max(0, start - 10) : start]:
        return []
    if sign in {"$", "£"} and (
        text[stop : stop + 1].isalnum()
        or text[stop : stop + 1] in {"{", "(", "_", "$", "/", "'", '"'}
        or before["gap"]
    ):
        return []
    value = decimal_value(before["n"], currency, style.comma_decimal)
    if value is None:
        return []
    begin = start - (len(before.string) - before.start("n"))
    minus = before["minus"] in {"-", "−"}
    if minus:
        begin -= 1
    scaled = _scaled(value, name)
    if sign == "¢":
        scaled /= 100
    low = re.compile(
        rf"(?<![\w.,/:])(?P<n>{_NUMBER})(?:{_MULTIPLIER})?[ ]?(?:-|–|—|to|bis|tot)[ ]?\Z"
    ).search(text[max(0, begin - 30) : begin])
    found = [Found(begin, stop, "amount", _plain(-scaled if minus else scaled), currency)]
    if low is not None and not minus:
        first = decimal_value(low["n"], currency, style.comma_decimal)
        at = begin - (len(low.string) - low.start("n"))
        if first is not None and used.free(at, begin) and taken.free(at, begin):
            found.insert(
                0,
                Found(
                    at,
                    at + low.end() - low.start("n"),
                    "amount",
                    _plain(_scaled(first, low["m1"] or low["m2"] or name)),
                    currency,
                ),
            )
            found[0] = Found(at, at + len(low["n"]), "amount", found[0].value, currency)
    return found


def decimal_value(raw: str, currency: str = "", comma_decimal: bool | None = None) -> Decimal | None:
    """The number that `raw` writes, whichever marks it uses for thousands and decimals; None when it is not one number.

    With both marks the last is the decimal one. One mark before exactly three digits is a thousands mark, except a point where the document
    (`comma_decimal` False) or the currency writes decimals with a point and the number has a single group.
    """
    compact = re.sub(r"[\u00a0\u202f ’']", "", raw)
    point, comma = compact.rfind("."), compact.rfind(",")
    if point >= 0 and comma >= 0:
        decimal = "." if point > comma else ","
    elif compact.count(",") > 1 or compact.count(".") > 1:
        decimal = ""
    elif comma >= 0:
        groups = len(compact) - comma - 1 == 3 and 0 < comma <= 3
        decimal = "" if groups and compact[0] != "0" else ","
    elif point >= 0:
        groups = len(compact) - point - 1 == 3 and 0 < point <= 3 and compact[0] != "0"
        thousands = groups and (
            comma_decimal
            if comma_decimal is not None
            else currency in {"EUR", "CHF", "DKK", "NOK", "SEK", "PLN", "BRL"}
        )
        decimal = "" if thousands else "."
    else:
        decimal = ""
    other = "," if decimal == "." else "."
    digits = compact.replace(other, "")
    digits = digits.replace(decimal, ".") if decimal else digits.replace(".", "").replace(",", "")
    try:
        value = Decimal(digits)
    except InvalidOperation:
        return None
    return value if value < Decimal(10) ** 18 else None


def _scaled(value: Decimal, name: str | None) -> Decimal:
    return value.scaleb(MULTIPLIERS.get(name, MULTIPLIERS.get(name.lower(), 0))) if name else value


def _plain(value: Decimal) -> str:
    """At least two digits behind the point, and no more zeros than that."""
    text = f"{value:f}"
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction.ljust(2, '0')}"


def number_in_cell(cell: str, currency: str, comma_decimal: bool | None = None) -> str:
    """The value of a table cell that holds nothing but a number, or ""."""
    match = _CELL.match(cell) if cell and len(cell) < _AROUND else None
    value = decimal_value(match["n"], currency, comma_decimal) if match is not None else None
    if match is None or value is None:
        return ""
    scaled = _scaled(value, match["m1"] or match["m2"])
    negative = match["minus"] in {"-", "−", "–"} or (match["open"] == "(" and match["close"] == ")")
    return _plain(-scaled if negative and scaled else scaled)
