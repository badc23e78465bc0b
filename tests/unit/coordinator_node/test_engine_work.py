"""What follows from what workers say, and from their silence."""

from __future__ import annotations

import pytest

from coordinator_node import orders
from coordinator_node.watch import LEASE_MIN_MS
from protocol.messages import Announce, Award, Cancel, Cancelled, Confirm, Progress, Started
from tests.support.builders import (
    a_failed,
    a_plan,
    a_refusal,
    a_result,
    a_subtask,
    named,
    node_id,
    run_id,
)
from tests.support.playbook import Playbook

FENCE = {"subtask": "one", "attempt": 1, "epoch": 1}


@pytest.fixture
def desk() -> Playbook:
    """`one` is awarded to a; b is there, too."""
    book = Playbook()
    book.nodes("a", "b")
    book.submit()
    book.bid("a", eta_ms=10, load=0.0, success=0.95)
    book.bid("b", eta_ms=9_000, load=1.0, success=0.2, price=10**9)
    assert book.awards() == {"one": "a"}
    book.forget_said()
    return book


def awarded(*subtasks: object, **bid: object) -> Playbook:
    """One node, everything awarded to it."""
    book = Playbook()
    book.nodes("a")
    book.submit(a_plan(*subtasks) if subtasks else None)  # type: ignore[arg-type]
    book.bids(["a"], [item.subtask for item in book.said(Announce)], **bid)
    book.forget_said()
    return book


def test_a_result_without_outputs_and_schema_counts_at_once_and_ends_the_run(desk: Playbook) -> None:
    desk.work("a", a_result("one"))
    assert desk.kinds()[-2:] == ["subtask.accepted", "run.closed"]
    assert desk.acks("a") == [True]
    assert desk.state.outcome == "done"
    desk.check()


def test_a_result_with_outputs_is_checked_before_it_counts(desk: Playbook) -> None:
    desk.work("a", a_result("one", outputs=[named("out.json")]))
    [check] = [command for command in desk.commands if isinstance(command, orders.CheckResult)]
    assert (check.subtask, check.attempt, check.epoch) == ("one", 1, 1)
    assert desk.acks("a") == []
    assert "subtask.accepted" not in desk.kinds()
    desk.handle(orders.ResultChecked(desk.run, "one", 1, 1))
    assert desk.state.outcome == "done"
    assert [named_.name for named_ in desk.state.deliverables] == ["out.json"]
    assert desk.acks("a") == [True]


def test_a_result_that_fails_its_check_is_tried_again_by_another_node(desk: Playbook) -> None:
    desk.work("a", a_result("one", outputs=[named("out.json")]))
    desk.handle(orders.ResultChecked(desk.run, "one", 1, 1, "at rows/0: 'value' is missing"))
    assert desk.last("result.rejected").reason == "at rows/0: 'value' is missing"
    assert desk.acks("a") == [False]
    desk.wait(1)
    assert {
        command.to
        for command in desk.commands
        if isinstance(command, orders.Say) and isinstance(command.item, Announce)
    }
    desk.bid("b", "one")
    assert desk.awards() == {"one": "b"}


def test_the_lease_does_not_run_while_a_result_is_checked(desk: Playbook) -> None:
    desk.work("a", a_result("one", outputs=[named("out.json")]))
    desk.wait(120)
    assert "attempt.failed" not in desk.kinds()


def test_the_same_result_twice_is_acknowledged_twice_and_counts_once(desk: Playbook) -> None:
    desk.work("a", a_result("one"))
    desk.work("a", a_result("one"))
    assert desk.kinds().count("subtask.accepted") == 1
    assert desk.acks("a") == [True, True]
    assert "result.late" not in desk.kinds()


def test_a_result_in_one_message_with_its_double_counts_once(desk: Playbook) -> None:
    desk.work("a", a_result("one"), a_result("one"))
    assert desk.kinds().count("subtask.accepted") == 1


@pytest.mark.parametrize(("attempt", "epoch", "who"), [(1, 1, "b"), (2, 1, "a"), (1, 2, "a"), (9, 9, "b")])
def test_a_result_of_anything_but_the_attempt_that_holds_changes_nothing(
    desk: Playbook, attempt: int, epoch: int, who: str
) -> None:
    desk.work(who, a_result("one", attempt, epoch))
    assert desk.subtask().status == "awarded"
    assert desk.acks(who) == ([False] if epoch == 1 else [])  # of a higher epoch its owner speaks
    assert "subtask.accepted" not in desk.kinds()


