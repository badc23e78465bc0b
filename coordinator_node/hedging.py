"""Second attempts beside stragglers: when work takes much longer than it should, another node does it, too. A part of the engine.

Rules. An attempt is late when it has taken three times what its node had estimated (by what its estimates have been worth) and twice as long as nearly all
work of that kind took in this run, and half a minute at least. It is hedged when its progress does not say that it is nearly done, when somebody
else has a slot free and nothing else waits for it, once for each subtask. Work with a single try is never done twice, and neither is work that
waits for a person or a limit. The first result that passes its check counts; the other attempt is told to stop, and what it says later is late.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from .desk import Desk
from .state import bid_of
from .timers import Timers
from .watch import Held, Live

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Hedges"]

_ETA_TIMES: Final = 3.0
_USUAL_TIMES: Final = 2.0
_USUAL_SHARE: Final = 0.95
_USUAL_KEPT: Final = 64
_USUAL_MIN: Final = 5
"""So many accepted results of a kind in the run say how long it usually takes."""
_LOOK_MIN_S: Final = 5.0
_LOOK_AGAIN_S: Final = 0.05
"""Not at once: what is left of a time is less than a clock can tell at its end."""
_LOOK_GROWTH: Final = 0.25
"""Where it cannot be hedged now it is looked at again after a quarter of the time that it has taken."""
_ROUNDS_MAX: Final = 3
"""Announcements of one subtask's second attempt that nobody answered."""


class Hedges:
    """The part of an engine that sees to stragglers."""

    def __init__(self, engine: Engine, *, on: bool, after_s: float) -> None:
        self._engine = engine
        self._on = on
        self._after_s = after_s
        """Nothing that takes less is worth a second attempt: the lease catches it, and short work is soon done again."""
        self._timers: Timers[Held] = Timers()
        self._rounds: dict[tuple[str, str], int] = {}
        self._took: dict[tuple[str, str], deque[float]] = {}
        """(run, capability) -> how long its newest results took, in seconds."""

    # --- what it is told ---

    def awarded(self, live: Live) -> None:
        """An attempt is out."""
        if self._on:
            self._timers.set(live.held, live.awarded_at + self._late_s(live))

    def ended(self, live: Live) -> None:
        """An attempt has ended."""
        self._timers.cancel(live.held)

    def accepted(self, live: Live) -> None:
        """Its result counts: that is how long such work takes."""
        key = (live.key[0], live.capability)
        took = self._took.setdefault(key, deque(maxlen=_USUAL_KEPT))
        took.append(self._engine.now - live.awarded_at - live.stood_s)
        self._rounds.pop(live.key, None)

    def forget(self, run: str) -> None:
        """A run is over, or somebody else's."""
        for key in [key for key in self._took if key[0] == run]:
            del self._took[key]
        for key in [key for key in self._rounds if key[0] == run]:
            del self._rounds[key]

    # --- time ---

    def deadline(self) -> float | None:
        """When an attempt may be late next."""
        return self._timers.next()

    def tick(self, now: float) -> None:
        """Look at the attempts that may be late now."""
        for run, name, attempt in self._timers.due(now):
            live = self._engine.watch.get((run, name), attempt)
            if live is None:
                continue
            again = self._look(self._engine.desks[run], live, now)
            if again is not None:
                self._timers.set(live.held, again)

    def wanted(self, desk: Desk, name: str) -> bool:
        """Whether a second attempt of the subtask may be awarded now."""
        subtask = desk.state.subtasks[name]
        out = self._engine.watch.of((desk.run, name))
        return (
            desk.state.status == "open"
            and not (desk.state.paused or self._engine.halted)
            and not subtask.cancelling
            and not subtask.hedged
            and len(out) == 1
            and not out[0].checking
            and out[0].state == "working"  # it may have begun to wait after the second was announced
        )

    def _look(self, desk: Desk, live: Live, now: float) -> float | None:
        """Hedge an attempt if that is due and possible; otherwise when to look again (None: never)."""
        subtask = desk.state.subtasks[live.key[1]]
        if live.cancelled_at is not None or subtask.hedged or subtask.skeleton.tries < 2:
            return None
        if self._rounds.get(live.key, 0) >= _ROUNDS_MAX:
            return None
        took = now - live.awarded_at - live.stood_s
        soon = now + max(_LOOK_MIN_S, _LOOK_GROWTH * took)
        if live.checking or live.state != "working":
            return soon
        late = self._late_s(live)
        if took < late:
            return now + max(_LOOK_AGAIN_S, late - took)
        if live.fraction > 0 and took < 2 * late:
            left = took * (1 - live.fraction) / live.fraction
            if left < late / _ETA_TIMES:
                return now + max(_LOOK_MIN_S, left)
        if not self.wanted(desk, live.key[1]) or not self._idle(live):
            return soon
        self._rounds[live.key] = self._rounds.get(live.key, 0) + 1
        self._engine.rounds.hedge(desk, subtask)
        return soon

    def _idle(self, live: Live) -> bool:
        """Whether somebody else has a slot, and nothing else waits for one."""
        engine = self._engine
        if engine.scheduler.waits(live.capability) or live.key in engine.auction:
            return False
        failed = engine.desks[live.key[0]].state.subtasks[live.key[1]].failures()
        return any(
            node != live.node and node not in failed and seller.held < seller.info.slots[live.capability]
            for node, seller in engine.market.able(live.capability).items()
        )

    def _late_s(self, live: Live) -> float:
        """After how long an attempt is late."""
        engine = self._engine
        subtask = engine.desks[live.key[0]].state.subtasks[live.key[1]]
        attempt = subtask.attempts[live.attempt - 1]
        bid = bid_of(attempt)
        eta = live.eta_s or (bid.eta_ms / 1000 if bid else 0.0)
        eta = eta * engine.history.of(live.node, live.capability).slower.ratio or live.deadline_s / _ETA_TIMES
        return max(self._after_s, _ETA_TIMES * eta, _USUAL_TIMES * self._usual_s(live))

    def _usual_s(self, live: Live) -> float:
        took = self._took.get((live.key[0], live.capability), ())
        if len(took) < _USUAL_MIN:
            return 0.0
        return sorted(took)[int(_USUAL_SHARE * (len(took) - 1))]
