"""From a bid to one number: how good it would be to give this subtask to this node, after everything that must hold does hold.

    score = quality - time - cost - load + affinity - already failed it

    quality   a draw from Beta(verified successes, failures), the bid's own estimate counting like `PRIOR_TRIALS` trials, lowered by what the node
              has overstated so far
    time      estimated end x by how much the node is slower than it says, against the best of the round, and against the deadline
    cost      price x by how much the node is dearer than it says, against the cheapest of the round
    load      how busy the node said it is
    affinity  share of the input that the node has already

Rules. Gates come first and are no term of the score: a bid that fails one is not scored at all (`gate`). Terms are relative to the round's best,
so that milliseconds and hours, cents and credits are judged alike. The draw makes a node without history worth a try and does so less as history
grows. The weights say that a result is worth about four times what the cheapest asks, as nobody says what it is worth: twice the price needs 27 points more
chance of success. They were chosen in a simulated market with sellers that lie (`python -m bench.market`). Pure: it is given a `random.Random`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.messages import Bid

from .history import History

__all__ = ["PRIOR_TRIALS", "Candidate", "gate", "score_round"]

PRIOR_TRIALS: Final = 6.0
"""How many checked results a node's own estimate of its success is worth; it is soon outvoted."""

_QUALITY: Final = 1.0
_TIME: Final = 0.4
_DEADLINE: Final = 0.5
_COST: Final = 1.6
_DEAREST: Final = 0.75
"""Three times the cheapest price is as bad as ten times: a node that never did this asks much, as it cannot know better, and must be tried."""
_LOAD: Final = 0.4
_AFFINITY: Final = 0.2
_FAILED_IT: Final = 4.0
"""More than all other terms together: a node that failed this very subtask gets it again only if nobody else wants it."""
_SURER: Final = 2.0
"""So many results of a node make the draw as narrow as twice the evidence would: what is known is to be used."""
_SUREST: Final = 4.0
"""And so narrow at most, so that a node which got better is found out."""
_ETA_FLOOR_MS: Final = 20.0
"""Differences below this are noise of bus and scheduler."""
_PRICE_FLOOR: Final = 20_000.0
"""Micro-credits; 20 ms of one processor at the usual rate."""


@dataclass(slots=True)
class Candidate:
    """A bid with what is needed to judge it. `held`: subtasks that the node held for us when it answered."""

    bid: Bid
    node: str
    bus_key: str
    digest: bytes
    at: float
    held: int = 0
    score: float = 0.0
    quality: float = 0.0


def gate(bid: Bid, deadline_ms: int, capacity: int) -> str:
    """Why this bid may not win, in words; empty when it may."""
    if capacity <= 0:
        return "the node no longer offers this"
    if bid.eta_ms > deadline_ms:
        return "it would end after the deadline"
    if bid.success <= 0.0:
        return "it expects to fail"
    return ""


def score_round(
    candidates: Sequence[Candidate],
    capability: str,
    *,
    deadline_ms: int,
    input_bytes: int,
    failed: dict[str, int],
    history: History,
    rng: random.Random,
) -> None:
    """Set `score` and `quality` of each bid of one subtask; `failed` counts this subtask's failures by node."""
    tracks = [history.of(candidate.node, capability) for candidate in candidates]
    etas = [
        candidate.bid.eta_ms * track.slower.ratio + _ETA_FLOOR_MS
        for candidate, track in zip(candidates, tracks, strict=True)
    ]
    prices = [
        candidate.bid.price * track.dearer.ratio + _PRICE_FLOOR
        for candidate, track in zip(candidates, tracks, strict=True)
    ]
    best_eta, best_price = min(etas), min(prices)
    slack = max(deadline_ms, 1)
    for candidate, track, eta, price in zip(candidates, tracks, etas, prices, strict=True):
        bid = candidate.bid
        claims = history.claims(candidate.node)
        claimed = min(0.98, max(0.02, bid.success - claims.overstated))
        sure = min(_SUREST, 1.0 + claims.trials / _SURER)
        quality = rng.betavariate(
            sure * (PRIOR_TRIALS * claimed + track.verified),
            sure * (PRIOR_TRIALS * (1.0 - claimed) + track.failed),
        )
        candidate.quality = quality
        candidate.score = (
            _QUALITY * quality
            - _TIME * eta / (eta + best_eta)
            - _DEADLINE * min(1.0, eta / slack)
            - _COST * min(_DEAREST, price / (price + best_price))
            - _LOAD * bid.load
            + (_AFFINITY * min(1.0, bid.local_bytes / input_bytes) if input_bytes else 0.0)
            - _FAILED_IT * failed.get(candidate.node, 0)
        )
