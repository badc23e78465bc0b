"""What runs of a simulated world may spend, what the journal says that they spent, and what was spent in truth: never more than they may.

Rules. A run's budget is drawn from the seed by a chance of its own, so that histories without budgets stay what they were. A try spends at its beginning all that it will
ever spend, within its caps: what a dead or cut-off node spent is spent. One in four is a runaway, which spends all that it may. It is judged at every record.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Final

from protocol.messages import Budget, Usage
from protocol.records import (
    Accepted,
    AttemptFailed,
    Awarded,
    BudgetNoted,
    Record,
    Refused,
    Rejected,
    RunOpened,
    SubtaskCancelled,
    SubtaskFailed,
)

from .ledger import Broken
from .tally import Tally

__all__ = ["Spending", "draw_budgets"]

_KINDS: Final = ("money", "tokens")
_NO_BOUND: Final = 1 << 52
_RUNAWAY: Final = 0.25

Place = tuple[str, str, int, int]
"""run, subtask, attempt, epoch"""


def draw_budgets(seed: int, runs: Iterable[str], share: float) -> dict[str, Budget]:
    """Budgets for some of the runs: enough for all of it, for a part, or for nothing."""
    rng = random.Random(f"budgets {seed}")  # noqa: S311 - a simulation must be repeatable
    found: dict[str, Budget] = {}
    for run in runs:
        money = int(1_000_000 * rng.uniform(0.2, 8)) if rng.random() < share else None
        tokens = rng.randint(50, 5_000) if rng.random() < share * 0.75 else None
        wall_ms = rng.randint(20_000, 300_000) if rng.random() < share / 4 else None
        if (money, tokens, wall_ms) != (None, None, None):
            found[run] = Budget(money=money, tokens=tokens, wall_ms=wall_ms)
    return found


class Spending:
    """All runs of a world.

    Args:
        seed: of what tries spend.
        budgets: what runs may spend.
        tally: where overshoot is added up.
    """

    def __init__(self, seed: int, budgets: dict[str, Budget], tally: Tally) -> None:
        self._tally = tally
        self.budgets = budgets
        self.actual: Counter[tuple[str, str]] = Counter()
        """(run, kind) -> what was spent in truth."""
        self.charged: Counter[tuple[str, str]] = Counter()
        self.noted: Counter[str] = Counter()
        """Warnings and ends of budgets, and subtasks that failed for want of one."""
        self._rng = random.Random(f"spending {seed}")  # noqa: S311 - a simulation must be repeatable
        self._open: dict[Place, tuple[Usage, int]] = {}
        self._reserved: Counter[tuple[str, str]] = Counter()

    # --- in truth ---

    def begin(self, run: str, caps: Usage | None) -> Usage:
        """A try begins; what it spends, whatever becomes of it.

        Raises:
            Broken: the run has spent more than it may.
        """
        if caps is None:
            return Usage()
        runaway = self._rng.random() < _RUNAWAY
        found = {}
        for kind in _KINDS:
            most: int = getattr(caps, kind)
            if most < _NO_BOUND:
                # Who says no money is charged its price, so an honest counter says one at least.
                found[kind] = most if runaway else min(most, self._rng.randint(1, max(1, most)))
                self.actual[run, kind] += found[kind]
        self._judge(run, "spent in truth", self.actual)
        return Usage(**found)

    # --- on record ---

    def durable(self, run: str, record: Record) -> None:
        """A record is in the journal.

        Raises:
            Broken: more is spent or set aside than the run may spend.
        """
        if isinstance(record, RunOpened):
            if record.budget != self.budgets.get(run):
                raise Broken(f"run {run} was given another budget than was asked for")
        elif isinstance(record, Awarded):
            self._reserve(run, record)
        elif isinstance(record, (Accepted, AttemptFailed, Rejected)):
            self._settle((run, record.subtask, record.attempt, record.epoch), record.used)
        elif isinstance(record, Refused):
            self._settle((run, record.subtask, record.attempt, record.epoch), None)
        elif isinstance(record, SubtaskCancelled):
            for place in [place for place in self._open if place[:2] == (run, record.subtask)]:
                self._settle(place, record.used)
        elif isinstance(record, BudgetNoted):
            self.noted[record.level] += 1
        elif isinstance(record, SubtaskFailed) and record.code == "E_BUDGET":
            self.noted[record.code] += 1

    def _reserve(self, run: str, record: Awarded) -> None:
        budget = self.budgets.get(run)
        bounded = [kind for kind in _KINDS if budget is not None and getattr(budget, kind) is not None]
        for kind in bounded:
            if record.reserved is None or getattr(record.reserved, kind) >= _NO_BOUND:
                raise Broken(f"{record.subtask} is awarded without a bound of {kind}, and its run has one")
            self._reserved[run, kind] += getattr(record.reserved, kind)
        if record.reserved is not None:
            price = next((bid.price for bid in record.bids if bid.node == record.node), 0)
            self._open[run, record.subtask, record.attempt, record.epoch] = record.reserved, price
        self._judge(run, "spent and set aside", self.charged + self._reserved)

    def _settle(self, place: Place, used: Usage | None) -> None:
        found = self._open.pop(place, None)
        if found is None:
            return
        reserved, price = found
        for kind in _KINDS:
            amount: int = getattr(reserved, kind)
            if amount >= _NO_BOUND:
                continue
            self._reserved[place[0], kind] -= amount
            if used is not None:
                said = getattr(used, kind) or (price if kind == "money" else 0)
                self.charged[place[0], kind] += min(amount, said)

    def _judge(self, run: str, what: str, amounts: Counter[tuple[str, str]]) -> None:
        budget = self.budgets.get(run)
        for kind in _KINDS:
            limit = None if budget is None else getattr(budget, kind)
            if limit is not None and amounts[run, kind] > limit:
                self._tally.overshoot += amounts[run, kind] - limit
                raise Broken(f"run {run}: {amounts[run, kind]} of {kind} {what}, and {limit} is the most")
