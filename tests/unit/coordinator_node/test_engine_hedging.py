"""Second attempts beside stragglers: when they are made, and what becomes of the two."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from coordinator_node import orders
from coordinator_node.fold import fold
from protocol.messages import Announce, Award, Budget, Cancelled, Progress, Started, Usage, Withdraw
from tests.support.builders import a_failed, a_plan, a_refusal, a_result, a_subtask, named, node_id
from tests.support.playbook import Playbook

CLIENT = node_id("client")


def late_desk(*, plan: Any = None, slots: int = 2, deadline_ms: int = 600_000, **changes: Any) -> Playbook:
    """`one` is at work at a, which said that it takes 1 s; b and c have nothing to do."""
    book = Playbook(**changes.pop("settings", {}))
    book.nodes("a", "b", "c", slots=slots)
    book.submit(plan or a_plan(a_subtask("one", deadline_ms=deadline_ms)), **changes)
    book.bid("a", eta_ms=1_000, load=0.0, success=0.95)
    for name in ("b", "c"):
        book.bid(name, eta_ms=90_000, load=1.0, success=0.2, price=10**9)
    assert book.awards()["one"] == "a"
    book.work("a", Started(**fence(1)))
    book.forget_said()
    return book


def fence(attempt: int, subtask: str = "one") -> dict[str, Any]:
    return {"subtask": subtask, "attempt": attempt, "epoch": 1}


def work_on(desk: Playbook, seconds: float, *, first: int = 1, **fields: Any) -> None:
    """a makes a step every few seconds."""
    for step in range(first, first + int(seconds / 5)):
        desk.wait(5.0)
        desk.work("a", Progress(**fence(1), step=step, **fields))


@pytest.fixture
def desk() -> Playbook:
    """`one` is hedged: a has attempt 1, b attempt 2."""
    book = late_desk()
    work_on(book, 30)
    book.bid("b", eta_ms=2_000, success=0.95, load=0.0)
    book.decline("c")
    assert book.awards() == {"one": "b"}
    return book


def test_work_that_takes_much_longer_than_it_should_goes_to_a_second_node(desk: Playbook) -> None:
    assert desk.said(Announce, "a") == []
    record = desk.last("subtask.awarded")
    assert (record.attempt, record.hedge, record.node) == (2, True, node_id("b"))
    assert record.reason.startswith("beside a, which is late: ")
    assert [attempt.number for attempt in desk.subtask().held] == [1, 2]
    desk.check()


@pytest.mark.parametrize("state", ["limited", "person"])
def test_what_begins_to_wait_while_a_second_node_is_looked_for_is_not_done_twice(state: str) -> None:
    book = late_desk()
    work_on(book, 30)
    book.work("a", Progress(**fence(1), step=99, state=state, wait_ms=60_000))
    book.bid("b", eta_ms=2_000, success=0.95, load=0.0)
    book.decline("c")
    assert book.awards() == {}
    assert [attempt.number for attempt in book.subtask().held] == [1]
    assert book.engine.market.flight("text.work") == 1


@pytest.mark.parametrize(("first", "attempt", "other", "behind"), [("a", 1, "b", 2), ("b", 2, "a", 1)])
def test_the_first_result_counts_and_the_other_is_stopped(
    desk: Playbook, first: str, attempt: int, other: str, behind: int
) -> None:
    desk.work(first, a_result("one", attempt))
    assert desk.state.outcome == "done"
    assert desk.last("subtask.accepted").attempt == attempt
    superseded = desk.last("attempt.failed")
    assert (superseded.attempt, superseded.code) == (behind, "E_SUPERSEDED")
    assert desk.cancels(other) == [behind]
    desk.work(other, a_result("one", behind))
    assert desk.last("result.late").attempt == behind
    assert desk.acks(other) == [False]
    assert desk.kinds().count("subtask.accepted") == 1
    assert len(desk.engine.watch) == 0
    assert desk.engine.market.flight("text.work") == 0
    desk.check()


def test_of_two_results_that_are_checked_the_first_good_one_counts(desk: Playbook) -> None:
    for name, attempt in (("a", 1), ("b", 2)):
        desk.work(name, a_result("one", attempt, outputs=[named("out.txt", name)]))
    desk.handle(orders.ResultChecked(desk.run, "one", 2, 1, "it is bad"))
    assert desk.subtask().status == "awarded"
    desk.handle(orders.ResultChecked(desk.run, "one", 1, 1))
    desk.handle(orders.ResultChecked(desk.run, "one", 2, 1))
    assert desk.state.outcome == "done"
    assert desk.last("subtask.accepted").attempt == 1
    desk.check()


@pytest.mark.parametrize(("name", "attempt", "left"), [("a", 1, 2), ("b", 2, 1)])
@pytest.mark.parametrize("how", ["failed", "final", "refused", "cancelled", "gone"])
def test_either_coming_to_nothing_leaves_the_other(
    desk: Playbook, name: str, attempt: int, left: int, how: str
) -> None:
    made = {
        "failed": a_failed("one", attempt),
        "final": a_failed("one", attempt, retryable=False),
        "refused": a_refusal("one", attempt),
        "cancelled": Cancelled(**fence(attempt)),
    }
    if how == "gone":
        desk.handle(orders.NodeLost(node_id(name), "bye"))
    else:
        desk.work(name, made[how])
    assert [one.number for one in desk.subtask().held] == [left]
    assert desk.subtask().status == "awarded"
    desk.forget_said()
    desk.wait(4)
    assert desk.said(Announce) == []
    desk.work("b" if left == 2 else "a", a_result("one", left))
    assert desk.state.outcome == "done"
    desk.check()


def test_when_both_come_to_nothing_it_is_tried_again(desk: Playbook) -> None:
    desk.work("a", a_failed("one", 1))
    desk.work("b", a_failed("one", 2))
    desk.forget_said()
    desk.wait(1)
    assert [item.subtask for item in desk.said(Announce)] == ["one"]
    desk.bid("c")
    assert desk.subtask().held[0].number == 3
    assert not desk.subtask().held[0].hedge


def test_a_subtask_is_hedged_once(desk: Playbook) -> None:
    desk.work("b", a_failed("one", 2))
    work_on(desk, 200, first=100)
    assert desk.kinds().count("subtask.awarded") == 2
    assert len(desk.subtask().held) == 1


def test_stopping_a_subtask_stops_both_and_waits_for_both(desk: Playbook) -> None:
    desk.handle(orders.CancelAsked(desk.run, CLIENT, "enough", "one"))
    assert (desk.cancels("a"), desk.cancels("b")) == ([1], [2])
    desk.work("b", Cancelled(**fence(2), used=Usage(tokens=5)))
    assert desk.subtask().status == "awarded"
    assert desk.last("attempt.failed").used == Usage(tokens=5)
    desk.work("a", Cancelled(**fence(1)))
    assert desk.subtask().status == "cancelled"
    assert desk.state.outcome == "cancelled"
    desk.check()


def test_cancelling_the_run_stops_both(desk: Playbook) -> None:
    desk.handle(orders.CancelAsked(desk.run, CLIENT, "enough"))
    assert (desk.cancels("a"), desk.cancels("b")) == ([1], [2])
    desk.wait(11)
    assert desk.state.outcome == "cancelled"
    desk.check()


def test_both_are_watched_after_a_restart(desk: Playbook) -> None:
    state = fold(copy.deepcopy([record for _, record in desk.records]))
    assert state is not None
    plan = desk.engine.desks[desk.run].content_known.plan
    book = Playbook(now=desk.now)
    book.nodes("a", "b", "c")
    book.handle(orders.RunRecovered(state, plan))
    assert {item.attempt for item in book.said(Award)} == {1, 2}
    book.work("b", a_result("one", 2))
    assert book.state.outcome == "done"
    assert book.cancels("a") == [1]


# --- when it is not done ---


def hedges(desk: Playbook) -> list[Announce]:
    return desk.said(Announce)


def test_not_when_it_says_that_it_is_nearly_done() -> None:
    desk = late_desk()
    work_on(desk, 40, fraction=0.99)
    assert hedges(desk) == []


def test_but_being_nearly_done_is_not_believed_for_ever() -> None:
    desk = late_desk()
    work_on(desk, 90, fraction=0.99)
    assert hedges(desk) != []


def test_not_when_it_was_said_to_take_long() -> None:
    desk = Playbook()
    desk.nodes("a", "b")
    desk.submit(a_plan(a_subtask("one", deadline_ms=600_000)))
    desk.bid("a", eta_ms=40_000, success=0.95)
    desk.bid("b", eta_ms=80_000, success=0.1, load=1.0, price=10**9)
    desk.work("a", Started(**fence(1)))
    desk.forget_said()
    work_on(desk, 110)
    assert hedges(desk) == []
    work_on(desk, 20, first=50)
    assert hedges(desk) != []


def test_not_when_such_work_usually_takes_so_long() -> None:
    names = [f"t{number}" for number in range(6)]
    desk = Playbook()
    desk.nodes("a", slots=6)
    desk.submit(a_plan(*(a_subtask(name, deadline_ms=600_000) for name in (*names, "one"))))
    desk.bids(["a"], [*names, "one"], eta_ms=1_000, free_slots=8)
    for step in range(1, 9):
        desk.wait(5)
        desk.work("a", *(Progress(**fence(1, name), step=step) for name in (*names, "one")))
    desk.work("a", *(a_result(name) for name in names))
    desk.nodes("b")
    desk.forget_said()
    work_on(desk, 35, first=20)
    assert hedges(desk) == []
    work_on(desk, 20, first=40)
    assert hedges(desk) != []


@pytest.mark.parametrize("state", ["limited", "person"])
def test_not_while_it_waits(state: str) -> None:
    desk = late_desk()
    work_on(desk, 100, state=state, wait_ms=60_000)
    assert hedges(desk) == []


def test_not_when_it_may_be_tried_only_once() -> None:
    desk = late_desk(plan=a_plan(a_subtask("one", tries=1, deadline_ms=600_000)))
    work_on(desk, 100)
    assert hedges(desk) == []


def test_not_when_it_is_turned_off() -> None:
    desk = late_desk(settings={"hedge": False})
    work_on(desk, 100)
    assert hedges(desk) == []


def test_not_while_other_work_waits_for_the_slots() -> None:
    plan = a_plan(*(a_subtask(f"t{number}", deadline_ms=600_000) for number in range(40)), a_subtask("one"))
    desk = Playbook()
    desk.nodes("a", "b", slots=1)
    desk.submit(plan)
    first = desk.said(Announce)[0].subtask
    desk.bid("a", first, eta_ms=10)
    desk.bid("b", first, eta_ms=90_000, success=0.1)
    desk.forget_said()
    for step in range(1, 20):
        desk.wait(5)
        desk.work("a", Progress(**fence(1, first), step=step))
    assert first not in {item.subtask for item in desk.said(Announce)}


def test_not_when_everybody_else_is_at_work() -> None:
    desk = late_desk()
    for name in ("b", "c"):
        desk.engine.market.hold(node_id(name), +2)
    work_on(desk, 100)
    assert hedges(desk) == []
    desk.engine.market.hold(node_id("b"), -1)
    work_on(desk, 60, first=50)
    assert hedges(desk) != []


def test_not_with_money_that_is_not_there() -> None:
    desk = late_desk(budget=Budget(money=200_000))
    work_on(desk, 30)
    for name in ("b", "c"):
        desk.bid(name, price=150_000)
    assert desk.awards() == {}
    assert "withdrawn" in desk.rejects("b")
    desk.work("a", a_result("one"))
    assert desk.state.outcome == "done"


def test_a_pause_withdraws_what_was_asked() -> None:
    desk = late_desk()
    work_on(desk, 30)
    desk.handle(orders.PauseAsked(desk.run, CLIENT))
    assert [item.subtask for item in desk.said(Withdraw, "b")] == ["one"]
    desk.wait(10)
    assert desk.awards() == {}


def test_a_result_withdraws_what_was_asked() -> None:
    desk = late_desk()
    work_on(desk, 30)
    desk.work("a", a_result("one"))
    assert [item.subtask for item in desk.said(Withdraw, "b")] == ["one"]
    assert desk.engine.market.flight("text.work") == 0


def test_a_failure_withdraws_what_was_asked_and_puts_the_work_up_anew() -> None:
    desk = late_desk()
    work_on(desk, 30)
    desk.work("a", a_failed("one"))
    assert [item.subtask for item in desk.said(Withdraw, "b")] == ["one"]
    desk.forget_said()
    desk.wait(1)
    assert [item.subtask for item in desk.said(Announce, "b")] == ["one"]
    desk.bid("b")
    desk.decline("c")
    assert not desk.subtask().held[0].hedge


def test_nobody_is_asked_for_ever() -> None:
    desk = late_desk()
    work_on(desk, 500)
    assert len({item.round for item in hedges(desk)}) == 3


def test_not_while_the_swarm_is_halted() -> None:
    book = late_desk()
    book.engine.halts.add("halt")
    work_on(book, 100)
    assert hedges(book) == []


def test_who_took_an_award_that_another_refused_is_held_to_what_it_said() -> None:
    desk = Playbook()
    desk.nodes("a", "b", "c")
    desk.submit(a_plan(a_subtask("one", deadline_ms=600_000)))
    desk.bid("a", eta_ms=1_000, success=0.95, load=0.0)
    desk.bid("b", eta_ms=40_000, success=0.9, valid_ms=60_000)
    desk.decline("c")
    desk.work("a", a_refusal("one"))
    assert desk.awards() == {"one": "b"}
    assert [note.eta_ms for note in desk.subtask().held[0].bids] == [40_000]
    desk.forget_said()
    for step in range(1, 23):
        desk.wait(5)
        desk.work("b", Progress(**fence(2), step=step))
    assert hedges(desk) == []
    for step in range(23, 30):
        desk.wait(5)
        desk.work("b", Progress(**fence(2), step=step))
    assert hedges(desk) != []
