"""The fold: what each record makes of a run, and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from coordinator_node.errors import InvalidTransition
from coordinator_node.fold import apply, fold, story
from coordinator_node.recovery import plan_records
from coordinator_node.state import RunState
from coordinator_node.transitions import ATTEMPT_END, RUN, SUBTASK, TERMINAL_RECORDS, diagram
from protocol import records
from protocol.plan import Skeleton
from protocol.records import (
    Accepted,
    AttemptFailed,
    AttemptMoved,
    Awarded,
    CancelRequested,
    LateResult,
    Owned,
    PlanAdopted,
    PlanRevised,
    Record,
    Refused,
    Rejected,
    RunClosed,
    RunOpened,
    RunPaused,
    RunResumed,
    SubtaskCancelled,
    SubtaskCancelRequested,
    SubtaskFailed,
    Unbid,
)
from tests.support.builders import OWNER, a_plan, a_ref, a_subtask, bus_key, named, node_id, run_id

AT = 1_000
A = node_id("a")


def opened() -> RunOpened:
    return RunOpened(at_ms=AT, run=run_id(), goal=a_ref("goal"), by=node_id("client"), epoch=1, owner=OWNER)


def begun(*subtasks: Any) -> RunState:
    plan = a_plan(*(subtasks or (a_subtask("one"),)))
    state = fold([opened(), *plan_records(plan, a_ref("plan"), AT)])
    assert state is not None
    return state


def awarded(subtask: str = "one", attempt: int = 1, epoch: int = 1, node: str = A) -> Awarded:
    return Awarded(
        at_ms=AT,
        subtask=subtask,
        attempt=attempt,
        epoch=epoch,
        round=1,
        node=node,
        bus_key=bus_key("a"),
        agent="worker",
        lease_ms=10_000,
        deadline_ms=60_000,
    )


def fence(subtask: str = "one", attempt: int = 1, epoch: int = 1, node: str = A) -> dict[str, Any]:
    return {"at_ms": AT, "subtask": subtask, "attempt": attempt, "epoch": epoch, "node": node}


ENDINGS: list[tuple[type[Any], dict[str, Any], str, str]] = [
    (Refused, {"code": "E_SLOTS"}, "open", "refused"),
    (AttemptFailed, {"code": "E_WORK"}, "open", "failed"),
    (Rejected, {"reason": "bad"}, "open", "rejected"),
    (Accepted, {"wall_ms": 1}, "accepted", "accepted"),
]


def test_a_run_begins_with_run_opened_and_nothing_else() -> None:
    with pytest.raises(InvalidTransition, match=r"run\.cancelling before run\.opened"):
        apply(None, CancelRequested(at_ms=AT, by=A))
    state = apply(None, opened())
    assert (state.status, state.epoch, state.records) == ("open", 1, 1)
    with pytest.raises(InvalidTransition, match="twice"):
        apply(state, opened())


def test_subtasks_become_ready_when_the_whole_plan_is_there() -> None:
    plan = a_plan(a_subtask("one"), a_subtask("two", needs=["one"]))
    [whole] = plan_records(plan, a_ref("plan"), AT)
    first = whole.model_copy(update={"parts": 2, "subtasks": whole.subtasks[1:]})
    second = whole.model_copy(update={"part": 2, "parts": 2, "subtasks": whole.subtasks[:1]})
    state = apply(apply(None, opened()), first)
    assert not state.planned
    assert not state.ready
    apply(state, second)
    assert state.planned
    assert list(state.ready) == ["one"]
    assert state.unfinished == 2


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"part": 2, "parts": 2}, "after part 0"),
        ({"subtasks": [Skeleton(id="one", capability="x"), Skeleton(id="one", capability="x")]}, "twice"),
        ({"subtasks": [Skeleton(id="one", capability="x", needs=["ghost"])]}, "not in the plan"),
    ],
)
def test_a_plan_that_does_not_fit_together_is_refused(part: dict[str, Any], message: str) -> None:
    state = apply(None, opened())
    good = PlanAdopted(
        at_ms=AT, plan=a_ref("plan"), part=1, parts=1, subtasks=[Skeleton(id="one", capability="x")]
    )
    with pytest.raises(InvalidTransition, match=message):
        apply(state, good.model_copy(update=part))
    assert not state.subtasks


@pytest.mark.parametrize(("kind", "more", "status", "ended"), ENDINGS)
def test_each_ending_of_an_attempt_does_its_part(
    kind: type[Any], more: dict[str, Any], status: str, ended: str
) -> None:
    state = begun()
    apply(state, awarded())
    assert state.subtasks["one"].status == "awarded"
    assert "one" not in state.ready
    apply(state, kind(**fence(), **more))
    assert state.subtasks["one"].status == status
    assert state.subtasks["one"].attempts[0].status == ended
    assert ("one" in state.ready) == (status == "open")
    assert state.unfinished == (0 if status == "accepted" else 1)


@pytest.mark.parametrize(("kind", "more", "status", "ended"), ENDINGS)
@pytest.mark.parametrize(
    "wrong", [{"attempt": 2}, {"epoch": 2}, {"node": node_id("b")}], ids=["attempt", "epoch", "node"]
)
def test_only_the_attempt_that_holds_can_end(
    kind: type[Any], more: dict[str, Any], status: str, ended: str, wrong: dict[str, Any]
) -> None:
    assert status
    assert ended
    state = begun()
    apply(state, awarded())
    before = copy.deepcopy(state)
    with pytest.raises(InvalidTransition, match="holds") as refusal:
        apply(state, kind(**fence(**wrong), **more))
    assert state == before
    assert any("attempt 1 (epoch 1) awarded to" in line for line in refusal.value.story)


def test_a_subtask_cannot_be_awarded_twice_or_out_of_order() -> None:
    state = begun(a_subtask("one"), a_subtask("two", needs=["one"]))
    with pytest.raises(InvalidTransition, match="before it may be"):
        apply(state, awarded("two"))
    with pytest.raises(InvalidTransition, match="out of order"):
        apply(state, awarded(attempt=2))
    with pytest.raises(InvalidTransition, match="out of order"):
        apply(state, awarded(epoch=2))
    apply(state, awarded())
    with pytest.raises(InvalidTransition, match="before it may be"):
        apply(state, awarded(attempt=2))


def test_after_an_end_nothing_but_a_late_result_can_come() -> None:
    state = begun()
    for record in (awarded(), Accepted(**fence(), wall_ms=1)):
        apply(state, record)
    for again in (
        awarded(attempt=2),
        Accepted(**fence(), wall_ms=1),
        SubtaskFailed(at_ms=AT, subtask="one", code="E_X"),
    ):
        with pytest.raises(InvalidTransition):
            apply(state, again)
    apply(state, LateResult(**fence()))
    assert state.subtasks["one"].late == {(1, 1, "result")}


def test_acceptance_readies_dependents_and_failure_dooms_them_with_the_root_cause() -> None:
    state = begun(
        a_subtask("one"),
        a_subtask("two", needs=["one"]),
        a_subtask("three", needs=["two"]),
        a_subtask("four", needs=["one", "three"], tolerant=True),
    )
    apply(state, SubtaskFailed(at_ms=AT, subtask="one", code="E_X"))
    assert state.doomed == {"two": "one"}
    apply(state, SubtaskFailed(at_ms=AT, subtask="two", code="E_X", cause="one"))
    assert state.doomed == {"three": "one"}
    apply(state, SubtaskFailed(at_ms=AT, subtask="three", code="E_X", cause="one"))
    assert not state.doomed
    assert list(state.ready) == ["four"]


def test_a_tolerant_subtask_waits_until_everything_it_needs_has_ended() -> None:
    state = begun(a_subtask("one"), a_subtask("two"), a_subtask("sum", needs=["one", "two"], tolerant=True))
    apply(state, SubtaskFailed(at_ms=AT, subtask="one", code="E_X"))
    assert "sum" not in state.ready
    apply(state, awarded("two"))
    apply(state, Accepted(**fence("two"), wall_ms=1, outputs=[named("x")]))
    assert list(state.ready) == ["sum"]


def test_a_new_owner_has_a_higher_epoch() -> None:
    state = begun()
    with pytest.raises(InvalidTransition, match="not above"):
        apply(state, Owned(at_ms=AT, epoch=1, owner=OWNER))
    apply(state, Owned(at_ms=AT, epoch=2, owner=OWNER))
    assert state.epoch == 2
    apply(state, awarded(epoch=2))


def test_an_attempt_of_an_earlier_owner_can_still_be_accepted() -> None:
    state = begun()
    apply(state, awarded())
    apply(state, Owned(at_ms=AT, epoch=2, owner=OWNER))
    apply(state, Accepted(**fence(), wall_ms=1))
    assert state.subtasks["one"].status == "accepted"


def test_a_cancelled_run_awards_nothing_and_closes_when_all_has_ended() -> None:
    state = begun()
    with pytest.raises(InvalidTransition, match="nobody asked"):
        apply(state, SubtaskCancelled(at_ms=AT, subtask="one"))
    apply(state, CancelRequested(at_ms=AT, by=A, reason="no"))
    with pytest.raises(InvalidTransition, match="cancelling"):
        apply(state, awarded())
    close = RunClosed(at_ms=AT, outcome="cancelled")
    with pytest.raises(InvalidTransition, match="1 subtasks not ended"):
        apply(state, close)
    apply(state, SubtaskCancelled(at_ms=AT, subtask="one"))
    apply(state, close)
    assert (state.status, state.outcome) == ("closed", "cancelled")
    with pytest.raises(InvalidTransition):
        apply(state, close)


def test_a_round_without_bids_is_remembered() -> None:
    state = begun()
    apply(state, Unbid(at_ms=AT, subtask="one", round=1, asked=3))
    apply(state, Unbid(at_ms=AT, subtask="one", round=2, asked=4))
    assert state.subtasks["one"].unbid_rounds == 2
    assert state.subtasks["one"].unbid is not None
    assert state.subtasks["one"].unbid.asked == 4


def test_the_story_of_a_subtask_tells_every_attempt() -> None:
    state = begun()
    for record in (
        awarded(),
        AttemptFailed(**fence(), code="E_WORK"),
        awarded(attempt=2),
        LateResult(**fence()),
    ):
        apply(state, record)
    told = "\n".join(story(state.subtasks["one"]))
    assert "attempt 1 (epoch 1) awarded" in told
    assert "failed E_WORK" in told
    assert "late result of attempt 1" in told
    assert told.endswith("now awarded")


# --- the table ---


def _kinds() -> set[str]:
    return {
        model.model_fields["k"].default
        for model in vars(records).values()
        if isinstance(model, type) and issubclass(model, records.Item) and "k" in model.model_fields
    }


def test_every_kind_of_record_is_in_a_table() -> None:
    assert _kinds() - {"chain"} == {kind for _, kind in RUN} | {kind for _, kind in SUBTASK}


def test_every_state_can_be_reached_and_left_or_is_an_end() -> None:
    for table, ends in ((RUN, {"closed"}), (SUBTASK, {"accepted", "failed", "cancelled"})):
        reached = set(table.values())
        left = {start for (start, _), end in table.items() if start != end and start is not None}
        assert left <= reached | {"open"}
        assert reached - ends <= left


def test_terminal_records_lead_to_ends_and_nothing_leads_out_of_one() -> None:
    for (start, kind), end in SUBTASK.items():
        if kind in TERMINAL_RECORDS:
            assert end in ("accepted", "failed", "cancelled")
        if start in ("accepted", "failed", "cancelled"):
            assert end == start
    assert set(ATTEMPT_END) <= {kind for _, kind in SUBTASK}


def test_the_diagram_draws_what_the_table_says() -> None:
    drawn = diagram()
    for (start, kind), end in SUBTASK.items():
        assert (f"{start} --> {end}: {kind}" in drawn) == (start != end)


def _samples() -> list[Record]:
    return [
        awarded(),
        Unbid(at_ms=AT, subtask="one", round=1, asked=0),
        SubtaskFailed(at_ms=AT, subtask="one", code="E_X"),
        SubtaskCancelled(at_ms=AT, subtask="one"),
        LateResult(**fence()),
        *(kind(**fence(), **more) for kind, more, _, _ in ENDINGS),
    ]


def _in_status(status: str) -> RunState:
    state = begun(a_subtask("one"), a_subtask("other"))
    if status in ("awarded", "accepted"):
        apply(state, awarded())
    if status == "accepted":
        apply(state, Accepted(**fence(), wall_ms=1))
    if status == "failed":
        apply(state, SubtaskFailed(at_ms=AT, subtask="one", code="E_X"))
    if status == "cancelled":
        apply(state, CancelRequested(at_ms=AT, by=A))
        apply(state, SubtaskCancelled(at_ms=AT, subtask="one"))
    return state


@pytest.mark.parametrize("status", ["open", "awarded", "accepted", "failed", "cancelled"])
@pytest.mark.parametrize("record", _samples(), ids=lambda record: record.k)
def test_what_is_not_in_the_table_is_refused_and_changes_nothing(status: str, record: Record) -> None:
    state = _in_status(status)
    before = copy.deepcopy(state)
    if (status, record.k) in SUBTASK:
        return
    with pytest.raises(InvalidTransition):
        apply(state, record)
    assert state == before


# --- pausing, cancelling one subtask, waiting, revising ---


def test_nothing_is_awarded_while_a_run_is_paused() -> None:
    state = begun()
    apply(state, RunPaused(at_ms=AT, by=A, reason="lunch"))
    assert (state.paused, state.pause_reason, state.status) == (True, "lunch", "open")
    with pytest.raises(InvalidTransition, match="paused"):
        apply(state, awarded())
    apply(state, RunResumed(at_ms=AT, by=A))
    assert apply(state, awarded()).subtasks["one"].status == "awarded"


def test_one_subtask_is_cancelled_and_what_needs_it_is_lost_unless_it_is_tolerant() -> None:
    state = begun(
        a_subtask("one"), a_subtask("two", needs=["one"]), a_subtask("three", needs=["one"], tolerant=True)
    )
    with pytest.raises(InvalidTransition, match="nobody asked"):
        apply(state, SubtaskCancelled(at_ms=AT, subtask="one"))
    apply(state, SubtaskCancelRequested(at_ms=AT, subtask="one", by=A, reason="a mistake"))
    with pytest.raises(InvalidTransition, match="giving it up"):
        apply(state, awarded())
    apply(state, SubtaskCancelled(at_ms=AT, subtask="one"))
    assert state.subtasks["one"].message == "a mistake"
    assert state.doomed == {"two": "one"}
    assert list(state.ready) == ["three"]


def test_an_attempt_that_waits_is_known_to_wait_and_only_the_one_that_holds() -> None:
    state = apply(begun(), awarded())
    apply(state, AttemptMoved(**fence(), state="person", wait_ms=5, note="may it?"))
    [current] = state.subtasks["one"].held
    assert (current.state, current.wait_ms, current.note) == ("person", 5, "may it?")
    with pytest.raises(InvalidTransition, match=r"names attempt 2, epoch 1 .* but attempt 1"):
        apply(state, AttemptMoved(**fence(attempt=2), state="working"))


def revised(*subtasks: Skeleton, about: str = "one") -> PlanRevised:
    return PlanRevised(at_ms=AT, plan=a_ref("plan 2"), subtask=about, subtasks=list(subtasks))


def test_a_revised_subtask_waits_for_what_it_newly_needs_and_its_past_is_past() -> None:
    state = apply(begun(a_subtask("one"), a_subtask("two", needs=["one"])), awarded())
    apply(state, AttemptFailed(**fence(), code="E_WORK"))
    apply(
        state,
        revised(
            Skeleton(id="one", capability="text.join", needs=["half-1", "half-2"]),
            Skeleton(id="half-1", capability="text.work"),
            Skeleton(id="half-2", capability="text.work", needs=["half-1"]),
        ),
    )
    assert list(state.ready) == ["half-1"]
    assert state.unfinished == 4
    assert (state.subtasks["one"].past_attempts, state.subtasks["one"].unmet) == (1, 2)
    for name in ("half-1", "half-2", "one", "two"):
        number = 2 if name == "one" else 1
        apply(state, awarded(name, attempt=number))
        apply(state, Accepted(**fence(name, attempt=number), wall_ms=1))
    assert state.unfinished == 0


@pytest.mark.parametrize(
    ("subtasks", "message"),
    [
        ([Skeleton(id="half", capability="text.work")], "not the one"),
        ([Skeleton(id="one", capability="x", needs=["ghost"])], "not in the plan"),
        ([Skeleton(id="one", capability="x", needs=["two"])], "cycle"),
        ([Skeleton(id="one", capability="x"), Skeleton(id="two", capability="x")], "twice"),
    ],
)
def test_a_revision_that_is_no_plan_is_refused_and_changes_nothing(
    subtasks: list[Skeleton], message: str
) -> None:
    state = begun(a_subtask("one"), a_subtask("two", needs=["one"]))
    before = copy.deepcopy(state)
    with pytest.raises(InvalidTransition, match=message):
        apply(state, revised(*subtasks))
    assert state == before


def test_a_subtask_that_is_at_work_is_not_revised() -> None:
    with pytest.raises(InvalidTransition, match="is awarded"):
        apply(apply(begun(), awarded()), revised(Skeleton(id="one", capability="y")))
