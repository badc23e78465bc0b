"""The journal's records: their fields against the specification, and which may follow which against the fold that obeys it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from coordinator_node.errors import InvalidTransition
from coordinator_node.fold import apply, fold
from coordinator_node.lane import Lane
from coordinator_node.orders import Say, SayAll
from coordinator_node.recovery import take_over
from coordinator_node.state import RunState
from coordinator_node.transitions import RUN, SUBTASK, TERMINAL_RECORDS
from mesh.errors import WriteConflict
from protocol import subjects
from protocol.codec import pack, unpack
from protocol.envelope import FLAG_JOURNAL, audience_hash, parse_header
from protocol.errors import Rejected
from protocol.ids import run_bytes
from protocol.messages import Announce, ResultAck, Type, Usage
from protocol.plan import Skeleton
from protocol.records import RECORDS_PER_MESSAGE_MAX, BidNote, DeclineNote, JournalItem, record_adapter
from protocol.registry import body_adapter
from tests.support.builders import bus_key, node_id, run_id
from tests.support.endpoint_memory import MemorySwarm
from tests.support.spec_tables import Field, all_items, example, items, table

NAMES = list(items("## Records", "record"))
RECORDS = NAMES[3:]
PARTS: dict[str, type[BaseModel]] = {"BidNote": BidNote, "DeclineNote": DeclineNote, "Skeleton": Skeleton}
FIELDS = [(name, one) for name in NAMES for one in all_items()[name]]
ONE: TypeAdapter[Any] = TypeAdapter(JournalItem)
A = node_id("a")
NEVER = "\N{EN DASH}"
"""In the table of runs: before the first record."""


def check(name: str, given: dict[str, Any]) -> Any:
    """A record, or a part of one, from its map."""
    return PARTS[name].model_validate(given) if name in PARTS else ONE.validate_python(given)


def whole(name: str) -> dict[str, Any]:
    """One record with all of its fields."""
    return example(name) if name in PARTS else {"k": name, "at_ms": 5, **example(name)}


def rec(name: str, **changes: Any) -> Any:
    """A record that fits into the history of the tests below."""
    fields = {
        "subtask": "one",
        "attempt": 1,
        "epoch": 1,
        "node": A,
        "round": 1,
        "run": run_id(),
        "owner": A,
        "by": A,
        "hedge": False,
    }
    known = {one.name for one in all_items()[name]}
    return check(
        name, {**whole(name), **{key: value for key, value in fields.items() if key in known}, **changes}
    )


def skeleton(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "needs": list(needs), "capability": "text.work", **more}


def plan(*subtasks: dict[str, Any], **changes: Any) -> Any:
    return rec("plan.adopted", subtasks=list(subtasks) or [skeleton("one")], **changes)


def story(*records: Any) -> RunState:
    state = fold([rec("run.opened"), *(records or [plan()])])
    assert state is not None
    return state


def refused(state: RunState | None, record: Any) -> str:
    with pytest.raises(InvalidTransition) as caught:
        apply(state, record)
    return caught.value.message


# --- form ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("REC-2")
def test_the_specification_has_the_same_records_with_the_same_fields() -> None:
    assert set(ONE.json_schema()["discriminator"]["mapping"]) == set(RECORDS)
    for name in NAMES:
        model = type(check(name, whole(name)))
        common = [] if name in PARTS else ["k", "at_ms"]
        wanted = sorted([*common, *(one.name for one in all_items()[name])])
        assert sorted(model.model_fields) == wanted, name


@pytest.mark.requirement("REC-2")
@pytest.mark.parametrize("name", RECORDS)
def test_a_record_names_its_kind_and_its_time_and_nothing_unknown(name: str) -> None:
    given = whole(name)
    assert check(name, given).model_dump() == given
    for wrong in (
        {key: value for key, value in given.items() if key != "k"},
        {key: value for key, value in given.items() if key != "at_ms"},
        {**given, "k": "run.unknown"},
        {**given, "k": name + "\n"},
        {**given, "k": 1},
        {**given, "at_ms": -1},
        {**given, "at_ms": 2**52 + 1},
        {**given, "at_ms": 1.0},
        {**given, "content": "x"},
    ):
        with pytest.raises(ValidationError):
            ONE.validate_python(wrong)


@pytest.mark.requirement("REC-2")
@pytest.mark.parametrize(
    ("name", "one"), FIELDS, ids=lambda part: part if isinstance(part, str) else part.name
)
def test_each_field_holds_what_the_specification_says(name: str, one: Field) -> None:
    rest = {key: value for key, value in whole(name).items() if key != one.name}
    if one.required:
        with pytest.raises(ValidationError, match=one.name):
            check(name, rest)
    else:
        made = getattr(check(name, rest), one.name)
        assert (made.model_dump(exclude_defaults=True) if isinstance(made, Usage) else made) == one.default
    for wrong in one.value.wrong():
        with pytest.raises(ValidationError, match=one.name):
            check(name, {**rest, one.name: wrong})


@pytest.mark.requirement("REC-1")
def test_a_message_holds_1_to_256_records() -> None:
    one = whole("subtask.cancelled")
    assert body_adapter(Type.JOURNAL) is record_adapter()
    assert len(record_adapter().validate_python([one] * 256)) == RECORDS_PER_MESSAGE_MAX == 256
    for wrong in ([], [one] * 257, one, [[one]], None):
        with pytest.raises(ValidationError):
            record_adapter().validate_python(wrong)


@pytest.mark.requirement("REC-1")
async def test_a_journal_message_is_a_stored_envelope_of_its_run_and_of_no_other(tmp_path: Path) -> None:
    async with MemorySwarm(tmp_path) as swarm:
        desk = await swarm.join("desk", ["coordinator"])
        records = [rec("run.opened"), plan()]
        raw = desk.seal_record(run_id(), records)
        header = parse_header(raw)
        assert (header.type, header.flags, header.ttl_s) == (0x0601, FLAG_JOURNAL, 0)
        assert header.context == run_bytes(run_id())
        assert header.audience == audience_hash(f"run/{run_id()}/journal")
        now_ms = int(swarm.clock.now() * 1000)
        assert desk.open_record(run_id(), raw, now_ms)[1] == records
        assert desk.open_record(run_id(), raw, now_ms + 80 * 86_400_000)[1] == records
        with pytest.raises(Rejected) as caught:
            desk.open_record(run_id(2), raw, now_ms)
        assert caught.value.code == "E_AUD"
        agent = await swarm.join("agent", ["agent"])
        with pytest.raises(Rejected) as caught:
            desk.open_record(run_id(), agent.seal_record(run_id(), records), now_ms)
        assert caught.value.code == "E_ROLE"


# --- order of writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("REC-3")
async def test_of_two_writers_one_appends_and_the_other_sees_what_was_written(tmp_path: Path) -> None:
    async with MemorySwarm(tmp_path) as swarm:
        one, two = await swarm.join("one", ["coordinator"]), await swarm.join("two", ["coordinator"])
        first = await one.journal.append(run_id(), b"opened", expected=0)
        second = await two.journal.append(run_id(), b"owned", expected=first)
        with pytest.raises(WriteConflict) as caught:
            await one.journal.append(run_id(), b"awarded", expected=first)
        assert (caught.value.revision, caught.value.data) == (second, b"owned")
        assert [stored.data async for stored in one.journal.read(run_id())] == [b"opened", b"owned"]
        assert subjects.journal(run_id()) == f"s.j.{run_id()}"


@pytest.mark.requirement("REC-4")
def test_what_a_record_justifies_waits_for_it_and_an_announcement_only_for_the_ground() -> None:
    ack = Say(run_id(), bus_key("a"), ResultAck(subtask="one", attempt=1, epoch=1, applied=True))
    offer = Announce(subtask="two", round=1, capability="text.work", window_ms=1, deadline_ms=1)
    call = SayAll(run_id(), "text.work", offer)
    lane = Lane()
    assert not lane.push([rec("run.opened"), plan()], [call])
    assert list(lane.take())
    assert lane.written()[1] == [call]
    assert lane.push([rec("subtask.accepted")], [ack, call]) == [call]
    assert list(lane.take())
    assert not lane.push([], [ack])
    assert lane.written()[1] == [ack, ack]


# --- which may follow which ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("REC-5")
def test_the_specification_has_the_same_transitions() -> None:
    runs = {
        (None if before == NEVER else before, kind): after
        for before, kind, after in table("## Records", "run")
    }
    assert runs == RUN
    subtasks = {(before, kind): after for before, kind, after in table("## Records", "subtask")}
    assert subtasks == SUBTASK


@pytest.mark.requirement("REC-5")
def test_what_cannot_follow_is_refused_and_changes_nothing() -> None:
    assert "before run.opened" in refused(None, rec("run.closed"))
    state = story()
    assert "twice" in refused(state, rec("run.opened"))
    assert "not in the plan" in refused(state, rec("subtask.unbid", subtask="other"))
    for name in ("attempt.refused", "attempt.failed", "result.rejected", "subtask.accepted"):
        assert "while 'one' is open" in refused(state, rec(name))
    assert state == story()


@pytest.mark.requirement("REC-6")
def test_a_plan_comes_in_order_whole_and_once() -> None:
    first, second = plan(skeleton("one", "two"), part=1, parts=2), plan(skeleton("two"), part=2, parts=2)
    assert set(story(first, second).subtasks) == {"one", "two"}
    assert "part 2" in refused(fold([rec("run.opened")]), second)
    state = story(first)
    assert "part 1" in refused(state, first)
    assert "plan part" in refused(state, plan(skeleton("two"), part=2, parts=3))
    other = {**example("Artifact"), "size": 9}
    assert "another plan" in refused(state, plan(skeleton("two"), part=2, parts=2, plan=other))
    assert "twice" in refused(state, plan(skeleton("one"), part=2, parts=2))
    assert "needs 'two'" in refused(state, plan(skeleton("three"), part=2, parts=2))


@pytest.mark.requirement("REC-6")
def test_a_revision_has_the_new_form_of_one_subtask_and_what_is_new_for_it() -> None:
    state = story(plan(skeleton("one"), skeleton("two", "one")))

    def revised(*subtasks: dict[str, Any]) -> Any:
        return rec("plan.revised", subtasks=list(subtasks))

    assert "twice" in refused(state, revised(skeleton("new")))
    assert "twice" in refused(state, revised(skeleton("one"), skeleton("two")))
    assert "twice" in refused(state, revised(skeleton("one"), skeleton("new"), skeleton("new")))
    assert "not in the plan" in refused(state, revised(skeleton("one", "ghost")))
    assert "cycle" in refused(state, revised(skeleton("one", "two")))
    assert "cycle" in refused(state, revised(skeleton("one", "new"), skeleton("new", "two")))
    apply(state, revised(skeleton("one", "new"), skeleton("new")))
    assert list(state.ready) == ["new"]
    assert state.unfinished == 3
    before = dict(state.subtasks)
    apply(state, rec("plan.revised", subtask="new", subtasks=[skeleton("new", capability="text.other")]))
    assert (state.subtasks, list(state.ready)) == (before, ["new"])
    assert state.subtasks["new"].skeleton.capability == "text.other"


@pytest.mark.requirement("REC-7")
def test_a_subtask_is_awarded_when_its_needs_have_ended_in_its_turn_and_epoch() -> None:
    parts = plan(skeleton("one"), skeleton("two", "one"), skeleton("any", "one", tolerant=True))
    state = story(parts)
    assert "before it may be" in refused(state, rec("subtask.awarded", subtask="two"))
    assert "out of order" in refused(state, rec("subtask.awarded", attempt=2))
    assert "out of order" in refused(state, rec("subtask.awarded", epoch=2))
    apply(state, rec("subtask.failed", subtask="one"))
    assert "before it may be" in refused(state, rec("subtask.awarded", subtask="two"))
    apply(state, rec("subtask.awarded", subtask="any"))
    cancelling = story(parts, rec("run.cancelling"))
    assert "while the run is cancelling" in refused(cancelling, rec("subtask.awarded"))


@pytest.mark.requirement("REC-8")
@pytest.mark.parametrize("name", ["attempt.refused", "attempt.failed", "result.rejected", "subtask.accepted"])
def test_an_ending_names_the_attempt_epoch_and_node_that_hold(name: str) -> None:
    for wrong in ({"attempt": 2}, {"epoch": 2}, {"node": node_id("b")}):
        assert "holds" in refused(story(plan(), rec("subtask.awarded")), rec(name, **wrong))
    apply(story(plan(), rec("subtask.awarded")), rec(name))


@pytest.mark.requirement("REC-7")
@pytest.mark.requirement("REC-8")
def test_beside_an_attempt_that_is_late_one_more_of_another_node_may_hold() -> None:
    second = {"attempt": 2, "node": node_id("b")}
    hedge = rec("subtask.awarded", hedge=True, **second)
    assert "hedged" in refused(story(plan()), rec("subtask.awarded", hedge=True))
    state = story(plan(), rec("subtask.awarded"))
    assert "before it may be" in refused(state, rec("subtask.awarded", **second))
    assert "hedged" in refused(state, rec("subtask.awarded", attempt=2, hedge=True))
    apply(state, hedge)
    assert [attempt.number for attempt in state.subtasks["one"].held] == [1, 2]
    third = {"attempt": 3, "node": node_id("c")}
    assert "hedged" in refused(state, rec("subtask.awarded", hedge=True, **third))
    assert "another attempt holds" in refused(state, rec("subtask.accepted"))
    for one, other in (({}, second), (second, {})):
        state = story(plan(), rec("subtask.awarded"), hedge, rec("attempt.failed", **one))
        assert state.subtasks["one"].status == "awarded"
        assert "holds" in refused(state, rec("attempt.failed", **one))
        apply(state, rec("subtask.accepted", **other))
        assert state.subtasks["one"].status == "accepted"
        state = story(
            plan(), rec("subtask.awarded"), hedge, *(rec("attempt.failed", **way) for way in (one, other))
        )
        assert (state.subtasks["one"].status, list(state.ready)) == ("open", ["one"])


@pytest.mark.requirement("REC-9")
def test_a_subtask_that_two_attempts_hold_is_cancelled_when_one_of_them_has_ended() -> None:
    hedge = rec("subtask.awarded", hedge=True, attempt=2, node=node_id("b"))
    state = story(plan(), rec("subtask.awarded"), hedge, rec("run.cancelling"))
    assert "two attempts" in refused(state, rec("subtask.cancelled"))
    apply(state, rec("attempt.failed"))
    apply(state, rec("subtask.cancelled"))
    assert [attempt.status for attempt in state.subtasks["one"].attempts] == ["failed", "cancelled"]


def ended(name: str) -> RunState:
    """A run in which the one subtask has ended in this way."""
    way: dict[str, Sequence[Any]] = {
        "subtask.accepted": [rec("subtask.awarded")],
        "subtask.failed": [],
        "subtask.cancelled": [rec("run.cancelling")],
    }
    return story(plan(), *way[name], rec(name))


@pytest.mark.requirement("REC-9")
@pytest.mark.parametrize("name", sorted(TERMINAL_RECORDS))
def test_a_subtask_ends_once_and_behind_its_end_come_only_late_results(name: str) -> None:
    assert set(TERMINAL_RECORDS) == {"subtask.accepted", "subtask.failed", "subtask.cancelled"}
    about = [kind for kind in RECORDS if any(one.name == "subtask" for one in all_items()[kind])]
    assert len(about) > 10
    for kind in about:
        if kind == "result.late":
            apply(ended(name), rec(kind))
        else:
            refused(ended(name), rec(kind))
    assert "nobody asked for it" in refused(story(), rec("subtask.cancelled"))


@pytest.mark.requirement("REC-10")
def test_who_takes_over_writes_a_higher_epoch_first_and_what_holds_goes_on() -> None:
    state = story(plan(), rec("subtask.awarded"))
    [owned] = take_over(state, None, node_id("b"), 9)
    assert (owned.k, owned.epoch) == ("run.owned", 2)
    assert "not above" in refused(state, rec("run.owned", epoch=1))
    apply(state, owned)
    apply(state, rec("subtask.accepted", epoch=1))
    assert state.subtasks["one"].status == "accepted"


@pytest.mark.requirement("REC-11")
def test_a_run_closes_when_everything_has_ended_or_nothing_could_begin() -> None:
    assert "not ended" in refused(story(), rec("run.closed"))
    for state in (ended("subtask.accepted"), story(plan(part=1, parts=2))):
        apply(state, rec("run.closed"))
        assert state.status == "closed"
        for kind in RECORDS:
            if kind not in ("result.late", "chain"):
                assert refused(state, rec(kind))
        apply(state, rec("result.late"))


def test_records_come_back_from_the_wire_as_they_were() -> None:
    made = [check(name, whole(name)) for name in RECORDS]
    body = pack(record_adapter().dump_python(made, by_alias=True))
    assert record_adapter().validate_python(unpack(body)) == made
