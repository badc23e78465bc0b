"""Pausing, going on, and stopping one subtask of a run."""

from __future__ import annotations

import copy

import pytest

from coordinator_node import orders
from coordinator_node.fold import fold
from protocol.messages import Announce, Cancelled, Withdraw
from tests.support.builders import a_failed, a_plan, a_refusal, a_result, a_subtask, named, node_id
from tests.support.playbook import Playbook

CLIENT = node_id("client")


def pause(desk: Playbook, reason: str = "") -> None:
    desk.handle(orders.PauseAsked(desk.run, CLIENT, reason))


def resume(desk: Playbook) -> None:
    desk.handle(orders.ResumeAsked(desk.run, CLIENT))


def stop(desk: Playbook, subtask: str, reason: str = "") -> None:
    desk.handle(orders.CancelAsked(desk.run, CLIENT, reason, subtask))


@pytest.fixture
def desk() -> Playbook:
    """`one` is at work at a; `two` needs it; `three` is open for bids."""
    book = Playbook()
    book.nodes("a", "b")
    book.submit(
        a_plan(
            a_subtask("one"),
            a_subtask("two", needs=["one"]),
            a_subtask("three"),
            deliver=["two", "three"],
        )
    )
    book.bid("a", "one", eta_ms=10, load=0.0, success=0.95)
    book.bid("b", "one", eta_ms=9_000, load=1.0, success=0.2, price=10**9)
    assert book.awards() == {"one": "a"}
    book.forget_said()
    return book


def test_a_paused_run_withdraws_what_is_open_and_awards_nothing_more(desk: Playbook) -> None:
    pause(desk, "the office is closed")
    assert [item.subtask for item in desk.said(Withdraw)] == ["three"]
    assert desk.state.paused
    assert (desk.state.paused_by, desk.state.pause_reason) == (CLIENT, "the office is closed")
    desk.answer("a", *[])
    desk.work("a", a_result("one"))
    desk.wait(3_600)
    assert desk.subtask("one").status == "accepted"
    assert desk.said(Announce) == []
    assert desk.awards() == {}
    assert desk.state.status == "open"
    desk.check()


def test_bids_that_come_during_a_pause_are_late(desk: Playbook) -> None:
    from tests.support.builders import a_bid

    number = desk.engine.auction._rounds[desk.run, "three"].number
    pause(desk)
    desk.answer("b", a_bid("three", number))
    assert desk.rejects("b") == ["late"]


def test_a_run_that_goes_on_puts_up_everything_that_became_ready(desk: Playbook) -> None:
    pause(desk)
    desk.work("a", a_result("one"))
    resume(desk)
    assert {item.subtask for item in desk.said(Announce)} == {"two", "three"}
    for name in ("two", "three"):
        desk.bid("a", name)
        desk.bid("b", name)
        desk.work("a" if desk.awards()[name] == "a" else "b", a_result(name))
    assert desk.state.outcome == "done"
    desk.check()


@pytest.mark.parametrize("ending", [a_failed("one"), a_refusal("one"), a_failed("one", code="E_RESTARTED")])
def test_an_attempt_that_comes_to_nothing_during_a_pause_is_tried_again_after_it(
    desk: Playbook, ending: orders.WorkItem
) -> None:
    pause(desk)
    desk.work("a", ending)
    desk.wait(60)
    assert desk.said(Announce) == []
    assert desk.awards() == {}
    resume(desk)
    assert {item.subtask for item in desk.said(Announce)} == {"one", "three"}


def test_pausing_twice_is_pausing_once_and_both_who_ask_are_answered(desk: Playbook) -> None:
    pause(desk)
    pause(desk)
    assert desk.kinds().count("run.paused") == 1
    assert desk.commands.count(orders.RunStands(desk.run)) == 2
    resume(desk)
    resume(desk)
    assert desk.kinds().count("run.resumed") == 1


def test_a_pause_survives_a_restart(desk: Playbook) -> None:
    pause(desk)
    state = fold(copy.deepcopy([record for _, record in desk.records]))
    assert state is not None
    plan = desk.engine.desks[desk.run].content_known.plan
    again = Playbook(now=desk.now)
    again.nodes("a", "b")
    again.handle(orders.RunRecovered(state, plan))
    again.wait(600)
    assert again.said(Announce) == []
    assert again.state.paused
    resume(again)
    assert "three" in {item.subtask for item in again.said(Announce)}