def test_a_late_result_is_written_down_once_and_never_applied(desk: Playbook) -> None:
    desk.wait(11)
    assert desk.last("attempt.failed").code == "E_NOT_TAKEN"
    desk.work("a", a_result("one"))
    desk.work("a", a_result("one"))
    assert desk.kinds().count("result.late") == 1
    assert desk.acks("a") == [False, False]
    assert desk.subtask().status in ("open", "awarded")


def test_somebody_who_was_never_awarded_cannot_fill_the_journal(desk: Playbook) -> None:
    count = len(desk.records)
    for attempt in range(1, 50):
        desk.work("b", a_result("one", attempt, 1))
    assert len(desk.records) == count
    assert desk.engine.refused == {"E_FENCE": 49}


def test_an_award_that_nobody_takes_is_said_again_and_then_lost(desk: Playbook) -> None:
    desk.wait(9.9)
    assert len(desk.said(Award, "a")) == 3
    desk.wait(0.2)
    failed = desk.last("attempt.failed")
    assert (failed.code, failed.node) == ("E_NOT_TAKEN", node_id("a"))
    assert "not taken" in failed.message
    assert desk.cancels("a") == [1]


@pytest.mark.parametrize("item", [Confirm(**FENCE), Started(**FENCE)])
def test_an_award_that_was_taken_is_not_said_again(desk: Playbook, item: orders.WorkItem) -> None:
    desk.work("a", item, after=0.5)
    desk.wait(8)
    assert desk.said(Award, "a") == []


def test_progress_renews_the_lease_and_nothing_else_does(desk: Playbook) -> None:
    desk.work("a", Started(**FENCE))
    for step in range(5):
        desk.work("a", Progress(**FENCE, step=step + 1), after=9.0)
        assert "attempt.failed" not in desk.kinds()
    desk.work("a", Confirm(**FENCE), after=9.0)
    desk.wait(2.0)
    assert desk.last("attempt.failed").code == "E_LEASE"


def test_a_bid_that_needs_longer_silences_gets_a_longer_lease() -> None:
    desk = awarded(quiet_ms=60_000)
    assert desk.subtask().attempts[-1].lease_ms == 60_000
    desk.work("a", Started(**FENCE))
    desk.wait(59)
    assert "attempt.failed" not in desk.kinds()
    desk.wait(2)
    assert "attempt.failed" in desk.kinds()
    assert LEASE_MIN_MS == 10_000


def test_work_that_goes_on_after_its_deadline_is_given_up() -> None:
    desk = awarded(a_subtask("one", deadline_ms=20_000))
    desk.work("a", Started(**FENCE))
    for step in range(1, 7):
        desk.work("a", Progress(**FENCE, step=step), after=4.5)
    assert desk.last("attempt.failed").code == "E_DEADLINE"
    assert set(desk.cancels("a")) == {1}


def test_long_work_is_to_be_confirmed_and_short_work_is_not() -> None:
    short, long = Playbook(), Playbook()
    for book, eta in ((short, 500), (long, 30_000)):
        book.nodes("a")
        book.submit()
        book.bid("a", eta_ms=eta)
    assert [item.confirm for item in short.said(Award)] == [False]
    assert [item.confirm for item in long.said(Award)] == [True]


def test_a_failure_that_could_go_otherwise_is_tried_on_another_node(desk: Playbook) -> None:
    desk.work("a", a_failed("one"))
    assert desk.acks("a") == [True]
    desk.wait(1)
    desk.bid("a", "one", eta_ms=1)
    desk.bid("b", "one", eta_ms=9_000)
    assert desk.awards() == {"one": "b"}


def test_the_node_that_failed_is_asked_again_when_there_is_no_other() -> None:
    desk = awarded()
    desk.work("a", a_failed("one"))
    desk.wait(1)
    desk.bid("a")
    assert desk.awards() == {"one": "a"}


def test_a_failure_of_the_input_is_final_at_once(desk: Playbook) -> None:
    desk.work("a", a_failed("one", code="E_ENCRYPTED", message="it is locked", retryable=False))
    failed = desk.last("subtask.failed")
    assert (failed.code, failed.message) == ("E_ENCRYPTED", "it is locked")
    assert desk.state.outcome == "failed"
    assert desk.state.message == "one: it is locked"


