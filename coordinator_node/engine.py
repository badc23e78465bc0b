"""Everything that one coordinator decides about all its runs: the core that buys.

    Engine.handle(event, now) -> Step(records, commands)          Engine.deadline() -> when to call it with Tick

Rules. It owns no clock, socket, task or randomness but a `random.Random`. Each change is a record, folded at once (`fold.apply`): memory may run ahead
of the journal, but no command leaves before its run's records are durable. A message counts only if it names the attempt that holds
(attempt, epoch, node); anything else is late: written down, acknowledged, never applied. Exactly one terminal record per subtask and per run.
Composes: `runs` (begin, end), `scheduler` and `rounds` (what is next, who gets it), `work` and `watch` (what is said of it, does it move).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from protocol.messages import Cancel, Usage
from protocol.records import (
    Awarded,
    BidNote,
    Record,
    SubtaskCancelled,
    SubtaskFailed,
    Unbid,
)

from .auction import Auction
from .budget import Bounds
from .budget_children import Children
from .budget_purse import Purse
from .closing import give_up
from .desk import Desk
from .fold import apply
from .hedging import Hedges
from .history import History
from .market import Market
from .offers import award
from .orders import (
    AnswersReceived,
    CancelAsked,
    ChildEnded,
    DayDrawn,
    Event,
    HaltChanged,
    NodeLost,
    NodeSeen,
    PauseAsked,
    PlanStored,
    ResultChecked,
    ResumeAsked,
    RunAccepted,
    RunDeposed,
    RunForgotten,
    RunRecovered,
    Say,
    Step,
    Tick,
    WorkReceived,
)
from .replanning import Revisions
from .rounds import Rounds
from .runs import Runs
from .scheduler import Scheduler
from .scoring import Candidate
from .state import AttemptState, RunState, SubtaskState
from .watch import Live, Watch, lease_ms
from .work import Work

__all__ = ["Engine", "Settings"]

_UNBID_ROUNDS = 3
"""Rounds in which everybody says no for good before a subtask is given up: somebody may join meanwhile."""
_CLOSED_MAX = 10_000
_MS_MAX = 10 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be tuned. Times in seconds.

    `grace_s`: how long work waits for a capability that nobody offers. `lost_grace_s`: the same where somebody did offer it before, or the run
    was taken up after a restart. `settle_s`: so long after its start a coordinator gives nothing up, because it has not heard everybody yet.
    `bounds`: what may be spent beside each run's own budget.
    `confirm_s`: work that is estimated to take longer is to be confirmed at once. `hedge`: whether another node does what is late, too;
    `hedge_after_s`: nothing that has taken less is late.
    """

    grace_s: float = 3.0
    lost_grace_s: float = 60.0
    settle_s: float = 6.0
    confirm_s: float = 2.0
    hedge: bool = True
    hedge_after_s: float = 30.0
    bounds: Bounds = field(default_factory=Bounds)