def test_a_paused_run_can_be_cancelled(desk: Playbook) -> None:
    pause(desk)
    desk.handle(orders.CancelAsked(desk.run, CLIENT, "enough"))
    desk.work("a", Cancelled(subtask="one", attempt=1, epoch=1))
    assert desk.state.outcome == "cancelled"


def test_stopping_a_subtask_that_is_at_work_reaches_its_node_and_waits_for_its_word(desk: Playbook) -> None:
    stop(desk, "one", "wrong file")
    assert desk.cancels("a") == [1]
    assert desk.subtask("one").status == "awarded"
    desk.work("a", Cancelled(subtask="one", attempt=1, epoch=1))
    assert desk.subtask("one").status == "cancelled"
    assert desk.subtask("one").message == "wrong file"
    assert desk.acks("a") == [True]
    assert desk.last("subtask.failed").message == "it needs one, which was cancelled: wrong file"
    assert desk.state.status == "open"
    desk.check()


def test_a_node_that_does_not_confirm_holds_a_stopped_subtask_no_longer_than_a_cancelled_run(
    desk: Playbook,
) -> None:
    stop(desk, "one")
    desk.wait(9)
    assert desk.cancels("a") == [1, 1, 1, 1]
    assert desk.subtask("one").status == "awarded"
    desk.wait(2)
    assert desk.subtask("one").status == "cancelled"
    desk.work("a", a_result("one"))
    assert desk.acks("a") == [False]
    assert desk.kinds().count("result.late") == 1


def test_a_result_of_a_subtask_that_is_being_stopped_does_not_count(desk: Playbook) -> None:
    stop(desk, "one")
    desk.work("a", a_result("one"))
    assert desk.subtask("one").status == "cancelled"
    assert desk.acks("a") == [False]


def test_stopping_an_open_subtask_withdraws_it_and_the_rest_is_delivered_as_partial(desk: Playbook) -> None:
    stop(desk, "three", "not needed")
    assert [item.subtask for item in desk.said(Withdraw)] == ["three"]
    assert desk.subtask("three").status == "cancelled"
    desk.work("a", a_result("one"))
    desk.bid("a", "two")
    desk.bid("b", "two")
    winner = desk.awards()["two"]
    desk.work(winner, a_result("two", outputs=[named("out.txt")]))
    desk.handle(orders.ResultChecked(desk.run, "two", 1, 1))
    assert (desk.state.outcome, desk.state.code) == ("partial", "E_CANCELLED")
    assert desk.state.message == "delivered without 1 of 3 subtasks: three: cancelled: not needed"


def test_when_all_that_was_wanted_is_stopped_the_run_ends_as_cancelled() -> None:
    book = Playbook()
    book.nodes("a")
    book.submit()
    stop(book, "one", "no")
    assert (book.state.outcome, book.state.message) == (
        "cancelled",
        "nothing is left to deliver: one: cancelled: no",
    )


def test_work_that_can_do_without_goes_on_without_a_stopped_subtask() -> None:
    book = Playbook()
    book.nodes("a")
    book.submit(a_plan(a_subtask("one"), a_subtask("two", needs=["one"], tolerant=True)))
    stop(book, "one", "no")
    book.bid("a", "two")
    [award] = [item for item in book.said(orders.Award) if item.subtask == "two"]
    assert [(item.name, item.code) for item in award.missing] == [("one", "E_CANCELLED")]


def test_stopping_what_has_ended_or_does_not_exist_changes_nothing(desk: Playbook) -> None:
    desk.work("a", a_result("one"))
    count = len(desk.records)
    stop(desk, "one")
    stop(desk, "ghost")
    assert len(desk.records) == count
    stop(desk, "three")
    stop(desk, "three")
    assert desk.kinds().count("subtask.cancelling") == 1


def test_the_end_of_a_subtask_is_asked_for_again_after_a_restart(desk: Playbook) -> None:
    stop(desk, "one")
    state = fold(copy.deepcopy([record for _, record in desk.records]))
    assert state is not None
    plan = desk.engine.desks[desk.run].content_known.plan
    again = Playbook(now=desk.now)
    again.nodes("a", "b")
    again.handle(orders.RunRecovered(state, plan))
    assert again.cancels("a") == [1]
    again.work("a", Cancelled(subtask="one", attempt=1, epoch=1))
    assert again.subtask("one").status == "cancelled"
