"""How runs begin, go on after a restart, are cancelled, and end: a part of the engine.

Rules. Everything that a run does is a record, and the last one is `run.closed`, exactly once, when nothing is left to do. What needs a failed subtask
fails with it, naming where the trouble began. A run is known to have ended long after it has left the memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.records import (
    CancelRequested,
    RunClosed,
    RunOpened,
    RunPaused,
    RunResumed,
    SubtaskCancelRequested,
)

from .auction import Key
from .closing import close, doomed
from .desk import Desk
from .fold import apply
from .offers import Brief
from .orders import (
    CancelAsked,
    HaltChanged,
    PauseAsked,
    ResumeAsked,
    RunAccepted,
    RunDeposed,
    RunEnded,
    RunForgotten,
    RunRecovered,
    RunStands,
)
from .recovery import limits, plan_records, standing, take_over
from .state import AttemptState
from .watch import Live

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Runs"]

_CLOSED_MAX = 10_000


class Runs:
    """The part of an engine that begins and ends runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ended: dict[str, None] = {}

    def has_ended(self, run: str) -> bool:
        """Whether a run that is not in memory is known to have ended."""
        return run in self._ended

    def accepted(self, event: RunAccepted) -> None:
        """A run begins."""
        if event.run in self._engine.desks or self._engine.is_closed(event.run):
            return
        if self._engine.children.open(event):
            return
        opened = RunOpened(
            at_ms=self._engine.at_ms,
            run=event.run,
            goal=event.goal,
            inputs=event.inputs,
            skipped=event.skipped,
            by=event.by,
            epoch=1,
            owner=self._engine.node,
            budget=event.budget,
            parent=event.parent,
            depth=event.depth,
        )
        desk = self._engine.desks[event.run] = Desk(
            apply(None, opened), Brief(event.plan), replans=event.replans
        )
        self._engine.begin(event.run, opened)
        self._engine.purse.begin(desk)
        for part in plan_records(event.plan, event.plan_ref, self._engine.at_ms):
            self._engine.emit(desk, part)
        self._engine.command(RunStands(event.run))
        for name in desk.state.ready:
            self._engine.add(desk, name)

    def recovered(self, event: RunRecovered) -> None:
        """An unfinished run goes on."""
        state = event.state
        if state.run in self._engine.desks or state.status == "closed":
            return
        desk = self._engine.desks[state.run] = Desk(
            state, Brief(event.plan) if event.plan else None, replans=event.replans
        )
        for record in take_over(state, event.plan, self._engine.node, self._engine.at_ms, event.apart_ms):
            self._engine.emit(desk, record)
        self._engine.purse.begin(desk)
        for node, capability, until in limits(state):
            if until > self._engine.now:
                self._engine.market.limit(node, capability, until)
        self._engine.scheduler.patient(state.run)
        self._engine.touch(state.run)
        if not state.planned or event.plan is None:
            return
        for subtask, attempt in standing(state):
            live = self._engine.make_live(desk, subtask, attempt, [])
            live.restored = True
            self._engine.watch.add(live, self._engine.now)
            self._engine.hedges.awarded(live)
            self._engine.market.fly(live.capability, +1)
            self._engine.market.hold(live.node, +1)
            self._restore(live, attempt)
            if state.status == "cancelling" or subtask.cancelling:
                self._engine.watch.cancel(live, self._engine.now)
                self._engine.say_cancel(live)
            else:
                self._engine.say_award(live)
        if state.status == "cancelling":
            self._cancel_open(desk)
        else:
            for name in list(state.ready):
                if state.subtasks[name].cancelling:
                    self._engine.cancelled(desk, name)
                elif state.subtasks[name].tried:
                    # It may have come to its end just before the process did.
                    self._engine.retry(desk, state.subtasks[name], pause=False)
                else:
                    self._engine.add(desk, name)

    def _restore(self, live: Live, attempt: AttemptState) -> None:
        """An attempt that was taken over and waits goes on waiting."""
        if attempt.state == "working":
            return
        engine = self._engine
        unseen = live.node not in engine.market.sellers or not engine.market.sellers[live.node].info.bus_key
        engine.watch.restore(live, attempt.state, attempt.wait_ms, engine.now, unseen=unseen)
        engine.market.wait(live.capability, +1)
        if attempt.state == "limited":
            engine.market.limit(live.node, live.capability, live.wait_until)

    def deposed(self, event: RunDeposed) -> None:
        """A run is somebody else's: drop it without a word."""
        desk = self._engine.desks.pop(event.run, None)
        if desk is None:
            return
        self._drop_rounds(desk)
        for live in self._engine.watch.of_run(event.run):
            self._engine.end_live(live)
        self._engine.scheduler.forget_run(event.run)
        self._engine.purse.forget(event.run)
        self._engine.hedges.forget(event.run)
        self._engine.revisions.forget(event.run)
        self._engine.touched.pop(event.run, None)

    def forgotten(self, event: RunForgotten) -> None:
        """An ended run leaves the memory; that it has ended is kept."""
        desk = self._engine.desks.get(event.run)
        if desk is not None and desk.state.status != "closed":
            return
        self._engine.desks.pop(event.run, None)
        self._ended[event.run] = None
        if len(self._ended) > _CLOSED_MAX:
            del self._ended[next(iter(self._ended))]

    def cancel_asked(self, event: CancelAsked) -> None:
        """Stop a run: what is open ends now, what is out when it has stopped."""
        desk = self._engine.desks.get(event.run)
        if desk is None:
            return
        if desk.state.status == "open":
            if event.subtask:
                self._cancel_one(desk, event)
            else:
                self._cancel_all(desk, event)
        self._engine.command(RunStands(event.run))

    def _cancel_all(self, desk: Desk, event: CancelAsked) -> None:
        self._engine.emit(desk, CancelRequested(at_ms=self._engine.at_ms, by=event.by, reason=event.reason))
        for live in self._engine.watch.of_run(event.run):
            self._engine.watch.cancel(live, self._engine.now)
            self._engine.say_cancel(live)
        self._cancel_open(desk)
        self._engine.children.cancel(desk, event.by)

    def _cancel_one(self, desk: Desk, event: CancelAsked) -> None:
        """Stop one subtask; the run goes on without it."""
        subtask = desk.state.subtasks.get(event.subtask)
        if subtask is None or subtask.terminal or subtask.cancelling:
            return
        request = SubtaskCancelRequested(
            at_ms=self._engine.at_ms, subtask=event.subtask, by=event.by, reason=event.reason
        )
        self._engine.emit(desk, request)
        key = (desk.run, event.subtask)
        self.drop_round(key, withdraw=True)
        for live in self._engine.watch.of(key):
            self._engine.watch.cancel(live, self._engine.now)
            self._engine.say_cancel(live)
        if subtask.status == "open":
            self._engine.cancelled(desk, event.subtask)

    def pause_asked(self, event: PauseAsked) -> None:
        """Award nothing more: what is at work goes on, and its results count."""
        desk = self._engine.desks.get(event.run)
        if desk is None:
            return
        if desk.state.status == "open" and not desk.state.paused:
            self._engine.emit(desk, RunPaused(at_ms=self._engine.at_ms, by=event.by, reason=event.reason))
            self._drop_rounds(desk, withdraw=True)
            for name in desk.state.ready:
                self._engine.scheduler.forget((desk.run, name))
        self._engine.command(RunStands(event.run))

    def resume_asked(self, event: ResumeAsked) -> None:
        """Go on: everything that is ready is put up again."""
        desk = self._engine.desks.get(event.run)
        if desk is None:
            return
        if desk.state.status == "open" and desk.state.paused:
            self._engine.emit(desk, RunResumed(at_ms=self._engine.at_ms, by=event.by))
            for name in desk.state.ready:
                self._engine.add(desk, name)
        self._engine.command(RunStands(event.run))

    def time_is_over(self, desk: Desk, why: str) -> None:
        """The run has no time left: stop what works on it; what is open fails when it is put up again."""
        self._drop_rounds(desk, withdraw=True)
        for live in self._engine.watch.of_run(desk.run):
            if not live.checking:
                self._engine.work.cut_off(desk, live, why)
        for name in list(desk.state.ready):
            self._engine.scheduler.forget((desk.run, name))
            self._engine.purse.late(desk, name)

    def halt_changed(self, event: HaltChanged) -> None:
        """Nothing is begun, or everything goes on: what waits for an agent is put up by nobody meanwhile."""
        before = self._engine.halted
        (self._engine.halts.add if event.on else self._engine.halts.discard)(event.why)
        halted = self._engine.halted
        if halted == before:
            return
        for desk in list(self._engine.desks.values()):
            if desk.state.status != "open" or desk.state.paused:
                continue
            if halted:
                self._drop_rounds(desk, withdraw=True)
            for name in list(desk.state.ready):
                if halted:
                    self._engine.scheduler.forget((desk.run, name))
                else:
                    self._engine.add(desk, name)

    def _cancel_open(self, desk: Desk) -> None:
        self._drop_rounds(desk, withdraw=True)
        for name, subtask in desk.state.subtasks.items():
            if subtask.status == "open":
                self._engine.cancelled(desk, name)
        self._engine.touch(desk.run)

    def _drop_rounds(self, desk: Desk, *, withdraw: bool = False) -> None:
        for key in self._engine.auction.of_run(desk.run):
            self.drop_round(key, withdraw=withdraw)

    def drop_round(self, key: Key, *, withdraw: bool) -> None:
        """Bids for a subtask are not needed any more, if any were asked for."""
        one = self._engine.auction.drop(key)
        if one is None:
            return
        self._engine.market.fly(one.capability, -1)
        if withdraw:
            self._engine.rounds.withdraw(one)

    def settle(self) -> None:
        """Fail what depends on a failure, and close the runs in which nothing is left to do."""
        while self._engine.touched:
            run = next(iter(self._engine.touched))
            desk = self._engine.desks[run]
            state = desk.state
            while state.status == "open" and state.doomed:
                name, cause = next(iter(state.doomed.items()))
                self._engine.emit(desk, doomed(name, state.subtasks[cause], self._engine.at_ms))
                self._engine.ended(desk, name)
            del self._engine.touched[run]
            lost = desk.content is None or not state.planned
            if state.status != "closed" and (lost or state.unfinished == 0):
                self._close(desk)

    def _close(self, desk: Desk) -> None:
        if desk.content is None and desk.state.planned:
            record: RunClosed = desk.without_plan(self._engine.at_ms)
            for failed in desk.abandoned(self._engine.at_ms):
                self._engine.emit(desk, failed)
        else:
            record = close(desk.state, desk.deliver, self._engine.at_ms)
        self._engine.emit(desk, record)
        self._engine.scheduler.forget_run(desk.run)
        self._engine.hedges.forget(desk.run)
        self._engine.revisions.forget(desk.run)
        self._engine.command(RunEnded(desk.run))
        self._engine.children.closed(desk)
