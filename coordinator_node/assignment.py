"""Several open subtasks, several bids for each: who gets which, decided together.

Rules. A node gets worse with each subtask it is given in the same decision (its slots fill, then its queue): `crowding` says by how much. Subtasks
that would lose most by not getting their best node choose first (regret), because one whose bids are all alike can wait. Then pairs are
swapped while that helps, a bounded number of times. A lot for which every bidder is `FULL` gets nobody. Ties are broken at random, seeded by the announcement, so they can be checked.
Cost: n bids in O(n log n); 250 subtasks x 3 nodes and 300 x 300 (at most 32 bids each) within tens of milliseconds.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["FULL", "Lot", "assign"]

FULL: Final = 1e9
"""What `crowding` says of a node that cannot take one more."""
_TIE: Final = 1e-6
_SWAPS: Final = 2_000
"""Pairs tried for a swap: bounds the time of one decision."""


@dataclass(frozen=True, slots=True)
class Lot:
    """One subtask up for decision: node -> score of its bid there, and the seed of its ties."""

    key: tuple[str, str]
    scores: Mapping[str, float]
    seed: int


def assign(
    lots: Sequence[Lot], crowding: Callable[[str, int], float], rng: random.Random
) -> dict[tuple[str, str], str]:
    """Choose a node for each lot.

    Args:
        lots: what is to be decided; each has at least one bid.
        crowding: (node, how many it was given before in this decision) -> what one more there is worth less; it never falls, and is
            `FULL` when the node cannot take one more.
        rng: for the choice of pairs to swap.

    Returns:
        lot key -> node, for those that got one.
    """
    given: dict[str, int] = {}
    chosen: list[str] = [""] * len(lots)
    queue = [(-_best(lot, given, crowding)[1], lot.seed, place) for place, lot in enumerate(lots)]
    heapq.heapify(queue)
    while queue:
        regret, seed, place = heapq.heappop(queue)
        node, now = _best(lots[place], given, crowding)
        if crowding(node, given.get(node, 0)) >= FULL:
            continue
        if queue and -now > regret + _TIE and -now > queue[0][0] + _TIE:
            # Its favourite has filled up meanwhile, and others have more to lose now.
            heapq.heappush(queue, (-now, seed, place))
            continue
        chosen[place] = node
        given[node] = given.get(node, 0) + 1
    _swap(lots, chosen, rng)
    return {lot.key: node for lot, node in zip(lots, chosen, strict=True) if node}


def _best(lot: Lot, given: Mapping[str, int], crowding: Callable[[str, int], float]) -> tuple[str, float]:
    """The best node for a lot now, and what would be lost without it."""
    if len(lot.scores) == 1:
        return next(iter(lot.scores)), float("inf")
    ranked: list[tuple[float, str]] = [
        (score - crowding(node, given.get(node, 0)), node) for node, score in lot.scores.items()
    ]
    top = max(ranked)[0]
    equal = [node for value, node in ranked if value >= top - _TIE]
    if len(equal) == 1:
        second = max(value for value, node in ranked if node != equal[0])
        return equal[0], top - second
    equal.sort()
    return equal[lot.seed % len(equal)], 0.0


def _swap(lots: Sequence[Lot], chosen: list[str], rng: random.Random) -> None:
    """Exchange the nodes of two lots where both together gain: crowding is the same before and after."""
    count = len(lots)
    distinct = len(set(chosen))
    if distinct < 2:
        return
    for _ in range(min(_SWAPS, count * 8)):
        first, second = rng.randrange(count), rng.randrange(count)
        here, there = chosen[first], chosen[second]
        if here == there or not here or not there:
            continue
        one, two = lots[first].scores, lots[second].scores
        if there in one and here in two and one[there] + two[here] > one[here] + two[there] + _TIE:
            chosen[first], chosen[second] = there, here
