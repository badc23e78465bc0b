"""Runs that runs begin: their budgets come out of the one above, at any depth, whatever ends or crashes when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coordinator_node import orders
from coordinator_node.budget import Bounds, Ledger, replay
from coordinator_node.budget_children import ChildRefused
from coordinator_node.chain import Link
from coordinator_node.fold import fold
from coordinator_node.snapshot import dump_state, load_state, state_map
from mesh.endpoint import CallFailed
from protocol.messages import Award, Budget, Usage
from tests.support.builders import a_plan, a_result, a_run, bus_key, node_id, run_id
from tests.support.playbook import Playbook
from tests.support.swarm_memory import Team

PARENT = run_id(1)


def family(budget: Budget | None = None, **bounds: Any) -> Playbook:
    """A run that node a works on."""
    desk = Playbook(bounds=Bounds(**bounds))
    desk.nodes("a", "b")
    desk.submit(budget=budget)
    desk.bid("a")
    desk.decline("b")
    assert desk.awards() == {"one": "a"}
    return desk


def begin(
    desk: Playbook, number: int, budget: Budget | None = None, *, by: str = "a", below: str = PARENT
) -> str:
    """Node a submits a run below another one, as the service does; what is set aside for it is durable at once."""
    child = run_id(number)
    granted, depth = desk.engine.children.admit(below, child, budget, node_id(by))
    event = a_run(a_plan(), number, by=node_id(by), budget=granted, parent=below, depth=depth)
    carry_out(desk, desk.handle(event))
    return child


def carry_out(desk: Playbook, commands: list[orders.Command]) -> None:
    for command in commands:
        if isinstance(command, orders.BeginChild):
            desk.handle(command.accepted)
        elif isinstance(command, orders.TellParent):
            desk.handle(orders.ChildEnded(command.parent, command.run, command.used))


def account(desk: Playbook, run: str = PARENT) -> Any:
    """A run's account, by the records alone."""
    state = fold(record for owner, record in desk.records if owner == run)
    assert state is not None
    ledger = Ledger()
    replay(ledger, state)
    return ledger.account(("run", run))


def work(desk: Playbook, run: str, money: int) -> None:
    """Node a does the one subtask of a run."""
    desk.run = run
    desk.bid("a")
    desk.decline("b")
    result = a_result("one").model_copy(update={"used": Usage(money=money)})
    before = len(desk.commands)
    desk.work("a", result)
    carry_out(desk, desk.commands[before:])
    desk.run = PARENT


@pytest.mark.requirement("BUD-7")
def test_a_child_takes_its_budget_from_the_run_above_and_gives_back_the_rest() -> None:
    desk = family(Budget(money=1_000_000, children=4))
    child = begin(desk, 2, Budget(money=400_000, children=1))
    kinds = [(owner, record.k) for owner, record in desk.records]
    assert kinds.index((PARENT, "child.opened")) < kinds.index((child, "run.opened"))
    assert account(desk).reserved["money"] == 150_000 + 400_000
    assert account(desk).reserved["children"] == 2
    work(desk, child, 90_000)
    assert desk.last("child.closed").used == Usage(money=90_000, children=1)
    assert account(desk).spent["money"] == 90_000
    assert account(desk).reserved["money"] == 150_000
    assert account(desk).spent["children"] == 1
    desk.check()


@pytest.mark.requirement("BUD-7")
def test_what_is_not_left_above_cannot_be_had_below() -> None:
    desk = family(Budget(money=1_000_000, children=2))
    begin(desk, 2, Budget(money=800_000))
    with pytest.raises(ChildRefused, match="too little money left") as caught:
        begin(desk, 3, Budget(money=100_000))
    assert caught.value.code == "E_BUDGET"
    with pytest.raises(ChildRefused, match=r"must say how much of the 0\.05 credits left"):
        begin(desk, 3)
    begin(desk, 3, Budget(money=40_000))
    with pytest.raises(ChildRefused, match="too little children left"):
        begin(desk, 4, Budget(money=1))
    desk.check()


@pytest.mark.requirement("BUD-7")
def test_runs_may_begin_runs_only_so_deep() -> None:
    desk = family(Budget(children=9), depth=2)
    child = begin(desk, 2, Budget(children=4))
    grandchild = begin(desk, 3, Budget(children=2), by="a", below=child)
    assert desk.engine.desks[grandchild].state.depth == 2
    with pytest.raises(ChildRefused, match="2 deep") as caught:
        begin(desk, 4, below=grandchild)
    assert caught.value.code == "E_DEPTH"


@pytest.mark.requirement("BUD-7")
def test_a_budget_holds_at_every_depth() -> None:
    desk = family(Budget(money=1_000_000, children=9))
    child = begin(desk, 2, Budget(money=500_000, children=3))
    grandchild = begin(desk, 3, Budget(money=300_000), below=child)
    with pytest.raises(ChildRefused):
        begin(desk, 4, Budget(money=300_000), below=child)
    work(desk, grandchild, 140_000)
    assert account(desk, child).spent["money"] == 140_000
    work(desk, child, 100_000)
    assert desk.last("child.closed").used == Usage(money=240_000, children=2)
    assert account(desk).spent["money"] == 240_000