def test_after_its_tries_a_subtask_fails_with_the_last_reason() -> None:
    desk = awarded(a_subtask("one", tries=2))
    desk.work("a", a_failed("one", 1, message="no"))
    desk.wait(1)
    desk.bid("a")
    desk.work("a", a_failed("one", 2, message="no again"))
    assert desk.last("subtask.failed").message == "tried 2 times, last on a: no again"


def test_lost_nodes_do_not_use_up_the_tries_but_work_that_brings_its_only_node_down_is_set_aside() -> None:
    desk = awarded(a_subtask("one", tries=1))
    for attempt in range(1, 4):
        assert desk.subtask().status == "awarded"
        desk.work("a", a_failed("one", attempt, code="E_RESTARTED", message="it was restarted"))
        if attempt < 3:
            desk.bid("a")
    failed = desk.last("subtask.failed")
    assert failed.code == "E_POISON"
    assert failed.message == (
        "set aside, since it came to nothing 3 times on 1 node: "
        + "; ".join(["a: E_RESTARTED it was restarted"] * 3)
    )
    assert desk.state.outcome == "failed"


def fail_on(desk: Playbook, *ends: tuple[str, str]) -> None:
    """Attempts that end so, one after the other: (node, code)."""
    for attempt, (name, code) in enumerate(ends, 1):
        while desk.subtask().status != "awarded":
            desk.forget_said()
            while not desk.said(Announce):
                desk.wait(0.05)
            desk.bid(name)
            desk.wait(6)
        assert desk.subtask().attempts[-1].node == node_id(name)
        desk.work(name, a_failed("one", attempt, code=code, message="boom"))


def test_work_that_brings_down_two_nodes_in_three_attempts_is_kept_from_the_third() -> None:
    desk = Playbook()
    desk.nodes("a", "b", "c")
    desk.submit(a_plan(a_subtask("one", tries=3)))
    fail_on(desk, ("a", "E_RESTARTED"), ("b", "E_NODE_GONE"), ("c", "E_WORK"))
    failed = desk.last("subtask.failed")
    assert failed.code == "E_POISON"
    assert failed.message == (
        "set aside, since it came to nothing 3 times on 3 nodes: a: E_RESTARTED boom; b: E_NODE_GONE boom; c: E_WORK boom"
    )
    desk.check()


def test_nodes_that_stop_politely_say_nothing_about_the_work() -> None:
    desk = Playbook()
    desk.nodes("a", "b")
    desk.submit(a_plan(a_subtask("one", tries=1)))
    fail_on(desk, *[("a", "E_SHUTDOWN"), ("b", "E_DRAINING")] * 2, ("a", "E_SHUTDOWN"))
    assert desk.subtask().status == "open"
    fail_on_more = desk.subtask().attempts
    assert len(fail_on_more) == 5


@pytest.mark.requirement("MSG-21")
@pytest.mark.parametrize(
    ("code", "blamed"),
    [
        ("E_SHUTDOWN", False),
        ("E_HALTED", False),
        ("E_DISK_FULL", False),
        ("E_RESTARTED", False),
        ("E_CANCELLED", False),
        ("E_BUDGET", False),
        ("E_WORK", True),
    ],
)
def test_some_codes_of_a_failure_say_nothing_about_how_good_the_node_is(code: str, blamed: bool) -> None:
    desk = Playbook()
    desk.nodes("a", "b")
    desk.submit(a_plan(a_subtask("one")))
    fail_on(desk, ("a", code))
    capability = desk.subtask().skeleton.capability
    assert (desk.engine.history.of(node_id("a"), capability).failed > 0) == blamed


def test_work_that_failed_on_one_node_only_goes_to_another_before_it_is_set_aside() -> None:
    desk = Playbook()
    desk.nodes("a")
    desk.submit(a_plan(a_subtask("one", tries=3)))
    fail_on(desk, ("a", "E_RESTARTED"), ("a", "E_RESTARTED"))
    desk.nodes("b")
    desk.forget_said()
    while not desk.said(Announce):
        desk.wait(0.05)
    desk.bid("b")
    assert desk.awards() == {"one": "b"}


def test_tries_that_were_given_count_for_work_that_brings_nodes_down() -> None:
    desk = Playbook()
    desk.nodes("a", "b")
    desk.submit(a_plan(a_subtask("one", tries=5)))
    fail_on(desk, *[("a", "E_RESTARTED"), ("b", "E_RESTARTED")] * 2)
    assert desk.subtask().status == "open"


