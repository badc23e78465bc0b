"""Runs that the work of a run begins: what they may spend is taken from the run above first, and what they did not spend comes back. A part of the engine.

    admit -> child.opened in the journal of the run above, with what is set aside -> only then run.opened of the child
    run.closed of the child in its journal -> only then child.closed in that of the run above

Rules. The owner of the run above takes the child and owns it, or the child is refused: there is never a second keeper of one budget. After a takeover
they may have two owners: then that of the run above reads in the child's journal what it used. A child bounds every kind
that is bounded above it, so that budgets hold at any depth. Between the two records of either pair a crash sets aside too much, never too little.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from protocol.errors import ZwermError
from protocol.messages import Budget, Usage
from protocol.records import ChildClosed, ChildOpened

from .budget import KINDS, NO_BOUND, Ledger, child_key, limits_of, replay, total
from .budget_text import amount_text, short_text
from .desk import Desk
from .orders import BeginChild, CancelAsked, ChildEnded, RunAccepted, TellParent
from .state import RunState

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["ChildRefused", "Children", "used_by"]


class ChildRefused(ZwermError):
    """A run may not be begun by the work of another one: says why."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(code, message, hint)


class Children:
    """The part of an engine that lets runs begin runs. It keeps nothing of its own: the records have it all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def admit(self, parent: str, child: str, asked: Budget | None, by: str) -> tuple[Budget, int]:
        """What a child may spend, and how deep it is; nothing is set aside yet.

        Raises:
            ChildRefused: it may not begin.
        """
        desk = self._engine.desks.get(parent)
        if desk is None or desk.state.status != "open":
            raise ChildRefused(
                "E_PARENT",
                f"run {parent[-6:]} does not go on here, so nothing can be begun below it",
                "Begin it while the run above it is at work; its owner takes it.",
            )
        if child in desk.state.children:
            depth = desk.state.depth + 1
            return self._budget(desk, asked), depth
        working = {live.node for live in self._engine.watch.of_run(parent)}
        if by not in working and by != desk.state.by:
            raise ChildRefused(
                "E_PARENT",
                f"this device does no work of run {parent[-6:]} and did not ask for it",
                "Only who works on a run, or asked for it, may begin runs below it.",
            )
        most = self._engine.purse.bounds.depth
        if desk.state.depth + 1 > most:
            raise ChildRefused(
                "E_DEPTH",
                f"runs may begin runs {most} deep, and run {parent[-6:]} is at {desk.state.depth}",
                "Do the work in the run itself, or raise `run_depth` in `[coordinator]`.",
            )
        budget = self._budget(desk, asked)
        short = self._engine.purse.ledger.short(_amounts(budget), [("run", parent)])
        if short is not None:
            raise ChildRefused(
                "E_BUDGET",
                short_text(short, self._engine.market.name),
                "Ask for less, or give the run above more: `zwerm run --budget money=5,children=10`.",
            )
        return budget, desk.state.depth + 1

    def _budget(self, desk: Desk, asked: Budget | None) -> Budget:
        """What the child asks for, with nothing left open that is bounded above it."""
        found = (asked or Budget()).model_dump()
        above = limits_of(desk.state.budget)
        for kind in KINDS:
            if kind in above and found[kind] is None and kind != "children":
                left = self._engine.purse.ledger.account(("run", desk.run)).room(kind)
                raise ChildRefused(
                    "E_BUDGET",
                    f"run {desk.run[-6:]} bounds {kind}, so a run below it must say how much of the {amount_text(kind, left)} left it needs",
                    f"Say it: `zwerm run --budget {'bytes' if kind == 'bytes_out' else kind}=...`.",
                )
        # Who does not say that it begins runs of its own begins none.
        found["children"] = found["children"] or 0
        left_ms = self._engine.purse.left_ms(desk)
        if left_ms is not None:
            found["wall_ms"] = min(left_ms, found["wall_ms"] or left_ms)
        return Budget(**found)

    def open(self, event: RunAccepted) -> bool:
        """Write down above that a child begins, then begin it; False when this run is none, or its turn has come."""
        if event.parent is None or event.funded:
            return False
        desk = self._engine.desks.get(event.parent)
        if desk is None or event.budget is None:
            return True
        funded = BeginChild(event.parent, dataclasses.replace(event, funded=True))
        if event.run not in desk.state.children:
            amounts = _amounts(event.budget)
            key = child_key(desk.run, event.run)
            if desk.state.status != "open" or self._engine.purse.ledger.reserve(
                key, amounts, [("run", desk.run)]
            ):
                return True
            record = ChildOpened(at_ms=self._engine.at_ms, run=event.run, by=event.by, reserved=amounts)
            self._engine.emit(desk, record)
        self._engine.command(funded)
        return True

    def closed(self, desk: Desk) -> None:
        """A run has ended: who is above it is told when that is in its journal."""
        if desk.state.parent is None:
            return
        self._engine.command(TellParent(desk.run, desk.state.parent, used_by(desk.state)))

    def elsewhere(self) -> list[tuple[str, str]]:
        """(run, run below it) that goes on as far as we know, and not here: another coordinator took one of the two over."""
        desks = self._engine.desks
        return [
            (run, child)
            for run, desk in desks.items()
            if desk.state.children and desk.state.status != "closed"
            for child, part in desk.state.children.items()
            if part.used is None and child not in desks
        ]

    def ended(self, event: ChildEnded) -> None:
        """A child has ended: settle what was set aside for it."""
        desk = self._engine.desks.get(event.run)
        if desk is None or desk.state.status == "closed":
            return
        child = desk.state.children.get(event.child)
        if child is not None and child.used is None:
            self._engine.emit(desk, ChildClosed(at_ms=self._engine.at_ms, run=event.child, used=event.used))

    def cancel(self, desk: Desk, by: str) -> None:
        """A run is cancelled, and with it what its work began."""
        for run, child in desk.state.children.items():
            if child.used is None and run in self._engine.desks:
                reason = f"the run above it, {desk.run[-6:]}, was cancelled"
                self._engine.runs.cancel_asked(CancelAsked(run, by, reason))


def used_by(state: RunState) -> Usage:
    """What a run that has ended used of what was set aside for it above."""
    ledger = Ledger()
    replay(ledger, state)
    spent = total(ledger, state.run)
    return spent.model_copy(update={"children": min(NO_BOUND, spent.children + 1)})


def _amounts(budget: Budget) -> Usage:
    """What a child takes from the run above: its whole budget, and itself and its own children as runs."""
    found = {kind: NO_BOUND if (amount := getattr(budget, kind)) is None else amount for kind in KINDS}
    return Usage(**{**found, "children": min(NO_BOUND, 1 + (budget.children or 0))})
