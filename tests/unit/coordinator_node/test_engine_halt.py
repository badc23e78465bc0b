"""The buying core while the swarm is halted: nothing is put up or awarded, nobody is blamed, and afterwards everything goes on."""

from __future__ import annotations

import pytest

from coordinator_node import orders
from protocol.messages import Announce, Withdraw
from tests.support.builders import a_bid, a_failed, a_plan, a_refusal, a_result, a_subtask
from tests.support.playbook import Playbook


@pytest.fixture
def desk() -> Playbook:
    """`one` is awarded to a; `two` is open for bids; b is there, too."""
    book = Playbook()
    book.nodes("a", "b")
    book.submit(a_plan(a_subtask("one"), a_subtask("two")))
    book.bid("a", "one", eta_ms=10, load=0.0, success=0.95)
    book.bid("b", "one", eta_ms=9_000, load=1.0, success=0.2, price=10**9)
    assert book.awards() == {"one": "a"}
    book.forget_said()
    return book


@pytest.mark.requirement("HLT-3")
def test_a_halt_withdraws_what_is_open_and_awards_nothing_until_it_is_lifted(desk: Playbook) -> None:
    number = desk.engine.auction._rounds[desk.run, "two"].number
    desk.handle(orders.HaltChanged(True))
    assert [item.subtask for item in desk.said(Withdraw)] == ["two"]
    desk.answer("b", a_bid("two", number))
    desk.work("a", a_failed("one", code="E_HALTED"))
    desk.wait(3_600)
    assert desk.said(Announce) == []
    assert desk.awards() == {}
    assert desk.state.status == "open"
    desk.handle(orders.HaltChanged(False))
    desk.wait(10)
    assert {item.subtask for item in desk.said(Announce)} == {"one", "two"}
    for name in ("one", "two"):
        desk.bid("a", name)
        desk.bid("b", name)
        desk.work(desk.awards()[name], a_result(name, attempt=len(desk.subtask(name).attempts)))
    assert desk.state.outcome == "done"
    desk.check()


@pytest.mark.requirement("HLT-3")
def test_what_a_halt_ended_is_no_try_and_no_failure_of_the_node() -> None:
    desk = Playbook()
    desk.nodes("a")
    desk.submit(a_plan(a_subtask("one", tries=2)))
    for number in range(1, 8):
        desk.bid("a", "one")
        desk.handle(orders.HaltChanged(True))
        desk.work("a", a_failed("one", code="E_HALTED", attempt=number))
        desk.handle(orders.HaltChanged(False))
    assert desk.subtask().status == "open"
    assert desk.subtask().failures() == {}
    assert desk.engine.history.of("a", "text.work").failed == 0.0
    desk.check()


def test_an_award_that_is_refused_during_a_halt_goes_to_nobody_else(desk: Playbook) -> None:
    desk.handle(orders.HaltChanged(True))
    desk.work("a", a_refusal("one", code="E_HALTED"))
    desk.wait(60)
    assert desk.awards() == {}
    desk.handle(orders.HaltChanged(False))
    desk.wait(10)
    assert "one" in {item.subtask for item in desk.said(Announce)}


def test_a_run_that_is_submitted_during_a_halt_waits(desk: Playbook) -> None:
    book = Playbook()
    book.handle(orders.HaltChanged(True))
    book.nodes("a")
    book.submit()
    book.wait(600)
    assert book.said(Announce) == []
    book.handle(orders.HaltChanged(False))
    book.bid("a", "one")
    assert book.awards() == {"one": "a"}


def test_a_round_whose_time_is_up_when_the_halt_comes_is_not_decided_any_more(desk: Playbook) -> None:
    number = desk.engine.auction._rounds[desk.run, "two"].number
    desk.answer("b", a_bid("two", number))
    desk.handle(orders.HaltChanged(True), after=3_600)
    assert desk.awards() == {}
    assert [item.subtask for item in desk.said(Withdraw)] == ["two"]
