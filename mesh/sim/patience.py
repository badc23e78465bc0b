"""The referee of waiting: whose lease had run out, who waits for a limit of use or for a person, and who may be given nothing before when.

Rules (SPEC MSG-13). It follows each life of a coordinator by what that life takes in and decides, and keeps its own clocks, so that a mistake in the watch or in the
market is one that it can see. Silence loses an attempt only when its lease has run out, which does not run while it waits for a limit; an attempt that waits for a
person is never lost by silence or by its deadline. None that waits is hedged. A node is awarded nothing of a capability whose limit it
has reached, before the time that it named, unless an attempt of it that was limited works again. What a life takes over, it takes over from the journal, and knows
its times as well as its clock and that of the owner before allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.messages import Confirm, Failed, Item, Progress, Result, Started
from protocol.messages.work import WorkState
from protocol.records import (
    Accepted,
    AttemptFailed,
    AttemptMoved,
    Awarded,
    Owned,
    PlanAdopted,
    PlanRevised,
    Record,
    Refused,
    Rejected,
    SubtaskCancelled,
)

from .ledger import Broken

__all__ = ["Patience", "Words"]

_SILENCE: Final = frozenset({"E_LEASE", "E_NOT_TAKEN", "E_DEADLINE", "E_PERSON"})
"""How a coordinator ends an attempt whose node says nothing about it."""
_PERSON_S: Final = 7 * 24 * 3600.0
_BLUR_S: Final = 0.001
"""What clocks that began at different times differ by, and what milliseconds cut off."""

Key = tuple[str, str, int, int]
"""run, subtask, attempt, epoch"""
Words = tuple[str, str, Sequence[Item]]
"""What a life took in about work: run, node, items."""


@dataclass(slots=True)
class _Held:
    """An attempt as one life knows it. Times are the world's."""

    node: str
    lease_s: float
    clock: float
    """Since when its lease runs; later than now while it waits for a limit."""
    step: int = -1
    state: WorkState = "working"
    since: float = 0.0
    taken: bool = False
    started: bool = False
    checking: bool = False
    sure: bool = True
    """It was heard of since it was taken over."""


class _View:
    """What one life of a coordinator knows."""

    def __init__(self) -> None:
        self.held: dict[Key, _Held] = {}
        self.limits: dict[tuple[str, str], dict[Key, float]] = {}
        """(node, capability) -> until when, by the attempt that said so."""
        self.capability: dict[tuple[str, str], str] = {}
        """Of subtasks that it planned anew."""
        self.refused: dict[Key, float] = {}
        """Attempts whose nodes named a time, before their end is decided."""

    def lift(self, node: str, capability: str) -> None:
        self.limits.pop((node, capability), None)

    def until(self, node: str, capability: str) -> float:
        return max(self.limits.get((node, capability), {}).values(), default=0.0)


@dataclass(slots=True)
class _Limit:
    """What a node said of a limit when its attempt failed. `ahead_s`: of the clock by which its end was written."""

    node: str
    capability: str
    until: float
    ahead_s: float


@dataclass(slots=True)
class _Written:
    """An attempt that holds, by the journal."""

    node: str
    lease_s: float
    state: WorkState = "working"
    wait_s: float = 0.0