class Engine:
    """All runs of one coordinator.

    Args:
        node: our node id, hex: the owner in `run.opened` and `run.owned`.
        rng: source of all chance (exploration, sampling, swaps).
        settings: see `Settings`.
        history: what earlier runs taught; learnt further in place.
        now: Unix seconds at which listening began.
    """

    def __init__(
        self,
        node: str,
        rng: random.Random,
        settings: Settings | None = None,
        *,
        history: History | None = None,
        now: float = 0.0,
    ) -> None:
        self.node = node
        self.settings = settings or Settings()
        self.history = history or History()
        self.market = Market()
        self.watch = Watch()
        self.purse = Purse(self, self.settings.bounds)
        self.auction = Auction(self.market, self.history, rng, self.purse.gate)
        self.scheduler = Scheduler(
            self.market,
            grace_s=self.settings.grace_s,
            lost_grace_s=self.settings.lost_grace_s,
            not_before=now + self.settings.settle_s,
        )
        self.halts: set[str] = set()
        """Why nothing is announced or awarded at the moment: by order ("halt"), or for want of room in the journal ("space")."""
        self.desks: dict[str, Desk] = {}
        self.refused: Counter[str] = Counter()
        """Claims that were signed and yet false, by code: `E_FENCE` names an attempt that was never awarded to its sender."""
        self.touched: dict[str, None] = {}
        self._step = Step()
        self._now = now
        self.runs = Runs(self)
        self.children = Children(self)
        self.rounds = Rounds(self, rng)
        self.revisions = Revisions(self)
        self.hedges = Hedges(self, on=self.settings.hedge, after_s=self.settings.hedge_after_s)
        self.work = Work(self)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            RunAccepted: self.runs.accepted,
            RunRecovered: self.runs.recovered,
            RunDeposed: self.runs.deposed,
            RunForgotten: self.runs.forgotten,
            ChildEnded: self.children.ended,
            DayDrawn: self.purse.drawn,
            CancelAsked: self.runs.cancel_asked,
            PauseAsked: self.runs.pause_asked,
            ResumeAsked: self.runs.resume_asked,
            AnswersReceived: self.rounds.answered,
            WorkReceived: self.work.received,
            ResultChecked: self.work.checked,
            PlanStored: self.revisions.stored,
            NodeSeen: self._node_seen,
            NodeLost: self._node_lost,
            HaltChanged: self.runs.halt_changed,
            Tick: self._nothing,
        }

    def handle(self, event: Event, now: float) -> Step:
        """Take in one event at Unix time `now`; what is due is done first, but for what a halt forbids."""
        self._now = now
        halts = isinstance(event, HaltChanged) and event.on
        if not halts:
            self._tick()
        self._handlers[type(event)](event)
        if halts:
            self._tick()
        for decision in self.auction.close():
            self.rounds.decide(decision)
        while True:
            self.runs.settle()
            self.rounds.announce()
            if not self.touched:
                break
        self.revisions.flush()
        step, self._step = self._step, Step()
        return step

    def deadline(self) -> float | None:
        """When to call `handle(Tick(), now)` if nothing else happens, in Unix seconds; None: never."""
        parts = (self.auction, self.watch, self.scheduler, self.purse, self.market, self.hedges)
        times = [part.deadline() for part in parts]
        return min((time for time in times if time is not None), default=None)

    def state(self, run: str) -> RunState | None:
        """The state of a run that is in memory."""
        desk = self.desks.get(run)
        return desk.state if desk else None

    def is_closed(self, run: str) -> bool:
        """Whether the run is known to have ended."""
        desk = self.desks.get(run)
        return desk.state.status == "closed" if desk else self.runs.has_ended(run)

    @property
    def halted(self) -> bool:
        """Whether nothing may be announced or awarded."""
        return bool(self.halts)

    @property
    def now(self) -> float:
        """The time of the event at hand, Unix seconds."""
        return self._now

    @property
    def at_ms(self) -> int:
        """The same in milliseconds, as records carry it."""
        return int(self._now * 1000)

    # --- what parts of the engine do to it -----------------------------------------------------------------------------------------

    def emit(self, desk: Desk, record: Record) -> None:
        """Fold a record and put it into the step."""
        apply(desk.state, record)
        self.history.observe(desk.state, record)
        self._step.records.append((desk.run, record))
        self.purse.observe(desk, record)

    def begin(self, run: str, record: Record) -> None:
        """Put a run's first record into the step; it was folded when the desk was made."""
        self._step.records.append((run, record))

    def touch(self, run: str) -> None:
        """Look at the end of the step whether the run has anything left to do."""
        self.touched[run] = None

    def add(self, desk: Desk, name: str, *, pause: bool = False) -> None:
        """A subtask waits for a seller, after a pause if it came back without success. While its run is paused, or the swarm halted, it just stays ready."""
        if self.halted or desk.state.paused or self.revisions.waits(desk.run, name):
            return
        self.purse.waits_no_more(desk.run, name)
        capability = desk.state.subtasks[name].skeleton.capability
        if pause:
            self.scheduler.back_off((desk.run, name), capability, self._now)
        else:
            self.scheduler.add((desk.run, name), capability, self._now)

    def command(self, command: Any) -> None:
        """Put a command into the step."""
        self._step.commands.append(command)

    def end_live(self, live: Live) -> None:
        """An attempt has ended: its slot is free."""
        self.watch.drop(live)
        self.hedges.ended(live)
        if not self.watch.of(live.key):
            self.runs.drop_round(live.key, withdraw=True)
        if live.state != "working":
            self.market.wait(live.capability, -1)
        self.market.fly(live.capability, -1)
        self.market.hold(live.node, -1)

    def unlimited(self, node: str, capability: str) -> None:
        """A node is no longer at a limit of use: it may be asked again."""
        if self.market.lift(node, capability):
            self.scheduler.freed()
            self.purse.sellers_changed()

    def ended(self, desk: Desk, name: str) -> None:
        """A subtask has its terminal record: go on with what waited for it."""
        self.scheduler.forget((desk.run, name))
        self.purse.drop(desk.run, name)
        self.touched[desk.run] = None
        if desk.state.status != "open":
            return
        for waiting in desk.state.subtasks[name].dependents:
            if waiting in desk.state.ready:
                self.add(desk, waiting)

    def retry(self, desk: Desk, subtask: SubtaskState, *, pause: bool) -> None:
        """An attempt came to nothing: give the subtask up, or put it up again, unless another attempt goes on."""
        if subtask.status == "awarded":
            return
        name = subtask.skeleton.id
        failed = subtask.failures()
        others = any(node not in failed for node in self.market.offering(subtask.skeleton.capability))
        failure = give_up(subtask, self.market.name, self.at_ms, others=others)
        if failure is None:
            self.add(desk, name, pause=pause)
        elif all(attempt.retryable for attempt in subtask.tried):
            self.give_up(desk, failure)
        else:
            self.emit(desk, failure)
            self.ended(desk, name)

    def give_up(self, desk: Desk, failure: SubtaskFailed) -> None:
        """A subtask cannot be done as planned: it fails, unless there may be another way."""
        if not self.revisions.wanted(desk, failure):
            self.emit(desk, failure)
            self.ended(desk, failure.subtask)

    def cancelled(self, desk: Desk, name: str, used: Usage | None = None) -> None:
        """Nothing of a cancelled subtask runs any more, or nobody says so in time."""
        self.emit(desk, SubtaskCancelled(at_ms=self.at_ms, subtask=name, used=used or Usage()))
        self.ended(desk, name)

    def award_to(
        self,
        desk: Desk,
        subtask: SubtaskState,
        number: int,
        ranked: list[Candidate],
        notes: list[BidNote],
        reason: str,
    ) -> Candidate | None:
        """Write the award down and send it to the best bid that can be paid; the flight of the subtask goes on.

        None: none can be paid now. Then the subtask waits, or has failed, and its flight is over.
        """
        held = subtask.held
        funded = self.purse.fund(desk, subtask, ranked, hedge=bool(held))
        if funded is None:
            self.market.fly(subtask.skeleton.capability, -1)
            return None
        if funded[0][0] is not ranked[0]:
            reason = "the best bid that the budget has room for"
        if held:
            reason = f"beside {self.market.name(held[0].node)}, which is late: {reason}"
        (winner, *runners), reserved = funded
        bid = winner.bid
        skeleton = subtask.skeleton
        record = Awarded(
            at_ms=self.at_ms,
            subtask=skeleton.id,
            attempt=len(subtask.attempts) + 1,
            epoch=desk.state.epoch,
            round=number,
            node=winner.node,
            bus_key=winner.bus_key,
            agent=bid.agent,
            lease_ms=min(_MS_MAX, lease_ms(bid.quiet_ms)),
            deadline_ms=self.purse.deadline_ms(desk, subtask),
            bids=notes,
            reason=reason[:200],
            reserved=reserved,
            hedge=bool(held),
        )
        self.emit(desk, record)
        attempt = subtask.attempts[-1]
        live = self.make_live(desk, subtask, attempt, runners)
        live.eta_s = bid.eta_ms / 1000
        self.watch.add(live, self._now)
        self.hedges.awarded(live)
        self.market.hold(live.node, +1)
        confirm = bid.eta_ms > self.settings.confirm_s * 1000
        self.command(
            Say(
                desk.run,
                live.bus_key,
                award(desk.state, desk.content_known, subtask, attempt, confirm=confirm),
            )
        )
        return winner

    def say_award(self, live: Live) -> None:
        """Say an award that holds once more."""
        desk = self.desks[live.key[0]]
        subtask = desk.state.subtasks[live.key[1]]
        attempt = subtask.attempts[live.attempt - 1]
        item = award(desk.state, desk.content_known, subtask, attempt, confirm=True)
        self.command(Say(desk.run, live.bus_key, item))

    def say_cancel(self, live: Live, reason: str = "") -> None:
        """Tell the holder of an attempt to stop."""
        desk = self.desks[live.key[0]]
        reason = reason or desk.state.cancel_reason or desk.state.subtasks[live.key[1]].cancel_reason
        cancel = Cancel(subtask=live.key[1], attempt=live.attempt, epoch=live.epoch, reason=reason)
        self.command(Say(desk.run, live.bus_key, cancel))

    def make_live(
        self, desk: Desk, subtask: SubtaskState, attempt: AttemptState, runners: list[Candidate]
    ) -> Live:
        """What is to be watched of an attempt that holds a subtask."""
        return Live(
            key=(desk.run, subtask.skeleton.id),
            attempt=attempt.number,
            epoch=attempt.epoch,
            round=attempt.round,
            node=attempt.node,
            bus_key=attempt.bus_key,
            capability=subtask.skeleton.capability,
            lease_s=attempt.lease_ms / 1000,
            deadline_s=attempt.deadline_ms / 1000,
            awarded_at=self._now,
            runners=runners,
        )

    # --- time and nodes ------------------------------------------------------------------------------------------------------------

    def _nothing(self, event: Tick) -> None:
        """What is due was done already."""

    def _tick(self) -> None:
        self.auction.tick(self._now)
        self.purse.tick(self._now)
        if self.market.tick(self._now):
            self.scheduler.freed()
            self.purse.sellers_changed()
        for capability, (run, name) in self.scheduler.tick(self._now):
            desk = self.desks[run]
            assert desk.state.subtasks[name].skeleton.capability == capability
            record = Unbid(at_ms=self.at_ms, subtask=name, round=desk.next_round(), asked=0)
            self.rounds.unbid(desk, desk.state.subtasks[name], record, last=True)
        self.hedges.tick(self._now)
        for live, what in self.watch.due(self._now):
            self.work.overdue(live, what)

    def _node_seen(self, event: NodeSeen) -> None:
        info = event.info
        known = self.market.sellers.get(info.node)
        before = known.info.slots if known else {}
        if self.market.seen(info):
            self.scheduler.sellers_changed({**before, **info.slots}, self._now)
            self.purse.sellers_changed()
        for live in self.watch.of_node(info.node):
            live.bus_key = info.bus_key
            self.watch.seen(live)
            if live.cancelled_at is not None:
                self.say_cancel(live)
            elif not live.checking:
                self.say_award(live)

    def _node_lost(self, event: NodeLost) -> None:
        seller = self.market.sellers.get(event.node)
        offered = dict(seller.info.slots) if seller else {}
        self.auction.lost(event.node)
        self.market.lost(event.node)
        self.scheduler.sellers_changed(offered, self._now)
        for live in self.watch.of_node(event.node):
            if not live.checking:
                self.work.fail(
                    self.desks[live.key[0]], live, "E_NODE_GONE", f"its node is gone: {event.reason}"[:2000]
                )
