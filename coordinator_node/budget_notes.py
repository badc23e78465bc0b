"""What people are told of a run's budgets: once at 80 %, once when it stops, for each kind and account. A part of the engine's purse.

Rules. What was told is in the journal (`budget.noted`), so nobody is told twice, not by another process either. What attempts at work say that they have used so far counts
for the run's own warning. Of a day we know only our slices: who draws them says how much of it is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from protocol.messages import Usage
from protocol.records import BudgetNoted

from .budget import Kind, Ledger, Scope
from .budget_text import scope_text
from .desk import Desk

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["WARN", "Level", "Notes"]

WARN: Final = 0.8
Level = Literal["warn", "stop"]


class Notes:
    """Warnings and ends of budgets."""

    def __init__(self, engine: Engine, ledger: Ledger) -> None:
        self._engine = engine
        self._ledger = ledger

    def look(self, desk: Desk, scope: Scope, known: dict[tuple[str, str, int, int], Usage]) -> None:
        """Something changed in an account: tell what is worth telling. `known`: what attempts at work used so far."""
        account = self._ledger.accounts.get(scope)
        if account is None or desk.state.status == "closed" or scope[0] == "day":
            return
        for kind, limit in account.limit.items():
            used = account.spent[kind]
            if scope[0] == "run":
                used += sum(getattr(amounts, kind) for key, amounts in known.items() if key[0] == desk.run)
            if account.spent[kind] >= limit:
                self.tell(desk, scope, kind, "stop", account.spent[kind], limit)
            elif used >= WARN * limit:
                self.tell(desk, scope, kind, "warn", min(used, limit), limit)

    def stop(self, desk: Desk, scope: Scope, kind: Kind) -> None:
        """Something was not awarded for want of it."""
        account = self._ledger.account(scope)
        self.tell(desk, scope, kind, "stop", account.spent[kind], account.limit[kind])

    def tell(
        self, desk: Desk, scope: Scope, kind: Kind | Literal["wall_ms"], level: Level, used: int, limit: int
    ) -> None:
        """Write it down, if it was not before."""
        text = scope_text(scope, self._engine.market.name)[:200]
        if any(
            (note.kind, note.level, note.scope) == (kind, level, text) for note in desk.state.budget_notes
        ):
            return
        note = BudgetNoted(
            at_ms=self._engine.at_ms, kind=kind, level=level, used=used, limit=limit, scope=text
        )
        self._engine.emit(desk, note)
