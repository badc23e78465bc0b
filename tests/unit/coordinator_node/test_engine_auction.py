"""How the engine finds a node for a subtask."""

from __future__ import annotations

from collections import Counter

import pytest

from coordinator_node import orders
from protocol.messages import Announce, Award, Reject
from tests.support.builders import (
    a_node,
    a_plan,
    a_refusal,
    a_result,
    a_run,
    a_subtask,
    bus_key,
    node_id,
    run_id,
)
from tests.support.playbook import Playbook


@pytest.fixture
def desk() -> Playbook:
    book = Playbook()
    book.nodes("a", "b", "c")
    return book


def test_a_subtask_is_announced_once_to_everybody_when_its_run_stands(desk: Playbook) -> None:
    desk.submit()
    assert [item.subtask for item in desk.said(Announce)] == ["one"]
    assert any(isinstance(command, orders.RunStands) for command in desk.commands)
    assert desk.kinds() == ["run.opened", "plan.adopted"]


def test_the_round_closes_as_soon_as_everybody_has_answered(desk: Playbook) -> None:
    desk.submit()
    desk.bid("a")
    desk.bid("b")
    assert not desk.awards()
    desk.decline("c")
    assert set(desk.awards()) == {"one"}


def test_the_round_closes_at_the_end_of_its_window_without_those_who_are_silent(desk: Playbook) -> None:
    desk.submit()
    desk.bid("a")
    desk.wait(0.9)
    assert not desk.awards()
    desk.wait(5)
    assert desk.awards() == {"one": "a"}


def test_the_window_is_told_to_the_bidders_and_lies_between_its_bounds(desk: Playbook) -> None:
    desk.submit()
    [item] = desk.said(Announce)
    assert 150 <= item.window_ms <= 5_000


def test_windows_grow_for_a_node_that_answers_too_late(desk: Playbook) -> None:
    for number in (1, 2, 3):
        desk.run = run_id(number)
        desk.submit(number=number)
        first = desk.said(Announce)[-1]
        desk.bid("a")
        desk.bid("b")
        desk.wait(3)
        desk.answer("c", *[])
        late = desk.said(Announce)[-1]
        assert late.round == first.round
        desk.answer("c", _bid_for(first))
    windows = [item.window_ms for item in desk.said(Announce)]
    assert windows[-1] > windows[0]


def _bid_for(item: Announce) -> orders.Answer:
    from tests.support.builders import a_bid

    return a_bid(item.subtask, item.round)


def test_a_late_bid_is_told_so_and_changes_nothing(desk: Playbook) -> None:
    desk.submit()
    desk.bids(["a", "b"], ["one"])
    desk.decline("c")
    before = dict(desk.awards())
    desk.forget_said()
    desk.answer("c", _bid_for_round(desk))
    assert desk.rejects("c") == ["late"]
    assert not desk.awards()
    assert before


def _bid_for_round(desk: Playbook) -> orders.Answer:
    from tests.support.builders import a_bid

    return a_bid("one", desk.subtask().attempts[-1].round)


def test_losers_are_told_and_the_winner_is_not(desk: Playbook) -> None:
    desk.submit()
    desk.bid("a", eta_ms=5_000, load=0.9)
    desk.bid("b", eta_ms=50, load=0.0)
    desk.bid("c", eta_ms=5_000, load=0.9)
    assert desk.awards() == {"one": "b"}
    assert desk.rejects("a") == desk.rejects("c") == ["outbid"]
    assert desk.rejects("b") == []


def test_the_award_names_all_bids_and_its_reason(desk: Playbook) -> None:
    desk.submit()
    desk.bids(["a", "b", "c"], ["one"])
    record = desk.last("subtask.awarded")
    assert {note.node for note in record.bids} == {node_id(name) for name in "abc"}
    assert {note.envelope for note in record.bids} == {b"a", b"b", b"c"}
    assert record.reason.startswith("best of 3 bids")
    assert record.bids == sorted(record.bids, key=lambda note: -note.score)


def test_the_second_bid_of_a_node_replaces_its_first(desk: Playbook) -> None:
    desk.submit()
    desk.bid("a", eta_ms=10)
    desk.bid("a", eta_ms=20)
    desk.bids(["b", "c"], ["one"])
    record = desk.last("subtask.awarded")
    assert sorted(note.node for note in record.bids) == sorted(node_id(name) for name in "abc")


