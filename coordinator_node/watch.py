"""Attempts that are out: was the award taken, does the work still move, is it over time?

Rules. The first of confirm, started, progress, result shows that an award was taken; until then it is said again. A lease is renewed by the work's start
and by a step that is higher than any before, by nothing else; silence longer than the lease loses the attempt, which is indefinite: the work may go
on, and the fence makes what comes of it harmless. Work that waits for a limit of use is not silent until that has passed; for work that waits
for a person neither lease nor deadline runs, for seven days at most. While a result is being checked no time runs out. A core; `engine` turns what is due into records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from protocol.messages import NamedRef, Progress, Result
from protocol.messages.work import WorkState

from .auction import Key
from .scoring import Candidate
from .timers import Timers

__all__ = ["LEASE_MIN_MS", "PERSON_MAX_S", "Due", "Held", "Live", "Watch", "lease_ms"]

LEASE_MIN_MS: Final = 10_000
"""A lease is at least this long, whatever a bid says: shorter ones are lost to a busy laptop's scheduler."""
_RESEND_S: Final = (1.0, 2.0, 4.0, 8.0)
"""When an award (or a cancel) that got no answer is said again, after the time before; then every 8 s."""
_DEADLINE_SLACK_S: Final = 5.0
"""The node itself stops work at its deadline; so long it has to say so."""
_CANCEL_S: Final = 10.0
"""How long a node has to say that nothing of a cancelled attempt runs any more."""

PERSON_MAX_S: Final = 7 * 24 * 3600.0
"""So long work may wait for a person."""

Held = tuple[str, str, int]
"""(run, subtask, attempt)"""

Due = Literal["resend", "lease", "deadline", "gone", "person"]


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
    eta_s: float = 0.0
    """What its bid said that it takes; 0: not known any more."""
    taken: bool = False
    started_at: float | None = None
    heard_at: float = 0.0
    sent: int = 0
    resend_at: float = 0.0
    checking: bool = False
    result: Result | None = None
    """The result that is being checked."""
    cancelled_at: float | None = None
    step: int = -1
    """The highest step that it has shown."""
    fraction: float = 0.0
    note: str = ""
    state: WorkState = "working"
    state_at: float = 0.0
    """Since when it is in this state."""
    wait_until: float = 0.0
    """About when a limit of use has passed, by its last word."""
    moved_at: float = 0.0
    """When the work moved last; `heard_at` is later while it waits."""
    stood_s: float = 0.0
    """How long it waited for a person, before now: its deadline did not run."""
    restored: bool = False
    """It was awarded before this process began."""
    unseen: bool = False
    """It was taken over, and its node was not heard since: its word that it waits does not hold yet."""
    moves: int = 0
    """How often its state changed in the journal."""
    partial: list[NamedRef] = field(default_factory=list)

    @property
    def held(self) -> Held:
        """Its name among all that is out."""
        return (*self.key, self.attempt)

    def fits(self, attempt: int, epoch: int, node: str) -> bool:
        """Whether a message is about this very attempt, from its holder."""
        return attempt == self.attempt and epoch == self.epoch and node == self.node


