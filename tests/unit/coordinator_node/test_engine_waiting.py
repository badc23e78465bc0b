"""Dead, wedged, at a limit of use, waiting for a person: told apart, written down, and treated differently."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from coordinator_node import orders
from coordinator_node.fold import fold
from coordinator_node.recovery import limits
from coordinator_node.views import live_view
from coordinator_node.watch import PERSON_MAX_S
from protocol.messages import Announce, Award, Cancelled, NamedRef, Progress, Started, Usage
from protocol.records import record_adapter
from tests.support.builders import a_failed, a_plan, a_refusal, a_result, a_subtask, named, node_id
from tests.support.playbook import Playbook

FENCE: dict[str, Any] = {"subtask": "one", "attempt": 1, "epoch": 1}


@pytest.fixture
def desk() -> Playbook:
    """`one` is at work at a, which has a lease of 10 s; b is there, too."""
    book = Playbook()
    book.nodes("a", "b")
    book.submit(a_plan(a_subtask("one", deadline_ms=600_000)))
    book.bid("a", eta_ms=10, load=0.0, success=0.95)
    book.bid("b", eta_ms=9_000, load=1.0, success=0.2, price=10**9)
    assert book.awards() == {"one": "a"}
    book.work("a", Started(**FENCE))
    book.forget_said()
    return book


def progress(desk: Playbook, step: int, *, after: float = 0.0, **fields: Any) -> None:
    desk.work("a", Progress(**FENCE, step=step, **fields), after=after)


def again(desk: Playbook, *nodes: str, after: float = 0.0, ahead_s: float = 0.0) -> Playbook:
    """Another process that takes the run up, with another clock perhaps."""
    state = fold(copy.deepcopy([record for _, record in desk.records]))
    assert state is not None
    plan = desk.engine.desks[desk.run].content_known.plan
    book = Playbook(now=desk.now + after + ahead_s)
    book.nodes(*nodes)
    book.handle(orders.RunRecovered(state, plan, apart_ms=int(ahead_s * 1000)))
    return book


# --- wedged and dead ---


@pytest.mark.requirement("MSG-13")
def test_an_agent_that_repeats_the_same_step_loses_its_lease(desk: Playbook) -> None:
    progress(desk, 7, after=5.0)
    for _ in range(4):
        progress(desk, 7, after=2.0)
    assert "attempt.failed" not in desk.kinds()
    progress(desk, 3, after=1.0)
    desk.wait(1.5)
    failed = desk.last("attempt.failed")
    assert failed.code == "E_LEASE"
    assert failed.message == "its node is alive but the work has not moved for 10 s"
    assert desk.cancels("a") == [1]


def test_saying_that_it_has_started_again_and_again_does_not_help(desk: Playbook) -> None:
    for _ in range(6):
        desk.work("a", Started(**FENCE), after=2.0)
    assert desk.last("attempt.failed").code == "E_LEASE"


def test_a_node_that_is_lost_loses_its_work_at_once(desk: Playbook) -> None:
    desk.handle(orders.NodeLost(node_id("a"), "not heard for 20 s"))
    failed = desk.last("attempt.failed")
    assert (failed.code, failed.message) == ("E_NODE_GONE", "its node is gone: not heard for 20 s")
    assert [item.subtask for item in desk.said(Announce)] == ["one"]


@pytest.mark.parametrize("state", ["limited", "person"])
def test_a_node_that_dies_while_its_work_waits_is_noticed(desk: Playbook, state: str) -> None:
    progress(desk, 1, state=state, wait_ms=3_600_000)
    desk.handle(orders.NodeLost(node_id("a"), "not heard for 20 s"))
    assert desk.last("attempt.failed").code == "E_NODE_GONE"
    assert desk.engine.market._of("text.work").waiting == 0


# --- a limit of use ---


@pytest.mark.requirement("MSG-13")
def test_work_at_a_limit_keeps_its_lease_until_the_limit_has_passed(desk: Playbook) -> None:
    progress(desk, 1, state="limited", wait_ms=120_000, note="429 from the provider")
    moved = desk.last("attempt.state")
    assert (moved.state, moved.wait_ms, moved.note) == ("limited", 120_000, "429 from the provider")
    desk.wait(129)
    assert "attempt.failed" not in desk.kinds()
    desk.wait(2)
    assert desk.last("attempt.failed").code == "E_LEASE"


def test_the_deadline_runs_while_work_is_at_a_limit(desk: Playbook) -> None:
    progress(desk, 1, state="limited", wait_ms=100_000)
    for _ in range(7):
        progress(desk, 1, state="limited", wait_ms=100_000, after=95.0)
    assert desk.last("attempt.failed").code == "E_DEADLINE"


def test_a_change_is_written_once_and_not_each_message(desk: Playbook) -> None:
    for step in range(5):
        progress(desk, 1, state="limited", wait_ms=10_000 + step)
    progress(desk, 2)
    progress(desk, 3)
    assert [record.state for _, record in desk.records if record.k == "attempt.state"] == [
        "limited",
        "working",
    ]
    desk.check()


def test_an_agent_that_changes_all_the_time_cannot_fill_the_journal(desk: Playbook) -> None:
    for step in range(300):
        progress(desk, step, state="limited" if step % 2 else "working", wait_ms=1)
    assert desk.kinds().count("attempt.state") <= 21


def test_who_is_at_a_limit_gets_no_more_awards_until_it_has_passed() -> None:
    desk = Playbook()
    desk.nodes("a")
    desk.submit(a_plan(a_subtask("one"), a_subtask("two", needs=["one"], tolerant=True), a_subtask("three")))
    desk.bid("a", "one")
    desk.bid("a", "three")
    desk.forget_said()
    progress(desk, 1, state="limited", wait_ms=30_000)
    desk.work("a", a_failed("three"))
    desk.wait(20)
    assert desk.said(Announce) == []
    progress(desk, 1, state="limited", wait_ms=30_000)
    desk.wait(25)
    assert desk.said(Announce) == []
    desk.wait(6)
    assert [item.subtask for item in desk.said(Announce)] == ["three"]


def test_somebody_else_gets_what_the_one_at_a_limit_would_have_got() -> None:
    desk = Playbook()
    desk.nodes("a", "b")
    desk.submit(a_plan(a_subtask("one"), a_subtask("two")))
    desk.bid("a", "one", eta_ms=10)
    desk.bid("b", "one", eta_ms=90_000, success=0.1)
    desk.bid("a", "two", eta_ms=10)
    progress(desk, 1, state="limited", wait_ms=60_000)
    desk.bid("b", "two", eta_ms=90_000, success=0.1)
    assert desk.awards() == {"one": "a", "two": "b"}


def test_work_that_goes_on_ends_the_limit_for_everything(desk: Playbook) -> None:
    progress(desk, 1, state="limited", wait_ms=600_000)
    assert desk.engine.market.limited(node_id("a"), "text.work")
    progress(desk, 1, after=5)
    assert not desk.engine.market.limited(node_id("a"), "text.work")
    desk.wait(9)
    assert "attempt.failed" not in desk.kinds()
    desk.wait(2)
    assert desk.last("attempt.failed").code == "E_LEASE"


def test_a_failure_that_names_its_wait_is_not_tried_there_before(desk: Playbook) -> None:
    desk.work("a", a_failed("one", code="E_LIMIT", retry_ms=60_000))
    desk.wait(1)
    assert [item.subtask for item in desk.said(Announce)] == ["one"]
    desk.decline("b")
    desk.wait(50)
    assert desk.awards() == {}
    desk.handle(orders.NodeLost(node_id("b"), "bye"))
    desk.forget_said()
    desk.wait(5)
    assert desk.said(Announce) == []
    before = desk.now
    while not desk.said(Announce):
        desk.wait(0.1)
    assert 3 < desk.now - before < 9
    desk.bid("a", "one")
    assert desk.awards() == {"one": "a"}


@pytest.mark.requirement("REC-15")
@pytest.mark.parametrize("ahead_s", [0.0, 500.0, -500.0])
def test_whoever_takes_the_run_over_waits_for_the_rest_of_what_a_failure_named(
    desk: Playbook, ahead_s: float
) -> None:
    desk.work("a", a_failed("one", code="E_LIMIT", retry_ms=60_000))
    assert desk.last("attempt.failed").retry_ms == 60_000
    first = again(desk, "a", after=10.0, ahead_s=ahead_s)
    assert first.said(Announce) == [], "a says that it has reached its limit, and nobody else is here"
    second = again(first_of(desk, first), "a", after=20.0, ahead_s=-2 * ahead_s)
    second.wait(29)
    assert second.said(Announce) == []
    second.wait(2)
    assert [item.subtask for item in second.said(Announce)] == ["one"]
    second.bid("a", "one")
    assert second.awards() == {"one": "a"}


def first_of(desk: Playbook, book: Playbook) -> Playbook:
    """The whole journal of a run that a second process has taken over."""
    book.records = desk.records + book.records
    return book


@pytest.mark.requirement("REC-15")
def test_a_wait_that_has_passed_meanwhile_holds_nobody_up(desk: Playbook) -> None:
    desk.work("a", a_failed("one", code="E_LIMIT", retry_ms=60_000))
    book = again(desk, "a", after=61.0)
    assert [item.subtask for item in book.said(Announce)] == ["one"]


@pytest.mark.requirement("REC-15")
def test_a_failure_for_good_names_no_wait_that_counts(desk: Playbook) -> None:
    desk.work("a", a_failed("one", code="E_LIMIT", retry_ms=60_000, retryable=False))
    assert not desk.engine.market.limited(node_id("a"), "text.work")
    state = fold(record for _, record in desk.records)
    assert state is not None
    assert list(limits(state)) == []


def test_a_journal_of_before_waits_were_written_folds_and_asks_at_once(desk: Playbook) -> None:
    desk.work("a", a_failed("one", code="E_LIMIT", retry_ms=60_000))
    [body] = [record.model_dump() for _, record in desk.records if record.k == "attempt.failed"]
    del body["retry_ms"]
    [old] = record_adapter().validate_python([body])
    desk.records = [
        (run, old if record.k == "attempt.failed" else record)  # type: ignore[misc]
        for run, record in desk.records
    ]
    book = again(desk, "a")
    assert [item.subtask for item in book.said(Announce)] == ["one"]


def test_who_begins_to_wait_for_a_person_does_not_end_the_limit_of_its_node(desk: Playbook) -> None:
    desk.engine.market.limit(node_id("a"), "text.work", desk.now + 60)
    progress(desk, 1, state="person")
    assert desk.engine.market.limited(node_id("a"), "text.work")
    progress(desk, 2, after=5)
    assert desk.engine.market.limited(node_id("a"), "text.work")


def test_a_failure_that_names_its_wait_is_heeded_although_its_run_is_being_stopped(desk: Playbook) -> None:
    desk.handle(orders.CancelAsked(desk.run, node_id("client"), "enough"))
    desk.work("a", a_failed("one", code="E_LIMIT", retry_ms=60_000))
    assert desk.state.outcome == "cancelled"
    assert desk.engine.market.limited(node_id("a"), "text.work")


def test_the_next_best_of_a_refusal_is_not_one_at_a_limit(desk: Playbook) -> None:
    desk.engine.market.limit(node_id("b"), "text.work", desk.now + 60)
    desk.work("a", a_refusal("one"))
    assert desk.awards() == {}


# --- a person ---


@pytest.mark.requirement("MSG-13")
def test_for_work_that_waits_for_a_person_neither_lease_nor_deadline_runs(desk: Playbook) -> None:
    progress(desk, 1, state="person", note="may I delete it?", after=5)
    desk.wait(3 * 24 * 3600)
    assert "attempt.failed" not in desk.kinds()
    progress(desk, 1)
    desk.wait(9)
    assert "attempt.failed" not in desk.kinds()
    progress(desk, 2)
    for step in range(3, 60):
        progress(desk, step, after=9.0)
    assert "attempt.failed" not in desk.kinds()
    for step in range(60, 70):
        progress(desk, step, after=9.0)
    assert desk.last("attempt.failed").code == "E_DEADLINE"


def test_nobody_waits_for_a_person_for_ever(desk: Playbook) -> None:
    progress(desk, 1, state="person", note="may I?")
    desk.wait(PERSON_MAX_S + 1)
    failed = desk.last("attempt.failed")
    assert (failed.code, failed.message) == ("E_PERSON", "it waited 7 days for a person: may I?")


def test_waiting_work_keeps_nobody_else_from_being_asked() -> None:
    desk = Playbook()
    desk.nodes("a", slots=12)
    names = [f"t-{number}" for number in range(40)]
    desk.submit(a_plan(*(a_subtask(name) for name in names)))
    first = [item.subtask for item in desk.said(Announce)]
    desk.bids(["a"], first, free_slots=24)
    held = list(desk.awards())
    desk.forget_said()
    for name in held:
        desk.work("a", Progress(subtask=name, attempt=1, epoch=1, step=1, state="person"))
    assert {item.subtask for item in desk.said(Announce)} == set(names) - set(first)


@pytest.mark.parametrize("state", ["limited", "person"])
def test_waiting_goes_on_after_a_restart(desk: Playbook, state: str) -> None:
    progress(desk, 1, state=state, wait_ms=100_000)
    book = again(desk, "a", "b")
    book.wait(100)
    assert "attempt.failed" not in book.kinds()
    assert book.engine.market.limited(node_id("a"), "text.work") is False
    book.work("a", a_result("one"))
    assert book.state.outcome == "done"
    assert book.engine.market._of("text.work").waiting == 0


def test_one_that_waits_for_a_limit_is_not_lost_because_its_node_repeats_after_a_restart_that_it_has_begun(
    desk: Playbook,
) -> None:
    progress(desk, 1, state="limited", wait_ms=60_000)
    book = again(desk, "a", "b")
    book.work("a", Started(**FENCE))
    book.wait(69)
    assert "attempt.failed" not in book.kinds()
    book.wait(2)
    assert book.last("attempt.failed").code == "E_LEASE"


def test_a_node_that_never_came_back_after_a_restart_does_not_wait_for_a_person(desk: Playbook) -> None:
    progress(desk, 1, state="person")
    book = again(desk, "b")
    book.wait(11)
    assert book.last("attempt.failed").code == "E_LEASE"


def test_a_node_that_comes_back_after_a_restart_goes_on_waiting_for_a_person(desk: Playbook) -> None:
    progress(desk, 1, state="person")
    book = again(desk, "b")
    book.wait(5)
    book.nodes("a")
    book.wait(3_600)
    assert "attempt.failed" not in book.kinds()


def test_how_work_stands_can_be_seen(desk: Playbook) -> None:
    progress(desk, 4, note="page 4", fraction=0.4, after=2.0)
    [live] = desk.engine.watch.of((desk.run, "one"))
    view = live_view(live, desk.now + 3, desk.engine.market.name)
    assert view["node_name"] == "a"
    assert (view["state"], view["step"], view["silent_s"], view["since_s"]) == ("working", 4, 3.0, 5.0)
    progress(desk, 4, state="limited", wait_ms=60_000, after=1.0)
    view = live_view(live, desk.now + 10, desk.engine.market.name)
    assert (view["state"], view["state_s"], view["silent_s"], view["wait_s"]) == ("limited", 10.0, 11.0, 50.0)


# --- unfinished work ---


def partial(*names: str) -> list[NamedRef]:
    return [named(name, name) for name in names]


def test_what_an_attempt_left_is_kept_and_offered_to_the_next(desk: Playbook) -> None:
    progress(desk, 1, partial=partial("draft-1.md"), used=Usage(tokens=10))
    progress(desk, 2, partial=partial("draft-1.md", "draft-2.md"), used=Usage(tokens=25))
    desk.wait(11)
    failed = desk.last("attempt.failed")
    assert [item.name for item in failed.partial] == ["draft-1.md", "draft-2.md"]
    assert failed.used == Usage(tokens=25)
    desk.bid("b", "one")
    [award] = [item for item in desk.said(Award) if item.attempt == 2]
    assert [item.name for item in award.partial] == ["draft-1.md", "draft-2.md"]
    desk.check()


def test_the_newest_attempts_leave_comes_first_and_takes_the_place_of_an_older_one(desk: Playbook) -> None:
    desk.work("a", a_failed("one", partial=[named("draft.md", "old"), named("notes.md", "old")]))
    desk.wait(1)
    desk.bid("b", "one")
    desk.work("b", a_failed("one", 2, partial=[named("draft.md", "new"), named("log.txt", "new")]))
    desk.wait(1)
    for name in ("a", "b"):
        desk.bid(name, "one")
    [award] = [item for item in desk.said(Award) if item.attempt == 3]
    assert [(item.name, item.ref) for item in award.partial] == [
        ("draft.md", named("draft.md", "new").ref),
        ("log.txt", named("log.txt", "new").ref),
        ("notes.md", named("notes.md", "old").ref),
    ]


def test_no_more_than_a_message_holds_is_offered(desk: Playbook) -> None:
    desk.work("a", a_failed("one", partial=partial(*(f"a{number}" for number in range(16)))))
    desk.wait(1)
    desk.bid("b", "one")
    desk.work("b", a_failed("one", 2, partial=partial(*(f"b{number}" for number in range(10)))))
    desk.wait(1)
    for name in ("a", "b"):
        desk.bid(name, "one")
    [award] = [item for item in desk.said(Award) if item.attempt == 3]
    assert [item.name for item in award.partial] == [f"b{n}" for n in range(10)] + [f"a{n}" for n in range(6)]


def test_a_node_that_stops_work_on_its_own_leaves_what_it_has(desk: Playbook) -> None:
    desk.work("a", Cancelled(**FENCE, partial=partial("half.md")))
    assert [item.name for item in desk.last("attempt.failed").partial] == ["half.md"]


def test_a_result_carries_what_it_used(desk: Playbook) -> None:
    progress(desk, 1, used=Usage(tokens=7))
    desk.work("a", a_result("one"))
    assert desk.last("subtask.accepted").used == Usage(tokens=7)
