"""Which subtasks are put up next, and when one that came to nothing is tried again.

Rules. A core that is told what became ready and what came back, and never walks over a run: its cost depends on what is waiting now. Runs take turns.
No more is announced than the market has room for; sellers that said they are full are left alone until something ends or a little
time has passed. Where nobody offers a capability, work waits a grace for somebody to appear, then it is `hopeless`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from .auction import Key
from .market import Market
from .timers import Timers

__all__ = ["Scheduler"]

_FULL_FIRST_S: Final = 0.05
_FULL_MAX_S: Final = 30.0
"""Longest time between two tries whether full sellers take more; what they give back is filled at once."""
_BACKOFF_FIRST_S: Final = 0.25
_BACKOFF_MAX_S: Final = 5.0
_DOUBLED_MAX: Final = 10
"""Work may be tried for days: two to the power of all its tries is no number."""


@dataclass(slots=True)
class _Full:
    """All sellers of a capability are full. `until`: nobody is tried before; `pause`: how long that is; `why`: what one of them said, "" if none did."""

    until: float
    pause: float
    why: str


class Scheduler:
    """Waiting work of all runs.

    Args:
        market: who is there.
        grace_s: how long work waits for a capability that nobody has offered so far.
        lost_grace_s: how long it waits for one that somebody did offer (its node may be restarting).
        not_before: Unix seconds before which nothing is given up: whoever has just begun to listen has not heard everybody.
    """

    def __init__(
        self, market: Market, *, grace_s: float, lost_grace_s: float, not_before: float = 0.0
    ) -> None:
        self._market = market
        self._grace_s = grace_s
        self._lost_grace_s = lost_grace_s
        self._not_before = not_before
        self._absent: dict[str, float] = {}
        """Capabilities that are wanted and that nobody offers -> since when."""
        self._queues: dict[str, dict[str, dict[str, float]]] = {}
        """capability -> run -> subtask -> waiting since; the order of runs is their turn."""
        self._capability: dict[Key, str] = {}
        self._patient: set[str] = set()
        self._full: dict[str, _Full] = {}
        """Capabilities whose sellers are full."""
        self._timers: Timers[tuple[str, Key | str]] = Timers()
        self._tries: dict[Key, int] = {}

    def patient(self, run: str) -> None:
        """The run was taken up after a restart: nodes that it used may need a while to come back."""
        self._patient.add(run)

    def add(self, key: Key, capability: str, now: float, *, since: float | None = None) -> None:
        """A subtask may be announced."""
        self._capability[key] = capability
        queue = self._queues.setdefault(capability, {}).setdefault(key[0], {})
        queue[key[1]] = now if since is None else since
        if not self._market.offering(capability):
            self._absent.setdefault(capability, now)
            self._wait_for_seller(capability)

    def back_off(self, key: Key, capability: str, now: float) -> None:
        """A subtask came back without success: it waits a little longer each time."""
        tries = self._tries.get(key, 0)
        self._tries[key] = tries + 1
        self._capability[key] = capability
        self._timers.set(
            ("again", key), now + min(_BACKOFF_MAX_S, _BACKOFF_FIRST_S * 2.0 ** min(tries, _DOUBLED_MAX))
        )

    def waits(self, capability: str) -> bool:
        """Whether anything waits for the capability now."""
        return bool(self._queues.get(capability))

    def full(self, capability: str, now: float, why: str) -> None:
        """Everybody who was asked is full: leave them alone for a moment. `why`: what one of them said, "" if they bid and won too much else."""
        self._market.full(capability)
        known = self._full.get(capability)
        if known is not None and known.until > now:
            known.why = why
            return
        pause = _FULL_FIRST_S if known is None else min(_FULL_MAX_S, known.pause * 2)
        self._full[capability] = _Full(now + pause, pause, why)
        self._timers.set(("full", capability), now + pause)

    def freed(self) -> None:
        """Somebody may be asked again who could not be: slots may be free."""
        for capability in self._full:
            self._market.not_full(capability)
        self._full.clear()

    def took(self, capability: str) -> None:
        """A subtask was awarded: if full sellers took one more than before, more are tried soon."""
        if self._market.took(capability):
            self._full.pop(capability, None)

    def waiting(self, run: str) -> dict[str, str]:
        """Subtasks of a run that wait because their sellers are full -> what a seller said of it."""
        return {
            subtask: full.why
            for capability, full in self._full.items()
            if full.why
            for subtask in self._queues.get(capability, {}).get(run, ())
        }

    def forget(self, key: Key) -> None:
        """A subtask needs nobody any more."""
        capability = self._capability.pop(key, None)
        self._tries.pop(key, None)
        self._timers.cancel(("again", key))
        if capability is not None:
            runs = self._queues.get(capability, {})
            queue = runs.get(key[0])
            if queue is not None:
                queue.pop(key[1], None)
                if not queue:
                    del runs[key[0]]

    def forget_run(self, run: str) -> None:
        """A run has ended."""
        self._patient.discard(run)
        for key in [key for key in self._capability if key[0] == run]:
            self.forget(key)

    def deadline(self) -> float | None:
        """When `tick` should run."""
        return self._timers.next()

    def tick(self, now: float) -> list[tuple[str, Key]]:
        """Let time pass; returns (capability, subtask) of what nobody appeared for."""
        hopeless: list[tuple[str, Key]] = []
        for what, name in self._timers.due(now):
            if what == "again" and isinstance(name, tuple):
                self.add(name, self._capability[name], now)
            elif what == "seller" and isinstance(name, str) and not self._market.offering(name):
                hopeless += self._given_up(name, now)
                self._wait_for_seller(name)
        return hopeless

    def pick(self, now: float) -> Iterator[tuple[str, list[Key]]]:
        """Take out what is to be announced now, by capability."""
        for capability, runs in list(self._queues.items()):
            if not runs:
                continue
            full = self._full.get(capability)
            probe = full is None or full.until <= now
            room = self._market.room(capability, probe=probe)
            if room:
                yield capability, self._take(runs, room)

    @staticmethod
    def _take(runs: dict[str, dict[str, float]], room: int) -> list[Key]:
        taken: list[Key] = []
        while runs and len(taken) < room:
            share = max(1, (room - len(taken)) // len(runs))
            for run in list(runs):
                queue = runs.pop(run)
                for subtask in list(queue)[:share] if share < len(queue) else list(queue):
                    del queue[subtask]
                    taken.append((run, subtask))
                if queue:
                    runs[run] = queue
                if len(taken) >= room:
                    break
        return taken

    def _grace(self, capability: str, run: str) -> float:
        if run in self._patient or self._market.ever_offered(capability):
            return self._lost_grace_s
        return self._grace_s

    def _ends(self, capability: str) -> list[tuple[float, Key]]:
        absent = self._absent.get(capability, 0.0)
        return [
            (max(max(since, absent) + self._grace(capability, run), self._not_before), (run, subtask))
            for run, queue in self._queues.get(capability, {}).items()
            for subtask, since in queue.items()
        ]

    def _wait_for_seller(self, capability: str) -> None:
        ends = self._ends(capability) if ("seller", capability) not in self._timers else []
        if ends:
            self._timers.set(("seller", capability), min(ends)[0])

    def sellers_changed(self, capabilities: Iterable[str], now: float) -> None:
        """Somebody who offers (or offered) these came or went."""
        self.freed()
        for capability in capabilities:
            self._market.not_full(capability)
            if self._market.offering(capability):
                self._absent.pop(capability, None)
                self._timers.cancel(("seller", capability))
            else:
                self._absent.setdefault(capability, now)
                self._wait_for_seller(capability)

    def _given_up(self, capability: str, now: float) -> list[tuple[str, Key]]:
        keys = [key for end, key in self._ends(capability) if end <= now]
        for key in keys:
            self.forget(key)
        return [(capability, key) for key in keys]
