"""Everything that one node decides about work: the core that sells.

    Agent.handle(event, now) -> Step(records, commands)          Agent.deadline() -> when to call it with Tick

Rules. It owns no clock, socket, task or randomness. Policy says whether, bidding says for how much, slots say how many at once; the workbook
says how each award ends; fences say what is too old. The same event twice changes nothing the second time. Counterparts: `node` (the shell
that feeds and obeys it), `events` (its vocabulary). It runs unchanged in a simulated swarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from protocol.messages import AgentCard, Award, Cancel, Cancelled, Failed, Refuse, Result

from .attempt import Attempt, Why
from .bidbook import BidBook
from .bidding import quote
from .events import (
    Acked,
    Announced,
    AttemptKey,
    Awarded,
    BidsRejected,
    CancelAsked,
    Connected,
    DrainAsked,
    Event,
    Fenced,
    HaltAsked,
    HaltLifted,
    InputsCached,
    LoadMeasured,
    LocalRecord,
    RoomMeasured,
    Say,
    Step,
    StopAsked,
    Tick,
    Withdrawn,
    WorkDone,
    WorkFailed,
    WorkProgress,
    WorkStopped,
)
from .history import History
from .outbox import Outbox, OutboxEntry, replay
from .policy import DISK_FULL, AgentSpec, Facts, Limits, consider
from .slots import Pool, Slots
from .timers import Timers
from .workbook import WorkBook

__all__ = ["Agent"]

_NOT_OUR_FAULT: Final = frozenset({"E_DEADLINE", "E_SHUTDOWN", "E_HALTED", "E_DISK_FULL"})
"""Failures that say nothing about how well this node does the work."""


class Agent:
    """All of one node's agents behind one `handle`.

    Args:
        specs: the agents on offer; of those that have a capability, the one that quotes the earliest end bids.
        limits: what the node's owner allows.
        history: what was measured so far; it is updated in place.
        restored: the records that the node's file held when it started, oldest first.
        now: Unix seconds; dates what `restored` leads to.
    """

    def __init__(
        self,
        specs: Sequence[AgentSpec],
        limits: Limits,
        history: History,
        *,
        restored: Iterable[LocalRecord] = (),
        now: float = 0.0,
    ) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.limits = limits
        self.history = history
        self.draining = False
        self.halted = False
        self.room = True
        """Whether the disk has room for new work."""
        pools = {spec.name: Pool(spec.slots, spec.queue, spec.shared) for spec in specs}
        self.slots = Slots(limits.slots, pools)
        self._timers: Timers[tuple[Any, ...]] = Timers()
        self._bids = BidBook(specs, limits, history, self.slots, self._timers)
        self._work = WorkBook(self.specs, self.slots, self._timers)
        past = replay(restored)
        self.fences = past.fences
        self._first = Step()
        """What the restored records lead to: part of the first step."""
        self._work.restore(past, now, self._first)
        self._handlers: dict[type[Any], Callable[[Any, float, Step], None]] = {
            Announced: self._announced,
            Withdrawn: self._lost,
            BidsRejected: self._lost,
            Awarded: self._awarded,
            CancelAsked: self._cancel_asked,
            Acked: self._acked,
            WorkProgress: self._work.progress,
            WorkDone: self._ended,
            WorkFailed: self._ended,
            WorkStopped: self._ended,
            LoadMeasured: self._measured,
            RoomMeasured: self._room,
            InputsCached: self._inputs_cached,
            Connected: self._connected,
            DrainAsked: self._drain,
            StopAsked: self._stop_all,
            HaltAsked: self._halt,
            HaltLifted: self._lift,
            Tick: self._tick,
        }

    def handle(self, event: Event, now: float) -> Step:
        """Take in one event at Unix time `now`; what is due by then is done first."""
        step, self._first = self._first, Step()
        due = self._timers.next()
        if due is not None and due <= now:
            self._tick(Tick(), now, step)
        self._handlers[type(event)](event, now, step)
        return step

    def deadline(self) -> float | None:
        """When to call `handle(Tick(), now)` if nothing else happens, in Unix seconds; None: never."""
        return self._timers.next()

    # --- what others may see ---

    def cards(self) -> list[AgentCard]:
        """The agents on offer, as they are presented in `hello`."""
        return [self.specs[name].card() for name in sorted(self.specs)]

    @property
    def capabilities(self) -> list[str]:
        """All that can be asked of this node, sorted."""
        return sorted(self._bids.by_capability)

    @property
    def slots_total(self) -> int:
        """Slots in all."""
        return self.slots.offered

    @property
    def slots_used(self) -> int:
        """Slots in use."""
        return self.slots.used

    @property
    def load(self) -> float:
        """How busy the device was when it was last measured, 0 to 1."""
        return self._bids.load

    @property
    def attempts(self) -> dict[AttemptKey, Attempt]:
        """Awards that wait, run, or are being stopped."""
        return self._work.attempts

    @property
    def outbox(self) -> Outbox:
        """Endings that nobody has acknowledged yet."""
        return self._work.outbox

    @property
    def open_bids(self) -> int:
        """Bids that are not decided yet."""
        return len(self._bids)

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs (endings may still be unacknowledged)."""
        return not self._work.attempts

    def records(self) -> list[LocalRecord]:
        """What the node's file must hold now, in order: what a rewritten file consists of."""
        fences: list[LocalRecord] = [Fenced(run, epoch) for run, epoch in self.fences.epochs()]
        return fences + self._work.records()

    # --- bids ---

    def _announced(self, event: Announced, now: float, step: Step) -> None:
        for announce in event.items:
            answer = self._bids.answer(
                event.run,
                announce,
                data_class=event.data_class,
                draining=self.draining,
                halted=self.halted,
                cramped=not self.room,
                now=now,
            )
            if answer is not None:
                step.commands.append(Say(event.run, answer))

    def _lost(self, event: BidsRejected | Withdrawn, now: float, step: Step) -> None:
        for item in event.items:
            self._bids.lose(event.run, item.subtask, item.round)

    # --- awards ---

    def _awarded(self, event: Awarded, now: float, step: Step) -> None:
        for award in event.items:
            self._award(event.run, award, event.data_class, now, step)

    def _award(self, run: str, award: Award, data_class: int, now: float, step: Step) -> None:
        key = AttemptKey(run, award.subtask, award.attempt, award.epoch)
        if self._work.say_again(key, now, step):
            return
        if (too_old := self.fences.refuses(key)) is not None:
            _refuse(key, *too_old, step)
            return
        had_bid = self._bids.win(run, award.subtask)
        self._fence(key, step)
        if (older := self._work.live(run, award.subtask)) is not None:
            self._work.stop(older, Why.SUPERSEDED, now, step)
        spec = self.specs.get(award.agent)
        size = sum(named.ref.size for named in award.inputs)
        room = (
            spec is not None
            and (self.slots.fits(spec.name) if had_bid else self.slots.room(spec.name))
            and not self._bids.outlasts(spec, award.capability, size)
        )
        # The load was weighed when the bid was made; now the node is bound by it.
        facts = Facts(
            award.capability,
            data_class,
            size,
            len(award.inputs),
            self.draining,
            0.0,
            room,
            self.halted,
            not self.room,
        )
        refusal = consider(spec, self.limits, facts)
        if spec is None or refusal is not None:
            code, detail = refusal or ("E_CAPABILITY", f"no agent here is called {award.agent}")
            _refuse(key, code, detail, step)
            return
        promise = quote(award.capability, size, spec, self.limits, self.history, self._bids.market(spec))
        attempt = Attempt(
            key,
            award,
            spec.name,
            size,
            awarded_at=now,
            deadline_at=now + award.deadline_ms / 1000,
            quoted_s=promise.work_s,
            load=self.load,
        )
        self._work.take(attempt, now, step)

    def _fence(self, key: AttemptKey, step: Step) -> None:
        if self.fences.pass_(key):
            step.records.append(Fenced(key.run, key.epoch))

    def _cancel_asked(self, event: CancelAsked, now: float, step: Step) -> None:
        for item in event.items:
            self._cancel(event.run, item, now, step)

    def _cancel(self, run: str, item: Cancel, now: float, step: Step) -> None:
        key = AttemptKey(run, item.subtask, item.attempt, item.epoch)
        if self._work.cancel(key, now, step):
            return
        # Nothing of it runs here. Its award may still be on the way: fence it, so that it finds the door closed.
        self._bids.drop(run, item.subtask)
        self._fence(key, step)
        step.commands.append(
            Say(run, Cancelled(subtask=item.subtask, attempt=item.attempt, epoch=item.epoch))
        )

    # --- endings ---

    def _ended(self, event: WorkDone | WorkFailed | WorkStopped, now: float, step: Step) -> None:
        if isinstance(event, WorkFailed) and event.code == "E_DISK_FULL":
            # Until the disk is measured again: what waits here would fail in the same way.
            self._no_room(step)
        attempt = self._work.ended(event, now, step)
        if attempt is not None and attempt.ending is not None:
            used = attempt.ending.used
            if used.tokens or used.steps:
                self.history.spent(attempt.award.capability, tokens=used.tokens, steps=used.steps)
        if attempt is not None and isinstance(event, WorkDone):
            self.history.done(
                attempt.award.capability,
                attempt.size,
                wall_s=event.wall_ms / 1000,
                cpu_s=event.cpu_ms / 1000,
                load=attempt.load,
                quoted_s=attempt.quoted_s,
            )

    def _acked(self, event: Acked, now: float, step: Step) -> None:
        for item in event.items:
            key = AttemptKey(event.run, item.subtask, item.attempt, item.epoch)
            entry = self._work.acknowledged(key, step)
            if entry is not None and item.applied and entry.capability:
                self._learn(entry)

    def _learn(self, entry: OutboxEntry) -> None:
        ending = entry.ending
        if isinstance(ending, Result):
            self.history.verified(entry.capability)
        elif isinstance(ending, Failed) and ending.retryable and ending.code not in _NOT_OUR_FAULT:
            self.history.failed(entry.capability)

    # --- the world ---

    def _measured(self, event: LoadMeasured, now: float, step: Step) -> None:
        self._bids.load = min(1.0, max(0.0, event.load))

    def _room(self, event: RoomMeasured, now: float, step: Step) -> None:
        if event.room:
            self.room = True
        else:
            self._no_room(step)

    def _no_room(self, step: Step) -> None:
        self.room = False
        self._bids.drop_all()
        self._work.give_back_waiting("E_DISK_FULL", DISK_FULL, step)

    def _inputs_cached(self, event: InputsCached, now: float, step: Step) -> None:
        for digest in event.gone:
            self._bids.cached.pop(digest, None)
        self._bids.cached.update(event.held)

    def _connected(self, event: Connected, now: float, step: Step) -> None:
        self._work.say_all_again(now, step)

    def _drain(self, event: DrainAsked, now: float, step: Step) -> None:
        self.draining = True
        self._bids.drop_all()
        self._work.give_back_waiting("E_DRAINING", "this node is going down", step)

    def _stop_all(self, event: StopAsked, now: float, step: Step) -> None:
        self.draining = True
        for attempt in list(self.attempts.values()):
            self._work.stop(attempt, Why.SHUTDOWN, now, step)

    def _halt(self, event: HaltAsked, now: float, step: Step) -> None:
        self.halted = True
        self._bids.drop_all()
        self._work.give_back_waiting("E_HALTED", event.why[:200], step)
        for attempt in list(self.attempts.values()):
            self._work.stop(attempt, Why.HALTED, now, step)

    def _lift(self, event: HaltLifted, now: float, step: Step) -> None:
        self.halted = False

    def _tick(self, event: Tick, now: float, step: Step) -> None:
        for kind, *rest in self._timers.pop_due(now):
            if kind == "bid":
                self._bids.drop(rest[0], rest[1])
            else:
                self._work.due(kind, rest[0], now, step)


def _refuse(key: AttemptKey, code: str, detail: str, step: Step) -> None:
    refuse = Refuse(subtask=key.subtask, attempt=key.attempt, epoch=key.epoch, code=code, detail=detail[:200])
    step.commands.append(Say(key.run, refuse))
