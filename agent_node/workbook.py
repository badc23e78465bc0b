"""All awards of one node, from the moment it takes them to the acknowledgement of how they ended.

Rules. What waits starts in the order in which it was taken, as soon as its agent has a slot. An attempt that is stopped keeps its slot until
nothing of it runs. Its ending goes on record, is said, and is said again until somebody acknowledges it; one that waited for a slot too
long goes back to its owner before the lease runs out. Pure: what is to be recorded, said, started and stopped is put into the `Step` that it
is given. Timers: `("attempt", key)`, `("progress", key)`, `("resend", key)`. Counterparts: `agent` (decides what is taken), `attempt` (one of them).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

from protocol.messages import Confirm, Refuse

from .attempt import Attempt, Phase, Why
from .events import (
    AttemptKey,
    Ended,
    Forgot,
    LocalRecord,
    Say,
    Start,
    Step,
    Stop,
    Took,
    WorkDone,
    WorkFailed,
    WorkProgress,
    WorkStopped,
)
from .outbox import Outbox, OutboxEntry, Past, restarted
from .policy import AgentSpec
from .slots import Slots
from .timers import Timers

__all__ = ["WorkBook"]


class WorkBook:
    """The book of one node."""

    def __init__(self, specs: Mapping[str, AgentSpec], slots: Slots, timers: Timers[tuple[Any, ...]]) -> None:
        self.attempts: dict[AttemptKey, Attempt] = {}
        """Awards that wait, run, or are being stopped."""
        self.outbox = Outbox()
        """Endings that nobody has acknowledged yet."""
        self._specs = specs
        self._slots = slots
        self._timers = timers
        self._live: dict[tuple[str, str], AttemptKey] = {}
        self._waiting: dict[str, deque[AttemptKey]] = {name: deque() for name in specs}

    # --- taking and starting ---

    def live(self, run: str, subtask: str) -> Attempt | None:
        """The attempt at a subtask that is under way here."""
        key = self._live.get((run, subtask))
        return self.attempts[key] if key is not None else None

    def take(self, attempt: Attempt, now: float, step: Step) -> None:
        """The award is ours: on record first, started when there is a slot."""
        key, award = attempt.key, attempt.award
        self.attempts[key] = attempt
        self._live[key.run, key.subtask] = key
        step.records.append(Took(key))
        self._slots.enqueue(attempt.agent)
        self._waiting[attempt.agent].append(key)
        if award.confirm:
            step.commands.append(Say(key.run, _confirm(key)))
        self._start_waiting(attempt.agent, now, step)
        if attempt.phase is Phase.QUEUED:
            self._timers.set(("attempt", key), min(attempt.give_back_at, attempt.deadline_at))

    def say_again(self, key: AttemptKey, now: float, step: Step) -> bool:
        """Answer a repeated award by saying how things stand; False if it is not known here."""
        if (entry := self.outbox.get(key)) is not None:
            self._say_ending(entry, now, step)
            return True
        attempt = self.attempts.get(key)
        if attempt is None:
            return False
        queued = attempt.phase is Phase.QUEUED
        step.commands.append(Say(key.run, _confirm(key) if queued else attempt.started()))
        return True

    def _start_waiting(self, agent: str, now: float, step: Step) -> None:
        waiting = self._waiting[agent]
        while waiting and self._slots.startable(agent):
            attempt = self.attempts[waiting.popleft()]
            self._slots.start(agent)
            attempt.phase = Phase.RUNNING
            self._timers.set(("attempt", attempt.key), attempt.deadline_at)
            if not self._specs[agent].quick:
                step.commands.append(Say(attempt.key.run, attempt.started()))
            step.commands.append(Start(attempt.key, agent, attempt.award, attempt.deadline_at))

    def _start_next(self, agent: str, now: float, step: Step) -> None:
        """A slot became free: it may be any agent's turn if the slot was the node's."""
        self._start_waiting(agent, now, step)
        if self._specs[agent].shared:
            for name, waiting in self._waiting.items():
                if waiting:
                    self._start_waiting(name, now, step)

    # --- under way ---

    def progress(self, event: WorkProgress, now: float, step: Step) -> None:
        """The work has moved."""
        attempt = self.attempts.get(event.key)
        if attempt is not None:
            if attempt.moved(event, now) and attempt.phase is Phase.RUNNING:
                self._timers.set(("attempt", attempt.key), attempt.deadline_at)
            self._say_progress(attempt, now, step)

    def _say_progress(self, attempt: Attempt, now: float, step: Step) -> None:
        due = attempt.progress_due()
        if due is None:
            return
        if due <= now:
            step.commands.append(Say(attempt.key.run, attempt.progress(now)))
            due = attempt.progress_due()
        if due is not None:
            self._timers.set(("progress", attempt.key), due)

    def stop(self, attempt: Attempt, why: Why, now: float, step: Step) -> None:
        """Stop an attempt: at once if it has not begun, otherwise when its work says that nothing of it runs any more."""
        if attempt.phase is Phase.QUEUED:
            attempt.why = why
            self._waiting[attempt.agent].remove(attempt.key)
            self._finish(attempt, None, now, step, ran=False)
        elif attempt.phase is Phase.RUNNING:
            attempt.phase, attempt.why = Phase.STOPPING, why
            self._timers.cancel(("attempt", attempt.key))
            step.commands.append(Stop(attempt.key))
        elif why in (Why.CANCELLED, Why.SUPERSEDED):
            attempt.why = why

    def cancel(self, key: AttemptKey, now: float, step: Step) -> bool:
        """Stop an attempt for its owner, or say how it has ended; False if it is not known here."""
        if (entry := self.outbox.get(key)) is not None:
            self._say_ending(entry, now, step)
        elif (attempt := self.attempts.get(key)) is not None:
            self.stop(attempt, Why.CANCELLED, now, step)
        else:
            return False
        return True

    def give_back_waiting(self, code: str, detail: str, step: Step) -> None:
        """Return every award that has not begun."""
        for waiting in self._waiting.values():
            for key in list(waiting):
                self._give_back(self.attempts[key], code, detail, step)

    def _give_back(self, attempt: Attempt, code: str, detail: str, step: Step) -> None:
        key = attempt.key
        self._waiting[attempt.agent].remove(key)
        self._drop(attempt, ran=False)
        step.records.append(Forgot(key))
        refuse = Refuse(subtask=key.subtask, attempt=key.attempt, epoch=key.epoch, code=code, detail=detail)
        step.commands.append(Say(key.run, refuse))

    # --- ending ---

    def ended(self, event: WorkDone | WorkFailed | WorkStopped, now: float, step: Step) -> Attempt | None:
        """Work is over. Returns the attempt that it belonged to; None for a repeat."""
        attempt = self.attempts.get(event.key)
        if attempt is None or attempt.phase is Phase.QUEUED:
            return None
        self._finish(attempt, event, now, step, ran=True)
        return attempt

    def acknowledged(self, key: AttemptKey, step: Step) -> OutboxEntry | None:
        """An ending is in the journal of its run. Returns it; None for a repeat."""
        entry = self.outbox.take(key)
        if entry is not None:
            self._timers.cancel(("resend", key))
            step.records.append(Forgot(key))
        return entry

    def say_all_again(self, now: float, step: Step) -> None:
        """Say every ending that nobody has acknowledged."""
        for entry in self.outbox.all():
            entry.resends = 0
            self._say_ending(entry, now, step)

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
        self._drop(attempt, ran=ran)
        self._report(OutboxEntry(attempt.key, ending, now, attempt.award.capability), now, step)
        self._start_next(attempt.agent, now, step)

    def _report(self, entry: OutboxEntry, now: float, step: Step) -> None:
        self.outbox.add(entry)
        step.records.append(Ended(entry.key, entry.ending, entry.at))
        self._say_ending(entry, now, step)

    def _drop(self, attempt: Attempt, *, ran: bool) -> None:
        key = attempt.key
        del self.attempts[key]
        if self._live.get((key.run, key.subtask)) == key:
            del self._live[key.run, key.subtask]
        self._timers.cancel(("attempt", key))
        self._timers.cancel(("progress", key))
        self._slots.release(attempt.agent, ran=ran)

    def _say_ending(self, entry: OutboxEntry, now: float, step: Step) -> None:
        self._timers.set(("resend", entry.key), entry.resend_at(now))
        step.commands.append(Say(entry.key.run, entry.ending))

    # --- time, start, file ---

    def due(
        self, kind: Literal["attempt", "progress", "resend"], key: AttemptKey, now: float, step: Step
    ) -> None:
        """A timer of this book has come."""
        if kind == "resend":
            self._resend(key, now, step)
        elif (attempt := self.attempts.get(key)) is None:
            return
        elif kind == "progress":
            self._say_progress(attempt, now, step)
        elif attempt.phase is Phase.QUEUED and now < attempt.deadline_at:
            self._give_back(attempt, "E_SLOTS", "no slot became free in time", step)
        else:
            self.stop(attempt, Why.DEADLINE, now, step)

    def _resend(self, key: AttemptKey, now: float, step: Step) -> None:
        entry = self.outbox.get(key)
        if entry is not None and entry.expired(now):
            self.outbox.take(key)
            step.records.append(Forgot(key))
        elif entry is not None:
            self._say_ending(entry, now, step)

    def restore(self, past: Past, now: float, step: Step) -> None:
        """Take over what the node's file holds: endings are said again, what was under way is reported as failed."""
        for entry in past.entries:
            self.outbox.add(entry)
            self._say_ending(entry, now, step)
        for key in past.interrupted:
            self._report(OutboxEntry(key, restarted(key), now), now, step)

    def records(self) -> list[LocalRecord]:
        """What the node's file must hold of this book."""
        records: list[LocalRecord] = [Ended(entry.key, entry.ending, entry.at) for entry in self.outbox.all()]
        return records + [Took(key) for key in self.attempts]


def _confirm(key: AttemptKey) -> Confirm:
    return Confirm(subtask=key.subtask, attempt=key.attempt, epoch=key.epoch)
