"""What each node has been worth so far: checked results, failures, and how its estimates compare with what happened.

Rules. Folded from journal records alone, so it is the same after a restart; only a result that passed its check counts as a success, and nothing a
node says about itself counts as experience; what it said is compared with what came of it, over all that it does (`Claims`), because who
overstates one thing overstates the next. Old experience fades: each observation multiplies what came before by `_FADE`. What went wrong for a
reason of the input (not retryable) or on request says nothing about the node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from protocol.records import Accepted, AttemptFailed, Record, Rejected

from .state import RunState, bid_of

__all__ = ["Claims", "History", "Track"]

_FADE: Final = 0.98
"""About the last fifty attempts count."""
_SLACK_MS: Final = 50.0
"""Added to both sides of actual/estimated: bus and journal take some milliseconds, which are not the node's."""
_RATIO_FADE: Final = 0.9
"""About the last ten results count: a device that gets slower is noticed soon, and one slow turn is no habit."""
_RATIO_PRIOR: Final = 3.0
"""How many results exactly as said a node is credited with before it was seen."""
_RATIO_MAX: Final = 8.0
_CLAIMS_PRIOR: Final = 4.0
"""How many results a node's word is taken for its deed, before it is corrected by half of what it was off."""
_BLAMELESS: Final = frozenset(
    {
        "E_BUDGET",
        "E_CANCELLED",
        "E_DISK_FULL",
        "E_DRAINING",
        "E_HALTED",
        "E_RESTARTED",
        "E_SHUTDOWN",
        "E_SUPERSEDED",
    }
)


@dataclass(slots=True)
class Slip:
    """By how much something turns out to be more than was said: a mean of logarithms that fades, held back while little is known."""

    total: float = 0.0
    seen: float = 0.0

    @property
    def ratio(self) -> float:
        """Actual over said; 1 while nothing is known."""
        return math.exp(self.total / (self.seen + _RATIO_PRIOR))

    def add(self, actual: float, said: float) -> None:
        """So much was said, and it came to this; both above 0."""
        observed = math.log(min(_RATIO_MAX, max(1.0 / _RATIO_MAX, actual / said)))
        self.seen = self.seen * _RATIO_FADE + 1.0
        self.total = self.total * _RATIO_FADE + observed


@dataclass(slots=True)
class Track:
    """One node at one capability. `slower`, `dearer`: by how much its estimates of time and price are to be multiplied."""

    verified: float = 0.0
    failed: float = 0.0
    slower: Slip = field(default_factory=Slip)
    dearer: Slip = field(default_factory=Slip)

    def success(self) -> None:
        """A result passed its check."""
        self.verified = self.verified * _FADE + 1.0
        self.failed *= _FADE

    def failure(self) -> None:
        """An attempt came to nothing, or its result did not pass."""
        self.failed = self.failed * _FADE + 1.0
        self.verified *= _FADE

    def took(self, actual_ms: float, estimated_ms: float) -> None:
        """An attempt took so long, and this had been said."""
        self.slower.add(max(0.0, actual_ms) + _SLACK_MS, max(0.0, estimated_ms) + _SLACK_MS)

    def cost(self, actual: int, price: int) -> None:
        """An attempt cost so much, and this had been asked; nothing is learned from what costs nothing or does not say."""
        if actual > 0 and price > 0:
            self.dearer.add(actual, price)


@dataclass(slots=True)
class Claims:
    """What a node says of its own success, against what came of it. `excess`: by how much it said too much, summed, faded as `trials` is."""

    trials: float = 0.0
    excess: float = 0.0

    @property
    def overstated(self) -> float:
        """By how much its word is to be lowered (raised, when below 0): the mean excess, held back while little is known."""
        return self.excess / (self.trials + _CLAIMS_PRIOR)

    def seen(self, claimed: float, outcome: float) -> None:
        """It had said `claimed`, and this came of it: 1 a checked result, 0 none."""
        self.trials = self.trials * _FADE + 1.0
        self.excess = self.excess * _FADE + claimed - outcome


_NOTHING: Final = Track()
_SILENCE: Final = Claims()


class History:
    """All tracks, by node and capability, and all claims, by node."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], Track] = {}
        self._claims: dict[str, Claims] = {}

    def of(self, node: str, capability: str) -> Track:
        """What is known; an empty track when nothing is. Read it only."""
        return self._tracks.get((node, capability), _NOTHING)

    def claims(self, node: str) -> Claims:
        """What its word has been worth, whatever it was about. Read it only."""
        return self._claims.get(node, _SILENCE)

    def clear(self) -> None:
        """Forget everything, to learn it anew."""
        self._tracks.clear()
        self._claims.clear()

    def __len__(self) -> int:
        return len(self._tracks)

    def observe(self, state: RunState, record: Record) -> None:
        """Learn from a record that was just folded into `state`; most kinds teach nothing."""
        if not isinstance(record, Accepted | Rejected | AttemptFailed):
            return
        if isinstance(record, AttemptFailed) and (not record.retryable or record.code in _BLAMELESS):
            return
        subtask = state.subtasks[record.subtask]
        attempt = subtask.attempts[record.attempt - 1]
        track = self._tracks.setdefault((record.node, subtask.skeleton.capability), Track())
        bid = bid_of(attempt)
        if bid is not None:
            self._claims.setdefault(record.node, Claims()).seen(
                bid.success, float(isinstance(record, Accepted))
            )
        if not isinstance(record, Accepted):
            track.failure()
            return
        track.success()
        if bid is not None:
            track.took(record.at_ms - attempt.awarded_ms, bid.eta_ms)
            track.cost(record.used.money, bid.price)