@pytest.mark.requirement("BUD-7")
def test_only_who_works_on_a_run_or_asked_for_it_begins_runs_below_it() -> None:
    desk = family(Budget(children=9))
    begin(desk, 2, by="client")
    with pytest.raises(ChildRefused, match="does no work of run") as caught:
        begin(desk, 3, by="stranger")
    assert caught.value.code == "E_PARENT"
    with pytest.raises(ChildRefused, match="does not go on here"):
        begin(desk, 3, below=run_id(77))


def test_who_does_not_say_that_it_begins_runs_begins_none() -> None:
    desk = family(Budget(children=9))
    child = begin(desk, 2)
    assert desk.engine.desks[child].state.budget == Budget(children=0)
    with pytest.raises(ChildRefused, match="too little children left"):
        begin(desk, 3, below=child)


@pytest.mark.requirement("BUD-7")
def test_a_crash_before_the_child_stands_sets_aside_once_and_lets_it_begin_later() -> None:
    desk = family(Budget(money=1_000_000, children=2))
    child = run_id(2)
    granted, depth = desk.engine.children.admit(PARENT, child, Budget(money=400_000), node_id("a"))
    event = a_run(a_plan(), 2, by=node_id("a"), budget=granted, parent=PARENT, depth=depth)
    [begin_child] = [one for one in desk.handle(event) if isinstance(one, orders.BeginChild)]
    # The command is never carried out; its node asks again.
    granted, depth = desk.engine.children.admit(PARENT, child, Budget(money=400_000), node_id("a"))
    carry_out(desk, desk.handle(event))
    assert desk.engine.desks[child].state.budget == granted
    assert desk.kinds().count("child.opened") == 1
    assert account(desk).reserved["money"] == 550_000
    desk.handle(begin_child.accepted)
    assert desk.kinds().count("run.opened") == 2


def test_a_cancelled_run_takes_what_it_began_with_it() -> None:
    desk = family(Budget(children=9))
    child = begin(desk, 2)
    desk.handle(orders.CancelAsked(PARENT, node_id("client"), "enough"))
    assert desk.engine.desks[child].state.status == "closed"
    assert desk.engine.desks[child].state.outcome == "cancelled"


def test_what_waits_above_goes_on_when_a_child_gives_its_rest_back() -> None:
    desk = Playbook()
    desk.nodes("a", "b")
    desk.submit(budget=Budget(money=400_000, children=3))
    child = run_id(2)
    granted, depth = desk.engine.children.admit(PARENT, child, Budget(money=400_000), node_id("client"))
    carry_out(
        desk,
        desk.handle(a_run(a_plan(), 2, by=node_id("client"), budget=granted, parent=PARENT, depth=depth)),
    )
    desk.bid("a")
    desk.decline("b")
    assert desk.subtask().status == "open"
    work(desk, child, 100_000)
    desk.bid("a")
    desk.decline("b")
    assert desk.said(Award)[-1].caps is not None
    assert desk.subtask().status == "awarded"
    assert bus_key("a") == desk.subtask().attempts[-1].bus_key


async def test_a_client_begins_a_run_below_its_own(tmp_path: Path) -> None:
    async with Team(tmp_path) as team:
        await team.coordinate()
        above = await team.submit(
            {"id": "x", "capability": "nobody.does"}, budget=Budget(money=1_000_000, children=2), goal="above"
        )
        below = await team.submit(
            {"id": "y", "capability": "nobody.does"}, budget=Budget(money=400_000), parent=above, goal="below"
        )
        desks = team.coordinator.engine.desks
        assert desks[below].state.parent == above
        assert desks[below].state.depth == 1
        assert above in desks
        with pytest.raises(CallFailed) as caught:
            await team.submit(
                {"id": "z", "capability": "nobody.does"}, budget=Budget(money=900_000), parent=above
            )
        assert caught.value.code == "E_BUDGET"
        await team.event("run.closed")
        await team.until(
            lambda: (
                desks[above].state.children[below].used is not None or desks[above].state.status == "closed"
            )
        )


@pytest.mark.parametrize(
    "budget", [Budget(money=0), Budget(tokens=0), Budget(children=40), Budget(wall_ms=0)]
)
async def test_an_absurd_budget_over_the_wire_is_refused(tmp_path: Path, budget: Budget) -> None:
    async with Team(tmp_path) as team:
        await team.coordinate()
        with pytest.raises(CallFailed) as caught:
            await team.submit({"id": "x", "capability": "nobody.does"}, budget=budget)
        assert caught.value.code == "E_BUDGET_VALUE"
        assert team.coordinator.engine.desks == {}


@pytest.mark.requirement("BUD-5")
def test_who_takes_a_run_over_from_a_snapshot_finds_the_same_accounts() -> None:
    desk = family(Budget(money=1_000_000, children=4))
    child = begin(desk, 2, Budget(money=300_000))
    begin(desk, 3, Budget(money=100_000))
    work(desk, child, 90_000)
    state = desk.engine.desks[PARENT].state
    link = Link(7, bytes(32), state.records, True)
    loaded = load_state(PARENT, dump_state(state_map(state), link))
    assert loaded is not None
    before, after = Ledger(), Ledger()
    replay(before, state)
    replay(after, loaded[0])
    assert after.accounts == before.accounts
    assert after.account(("run", PARENT)).reserved["money"] == 250_000
