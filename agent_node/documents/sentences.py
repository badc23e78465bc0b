"""Sentences of a document, each with the unit it starts in.

A sentence ends at . ! ? or … before a blank and something that can begin one, unless the point belongs to an abbreviation, an initial
or an ordinal. Sentences do not cross blocks; headings, code, table rows and lines that are no prose are left out.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .text import TextDocument, Unit

__all__ = ["Sentence", "sentences"]

MIN_WORDS, MAX_WORDS = 5, 80
"""Shorter is a caption or a heading; longer is a list or a table that lost its lines."""

_END = re.compile(r"[.!?…]+[\"'”’»)\]]{0,3}(?=\s+[\"'“‘«(\[]{0,3}[^\W_])")
_ABBREVIATED = """
a.m abs al approx apr art aug bijv bzw ca cf co col corp d.h dec dept dr e.g ed eds enz eq est etc
evtl feb fig figs gen ggf gov hon i.e inc inkl jan jr jul jun lt ltd m.b.t m.e mar mlle mme mr mrs
ms no nov nr o.a oct p.m p.s par pp prof ref rep resp rev sec sen sep sept sgt sr sra st str tel u.a
u.k u.s ud uds usw vgl vol vs z.b zzgl
"""
_ABBREVIATIONS = frozenset(_ABBREVIATED.split())
_LAST_WORD = re.compile(r"([^\s(\[\"'“‘«]+)\Z")
_MARKUP = re.compile(
    r"!?\[([^\]]{0,300})\]\((?:[^()\s]{0,500})\)|`+([^`]{1,300})`+|(?<!\w)[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}(?!\w)"
)
_LEAD = re.compile(r"\A\s*(?:[-*+•>·]+\s+|\(?\d{1,3}[.)]\s+|\[[ xX]\]\s+)+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_CODE = re.compile(r"[{};=<>|\\$#@/]|::|->|\(\)")


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text` on one line without Markdown markup; `at` is where it starts; `position` is 0..1, how far into the document."""

    text: str
    at: dict[str, int]
    position: float


def sentences(document: TextDocument) -> list[Sentence]:
    """The sentences of `document` in reading order."""
    total = max(1, document.chars)
    result: list[Sentence] = []
    seen_chars = 0
    for block in document.blocks():
        length = sum(len(unit.text) for unit in block)
        if not block[0].heading and not block[0].cells:
            result.extend(_of_block(block, seen_chars, total))
        seen_chars += length
    return result


def _of_block(block: list[Unit], before: int, total: int) -> Iterator[Sentence]:
    text, starts = "", []
    pieces = []
    length = 0
    for unit in block:
        starts.append(length)
        pieces.append(unit.text)
        length += len(unit.text) + 1
    text = "\n".join(pieces)
    for begin, end in _bounds(text):
        raw = text[begin:end]
        clean = plain(raw)
        if is_prose(clean):
            index = (
                max(number for number, start in enumerate(starts) if start <= begin)
                if len(starts) < 64
                else _index(starts, begin)
            )
            yield Sentence(clean, block[index].at, round((before + begin) / total, 6))


def _index(starts: list[int], position: int) -> int:
    from bisect import bisect_right

    return bisect_right(starts, position) - 1


def _bounds(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _END.finditer(text):
        if _is_abbreviation(text, start, match):
            continue
        yield _skip_blanks(text, start), match.end()
        start = match.end()
    if start < len(text):
        yield _skip_blanks(text, start), len(text)


def _skip_blanks(text: str, start: int) -> int:
    while start < len(text) - 1 and text[start].isspace():
        start += 1
    return start


def _is_abbreviation(text: str, start: int, match: re.Match[str]) -> bool:
    if match[0][0] != ".":
        return False
    last = _LAST_WORD.search(text[max(start, match.start() - 24) : match.start()])
    word = last[1].lower() if last else ""
    if len(word) == 1 and word.isalpha():
        return True
    following = text[match.end() : match.end() + 4].lstrip()
    return word in _ABBREVIATIONS or (word.isdigit() and len(word) <= 2) or following[:1].islower()


def plain(raw: str) -> str:
    """A sentence on one line, without list marks and the markup of Markdown."""
    line = " ".join(raw.split())
    line = _LEAD.sub("", line)
    return " ".join(_MARKUP.sub(lambda match: match[1] or match[2] or "", line).split())


def is_prose(text: str) -> bool:
    """True for something that reads as a sentence: enough words, mostly letters, not code, no list of names."""
    count = len(text.split())
    if not MIN_WORDS <= count <= MAX_WORDS:
        return False
    letters = sum(1 for char in text if char.isalpha() or char.isspace())
    proper = _WORD.findall(text)
    return (
        letters >= len(text) * 0.7
        and len(_CODE.findall(text)) <= count / 6
        and len(proper) >= MIN_WORDS - 1
        and any(word[0].islower() for word in proper)
    )
