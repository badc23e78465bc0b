"""When a piece cannot be done as planned, another way to the same end: who is asked, and what becomes of the answer. A part of the engine.

    given up -> RevisePlan (the shell asks the planner and stores the new plan) -> PlanStored -> plan.revised, or given up after all

Rules. A piece that nobody does, or whose tries are used up, is put back before it fails if its plan names other capabilities (`instead`) or its planner knows
another way. The whole new plan is stored before a record names it. One revision of a run is under way at a time, and takes all pieces that
wait for one. A run is revised 100 times at most, a piece 8 times; a piece becomes 100 at most, and a plan never more than a plan may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from protocol.plan import Plan, Subtask
from protocol.records import PlanRevised, SubtaskFailed

from .desk import Desk
from .offers import Brief
from .orders import PlanStored, RevisePlan
from .planner import Replan

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["PIECES_MAX", "Revised", "Revisions", "revise"]

PIECES_MAX: Final = 100
"""Subtasks that one becomes, its own new form among them."""
_RUN_MAX: Final = 100
_SUBTASK_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Revised:
    """A new plan, and the subtasks that it has another form for: each with what is new for its sake, its own new form first."""

    plan: Plan
    forms: dict[str, list[Subtask]] = field(default_factory=dict)


def revise(plan: Plan, wanted: Mapping[str, str], replan: Replan | None) -> Revised:
    """Another way for each of the subtasks (with why it was given up), as far as there is one.

    A planner that raises, or whose answer is no plan, has no other way.
    """
    found = Revised(plan)
    by_id = {subtask.id: subtask for subtask in plan.subtasks}
    for name, why in wanted.items():
        subtask = by_id[name]
        pieces = _instead(subtask)
        if pieces is None and replan is not None:
            try:
                pieces = replan(plan, subtask, why)
            except Exception:  # noqa: BLE001 - somebody else's code; without an answer the subtask is given up as it was
                pieces = None
        if pieces and len(pieces) <= PIECES_MAX and sum(piece.id == name for piece in pieces) == 1:
            found.forms[name] = sorted(pieces, key=lambda piece: piece.id != name)
    try:
        return Revised(_with(plan, found.forms), found.forms)
    except ValidationError:
        return _one_by_one(plan, found.forms)


def _one_by_one(plan: Plan, forms: dict[str, list[Subtask]]) -> Revised:
    """Together they make no plan: leave out those that do not fit."""
    fitting: dict[str, list[Subtask]] = {}
    for name, pieces in forms.items():
        try:
            plan = _with(plan, {name: pieces})
        except ValidationError:
            continue
        fitting[name] = pieces
    return Revised(plan, fitting)


def _instead(subtask: Subtask) -> list[Subtask] | None:
    if not subtask.instead:
        return None
    first, *rest = subtask.instead
    return [subtask.model_copy(update={"capability": first, "instead": rest})]


def _with(plan: Plan, forms: dict[str, list[Subtask]]) -> Plan:
    """The plan with these subtasks in their new form, and what is new behind them."""
    if not forms:
        return plan
    subtasks: list[Subtask] = []
    for subtask in plan.subtasks:
        subtasks += forms.get(subtask.id, [subtask])
    content = plan.model_dump(by_alias=True) | {"subtasks": [one.model_dump() for one in subtasks]}
    return Plan.model_validate(content)


@dataclass(slots=True)
class _Work:
    """What waits for another way in one run, with how it ends without: (failure by subtask)."""

    waiting: dict[str, SubtaskFailed] = field(default_factory=dict)
    asked: dict[str, SubtaskFailed] = field(default_factory=dict)


class Revisions:
    """The part of an engine that looks for other ways."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._runs: dict[str, _Work] = {}
        self._touched: dict[str, None] = {}

    def waits(self, run: str, name: str) -> bool:
        """Whether a subtask waits for its new form."""
        work = self._runs.get(run)
        return work is not None and (name in work.waiting or name in work.asked)

    def wanted(self, desk: Desk, failure: SubtaskFailed) -> bool:
        """A subtask is about to be given up; whether another way is looked for instead."""
        state, name = desk.state, failure.subtask
        subtask = state.subtasks[name]
        if desk.content is None or state.status != "open" or subtask.cancelling or not desk.content.has(name):
            return False
        if not (desk.content.of(name).instead or desk.replans):
            return False
        if state.revisions >= _RUN_MAX or subtask.revisions >= _SUBTASK_MAX:
            return False
        self._runs.setdefault(desk.run, _Work()).waiting[name] = failure
        self._touched[desk.run] = None
        return True

    def flush(self) -> None:
        """Ask for new plans, one at a time for each run."""
        while self._touched:
            run = next(iter(self._touched))
            del self._touched[run]
            work, desk = self._runs.get(run), self._engine.desks.get(run)
            if work is None or desk is None or work.asked or not work.waiting:
                continue
            work.asked, work.waiting = work.waiting, {}
            reasons = {
                name: f"{failure.code}: {failure.message}"[:200] for name, failure in work.asked.items()
            }
            self._engine.command(RevisePlan(run, desk.content_known.plan, reasons))

    def stored(self, event: PlanStored) -> None:
        """The planner has answered, and its plan is stored."""
        work, desk = self._runs.get(event.run), self._engine.desks.get(event.run)
        if work is None or desk is None or not work.asked:
            return
        asked, work.asked = work.asked, {}
        if event.plan is not None and event.ref is not None:
            desk.content = Brief(event.plan)
        for name, failure in asked.items():
            subtask = desk.state.subtasks[name]
            if desk.state.status != "open" or subtask.status != "open" or name in desk.state.doomed:
                continue
            pieces = event.forms.get(name)
            if pieces and event.ref is not None:
                self._revised(desk, event, name, failure)
            else:
                self._engine.emit(desk, failure)
                self._engine.ended(desk, name)
        if not work.waiting:
            del self._runs[event.run]
        self._touched[event.run] = None

    def _revised(self, desk: Desk, event: PlanStored, name: str, failure: SubtaskFailed) -> None:
        assert event.ref is not None
        record = PlanRevised(
            at_ms=self._engine.at_ms,
            plan=event.ref,
            subtask=name,
            subtasks=[piece.skeleton() for piece in event.forms[name]],
            reason=f"{failure.code}: {failure.message}"[:200],
        )
        self._engine.emit(desk, record)
        self._engine.scheduler.forget((desk.run, name))
        self._engine.touch(desk.run)
        for piece in record.subtasks:
            if piece.id in desk.state.ready:
                self._engine.add(desk, piece.id)

    def forget(self, run: str) -> None:
        """A run is over, or somebody else's."""
        self._runs.pop(run, None)
        self._touched.pop(run, None)
