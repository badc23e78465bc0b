"""What the engine's runs may spend: reserved at the award, settled at its ending, told when it runs out. A part of the engine.

Rules. An award is funded in all accounts of its attempt or it is not made; a bid whose price is unknown is never funded where money is bounded. What
cannot be funded because others at work hold it waits for them; what could not be funded even then fails (`E_BUDGET`). An attempt that nobody
heard the end of may still be spending: all that was set aside for it counts as spent. A budget of time ends the run's work when it is over (`E_DEADLINE`). Counterparts:
`budget` keeps the numbers, `budget_text` says them, `budget_days` has those of a day, which `budget_store` shares among coordinators.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Final

from protocol.messages import Bid, Usage
from protocol.records import (
    Accepted,
    AttemptFailed,
    ChildClosed,
    ChildOpened,
    PlanAdopted,
    PlanRevised,
    Record,
    Refused,
    Rejected,
    RunClosed,
    SubtaskCancelled,
    SubtaskFailed,
)

from .budget import (
    KINDS,
    NO_BOUND,
    Bounds,
    Kind,
    Ledger,
    Scope,
    Short,
    attempt_key,
    charge,
    child_key,
    limits_of,
    replay,
    scopes_of,
)
from .budget_days import DAY_S, Days
from .budget_needs import AT_AWARD, Needs
from .budget_notes import WARN, Level, Notes
from .budget_text import short_text, span_text
from .desk import Desk
from .orders import DayDrawn
from .scoring import Candidate
from .state import AttemptState, SubtaskState
from .timers import Timers
from .watch import Live

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Purse"]

_SHORTEST_MS: Final = 100
_AGAIN_S: Final = 2.0
_SWARMS: Final = 2
"""Parts of the name of a day's account of the whole swarm; those of a node or an agent have more."""
_ENDINGS: Final = (Accepted, AttemptFailed, Rejected, Refused, SubtaskCancelled)