def test_refusing_an_award_gives_it_to_the_next_best_without_a_new_announcement(desk: Playbook) -> None:
    desk.submit()
    desk.bids(["a", "b", "c"], ["one"])
    first = desk.awards()["one"]
    desk.forget_said()
    desk.work(first, a_refusal("one"))
    second = desk.awards()["one"]
    assert second != first
    assert not desk.said(Announce)
    assert desk.said(Award)[0].attempt == 2
    assert desk.subtask().attempts[0].status == "refused"
    assert "next best" in desk.subtask().attempts[1].reason
    standing = [note.node for note in desk.last("subtask.awarded").bids]
    assert node_id(second) in standing
    assert node_id(first) not in standing


def test_bids_that_have_run_out_are_not_next_best(desk: Playbook) -> None:
    desk.submit()
    desk.bids(["a", "b", "c"], ["one"], valid_ms=2_000)
    first = desk.awards()["one"]
    desk.forget_said()
    desk.work(first, a_refusal("one"), after=3.0)
    assert desk.subtask().status == "open"
    desk.wait(1)
    assert desk.said(Announce)


def test_bids_in_which_the_work_would_end_after_its_deadline_do_not_win(desk: Playbook) -> None:
    desk.submit(a_plan(a_subtask("one", deadline_ms=1_000)))
    desk.bid("a", eta_ms=2_000)
    desk.bid("b", eta_ms=900, load=1.0, price=10**9)
    desk.decline("c")
    assert desk.awards() == {"one": "b"}


def test_several_subtasks_are_shared_out_together(desk: Playbook) -> None:
    names = [f"s{number}" for number in range(6)]
    desk.submit(a_plan(*(a_subtask(name) for name in names), deliver=["s0"]))
    desk.bids(["a", "b", "c"], names)
    given = list(desk.awards().values())
    assert {name: given.count(name) for name in "abc"} == {"a": 2, "b": 2, "c": 2}


def test_no_node_is_given_more_than_its_slots_and_a_queue_of_that_length() -> None:
    desk = Playbook()
    desk.nodes("a", slots=2)
    names = [f"s{number}" for number in range(8)]
    desk.submit(a_plan(*(a_subtask(name) for name in names), deliver=["s0"]))
    desk.bids(["a"], names)
    assert len(desk.awards()) == 4
    assert "withdrawn" in desk.rejects("a")


@pytest.mark.requirement("MSG-21")
@pytest.mark.parametrize("code", ["E_SLOTS", "E_LOAD", "E_DRAINING", "E_HALTED", "E_DISK_FULL"])
def test_when_everybody_is_full_the_work_waits_and_is_announced_when_a_slot_is_free(
    desk: Playbook, code: str
) -> None:
    desk.submit()
    for name in "abc":
        desk.decline(name, code=code)
    assert "subtask.unbid" not in desk.kinds()
    first = len(desk.said(Announce))
    desk.wait(0.5)
    assert len(desk.said(Announce)) > first


def test_work_that_waits_for_full_sellers_says_who_said_what(desk: Playbook) -> None:
    scheduler = desk.engine.scheduler
    desk.submit()
    assert scheduler.waiting(desk.run) == {}
    for name in "abc":
        desk.decline(name, code="E_SLOTS", detail="its disk is full")
    [said] = scheduler.waiting(desk.run).values()
    assert said.endswith(": its disk is full")
    assert scheduler.waiting("another") == {}
    desk.wait(0.5)
    for name in "abc":
        desk.bid(name)
    assert scheduler.waiting(desk.run) == {}


def test_when_everybody_says_no_for_good_the_run_ends_and_says_who_was_asked_and_why(desk: Playbook) -> None:
    desk.submit()
    for _ in range(3):
        desk.decline("a", code="E_TOO_LARGE", detail="9 bytes of input; text takes 3")
        desk.decline("b", code="E_CLASS", detail="public only")
        desk.decline("c", code="E_CAPABILITY")
        desk.wait(0.6)
    closed = desk.last("run.closed")
    assert closed.outcome == "unbid"
    assert closed.code == "E_UNBID"
    assert "3 nodes were asked" in closed.message
    assert "a: 9 bytes of input; text takes 3" in closed.message
    assert "zwerm invite" in closed.hint
    assert desk.kinds().count("subtask.unbid") == 3


