"""Snapshots of long runs: made while they go on, used by who takes over, gone when they end, and never believed more than the journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesh.workspace import Stored
from protocol import subjects
from protocol.messages import Head
from protocol.records import Accepted
from tests.support.swarm_memory import Team
from tests.unit.coordinator_node.test_node import agent, records_of

STEPS = [{"id": f"s{number}", "capability": "demo.noop"} for number in range(40)]


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Team]:
    async with Team(tmp_path) as made:
        yield made


class Journal:
    """Counts what is read of it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.read_after: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def read(self, run: str, after: int = 0) -> AsyncIterator[Stored]:
        self.read_after.append(after)
        found: AsyncIterator[Stored] = self.inner.read(run, after)
        return found


async def half_done(team: Team, folder: Path) -> tuple[str, Head, Any]:
    """A run of which forty subtasks are done and one waits at a gate; a snapshot of it is named."""
    role = await team.coordinate(snapshot_records=20, lease_s=1.0)
    worker = await team.work("ann", noop=True, agents=[agent("steps")])
    slow = {"id": "slow", "capability": "test.steps", "params": {"gate": str(folder / "gate")}}
    run = await team.submit(*STEPS, slow)
    board = role.takeover.board
    await team.until(lambda: (head := board.heads.get(run)) is not None and head.snapshot is not None)
    await team.until(lambda: sum(event.kind == "subtask.accepted" for event in team.events) == len(STEPS))
    return run, board.heads.open[run], worker


async def finish(team: Team, folder: Path, run: str, worker: Any) -> None:
    team.introduce(worker.endpoint, worker)
    (folder / "gate").touch()
    assert (await team.event("run.closed")).data["outcome"] == "done"
    accepted = [record for record in await records_of(team, run) if isinstance(record, Accepted)]
    assert len(accepted) == len({record.subtask for record in accepted}) == len(STEPS) + 1


@pytest.mark.requirement("OWN-7")
async def test_who_takes_a_long_run_reads_the_snapshot_and_the_tail(team: Team, tmp_path: Path) -> None:
    run, head, worker = await half_done(team, tmp_path)
    before = team.coordinator.engine.state(run)
    assert before is not None
    records = before.records
    await team.kill("desk")
    role = await team.coordinate("desk", lease_s=1.0)
    state = role.engine.state(run)
    assert state is not None
    assert state.records >= records
    # What it went on from is what a reader of the whole has.
    shown, _ = await role.archive.get(run)
    assert shown is state
    assert head.snapshot is not None
    await finish(team, tmp_path, run, worker)
    board = role.takeover.board
    await team.until(lambda: (known := board.heads.get(run)) is not None and known.closed)
    art: Any = team.swarm.store.stream("ART")
    name = subjects.artifact(head.snapshot.digest, head.snapshot.writer, 0)
    await team.until(lambda: all(found.subject != name for found in art._messages.values()))


@pytest.mark.requirement("OWN-7")
async def test_only_what_came_after_the_snapshot_is_read(team: Team, tmp_path: Path) -> None:
    run, head, worker = await half_done(team, tmp_path)
    await team.kill("desk")
    other = await team.swarm.join("other", ["coordinator"])
    other.journal = Journal(other.journal)  # type: ignore[assignment]
    from coordinator_node.node import CoordinatorRole

    role = CoordinatorRole(other, {"lease_s": 1.0, "settle_s": 0.0})
    team.coordinator = role
    team._start("other", role)
    await team.event("run.owned")
    assert min(other.journal.read_after) > 0  # type: ignore[attr-defined]
    await finish(team, tmp_path, run, worker)
    assert head.count > 20


@pytest.mark.requirement("OWN-7")
async def test_a_damaged_or_missing_snapshot_costs_time_and_nothing_else(team: Team, tmp_path: Path) -> None:
    run, head, worker = await half_done(team, tmp_path)
    await team.kill("desk")
    assert head.snapshot is not None
    art: Any = team.swarm.store.stream("ART")
    name = subjects.artifact(head.snapshot.digest, head.snapshot.writer, 0)
    [seq] = [seq for seq, found in art._messages.items() if found.subject == name]
    found = art._messages[seq]
    art._messages[seq] = found._replace(data=found.data[:-1] + bytes([found.data[-1] ^ 1]))
    await team.coordinate("desk", lease_s=1.0)
    assert team.coordinator.engine.state(run) is not None
    await finish(team, tmp_path, run, worker)
