"""Clocks that are set back an hour, in the middle of a run and between two owners: nothing is lost, repeated or waited for because of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesh.clock import SystemClock
from protocol.records import Accepted, Awarded, Owned
from tests.contract.test_takeover import GATED, Pair
from tests.support.swarm_memory import Team
from tests.unit.coordinator_node.test_node import records_of

HOUR_S = 3600.0


class Shifted(SystemClock):
    """The wall clock of a device, which somebody sets; the monotonic one nobody can."""

    offset = 0.0

    def now(self) -> float:
        return super().now() + self.offset


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with Team(tmp_path, clock=Shifted()) as team:
        team.swarm.store.clock = SystemClock()  # the bus has a clock of its own
        made = Pair(team, tmp_path)
        await made.coordinate("east")
        await made.coordinate("west")
        await made.work("ann")
        yield made


def set_back(pair: Pair) -> None:
    clock: Any = pair.team.swarm.clock
    clock.offset -= HOUR_S


async def check(pair: Pair, run: str) -> list[Any]:
    """Nothing was given up, awarded again or accepted twice; the journal reads back."""
    records = await records_of(pair.team, run)
    assert sum(isinstance(record, Awarded) for record in records) == 2
    assert sum(isinstance(record, Accepted) for record in records) == 2
    return records


async def submit(pair: Pair) -> tuple[str, str]:
    gated = {**GATED, "params": {"gate": str(pair.gate)}}
    run = await pair.team.submit(gated, {**gated, "id": "then", "reduce": "slow"})
    await pair.team.event("attempt.progress")
    [owner] = [name for name, desk in pair.desks.items() if run in desk.engine.desks]
    return run, owner


async def test_in_the_middle_of_a_run(pair: Pair) -> None:
    run, owner = await submit(pair)
    board = pair.desks[owner].takeover.board
    set_back(pair)
    before = board._revision
    await pair.team.until(lambda: board._revision > before + 3)
    assert board.holds()
    pair.gate.touch()
    assert (await pair.team.event("run.closed")).data["outcome"] == "done"
    records = await check(pair, run)
    assert not any(isinstance(record, Owned) for record in records), "nobody took it for dead"


async def test_between_two_owners(pair: Pair) -> None:
    run, owner = await submit(pair)
    await pair.team.kill(owner)
    set_back(pair)
    await pair.team.event("run.owned")
    pair.gate.touch()
    assert (await pair.team.event("run.closed")).data["outcome"] == "done"
    await check(pair, run)


async def test_before_a_coordinator_starts_again(pair: Pair) -> None:
    run, owner = await submit(pair)
    other = next(name for name in pair.desks if name != owner)
    await pair.team.kill(other)
    await pair.team.kill(owner)
    set_back(pair)
    await pair.coordinate(owner)
    pair.gate.touch()
    assert (await pair.team.event("run.closed")).data["outcome"] == "done"
    records = await check(pair, run)
    owned = next(record for record in records if isinstance(record, Owned))
    assert owned.at_ms < records[0].at_ms, "times in records are for people, and may go back"
