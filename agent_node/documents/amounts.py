"""Finds amounts of money: "$1,234.50", "EUR 1.234,50", "12 million dollars", "(£5k)", "12,- €", "five thousand dollars".

Values are decimals with a point and at least two digits behind it; the currency is an ISO 4217 code. A sign, a code or a word for a
currency must be there: bare numbers, versions, telephone numbers and shell variables are no amounts (`columns` finds the numbers in
money columns of tables). Around each sign only a few dozen characters are examined, so work is linear.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal

from .money import ADJECTIVES, CODES, PREFIXED_DOLLARS, SIGNS, WORDS
from .numbers import MULTIPLIER, NUMBER, decimal_value, plain, scaled, spelled
from .spans import Found, Spans

__all__ = ["find_amounts", "writes_comma_decimals"]

_AROUND = 48
_AROUND_WORDS = 120
_GAP = "[ \u00a0\u202f]"
_SIGN_CLASS = "".join(re.escape(sign) for sign in SIGNS if len(sign) == 1)


def _longest_first(names: frozenset[str] | dict[str, str] | list[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))


_MARK = re.compile(
    rf"[{_SIGN_CLASS}¢]|(?<![^\W_])(?:{_longest_first([s for s in SIGNS if len(s) > 1])}|{_longest_first(CODES)}"
    rf"|{_longest_first(WORDS)})(?![^\W_])",
    re.IGNORECASE,
)
_TAIL = r"(?:[.,][-–—]+)?"
_AFTER = re.compile(
    rf"(?P<gap>(?:\.(?=[ ]))?{_GAP}?(?:\$(?=[ ]?\d)[ ]?)?)(?P<minus>[-−–]?)(?P<n>{NUMBER}){_TAIL}(?!\d)(?![.,]\d)(?:{MULTIPLIER})?"
)
_BEFORE = re.compile(
    rf"(?<![\w.,/:])(?P<minus>[-−–+]?)(?P<n>{NUMBER}){_TAIL}(?:{MULTIPLIER})?(?P<gap>(?:{_GAP}|-)?\n?)\Z"
)
_DIGIT_SOON = re.compile(r"[^\w\n]{0,4}\d")
_TAIL_END = ("-", "–", "—", ".")
_RANGE = re.compile(
    rf"{_GAP}?(?P<to>-|–|—|to|bis|and|or|tot|à){_GAP}?(?P<n>{NUMBER})(?!\d)(?![.,]\d)(?:{MULTIPLIER})?(?!\w)(?!\s?%)"
)
_LOW = re.compile(rf"(?<![\w.,/:])(?P<n>{NUMBER})(?:{MULTIPLIER})?[ ]?(?:-|–|—|to|bis|tot)[ ]?\Z")
_PREFIX = re.compile(rf"(?<![\w.])(?:{_longest_first(PREFIXED_DOLLARS)})\Z")
_ADJECTIVE = re.compile(rf"(?<!\w)({_longest_first(ADJECTIVES)})[ \n]\Z")
_SHELL = re.compile(
    r"\b(?:awk|sed|perl|grep|echo|printf|bash|sh|eval|exec|shift|set|regex|argv|argument|macro|param)\b|\$[@#?*({]|\\\$|\$\d,?[ ]?\$\d"
)
_LEADING = re.compile(
    rf"(?P<sign>[$£€¥]|\b(?:USD|EUR|GBP|CHF)\b){_GAP}?(?P<n>\d{{1,3}}(?:[.,]\d{{3}})*(?:[.,]\d{{1,2}})?)(?![\d.,]?\d)"
)
_FOLLOWING = re.compile(
    rf"(?<![\d.,])(?P<n>\d{{1,3}}(?:[.,]\d{{3}})*(?:[.,]\d{{1,2}})?){_GAP}?(?P<sign>[$£€¥]|\b(?:USD|EUR|GBP|CHF)\b)"
)


class _Style:
    """How this document writes amounts: where each sign stands, and which mark divides decimals, for each sign and over all."""

    def __init__(self, text: str) -> None:
        sample = text[:400_000]
        self._side: Counter[str] = Counter()
        self._comma: Counter[str] = Counter()
        for pattern, side in ((_LEADING, -1), (_FOLLOWING, 1)):
            for match in pattern.finditer(sample):
                sign = match["sign"]
                self._side[sign] += side
                number = match["n"]
                if number[-3:-2] in {",", "."}:
                    vote = 1 if number[-3] == "," else -1
                    self._comma[sign] += vote
                    self._comma[""] += vote

    def follows(self, sign: str) -> bool:
        """True when the sign mostly stands behind its number."""
        return self._side[sign] > 0

    def comma_decimal(self, sign: str = "") -> bool | None:
        """True for `1.234,50`, False for `1,234.50`, None when nothing shows it."""
        vote = self._comma[sign] or self._comma[""]
        return None if vote == 0 else vote > 0


def writes_comma_decimals(text: str) -> bool | None:
    """True when amounts in `text` are written `1.234,50`, False when `1,234.50`, None when nothing shows it."""
    return _Style(text).comma_decimal()


def find_amounts(text: str, taken: Spans) -> list[Found]:
    """All amounts in `text` outside of `taken` (dates, links and addresses), in order."""
    search = _Search(text, taken)
    for mark in _MARK.finditer(text):
        search.at_mark(mark)
    return sorted(search.found, key=lambda item: item.start)


class _Search:
    """One pass over a text: what was found so far, and which stretches are used up."""

    def __init__(self, text: str, taken: Spans) -> None:
        self._text = text
        self._taken = taken
        self._used = Spans()
        self._style = _Style(text)
        self.found: list[Found] = []

    def _free(self, start: int, end: int) -> bool:
        return self._used.free(start, end) and self._taken.free(start, end)

    def _keep(self, start: int, end: int, value: Decimal, currency: str) -> None:
        if self._used.free(start, end):
            self._used.add(start, end)
            self.found.append(Found(start, end, "amount", plain(value), currency))

    def at_mark(self, mark: re.Match[str]) -> None:
        """Look on both sides of a sign, code or word."""
        sign = mark[0]
        currency, start = self._currency(sign, mark.start())
        if not currency or not self._free(start, mark.end()):
            return
        text = self._text
        word = sign.lower() in WORDS
        # Looking at the next characters first keeps a page full of signs as cheap as a page without.
        before = after = None
        if (
            text[max(0, start - 2) : start].strip(" \n\u00a0\u202f")[-1:].isalnum()
            or text[start - 2 : start - 1] in _TAIL_END
        ):
            before = _BEFORE.search(text, max(0, start - _AROUND), start)
            if before is not None and not self._free(before.start("n"), start):
                before = None
        if not word and sign != "¢" and _DIGIT_SOON.match(text, mark.end()):
            after = _AFTER.match(text, mark.end())
            if after is not None and not (
                self._allowed(sign, start, after) and self._free(start, after.end())
            ):
                after = None
        if before is not None and after is not None:
            if (not before["gap"] and after["gap"]) or self._style.follows(sign):
                after = None
            else:
                before = None
        if after is not None:
            self._leading(sign, currency, start, after)
        elif before is not None:
            self._following(sign, currency, start, mark.end(), before)
        elif word and (number := spelled(text[max(0, start - _AROUND_WORDS) : start])) is not None:
            begin = max(0, start - _AROUND_WORDS) + number[1]
            if self._free(begin, mark.end()) and sign.lower() != "pounds":
                self._keep(begin, mark.end(), number[0], currency)

    def _currency(self, sign: str, start: int) -> tuple[str, int]:
        """The ISO code of a mark, and where the mark begins when letters before it belong to it; "" when it is none."""
        before = self._text[max(0, start - 14) : start]
        if sign == "$":
            if prefix := _PREFIX.search(before):
                return PREFIXED_DOLLARS[prefix[0]], start - len(prefix[0])
            return "USD", start
        if sign in SIGNS:
            return SIGNS[sign], start
        lowered = sign.lower()
        if lowered in WORDS:
            if adjective := _ADJECTIVE.search(before):
                currency = (
                    ADJECTIVES[adjective[1]]
                    if lowered.startswith(("dollar", "fran", "rupee"))
                    else WORDS[lowered]
                )
                return currency, start - len(adjective[0])
            return WORDS[lowered], start
        # Codes are written in capitals: "all eur" in lower case is no code.
        if sign.isupper() and sign in CODES:
            return ("CNY" if sign == "RMB" else sign), start
        return ("USD" if sign == "¢" else ""), start

    def _allowed(self, sign: str, start: int, after: re.Match[str]) -> bool:
        """False for what is a shell variable, TeX, a pattern, or a code before a year or a version."""
        text, number = self._text, after["n"]
        multiplied = bool(after["m1"] or after["m2"])
        previous, following = text[start - 1 : start], text[after.end() : after.end() + 1]
        if "." in after["gap"] and sign not in SIGNS:
            return False
        if sign not in SIGNS:  # a code: "CAD 2020" is a version of something, "EUR 2,020" is money
            year = number.isdigit() and len(number) == 4 and number[:2] in {"19", "20"}
            return not year or multiplied or sign in {"EUR", "USD", "GBP", "CHF"}
        if previous and (previous.isalnum() or previous in "\\{$@%"):
            return False
        if (
            following.isalpha()
            or following in {"_", "$", "}", "\\"}
            or (following == "`" and previous == "`" and number.isdigit())
        ):
            return False
        if sign != "$" or after["gap"] or not number.isdigit() or len(number) > 2 or multiplied:
            return True
        begin, end = text.rfind("\n", 0, start) + 1, text.find("\n", start)
        line = text[max(begin, start - 200) : min(end if end >= 0 else len(text), start + 200)]
        return (
            _SHELL.search(line) is None
            and not (following and following in "'\"/=:")
            and not (previous and previous in "'\"/=")
        )

    def _leading(self, sign: str, currency: str, start: int, after: re.Match[str]) -> None:
        """The sign stands before the number; a second number after "-" or "to" has the same currency."""
        text, comma = self._text, self._style.comma_decimal(sign)
        value = decimal_value(after["n"], currency, comma)
        if value is None:
            return
        name = after["m1"] or after["m2"]
        begin, end = start, after.end()
        negative = bool(after["minus"])
        previous, earlier = text[start - 1 : start], text[max(0, start - 2) : start - 1] if start else ""
        if previous and previous in "-−" and not earlier.isalnum() and earlier not in {"-", "−"}:
            negative, begin = True, start - 1
        elif previous == "(" and text[end : end + 1] == ")" and "." in after["n"] and self._accounting(start):
            # Accounting writes a loss in brackets; prose puts a remark there, after a word.
            negative, begin, end = True, start - 1, end + 1
        high = _RANGE.match(text, after.end())
        if high is not None and self._is_range(high):
            top = decimal_value(high["n"], currency, comma)
            other = high["m1"] or high["m2"]
            if top is not None and self._free(begin, high.end()):
                bottom = scaled(value, name or other)
                self._keep(begin, after.end(), -bottom if negative else bottom, currency)
                self._keep(high.start("n"), high.end(), scaled(top, other), currency)
                return
        total = scaled(value, name)
        self._keep(begin, end, -total if negative and total else total, currency)

    def _is_range(self, high: re.Match[str]) -> bool:
        """False when the second number is a date, a time, a path or something else; "and" and "or" need a multiplier to tell."""
        following = self._text[high.end() : high.end() + 2]
        if following[:1] in {"/", ":"} or (following[:1] in {"-", "."} and following[1:].isdigit()):
            return False
        return high["to"] not in {"and", "or"} or bool(high["m1"] or high["m2"])

    def _accounting(self, start: int) -> bool:
        line = self._text[self._text.rfind("\n", 0, start) + 1 : start - 1]
        return not line.strip() or line.rstrip().endswith("|") or "  " in line[-4:]

    def _following(self, sign: str, currency: str, start: int, stop: int, before: re.Match[str]) -> None:
        """The number stands before the sign, code or word."""
        text, lowered = self._text, sign.lower()
        name = before["m1"] or before["m2"]
        if (
            lowered == "pounds"
            and name is None
            and not text[stop : stop + 12].lstrip().startswith("sterling")
        ):
            return
        if sign in {"$", "£"} and (
            before["gap"] or text[stop : stop + 1].isalnum() or text[stop : stop + 1] in tuple("{(_$/'\"")
        ):
            return
        comma = self._style.comma_decimal(sign)
        value = decimal_value(before["n"], currency, comma)
        if value is None:
            return
        minus = before["minus"] in {"-", "−"}
        begin = before.start("n") - (1 if minus else 0)
        total = scaled(value, name) / (100 if sign == "¢" else 1)
        low = None if minus else _LOW.search(text, max(0, begin - 30), begin)
        if low is not None and self._free(low.start("n"), begin):
            bottom = decimal_value(low["n"], currency, comma)
            if bottom is not None:
                self._keep(
                    low.start("n"), low.end("n"), scaled(bottom, low["m1"] or low["m2"] or name), currency
                )
        self._keep(begin, stop, -total if minus and total else total, currency)
