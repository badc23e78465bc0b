"""The capability `text.summarize`: the sentences that say most of what a document says, cited, taken from all of it.

Extractive, so nothing is made up. Sentences are ranked by TextRank (Mihalcea and Tarau, 2004: PageRank on the graph of sentences that
share words) and chosen by maximal marginal relevance (Carbonell and Goldstein, 1998: a chosen sentence lowers what resembles it); a
stretch of the document that has given a sentence counts less too, so the end is heard as well as the start. Deterministic: scores are
rounded before they are compared, ties go to the earlier sentence.
"""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from .errors import DocumentError
from .files import InputFile, OutputFile, Progress, json_output, only_input
from .language import guess, stop_words, words
from .sentences import Sentence, sentences
from .text import load_text

__all__ = ["MAX_SENTENCES", "SCHEMA", "summarize", "text_summarize"]

SCHEMA = "zwerm.summary/1"

MAX_SENTENCES = 50
"""Most sentences of a summary."""

_CANDIDATES = 400
"""Sentences that are ranked against each other; of a longer document the best of each stretch are."""

_STRETCHES = 40
_DAMPING, _ROUNDS = 0.85, 30
_LIKENESS = 0.6
"""How much a sentence loses by being like a chosen one."""
_SAME, _REPEATED = 0.9, 2.0
"""From which likeness a sentence says the same again, and what it loses then: it comes only after all others."""
_NOT_ENDED = 0.15
"""What a line loses that does not end like a sentence: it may be an address or a caption."""
_ENDS = (".", "!", "?", "…", ".)", '."', ".”", ".'", ".’")
_SAME_STRETCH = 0.45
"""How much it loses by standing in a stretch that has given one."""


def _terms(sentence: Sentence, stop: frozenset[str]) -> Counter[str]:
    """Words that carry a topic, cut to their first seven letters: a stemmer that works in all five languages."""
    return Counter(word[:7] for word in words(sentence.text) if len(word) > 2 and word not in stop)


def _weights(bags: Sequence[Counter[str]]) -> list[dict[str, float]]:
    """Term weights of each sentence (tf-idf), of unit length."""
    spread: Counter[str] = Counter(term for bag in bags for term in bag)
    vectors = []
    for bag in bags:
        vector = {
            term: count * round(math.log((1 + len(bags)) / spread[term]), 9) for term, count in bag.items()
        }
        length = math.sqrt(sum(weight * weight for weight in vector.values()))
        vectors.append({term: weight / length for term, weight in vector.items()} if length > 0 else {})
    return vectors


def _preselect(items: Sequence[Sentence], vectors: Sequence[dict[str, float]]) -> list[int]:
    """Indices of at most `_CANDIDATES` sentences: of each stretch of the document those nearest to the whole."""
    if len(items) <= _CANDIDATES:
        return list(range(len(items)))
    centre: defaultdict[str, float] = defaultdict(float)
    for vector in vectors:
        for term, weight in vector.items():
            centre[term] += weight
    score = [round(sum(centre[term] * weight for term, weight in vector.items()), 6) for vector in vectors]
    stretches: defaultdict[int, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        stretches[min(_STRETCHES - 1, int(item.position * _STRETCHES))].append(index)
    a_stretch = _CANDIDATES // len(stretches)
    chosen = [
        index
        for group in stretches.values()
        for index in sorted(group, key=lambda i: (-score[i], i))[:a_stretch]
    ]
    return sorted(chosen)


def _similarity(one: dict[str, float], other: dict[str, float]) -> float:
    if len(one) > len(other):
        one, other = other, one
    return sum(weight * other[term] for term, weight in one.items() if term in other)


def _rank(vectors: Sequence[dict[str, float]]) -> list[float]:
    """TextRank: the stationary weight of each sentence in the graph of similarities."""
    count = len(vectors)
    edges: list[dict[int, float]] = [{} for _ in range(count)]
    for i in range(count):
        for j in range(i):
            weight = _similarity(vectors[i], vectors[j])
            if weight > 0.01:
                edges[i][j] = edges[j][i] = weight
    totals = [sum(edge.values()) for edge in edges]
    rank = [1.0] * count
    for _ in range(_ROUNDS):
        rank = [
            (1 - _DAMPING) + _DAMPING * sum(weight / totals[j] * rank[j] for j, weight in edges[i].items())
            for i in range(count)
        ]
    top = max(rank, default=1.0)
    return [round(value / top, 6) for value in rank]


def summarize(items: Sequence[Sentence], language: str, wanted: int) -> list[tuple[Sentence, float]]:
    """At most `wanted` of the sentences with their scores (0..1), in reading order."""
    stop = stop_words(language)
    vectors = _weights([_terms(item, stop) for item in items])
    candidates = _preselect(items, vectors)
    rank = _rank([vectors[index] for index in candidates])
    likeness = [0.0] * len(candidates)  # to the chosen sentence that it is most like
    stretches = [min(wanted - 1, int(items[index].position * wanted)) for index in candidates]
    chosen: dict[int, int] = {}  # position within `candidates`: its stretch

    def worth(place: int) -> float:
        value = rank[place] - (_REPEATED if likeness[place] > _SAME else _LIKENESS * likeness[place])
        if not items[candidates[place]].text.endswith(_ENDS):
            value -= _NOT_ENDED
        return round(value - (_SAME_STRETCH if stretches[place] in chosen.values() else 0.0), 6)

    while len(chosen) < min(wanted, len(candidates)):
        best = max(
            (place for place in range(len(candidates)) if place not in chosen),
            key=lambda place: (worth(place), -place),
        )
        chosen[best] = stretches[best]
        for place, index in enumerate(candidates):
            likeness[place] = max(likeness[place], _similarity(vectors[index], vectors[candidates[best]]))
    return [(items[candidates[place]], rank[place]) for place in sorted(chosen)]


def text_summarize(params: dict[str, Any], inputs: list[InputFile], progress: Progress) -> list[OutputFile]:
    """`text.summarize`: one text.json in, `summary.json` out; params `{"sentences": 5}`.

    Raises:
        DocumentError: `E_PARAMS`, `E_INPUT`.
    """
    wanted = params.get("sentences", 5)
    if set(params) - {"sentences"} or type(wanted) is not int or not 1 <= wanted <= MAX_SENTENCES:
        raise DocumentError(
            "E_PARAMS",
            f"text.summarize takes sentences, 1 to {MAX_SENTENCES}, and was given {params!r:.200}.",
            "Correct the step in the plan.",
        )
    progress("opening", 0.0)
    document = load_text(only_input(inputs, "text.summarize"))
    items = sentences(document)
    language = guess(" ".join(item.text for item in items))
    progress("ranking", 0.3)
    chosen = summarize(items, language, wanted)
    value = {
        "schema": SCHEMA,
        "source": document.source,
        "media_type": document.media_type,
        "language": language,
        "of": len(items),
        "sentences": [{"text": item.text, "at": item.at, "score": score} for item, score in chosen],
        "warnings": list(document.warnings),
    }
    return [json_output("summary.json", value)]