def test_a_node_that_is_gone_loses_its_attempts_at_once(desk: Playbook) -> None:
    desk.handle(orders.NodeLost(node_id("a"), "said goodbye"))
    failed = desk.last("attempt.failed")
    assert (failed.code, failed.node) == ("E_NODE_GONE", node_id("a"))
    desk.bid("b", "one")
    assert desk.awards() == {"one": "b"}


def test_when_a_node_says_hello_every_award_that_holds_is_said_again(desk: Playbook) -> None:
    desk.work("a", Started(**FENCE))
    desk.nodes("a")
    assert [item.attempt for item in desk.said(Award, "a")] == [1]


def test_who_works_on_what_it_no_longer_holds_is_told_to_stop(desk: Playbook) -> None:
    desk.wait(11)
    desk.forget_said()
    desk.work("a", Progress(**FENCE, step=1))
    assert desk.cancels("a") == [1]


def test_what_needs_a_failed_subtask_fails_with_it_and_names_where_it_began() -> None:
    desk = awarded(a_subtask("one"), a_subtask("two", needs=["one"]), a_subtask("three", needs=["two"]))
    desk.work("a", a_failed("one", code="E_BINARY", message="zero bytes", retryable=False))
    for name in ("two", "three"):
        failed = desk.subtask(name)
        assert (failed.status, failed.code, failed.cause) == ("failed", "E_BINARY", "one")
    assert desk.state.outcome == "failed"


def test_what_is_tolerant_goes_on_without_it_and_is_told_what_is_missing() -> None:
    desk = Playbook()
    desk.nodes("a")
    plan = a_plan(
        a_subtask("read-1", inputs=["x.pdf"]),
        a_subtask("read-2", inputs=["y.pdf"]),
        a_subtask("find-1", needs=["read-1"]),
        a_subtask("find-2", needs=["read-2"]),
        a_subtask("report", needs=["find-1", "find-2"], tolerant=True),
        inputs=["x.pdf", "y.pdf"],
    )
    desk.submit(plan)
    desk.bids(["a"], ["read-1", "read-2"])
    desk.work("a", a_failed("read-1", code="E_ENCRYPTED", message="locked", retryable=False))
    desk.work("a", a_result("read-2"))
    desk.bid("a", "find-2")
    desk.work("a", a_result("find-2", outputs=[named("rows.json")]))
    desk.handle(orders.ResultChecked(desk.run, "find-2", 1, 1))
    desk.bid("a", "report")
    [award] = [item for item in desk.said(Award) if item.subtask == "report"]
    assert [(gap.name, gap.code, gap.message) for gap in award.missing] == [
        ("x.pdf", "E_ENCRYPTED", "locked")
    ]
    assert [file.name for file in award.inputs] == ["find-2.rows.json"]
    desk.work("a", a_result("report", outputs=[named("report.md")]))
    desk.handle(orders.ResultChecked(desk.run, "report", 1, 1))
    assert desk.state.outcome == "partial"
    assert "1 of 5 subtasks" in desk.state.message


def test_files_that_the_client_could_not_read_are_named_to_what_is_tolerant() -> None:
    from protocol.messages import Missing

    desk = Playbook()
    desk.nodes("a")
    gap = Missing(name="z.bin", code="E_VANISHED", message="it is gone")
    desk.submit(a_plan(a_subtask("one", tolerant=True)), skipped=[gap])
    desk.bid("a")
    assert desk.said(Award)[0].missing == [gap]
    desk.work("a", a_result("one", outputs=[named("report.md")]))
    desk.handle(orders.ResultChecked(desk.run, "one", 1, 1))
    assert desk.state.outcome == "done"
    assert "1 of the inputs could not be read" in desk.state.message


def test_a_subtask_starts_only_when_all_its_needs_have_ended() -> None:
    desk = awarded(a_subtask("one"), a_subtask("two"), a_subtask("three", needs=["one", "two"]))
    desk.work("a", a_result("one"))
    assert not desk.said(Announce)
    desk.work("a", a_result("two"))
    assert [item.subtask for item in desk.said(Announce)] == ["three"]


def test_cancelling_ends_what_is_open_at_once_and_what_runs_when_it_has_stopped(desk: Playbook) -> None:
    desk.handle(orders.CancelAsked(desk.run, node_id("client"), "wrong folder"))
    assert desk.cancels("a") == [1]
    assert desk.state.status == "cancelling"
    desk.work("a", Cancelled(**FENCE))
    assert desk.state.outcome == "cancelled"
    assert "wrong folder" in desk.state.message
    assert desk.acks("a") == [True]
    desk.check()


