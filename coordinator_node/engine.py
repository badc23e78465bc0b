"""Everything that one coordinator decides about all its runs: the core that buys.

    Engine.handle(event, now) -> Step(records, commands)          Engine.deadline() -> when to call it with Tick

Rules. It owns no clock, socket, task or randomness but a `random.Random`. Each change is a record, folded at once (`fold.apply`): memory may run ahead
of the journal, but no command leaves before its run's records are durable. A message counts only if it names the attempt that holds
(attempt, epoch, node); anything else is late: written down, acknowledged, never applied. Exactly one terminal record per subtask and per run.
Composes: `scheduler` (what is next), `auction` (who gets it), `watch` (does it move), `closing` (how it ends), `recovery` (after a crash).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from protocol.messages import Cancel, Reject, Withdraw
from protocol.records import (
    AttemptFailed,
    Awarded,
    CancelRequested,
    Record,
    RunClosed,
    RunOpened,
    SubtaskCancelled,
    SubtaskFailed,
    Unbid,
)

from .auction import Auction, Decision, Key, Round
from .closing import close, give_up, nobody
from .desk import Desk
from .fold import apply
from .history import History
from .market import Market
from .offers import FILES_MAX, Brief, announce, award, award_files
from .orders import (
    AnswersReceived,
    CancelAsked,
    Event,
    NodeLost,
    NodeSeen,
    ResultChecked,
    RunAccepted,
    RunDeposed,
    RunEnded,
    RunForgotten,
    RunRecovered,
    RunStands,
    Say,
    SayAll,
    Step,
    Tick,
    WorkReceived,
)
from .recovery import plan_records, standing, take_over
from .scheduler import Scheduler
from .scoring import Candidate
from .state import RunState, SubtaskState
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
    `confirm_s`: work that is estimated to take longer is to be confirmed at once.
    """

    grace_s: float = 3.0
    lost_grace_s: float = 60.0
    settle_s: float = 6.0
    confirm_s: float = 2.0


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
        self.auction = Auction(self.market, self.history, rng)
        self.scheduler = Scheduler(
            self.market,
            grace_s=self.settings.grace_s,
            lost_grace_s=self.settings.lost_grace_s,
            not_before=now + self.settings.settle_s,
        )
        self.desks: dict[str, Desk] = {}
        self._rng = rng
        self._closed: dict[str, None] = {}
        self._touched: dict[str, None] = {}
        self._step = Step()
        self._now = now
        self._work = Work(self)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            RunAccepted: self._run_accepted,
            RunRecovered: self._run_recovered,
            RunDeposed: self._run_deposed,
            RunForgotten: self._run_forgotten,
            CancelAsked: self._cancel_asked,
            AnswersReceived: self._answers_received,
            WorkReceived: self._work.received,
            ResultChecked: self._work.checked,
            NodeSeen: self._node_seen,
            NodeLost: self._node_lost,
            Tick: self._nothing,
        }

    def handle(self, event: Event, now: float) -> Step:
        """Take in one event at Unix time `now`; what is due is done first."""
        self._now = now
        self._tick()
        self._handlers[type(event)](event)
        for decision in self.auction.close():
            self._decide(decision)
        while True:
            self._settle()
            self._announce()
            if not self._touched:
                break
        step, self._step = self._step, Step()
        return step

    def deadline(self) -> float | None:
        """When to call `handle(Tick(), now)` if nothing else happens, in Unix seconds; None: never."""
        times = (self.auction.deadline(), self.watch.deadline(), self.scheduler.deadline())
        return min((time for time in times if time is not None), default=None)

    def state(self, run: str) -> RunState | None:
        """The state of a run that is in memory."""
        desk = self.desks.get(run)
        return desk.state if desk else None

    def is_closed(self, run: str) -> bool:
        """Whether the run is known to have ended."""
        desk = self.desks.get(run)
        return desk.state.status == "closed" if desk else run in self._closed

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

    def command(self, command: Any) -> None:
        """Put a command into the step."""
        self._step.commands.append(command)

    def end_live(self, live: Live) -> None:
        """An attempt has ended: its slot is free."""
        self.watch.drop(live.key)
        self.market.fly(live.capability, -1)
        self.market.hold(live.node, -1)
        self.scheduler.freed()

    def ended(self, desk: Desk, name: str) -> None:
        """A subtask has its terminal record: go on with what waited for it."""
        self.scheduler.forget((desk.run, name))
        self._touched[desk.run] = None
        if desk.state.status != "open":
            return
        for waiting in desk.state.subtasks[name].dependents:
            if waiting in desk.state.ready:
                self._add(desk, waiting)

    def retry(self, desk: Desk, subtask: SubtaskState, *, pause: bool) -> None:
        """An attempt came to nothing: give the subtask up, or put it up again."""
        key = (desk.run, subtask.skeleton.id)
        failure = give_up(subtask, self.market.name, self.at_ms)
        if failure is not None:
            self.emit(desk, failure)
            self.ended(desk, key[1])
        elif pause:
            self.scheduler.back_off(key, subtask.skeleton.capability, self._now)
        else:
            self.scheduler.add(key, subtask.skeleton.capability, self._now)

    def cancelled(self, desk: Desk, name: str) -> None:
        """Nothing of a cancelled subtask runs any more, or nobody says so in time."""
        self.emit(desk, SubtaskCancelled(at_ms=self.at_ms, subtask=name))
        self.ended(desk, name)

    def award_to(
        self,
        desk: Desk,
        subtask: SubtaskState,
        number: int,
        ranked: list[Candidate],
        notes: list[Any],
        reason: str,
    ) -> None:
        """Write the award down and send it; the flight of the subtask goes on."""
        winner, runners = ranked[0], ranked[1:]
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
            deadline_ms=skeleton.deadline_ms,
            bids=notes,
            reason=reason[:200],
        )
        self.emit(desk, record)
        live = self._live(desk, subtask, runners)
        self.watch.add(live, self._now)
        self.market.hold(live.node, +1)
        confirm = bid.eta_ms > self.settings.confirm_s * 1000
        self.command(
            Say(desk.run, live.bus_key, award(desk.state, desk.content_known, subtask, confirm=confirm))
        )

    def say_award(self, live: Live) -> None:
        """Say an award that holds once more."""
        desk = self.desks[live.key[0]]
        subtask = desk.state.subtasks[live.key[1]]
        self.command(
            Say(desk.run, live.bus_key, award(desk.state, desk.content_known, subtask, confirm=True))
        )

    def say_cancel(self, live: Live) -> None:
        """Tell the holder of an attempt to stop."""
        desk = self.desks[live.key[0]]
        cancel = Cancel(
            subtask=live.key[1], attempt=live.attempt, epoch=live.epoch, reason=desk.state.cancel_reason
        )
        self.command(Say(desk.run, live.bus_key, cancel))

    def _live(self, desk: Desk, subtask: SubtaskState, runners: list[Candidate]) -> Live:
        attempt = subtask.attempts[-1]
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

    # --- runs ----------------------------------------------------------------------------------------------------------------------

    def _run_accepted(self, event: RunAccepted) -> None:
        if event.run in self.desks or event.run in self._closed:
            return
        opened = RunOpened(
            at_ms=self.at_ms,
            run=event.run,
            goal=event.goal,
            inputs=event.inputs,
            skipped=event.skipped,
            by=event.by,
            epoch=1,
            owner=self.node,
        )
        desk = self.desks[event.run] = Desk(apply(None, opened), Brief(event.plan))
        self._step.records.append((event.run, opened))
        for part in plan_records(event.plan, event.plan_ref, self.at_ms):
            self.emit(desk, part)
        self.command(RunStands(event.run))
        for name in desk.state.ready:
            self._add(desk, name)

    def _run_recovered(self, event: RunRecovered) -> None:
        state = event.state
        if state.run in self.desks or state.status == "closed":
            return
        desk = self.desks[state.run] = Desk(state, Brief(event.plan) if event.plan else None)
        for record in take_over(state, event.plan, self.node, self.at_ms):
            self.emit(desk, record)
        self.scheduler.patient(state.run)
        self._touched[state.run] = None
        if not state.planned or event.plan is None:
            return
        for subtask, _ in standing(state):
            live = self._live(desk, subtask, [])
            self.watch.add(live, self._now)
            self.market.fly(live.capability, +1)
            self.market.hold(live.node, +1)
            if state.status == "cancelling":
                self.watch.cancel(live, self._now)
                self.say_cancel(live)
            else:
                self.say_award(live)
        if state.status == "cancelling":
            self._cancel_open(desk)
        else:
            for name in state.ready:
                self._add(desk, name)

    def _run_deposed(self, event: RunDeposed) -> None:
        desk = self.desks.pop(event.run, None)
        if desk is None:
            return
        self._drop_rounds(desk)
        for live in self.watch.of_run(event.run):
            self.end_live(live)
        self.scheduler.forget_run(event.run)
        self._touched.pop(event.run, None)

    def _run_forgotten(self, event: RunForgotten) -> None:
        desk = self.desks.get(event.run)
        if desk is not None and desk.state.status != "closed":
            return
        self.desks.pop(event.run, None)
        self._closed[event.run] = None
        if len(self._closed) > _CLOSED_MAX:
            del self._closed[next(iter(self._closed))]

    def _cancel_asked(self, event: CancelAsked) -> None:
        desk = self.desks.get(event.run)
        if desk is None or desk.state.status != "open":
            return
        self.emit(desk, CancelRequested(at_ms=self.at_ms, by=event.by, reason=event.reason))
        for live in self.watch.of_run(event.run):
            self.watch.cancel(live, self._now)
            self.say_cancel(live)
        self._cancel_open(desk)

    def _cancel_open(self, desk: Desk) -> None:
        self._drop_rounds(desk, withdraw=True)
        for name, subtask in desk.state.subtasks.items():
            if subtask.status == "open":
                self.cancelled(desk, name)
        self._touched[desk.run] = None

    def _drop_rounds(self, desk: Desk, *, withdraw: bool = False) -> None:
        for name in desk.state.ready:
            one = self.auction.drop((desk.run, name))
            if one is None:
                continue
            self.market.fly(one.capability, -1)
            if withdraw:
                self._withdraw(one)

    def _withdraw(self, one: Round) -> None:
        item = Withdraw(subtask=one.key[1], round=one.number)
        if one.everybody:
            self.command(SayAll(one.key[0], one.capability, item))
        else:
            for seller in one.batch.asked.values():
                self.command(Say(one.key[0], seller.info.bus_key, item))

    def _settle(self) -> None:
        """Fail what depends on a failure, and close the runs in which nothing is left to do."""
        while self._touched:
            run = next(iter(self._touched))
            desk = self.desks[run]
            state = desk.state
            while state.status == "open" and state.doomed:
                name, cause = next(iter(state.doomed.items()))
                root = state.subtasks[cause]
                self.emit(
                    desk,
                    SubtaskFailed(
                        at_ms=self.at_ms,
                        subtask=name,
                        code=root.code or "E_NEED",
                        message=f"it needs {cause}, which failed: {root.message}"[:2000],
                        cause=cause,
                    ),
                )
                self.ended(desk, name)
            del self._touched[run]
            lost = desk.content is None or not state.planned
            if state.status != "closed" and (lost or state.unfinished == 0):
                self._close(desk)

    def _close(self, desk: Desk) -> None:
        if desk.content is None and desk.state.planned:
            record: RunClosed = desk.without_plan(self.at_ms)
            for failed in desk.abandoned(self.at_ms):
                self.emit(desk, failed)
        else:
            record = close(desk.state, desk.deliver, self.at_ms)
        self.emit(desk, record)
        self.scheduler.forget_run(desk.run)
        self.command(RunEnded(desk.run))

    # --- rounds --------------------------------------------------------------------------------------------------------------------

    def _add(self, desk: Desk, name: str) -> None:
        self.scheduler.add((desk.run, name), desk.state.subtasks[name].skeleton.capability, self._now)

    def _announce(self) -> None:
        for capability, keys in self.scheduler.pick(self._now):
            groups: dict[frozenset[str], list[Key]] = {}
            for key in keys:
                subtask = self.desks[key[0]].state.subtasks[key[1]]
                groups.setdefault(self._avoid(subtask, capability), []).append(key)
            for avoid, group in groups.items():
                self._open(capability, group, avoid)

    def _avoid(self, subtask: SubtaskState, capability: str) -> frozenset[str]:
        """Nodes that have failed it, as long as somebody else could do it."""
        if not subtask.attempts:
            return frozenset()
        failed = frozenset(subtask.failures())
        offering = self.market.offering(capability)
        declined = subtask.unbid_rounds > 0
        return frozenset() if declined or all(node in failed for node in offering) else failed

    def _open(self, capability: str, keys: list[Key], avoid: frozenset[str]) -> None:
        asked, everybody = self.market.ask(capability, avoid, self._rng)
        everybody = everybody and not avoid
        window_s = self.market.window_s(asked)
        batch = self.auction.batch(asked, self._now)
        waiting = self.auction.waited_for(batch)
        rounds = []
        for key in keys:
            desk = self.desks[key[0]]
            subtask = desk.state.subtasks[key[1]]
            if self._too_large(desk, subtask):
                continue
            number = desk.next_round()
            item = announce(desk.state, desk.content_known, subtask, number=number, window_s=window_s)
            rounds.append(
                Round(
                    key=key,
                    capability=capability,
                    number=number,
                    deadline_ms=item.deadline_ms,
                    input_bytes=item.input_bytes,
                    failed=subtask.failures(),
                    everybody=everybody,
                    batch=batch,
                    waiting=set(waiting),
                )
            )
            self.market.fly(capability, +1)
            if everybody:
                self.command(SayAll(key[0], capability, item))
            else:
                for seller in asked:
                    self.command(Say(key[0], seller.info.bus_key, item))
        self.auction.open(rounds, batch, window_s)

    def _too_large(self, desk: Desk, subtask: SubtaskState) -> bool:
        """Give up what could not even be said: an award that names more files than fit into a message."""
        count = award_files(desk.state, subtask, desk.content_known)
        if count <= FILES_MAX:
            return False
        name = subtask.skeleton.id
        message = f"it would be given {count:,} files, and {FILES_MAX:,} is the most. Work on fewer at a time"
        self.emit(desk, SubtaskFailed(at_ms=self.at_ms, subtask=name, code="E_TOO_LARGE", message=message))
        self.ended(desk, name)
        return True

    def _answers_received(self, event: AnswersReceived) -> None:
        late = self.auction.answered(
            event.run, event.node, event.bus_key, event.items, event.digest, self._now
        )
        for bid in late:
            reject = Reject(subtask=bid.subtask, round=bid.round, reason="late")
            self.command(Say(event.run, event.bus_key, reject))

    def _decide(self, decision: Decision) -> None:
        one = decision.round
        run, name = one.key
        desk = self.desks[run]
        subtask = desk.state.subtasks[name]
        if decision.ranked:
            self.award_to(desk, subtask, one.number, decision.ranked, decision.notes, decision.reason)
            for loser in decision.ranked[1:]:
                reject = Reject(subtask=name, round=one.number, reason="outbid")
                self.command(Say(run, loser.bus_key, reject))
            return
        self.market.fly(one.capability, -1)
        if decision.crowded or one.busy:
            for candidate in one.bids.values():
                reject = Reject(subtask=name, round=one.number, reason="withdrawn")
                self.command(Say(run, candidate.bus_key, reject))
            self.scheduler.full(one.capability, self._now)
            self._add(desk, name)
        elif one.unanswered:
            self.scheduler.back_off(one.key, one.capability, self._now)
        else:
            notes = list(one.declines.values())[:64]
            self._unbid(
                desk,
                subtask,
                Unbid(at_ms=self.at_ms, subtask=name, round=one.number, asked=one.asked, declines=notes),
                last=subtask.unbid_rounds + 1 >= _UNBID_ROUNDS,
            )

    def _unbid(self, desk: Desk, subtask: SubtaskState, record: Unbid, *, last: bool) -> None:
        self.emit(desk, record)
        key = (desk.run, record.subtask)
        if last:
            self.emit(desk, nobody(subtask, self.market, self.at_ms))
            self.ended(desk, record.subtask)
        else:
            self.scheduler.back_off(key, subtask.skeleton.capability, self._now)

    # --- time and nodes ------------------------------------------------------------------------------------------------------------

    def _nothing(self, event: Tick) -> None:
        """What is due was done already."""

    def _tick(self) -> None:
        self.auction.tick(self._now)
        for capability, (run, name) in self.scheduler.tick(self._now):
            desk = self.desks[run]
            assert desk.state.subtasks[name].skeleton.capability == capability
            record = Unbid(at_ms=self.at_ms, subtask=name, round=desk.next_round(), asked=0)
            self._unbid(desk, desk.state.subtasks[name], record, last=True)
        for live, what in self.watch.due(self._now):
            self._overdue(live, what)

    def _overdue(self, live: Live, what: str) -> None:
        desk = self.desks[live.key[0]]
        if what == "resend":
            if live.cancelled_at is not None:
                self.say_cancel(live)
            else:
                self.say_award(live)
            self.watch.resent(live, self._now)
        elif what == "gone":
            self.end_live(live)
            self.cancelled(desk, live.key[1])
        elif what == "deadline":
            self.say_cancel(live)
            self.fail(
                desk,
                live,
                "E_DEADLINE",
                f"not done within {live.deadline_s:g} s, and the node does not say so",
            )
        else:
            self.say_cancel(live)
            said = "no sign of work" if live.taken else "the award was not taken"
            self.fail(desk, live, "E_LEASE", f"{said} for {live.lease_s:g} s")

    def fail(self, desk: Desk, live: Live, code: str, message: str) -> None:
        """An attempt is over without its node having said so."""
        name = live.key[1]
        self.end_live(live)
        if desk.state.status == "cancelling":
            self.cancelled(desk, name)
            return
        self.emit(
            desk,
            AttemptFailed(
                at_ms=self.at_ms,
                subtask=name,
                attempt=live.attempt,
                epoch=live.epoch,
                node=live.node,
                code=code,
                message=message,
            ),
        )
        self.retry(desk, desk.state.subtasks[name], pause=False)

    def _node_seen(self, event: NodeSeen) -> None:
        info = event.info
        known = self.market.sellers.get(info.node)
        before = known.info.slots if known else {}
        if self.market.seen(info):
            self.scheduler.sellers_changed({**before, **info.slots}, self._now)
        for live in self.watch.of_node(info.node):
            live.bus_key = info.bus_key
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
                self.fail(
                    self.desks[live.key[0]], live, "E_NODE_GONE", f"its node is gone: {event.reason}"[:2000]
                )
