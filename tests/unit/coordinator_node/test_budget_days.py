"""What may be spent in a day at one node and with one agent, by all runs and all coordinators: never more, and others go on meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator_node import orders
from coordinator_node.budget import Bounds, limits_of
from coordinator_node.budget_store import DayBudget
from coordinator_node.config import ConfigInvalid, load_config
from mesh.workspace_memory import MemoryStore
from protocol.messages import Award, Budget, Usage
from protocol.records import Accepted, AttemptFailed, Awarded, Record
from tests.support.builders import a_failed, a_plan, a_result, a_subtask, node_id
from tests.support.endpoint_memory import MemorySwarm
from tests.support.endpoint_server import ServerSwarm
from tests.support.playbook import Playbook
from tests.support.swarm_memory import Team
from tests.unit.coordinator_node.test_budget_store import DAY, Yielding
from tests.unit.coordinator_node.test_node import agent

ANN = f"{DAY}.{node_id('a')}"
AGENT = f"{ANN}.worker"


# --- the board ---


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.integration)])
def swarm(request: pytest.FixtureRequest, tmp_path: Path) -> MemorySwarm:
    return MemorySwarm(tmp_path) if request.param == "memory" else ServerSwarm(tmp_path)


async def race(boards: list[Any]) -> None:
    """64 coordinators draw for the same node at once, and each for its agent."""
    limit = 1_000_000
    days = [
        DayBudget(boards[number % len(boards)], node_id(f"c{number}"), {}, {"money": limit}, {"money": limit // 2})
        for number in range(64)
    ]  # fmt: skip
    for name, most in ((ANN, limit), (f"{ANN}.odd..name.", limit // 2)):
        answers = await asyncio.gather(*(day.draw(name, {"money": 30_000}) for day in days))
        granted = [one["money"] for one, _ in answers]
        assert sum(granted) == most
        assert sum(1 for one in granted if one >= 30_000) == most // 30_000
        assert max(total["money"] for _, total in answers) == most
    keys = await boards[0].keys("budget")
    assert keys == [f"budget.{ANN}", f"budget.{ANN}.{b'odd..name.'.hex()}"]
    for key, most in zip(keys, (limit, limit // 2), strict=True):
        entry = await boards[0].get(key)
        assert sum(one["money"] for one in json.loads(entry.value)["drawn"].values()) == most


@pytest.mark.requirement("BUD-11")
async def test_64_coordinators_that_race_for_one_node_never_draw_more_than_its_day_has(
    swarm: MemorySwarm,
) -> None:
    async with swarm:
        await race([(await swarm.join(f"c{number}", ["coordinator"])).kv for number in range(4)])


@pytest.mark.parametrize("seed", range(3))
async def test_nor_do_they_when_others_come_in_between_any_two_steps(seed: int) -> None:
    store = Yielding(random.Random(seed))
    await asyncio.gather(
        *(DayBudget(store, node_id(f"c{n}"), {}, {"money": 100}).draw(ANN, {"money": 3}) for n in range(64))
    )
    entry = await store.get(f"budget.{ANN}")
    assert entry is not None
    assert sum(one["money"] for one in json.loads(entry.value)["drawn"].values()) == 100
    assert store.conflicts > 0


# --- the engine ---


class Board:
    """The board of several playbooks: each draw is answered at once."""

    def __init__(self, bounds: Bounds) -> None:
        self.store = MemoryStore()
        self.bounds = bounds
        self.asked: list[orders.DrawDay] = []

    def serve(self, desk: Playbook, node: str = "c0") -> int:
        """Answer what an engine asks for; how many times it asked."""
        asked = [command for command in desk.commands if isinstance(command, orders.DrawDay)]
        desk.commands = [command for command in desk.commands if not isinstance(command, orders.DrawDay)]
        limits = map(limits_of, (self.bounds.day, self.bounds.node_day, self.bounds.agent_day))
        days = DayBudget(self.store.workspace().board, node_id(node), *limits)
        for command in asked:
            wanted: Any = command.wanted
            granted, total = asyncio.run(days.draw(command.day, wanted))
            some: Any = granted
            all_: Any = total
            desk.handle(orders.DayDrawn(command.day, some, total=all_))
        self.asked += asked
        return len(asked)


def begin(count: int, *nodes: str, now: float = 1_000.0, **bounds: Any) -> tuple[Playbook, Board]:
    """A run of so many subtasks."""
    bound = Bounds(**bounds)
    desk = Playbook(bounds=bound, now=now)
    desk.nodes(*nodes, slots=16)
    names = [f"s{number}" for number in range(count)]
    desk.submit(a_plan(*(a_subtask(name) for name in names), deliver=names))
    return desk, Board(bound)


def play(desk: Playbook, board: Board, *bidders: str, price: int = 100_000) -> None:
    """These nodes bid for all that is open, until nothing more is awarded or drawn."""
    idle = 0
    while idle < 15:  # what came to nothing is announced again after five seconds
        before = len(desk.records)
        for name in desk.state.subtasks:
            for who in bidders:
                if (desk.run, name) in desk.engine.auction:
                    desk.bid(who, name, price=price, quiet_ms=10_000_000)
        drawn = board.serve(desk)
        desk.wait(0.4)
        idle = 0 if drawn or len(desk.records) > before else idle + 1


def by_node(desk: Playbook) -> Counter[str]:
    return Counter(record.node for _, record in desk.records if isinstance(record, Awarded))


@pytest.mark.requirement("BUD-11")
@pytest.mark.parametrize("what", ["node_day", "agent_day"])
def test_work_goes_to_others_when_a_node_may_earn_no_more_today(what: str) -> None:
    desk, board = begin(6, "a", "b", **{what: Budget(money=460_000)})
    play(desk, board, "a", "b")
    # 150,000 is set aside for each, and the last gets the rest: 10,000 is too little for a fourth.
    assert by_node(desk) == {node_id("a"): 3, node_id("b"): 3}
    assert {command.day.count(".") for command in board.asked} == {1 if what == "node_day" else 2}


@pytest.mark.requirement("BUD-11")
def test_what_only_such_a_node_can_do_waits_for_tomorrow_and_says_so() -> None:
    desk, board = begin(3, "a", node_day=Budget(money=160_000))
    play(desk, board, "a")
    [first] = desk.awards()
    desk.work("a", a_result(first).model_copy(update={"used": Usage(money=150_000)}))
    play(desk, board, "a")
    note = desk.last("budget.noted")
    assert (note.level, note.scope, note.limit) == ("stop", f"node a on {DAY}", 160_000)
    assert desk.state.status == "open"
    waiting = desk.engine.purse.waiting(desk.run)
    assert len(waiting) == 2
    assert f"the budget of node a on {DAY}" in next(iter(waiting.values()))
    desk.forget_said()
    desk.wait(3600)
    assert desk.said(Award) == []
    desk.wait(86_400)
    play(desk, board, "a")
    assert len(desk.awards()) == 1
    assert board.asked[-1].day == f"1970-01-02.{node_id('a')}"


def test_it_goes_on_today_when_somebody_else_comes() -> None:
    desk, board = begin(3, "a", node_day=Budget(money=160_000))
    play(desk, board, "a")
    desk.nodes("b", slots=16)
    play(desk, board, "a", "b")
    assert by_node(desk) == {node_id("a"): 1, node_id("b"): 1}


def test_it_goes_on_when_what_is_at_work_there_gives_back_the_rest() -> None:
    desk, board = begin(2, "a", node_day=Budget(money=200_000))
    play(desk, board, "a", price=130_000)
    [first] = desk.awards()
    desk.work("a", a_result(first).model_copy(update={"used": Usage(money=20_000)}))
    play(desk, board, "a", price=130_000)
    assert by_node(desk) == {node_id("a"): 2}


def test_a_busy_node_is_waited_for_when_the_free_one_may_earn_no_more() -> None:
    desk, board = begin(2, "a", node_day=Budget(money=160_000))
    play(desk, board, "a")
    desk.nodes("b", slots=16)
    [open_] = [name for name, subtask in desk.state.subtasks.items() if subtask.status == "open"]
    for _ in range(10):
        if (desk.run, open_) in desk.engine.auction:
            desk.bid("a", open_)
            desk.decline("b", open_, code="E_SLOTS")
        board.serve(desk)
        desk.wait(1)
    assert desk.subtask(open_).status == "open"
    play(desk, board, "a", "b")
    assert by_node(desk) == {node_id("a"): 1, node_id("b"): 1}


def test_what_costs_more_than_a_node_may_earn_in_any_day_is_not_waited_for() -> None:
    desk, board = begin(1, "a", node_day=Budget(money=50_000))
    play(desk, board, "a")
    assert desk.subtask("s0").code == "E_BUDGET"
    assert f"node a on {DAY}" in desk.subtask("s0").message


def test_accounts_of_earlier_days_are_forgotten_when_nothing_of_them_is_at_work() -> None:
    desk, board = begin(3, "a", now=86_390.0, node_day=Budget(money=160_000))
    play(desk, board, "a")
    [name] = desk.awards()
    ledger = desk.engine.purse.ledger

    def days() -> set[str]:
        return {scope[1] for scope in ledger.accounts if scope[0] == "day"}

    desk.handle(orders.Tick(), after=86_401 - desk.now)
    play(desk, board, "a")
    assert days() == {DAY, "1970-01-02"}, "what was set aside yesterday is at work"
    for name in desk.awards():
        desk.work("a", a_result(name))
    desk.handle(orders.Tick(), after=86_400.0)
    play(desk, board, "a")
    assert days() == {"1970-01-03"}


# --- nothing is ever more than the limit ---


def held_and_spent(records: list[tuple[str, Record]]) -> Counter[tuple[str, ...]]:
    """What the journals say was set aside or charged, by day and node: told from the records alone."""
    open_: dict[Any, tuple[str, Usage]] = {}
    found: Counter[tuple[str, ...]] = Counter()
    for run, record in records:
        if isinstance(record, Awarded):
            assert record.reserved is not None
            open_[run, record.subtask, record.attempt] = (str(record.at_ms // 86_400_000), record.reserved)
            found[str(record.at_ms // 86_400_000), record.node] += record.reserved.tokens
        elif isinstance(record, (Accepted, AttemptFailed)):
            day, reserved = open_.pop((run, record.subtask, record.attempt))
            found[day, record.node] -= reserved.tokens - min(reserved.tokens, record.used.tokens)
    return found


def ends(desk: Playbook, data: st.DataObject) -> Iterator[None]:
    """Some attempts end; a lying node says anything."""
    for name, subtask in list(desk.state.subtasks.items()):
        for attempt in list(subtask.held):
            if not data.draw(st.booleans()):
                continue
            who = "a" if attempt.node == node_id("a") else "b"
            used = Usage(tokens=data.draw(st.integers(0, 200)))
            item: Any = data.draw(
                st.sampled_from([a_result(name, attempt.number), a_failed(name, attempt.number)])
            )
            desk.work(who, item.model_copy(update={"used": used}))
            yield


@pytest.mark.requirement("BUD-1", "BUD-11")
@settings(max_examples=30, deadline=None)
@given(st.integers(20, 300), st.integers(1, 60), st.data())
def test_two_coordinators_never_spend_more_at_a_node_than_its_day_has(
    limit: int, estimate: int, data: st.DataObject
) -> None:
    bounds = Bounds(node_day=Budget(tokens=limit), agent_day=Budget(tokens=limit - limit // 4))
    board = Board(bounds)
    desks = [Playbook(seed=seed, bounds=bounds, hedge=False) for seed in (1, 2)]
    for desk in desks:
        desk.nodes("a", "b", slots=16)
        names = [f"s{number}" for number in range(6)]
        desk.submit(a_plan(*(a_subtask(name, tries=5) for name in names), deliver=names))
    for _ in range(12):
        desk = data.draw(st.sampled_from(desks))
        for name in desk.state.subtasks:
            for who in data.draw(st.sampled_from(["a", "ab", "b"])):
                if (desk.run, name) in desk.engine.auction:
                    desk.bid(who, name, estimate=Usage(tokens=estimate))
        board.serve(desk, f"c{desks.index(desk)}")
        for _ in ends(desk, data):
            pass
        desk.handle(orders.Tick(), after=data.draw(st.sampled_from([0.3, 5.0, 90_000.0])))
        desk.wait(0.3)
        board.serve(desk, f"c{desks.index(desk)}")
        total = held_and_spent([*desks[0].records, *desks[1].records])
        assert max(total.values(), default=0) <= limit - limit // 4, total


# --- in a swarm ---


@pytest.mark.requirement("BUD-11")
async def test_runs_of_two_coordinators_share_what_a_node_may_earn_in_a_day(
    swarm: MemorySwarm, tmp_path: Path
) -> None:
    work = agent("frugal") | {"estimate": {"tokens": 40}, "slots": 4}
    async with Team(tmp_path, swarm=swarm) as team:
        desks = [await team.coordinate(name, budget_node_day="tokens=100") for name in ("east", "west")]
        nodes = []

        async def hire(name: str) -> None:
            nodes.append(await team.work(name, agents=[work]))
            for desk in desks:
                for node in nodes:
                    team.coordinator = desk
                    team.introduce(node.endpoint, node)

        await hire("ann")
        await hire("bob")
        for _ in range(2):
            await team.submit(*({"id": f"s{number}", "capability": "test.frugal"} for number in range(3)))

        def spent() -> Counter[str]:
            found: Counter[str] = Counter()
            for event in team.events:
                if event.kind == "subtask.accepted":
                    found[event.node_name] += event.data["used"]["tokens"]
            return found

        # What one coordinator has drawn and does not need is not there for the other, so more than two may have to wait.
        await team.until(lambda: spent().total() // 40 + len(waiting(desks)) == 6)
        assert len(waiting(desks)) >= 2
        assert all("the budget of node" in why for why in waiting(desks).values())
        for name in ("cor", "dan", "eve", "fay"):
            await hire(name)
        await team.until(lambda: sum(event.kind == "run.closed" for event in team.events) == 2)
        assert spent().total() == 240
        assert max(spent().values()) <= 100


def waiting(desks: list[Any]) -> dict[tuple[str, str], str]:
    """What waits for money, by run and subtask."""
    return {
        (run, name): why
        for desk in desks
        for run in desk.engine.desks
        for name, why in desk.engine.purse.waiting(run).items()
    }


def test_the_bounds_of_a_day_are_settings_and_bound_no_time() -> None:
    config = load_config({"budget_node_day": "money=30", "budget_agent_day": "tokens=2M"}, "config.toml")
    bounds = config.settings().bounds
    assert (bounds.node_day, bounds.agent_day) == (Budget(money=30_000_000), Budget(tokens=2_000_000))
    with pytest.raises(ConfigInvalid, match="budget_node_day: only money"):
        load_config({"budget_node_day": "time=2h"}, "config.toml")