def test_when_nobody_offers_the_capability_the_run_ends_after_a_grace_and_names_what_there_is(
    desk: Playbook,
) -> None:
    desk.submit(a_plan(a_subtask("one", "image.ocr")))
    assert "run.closed" not in desk.kinds()
    desk.wait(2.9)
    assert "run.closed" not in desk.kinds()
    desk.wait(0.2)
    closed = desk.last("run.closed")
    assert closed.outcome == "unbid"
    assert "no node offers image.ocr" in closed.message
    assert "text.work" in closed.message
    assert "a, b, c" in closed.message


def test_a_node_that_appears_within_the_grace_gets_the_work() -> None:
    desk = Playbook()
    desk.submit()
    desk.wait(2)
    desk.nodes("a")
    desk.bid("a")
    assert desk.awards() == {"one": "a"}


def test_a_capability_that_was_there_before_is_waited_for_longer(desk: Playbook) -> None:
    for name in "abc":
        desk.handle(orders.NodeLost(node_id(name), "said goodbye"))
    desk.submit()
    desk.wait(30)
    assert "run.closed" not in desk.kinds()
    desk.nodes("b")
    desk.bid("b")
    assert desk.awards() == {"one": "b"}


def test_a_node_that_is_lost_while_bids_are_open_is_not_waited_for_and_cannot_win(desk: Playbook) -> None:
    desk.submit()
    desk.bid("a", eta_ms=1)
    desk.bid("b")
    desk.handle(orders.NodeLost(node_id("a"), "silent for 30 s"))
    desk.handle(orders.NodeLost(node_id("c"), "silent for 30 s"))
    assert desk.awards() == {"one": "b"}


def test_a_node_that_let_two_windows_pass_is_asked_but_not_waited_for(desk: Playbook) -> None:
    for number in (1, 2, 3):
        desk.run = run_id(number)
        desk.submit(number=number)
        desk.bid("a")
        desk.bid("b")
        if number < 3:
            desk.wait(5)
            desk.work(desk.awards()["one"], a_result("one"))
    assert desk.awards() == {"one": desk.awards()["one"]}
    assert desk.state.subtasks["one"].status == "awarded"


def test_of_hundreds_of_nodes_only_32_are_asked_about_one_subtask() -> None:
    desk = Playbook()
    desk.nodes(*(f"n{number}" for number in range(300)))
    desk.submit()
    asked = {command.to for command in desk.commands if isinstance(command, orders.Say)}
    assert len(asked) == 32
    assert not any(isinstance(command, orders.SayAll) for command in desk.commands)


def test_enough_good_bids_close_a_round_of_many_early() -> None:
    desk = Playbook()
    desk.nodes(*(f"n{number}" for number in range(14)))
    desk.submit()
    for number in range(8):
        desk.bid(f"n{number}")
    assert set(desk.awards()) == {"one"}


def test_two_runs_of_the_same_id_are_one(desk: Playbook) -> None:
    desk.submit()
    count = len(desk.records)
    desk.submit()
    assert len(desk.records) == count


def test_runs_take_turns_so_that_a_small_one_does_not_wait_for_a_large_one() -> None:
    desk = Playbook()
    desk.nodes("a", slots=2)
    large = a_plan(*(a_subtask(f"s{number}") for number in range(100)), deliver=["s0"])
    desk.handle(a_run(large, number=1))
    announced = len(desk.said(Announce))
    assert announced < 20
    desk.handle(a_run(number=2))
    first = [command for command in desk.commands if isinstance(command, orders.SayAll)]
    for item in [command.item for command in first if isinstance(command.item, Announce)]:
        desk.answer("a", _decline_full(item))
    desk.forget_said()
    desk.wait(1)
    runs = {command.run for command in desk.commands if isinstance(command, orders.SayAll)}
    assert run_id(2) in runs


def _decline_full(item: Announce) -> orders.Answer:
    from tests.support.builders import a_decline

    return a_decline(item.subtask, item.round, "E_SLOTS")


def test_a_node_that_offers_something_new_is_asked_for_it() -> None:
    desk = Playbook()
    desk.nodes("a", capability="other.work")
    desk.submit()
    desk.handle(orders.NodeSeen(a_node("a", "other.work", "text.work")), after=1.0)
    assert desk.said(Announce)


