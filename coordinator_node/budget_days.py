"""What may be spent in a day: by all runs of the swarm, at one node, with one agent. A part of the engine's purse.

Rules. Of each such account a coordinator spends only what it has drawn from the board, in slices (`budget_store`), so that several share a limit without asking each other at
each award. A kind of which nothing is left to draw is dry: it waits for what is at work, or for tomorrow. A node whose day is dry is passed over while others can be paid.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from .budget import KINDS, Bounds, Kind, Ledger, Scope, Short, limits_of
from .desk import Desk
from .orders import DayDrawn, DrawDay

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["DAY_S", "Days"]

DAY_S: Final = 86_400


def _name(scope: Scope) -> str:
    """What the board calls an account: `DATE`, `DATE.NODE`, `DATE.NODE.AGENT`."""
    return ".".join(scope[1:])


def _scope(name: str) -> Scope:
    return ("day", *name.split(".", 2))


class Days:
    """The accounts of today, and of days whose work goes on."""

    def __init__(self, engine: Engine, ledger: Ledger, bounds: Bounds) -> None:
        self._engine = engine
        self._ledger = ledger
        self._limits = [limits_of(one) for one in (bounds.day, bounds.node_day, bounds.agent_day)]
        self._today = ""
        self._drawing: dict[Scope, str] = {}
        """Account -> the run for whose sake a slice of it was asked for."""
        self._dry: dict[Scope, set[Kind]] = {}
        """Account -> kinds of which nothing is left for anybody."""

    def scopes(self, node: str = "", agent: str = "") -> tuple[Scope, ...]:
        """The accounts of today that are bounded: the swarm's, and those of a node and an agent if they are named."""
        if not any(self._limits):
            return ()
        today = datetime.fromtimestamp(self._engine.now, UTC).date().isoformat()
        if today != self._today:
            self._begin(today)
        named: list[Scope] = [("day", today)]
        if node:
            named += [("day", today, node), ("day", today, node, agent)]
        found = tuple(scope for scope, limits in zip(named, self._limits, strict=False) if limits)
        for scope in found:
            if scope not in self._ledger.accounts:
                self._ledger.limit(scope, dict.fromkeys(self.limits(scope), 0))
        return found

    def _begin(self, today: str) -> None:
        """Another day: forget the accounts of earlier ones in which nothing is set aside."""
        self._today = today
        accounts = self._ledger.accounts
        for scope in [scope for scope in accounts if scope[0] == "day" and scope[1] < today]:
            if not any(accounts[scope].reserved.values()):
                del accounts[scope]
        self._dry = {scope: kinds for scope, kinds in self._dry.items() if scope in accounts}

    def limits(self, scope: Scope) -> dict[Kind, int]:
        """What all may spend of an account, and not just what we have drawn."""
        return self._limits[len(scope) - 2]

    def impossible(self, short: Short) -> bool:
        """Whether no day has that much."""
        return short.wanted > self.limits(short.scope)[short.kind]

    def dry(self, short: Short) -> bool:
        """Whether nothing is left to draw."""
        return short.kind in self._dry.get(short.scope, ())

    def ask(self, run: str, short: Short) -> None:
        """Have a slice drawn that is large enough, unless one is on its way."""
        if short.scope not in self._drawing and not self.dry(short) and not self.impossible(short):
            self._drawing[short.scope] = run
            self._engine.command(DrawDay(run, _name(short.scope), {short.kind: short.wanted}))

    def drawn(self, event: DayDrawn) -> tuple[Scope, Desk | None]:
        """The board answered: the account, and the run that asked, if it is there."""
        scope = _scope(event.day)
        asking = self._engine.desks.get(self._drawing.pop(scope, ""))
        if not event.failed:
            account = self._ledger.account(scope)
            for kind in KINDS:
                if kind not in event.granted:
                    continue
                if event.granted[kind] == 0:
                    self._dry.setdefault(scope, set()).add(kind)
                account.limit[kind] = account.limit.get(kind, 0) + event.granted[kind]
        return scope, asking

    def forget(self, run: str) -> bool:
        """A run is over: what it asked for may never come, so somebody else asks; whether it had asked for anything."""
        asked = [scope for scope, asking in self._drawing.items() if asking == run]
        for scope in asked:
            del self._drawing[scope]
        return bool(asked)

    def unused(self) -> list[tuple[str, dict[Kind, int]]]:
        """What was drawn of each account and is neither spent nor set aside."""
        return [
            (_name(scope), {kind: account.room(kind) for kind in account.limit})
            for scope, account in self._ledger.accounts.items()
            if scope[0] == "day"
        ]