class Purse:
    """The part of an engine that funds awards."""

    def __init__(self, engine: Engine, bounds: Bounds) -> None:
        self._engine = engine
        self.bounds = bounds
        self.ledger = Ledger()
        self._notes = Notes(engine, self.ledger)
        self._known: dict[tuple[str, str, int, int], Usage] = {}
        """What attempts at work said that they used so far."""
        self._parked: dict[str, dict[str, Short]] = {}
        """Run -> subtasks that wait until something is free again."""
        self._denied: dict[tuple[str, str], Short] = {}
        """Subtask -> what the last bid for it that could not be paid wanted."""
        self._timers: Timers[tuple[str, str]] = Timers()
        """(run, "warn" or "stop"): its time is over; ("day", "next"): another day begins; ("day", "again"): ask the board again."""
        self._days = Days(engine, self.ledger, bounds)
        self._needs = Needs(self.ledger, bounds)

    # --- runs ---

    def begin(self, desk: Desk) -> None:
        """A run begins, or goes on after a restart."""
        replay(self.ledger, desk.state)
        budget = desk.state.budget
        if budget is not None and budget.wall_ms is not None and desk.state.status == "open":
            began = desk.state.began_ms / 1000
            self._timers.set((desk.run, "warn"), began + WARN * budget.wall_ms / 1000)
            self._timers.set((desk.run, "stop"), began + budget.wall_ms / 1000)

    def forget(self, run: str) -> None:
        """A run is over, or somebody else's."""
        self.ledger.forget(run)
        self._parked.pop(run, None)
        if self._days.forget(run):
            self._wake_all()
        for key in [key for key in self._known if key[0] == run]:
            del self._known[key]
        for level in ("warn", "stop"):
            self._timers.cancel((run, level))

    def waiting(self, run: str) -> dict[str, str]:
        """Subtasks that are ready and not put up, and why."""
        name = self._engine.market.name
        return {
            subtask: f"waits until there is budget for it: {short_text(short, name)}"
            for subtask, short in self._parked.get(run, {}).items()
        }

    def waits_no_more(self, run: str, name: str) -> None:
        """A subtask is put up again for another reason (its run goes on after a pause or a halt): it must not be put up a second time when there is budget."""
        self._parked.get(run, {}).pop(name, None)

    def drop(self, run: str, name: str) -> None:
        """A subtask needs nothing any more."""
        self.waits_no_more(run, name)
        self._denied.pop((run, name), None)

    # --- before an award ---

    def holds_back(self, desk: Desk, name: str) -> bool:
        """Whether a subtask cannot be put up, since nothing is left for it: it waits, or has failed."""
        subtask = desk.state.subtasks[name]
        if self.left_ms(desk) == 0:
            self.late(desk, name)
            return True
        if not self._needs.bounded(desk, subtask):
            return False
        for kind in AT_AWARD:
            tight = self.ledger.tightest(self._shared_scopes(desk.run, name), kind)
            if tight is not None and tight[1].room(kind) == 0:
                self._unfunded(desk, name, [tight[1].short(tight[0], kind, 1)])
                return True
        return False

    def deadline_ms(self, desk: Desk, subtask: SubtaskState) -> int:
        """How long an attempt may take: no longer than the run has time."""
        left = self.left_ms(desk)
        deadline = subtask.skeleton.deadline_ms
        return deadline if left is None else max(_SHORTEST_MS, min(deadline, left))

    def gate(self, key: tuple[str, str], node: str, bid: Bid) -> tuple[str, str] | None:
        """Why this bid may not win, whatever ends meanwhile: (code, words)."""
        desk = self._engine.desks[key[0]]
        subtask = desk.state.subtasks[key[1]]
        if not self._needs.bounded(desk, subtask):
            return None
        if bid.unpriced and self.ledger.tightest(self._scopes(*key, node, bid.agent), "money") is not None:
            return "E_UNPRICED", "it cannot say what it costs, and money is bounded: unknown is not nothing"
        short = self._needs.of(desk, subtask, bid, self._scopes(*key, node, bid.agent))
        if not isinstance(short, Short) or not self._denies(short):
            return None
        before = self._denied.get(key)
        if before is None or not self._waits(before):
            self._denied[key] = short
        return "E_BUDGET", short_text(short, self._engine.market.name)

    def _denies(self, short: Short) -> bool:
        """Whether a bid is out of the question for want of something: others may be paid. What a whole day lacks, all wait for."""
        if short.scope[0] != "day":
            return not short.for_now
        return len(short.scope) > _SWARMS and (self._days.dry(short) or self._days.impossible(short))

    def _waits(self, short: Short) -> bool:
        """Whether there may be enough tomorrow."""
        return short.scope[0] == "day" and not self._days.impossible(short)

    def fund(
        self, desk: Desk, subtask: SubtaskState, ranked: list[Candidate], *, hedge: bool = False
    ) -> tuple[list[Candidate], Usage | None] | None:
        """Set aside what the best bid that can be paid needs; that bid first, and what it may use.

        None: none can be paid now. Then the subtask waits for what is at work, or has failed; a hedge is just not made.
        """
        if not self._needs.bounded(desk, subtask):
            return ranked, None
        name = subtask.skeleton.id
        shorts: list[Short] = []
        for candidate in ranked:
            scopes = self._scopes(desk.run, name, candidate.node, candidate.bid.agent)
            amounts = self._needs.of(desk, subtask, candidate.bid, scopes)
            if isinstance(amounts, Usage):
                key = (desk.run, name, len(subtask.attempts) + 1, desk.state.epoch)
                short = self.ledger.reserve(key, amounts, scopes)
                assert short is None, f"{name}: {short}"
                return [candidate, *(other for other in ranked if other is not candidate)], amounts
            shorts.append(amounts)
            if amounts.scope[0] == "day":
                self._ask(desk.run, amounts)  # for the next time: this once another may be paid
        if not hedge:
            self._unfunded(desk, name, shorts)
        return None

    def _shared_scopes(self, run: str, name: str) -> tuple[Scope, ...]:
        return ("run", run), ("subtask", run, name), *self._days.scopes()

    def _scopes(self, run: str, name: str, node: str, agent: str) -> tuple[Scope, ...]:
        scopes = scopes_of(run, name, node, agent)
        if self.bounds.node is not None:
            self.ledger.limit(scopes[2], limits_of(self.bounds.node))
        if self.bounds.agent is not None:
            self.ledger.limit(scopes[3], limits_of(self.bounds.agent))
        return *scopes, *self._days.scopes(node, agent)

    # --- the budgets of a day, of which we have slices ---

    def _draw(self, desk: Desk, name: str, short: Short) -> None:
        """Our slice of a day is too small: a larger one, or wait for what is at work, or for tomorrow."""
        if self._days.impossible(short):
            whole = dataclasses.replace(short, limit=self._days.limits(short.scope)[short.kind])
            self._give_up(desk, name, short_text(whole, self._engine.market.name))
            return
        limit = self._days.limits(short.scope)[short.kind]
        # People are told of the whole day, of which our slices are a part.
        whole = dataclasses.replace(short, limit=limit, spent=limit - short.room, reserved=0)
        self._parked.setdefault(desk.run, {})[name] = whole
        self._timers.set(("day", "next"), (self._engine.now // DAY_S + 1) * DAY_S)
        if self._days.dry(short):
            self._notes.tell(desk, short.scope, short.kind, "stop", limit, limit)
        else:
            self._ask(desk.run, short)

    def _ask(self, run: str, short: Short) -> None:
        if ("day", "again") not in self._timers:
            self._days.ask(run, short)

    def drawn(self, event: DayDrawn) -> None:
        """The board answered."""
        scope, asking = self._days.drawn(event)
        if event.failed:
            self._timers.set(("day", "again"), self._engine.now + _AGAIN_S)
            return
        if asking is not None and asking.state.status != "closed":
            for kind, limit in self._days.limits(scope).items():
                if (used := event.total.get(kind, 0)) >= WARN * limit:
                    self._notes.tell(asking, scope, kind, "warn", min(used, limit), limit)
        self._wake_all(anew=2)

    def unused_day(self) -> list[tuple[str, dict[Kind, int]]]:
        """What was drawn of each account of a day and is neither spent nor set aside."""
        return self._days.unused()

    def sellers_changed(self) -> None:
        """Somebody may be there, or free again, who could do what waits for another node's next day."""
        self._wake_all(anew=3)

    def _wake_all(self, *, anew: int = 0) -> None:
        for run in list(self._parked):
            self.wake(run, anew=anew)

    # --- while it works ---

    def heard(self, desk: Desk, live: Live, used: Usage) -> None:
        """An attempt says what it used so far."""
        key = (*live.key, live.attempt, live.epoch)
        known = self._known.get(key)
        if used == known or not any(getattr(used, kind) for kind in KINDS):
            return
        self._known[key] = _most(used, known)
        if limits_of(desk.state.budget):
            self._notes.look(desk, ("run", desk.run), self._known)

    def said(self, live: Live, used: Usage) -> Usage:
        """What an ending is to be recorded with: what it says, and never less than was said before."""
        return _most(used, self._known.get((*live.key, live.attempt, live.epoch)))

    def lost(self, desk: Desk, live: Live) -> Usage:
        """The same for an attempt that nobody heard the end of: all that it might spend."""
        subtask = desk.state.subtasks[live.key[1]]
        attempt = next(
            one for one in subtask.attempts if (one.number, one.epoch) == (live.attempt, live.epoch)
        )
        known = self._known.get((*live.key, live.attempt, live.epoch), Usage())
        if attempt.reserved is None:
            return known
        reserved = {kind: getattr(attempt.reserved, kind) for kind in KINDS}
        return Usage(
            **{
                kind: amount if amount < NO_BOUND else getattr(known, kind)
                for kind, amount in reserved.items()
            }
        )

    # --- afterwards ---

    def observe(self, desk: Desk, record: Record) -> None:
        """Take a record into account that was just folded."""
        if isinstance(record, _ENDINGS):
            self._settle(desk, desk.state.subtasks[record.subtask])
        elif isinstance(record, (PlanAdopted, PlanRevised)):
            for skeleton in record.subtasks:
                self.ledger.limit(("subtask", desk.run, skeleton.id), limits_of(skeleton.budget))
        elif isinstance(record, ChildOpened):
            self.ledger.hold(child_key(desk.run, record.run), record.reserved, [("run", desk.run)])
        elif isinstance(record, ChildClosed):
            self.ledger.settle(child_key(desk.run, record.run), record.used)
            self.wake(desk.run)
            self._notes.look(desk, ("run", desk.run), self._known)
        elif isinstance(record, RunClosed):
            self.forget(desk.run)

    def _settle(self, desk: Desk, subtask: SubtaskState) -> None:
        for attempt in subtask.attempts:
            key = attempt_key(desk.run, subtask.skeleton.id, attempt)
            if attempt.status == "awarded" or not self.ledger.is_open(key):
                continue
            scopes = self.ledger.scopes(key)
            used = charge(attempt)
            charged = self.ledger.settle(key, used)
            self._known.pop((desk.run, subtask.skeleton.id, attempt.number, attempt.epoch), None)
            if charged != used:
                self._overspent(attempt)
            if any(scope[0] == "day" for scope in scopes):
                self._wake_all()
            else:
                self.wake(desk.run)
            for scope in scopes:
                self._notes.look(desk, scope, self._known)

    def _overspent(self, attempt: AttemptState) -> None:
        """A node claims more than its cap allowed: that is on record, counted, and not paid."""
        self._engine.refused["E_OVERSPENT"] += 1

    def wake(self, run: str, *, anew: int = 0) -> None:
        """Put up again as much of what waits as can be paid now, or will never be paid by waiting.

        `anew`: and what waits for a day (2), or for the day of one node or agent (3), since more may be there.
        """
        parked = self._parked.get(run, {})
        desk = self._engine.desks.get(run)
        taken: Counter[tuple[Scope, Kind]] = Counter()
        for name, short in list(parked.items()):
            account = self.ledger.account(short.scope)
            room = account.room(short.kind) - taken[short.scope, short.kind]
            hopeless = account.reserved[short.kind] == 0 and short.scope[0] != "day"
            again = bool(anew) and short.scope[0] == "day" and len(short.scope) >= anew
            if room < short.wanted and not hopeless and not again:
                continue
            taken[short.scope, short.kind] += short.wanted
            del parked[name]
            if desk is not None and name in desk.state.ready:
                self._engine.add(desk, name)

    def _unfunded(self, desk: Desk, name: str, shorts: list[Short]) -> None:
        """Nothing can be set aside for a subtask: it waits if that may change, or it is over."""
        waiting = [short for short in shorts if short.for_now and short.scope[0] != "day"]
        if waiting:
            self._parked.setdefault(desk.run, {})[name] = min(waiting, key=lambda short: short.wanted)
            return
        days = [one for one in shorts if self._waits(one)]
        short = min(days, key=self._days.dry) if days else shorts[0]
        if short.scope[0] == "day":
            self._draw(desk, name, short)
            return
        self._notes.stop(desk, short.scope, short.kind)
        self._give_up(desk, name, short_text(short, self._engine.market.name))

    def give_up(self, desk: Desk, name: str, why: str) -> None:
        """Nobody who would do a subtask can be paid."""
        short = self._denied.pop((desk.run, name), None)
        if short is not None and self._waits(short):
            self._draw(desk, name, short)
            return
        if short is not None and short.scope[0] != "day":
            self._notes.stop(desk, short.scope, short.kind)
        self._give_up(desk, name, why)

    def late(self, desk: Desk, name: str) -> None:
        """A subtask is open, and its run has no time left."""
        self._denied.pop((desk.run, name), None)
        self._give_up(desk, name, self._over(desk), "E_DEADLINE")

    def _give_up(self, desk: Desk, name: str, why: str, code: str = "E_BUDGET") -> None:
        failed = SubtaskFailed(at_ms=self._engine.at_ms, subtask=name, code=code, message=why[:2000])
        self._engine.emit(desk, failed)
        self._engine.ended(desk, name)

    # --- time ---

    def deadline(self) -> float | None:
        """When a run's time is nearly or wholly over next."""
        return self._timers.next()

    def tick(self, now: float) -> None:
        """Let time pass: warn, and stop the work of runs whose time is over."""
        for run, what in self._timers.due(now):
            if run == "day":
                self._wake_all(anew=2)
                continue
            level: Level = "stop" if what == "stop" else "warn"
            desk = self._engine.desks.get(run)
            if desk is None or desk.state.status != "open":
                continue
            assert desk.state.budget is not None
            limit = desk.state.budget.wall_ms or 0
            used = min(limit, max(0, self._engine.at_ms - desk.state.began_ms))
            self._notes.tell(desk, ("run", run), "wall_ms", level, used, limit)
            if level == "stop":
                self._engine.runs.time_is_over(desk, self._over(desk))

    def left_ms(self, desk: Desk) -> int | None:
        """How much time a run has left; None: as much as it needs."""
        budget = desk.state.budget
        if budget is None or budget.wall_ms is None:
            return None
        return max(0, desk.state.began_ms + budget.wall_ms - self._engine.at_ms)

    def _over(self, desk: Desk) -> str:
        budget = desk.state.budget
        assert budget is not None
        return f"the time of the run, {span_text(budget.wall_ms or 0)}, is over"


def _most(used: Usage, known: Usage | None) -> Usage:
    if known is None:
        return used
    return Usage(**{kind: max(getattr(used, kind), getattr(known, kind)) for kind in KINDS})
