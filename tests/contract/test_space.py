"""A journal that runs out of space: no new run at 80 %, only endings at 95 %, and everything goes on when there is room. In memory and in JetStream."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator_node.space_store import Space, level_at
from mesh.endpoint import CallFailed
from mesh.errors import DiskFull
from mesh.workspace import Usage
from protocol.ids import new_run_id
from protocol.messages import ListNodes, ListRuns, ShowRun
from tests.support.endpoint_memory import MemorySwarm
from tests.support.endpoint_server import SIZES, ServerSwarm
from tests.support.swarm_memory import Team
from tests.unit.coordinator_node.test_node import agent

SMALL = 256 << 10
LARGE = 4 << 20


class Box:
    """A team whose journal is small, and a way to fill and to enlarge it."""

    def __init__(self, team: Team, folder: Path, resize: Callable[[int], Awaitable[None]]) -> None:
        self.team = team
        self.gate = folder / "gate"
        self.resize = resize
        self._filler = new_run_id(1_000_000_000.0, os.urandom(16))
        self._last = 0

    async def share(self) -> float:
        return (await self.team.coordinator.endpoint.journal.usage()).share

    async def fill(self, share: float) -> None:
        """Fill the journal with what nobody can read, up to a share of its space."""
        journal = self.team.coordinator.endpoint.journal
        while (usage := await journal.usage()).share < share:
            size = max(1, min(32_000, int(usage.limit * share) - usage.used - 150))
            self._last = await journal.append(self._filler, os.urandom(size), expected=self._last)

    async def fill_up(self) -> None:
        """Until not even a byte more is taken."""
        await self.fill(0.99)
        journal = self.team.coordinator.endpoint.journal
        for size in (600, 60, 1):
            try:
                while True:
                    self._last = await journal.append(self._filler, os.urandom(size), expected=self._last)
            except DiskFull:
                continue

    async def begin(self) -> str:
        """A run of two subtasks, the first of which waits at the gate."""
        await self.team.coordinate()
        await self.team.work("ann", noop=True, agents=[agent("steps")])
        slow = {"id": "slow", "capability": "test.steps", "params": {"gate": str(self.gate)}}
        run = await self.team.submit(slow, {"id": "then", "capability": "demo.noop", "reduce": "slow"})
        await self.team.event("attempt.progress")
        return run

    async def refused(self) -> CallFailed:
        with pytest.raises(CallFailed) as caught:
            await self.team.submit({"id": "one", "capability": "demo.noop"})
        return caught.value


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.integration)])
async def box(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Box]:
    sizes = replace(SIZES, journal=SMALL)
    swarm: MemorySwarm
    if request.param == "memory":
        swarm = MemorySwarm(tmp_path)
        stream: Any = swarm.store.stream("JOURNAL")
        stream._config["max_bytes"] = SMALL

        async def resize(size: int) -> None:
            stream._config["max_bytes"] = size
    else:
        swarm = real = ServerSwarm(tmp_path, sizes)

        async def resize(size: int) -> None:
            await real.resize(replace(sizes, journal=size))

    async with Team(tmp_path, swarm=swarm) as team:
        yield Box(team, tmp_path, resize)


async def test_at_80_percent_no_run_is_taken_and_those_that_are_there_end(box: Box) -> None:
    await box.begin()
    await box.fill(0.82)
    error = await box.refused()
    assert error.code == "E_DISK_FULL"
    assert "82%" in error.message
    assert "journal_mib" in error.hint
    box.gate.touch()
    assert (await box.team.event("run.closed")).data["outcome"] == "done"
    await box.resize(LARGE)
    await box.team.submit({"id": "one", "capability": "demo.noop"})


async def test_at_95_percent_only_endings_are_written_until_there_is_room(box: Box) -> None:
    run = await box.begin()
    await box.fill(0.955)
    space = box.team.coordinator.space
    await box.team.until(lambda: space.level == "endings")
    box.gate.touch()
    await box.team.event("subtask.accepted", subtask="slow")
    state = box.team.coordinator.engine.state(run)
    assert state is not None
    assert (state.subtasks["slow"].status, state.subtasks["then"].attempts) == ("accepted", [])
    assert "then" in state.ready
    assert (await box.refused()).code == "E_DISK_FULL"
    assert state.subtasks["then"].attempts == []
    await box.resize(LARGE)
    assert (await box.team.event("run.closed")).data["outcome"] == "done"
    assert space.level == "room"


async def test_what_ends_while_there_is_no_room_at_all_is_written_when_there_is(box: Box) -> None:
    run = await box.begin()
    await box.fill_up()
    state = box.team.coordinator.engine.state(run)
    assert state is not None
    box.gate.touch()
    store = box.team.coordinator.store
    await box.team.until(lambda: state.records > store.count(run))
    told = [event.kind for event in box.team.events if event.kind.startswith("subtask.")]
    assert "subtask.accepted" not in told, "nothing is said before it is in the journal"
    await box.resize(LARGE)
    assert (await box.team.event("run.closed")).data["outcome"] == "done"


async def test_who_asks_is_told_that_a_run_is_read_only_and_why_until_there_is_room(box: Box) -> None:
    run = await box.begin()
    assert (await box.team.ask(ShowRun(run=run))).data["read_only"] == ""
    await box.fill_up()
    space, store = box.team.coordinator.space, box.team.coordinator.store
    box.gate.touch()
    await box.team.until(lambda: store.refused == {run} and space.level == "endings")
    for data in ((await box.team.ask(ShowRun(run=run))).data, *(await box.team.ask(ListRuns())).data["runs"]):
        if data["run"] == run:
            assert "nothing is begun" in data["read_only"]
    told = (await box.team.ask(ListNodes())).data["journal"]
    assert told["used"] > 0.95
    assert told["full"] == space.why
    assert "journal_mib" in told["hint"]
    await box.resize(LARGE)
    assert (await box.team.event("run.closed")).data["outcome"] == "done"
    assert (await box.team.ask(ShowRun(run=run))).data["read_only"] == ""
    await box.team.until(lambda: space.level == "room")
    assert (await box.team.ask(ListNodes())).data["journal"]["full"] == ""
    assert store.refused == set()


async def test_an_append_that_is_refused_makes_runs_read_only_however_much_room_is_said_to_be_left() -> None:
    refused, levels = [True], list[str]()

    class Journal:
        async def usage(self) -> Usage:
            return Usage(10, 100)

    space = Space(SimpleNamespace(journal=Journal()), levels.append, lambda: refused[0])  # type: ignore[arg-type]
    await space.measure()
    assert (levels, space.level) == (["endings"], "endings")
    assert "its disk is full" in space.why
    refused[0] = False
    await space.measure()
    assert (levels, space.level, space.why) == (["endings", "room"], "room", "")


def test_the_levels_do_not_flutter() -> None:
    assert [level_at(share, "room") for share in (0.0, 0.79, 0.80, 0.94, 0.95, 1.0)] == [
        "room",
        "room",
        "no runs",
        "no runs",
        "endings",
        "endings",
    ]
    assert level_at(0.94, "endings") == "endings"
    assert level_at(0.92, "endings") == "no runs"
    assert level_at(0.79, "no runs") == "no runs"
    assert level_at(0.77, "endings") == "room"
