"""A day's budget of the swarm: never more than the day has, whoever draws when, and nothing refilled by a restart."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest

from coordinator_node import orders
from coordinator_node.budget import Bounds
from coordinator_node.budget_store import DayBudget
from mesh.errors import StoreUnavailable, WriteConflict
from mesh.workspace import Entry
from mesh.workspace_memory import MemoryStore
from protocol.messages import Award, Budget, Usage
from tests.support.builders import a_plan, a_result, a_subtask, node_id
from tests.support.playbook import Playbook
from tests.support.swarm_memory import Team

DAY = "1970-01-01"
"""The playbook's clock begins at 1,000 s."""


class Yielding:
    """A board that lets others in between any two steps."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._board = MemoryStore().workspace().board
        self._rng = rng
        self.conflicts = 0

    async def _pause(self) -> None:
        for _ in range(self._rng.randrange(4) if self._rng else 0):
            await asyncio.sleep(0)

    async def get(self, key: str) -> Entry | None:
        found = await self._board.get(key)
        await self._pause()
        return found

    async def create(self, key: str, value: bytes) -> int:
        return await self._board.create(key, value)

    async def put(self, key: str, value: bytes, expected: int) -> int:
        await self._pause()
        try:
            return await self._board.put(key, value, expected)
        except WriteConflict:
            self.conflicts += 1
            raise


async def drawn(board: Any, day: str = DAY) -> int:
    """Money that was drawn of a day in all."""
    entry = await board.get(f"budget.{day}")
    assert entry is not None
    return sum(one.get("money", 0) for one in json.loads(entry.value)["drawn"].values())


@pytest.mark.requirement("BUD-11")
@pytest.mark.parametrize("seed", range(5))
async def test_64_coordinators_that_draw_at_once_never_draw_more_than_the_day_has(seed: int) -> None:
    board = Yielding(random.Random(seed))
    limit = 1_000_000
    days = [DayBudget(board, node_id(f"c{number}"), {"money": limit}) for number in range(64)]
    answers = await asyncio.gather(*(day.draw(DAY, {"money": 30_000}) for day in days))
    granted = [one for one, _ in answers]
    total = sum(one["money"] for one in granted)
    assert total == await drawn(board) == limit
    assert sum(1 for one in granted if one["money"] >= 30_000) == limit // 30_000
    assert board.conflicts > 0


async def test_what_is_given_back_can_be_drawn_by_another() -> None:
    board = Yielding()
    ann, bob = (DayBudget(board, node_id(name), {"money": 100}) for name in ("ann", "bob"))
    assert await ann.draw(DAY, {"money": 90}) == ({"money": 90}, {"money": 90})
    assert await bob.draw(DAY, {"money": 20}) == ({"money": 10}, {"money": 100})
    await ann.give_back(DAY, {"money": 50})
    assert await bob.draw(DAY, {"money": 20}) == ({"money": 20}, {"money": 70})
    assert await drawn(board) == 70


def begin(count: int, money: int) -> Playbook:
    """A run of so many subtasks in a swarm that may spend so much a day."""
    desk = Playbook(bounds=Bounds(day=Budget(money=money)))
    desk.nodes("a", "b", slots=16)
    names = [f"s{number}" for number in range(count)]
    desk.submit(a_plan(*(a_subtask(name) for name in names), deliver=names))
    return desk


def draws(desk: Playbook) -> list[orders.DrawDay]:
    found = [command for command in desk.commands if isinstance(command, orders.DrawDay)]
    desk.commands = [command for command in desk.commands if not isinstance(command, orders.DrawDay)]
    return found


def bid_for_all(desk: Playbook) -> None:
    for name, subtask in list(desk.state.subtasks.items()):
        for who in ("a", "b"):
            if subtask.status == "open" and (desk.run, name) in desk.engine.auction:
                desk.bid(who, name)


def finish(desk: Playbook) -> int:
    """Every attempt at work ends and says that it used 140,000; how many there were."""
    count = 0
    for name, subtask in list(desk.state.subtasks.items()):
        if subtask.status == "awarded":
            attempt = subtask.attempts[-1]
            who = "a" if attempt.node == node_id("a") else "b"
            result = a_result(name, attempt.number).model_copy(update={"used": Usage(money=140_000)})
            desk.work(who, result)
            count += 1
    return count


@pytest.mark.requirement("BUD-11")
def test_a_run_draws_what_it_needs_of_the_day_and_goes_on_tomorrow_when_nothing_is_left() -> None:
    desk = begin(3, 320_000)
    assert desk.said(Award) == []
    [draw] = draws(desk)
    assert (draw.day, draw.wanted) == (DAY, {"money": 1})
    desk.handle(orders.DayDrawn(DAY, {"money": 5_000}))
    bid_for_all(desk)
    [draw] = draws(desk)
    assert draw.wanted == {"money": 100_000}
    assert "budget.noted" not in desk.kinds()
    desk.handle(orders.DayDrawn(DAY, {"money": 315_000}, total={"money": 320_000}))
    note = desk.last("budget.noted")
    assert (note.level, note.scope, note.used) == ("warn", f"day {DAY}", 320_000)
    bid_for_all(desk)
    bid_for_all(desk)
    assert finish(desk) == 2
    account = desk.engine.purse.ledger.account(("day", DAY))
    assert account.spent["money"] == 280_000
    desk.wait(1)
    bid_for_all(desk)
    [draw] = draws(desk)
    desk.handle(orders.DayDrawn(DAY, {"money": 0}))
    bid_for_all(desk)
    assert draws(desk) == []
    note = desk.last("budget.noted")
    assert (note.level, note.scope, note.limit) == ("stop", f"day {DAY}", 320_000)
    assert desk.state.status == "open"
    desk.wait(86_400)
    [draw] = draws(desk)
    assert draw.day == "1970-01-02"
    desk.handle(orders.DayDrawn(draw.day, {"money": 200_000}))
    bid_for_all(desk)
    assert finish(desk) == 1
    assert desk.state.outcome == "done"
    desk.check()


def test_what_costs_more_than_a_whole_day_has_is_not_waited_for() -> None:
    desk = begin(1, 50_000)
    draws(desk)
    desk.handle(orders.DayDrawn(DAY, {"money": 50_000}))
    desk.bid("a", "s0")
    desk.bid("b", "s0")
    assert desk.subtask("s0").code == "E_BUDGET"
    assert "the swarm's budget for 1970-01-01" in desk.subtask("s0").message


def test_a_board_that_does_not_answer_is_asked_again() -> None:
    desk = begin(1, 500_000)
    [draw] = draws(desk)
    desk.handle(orders.DayDrawn(draw.day, {}, failed=True))
    assert draws(desk) == []
    desk.wait(3)
    [draw] = draws(desk)
    desk.handle(orders.DayDrawn(draw.day, {"money": 500_000}))
    bid_for_all(desk)
    assert desk.subtask("s0").status == "awarded"


@pytest.mark.requirement("BUD-11")
async def test_a_coordinator_that_comes_back_does_not_get_its_slice_again(tmp_path: Path) -> None:
    slice_ = 1_000_000 // 64
    async with Team(tmp_path) as team:
        await team.coordinate(budget_day="money=1")
        node = await team.work("ann", noop=True)
        for life in range(3):
            if life:
                await team.coordinate(budget_day="money=1")
                team.introduce(node.endpoint, node)
            team.events.clear()
            await team.submit({"id": f"x{life}", "capability": "demo.noop"})
            closed = await team.event("run.closed")
            assert closed.data["outcome"] == "done"
            kv, me = team.coordinator.endpoint.kv, team.coordinator.endpoint.node
            [key] = await kv.keys("budget")
            entry = await kv.get(key)
            assert entry is not None
            assert json.loads(entry.value)["drawn"][me]["money"] == (life + 1) * slice_
            if life < 2:
                await team.kill("desk")
        [(_, unused)] = team.coordinator.engine.purse.unused_day()
        await team.stop("desk")
        entry = await kv.get(key)
        assert entry is not None
        # The one that went down in order gave back what it had not spent.
        assert json.loads(entry.value)["drawn"][me]["money"] == 3 * slice_ - unused["money"]
        assert 0 < unused["money"] <= slice_


async def test_a_board_that_is_away_is_told_as_such() -> None:
    class Away(Yielding):
        async def get(self, key: str) -> Entry | None:
            raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        await DayBudget(Away(), node_id("c"), {"money": 10}).draw(DAY, {"money": 1})
