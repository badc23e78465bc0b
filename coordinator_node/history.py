"""What each node has been worth so far: checked results, failures, and how its estimates compare with what happened.

Rules. Folded from journal records alone, so it is the same after a restart; only a result that passed its check counts as a success, and nothing a
node says about itself counts at all. Old experience fades: each observation multiplies what came before by `_FADE`. What went wrong for a
reason of the input (not retryable) or on request says nothing about the node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from protocol.records import Accepted, AttemptFailed, Record, Rejected

from .state import RunState

__all__ = ["History", "Track"]

_FADE: Final = 0.98
"""About the last fifty attempts count."""
_SLACK_MS: Final = 50.0
"""Added to both sides of actual/estimated: bus and journal take some milliseconds, which are not the node's."""
_RATIO_WEIGHT: Final = 0.2
"""Share of the newest observation in the ratio: about the last five count."""
_RATIO_MAX: Final = 8.0
_BLAMELESS: Final = frozenset({"E_CANCELLED", "E_DRAINING", "E_SHUTDOWN", "E_RESTARTED"})


@dataclass(slots=True)
class Track:
    """One node at one capability. `ratio`: actual time over estimated time, 1.0 while nothing is known."""

    verified: float = 0.0
    failed: float = 0.0
    log_ratio: float = 0.0
    seen: int = 0

    @property
    def ratio(self) -> float:
        """By how much its estimates are to be multiplied."""
        return math.exp(self.log_ratio)

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
        ratio = (max(0.0, actual_ms) + _SLACK_MS) / (max(0.0, estimated_ms) + _SLACK_MS)
        observed = math.log(min(_RATIO_MAX, max(1.0 / _RATIO_MAX, ratio)))
        weight = 1.0 if self.seen == 0 else _RATIO_WEIGHT
        # The first observation is halved: one measurement is not yet a habit.
        self.log_ratio += (weight * 0.5 if self.seen == 0 else weight) * (observed - self.log_ratio)
        self.seen += 1


_NOTHING: Final = Track()


class History:
    """All tracks, by node and capability."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], Track] = {}

    def of(self, node: str, capability: str) -> Track:
        """What is known; an empty track when nothing is. Read it only."""
        return self._tracks.get((node, capability), _NOTHING)

    def clear(self) -> None:
        """Forget everything, to learn it anew."""
        self._tracks.clear()

    def __len__(self) -> int:
        return len(self._tracks)

    def observe(self, state: RunState, record: Record) -> None:
        """Learn from a record that was just folded into `state`; most kinds teach nothing."""
        if isinstance(record, Accepted):
            subtask = state.subtasks[record.subtask]
            attempt = subtask.attempts[-1]
            track = self._track(record.node, subtask.skeleton.capability)
            track.success()
            estimated = next((bid.eta_ms for bid in attempt.bids if bid.node == record.node), None)
            if estimated is not None:
                track.took(record.at_ms - attempt.awarded_ms, estimated)
        elif isinstance(record, Rejected) or (
            isinstance(record, AttemptFailed) and record.retryable and record.code not in _BLAMELESS
        ):
            self._track(record.node, state.subtasks[record.subtask].skeleton.capability).failure()

    def _track(self, node: str, capability: str) -> Track:
        return self._tracks.setdefault((node, capability), Track())
