"""Another way to the same end: when it is looked for, what becomes of the answer, and where it stops."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from coordinator_node import orders
from coordinator_node.fold import fold
from coordinator_node.planner import Replan, replan_of
from coordinator_node.replanning import PIECES_MAX, revise
from protocol.messages import Announce
from protocol.plan import Plan, Subtask
from tests.support.builders import a_failed, a_plan, a_ref, a_result, a_subtask, node_id
from tests.support.playbook import Playbook

CLIENT = node_id("client")


def asked(desk: Playbook) -> list[orders.RevisePlan]:
    return [command for command in desk.commands if isinstance(command, orders.RevisePlan)]


def answer(desk: Playbook, replan: Replan | None = None, *, stored: bool = True) -> Plan | None:
    """Do what the shell does with the newest request."""
    command = asked(desk)[-1]
    found = revise(command.plan, command.wanted, replan)
    if not stored:
        desk.handle(orders.PlanStored(desk.run, None, None, {}))
        return None
    ref = a_ref(found.plan.model_dump_json())
    desk.handle(orders.PlanStored(desk.run, found.plan, ref, found.forms))
    return found.plan


def absent(**changes: Any) -> Playbook:
    """`one` is to be done in a way that nobody knows; a offers `text.work`."""
    book = Playbook()
    book.nodes("a")
    subtask = a_subtask("one", "text.model", **{"instead": ["text.work"], **changes})
    book.submit(a_plan(subtask, a_subtask("two", needs=["one"])))
    book.wait(4)
    return book


# --- when nobody does it ---


def test_work_that_nobody_does_is_done_in_the_way_that_its_plan_names() -> None:
    desk = absent()
    [command] = asked(desk)
    assert command.wanted == {"one": "E_UNBID: no node offers text.model; here are a, which offer text.work"}
    assert "subtask.failed" not in desk.kinds()
    assert desk.said(Announce) == []
    plan = answer(desk)
    assert plan is not None
    record = desk.last("plan.revised")
    assert (record.subtask, record.plan) == ("one", a_ref(plan.model_dump_json()))
    assert [(entry.id, entry.capability) for entry in record.subtasks] == [("one", "text.work")]
    assert record.reason.startswith("E_UNBID: ")
    desk.bid("a")
    desk.work("a", a_result("one"))
    desk.bid("a", "two")
    desk.work("a", a_result("two"))
    assert desk.state.outcome == "done"
    desk.check()


def test_when_nobody_does_that_either_it_fails() -> None:
    desk = absent(instead=["text.other"])
    answer(desk)
    desk.wait(10)
    assert len(asked(desk)) == 1
    failed = next(record for _, record in desk.records if record.k == "subtask.failed")
    assert (failed.code, failed.message) == (
        "E_UNBID",
        "no node offers text.other; here are a, which offer text.work",
    )
    assert desk.state.outcome == "unbid"


def test_several_ways_are_tried_in_turn() -> None:
    desk = absent(instead=["text.other", "text.work"])
    answer(desk)
    desk.wait(10)
    answer(desk)
    desk.bid("a")
    assert desk.awards() == {"one": "a"}
    assert desk.state.revisions == 2


def test_a_plan_that_cannot_be_stored_changes_nothing_and_the_work_fails_as_it_was() -> None:
    desk = absent()
    answer(desk, stored=False)
    assert "plan.revised" not in desk.kinds()
    assert desk.state.outcome == "unbid"
    desk.check()


def test_without_another_way_nobody_is_asked() -> None:
    desk = absent(instead=[])
    assert asked(desk) == []
    assert desk.state.outcome == "unbid"


# --- when its tries are used up ---


def tried(desk: Playbook, times: int, **fields: Any) -> None:
    first = len(desk.subtask().attempts) + 1
    for attempt in range(first, first + times):
        desk.forget_said()
        desk.wait(6) if attempt > first else None
        while desk.subtask().status != "awarded":
            desk.wait(0.05)
            if desk.said(Announce):
                desk.bid("a")
        desk.work("a", a_failed("one", attempt, message="no", **fields))


def model_desk(**changes: Any) -> Playbook:
    """a offers both ways."""
    book = Playbook()
    book.handle(
        orders.NodeSeen(orders.NodeInfo(node_id("a"), _key("a"), "a", {"text.model": 2, "text.work": 2}))
    )
    book._names[_key("a")] = "a"
    book.submit(a_plan(a_subtask("one", "text.model", **{"instead": ["text.work"], "tries": 2, **changes})))
    return book


def _key(name: str) -> str:
    from tests.support.builders import bus_key

    return bus_key(name)


def test_work_whose_tries_are_used_up_begins_anew_in_another_way() -> None:
    desk = model_desk()
    desk.bid("a")
    desk.work("a", a_failed("one", 1, message="no"))
    tried(desk, 1)
    assert asked(desk)[-1].wanted == {"one": "E_WORK: tried 2 times, last on a: no"}
    answer(desk)
    assert desk.subtask().failures() == {}
    tried(desk, 1)
    assert desk.subtask().status == "open"
    tried(desk, 1)
    assert desk.last("subtask.failed").message == "tried 2 times, last on a: no"
    assert len(desk.subtask().attempts) == 4
    desk.check()


def test_an_error_of_the_input_is_final_in_any_way() -> None:
    desk = model_desk()
    desk.bid("a")
    desk.work("a", a_failed("one", 1, code="E_ENCRYPTED", retryable=False))
    assert asked(desk) == []
    assert desk.last("subtask.failed").code == "E_ENCRYPTED"


def test_what_waits_for_its_new_form_is_looked_for_again_after_a_restart_and_gets_no_further_attempt() -> (
    None
):
    desk = model_desk(tries=1)
    desk.bid("a")
    desk.work("a", a_failed("one", 1))
    assert len(asked(desk)) == 1
    state = fold(copy.deepcopy([record for _, record in desk.records]))
    assert state is not None
    plan = desk.engine.desks[desk.run].content_known.plan
    book = Playbook(now=desk.now)
    book.nodes("a", capability="text.model")
    book.handle(orders.RunRecovered(state, plan))
    assert len(asked(book)) == 1
    assert book.said(Announce) == []
    answer(book)
    assert book.last("plan.revised").subtask == "one"


# --- meanwhile ---


def test_a_cancel_meanwhile_wins() -> None:
    desk = absent()
    desk.handle(orders.CancelAsked(desk.run, CLIENT, "enough", "one"))
    answer(desk)
    assert "plan.revised" not in desk.kinds()
    assert desk.subtask().status == "cancelled"
    desk.check()


def test_a_pause_meanwhile_holds() -> None:
    desk = absent()
    desk.handle(orders.PauseAsked(desk.run, CLIENT))
    desk.handle(orders.ResumeAsked(desk.run, CLIENT))
    assert desk.said(Announce) == []
    desk.handle(orders.PauseAsked(desk.run, CLIENT))
    answer(desk)
    assert desk.said(Announce) == []
    desk.handle(orders.ResumeAsked(desk.run, CLIENT))
    assert [item.subtask for item in desk.said(Announce)] == ["one"]


def test_what_is_given_up_together_is_one_revision() -> None:
    desk = Playbook()
    desk.nodes("a")
    names = [f"t{number}" for number in range(30)]
    desk.submit(a_plan(*(a_subtask(name, "text.model", instead=["text.work"]) for name in names)))
    desk.wait(4)
    [command] = asked(desk)
    assert set(command.wanted) == set(names)
    answer(desk)
    assert desk.kinds().count("plan.revised") == 30
    assert desk.state.revisions == 1
    desk.check()


def test_what_is_given_up_while_one_is_under_way_waits_for_the_next() -> None:
    desk = Playbook()
    desk.nodes("a", slots=9)
    desk.submit(
        a_plan(
            a_subtask("zero"),
            a_subtask("one", "text.model", instead=["text.work"]),
            a_subtask("two", "text.other", instead=["text.work"], needs=["zero"]),
        )
    )
    desk.wait(0.01)
    desk.bid("a", "zero")
    desk.wait(4)
    desk.work("a", a_result("zero"))
    desk.wait(4)
    assert [set(command.wanted) for command in asked(desk)] == [{"one"}]
    answer(desk)
    assert [set(command.wanted) for command in asked(desk)] == [{"one"}, {"two"}]
    answer(desk)
    assert {name: desk.subtask(name).skeleton.capability for name in ("one", "two")} == {
        "one": "text.work",
        "two": "text.work",
    }
    desk.check()


# --- planners that know other ways ---


def split(plan: Plan, subtask: Subtask, why: str) -> list[Subtask] | None:
    """In two halves, which are put together."""
    halves = [a_subtask(f"{subtask.id}-{half}", "text.work") for half in ("a", "b")]
    whole = subtask.model_copy(
        update={"capability": "text.work", "needs": [*subtask.needs, *(half.id for half in halves)]}
    )
    return [*halves, whole]


def planned(replans: bool = True) -> Playbook:
    desk = Playbook()
    desk.nodes("a")
    desk.submit(a_plan(a_subtask("one", "text.model"), a_subtask("two", needs=["one"])), replans=replans)
    desk.wait(4)
    return desk


def test_a_planner_may_make_several_of_one() -> None:
    desk = planned()
    answer(desk, split)
    assert [entry.id for entry in desk.last("plan.revised").subtasks] == ["one", "one-a", "one-b"]
    for name in ("one-a", "one-b", "one", "two"):
        desk.wait(0.01)
        desk.bid("a", name)
        desk.work("a", a_result(name))
    assert desk.state.outcome == "done"
    assert len(desk.state.subtasks) == 4
    desk.check()


def test_a_planner_without_another_way_is_asked_once() -> None:
    desk = planned()
    answer(desk, lambda plan, subtask, why: None)
    assert desk.state.outcome == "unbid"
    assert len(asked(desk)) == 1


def raises(plan: Plan, subtask: Subtask, why: str) -> list[Subtask] | None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize(
    "replan",
    [
        raises,
        lambda plan, subtask, why: [],
        lambda plan, subtask, why: [a_subtask("other")],
        lambda plan, subtask, why: [subtask, subtask],
        lambda plan, subtask, why: [subtask.model_copy(update={"needs": ["two"]})],
        lambda plan, subtask, why: [subtask.model_copy(update={"needs": ["ghost"]})],
        lambda plan, subtask, why: [subtask, a_subtask("two")],
        lambda plan, subtask, why: [subtask, *(a_subtask(f"n{n}") for n in range(PIECES_MAX))],
    ],
    ids=["raises", "nothing", "another", "twice", "cycle", "ghost", "known", "many"],
)
def test_an_answer_that_is_no_plan_is_no_answer(replan: Replan) -> None:
    plan = a_plan(a_subtask("one", "text.model"), a_subtask("two", needs=["one"]))
    found = revise(plan, {"one": "why"}, replan)
    assert (found.plan, found.forms) == (plan, {})


def test_of_several_answers_those_that_fit_are_taken() -> None:
    def replan(plan: Plan, subtask: Subtask, why: str) -> list[Subtask] | None:
        return [subtask.model_copy(update={"needs": ["ghost"] if subtask.id == "one" else []})]

    plan = a_plan(a_subtask("one"), a_subtask("two", needs=["one"]))
    found = revise(plan, {"one": "why", "two": "why"}, replan)
    assert list(found.forms) == ["two"]
    assert [one.needs for one in found.plan.subtasks] == [[], []]


def test_a_piece_is_revised_eight_times_at_most_and_a_run_a_hundred_times() -> None:
    desk = planned()
    for _ in range(20):
        if desk.state.status == "closed":
            break
        answer(desk, lambda plan, subtask, why: [subtask])
        desk.wait(10)
    assert desk.subtask().revisions == 8
    assert desk.state.outcome == "unbid"
    assert desk.state.revisions <= 8


def test_the_built_in_planners_are_asked_for_nothing_and_unknown_ones_neither() -> None:
    assert replan_of("file") is None
    assert replan_of("rule:extract") is None
    assert replan_of("ghost") is None
