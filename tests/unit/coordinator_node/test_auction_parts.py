"""Scoring, sharing out, history and the market, each alone."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest

from coordinator_node.assignment import FULL, Lot, assign
from coordinator_node.fold import apply
from coordinator_node.history import History
from coordinator_node.market import ASKED_MAX, WINDOW_MAX_S, WINDOW_MIN_S, Market
from coordinator_node.recovery import plan_records
from coordinator_node.scoring import Candidate, gate, score_round
from coordinator_node.timers import Timers
from protocol.messages import Usage
from protocol.records import Accepted, AttemptFailed, Awarded, BidNote, Rejected, RunOpened
from tests.support.builders import OWNER, a_bid, a_node, a_plan, a_ref, a_subtask, bus_key, node_id, run_id


def candidates(*bids: dict[str, Any]) -> list[Candidate]:
    return [
        Candidate(a_bid("one", 1, **bid), node_id(str(number)), bus_key(str(number)), b"", 0.0)
        for number, bid in enumerate(bids)
    ]


def wins(
    first: dict[str, Any], second: dict[str, Any], *, history: History | None = None, **more: Any
) -> float:
    """How often the first of two bids scores higher, over many draws."""
    rng = random.Random(1)
    count = 0
    for _ in range(400):
        pair = candidates(first, second)
        score_round(
            pair,
            "text.work",
            deadline_ms=more.get("deadline_ms", 60_000),
            input_bytes=more.get("input_bytes", 0),
            failed=more.get("failed", {}),
            history=history or History(),
            rng=rng,
        )
        count += pair[0].score > pair[1].score
    return count / 400


def test_equal_bids_win_equally_often() -> None:
    assert 0.42 < wins({}, {}) < 0.58


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"eta_ms": 100}, {"eta_ms": 2_000}),
        ({"price": 100_000}, {"price": 900_000}),
        ({"load": 0.0}, {"load": 0.8}),
        ({"success": 0.95}, {"success": 0.3}),
        ({"eta_ms": 150, "load": 0.1, "price": 100_000}, {"eta_ms": 300, "load": 0.9, "price": 200_000}),
    ],
)
def test_the_better_bid_wins_most_of_the_time_but_the_other_is_tried(
    better: dict[str, Any], worse: dict[str, Any]
) -> None:
    assert wins(better, worse) > 0.7


def test_a_node_that_has_the_input_is_preferred_by_a_little() -> None:
    share = wins({"local_bytes": 1_000_000}, {}, input_bytes=1_000_000)
    assert 0.6 < share < 1.0


def test_a_node_that_failed_this_subtask_gets_it_only_if_nobody_else_wants_it() -> None:
    assert wins({"eta_ms": 1, "price": 0}, {"eta_ms": 9_000, "load": 1.0}, failed={node_id("0"): 1}) < 0.03


def record_results(
    history: History,
    node: str,
    *,
    good: int,
    bad: int,
    took_ms: int = 100,
    said_ms: int = 100,
    capability: str = "text.work",
    success: float = 0.9,
    paid: int = 0,
) -> None:
    """Teach a history through the records of a run, as it is taught in life."""
    plan = a_plan(a_subtask("one", capability))
    state = apply(None, RunOpened(at_ms=0, run=run_id(), goal=a_ref(), by=OWNER, epoch=1, owner=OWNER))
    for part in plan_records(plan, a_ref(), 0):
        apply(state, part)
    for number in range(1, good + bad + 1):
        fence = {"subtask": "one", "attempt": number, "epoch": 1, "node": node}
        note = BidNote(node=node, agent="w", price=100, eta_ms=said_ms, success=success, load=0.0, score=1.0)
        award = Awarded(
            at_ms=1_000 * number,
            round=number,
            bus_key=bus_key("a"),
            agent="w",
            lease_ms=10_000,
            deadline_ms=60_000,
            bids=[note],
            **fence,
        )
        apply(state, award)
        if number <= bad:
            ending: Any = Rejected(at_ms=1_000 * number + took_ms, reason="no", **fence)
            apply(state, ending)
            history.observe(state, ending)
            continue
        accepted = Accepted(at_ms=1_000 * number + took_ms, wall_ms=1, used=Usage(money=paid), **fence)
        history.observe(state, accepted)
        undo = AttemptFailed(at_ms=1_000 * number + took_ms, code="E_CANCELLED", **fence)
        apply(state, undo)
        history.observe(state, undo)


def test_checked_results_outweigh_what_a_node_says_of_itself() -> None:
    history = History()
    record_results(history, node_id("0"), good=2, bad=30)
    record_results(history, node_id("1"), good=30, bad=0)
    assert wins({"success": 0.99}, {"success": 0.6}, history=history) < 0.05


def test_a_node_that_takes_longer_than_it_says_is_believed_less() -> None:
    history = History()
    record_results(history, node_id("0"), good=20, bad=0, took_ms=900, said_ms=100)
    record_results(history, node_id("1"), good=20, bad=0, took_ms=100, said_ms=100)
    assert history.of(node_id("0"), "text.work").slower.ratio > 3
    assert history.of(node_id("1"), "text.work").slower.ratio == pytest.approx(1.0, abs=0.05)
    assert wins({"eta_ms": 100}, {"eta_ms": 120}, history=history) < 0.2


def test_who_overstates_one_thing_is_believed_less_about_another() -> None:
    history = History()
    record_results(history, node_id("0"), good=8, bad=12, success=1.0, capability="text.other")
    record_results(history, node_id("1"), good=17, bad=3, success=0.85, capability="text.other")
    assert 0.4 < history.claims(node_id("0")).overstated < 0.6
    assert abs(history.claims(node_id("1")).overstated) < 0.1
    assert history.claims(node_id("2")).overstated == 0.0
    assert history.of(node_id("0"), "text.work").verified == 0.0
    assert wins({"success": 1.0}, {"success": 0.85}, history=history) < 0.15
    history.clear()
    assert history.claims(node_id("0")).overstated == 0.0


def test_a_node_that_charges_more_than_it_asked_is_taken_for_dearer() -> None:
    history = History()
    record_results(history, node_id("0"), good=20, bad=0, paid=300)
    record_results(history, node_id("1"), good=20, bad=0)
    assert history.of(node_id("0"), "text.work").dearer.ratio > 2
    assert history.of(node_id("1"), "text.work").dearer.ratio == 1.0
    assert wins({"price": 100_000}, {"price": 110_000}, history=history) < 0.05


def test_failures_of_the_input_and_cancels_say_nothing_about_a_node() -> None:
    history = History()
    record_results(history, node_id("0"), good=0, bad=0)
    record_results(history, node_id("0"), good=5, bad=0)
    assert history.of(node_id("0"), "text.work").failed == 0.0


def test_a_new_node_gets_a_chance_against_a_proven_one() -> None:
    history = History()
    record_results(history, node_id("1"), good=40, bad=2)
    assert wins({"success": 0.75}, {"success": 0.75}, history=history) > 0.05


def test_bids_that_may_not_win_are_not_scored_but_explained() -> None:
    assert gate(a_bid("one", 1, eta_ms=100), 1_000, 2) == ""
    assert "deadline" in gate(a_bid("one", 1, eta_ms=1_001), 1_000, 2)
    assert "offers" in gate(a_bid("one", 1), 1_000, 0)
    assert "fail" in gate(a_bid("one", 1, success=0.0), 1_000, 2)


# --- sharing out ---


def lots(matrix: list[list[float]]) -> list[Lot]:
    return [
        Lot(("run", str(row)), {f"n{column}": score for column, score in enumerate(scores)}, row * 7 + 3)
        for row, scores in enumerate(matrix)
    ]


def one_each(_node: str, given: int) -> float:
    return FULL if given else 0.0


def total(matrix: list[list[float]], chosen: dict[tuple[str, str], str]) -> float:
    return sum(matrix[int(row)][int(node[1:])] for (_, row), node in chosen.items())


def best(matrix: list[list[float]]) -> float:
    width = len(matrix[0])
    return max(
        sum(matrix[row][column] for row, column in enumerate(columns))
        for columns in product(range(width), repeat=len(matrix))
        if len(set(columns)) == len(columns)
    )


def test_a_greedy_choice_is_not_made() -> None:
    matrix = [[1.0, 0.9], [1.0, 0.0]]
    chosen = assign(lots(matrix), one_each, random.Random(1))
    assert chosen == {("run", "0"): "n1", ("run", "1"): "n0"}


def test_sharing_out_is_close_to_the_best_there_is() -> None:
    rng = random.Random(5)
    share = []
    for _ in range(60):
        matrix = [[rng.random() for _ in range(5)] for _ in range(5)]
        chosen = assign(lots(matrix), one_each, random.Random(1))
        assert len(chosen) == 5
        share.append(total(matrix, chosen) / best(matrix))
    assert min(share) > 0.85
    assert sum(share) / len(share) > 0.985


def test_what_nobody_can_take_is_left_over() -> None:
    chosen = assign(
        lots([[1.0], [1.0], [1.0]]), lambda _node, given: FULL if given >= 2 else 0.0, random.Random(1)
    )
    assert len(chosen) == 2


def test_equal_nodes_share_equally() -> None:
    chosen = assign(
        lots([[0.5, 0.5, 0.5] for _ in range(30)]), lambda _node, given: 0.1 * given, random.Random(1)
    )
    counts = [list(chosen.values()).count(f"n{number}") for number in range(3)]
    assert counts == [10, 10, 10]


def test_ties_are_decided_by_the_announcement_and_not_by_the_order_of_bids() -> None:
    one = Lot(("run", "x"), {"a": 0.5, "b": 0.5, "c": 0.5}, 11)
    two = Lot(("run", "x"), {"c": 0.5, "a": 0.5, "b": 0.5}, 11)
    rng = random.Random(1)
    assert assign([one], one_each, rng) == assign([two], one_each, rng)
    winners = {
        assign([Lot(("run", "x"), dict(one.scores), seed)], one_each, rng)["run", "x"] for seed in range(20)
    }
    assert winners == {"a", "b", "c"}


@pytest.mark.parametrize(("subtasks", "nodes"), [(250, 3), (300, 300)])
def test_large_decisions_are_complete(subtasks: int, nodes: int) -> None:
    rng = random.Random(2)
    made = [
        Lot(
            ("run", str(row)),
            {f"n{number}": rng.random() for number in rng.sample(range(nodes), min(32, nodes))},
            row,
        )
        for row in range(subtasks)
    ]
    chosen = assign(made, lambda _node, given: 0.05 * given, rng)
    assert len(chosen) == subtasks
    assert all(node in dict(made[int(row)].scores) for (_, row), node in chosen.items())


# --- market and timers ---


def crowd(count: int) -> Market:
    market = Market()
    for number in range(count):
        market.seen(a_node(f"n{number}"))
    return market


def test_of_many_nodes_some_are_drawn_by_seed_and_those_to_avoid_are_not_among_them() -> None:
    avoid = frozenset(node_id(f"n{number}") for number in range(50))
    asked, everybody = crowd(100).ask("text.work", avoid, random.Random(1))
    assert len(asked) == ASKED_MAX
    assert not everybody
    assert not avoid & {seller.info.node for seller in asked}
    again, _ = crowd(100).ask("text.work", avoid, random.Random(1))
    assert [seller.info.node for seller in again] == [seller.info.node for seller in asked]
    other, _ = crowd(100).ask("text.work", avoid, random.Random(2))
    assert [seller.info.node for seller in other] != [seller.info.node for seller in asked]


def test_nobody_is_asked_twice_before_everybody_was_asked_once() -> None:
    market, rng = crowd(3 * ASKED_MAX), random.Random(1)
    asked = [seller.info.node for _ in range(3) for seller in market.ask("text.work", frozenset(), rng)[0]]
    assert len(set(asked)) == 3 * ASKED_MAX


def test_windows_follow_the_answers_and_stay_within_bounds() -> None:
    market = Market()
    market.seen(a_node("a"))
    [seller] = market.sellers.values()
    seller.answered(0.000_1)
    assert market.window_s([seller]) == WINDOW_MIN_S
    seller.answered(30.0)
    assert market.window_s([seller]) == WINDOW_MAX_S


def test_what_is_in_the_air_takes_room() -> None:
    market = Market()
    assert market.room("text.work") == 0
    market.seen(a_node("a", slots=10))
    room = market.room("text.work")
    assert room == 20
    market.fly("text.work", 15)
    assert market.room("text.work") == room - 15


def test_a_node_that_left_offers_nothing_but_what_it_holds_is_known() -> None:
    market = Market()
    market.seen(a_node("a"))
    market.hold(node_id("a"), +1)
    market.lost(node_id("a"))
    assert not market.offering("text.work")
    assert market.slots(node_id("a"), "text.work") == 0
    assert market.name(node_id("a")) == "a"
    market.hold(node_id("a"), -1)
    assert market.ever_offered("text.work")


def test_a_moved_timer_is_due_once_at_its_new_time() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 5.0)
    timers.set("a", 3.0)
    timers.set("b", 4.0)
    timers.set("c", 1.0)
    timers.cancel("c")
    assert timers.next() == 3.0
    assert timers.due(4.0) == ["a", "b"]
    assert timers.next() is None
    assert timers.due(10.0) == []


def test_timers_that_are_moved_for_ever_do_not_pile_up() -> None:
    timers: Timers[int] = Timers()
    for turn in range(10_000):
        timers.set(turn % 3, float(turn))
    assert len(timers) == 3
    assert len(timers._heap) < 100
