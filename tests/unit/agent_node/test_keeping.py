"""What leaves while nothing can be written down, and what waits."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from agent_node.errors import OutboxError, OutboxFull
from agent_node.events import AttemptKey, Ended, LocalRecord, Say, Start, Step, Stop, Took
from agent_node.keeping import Keeper
from protocol.messages import Award, Progress, Result, Usage
from protocol.messages.work import WorkState

RUN = "r" * 26


class Disk:
    """A file with room or without, and one that can be written and not synced."""

    def __init__(self) -> None:
        self.written: list[LocalRecord] = []
        self.room = True
        self.syncs = True
        self.unsynced = False

    def append(self, records: Iterable[LocalRecord]) -> None:
        if not self.room:
            raise OutboxFull("full")
        self.written += records
        self.unsynced = True

    def sync(self) -> None:
        if not self.syncs:
            raise OutboxFull("full")
        self.unsynced = False


def key(name: str = "one") -> AttemptKey:
    return AttemptKey(RUN, name, 1, 1)


def ended(name: str = "one") -> Step:
    result = Result(subtask=name, attempt=1, epoch=1, outputs=[], wall_ms=1)
    return Step([Ended(key(name), result, 1.0)], [Say(RUN, result)])


def start(name: str = "one", caps: Usage | None = None) -> Step:
    award = Award(
        subtask=name, round=1, attempt=1, epoch=1, capability="a.b", agent="w", lease_ms=10_000, deadline_ms=9, caps=caps
    )  # fmt: skip
    return Step([Took(key(name))], [Start(key(name), "w", award, 9.0)])


def test_with_room_everything_is_written_and_leaves() -> None:
    disk = Disk()
    keeper = Keeper(disk)
    step = ended()
    records, commands = list(step.records), list(step.commands)
    assert keeper.admit(step) == commands
    assert disk.written == records
    assert not keeper.full


def test_without_room_nothing_that_must_be_kept_leaves_and_all_else_does() -> None:
    disk = Disk()
    keeper = Keeper(disk)
    disk.room = False
    first, second = ended("one"), start("two")
    wanted = [*first.commands, *second.commands]
    records = [*first.records, *second.records]
    assert keeper.admit(first) == []
    assert keeper.full
    assert keeper.admit(second) == []
    progress = Say(RUN, Progress(subtask="three", attempt=1, epoch=1, step=1))
    again = Say(RUN, Result(subtask="one", attempt=1, epoch=1, outputs=[], wall_ms=1))
    stop = Stop(key("three"))
    assert keeper.admit(Step([], [progress, again, stop])) == [progress, stop]
    assert list(keeper.retry()) == []
    disk.room = True
    assert list(keeper.retry()) == wanted
    assert disk.written == records
    assert not keeper.full


def test_what_is_written_and_cannot_be_synced_waits_and_is_not_written_twice() -> None:
    disk = Disk()
    keeper = Keeper(disk)
    disk.syncs = False
    step = start(caps=Usage(money=5))
    commands = list(step.commands)
    assert keeper.admit(step) == []
    assert list(keeper.retry()) == []
    assert disk.written == [Took(key())]
    disk.syncs = True
    assert list(keeper.retry()) == commands
    assert disk.written == [Took(key())]


@pytest.mark.parametrize(("state", "syncs"), [("person", 1), ("limited", 0), ("working", 0)])
def test_before_it_is_said_that_work_waits_for_a_person_what_is_written_outlasts_a_power_cut(
    state: WorkState, syncs: int
) -> None:
    disk = Disk()
    keeper = Keeper(disk)
    keeper.admit(start())
    synced: list[bool] = []
    disk.sync = lambda: synced.append(True)  # type: ignore[method-assign]
    say = Say(RUN, Progress(subtask="one", attempt=1, epoch=1, step=1, state=state))
    assert keeper.admit(Step([], [say])) == [say]
    assert len(synced) == syncs


def test_any_other_trouble_with_the_file_is_the_end() -> None:
    disk = Disk()

    def broken(_records: object) -> None:
        raise OutboxError("input/output error")

    disk.append = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(OutboxError):
        Keeper(disk).admit(ended())
