"""Agents that never stop by themselves, through the real roles: what they spend in truth, and what the journal says, stay below the budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_node import Job, capability
from coordinator_node.budget import Ledger, replay
from protocol.messages import Budget
from tests.support.swarm_memory import Team

SPENT: list[int] = []
"""What was bought in truth, in micro-credits."""


@pytest.fixture(autouse=True)
def _nothing_spent() -> Iterator[None]:
    SPENT.clear()
    yield
    SPENT.clear()


@capability("burn.money", mode="inline", slots=16)
def burn(job: Job) -> None:
    """Buy for ever."""
    while True:
        job.spend(money=10_000, tokens=7)
        SPENT.append(10_000)


@capability("buy.once", mode="inline", slots=64)
def buy(job: Job) -> str:
    """Buy one thing, as dear as it may be."""
    price = min(job.left("money") or 0, 400_000)
    job.spend(money=price)
    SPENT.append(price)
    return "bought"


def account(team: Team, run: str) -> Any:
    """A run's account, made anew from its folded state."""
    state = team.coordinator.engine.state(run)
    assert state is not None
    ledger = Ledger()
    replay(ledger, state)
    return ledger.account(("run", run))


def steps(count: int, name: str) -> list[dict[str, Any]]:
    return [{"id": f"s{number}", "capability": name} for number in range(count)]


@pytest.mark.requirement("BUD-4")
async def test_100_runaways_spend_no_more_than_the_run_has(tmp_path: Path) -> None:
    limit = 1_000_000
    async with Team(tmp_path) as team:
        await team.coordinate()
        for name in ("ann", "bob", "cyd", "dan"):
            await team.work(name, functions=[burn], slots=16)
        run = await team.submit(*steps(100, "burn.money"), budget=Budget(money=limit, tokens=1_000_000))
        closed = await team.event("run.closed")
        assert closed.data["code"] == "E_BUDGET"
        found = account(team, run)
        assert sum(SPENT) == found.spent["money"]
        assert limit // 2 < found.spent["money"] <= limit
        assert found.spent["tokens"] <= 1_000_000
        assert found.reserved == dict.fromkeys(found.reserved, 0)
        state = team.coordinator.engine.state(run)
        assert state is not None
        assert {subtask.code for subtask in state.subtasks.values()} == {"E_BUDGET"}
        for subtask in state.subtasks.values():
            for attempt in subtask.attempts:
                assert attempt.reserved is not None
                assert attempt.used.money <= attempt.reserved.money


@pytest.mark.requirement("BUD-4")
async def test_64_that_race_for_one_budget_of_a_few_are_paid_in_part(tmp_path: Path) -> None:
    limit = 300_000
    async with Team(tmp_path) as team:
        await team.coordinate()
        for number in range(8):
            await team.work(f"n{number}", functions=[buy], slots=64, rate=0.01)
        run = await team.submit(*steps(64, "buy.once"), budget=Budget(money=limit))
        await team.event("run.closed")
        found = account(team, run)
        state = team.coordinator.engine.state(run)
        assert state is not None
        bought = [subtask for subtask in state.subtasks.values() if subtask.status == "accepted"]
        assert 0 < len(bought) < 64
        assert sum(SPENT) == found.spent["money"] <= limit
        assert state.code == "E_BUDGET"


@pytest.mark.requirement("BUD-6")
async def test_a_coordinator_that_dies_in_the_middle_does_not_let_runaways_spend_again(
    tmp_path: Path,
) -> None:
    limit = 200_000
    async with Team(tmp_path) as team:
        await team.coordinate()
        nodes = [await team.work(name, functions=[burn], slots=16, rate=0.01) for name in ("ann", "bob")]
        run = await team.submit(*steps(40, "burn.money"), budget=Budget(money=limit))
        await team.event("attempt.failed")
        await team.kill("desk")
        await team.coordinate()
        for node in nodes:
            team.introduce(node.endpoint, node)
        await team.event("run.closed")
        assert sum(SPENT) <= limit
        assert account(team, run).spent["money"] <= limit
