"""`mesh.connect()` for programs, over the bus in memory and over a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

import mesh.sdk
from mesh import RunFailed, Swarm
from mesh.endpoint import CallFailed
from mesh.sdk import NoRuns
from protocol.errors import ZwermError
from protocol.messages import Budget
from tests.support.endpoint_memory import MemorySwarm
from tests.support.endpoint_server import ServerSwarm
from tests.support.swarm_memory import Team

FUNCTIONS = Path(__file__).parents[1] / "support" / "agent_functions.py"
SHOUT = {
    "name": "shout", "adapter": "python", "mode": "thread", "capability": "test.shout", "target": f"{FUNCTIONS}:shout",
}  # fmt: skip
PLAN = {"goal": "shout", "steps": [{"id": "shout", "capability": "test.shout", "map": "inputs"}]}
NOBODY = {"steps": [{"id": "one", "capability": "test.nobody"}]}


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.integration)])
async def team(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Team]:
    swarm = ServerSwarm(tmp_path) if request.param == "nats" else MemorySwarm(tmp_path)
    async with Team(tmp_path, swarm=swarm) as made:
        yield made


@pytest.fixture
async def swarm(team: Team) -> Swarm:
    """A program's connection."""
    return Swarm(cast("Any", None), await team.swarm.join("program", ["client"]))


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.txt").write_text("hello")
    return folder


async def test_a_program_has_a_goal_done_watches_it_and_gets_the_files(
    team: Team, swarm: Swarm, notes: Path, tmp_path: Path
) -> None:
    await team.coordinate()
    await team.work("ann", agents=[SHOUT])
    (tmp_path / "plan.yaml").write_text(json.dumps(PLAN))
    run = await swarm.run(inputs=[notes], plan=tmp_path / "plan.yaml", budget={"time": "1h"})
    events = [event async for event in run.events()]
    durable = [event for event in events if not event.volatile]
    assert [event.seq for event in durable] == list(range(1, len(durable) + 1))
    assert [event.kind for event in (durable[0], durable[-1])] == ["run.opened", "run.closed"]
    assert {event.node_name for event in durable if event.kind == "subtask.accepted"} == {"ann"}
    result = await run.result()
    assert (result.outcome, result.files) == ("done", ["shout.txt"])
    paths = await run.deliver(tmp_path / "out")
    assert [path.name for path in paths] == ["shout.txt", "provenance.json"]
    assert paths[0].read_text() == "HELLO"
    again = [event async for event in swarm.events(run.run[-8:], after=3)]
    assert [event.document() for event in again] == [event.document() for event in durable[3:]]
    [listed] = await swarm.runs()
    assert (listed["run"], listed["outcome"], listed["records"]) == (run.run, "done", len(durable))
    assert (await swarm.find(run.run[-6:])).run == run.run
    assert {node["name"] for node in await swarm.nodes()} >= {"ann"}


async def test_what_ends_badly_is_an_error_that_has_the_result(team: Team, swarm: Swarm) -> None:
    await team.coordinate()
    run = await swarm.run("try it", plan=NOBODY)
    with pytest.raises(RunFailed) as failed:
        await run.result()
    assert failed.value.result.outcome == "unbid"
    assert failed.value.code == "E_UNBID"
    assert failed.value.message
    with pytest.raises(RunFailed):
        await run.deliver("nowhere")


async def test_a_run_can_be_cancelled_while_others_of_the_program_watch_it(team: Team, swarm: Swarm) -> None:
    await team.coordinate(grace_s=60.0)
    run = await swarm.run("try it", plan=NOBODY)

    async def kinds(events: Any) -> list[str]:
        found = []
        async for event in events:
            found.append(event.kind)
            if event.kind == "run.closed":
                break
        return found

    await swarm.pause(run.run, reason="a moment")
    await swarm.resume(run.run)
    async with asyncio.TaskGroup() as tasks:
        watchers = [tasks.create_task(kinds(events)) for events in (run.events(), swarm.events(run.run))]
        while not team.events:
            await asyncio.sleep(0)
        await run.cancel("changed my mind")
    assert watchers[0].result() == watchers[1].result()
    assert {"run.paused", "run.resumed"} <= set(watchers[0].result())
    assert watchers[0].result()[-2:] == ["subtask.cancelled", "run.closed"]
    with pytest.raises(RunFailed) as failed:
        await run.result()
    assert failed.value.result.outcome == "cancelled"


async def test_wrong_use_is_said_before_anything_is_asked(team: Team, swarm: Swarm, tmp_path: Path) -> None:
    async def code(**request: Any) -> str:
        with pytest.raises(ZwermError) as refusal:
            await swarm.run(**request)
        assert refusal.value.hint
        return refusal.value.code

    assert await code() == "E_PLAN"
    assert await code(goal="x", inputs=[tmp_path / "nothing"]) == "E_INPUT"
    assert await code(plan=tmp_path / "nothing.yaml") == "E_PLAN"
    assert await code(goal="x", plan=NOBODY, budget="money=-1") == "E_BUDGET_VALUE"
    assert await code(goal="x", plan=NOBODY, budget=Budget(steps=1)) == "E_NO_ANSWER"  # no coordinator is up
    await team.coordinate()
    assert await code(goal="Book me a flight") == "E_GOAL"
    with pytest.raises(CallFailed) as refusal:
        await swarm.find("zzzzzz")
    assert refusal.value.code == "E_NOT_FOUND"


async def test_without_the_package_that_knows_runs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh.sdk, "entry_points", lambda **_: [])
    with pytest.raises(NoRuns):
        Swarm(cast("Any", None), cast("Any", None)).events()
