"""How much is set aside for a bid: its price and estimates with a margin, or a part of what is left. Pure.

Rules. A price or an estimate must be there in full; half as much again is set aside if there is enough, and is the attempt's cap. Who says nothing of a kind that is
bounded gets what its subtask may have, else an equal part of what is left. An unknown price is more than anybody has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocol.messages import Bid, Usage

from .budget import KINDS, NO_BOUND, Account, Bounds, Kind, Ledger, Scope, Short, limits_of
from .desk import Desk
from .state import SubtaskState

__all__ = ["AT_AWARD", "Needs"]

AT_AWARD: Final[tuple[Kind, ...]] = ("money", "tokens", "steps", "bytes_out")
"""What an attempt can use up by itself; runs below a run are counted where they begin."""
_MARGIN: Final = 1.5
_FLOOR: Final = 10_000
"""Micro-credits; less is not worth to be told apart."""
_DOUBLED_MOST: Final = 10


class Needs:
    """What attempts need, and whether anything bounds it."""

    def __init__(self, ledger: Ledger, bounds: Bounds) -> None:
        self._ledger = ledger
        everywhere = (bounds.node, bounds.agent, bounds.day, bounds.node_day, bounds.agent_day)
        self._everywhere = any(limits_of(budget) for budget in everywhere)

    def of(self, desk: Desk, subtask: SubtaskState, bid: Bid, scopes: Sequence[Scope]) -> Usage | Short:
        """What to set aside for a bid in these accounts, or what there is too little of."""
        found: dict[str, int] = dict.fromkeys(KINDS, NO_BOUND)
        # What was not enough for an earlier try may be for one that gets twice as much.
        more = min(_DOUBLED_MOST, sum(attempt.code == "E_BUDGET" for attempt in subtask.attempts))
        for kind in AT_AWARD:
            tight = self._ledger.tightest(scopes, kind)
            if tight is None:
                continue
            scope, account = tight
            needed, wanted = self._wish(desk, subtask, kind, bid, account)
            if account.room(kind) < needed:
                return account.short(scope, kind, needed)
            found[kind] = min(wanted << more, account.room(kind))
        return Usage(**found)

    def _wish(
        self, desk: Desk, subtask: SubtaskState, kind: Kind, bid: Bid, account: Account
    ) -> tuple[int, int]:
        """How much of a kind a bid needs at least, and how much it is to get if there is enough."""
        if kind == "money":
            if bid.unpriced:
                return NO_BOUND, NO_BOUND
            return bid.price, max(_FLOOR, int(bid.price * _MARGIN))
        estimate: int = getattr(bid.estimate, kind)
        if estimate:
            # What was the most so far is not the most that there will be.
            return estimate, min(NO_BOUND - 1, int(estimate * _MARGIN))
        own = self._ledger.accounts.get(("subtask", desk.run, subtask.skeleton.id))
        if own is not None and kind in own.limit:
            return 1, own.room(kind)
        waiting = max(1, desk.state.unfinished - self._ledger.open_of(desk.run))
        return 1, max(1, account.room(kind) // waiting)

    def bounded(self, desk: Desk, subtask: SubtaskState) -> bool:
        """Whether anything bounds what an attempt may use; asked at each bid, so it makes nothing."""
        if self._everywhere or subtask.skeleton.budget is not None:
            return True
        budget = desk.state.budget
        return budget is not None and not (
            budget.money is None
            and budget.tokens is None
            and budget.steps is None
            and budget.bytes_out is None
        )
