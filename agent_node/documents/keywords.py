"""The capability `text.keywords`: the phrases that a document is about, scored, with the places where they stand.

Candidates are runs of words between stop words and punctuation, as in RAKE (Rose et al., 2010), at most four words long. A phrase scores
by how often it stands in the document, how many words it has, and how far over the document it is spread; a phrase that nearly always
stands inside a longer one is left to the longer one. Deterministic: scores are rounded, ties go by alphabet.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import DocumentError
from .files import InputFile, OutputFile, Progress, json_output, only_input
from .language import guess, stop_words
from .money import CODES
from .months import MONTHS
from .text import TextDocument, Unit, load_text

__all__ = ["MAX_TOP", "SCHEMA", "keywords", "text_keywords"]

SCHEMA = "zwerm.keywords/1"

MAX_TOP = 100
"""Most keywords that may be asked for."""

_MAX_WORDS = 4
_PLACES = 5
"""Places told of one keyword."""

_NO_TOPIC = frozenset(MONTHS) | frozenset(code.lower() for code in CODES)
"""Words that belong to dates and amounts, which have a table of their own."""

_ENDINGS = ("s", "es", "n", "en", "e")
"""Endings of plurals in the languages that are read."""

_PIECE = re.compile(
    r"(?P<skip>(?:https?|ftp)://\S{1,2000}|\S{1,64}@[\w.-]{1,200})|(?P<word>[^\W\d_](?:[\w'’-]*[^\W_])?)|(?P<other>[^\s\w]|\d+|_)"
)


@dataclass(slots=True)
class _Phrase:
    count: int = 0
    forms: Counter[str] = field(default_factory=Counter)
    places: list[dict[str, int]] = field(default_factory=list)
    stretches: set[int] = field(default_factory=set)


def _runs(text: str, stop: frozenset[str]) -> Iterator[list[str]]:
    """Runs of words that carry a topic; anything else, a line break or a number too, ends a run."""
    run: list[str] = []
    end = 0
    for match in _PIECE.finditer(text):
        word = match["word"]
        gap = text[end : match.start()]
        end = match.end()
        if run and (gap.count(" ") + gap.count("\t") != len(gap) or not gap):
            yield run
            run = []
        if word is None or word.lower().replace("’", "'") in stop or len(word) < 3:
            if run:
                yield run
            run = []
            continue
        run.append(word)
    if run:
        yield run


def _collect(document: TextDocument, stop: frozenset[str]) -> dict[str, _Phrase]:
    phrases: defaultdict[str, _Phrase] = defaultdict(_Phrase)
    total = max(1, document.chars)
    seen = 0
    for unit in document.units:
        stretch = seen * 10 // total
        seen += len(unit.text)
        for run in _runs(unit.text, stop):
            for size in range(1, min(len(run), _MAX_WORDS) + 1):
                for start in range(len(run) - size + 1):
                    _note(phrases, " ".join(run[start : start + size]), unit, stretch)
    return phrases


def _note(phrases: defaultdict[str, _Phrase], form: str, unit: Unit, stretch: int) -> None:
    phrase = phrases[form.lower().replace("’", "'")]
    phrase.count += 1
    phrase.forms[form] += 1
    phrase.stretches.add(stretch)
    if len(phrase.places) < _PLACES and unit.at not in phrase.places:
        phrase.places.append(unit.at)


def keywords(document: TextDocument, top: int, language: str = "") -> list[dict[str, Any]]:
    """At most `top` keywords, best first: `{"phrase", "score", "count", "at": [places]}`; scores are 0..1."""
    stop = stop_words(language or guess("\n".join(unit.text for unit in document.units))) | _NO_TOPIC
    phrases = _collect(document, stop)
    scored = []
    for name, phrase in phrases.items():
        size = name.count(" ") + 1
        if size > 1 and phrase.count < 2:
            continue
        spread = 1 + len(phrase.stretches) / 10
        scored.append(
            (
                round(math.sqrt(phrase.count) * (1 + 0.6 * (size - 1)) * spread * min(1.0, len(name) / 6), 6),
                name,
            )
        )
    scored.sort(key=lambda item: (-item[0], item[1]))
    chosen: list[tuple[float, str]] = []
    for score, name in scored:
        if len(chosen) == top:
            break
        if not _told(name, phrases, [other for _, other in chosen]):
            chosen.append((score, name))
    best = chosen[0][0] if chosen else 1.0
    return [
        {
            "phrase": min(phrases[name].forms, key=lambda form: (-phrases[name].forms[form], form)),
            "score": round(score / best, 4),
            "count": phrases[name].count,
            "at": phrases[name].places,
        }
        for score, name in chosen
    ]


def _told(name: str, phrases: dict[str, _Phrase], chosen: list[str]) -> bool:
    """True when a chosen phrase says it already: it contains this one, in one number or the other, or hardly differs from it."""
    forms = [
        name,
        *(name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)),
        *(name + ending for ending in _ENDINGS),
    ]
    for other in chosen:
        inside = f" {other} "
        if any(f" {form} " in inside for form in forms) and phrases[other].count * 2 >= phrases[name].count:
            return True
        if inside in f" {name} " and phrases[name].count * 2 < phrases[other].count:
            return True
    return False


def text_keywords(params: dict[str, Any], inputs: list[InputFile], progress: Progress) -> list[OutputFile]:
    """`text.keywords`: one text.json in, `keywords.json` out; params `{"top": 12}`.

    Raises:
        DocumentError: `E_PARAMS`, `E_INPUT`.
    """
    top = params.get("top", 12)
    if set(params) - {"top"} or type(top) is not int or not 1 <= top <= MAX_TOP:
        raise DocumentError(
            "E_PARAMS",
            f"text.keywords takes top, 1 to {MAX_TOP}, and was given {params!r:.200}.",
            "Correct the step in the plan.",
        )
    progress("opening", 0.0)
    document = load_text(only_input(inputs, "text.keywords"))
    language = guess("\n".join(unit.text for unit in document.units))
    progress("counting", 0.3)
    value = {
        "schema": SCHEMA,
        "source": document.source,
        "media_type": document.media_type,
        "language": language,
        "keywords": keywords(document, top, language),
        "warnings": list(document.warnings),
    }
    return [json_output("keywords.json", value)]
