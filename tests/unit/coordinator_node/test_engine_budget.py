"""What runs may spend: reserved at the award, settled at the end, waited for, refused, noted, and never refilled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coordinator_node import orders
from coordinator_node.budget import NO_BOUND, Bounds, Ledger, replay
from coordinator_node.budget_view import budget_lines, budget_view
from coordinator_node.fold import apply, fold
from coordinator_node.views import event_data, subtask_view
from protocol.messages import Announce, Award, Budget, Progress, Usage
from protocol.plan import Plan
from protocol.records import BudgetNoted, Owned
from tests.support.builders import (
    a_failed,
    a_plan,
    a_refusal,
    a_result,
    a_run,
    a_subtask,
    named,
    node_id,
    run_id,
)
from tests.support.playbook import Playbook

NONE = Usage(**dict.fromkeys(("money", "tokens", "steps", "bytes_out", "children"), NO_BOUND))


def many(count: int, **changes: Any) -> Plan:
    """So many subtasks beside one another."""
    names = [f"s{number:02d}" for number in range(count)]
    return a_plan(*(a_subtask(name, **changes) for name in names), deliver=names)


def begin(count: int = 1, budget: Budget | None = None, *, slots: int = 64, **bounds: Any) -> Playbook:
    """A run of so many subtasks, and two nodes that may do them."""
    desk = Playbook(bounds=Bounds(**bounds))
    desk.nodes("a", "b", slots=slots)
    desk.submit(many(count) if count > 1 else a_plan(), budget=budget)
    return desk


def spent(desk: Playbook, scope: tuple[str, ...] | None = None) -> tuple[int, int]:
    """Micro-credits that are spent and set aside, by the records alone."""
    ledger = Ledger()
    state = fold(record for _, record in desk.records)
    assert state is not None
    replay(ledger, state)
    account = ledger.account(scope or ("run", desk.run))
    return account.spent["money"], account.reserved["money"]


def used(result: Any, **amounts: int) -> Any:
    """An ending that says what it used."""
    return result.model_copy(update={"used": Usage(**amounts)})


def test_without_a_budget_nothing_is_set_aside_and_nothing_is_capped() -> None:
    desk = begin()
    desk.bid("a")
    desk.decline("b")
    assert desk.last("subtask.awarded").reserved is None
    assert desk.said(Award)[0].caps is None
    desk.check()


@pytest.mark.requirement("BUD-2", "BUD-3")
def test_an_award_sets_aside_half_as_much_again_as_the_price_and_says_it_as_a_cap() -> None:
    desk = begin(budget=Budget(money=1_000_000, tokens=600, children=32))
    desk.bid("a", estimate=Usage(tokens=500))
    desk.decline("b")
    expected = NONE.model_copy(update={"money": 150_000, "tokens": 600})  # 750 are not there
    assert desk.last("subtask.awarded").reserved == expected
    assert desk.said(Award)[0].caps == expected
    assert spent(desk) == (0, 150_000)
    desk.work("a", used(a_result("one"), money=120_000, tokens=400))
    assert desk.last("subtask.accepted").used == Usage(money=120_000, tokens=400)
    assert spent(desk) == (120_000, 0)
    desk.check()


@pytest.mark.requirement("BUD-10")
def test_who_does_not_count_money_costs_its_price() -> None:
    desk = begin(budget=Budget(money=1_000_000))
    desk.bid("a")
    desk.decline("b")
    desk.work("a", a_result("one"))
    assert spent(desk) == (100_000, 0)


@pytest.mark.requirement("BUD-3")
def test_an_unknown_price_is_not_nothing() -> None:
    desk = begin(budget=Budget(money=1_000_000))
    desk.bid("a", unpriced=True, price=0)
    desk.bid("b", price=900_000)
    assert desk.awards() == {"one": "b"}
    desk.check()


@pytest.mark.requirement("BUD-3")
def test_if_nobody_says_a_price_the_run_says_why_it_failed() -> None:
    desk = begin(budget=Budget(money=1_000_000))
    desk.bid("a", unpriced=True, price=0)
    desk.decline("b")
    assert desk.awards() == {}
    failed = desk.last("subtask.failed")
    assert failed.code == "E_BUDGET"
    assert "cannot say what it costs" in failed.message
    closed = desk.last("run.closed")
    assert closed.code == "E_BUDGET"
    assert "--budget money=5" in closed.hint


def test_an_unknown_price_is_no_obstacle_where_money_is_not_bounded() -> None:
    desk = begin(budget=Budget(tokens=1_000))
    desk.bid("a", unpriced=True, price=0)
    desk.decline("b")
    assert desk.awards() == {"one": "a"}


@pytest.mark.requirement("BUD-1")
def test_what_others_at_work_hold_is_waited_for() -> None:
    desk = begin(3, Budget(money=310_000))
    desk.bids(["a", "b"], ["s00", "s01", "s02"])
    assert len(desk.awards()) == 2
    assert sum(spent(desk)) <= 310_000
    [why] = desk.engine.purse.waiting(desk.run).values()
    assert "waits until there is budget for it" in why
    first, second = desk.awards()
    [waiting] = {"s00", "s01", "s02"} - {first, second}
    desk.forget_said()
    desk.work(desk.awards().get(first, "a"), used(a_result(first), money=60_000))
    for name in ("a", "b"):
        desk.work(name, used(a_result(first), money=60_000))
    assert desk.subtask(first).status == "accepted"
    desk.bids(["a", "b"], [waiting])
    assert waiting in desk.awards()
    assert sum(spent(desk)) <= 310_000
    desk.check()


@pytest.mark.requirement("BUD-1", "BUD-9")
@pytest.mark.parametrize("what", ["pause", "halt"])
def test_what_waits_for_a_budget_is_put_up_once_after_a_pause_or_a_halt(what: str) -> None:
    desk = begin(3, Budget(money=310_000))
    desk.bids(["a", "b"], ["s00", "s01", "s02"])
    first, _ = desk.awards()
    assert desk.engine.purse.waiting(desk.run)
    desk.forget_said()
    if what == "pause":
        desk.handle(orders.PauseAsked(desk.run, "c" * 32))
        desk.handle(orders.ResumeAsked(desk.run, "c" * 32))
    else:
        desk.handle(orders.HaltChanged(True))
        desk.handle(orders.HaltChanged(False))
    for name in ("a", "b"):
        desk.work(name, used(a_result(first), money=60_000))
    assert len(desk.said(Announce)) == 1
    desk.wait(3_600)
    desk.check()


def test_a_run_whose_budget_is_used_up_ends_with_what_is_there() -> None:
    desk = begin(3, Budget(money=200_000))
    desk.bids(["a", "b"], ["s00", "s01", "s02"])
    [first] = desk.awards()
    holder = desk.awards()[first]
    desk.work(holder, used(a_result(first, outputs=[named("x")]), money=140_000))
    desk.handle(orders.ResultChecked(desk.run, first, 1, 1))
    for name in [name for name, subtask in desk.state.subtasks.items() if not subtask.terminal]:
        desk.bids(["a", "b"], [name])
    assert [desk.subtask(name).code for name in ("s00", "s01", "s02") if name != first] == ["E_BUDGET"] * 2
    why = desk.last("subtask.failed").message
    assert "0.14 credits of 0.2 credits spent" in why
    assert "at least 0.1 credits" in why
    closed = desk.last("run.closed")
    assert (closed.outcome, closed.code) == ("partial", "E_BUDGET")
    assert "--budget money=5" in closed.hint
    assert spent(desk) == (140_000, 0)
    notes = [record for _, record in desk.records if record.k == "budget.noted"]
    assert [(note.kind, note.level) for note in notes] == [("money", "stop")]
    desk.check()


@pytest.mark.requirement("BUD-9")
def test_people_are_told_once_at_80_and_once_at_100_percent() -> None:
    desk = begin(6, Budget(money=1_000_000), slots=1)
    for _ in range(60):
        for name, subtask in desk.state.subtasks.items():
            if subtask.status == "awarded":
                desk.work("a", used(a_result(name), money=200_000))
            elif (desk.run, name) in desk.engine.auction:
                desk.bid("a", name, price=150_000)
                desk.decline("b", name)
        desk.wait(1)
    levels = [record.level for _, record in desk.records if record.k == "budget.noted"]
    assert levels == ["warn", "stop"]
    assert spent(desk)[0] == 1_000_000
    desk.check()


@pytest.mark.requirement("BUD-9")
def test_what_an_attempt_says_that_it_used_counts_for_the_warning() -> None:
    desk = begin(budget=Budget(tokens=100))
    desk.bid("a", estimate=Usage(tokens=100))
    desk.decline("b")
    moved = Progress(subtask="one", attempt=1, epoch=1, step=1, used=Usage(tokens=79))
    desk.work("a", moved)
    assert "budget.noted" not in desk.kinds()
    desk.work("a", moved.model_copy(update={"step": 2, "used": Usage(tokens=80)}))
    note = desk.last("budget.noted")
    assert (note.kind, note.level, note.used, note.limit, note.scope) == ("tokens", "warn", 80, 100, "")
    # An ending that says less does not make it less.
    desk.work("a", used(a_result("one"), tokens=5))
    assert desk.last("subtask.accepted").used.tokens == 80


@pytest.mark.requirement("BUD-6")
def test_an_attempt_that_nobody_heard_the_end_of_counts_as_having_spent_everything() -> None:
    desk = begin(budget=Budget(money=200_000))
    desk.bid("a", price=100_000)
    desk.decline("b")
    desk.work("a", a_started())
    desk.wait(12)
    lost = next(record for _, record in desk.records if record.k == "attempt.failed")
    assert lost.code == "E_LEASE"
    assert lost.used.money == 150_000
    assert spent(desk) == (150_000, 0)
    # And what it says later changes nothing.
    desk.work("a", used(a_result("one"), money=1))
    assert spent(desk) == (150_000, 0)
    desk.check()


@pytest.mark.requirement("BUD-6")
def test_a_node_that_was_restarted_does_not_know_what_it_had_spent() -> None:
    desk = begin(budget=Budget(money=1_000_000, tokens=100))
    desk.bid("a", estimate=Usage(tokens=100))
    desk.decline("b")
    desk.work("a", a_failed("one", code="E_RESTARTED"))
    assert desk.last("attempt.failed").used == Usage(money=150_000, tokens=100)


@pytest.mark.requirement("BUD-6")
def test_nor_does_it_know_when_its_work_is_being_stopped() -> None:
    desk = begin(count=2, budget=Budget(money=1_000_000, tokens=100))
    desk.bid("a", "s00", estimate=Usage(tokens=60))
    desk.decline("b", "s00")
    desk.handle(orders.CancelAsked(desk.run, node_id("client"), "enough", "s00"))
    desk.work("a", a_failed("s00", code="E_RESTARTED"))
    assert desk.last("subtask.cancelled").used == Usage(money=150_000, tokens=90)
    assert spent(desk) == (150_000, 0)
    desk.check()


@pytest.mark.requirement("BUD-1")
def test_a_claim_above_the_cap_is_on_record_counted_and_not_paid() -> None:
    desk = begin(budget=Budget(money=1_000_000))
    desk.bid("a")
    desk.decline("b")
    desk.work("a", used(a_result("one"), money=5_000_000))
    assert desk.last("subtask.accepted").used.money == 5_000_000
    assert spent(desk) == (150_000, 0)
    assert desk.engine.refused["E_OVERSPENT"] == 1


def test_an_award_that_is_not_taken_costs_nothing() -> None:
    desk = begin(budget=Budget(money=160_000))
    desk.bid("a", success=0.99)
    desk.bid("b", success=0.1)
    first = desk.awards()["one"]
    desk.work(first, a_refusal("one"))
    # The next best is funded from what is free again.
    assert desk.awards()["one"] != first
    assert spent(desk) == (0, 150_000)
    desk.check()


@pytest.mark.requirement("BUD-3")
def test_the_next_best_after_a_refusal_costs_its_price_when_it_counts_no_money() -> None:
    desk = begin(budget=Budget(money=400_000))
    desk.bid("a", success=0.99)
    desk.bid("b", success=0.1)
    first = desk.awards()["one"]
    desk.work(first, a_refusal("one"))
    desk.work(desk.awards()["one"], a_result("one", 2))
    assert desk.last("subtask.accepted")
    assert spent(desk) == (100_000, 0)
    desk.check()


@pytest.mark.requirement("BUD-1")
@pytest.mark.parametrize("what", ["node", "agent"])
def test_one_node_or_agent_may_be_bounded_in_every_run(what: str) -> None:
    desk = begin(3, **{what: Budget(money=160_000)})
    for name in ("s00", "s01", "s02"):
        if desk.subtask(name).status == "open":
            desk.bids(["a"], [name])
            desk.decline("b", name)
    assert len(desk.awards()) == 1
    scope = (
        ("node", desk.run, node_id("a")) if what == "node" else ("agent", desk.run, node_id("a"), "worker")
    )
    assert sum(spent(desk, scope)) == 150_000


@pytest.mark.requirement("BUD-1")
def test_a_subtask_may_have_a_budget_for_all_its_tries() -> None:
    desk = Playbook()
    desk.nodes("a", "b")
    desk.submit(a_plan(a_subtask("one", tries=10, budget=Budget(tokens=100))))
    awarded = []
    for number in range(6):
        if desk.subtask().terminal:
            break
        who = "ab"[number % 2]
        desk.bid(who)
        desk.decline("ab"[number % 2 - 1])
        if desk.subtask().status == "awarded":
            awarded.append(desk.subtask().attempts[-1].reserved)
            desk.work(who, used(a_failed("one", attempt=len(awarded)), tokens=40))
        desk.wait(6)
    assert [amounts.tokens for amounts in awarded if amounts] == [100, 60, 20]
    assert desk.subtask().code == "E_BUDGET"
    assert "budget of subtask one" in desk.subtask().message


@pytest.mark.requirement("BUD-5")
def test_another_process_that_takes_the_run_finds_nothing_refilled() -> None:
    desk = begin(3, Budget(money=310_000))
    desk.bids(["a", "b"], ["s00", "s01", "s02"])
    holders = desk.awards()
    assert len(holders) == 2
    first = next(iter(holders))
    desk.work(holders[first], used(a_result(first), money=140_000))
    state = fold(record for _, record in desk.records)
    assert state is not None
    after = Playbook(now=desk.now)
    after.nodes("a", "b", slots=64)
    after.records = list(desk.records)
    after.handle(orders.RunRecovered(state, many(3)))
    third = next(name for name, subtask in after.state.subtasks.items() if subtask.status == "open")
    assert sum(spent(after)) == 290_000
    after.wait(1)
    for name in ("a", "b"):
        if any(item.subtask == third for item in after.said(orders.Announce)):
            after.bid(name, third)
    assert third not in after.awards()
    second = next(name for name in holders if name != first)
    after.work(holders[second], used(a_result(second), money=150_000))
    for name in ("a", "b"):
        if after.subtask(third).status == "open":
            after.bid(name, third)
    assert after.subtask(third).code == "E_BUDGET"
    assert spent(after) == (290_000, 0)


@pytest.mark.requirement("BUD-8")
def test_a_run_ends_when_its_time_is_over() -> None:
    desk = Playbook()
    desk.nodes("a", "b")
    desk.submit(a_plan(a_subtask("one"), a_subtask("two", needs=["one"])), budget=Budget(wall_ms=60_000))
    desk.bid("a", quiet_ms=100_000)
    desk.decline("b")
    assert desk.said(Award)[0].deadline_ms == 60_000
    desk.work("a", a_started())
    desk.wait(47)
    assert "budget.noted" not in desk.kinds()
    desk.wait(2)
    assert desk.last("budget.noted").level == "warn"
    desk.wait(12)
    assert desk.last("budget.noted").level == "stop"
    assert desk.cancels("a") == [1]
    assert desk.last("attempt.failed").code == "E_CANCELLED", "its node is not to blame"
    assert desk.subtask("one").code == "E_DEADLINE"
    assert "1 m" in desk.subtask("one").message
    closed = desk.last("run.closed")
    assert (closed.outcome, closed.code) == ("failed", "E_DEADLINE")
    assert "--budget" in closed.hint
    desk.check()


TIMED = a_plan(a_subtask("one"), a_subtask("two", needs=["one"]))


def half_way() -> Playbook:
    """A run of a minute, half of which is over, and an attempt that holds."""
    desk = Playbook(now=10_000)
    desk.nodes("a")
    desk.submit(TIMED, budget=Budget(wall_ms=60_000))
    desk.bid("a", quiet_ms=100_000)
    desk.work("a", a_started(), after=29.0)
    return desk


def taken(desk: Playbook, *, ahead_s: float, away_s: float, known: bool = True) -> Playbook:
    """A coordinator whose clock is ahead takes the run when its owner was away for a while."""
    state = fold(record for _, record in desk.records)
    assert state is not None
    after = Playbook(now=desk.now + away_s + ahead_s)
    after.nodes("a")
    after.records = list(desk.records)
    apart_ms = int(ahead_s * 1000) if known else 0
    after.handle(orders.RunRecovered(state, TIMED, apart_ms=apart_ms))
    return after


@pytest.mark.requirement("BUD-8")
@pytest.mark.parametrize("ahead_s", [0.0, 900.0, -900.0])
def test_whoever_takes_a_run_over_counts_what_is_left_of_its_time_by_its_own_clock(ahead_s: float) -> None:
    desk = taken(half_way(), ahead_s=ahead_s, away_s=5.0)
    began = desk.now - 34.0
    assert desk.last("run.owned").began_ms == int(began * 1000)
    desk.wait(25.9)
    assert "subtask.failed" not in desk.kinds()
    desk.wait(0.2)
    assert desk.cancels("a") == [1]
    assert desk.last("run.closed").code == "E_DEADLINE"
    desk.check()


@pytest.mark.requirement("BUD-8")
def test_a_second_takeover_moves_the_time_once_more() -> None:
    first = taken(half_way(), ahead_s=900.0, away_s=5.0)
    second = taken(first, ahead_s=-2000.0, away_s=5.0)
    second.wait(20.9)
    assert "subtask.failed" not in second.kinds()
    second.wait(0.2)
    assert second.last("run.closed").code == "E_DEADLINE"


@pytest.mark.requirement("BUD-8")
def test_time_that_ran_out_while_nobody_owned_the_run_is_over() -> None:
    desk = taken(half_way(), ahead_s=-900.0, away_s=500.0)
    desk.wait(0.1)
    assert desk.last("run.closed").code == "E_DEADLINE"
    assert [note.level for note in desk.state.budget_notes if note.kind == "wall_ms"] == ["warn", "stop"]


@pytest.mark.requirement("BUD-8")
def test_a_clock_that_is_behind_the_journal_gives_no_run_more_time() -> None:
    desk = half_way()
    desk.handle(orders.PauseAsked(desk.run, node_id("client")))
    desk.handle(orders.ResumeAsked(desk.run, node_id("client")))
    desk = taken(desk, ahead_s=-3600.0, away_s=5.0, known=False)
    desk.wait(31)
    assert desk.last("run.closed").code == "E_DEADLINE"


@pytest.mark.requirement("BUD-8")
def test_a_journal_of_before_clocks_were_compared_counts_from_its_beginning() -> None:
    desk = half_way()
    state = fold(record for _, record in desk.records)
    assert state is not None
    apply(state, Owned(at_ms=desk.engine.at_ms, epoch=2, owner=node_id("b")))
    assert state.began_ms == state.opened_ms
    after = Playbook(now=desk.now)
    after.nodes("a")
    after.handle(orders.RunRecovered(state, TIMED))
    after.wait(31)
    assert after.last("run.closed").code == "E_DEADLINE"


@pytest.mark.requirement("BUD-1")
@pytest.mark.parametrize("seed", range(5))
def test_64_that_race_for_one_budget_never_exceed_it(seed: int) -> None:
    desk = Playbook(seed=seed)
    names = [f"n{number}" for number in range(8)]
    desk.nodes(*names, slots=16)
    desk.submit(many(64), budget=Budget(money=1_000_000, tokens=5_000))
    for _ in range(200):
        if desk.state.status == "closed":
            break
        for name, subtask in list(desk.state.subtasks.items()):
            if subtask.status == "awarded":
                attempt = subtask.attempts[-1]
                who = next(one for one in names if node_id(one) == attempt.node)
                result = a_result(name, attempt.number, attempt.epoch)
                desk.work(who, used(result, money=90_000_000, tokens=90_000))
                state = fold(record for _, record in desk.records)
                assert state is not None
                ledger = Ledger()
                replay(ledger, state)
                account = ledger.account(("run", desk.run))
                for kind in ("money", "tokens"):
                    assert account.spent[kind] + account.reserved[kind] <= account.limit[kind]
            elif name in desk.state.ready and (desk.run, name) in desk.engine.auction:
                for who in names:
                    if (desk.run, name) in desk.engine.auction:
                        desk.bid(who, name)
        desk.wait(6)
    assert desk.state.status == "closed"
    assert spent(desk)[0] <= 1_000_000
    assert spent(desk)[1] == 0
    assert any(subtask.status == "accepted" for subtask in desk.state.subtasks.values())
    desk.check()


def a_started() -> Any:
    """The work has begun."""
    from protocol.messages import Started

    return Started(subtask="one", attempt=1, epoch=1)


def test_two_runs_do_not_share_an_account() -> None:
    desk = begin(budget=Budget(money=160_000))
    desk.handle(a_run(a_plan(), number=2, budget=Budget(money=160_000)))
    desk.bid("a")
    desk.decline("b")
    desk.run = run_id(2)
    desk.bid("a")
    desk.decline("b")
    assert [record.k for _, record in desk.records].count("subtask.awarded") == 2


def test_people_and_programs_see_what_is_spent_set_aside_and_by_whom() -> None:
    desk = begin(2, Budget(money=1_000_000, tokens=1_000, wall_ms=60_000))
    desk.bids(["a", "b"], ["s00", "s01"])
    holders = desk.awards()
    first, second = holders
    desk.work(holders[first], used(a_result(first), money=110_000, tokens=850))
    view = budget_view(desk.state, {node_id("a"): "ann", node_id("b"): "bob"}.__getitem__)
    assert view["limit"] == {"money": 1_000_000, "tokens": 1_000, "wall_ms": 60_000}
    assert view["spent"]["money"] == 110_000
    assert view["reserved"]["money"] == 150_000
    assert {one["node"] for one in view["by"]} == {node_id(holders[first]), node_id(holders[second])}
    lines = budget_lines(json.loads(json.dumps(view)))
    assert lines[0] == "money   0.11 credits spent, 0.15 credits set aside, at most 1 credits"
    assert any("worker on" in line for line in lines)
    attempt = subtask_view(desk.state, desk.subtask(first), None, str)["attempts"][0]
    assert attempt["used"] == {"money": 110_000, "tokens": 850}
    assert attempt["reserved"]["money"] == 150_000


def test_a_note_is_told_to_watchers_in_a_sentence() -> None:
    note = BudgetNoted(at_ms=1, kind="money", level="warn", used=4_000_000, limit=5_000_000)
    _, _, data = event_data(note, str)
    assert data["message"] == "80 % of the money is used: 4 credits of 5 credits"
    stop = note.model_copy(update={"level": "stop", "scope": "node nas", "used": 5_000_000})
    assert "budget of node nas has no money left" in str(event_data(stop, str)[2]["message"])


def test_a_try_after_one_that_had_too_little_gets_twice_as_much_and_no_node_is_blamed() -> None:
    desk = begin(budget=Budget(money=10_000_000))
    given = []
    for who in "ababab":
        if (desk.run, "one") in desk.engine.auction:
            desk.bid(who)
            desk.decline("b" if who == "a" else "a")
        if desk.subtask().status == "awarded":
            given.append(desk.subtask().attempts[-1].reserved)
            desk.work(who, used(a_failed("one", attempt=len(given), code="E_BUDGET"), money=1_000))
        desk.wait(6)
    assert [amounts.money for amounts in given if amounts] == [150_000, 300_000, 600_000]
    assert desk.subtask().code == "E_BUDGET"
    assert desk.engine.history.of(node_id("a"), "text.work").failed == 0
