"""Attempts that are out: was the award taken, does the work still move, is it over time?

Rules. The first of confirm, started, progress, result shows that an award was taken; until then it is said again. A lease is renewed by progress of the
work (and its start), by nothing else; silence longer than the lease loses the attempt, which is indefinite: the work may go on, and the fence
makes what comes of it harmless. While a result is being checked no time runs out. A core; `engine` turns what is due into records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from protocol.messages import Result

from .auction import Key
from .scoring import Candidate
from .timers import Timers

__all__ = ["LEASE_MIN_MS", "Due", "Live", "Watch", "lease_ms"]

LEASE_MIN_MS: Final = 10_000
"""A lease is at least this long, whatever a bid says: shorter ones are lost to a busy laptop's scheduler."""
_RESEND_S: Final = (1.0, 2.0, 4.0, 8.0)
"""When an award (or a cancel) that got no answer is said again, after the time before; then every 8 s."""
_DEADLINE_SLACK_S: Final = 5.0
"""The node itself stops work at its deadline; so long it has to say so."""
_CANCEL_S: Final = 10.0
"""How long a node has to say that nothing of a cancelled attempt runs any more."""

Due = Literal["resend", "lease", "deadline", "gone"]


def lease_ms(quiet_ms: int) -> int:
    """The lease for work that may be silent for `quiet_ms`."""
    return max(LEASE_MIN_MS, quiet_ms)


@dataclass(slots=True)
class Live:
    """An attempt that holds its subtask. Times are Unix seconds. `runners`: the other bids of its round, the best first."""

    key: Key
    attempt: int
    epoch: int
    round: int
    node: str
    bus_key: str
    capability: str
    lease_s: float
    deadline_s: float
    awarded_at: float
    runners: list[Candidate] = field(default_factory=list)
    taken: bool = False
    started_at: float | None = None
    heard_at: float = 0.0
    sent: int = 0
    resend_at: float = 0.0
    checking: bool = False
    result: Result | None = None
    """The result that is being checked."""
    cancelled_at: float | None = None

    def fits(self, attempt: int, epoch: int, node: str) -> bool:
        """Whether a message is about this very attempt, from its holder."""
        return attempt == self.attempt and epoch == self.epoch and node == self.node


class Watch:
    """All live attempts of all runs."""

    def __init__(self) -> None:
        self._live: dict[Key, Live] = {}
        self._of_node: dict[str, dict[Key, Live]] = {}
        self._timers: Timers[Key] = Timers()

    def __len__(self) -> int:
        return len(self._live)

    def add(self, live: Live, now: float) -> None:
        """An award goes out."""
        live.heard_at = now
        live.resend_at = now + _RESEND_S[0]
        live.sent = 1
        self._live[live.key] = live
        self._of_node.setdefault(live.node, {})[live.key] = live
        self._arm(live)

    def get(self, key: Key) -> Live | None:
        """The live attempt of a subtask."""
        return self._live.get(key)

    def drop(self, key: Key) -> Live | None:
        """The attempt has ended."""
        live = self._live.pop(key, None)
        if live is not None:
            self._timers.cancel(key)
            held = self._of_node[live.node]
            del held[key]
            if not held:
                del self._of_node[live.node]
        return live

    def of_node(self, node: str) -> list[Live]:
        """What a node holds."""
        return list(self._of_node.get(node, {}).values())

    def of_run(self, run: str) -> Iterator[Live]:
        """What is live of a run."""
        return (live for key, live in list(self._live.items()) if key[0] == run)

    def heard(self, live: Live, now: float, *, moved: bool, started: bool) -> None:
        """Its holder spoke of it. `moved`: the work began or made a step, which renews the lease."""
        if not live.taken:
            live.taken = True
            if live.cancelled_at is None:
                live.heard_at = now
        if moved:
            live.heard_at = now
            if started and live.started_at is None:
                live.started_at = now
        # The timer is left as it is: when it fires, `due` sees that there is time left and arms it anew.

    def check(self, live: Live) -> None:
        """Its result is being checked: stop the clocks."""
        live.taken = live.checking = True
        self._timers.cancel(live.key)

    def cancel(self, live: Live, now: float) -> None:
        """It was told to stop."""
        if live.cancelled_at is None:
            live.cancelled_at = now
            live.sent, live.resend_at = 1, now + _RESEND_S[0]
            self._arm(live)

    def resent(self, live: Live, now: float) -> None:
        """Its award (or cancel) was said again."""
        live.resend_at = now + _RESEND_S[min(live.sent, len(_RESEND_S) - 1)]
        live.sent += 1
        self._arm(live)

    def deadline(self) -> float | None:
        """When something is due next."""
        return self._timers.next()

    def due(self, now: float) -> list[tuple[Live, Due]]:
        """What has to be done about whom."""
        found: list[tuple[Live, Due]] = []
        for key in self._timers.due(now):
            live = self._live[key]
            what = self._what(live, now)
            if what is None:
                self._arm(live)
            else:
                found.append((live, what))
        return found

    def _what(self, live: Live, now: float) -> Due | None:
        if live.cancelled_at is not None:
            if now >= live.cancelled_at + _CANCEL_S:
                return "gone"
            return "resend" if now >= live.resend_at else None
        if live.started_at is not None and now >= live.started_at + live.deadline_s + _DEADLINE_SLACK_S:
            return "deadline"
        if now >= live.heard_at + live.lease_s:
            return "lease"
        return "resend" if not live.taken and now >= live.resend_at else None

    def _arm(self, live: Live) -> None:
        if live.cancelled_at is not None:
            when = min(live.cancelled_at + _CANCEL_S, live.resend_at)
        else:
            when = live.heard_at + live.lease_s
            if not live.taken:
                when = min(when, live.resend_at)
            if live.started_at is not None:
                when = min(when, live.started_at + live.deadline_s + _DEADLINE_SLACK_S)
        self._timers.set(live.key, when)