def test_a_cancel_that_nobody_answers_is_said_again_and_ends_after_a_while(desk: Playbook) -> None:
    desk.handle(orders.CancelAsked(desk.run, node_id("client")))
    desk.wait(10.5)
    assert len(desk.said(Cancel, "a")) >= 3
    assert desk.state.outcome == "cancelled"


def test_a_result_that_comes_while_the_run_is_cancelled_does_not_count(desk: Playbook) -> None:
    desk.handle(orders.CancelAsked(desk.run, node_id("client")))
    desk.work("a", a_result("one"))
    assert desk.state.outcome == "cancelled"
    assert desk.acks("a") == [False]
    assert "subtask.accepted" not in desk.kinds()


@pytest.mark.parametrize("ending", [a_failed("one"), a_refusal("one")])
def test_any_ending_of_a_cancelled_attempt_will_do(desk: Playbook, ending: orders.WorkItem) -> None:
    desk.handle(orders.CancelAsked(desk.run, node_id("client")))
    desk.work("a", ending)
    assert desk.state.outcome == "cancelled"


def test_a_check_that_ends_after_the_cancel_does_not_count(desk: Playbook) -> None:
    desk.work("a", a_result("one", outputs=[named("out.json")]))
    desk.handle(orders.CancelAsked(desk.run, node_id("client")))
    desk.handle(orders.ResultChecked(desk.run, "one", 1, 1))
    assert desk.state.outcome == "cancelled"
    assert "subtask.accepted" not in desk.kinds()


def test_cancelling_twice_is_cancelling_once(desk: Playbook) -> None:
    desk.handle(orders.CancelAsked(desk.run, node_id("client")))
    desk.handle(orders.CancelAsked(desk.run, node_id("client")))
    assert desk.kinds().count("run.cancelling") == 1


def test_endings_of_a_run_that_has_left_the_memory_are_acknowledged_and_others_are_not(
    desk: Playbook,
) -> None:
    desk.work("a", a_result("one"))
    desk.handle(orders.RunForgotten(desk.run))
    desk.forget_said()
    desk.work("a", a_result("one"))
    assert desk.acks("a") == [False]
    desk.run = run_id(99)
    desk.forget_said()
    desk.work("a", a_result("one"))
    assert desk.commands == []


def test_a_run_that_somebody_else_has_taken_is_dropped_without_a_word(desk: Playbook) -> None:
    run = desk.run
    desk.handle(orders.RunDeposed(run))
    assert desk.engine.state(run) is None
    desk.work("a", a_result("one"))
    desk.wait(60)
    assert desk.commands == []
    assert len(desk.engine.watch) == 0
    assert desk.engine.market.flight("text.work") == 0


def test_an_award_that_would_name_too_many_files_is_given_up_with_a_reason() -> None:
    desk = Playbook()
    desk.nodes("a")
    names = [f"{number}.txt" for number in range(1_001)]
    desk.submit(a_plan(a_subtask("one", inputs=names), inputs=names))
    assert desk.last("subtask.failed").code == "E_TOO_LARGE"
    assert "1,001 files" in desk.state.message


def test_files_of_the_same_name_are_delivered_under_the_names_of_their_subtasks() -> None:
    from protocol.plan import Deliverable, Plan

    desk = Playbook()
    desk.nodes("a")
    plan = Plan(
        goal="x",
        planner="t",
        subtasks=[a_subtask("t-1"), a_subtask("t-2")],
        deliver=[Deliverable(subtask="t-1"), Deliverable(subtask="t-2")],
    )
    desk.submit(plan)
    desk.bids(["a"], ["t-1", "t-2"])
    for name in ("t-1", "t-2"):
        desk.work("a", a_result(name, outputs=[named("table.csv", name)]))
        desk.handle(orders.ResultChecked(desk.run, name, 1, 1))
    assert [file.name for file in desk.state.deliverables] == ["t-1.table.csv", "t-2.table.csv"]


@pytest.mark.requirement("MSG-15")
def test_what_is_said_of_a_higher_epoch_is_left_to_whoever_owns_the_run_now(desk: Playbook) -> None:
    for item in (a_result("one", 1, 2), a_failed("one", 1, 2), Started(**FENCE | {"epoch": 2})):
        desk.work("a", item)
    assert desk.acks("a") == []
    assert desk.said(Cancel) == []
    assert desk.engine.refused == {"E_EPOCH": 3}
    desk.work("a", a_result("one"))
    assert desk.acks("a") == [True]
