"""The order of effects: records first, commands behind them, in order."""

from __future__ import annotations

import pytest

from coordinator_node.lane import Lane, weight
from coordinator_node.orders import RunStands, SayAll, ShowProgress
from protocol.messages import Announce
from protocol.records import (
    RECORDS_PER_MESSAGE_MAX,
    Awarded,
    BidNote,
    Owned,
    Record,
    RunOpened,
    SubtaskCancelled,
)
from tests.support.builders import OWNER, a_ref, bus_key, node_id, run_id


def record(number: int) -> SubtaskCancelled:
    return SubtaskCancelled(at_ms=number, subtask=f"s{number}")


def command(name: str) -> ShowProgress:
    return ShowProgress("run", name, "node", "x", {})


def names(commands: object) -> list[str]:
    return [item.subtask for item in commands]  # type: ignore[attr-defined]


def test_commands_leave_at_once_when_nothing_waits() -> None:
    lane = Lane()
    assert lane.push([], [command("a")]) == [command("a")]
    assert not lane.take()


def test_commands_wait_for_the_records_of_their_step() -> None:
    lane = Lane()
    assert not lane.push([record(1)], [command("a")])
    assert list(lane.take()) == [record(1)]
    durable, commands = lane.written()
    assert durable == [(1, record(1))]
    assert names(commands) == ["a"]


def test_commands_of_a_later_step_wait_for_a_pack_that_is_on_its_way() -> None:
    lane = Lane()
    lane.push([record(1)], [])
    lane.take()
    assert not lane.push([], [command("b")])
    assert names(lane.written()[1]) == ["b"]


def test_what_comes_meanwhile_goes_together_into_the_next_pack() -> None:
    lane = Lane(seq=7, count=10)
    lane.push([record(1)], [command("a")])
    lane.take()
    lane.push([record(2)], [command("b")])
    lane.push([record(3)], [command("c")])
    assert names(lane.written()[1]) == ["a"]
    assert list(lane.take()) == [record(2), record(3)]
    durable, commands = lane.written()
    assert [number for number, _ in durable] == [12, 13]
    assert names(commands) == ["b", "c"]


def offer() -> SayAll:
    item = Announce(subtask="two", round=1, capability="text.work", window_ms=1, deadline_ms=1)
    return SayAll("run", "text.work", item)


def test_an_announcement_does_not_wait_for_the_record_that_made_its_subtask_ready() -> None:
    lane = Lane(seq=1, count=5)
    assert lane.push([record(1)], [command("ack"), offer()]) == [offer()]
    lane.take()
    assert lane.push([record(2)], [offer()]) == [offer()]
    assert names(lane.written()[1]) == ["ack"]


@pytest.mark.parametrize(
    "ground",
    [
        RunOpened(at_ms=1, run=run_id(), goal=a_ref(), by=OWNER, epoch=1, owner=OWNER),
        Owned(at_ms=1, epoch=2, owner=OWNER),
    ],
    ids=["opened", "owned"],
)
def test_an_announcement_waits_for_the_run_and_for_its_owner(ground: Record) -> None:
    lane = Lane()
    assert not lane.push([ground], [offer()])
    lane.take()
    assert not lane.push([], [offer()])
    assert lane.written()[1] == [offer(), offer()]
    assert lane.push([record(1)], [offer()]) == [offer()]


def test_a_pack_holds_so_many_records_and_commands_do_not_overtake() -> None:
    lane = Lane()
    most = RECORDS_PER_MESSAGE_MAX - 1  # the link to the message before takes a place
    for number in range(most + 10):
        lane.push([record(number)], [command(str(number))])
    first = lane.take()
    assert len(first) == most
    released = names(lane.written()[1])
    assert released == [str(number) for number in range(most)]
    assert len(lane.take()) == 10
    assert names(lane.written()[1]) == [str(number) for number in range(most, most + 10)]


def test_large_records_make_smaller_packs() -> None:
    note = BidNote(node=node_id("a"), agent="w", price=1, eta_ms=1, success=0.5, load=0.0, score=0.1)
    award = Awarded(
        at_ms=1,
        subtask="s",
        attempt=1,
        epoch=1,
        round=1,
        node=node_id("a"),
        bus_key=bus_key("a"),
        agent="w",
        lease_ms=1,
        deadline_ms=1,
        bids=[note] * 64,
    )
    lane = Lane()
    lane.push([award] * 100, [])
    taken = 0
    while pack := lane.take():
        assert sum(map(weight, pack)) <= 8_000
        taken += len(pack)
        lane.written()
    assert taken == 100


def test_a_pack_that_does_not_fit_goes_in_halves_in_the_same_order() -> None:
    lane = Lane()
    lane.push([record(number) for number in range(7)], [command("a")])
    lane.push([record(7)], [command("b")])
    assert len(lane.take()) == 8
    assert list(lane.halve()) == [record(number) for number in range(4)]
    durable, commands = lane.written()
    assert [number for number, _ in durable] == [1, 2, 3, 4]
    assert not commands
    assert list(lane.take()) == [record(number) for number in range(4, 8)]
    assert names(lane.written()[1]) == ["a", "b"]


def test_a_single_record_that_does_not_fit_cannot_be_halved() -> None:
    lane = Lane()
    lane.push([record(1)], [])
    lane.take()
    assert not lane.halve()
    assert list(lane.take()) == [record(1)]


def test_a_closed_lane_lets_nothing_out_any_more() -> None:
    lane = Lane()
    lane.push([record(1)], [command("a")])
    lane.take()
    lane.close()
    assert lane.push([record(2)], [RunStands("run")]) == ()
    assert not lane.take()
