"""What a simulated run is measured by: steps, chains, waiting, detection, wrong results. It watches and never decides.

Words. Critical steps: the steps along the longest chain of waiting, where a try waits for what its subtask needs, for the try before it at the same subtask, and for
the try before it in the same slot. Speed-up: all steps that counted, over the critical ones. Utilisation: busy slot-seconds over all slot-seconds until the last
run ended. Award latency: from the announcement of a round to the award that leaves. Detection: from the moment when a node died, or an attempt stopped
moving, to the record that says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from protocol.messages import Announce, Award, Item
from protocol.records import Accepted, AttemptFailed, Awarded, PlanAdopted, Record, Rejected, SubtaskFailed

__all__ = ["Effort", "Tally", "percentile"]

_AWAY = frozenset({"E_LEASE", "E_NOT_TAKEN", "E_NODE_GONE", "E_RESTARTED"})

Place = tuple[str, str]
"""(run, subtask)"""


@dataclass(slots=True)
class Effort:
    """One try, as its node did it."""

    place: Place
    node: str
    began: float
    chain: int
    """Critical steps before it."""
    steps: int = 0
    ended: float | None = None
    wrong: bool = False


@dataclass
class Tally:
    """The numbers of one world."""

    latencies: list[float] = field(default_factory=list)
    dead_s: list[float] = field(default_factory=list)
    wedged_s: list[float] = field(default_factory=list)
    reawards: int = 0
    awards: int = 0
    busy_s: float = 0.0
    made: int = 0
    """Results that agents made."""
    made_wrong: int = 0
    kept: int = 0
    """Results that were accepted."""
    kept_wrong: int = 0
    steps: int = 0
    """Of accepted results."""
    all_steps: int = 0
    overshoot: int = 0
    """Amounts spent beyond what was allowed: slots, and budgets where there are any."""
    ends: Counter[str] = field(default_factory=Counter)
    last_end: float = 0.0
    stuck_most_s: float = 0.0
    """The longest time for which a wedged attempt held its subtask."""
    peak: int = 0
    """The most that worked at one time."""

    def __post_init__(self) -> None:
        self._announced: dict[tuple[str, str, int], float] = {}
        self._needs: dict[Place, Sequence[str]] = {}
        self._chain: dict[Place, int] = {}
        self._slot: dict[Hashable, int] = {}
        self._working: dict[tuple[Place, int, int, str], Effort] = {}
        self._done: dict[tuple[Place, int, int, str], Effort] = {}
        self._dead: dict[str, float] = {}
        self._stuck: dict[tuple[Place, int, int, str], float] = {}
        self._given: dict[tuple[Place, int, int, str], float] = {}

    # --- what agents do ---

    def begun(self, key: Any, node: str, slot: Hashable, now: float) -> None:
        """Work began: `key` is (run, subtask, attempt, epoch)."""
        place = (key[0], key[1])
        chain = max((self._chain.get((key[0], need), 0) for need in self._needs.get(place, ())), default=0)
        chain = max(chain, self._chain.get(place, 0), self._slot.get(slot, 0))
        self._working[place, key[2], key[3], node] = Effort(place, node, now, chain)
        self.peak = max(self.peak, len(self._working))

    def over(
        self, key: Any, node: str, slot: Hashable, now: float, *, steps: int, wrong: bool | None
    ) -> None:
        """Work ended; `wrong` is None when it made no result."""
        name = ((key[0], key[1]), key[2], key[3], node)
        effort = self._working.pop(name, None)
        if effort is None:
            return
        effort.steps, effort.ended = steps, now
        self.all_steps += steps
        self.busy_s += now - effort.began
        chain = effort.chain + steps
        self._slot[slot] = max(self._slot.get(slot, 0), chain)
        self._chain[effort.place] = max(self._chain.get(effort.place, 0), chain)
        if wrong is not None:
            effort.wrong = wrong
            self.made += 1
            self.made_wrong += wrong
            self._done[name] = effort

    def stuck(self, key: Any, node: str, now: float) -> None:
        """An attempt stops moving."""
        self._stuck[(key[0], key[1]), key[2], key[3], node] = now

    def died(self, node: str, now: float) -> None:
        """A node's process is gone."""
        self._dead[node] = now

    # --- what coordinators say and write ---

    def said(self, run: str, item: Item, now: float) -> None:
        """Something leaves."""
        if isinstance(item, Announce):
            self._announced.setdefault((run, item.subtask, item.round), now)
        elif isinstance(item, Award):
            began = self._announced.pop((run, item.subtask, item.round), None)
            if began is not None:
                self.latencies.append(now - began)

    def durable(self, run: str, record: Record, now: float) -> None:
        """A record is in the journal."""
        self.last_end = now
        if isinstance(record, PlanAdopted):
            for entry in record.subtasks:
                self._needs[run, entry.id] = entry.needs
        elif isinstance(record, Awarded):
            self.awards += 1
            self.reawards += record.attempt > 1 and not record.hedge
            self._given[(run, record.subtask), record.attempt, record.epoch, record.node] = now
        elif isinstance(record, Accepted):
            name = ((run, record.subtask), record.attempt, record.epoch, record.node)
            self.stuck_most_s = max(self.stuck_most_s, now - self._stuck.pop(name, now))
            effort = self._done.pop(name, None)
            self.kept += 1
            if effort is not None:
                self.kept_wrong += effort.wrong
                self.steps += effort.steps
        elif isinstance(record, AttemptFailed):
            self.ends[record.code] += 1
            name = ((run, record.subtask), record.attempt, record.epoch, record.node)
            stuck = self._stuck.pop(name, None)
            self.stuck_most_s = max(self.stuck_most_s, now - (now if stuck is None else stuck))
            if record.code in _AWAY:
                dead = self._dead.get(record.node)
                if dead is not None and dead < self._given.get(name, dead):
                    dead = None  # it died before it had this
                if stuck is not None and record.code == "E_LEASE":
                    self.wedged_s.append(now - stuck)
                elif dead is not None:
                    self.dead_s.append(now - dead)
        elif isinstance(record, (Rejected, SubtaskFailed)):
            self.ends[getattr(record, "code", "rejected") or "rejected"] += 1

    @property
    def critical_steps(self) -> int:
        """Steps along the longest chain of waiting."""
        return max(self._chain.values(), default=0)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` of all do not exceed; None of none."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -(-int(share * 1000) * len(ranked) // 1000) - 1))]
