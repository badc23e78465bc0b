"""Everything that one node decides about work: the core that sells.

    Agent.handle(event, now) -> Step(records, commands)          Agent.deadline() -> when to call it with Tick

Rules. It owns no clock, socket, task or randomness. Policy says whether, bidding says for how much, slots say how many at once; attempts say
how each award ends; fences say what is too old. The same event twice changes nothing the second time. Counterparts: `node` (the shell that
feeds and obeys it), `events` (its vocabulary). It runs unchanged in a simulated swarm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from protocol.messages import (
    AgentCard,
    Award,
    Cancel,
    Cancelled,
    Confirm,
    Failed,
    Refuse,
    Result,
)

from .attempt import Attempt, Phase, Why
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
    Ended,
    Event,
    Fenced,
    Forgot,
    InputsCached,
    LoadMeasured,
    LocalRecord,
    Say,
    Start,
    Step,
    Stop,
    StopAsked,
    Tick,
    Took,
    Withdrawn,
    WorkDone,
    WorkFailed,
    WorkProgress,
    WorkStopped,
)
from .history import History
from .outbox import Outbox, OutboxEntry, replay, restarted
from .policy import AgentSpec, Facts, Limits, consider
from .slots import Pool, Slots
from .timers import Timers

__all__ = ["Agent"]

_NOT_OUR_FAULT = frozenset({"E_DEADLINE", "E_SHUTDOWN"})


class Agent:
    """All of one node's agents behind one `handle`.

    Args:
        specs: the agents on offer; the first that fits a capability and quotes the earliest end gets the work.
        limits: what the node's owner allows.
        history: what was measured so far; it is updated in place.
        restored: the records that the node's file still held when it started, oldest first.
        now: Unix seconds; only used to date what `restored` leads to.
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
        self.slots = Slots(
            limits.slots, {spec.name: Pool(spec.slots, spec.queue, spec.shared) for spec in specs}
        )
        self.attempts: dict[AttemptKey, Attempt] = {}
        """Awards that are waiting, running or being stopped."""
        self.outbox = Outbox()
        self._live: dict[tuple[str, str], AttemptKey] = {}
        self._waiting: dict[str, deque[AttemptKey]] = {spec.name: deque() for spec in specs}
        self._timers: Timers[tuple[Any, ...]] = Timers()
        self._bids = BidBook(specs, limits, history, self.slots, self._timers)
        self._restored = Step()
        self._restore(restored, now)
        self._handlers: dict[type[Any], Callable[[Any, float, Step], None]] = {
            Announced: self._announced,
            Withdrawn: self._lost,
            BidsRejected: self._lost,
            Awarded: self._awarded,
            CancelAsked: self._cancel_asked,
            Acked: self._acked,
            WorkProgress: self._progress,
            WorkDone: self._ended,
            WorkFailed: self._ended,
            WorkStopped: self._ended,
            LoadMeasured: self._measured,
            InputsCached: self._inputs_cached,
            Connected: self._connected,
            DrainAsked: self._drain,
            StopAsked: self._stop_all,
            Tick: self._tick,
        }

    def handle(self, event: Event, now: float) -> Step:
        """Take in one event at Unix time `now`; what is due is done first."""
        step, self._restored = self._restored, Step()
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
    def idle(self) -> bool:
        """Whether nothing waits or runs (endings may still be unacknowledged)."""
        return not self.attempts

    def records(self) -> list[LocalRecord]:
        """What the node's file must hold now, in order: what a rewritten file consists of."""
        records: list[LocalRecord] = [Fenced(run, epoch) for run, epoch in self.fences.epochs()]
        records += [Ended(entry.key, entry.ending, entry.at) for entry in self.outbox.all()]
        records += [Took(key) for key in self.attempts]
        return records

    # --- bids ---

    def _announced(self, event: Announced, now: float, step: Step) -> None:
        for announce in event.items:
            answer = self._bids.answer(
                event.run, announce, data_class=event.data_class, draining=self.draining, now=now
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
        if self._say_again(key, now, step):
            return
        if (why := self.fences.refuses(key)) is not None:
            self._refuse(key, why[0], why[1], step)
            return
        had_bid = self._bids.win(run, award.subtask)
        if self.fences.pass_(key):
            step.records.append(Fenced(run, key.epoch))
        if (older := self._live.get((run, award.subtask))) is not None:
            self._stop(self.attempts[older], Why.SUPERSEDED, now, step)
        spec = self.specs.get(award.agent)
        size = sum(named.ref.size for named in award.inputs)
        room = spec is not None and (self.slots.fits(spec.name) if had_bid else self.slots.room(spec.name))
        facts = Facts(award.capability, data_class, size, len(award.inputs), self.draining, 0.0, room)
        refusal = consider(spec, self.limits, facts)
        if spec is None or refusal is not None:
            code, detail = refusal or ("E_CAPABILITY", "")
            self._refuse(key, code, detail, step)
            return
        promise = quote(award.capability, size, spec, self.limits, self.history, self._bids.market(spec))
        attempt = Attempt(
            key, award, spec.name, size, now, now + award.deadline_ms / 1000, quoted_s=promise.work_s
        )
        self.attempts[key] = attempt
        self._live[run, award.subtask] = key
        step.records.append(Took(key))
        self.slots.enqueue(spec.name)
        self._waiting[spec.name].append(key)
        if award.confirm:
            step.commands.append(Say(run, Confirm(subtask=key.subtask, attempt=key.attempt, epoch=key.epoch)))
        self._start_waiting(spec.name, now, step)
        if attempt.phase is Phase.QUEUED:
            self._timers.set(("attempt", key), min(attempt.give_back_at, attempt.deadline_at))

    def _refuse(self, key: AttemptKey, code: str, detail: str, step: Step) -> None:
        refuse = Refuse(
            subtask=key.subtask, attempt=key.attempt, epoch=key.epoch, code=code, detail=detail[:200]
        )
        step.commands.append(Say(key.run, refuse))

    def _say_again(self, key: AttemptKey, now: float, step: Step) -> bool:
        """Answer a repeated award by saying how things stand; whether it was one."""
        if (entry := self.outbox.get(key)) is not None:
            self._say_ending(entry, now, step)
            return True
        attempt = self.attempts.get(key)
        if attempt is None:
            return False
        if attempt.phase is Phase.QUEUED:
            step.commands.append(
                Say(key.run, Confirm(subtask=key.subtask, attempt=key.attempt, epoch=key.epoch))
            )
        else:
            step.commands.append(Say(key.run, attempt.started()))
        return True

    def _start_waiting(self, agent: str, now: float, step: Step) -> None:
        waiting = self._waiting[agent]
        while waiting and self.slots.startable(agent):
            attempt = self.attempts[waiting.popleft()]
            self.slots.start(agent)
            attempt.phase, attempt.load = Phase.RUNNING, self.load
            self._timers.set(("attempt", attempt.key), attempt.deadline_at)
            if not self.specs[agent].quick:
                step.commands.append(Say(attempt.key.run, attempt.started()))
            step.commands.append(Start(attempt.key, agent, attempt.award, attempt.deadline_at))

    def _start_any(self, first: str, now: float, step: Step) -> None:
        self._start_waiting(first, now, step)
        if self.specs[first].shared:
            for name, waiting in self._waiting.items():
                if waiting:
                    self._start_waiting(name, now, step)

    # --- how attempts end ---

    def _cancel_asked(self, event: CancelAsked, now: float, step: Step) -> None:
        for item in event.items:
            self._cancel(event.run, item, now, step)

    def _cancel(self, run: str, item: Cancel, now: float, step: Step) -> None:
        key = AttemptKey(run, item.subtask, item.attempt, item.epoch)
        if (entry := self.outbox.get(key)) is not None:
            self._say_ending(entry, now, step)
        elif (attempt := self.attempts.get(key)) is not None:
            self._stop(attempt, Why.CANCELLED, now, step)
        else:
            # Nothing of it runs here. Its award may still be on the way: fence it, so that it finds the door closed.
            self._bids.drop(run, item.subtask)
            if self.fences.pass_(key):
                step.records.append(Fenced(run, key.epoch))
            step.commands.append(
                Say(run, Cancelled(subtask=item.subtask, attempt=item.attempt, epoch=item.epoch))
            )

    def _stop(self, attempt: Attempt, why: Why, now: float, step: Step) -> None:
        if attempt.phase is Phase.QUEUED:
            attempt.why = why
            self._leave_queue(attempt)
            self._finish(attempt, None, now, step, ran=False)
        elif attempt.phase is Phase.RUNNING:
            attempt.phase, attempt.why = Phase.STOPPING, why
            self._timers.cancel(("attempt", attempt.key))
            step.commands.append(Stop(attempt.key))
        elif attempt.phase is Phase.STOPPING and why in (Why.CANCELLED, Why.SUPERSEDED):
            attempt.why = why

    def _leave_queue(self, attempt: Attempt) -> None:
        self._waiting[attempt.agent].remove(attempt.key)

    def _progress(self, event: WorkProgress, now: float, step: Step) -> None:
        attempt = self.attempts.get(event.key)
        if attempt is None:
            return
        attempt.moved(event)
        self._say_progress(attempt, now, step)

    def _say_progress(self, attempt: Attempt, now: float, step: Step) -> None:
        due = attempt.progress_due()
        if due is None:
            return
        if due <= now:
            step.commands.append(Say(attempt.key.run, attempt.progress(now)))
        else:
            self._timers.set(("progress", attempt.key), due)

    def _ended(self, event: WorkDone | WorkFailed | WorkStopped, now: float, step: Step) -> None:
        attempt = self.attempts.get(event.key)
        if attempt is None or attempt.phase is Phase.QUEUED:
            return
        if isinstance(event, WorkDone):
            self.history.done(
                attempt.award.capability,
                attempt.size,
                wall_s=event.wall_ms / 1000,
                cpu_s=event.cpu_ms / 1000,
                load=attempt.load,
                quoted_s=attempt.quoted_s,
            )
        self._finish(attempt, event, now, step, ran=True)

    def _finish(
        self,
        attempt: Attempt,
        event: WorkDone | WorkFailed | WorkStopped | None,
        now: float,
        step: Step,
        *,
        ran: bool,
    ) -> None:
        ending = attempt.end(event)
        entry = OutboxEntry(attempt.key, ending, now, attempt.award.capability)
        self._drop(attempt, ran=ran)
        self.outbox.add(entry)
        step.records.append(Ended(attempt.key, ending, now))
        self._say_ending(entry, now, step)
        self._start_any(attempt.agent, now, step)

    def _drop(self, attempt: Attempt, *, ran: bool) -> None:
        del self.attempts[attempt.key]
        place = (attempt.key.run, attempt.key.subtask)
        if self._live.get(place) == attempt.key:
            del self._live[place]
        self._timers.cancel(("attempt", attempt.key))
        self._timers.cancel(("progress", attempt.key))
        self.slots.release(attempt.agent, ran=ran)

    def _say_ending(self, entry: OutboxEntry, now: float, step: Step) -> None:
        self._timers.set(("resend", entry.key), entry.resend_at(now))
        step.commands.append(Say(entry.key.run, entry.ending))

    def _acked(self, event: Acked, now: float, step: Step) -> None:
        for item in event.items:
            key = AttemptKey(event.run, item.subtask, item.attempt, item.epoch)
            entry = self.outbox.take(key)
            if entry is None:
                continue
            self._timers.cancel(("resend", key))
            step.records.append(Forgot(key))
            if item.applied and entry.capability:
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

    def _inputs_cached(self, event: InputsCached, now: float, step: Step) -> None:
        for digest in event.gone:
            self._bids.cached.pop(digest, None)
        self._bids.cached.update(event.held)

    def _connected(self, event: Connected, now: float, step: Step) -> None:
        for entry in self.outbox.all():
            entry.resends = 0
            self._say_ending(entry, now, step)

    def _drain(self, event: DrainAsked, now: float, step: Step) -> None:
        self.draining = True
        self._bids.drop_all()
        for waiting in self._waiting.values():
            for key in list(waiting):
                self._give_back(self.attempts[key], "E_DRAINING", "this node is going down", step)

    def _stop_all(self, event: StopAsked, now: float, step: Step) -> None:
        self.draining = True
        for attempt in list(self.attempts.values()):
            self._stop(attempt, Why.SHUTDOWN, now, step)

    def _give_back(self, attempt: Attempt, code: str, detail: str, step: Step) -> None:
        self._leave_queue(attempt)
        self._drop(attempt, ran=False)
        step.records.append(Forgot(attempt.key))
        self._refuse(attempt.key, code, detail, step)

    def _tick(self, event: Tick, now: float, step: Step) -> None:
        for kind, *rest in self._timers.pop_due(now):
            if kind == "bid":
                self._bids.drop(rest[0], rest[1])
            elif kind == "resend":
                self._resend(rest[0], now, step)
            elif (attempt := self.attempts.get(rest[0])) is None:
                continue
            elif kind == "progress":
                self._say_progress(attempt, now, step)
            elif attempt.phase is Phase.QUEUED and now < attempt.deadline_at:
                self._give_back(attempt, "E_SLOTS", "no slot became free in time", step)
            else:
                self._stop(attempt, Why.DEADLINE, now, step)

    def _resend(self, key: AttemptKey, now: float, step: Step) -> None:
        entry = self.outbox.get(key)
        if entry is None:
            return
        if entry.expired(now):
            self.outbox.take(key)
            step.records.append(Forgot(key))
            return
        self._say_ending(entry, now, step)

    def _restore(self, records: Iterable[LocalRecord], now: float) -> None:
        """Rebuild the outbox from the node's file; what ran when the node went down is reported as failed at the first event."""
        past = replay(records)
        self.fences = past.fences
        for entry in past.entries:
            self.outbox.add(entry)
            self._say_ending(entry, now, self._restored)
        for key in past.interrupted:
            ended = Ended(key, restarted(key), now)
            entry = OutboxEntry(key, ended.item, now)
            self.outbox.add(entry)
            self._restored.records.append(ended)
            self._say_ending(entry, now, self._restored)