class Patience:
    """All lives of all coordinators."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        """Words that limited, words that waited for a person, awards that a limit's end preceded: so that tests know whether anything was tried."""
        self._views: dict[str, tuple[int, _View]] = {}
        self._written: dict[Key, _Written] = {}
        self._said: dict[Key, _Limit] = {}
        """Limits that were decided to be written, and (below, by run) those that were."""
        self._limits: dict[str, dict[Key, _Limit]] = {}
        self._capability: dict[tuple[str, str], str] = {}

    # --- the journal ---

    def durable(self, run: str, record: Record) -> None:
        """A record is in the journal."""
        if isinstance(record, (PlanAdopted, PlanRevised)):
            self._capability |= _capabilities(run, record)
            if isinstance(record, PlanRevised):
                # What was tried before says nothing about its new form, which may have another capability.
                limits = self._limits.get(run, {})
                for key in [key for key in limits if key[1] == record.subtask]:
                    del limits[key]
        elif isinstance(record, Awarded):
            self._written[_key(run, record)] = _Written(record.node, record.lease_ms / 1000)
        elif isinstance(record, AttemptMoved):
            written = self._written.get(_key(run, record))
            if written is not None:
                written.state, written.wait_s = record.state, record.wait_ms / 1000
        elif isinstance(record, (Accepted, AttemptFailed, Rejected, Refused)):
            key = _key(run, record)
            self._written.pop(key, None)
            if isinstance(record, AttemptFailed) and key in self._said:
                self._limits.setdefault(run, {})[key] = self._said.pop(key)
        elif isinstance(record, SubtaskCancelled):
            for key in [key for key in self._written if key[:2] == (run, record.subtask)]:
                del self._written[key]

    # --- one step of a core ---

    def step(
        self,
        name: str,
        life: int,
        now: float,
        words: Words | None,
        records: Iterable[tuple[str, Record]],
        ahead_s: float = 0.0,
    ) -> None:
        """A life of a coordinator, whose clock is so much ahead of the truth, took something in, and decided this.

        Raises:
            Broken: it may not decide so.
        """
        known, view = self._views.get(name, (0, _View()))
        if known != life:
            view = _View()
        self._views[name] = (life, view)
        decided = list(records)
        if words is None and not decided:
            return
        own = {(words[0], item.subtask, item.attempt) for item in words[2]} if words else set()  # type: ignore[attr-defined]
        for run, record in decided:
            # What is due is done before anything is heard.
            if isinstance(record, AttemptFailed) and record.code in _SILENCE:
                if record.code == "E_DEADLINE" and (run, record.subtask, record.attempt) in own:
                    continue
                self._judge_silence(view, now, run, record)
        if words is not None:
            self._hear(view, now, *words)
        for run, record in decided:
            self._decided(view, now, run, record, ahead_s)

    def _judge_silence(self, view: _View, now: float, run: str, record: AttemptFailed) -> None:
        held = view.held.pop(_key(run, record), None)
        if held is None:
            return
        if held.state == "person" and held.sure and not held.checking:
            if record.code != "E_PERSON" or now < held.since + _PERSON_S - _BLUR_S:
                raise Broken(
                    f"{record.subtask}: attempt {record.attempt} waits for a person since {now - held.since:.0f} s, and is lost as {record.code}"
                )
            return
        if record.code == "E_NOT_TAKEN" and held.taken:
            raise Broken(
                f"{record.subtask}: attempt {record.attempt} was taken, and is lost as {record.code}"
            )
        early = held.clock + held.lease_s - now
        if record.code in ("E_LEASE", "E_NOT_TAKEN") and early > _BLUR_S:
            what = "waits for a limit of use" if held.state == "limited" else "moved less than its lease ago"
            raise Broken(
                f"{record.subtask}: attempt {record.attempt} {what}, and is lost {early:.1f} s too early"
            )

    # --- what is heard ---

    def _hear(self, view: _View, now: float, run: str, node: str, items: Sequence[Item]) -> None:
        for item in items:
            if not isinstance(item, (Confirm, Started, Progress, Result, Failed)):
                continue
            key = _key(run, item)
            held = view.held.get(key)
            if held is None or held.node != node or held.checking:
                continue
            held.sure = True
            if isinstance(item, (Confirm, Started, Progress)):
                self._alive(held, now, started=not isinstance(item, Confirm))
            if isinstance(item, Progress):
                self._progress(view, held, key, item, now)
            elif isinstance(item, Result):
                if held.state == "limited":
                    view.lift(node, self._of(view, key))
                held.checking = True
            elif isinstance(item, Failed) and item.retryable and item.retry_ms:
                view.refused[key] = now + item.retry_ms / 1000
                self._limit(view, key, node, view.refused[key])
                self.seen["refused for a while"] += 1

    @staticmethod
    def _alive(held: _Held, now: float, *, started: bool) -> None:
        if not held.taken or (started and not held.started):
            held.clock = max(held.clock, now)
        held.taken = True
        held.started = held.started or started

    def _progress(self, view: _View, held: _Held, key: Key, item: Progress, now: float) -> None:
        grew, changed, before = item.step > held.step, item.state != held.state, held.state
        held.step = max(held.step, item.step)
        if changed:
            held.state, held.since = item.state, now
        if item.state == "limited":
            until = now + item.wait_ms / 1000
            held.clock = max(held.clock, until)
            self._limit(view, key, held.node, until)
        elif grew or changed:
            held.clock = now
        if changed:
            self.seen[item.state] += 1
            if before == "limited":
                view.lift(held.node, self._of(view, key))

    def _limit(self, view: _View, key: Key, node: str, until: float) -> None:
        view.limits.setdefault((node, self._of(view, key)), {})[key] = until

    # --- what is decided ---

    def _decided(self, view: _View, now: float, run: str, record: Record, ahead_s: float) -> None:
        if isinstance(record, (PlanAdopted, PlanRevised)):
            view.capability |= _capabilities(run, record)
        elif isinstance(record, Owned):
            self._taken_over(view, now, run, ahead_s)
        elif isinstance(record, Awarded):
            self._awarded(view, now, run, record)
        elif isinstance(record, (Accepted, AttemptFailed, Rejected, Refused)):
            key = _key(run, record)
            view.held.pop(key, None)
            until = view.refused.pop(key, None)
            # One that was being stopped has another end than its node's.
            if until is not None and isinstance(record, AttemptFailed) and record.code != "E_CANCELLED":
                self._said[key] = _Limit(record.node, self._of(view, key), until, ahead_s)
        elif isinstance(record, SubtaskCancelled):
            for key in [key for key in view.held if key[:2] == (run, record.subtask)]:
                del view.held[key]

    def _taken_over(self, view: _View, now: float, run: str, ahead_s: float) -> None:
        for key in [key for key in view.held if key[0] == run]:
            del view.held[key]
        for key, written in self._written.items():
            if key[0] != run:
                continue
            waits = written.wait_s if written.state == "limited" else 0.0
            view.held[key] = _Held(
                written.node, written.lease_s, now + waits, state=written.state, since=now, sure=False
            )
            if waits:
                self._limit(view, key, written.node, now + waits)
        for key, limit in self._limits.get(run, {}).items():
            # Two clocks of which nobody has seen both, or that was set meanwhile, may tell it wrongly by as much as they are apart.
            until = limit.until - abs(ahead_s - limit.ahead_s)
            if until > now:
                view.limits.setdefault((limit.node, limit.capability), {})[key] = until
                self.seen["limits taken over"] += 1

    def _awarded(self, view: _View, now: float, run: str, record: Awarded) -> None:
        key = _key(run, record)
        if record.hedge:
            for other, held in view.held.items():
                if other[:2] == key[:2] and held.state != "working":
                    raise Broken(
                        f"{record.subtask}: hedged while its attempt {other[2]} waits ({held.state})"
                    )
        capability = self._of(view, key)
        early = view.until(record.node, capability) - now
        if early > _BLUR_S:
            raise Broken(
                f"{record.subtask}: awarded to a node that is at a limit of {capability} for {early:.1f} s more"
            )
        self.seen["awarded after a limit"] += (record.node, capability) in view.limits
        view.lift(record.node, capability)
        view.held[key] = _Held(record.node, record.lease_ms / 1000, now, since=now)

    def _of(self, view: _View, key: Key) -> str:
        place = key[:2]
        return view.capability.get(place) or self._capability.get(place, "")


def _key(run: str, item: Item) -> Key:
    return (run, item.subtask, item.attempt, item.epoch)  # type: ignore[attr-defined]


def _capabilities(run: str, record: PlanAdopted | PlanRevised) -> dict[tuple[str, str], str]:
    return {(run, entry.id): entry.capability for entry in record.subtasks}