class Watch:
    """All live attempts of all runs."""

    def __init__(self) -> None:
        self._live: dict[Key, dict[int, Live]] = {}
        """Subtask -> attempt -> what is out: one, or two when the first is late."""
        self._of_node: dict[str, dict[Held, Live]] = {}
        self._timers: Timers[Held] = Timers()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, live: Live, now: float) -> None:
        """An award goes out."""
        live.heard_at = live.moved_at = live.state_at = now
        live.resend_at = now + _RESEND_S[0]
        live.sent = 1
        self._live.setdefault(live.key, {})[live.attempt] = live
        self._count += 1
        self._of_node.setdefault(live.node, {})[live.held] = live
        self._arm(live)

    def get(self, key: Key, attempt: int) -> Live | None:
        """An attempt that is out."""
        return self._live.get(key, {}).get(attempt)

    def of(self, key: Key) -> list[Live]:
        """Everything that is out of a subtask."""
        return list(self._live.get(key, {}).values())

    def drop(self, live: Live) -> None:
        """The attempt has ended."""
        out = self._live.get(live.key, {})
        if out.pop(live.attempt, None) is None:
            return
        if not out:
            del self._live[live.key]
        self._count -= 1
        self._timers.cancel(live.held)
        held = self._of_node[live.node]
        del held[live.held]
        if not held:
            del self._of_node[live.node]

    def of_node(self, node: str) -> list[Live]:
        """What a node holds."""
        return list(self._of_node.get(node, {}).values())

    def of_run(self, run: str) -> Iterator[Live]:
        """What is live of a run."""
        return (live for key, out in list(self._live.items()) if key[0] == run for live in list(out.values()))

    def taken(self, live: Live, now: float, *, started: bool) -> None:
        """Its holder says that it has it, or has begun."""
        self.seen(live)
        if not live.taken:
            live.taken = True
            live.heard_at = max(now, live.heard_at)
        if started and live.started_at is None:
            live.started_at = live.moved_at = now
            # One that was taken over while it waited for a limit goes on waiting, whatever its node says first.
            live.heard_at = max(now, live.heard_at)
        # The timer is left as it is: when it fires, `due` sees that there is time left and arms it anew.

    def progress(self, live: Live, item: Progress, now: float) -> bool:
        """Its holder says how the work stands; returns whether it began or ceased to wait."""
        self.taken(live, now, started=True)
        grew = item.step > live.step
        changed = item.state != live.state
        live.note, live.partial = item.note, item.partial
        if grew:
            live.step, live.fraction, live.moved_at = item.step, item.fraction, now
        if changed:
            self.enter(live, item.state, now)
        if item.state == "limited":
            live.wait_until = now + item.wait_ms / 1000
            live.heard_at = max(live.heard_at, live.wait_until)
        elif grew or changed:
            live.heard_at = now
        if changed:
            self._arm(live)
        return changed

    def enter(self, live: Live, state: WorkState, now: float) -> None:
        """It begins to wait, or works again."""
        if live.state == "person":
            live.stood_s += now - live.state_at
        live.state, live.state_at, live.wait_until = state, now, 0.0

    def restore(self, live: Live, state: WorkState, wait_ms: int, now: float, *, unseen: bool) -> None:
        """It was taken over in this state. What it was before is not known, so its clocks begin anew."""
        live.state, live.unseen = state, unseen
        if state == "limited":
            live.wait_until = live.heard_at = now + wait_ms / 1000
        self._arm(live)

    def seen(self, live: Live) -> None:
        """Its node was heard."""
        if live.unseen:
            live.unseen = False
            self._arm(live)

    def silent_s(self, live: Live, now: float) -> float:
        """For how long the work has not moved."""
        return max(0.0, now - live.moved_at)

    def check(self, live: Live) -> None:
        """Its result is being checked: stop the clocks."""
        live.taken = live.checking = True
        self._timers.cancel(live.held)

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
        for run, name, attempt in self._timers.due(now):
            live = self._live[run, name][attempt]
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
        if live.state == "person" and not live.unseen:
            return "person" if now >= live.state_at + PERSON_MAX_S else None
        if live.started_at is not None and now >= self._ends(live, live.started_at):
            return "deadline"
        if now >= live.heard_at + live.lease_s:
            return "lease"
        return "resend" if not live.taken and now >= live.resend_at else None

    @staticmethod
    def _ends(live: Live, started: float) -> float:
        return started + live.stood_s + live.deadline_s + _DEADLINE_SLACK_S

    def _arm(self, live: Live) -> None:
        if live.checking and live.cancelled_at is None:
            return
        if live.cancelled_at is not None:
            when = min(live.cancelled_at + _CANCEL_S, live.resend_at)
        elif live.state == "person" and not live.unseen:
            when = live.state_at + PERSON_MAX_S
        else:
            when = live.heard_at + live.lease_s
            if not live.taken:
                when = min(when, live.resend_at)
            if live.started_at is not None:
                when = min(when, self._ends(live, live.started_at))
        self._timers.set(live.held, when)