def test_a_withdrawn_run_tells_bidders_that_the_announcement_no_longer_holds(desk: Playbook) -> None:
    from protocol.messages import Withdraw

    desk.submit()
    desk.handle(orders.CancelAsked(desk.run, node_id("client")))
    assert [item.subtask for item in desk.said(Withdraw)] == ["one"]


def test_rejects_go_to_the_bus_key_that_the_bid_came_from(desk: Playbook) -> None:
    desk.submit()
    desk.bids(["a", "b", "c"], ["one"])
    losers = {
        command.to
        for command in desk.commands
        if isinstance(command, orders.Say) and isinstance(command.item, Reject)
    }
    assert losers <= {bus_key(name) for name in "abc"}
    assert len(losers) == 2


def test_1000_subtasks_over_300_nodes_all_get_done_and_nobody_is_flooded() -> None:
    desk = Playbook()
    nodes = [f"n{number}" for number in range(300)]
    desk.nodes(*nodes)
    by_key = {bus_key(name): name for name in nodes}
    desk.submit(a_plan(*(a_subtask(f"s{number}") for number in range(1_000)), deliver=["s0"]))
    asked = 0
    for _ in range(200):
        said, desk.commands = desk.commands, []
        announced: dict[str, list[orders.Answer]] = {}
        results: dict[str, list[orders.WorkItem]] = {}
        for command in said:
            if not isinstance(command, orders.Say):
                continue
            name = by_key[command.to]
            if isinstance(command.item, Announce):
                announced.setdefault(name, []).append(_bid_for(command.item))
            elif isinstance(command.item, Award):
                results.setdefault(name, []).append(a_result(command.item.subtask, command.item.attempt))
        asked += sum(map(len, announced.values()))
        for name, bids in announced.items():
            desk.answer(name, *bids)
        for name, items in results.items():
            desk.work(name, *items)
        if desk.state.status == "closed":
            break
        if not announced and not results:
            desk.wait(1)
    assert desk.state.outcome == "done"
    assert asked <= 1_000 * 32 * 1.5
    won = Counter(record.node for _, record in desk.records if record.k == "subtask.awarded")  # type: ignore[union-attr]
    assert len(won) > 200
    assert max(won.values()) < 20


def test_a_node_that_let_its_lease_run_out_does_not_delay_the_next_award(desk: Playbook) -> None:
    desk.submit()
    desk.bid("a")
    for name in ("b", "c"):
        desk.decline(name, code="E_SLOTS")
    desk.wait(10.001)
    assert desk.last("attempt.failed").code == "E_NOT_TAKEN"
    for name in ("b", "c"):
        desk.bid(name)
    assert desk.awards()["one"] in {"b", "c"}


def test_rounds_that_are_open_stop_waiting_for_a_node_whose_lease_runs_out(desk: Playbook) -> None:
    desk.submit()
    desk.bid("a")
    for name in ("b", "c"):
        desk.decline(name, code="E_SLOTS")
    desk.wait(9.9)
    desk.run = run_id(2)
    desk.submit(number=2)
    for name in ("b", "c"):
        desk.bid(name)
    desk.forget_said()
    assert not desk.awards()  # it waits for the third
    desk.wait(0.101)
    assert desk.awards()["one"] in {"b", "c"}


def test_a_node_that_slept_through_its_windows_is_not_taken_for_a_slow_one(desk: Playbook) -> None:
    for number in (1, 2):
        desk.run = run_id(number)
        desk.submit(number=number)
        for name in ("a", "b", "c"):
            desk.bid(name, after=0.001)
        desk.work(desk.awards()["one"], a_result("one"))
    desk.run = run_id(3)
    desk.submit(number=3)
    slept = desk.said(Announce)[-1]
    for name in ("a", "b"):
        desk.bid(name)
    desk.wait(9.0)
    desk.answer("c", _bid_for(slept))  # it was stopped, and now says what it had to say
    desk.run = run_id(4)
    desk.submit(number=4)
    assert slept.window_ms == 150
    assert desk.said(Announce)[-1].window_ms <= 1_100


def test_work_that_nobody_answers_for_hours_is_still_tried(desk: Playbook) -> None:
    desk.submit()
    desk.wait(4 * 3600)
    assert len(desk.said(Announce)) > 1_100
    desk.bid("a")
    desk.wait(5)
    assert desk.awards() == {"one": "a"}
