"""Telling files of one name apart. Pure, and deterministic: the same names in the same order get the same new ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["told_apart"]


def told_apart(names: Sequence[str], numbered: Callable[[str, int], str]) -> list[str]:
    """The names, each once: a second one of a name becomes `numbered(name, 2)`, or the next number whose name nobody has by right."""
    by_right = set(names)
    seen: set[str] = set()
    result: list[str] = []
    for given in names:
        name, count = given, 1
        while name in seen or (count > 1 and name in by_right):
            count += 1
            name = numbered(given, count)
        seen.add(name)
        result.append(name)
    return result
