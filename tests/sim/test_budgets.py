"""Budgets in simulated worlds: crashes, lost messages, zombies and runaways, and never a micro-credit more than a run may spend."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from coordinator_node import budget
from coordinator_node.budget_purse import Purse
from mesh.sim import Broken, Faults, World
from protocol.messages import Usage

ALL = Faults(bounded=1.0)


@pytest.mark.requirement("BUD-1")
def test_no_run_spends_more_than_it_may_whatever_happens() -> None:
    noted: Counter[str] = Counter()
    for seed in range(25):
        world = World(seed, faults=ALL)
        world.play()
        noted += world.spending.noted
        assert world.tally.overshoot == 0
    # The budgets mattered: some were nearly used up, some wholly, and work failed for want of more.
    assert min(noted["warn"], noted["stop"], noted["E_BUDGET"]) > 5


def _caught(seeds: int = 40) -> str:
    for seed in range(seeds):
        try:
            World(seed, faults=ALL).play()
        except Broken as broken:
            return str(broken).partition("\n")[0]
    return ""


def test_forgetting_what_is_set_aside_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def room(self: budget.Account, kind: budget.Kind) -> int:
        limit = self.limit.get(kind)
        return budget.NO_BOUND if limit is None else max(0, limit - self.spent[kind])

    monkeypatch.setattr(budget.Account, "room", room)
    assert "spent and set aside" in _caught()


def test_a_restart_that_refills_a_budget_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(self: Purse, desk: Any) -> None:
        self.ledger.limit(("run", desk.run), budget.limits_of(desk.state.budget))

    monkeypatch.setattr(Purse, "begin", begin)
    assert "the most" in _caught()


def test_taking_a_lost_attempt_for_one_that_spent_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Purse, "lost", lambda self, desk, live: Usage(money=1))
    assert "spent in truth" in _caught(120)
