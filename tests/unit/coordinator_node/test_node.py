"""The role `coordinator` from the outside: real endpoints, real agents, a client that asks, and a journal that sometimes fails."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from coordinator_node.config import ConfigInvalid, load_config
from coordinator_node.fold import fold
from coordinator_node.journal_store import read_run
from mesh.endpoint import CallFailed
from mesh.errors import StoreUnavailable
from protocol import subjects
from protocol.messages import (
    CancelRun,
    ListNodes,
    ListRuns,
    Missing,
    PauseRun,
    Ping,
    ResumeRun,
    ShowRun,
    SubmitRun,
)
from protocol.plan import Plan
from protocol.records import Owned, PlanRevised, Record
from tests.support.builders import a_bid, a_result
from tests.support.swarm_memory import Team

FUNCTIONS = str(Path(__file__).parents[2] / "support" / "agent_functions.py")


def agent(name: str, capability: str = "") -> dict[str, Any]:
    """An agent of a node: one of the tests' functions, in a thread of the node."""
    return {
        "name": name,
        "adapter": "python",
        "mode": "thread",
        "capability": capability or f"test.{name}",
        "target": f"{FUNCTIONS}:{name}",
    }


NOOP = {"id": "one", "capability": "demo.noop"}
SHOUT = [
    {"id": "shout", "capability": "test.shout", "map": "inputs"},
    {"id": "all", "capability": "test.echo", "reduce": "shout", "tolerant": True},
]


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Team]:
    async with Team(tmp_path) as made:
        yield made


async def outcome(team: Team, run: str) -> dict[str, Any]:
    """How the run ended."""
    event = await team.event("run.closed")
    while not team.coordinator.engine.is_closed(run):
        event = await team.event("run.closed")
    return event.data


async def records_of(team: Team, run: str) -> list[Record]:
    """The run's journal."""
    endpoint = team.coordinator.endpoint
    found: list[Record] = []
    async for stored in endpoint.journal.read(run):
        found += endpoint.open_record(run, stored.data, stored.at_ms)[1]
    return found


async def test_a_goal_becomes_files_and_says_who_made_them_from_what(team: Team) -> None:
    await team.coordinate()
    for name in ("ann", "bob"):
        await team.work(name, agents=[agent("shout"), agent("echo")])
    files = [await team.put(f"{name}.txt", f"hello {name}".encode()) for name in ("x", "y", "z")]
    run = await team.submit(*SHOUT, inputs=files)
    closed = await outcome(team, run)
    assert closed["outcome"] == "done"
    shown: Any = (await team.ask(ShowRun(run=run[-6:]))).data
    assert shown["schema"] == "zwerm.run/1"
    by_id = {subtask["id"]: subtask for subtask in shown["subtask_list"]}
    first = by_id["shout-01"]
    [attempt] = first["attempts"]
    assert attempt["node_name"] in ("ann", "bob")
    assert {bid["node_name"] for bid in attempt["bids"]} == {"ann", "bob"}
    assert attempt["reason"].startswith("best of 2 bids")
    assert first["inputs"][0]["sha256"] == files[0].ref.digest
    assert by_id["all"]["inputs"][0]["sha256"] == first["outputs"][0]["sha256"]
    assert by_id["all"]["inputs"][0]["from"] == "shout-01"
    data = await team.client.artifacts.read(_ref(team, run, "shout-03"), 100)
    assert data == b"HELLO Z"


def _ref(team: Team, run: str, subtask: str) -> Any:
    state = team.coordinator.engine.state(run)
    assert state is not None
    return state.subtasks[subtask].outputs[0].ref


async def test_watchers_hear_every_record_in_the_order_of_the_journal(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", agents=[agent("shout"), agent("echo")])
    run = await team.submit(*SHOUT, inputs=[await team.put("x.txt", b"x")])
    await outcome(team, run)
    told = [
        event
        for event in team.events
        if not event.kind.startswith("attempt.s") and event.kind != "attempt.progress"
    ]
    written = await records_of(team, run)
    assert [event.kind for event in told] == [record.k for record in written]
    assert [event.seq for event in told] == list(range(1, len(written) + 1))


async def test_the_state_in_memory_is_the_fold_of_the_journal(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", noop=True)
    run = await team.submit(*({"id": f"s{number}", "capability": "demo.noop"} for number in range(300)))
    await outcome(team, run)
    assert fold(await records_of(team, run)) == team.coordinator.engine.state(run)


async def test_submitting_the_same_run_twice_is_one_run(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", noop=True)
    run = await team.submit(NOOP)
    await outcome(team, run)
    count = len(await records_of(team, run))
    reply = await team.ask(SubmitRun(goal="do it", planner="file", plan={"steps": [NOOP]}), run=run)
    assert reply.data["again"] is True
    assert len(await records_of(team, run)) == count


async def test_a_goal_that_nobody_understands_is_refused_and_leaves_nothing(team: Team) -> None:
    await team.coordinate()
    with pytest.raises(CallFailed) as refusal:
        await team.submit(goal="Book me a flight")
    assert refusal.value.code == "E_GOAL"
    assert "Summarise this folder" in refusal.value.hint
    assert await team.coordinator.endpoint.journal.runs() == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"goal": "x", "planner": "oracle"}, "E_PLAN"),
        ({"goal": "x", "planner": "file"}, "E_PLAN"),
        ({"goal": "x", "planner": "file", "plan": {"steps": [{"id": "one"}]}}, "E_PLAN"),
        ({"goal": "Summarise this folder"}, "E_PLAN"),
    ],
)
async def test_a_plan_that_cannot_be_is_refused_with_its_reason(
    team: Team, request_: dict[str, Any], code: str
) -> None:
    await team.coordinate()
    with pytest.raises(CallFailed) as refusal:
        await team.submit(**request_)
    assert refusal.value.code == code


async def test_a_goal_that_nobody_can_do_ends_with_who_was_asked_and_why_not(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", noop=True)
    run = await team.submit({"id": "scan", "capability": "image.ocr"})
    closed = await outcome(team, run)
    assert (closed["outcome"], closed["code"]) == ("unbid", "E_UNBID")
    assert "no node offers image.ocr" in closed["message"]
    assert "ann" in closed["message"]
    assert "demo.noop" in closed["message"]


async def test_a_failed_input_is_named_to_what_goes_on_without_it(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", agents=[agent("shout"), agent("echo"), agent("refuse")])
    run = await team.submit(
        {"id": "bad", "capability": "test.refuse", "map": ["b.*"]},
        {"id": "good", "capability": "test.shout", "map": ["a.*"]},
        {"id": "all", "capability": "test.echo", "reduce": ["bad", "good"], "tolerant": True},
        inputs=[await team.put("a.txt", b"a"), await team.put("b.txt", b"b")],
        skipped=[Missing(name="c.txt", code="E_VANISHED", message="it is gone")],
    )
    closed = await outcome(team, run)
    assert closed["outcome"] == "partial"
    told = (await team.client.artifacts.read(_ref(team, run, "all"), 10_000)).decode()
    assert '"b.txt"' in told
    assert '"c.txt"' in told


async def test_a_cancelled_run_stops_its_work_and_says_who_cancelled_it(team: Team, tmp_path: Path) -> None:
    await team.coordinate()
    await team.work("ann", agents=[agent("steps")])
    run = await team.submit(
        {"id": "one", "capability": "test.steps", "params": {"gate": str(tmp_path / "never")}}
    )
    await team.event("attempt.progress")
    reply = await team.ask(CancelRun(run=run[-6:], reason="wrong folder"))
    assert reply.data["status"] == "cancelling"
    closed = await outcome(team, run)
    assert closed["outcome"] == "cancelled"
    assert "wrong folder" in closed["message"]
    again = await team.ask(CancelRun(run=run))
    assert again.data["outcome"] == "cancelled"


async def test_a_run_is_paused_goes_on_and_one_of_its_subtasks_can_be_stopped(
    team: Team, tmp_path: Path
) -> None:
    await team.coordinate()
    await team.work("ann", agents=[agent("steps"), agent("echo")])
    run = await team.submit(
        {"id": "slow", "capability": "test.steps", "params": {"gate": str(tmp_path / "never")}},
        {"id": "next", "capability": "test.echo", "reduce": "slow", "tolerant": True},
    )
    await team.event("attempt.progress")
    reply = await team.ask(PauseRun(run=run[-6:], reason="lunch"))
    assert (reply.data["paused"], reply.data["working"]) == (True, 1)
    assert [record.k for record in await records_of(team, run)][-1] == "run.paused"
    shown: Any = (await team.ask(ShowRun(run=run))).data
    assert (shown["paused"], shown["pause_reason"]) == (True, "lunch")
    with pytest.raises(CallFailed, match=r"no subtask 'slwo' \(slow"):
        await team.ask(CancelRun(run=run, subtask="slwo"))
    reply = await team.ask(CancelRun(run=run, subtask="slow", reason="too slow"))
    assert reply.data["status"] == "cancelling"
    await team.event("subtask.cancelled")
    reply = await team.ask(ResumeRun(run=run))
    assert not reply.data["paused"]
    closed = await outcome(team, run)
    assert (closed["outcome"], closed["code"]) == ("partial", "E_CANCELLED")
    assert "slow: cancelled: too slow" in closed["message"]
    reply = await team.ask(CancelRun(run=run, subtask="slow"))
    assert reply.data["status"] == "cancelled"
    reply = await team.ask(PauseRun(run=run))
    assert (reply.data["paused"], reply.data["outcome"]) == (False, "partial")


async def test_work_that_nobody_does_is_done_in_another_way_and_the_new_plan_is_kept(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", agents=[agent("shout"), agent("echo")])
    step = {"id": "shout", "capability": "test.model", "map": "inputs", "instead": "test.shout"}
    run = await team.submit(step, SHOUT[1], inputs=[await team.put("x.txt", b"x")])
    assert (await outcome(team, run))["outcome"] == "done"
    [record] = [record for record in await records_of(team, run) if isinstance(record, PlanRevised)]
    stored = Plan.model_validate_json(await team.client.artifacts.read(record.plan, 1 << 20))
    assert [subtask.capability for subtask in stored.subtasks] == ["test.shout", "test.echo"]
    shown: Any = (await team.ask(ShowRun(run=run))).data
    assert shown["plan_ref"]["sha256"] == record.plan.digest
    assert shown["subtask_list"][0]["capability"] == "test.shout"


async def test_runs_and_nodes_are_listed_and_a_wrong_name_is_refused(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", noop=True)
    runs = [await team.submit(NOOP) for _ in range(3)]
    for run in runs:
        await team.until(lambda run=run: team.coordinator.engine.is_closed(run))
    listed: Any = (await team.ask(ListRuns(limit=2))).data["runs"]
    assert [item["run"] for item in listed] == runs[:0:-1]
    assert listed[0]["goal"] == "do it"
    assert listed[0]["outcome"] == "done"
    nodes: Any = (await team.ask(ListNodes())).data["nodes"]
    assert [(node["name"], node["state"]) for node in nodes] == [("ann", "up")]
    assert (await team.ask(Ping())).data["name"] == "desk"
    with pytest.raises(CallFailed) as refusal:
        await team.ask(ShowRun(run="zzzzzz"))
    assert refusal.value.code == "E_NOT_FOUND"


async def test_a_run_that_has_left_the_memory_is_shown_from_the_journal(team: Team) -> None:
    await team.coordinate(kept_runs=1)
    await team.work("ann", noop=True)
    runs = []
    for _ in range(3):
        runs.append(await team.submit(NOOP))
        await team.until(lambda: team.coordinator.engine.is_closed(runs[-1]))
    await team.until(lambda: runs[0] not in team.coordinator.engine.desks)
    shown = (await team.ask(ShowRun(run=runs[0]))).data
    assert shown["outcome"] == "done"
    assert shown["goal"] == "do it"


async def test_what_is_too_long_for_an_answer_is_stored_and_named(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", noop=True)
    run = await team.submit(*({"id": f"s{number}", "capability": "demo.noop"} for number in range(400)))
    await outcome(team, run)
    shown: Any = (await team.ask(ShowRun(run=run))).data
    assert "subtask_list" not in shown
    assert shown["counts"]["accepted"] == 400
    from protocol.artifact import ArtifactRef

    detail = shown["detail"]
    ref = ArtifactRef(
        sha256=bytes.fromhex(detail["sha256"]),
        size=detail["bytes"],
        chunks=detail["chunks"],
        writer=detail["writer"],
    )
    import json

    whole = json.loads(await team.client.artifacts.read(ref, 1 << 24))
    assert len(whole["subtask_list"]) == 400


# --- deaths ---


async def test_a_coordinator_that_is_killed_goes_on_where_it_was(team: Team, tmp_path: Path) -> None:
    await team.coordinate()
    role = await team.work("ann", slots=2, agents=[agent("steps"), agent("shout")])
    gate = tmp_path / "gate"
    run = await team.submit(
        {"id": "quick", "capability": "test.shout", "map": "inputs"},
        {"id": "slow", "capability": "test.steps", "params": {"gate": str(gate)}},
        {"id": "last", "capability": "test.shout", "map": "slow"},
        inputs=[await team.put("x.txt", b"x")],
    )
    await team.event("subtask.accepted", subtask="quick-01")
    await team.event("attempt.progress", subtask="slow")
    await team.kill("desk")
    team.events.clear()
    await team.coordinate()
    team.introduce(role.endpoint, role)
    gate.touch()
    closed = await outcome(team, run)
    assert closed["outcome"] == "done"
    written = await records_of(team, run)
    assert sum(isinstance(record, Owned) for record in written) == 1
    state = fold(written)
    assert state is not None
    assert {name: len(subtask.attempts) for name, subtask in state.subtasks.items()} == {
        "quick-01": 1,
        "slow": 1,
        "last-01": 1,
    }
    assert state == team.coordinator.engine.state(run)


async def test_a_coordinator_that_stops_politely_leaves_its_runs_to_its_next_start(
    team: Team, tmp_path: Path
) -> None:
    await team.coordinate()
    role = await team.work("ann", agents=[agent("steps")])
    gate = tmp_path / "gate"
    run = await team.submit({"id": "slow", "capability": "test.steps", "params": {"gate": str(gate)}})
    await team.event("attempt.progress")
    await team.stop("desk")
    await team.coordinate()
    team.introduce(role.endpoint, role)
    gate.touch()
    assert (await outcome(team, run))["outcome"] == "done"


async def test_a_result_that_was_ready_while_no_coordinator_was_there_counts(
    team: Team, tmp_path: Path
) -> None:
    await team.coordinate()
    role = await team.work("ann", agents=[agent("steps")])
    gate = tmp_path / "gate"
    run = await team.submit({"id": "slow", "capability": "test.steps", "params": {"gate": str(gate)}})
    await team.event("attempt.progress")
    await team.kill("desk")
    gate.touch()
    await team.until(lambda: role.agent.idle)
    await team.coordinate()
    team.introduce(role.endpoint, role)
    assert (await outcome(team, run))["outcome"] == "done"
    state = team.coordinator.engine.state(run)
    assert state is not None
    assert len(state.subtasks["slow"].attempts) == 1


async def test_another_node_takes_over_from_one_that_is_gone_and_both_attempts_are_shown(
    team: Team, tmp_path: Path
) -> None:
    await team.coordinate()
    gate = tmp_path / "gate"
    await team.work("ann", agents=[agent("steps")])
    run = await team.submit({"id": "slow", "capability": "test.steps", "params": {"gate": str(gate)}})
    event = await team.event("attempt.progress")
    await team.kill("ann")
    await team.work("bob", agents=[agent("steps")])
    team.dismiss(event.node, "silent for 30 s")
    gate.touch()
    assert (await outcome(team, run))["outcome"] == "done"
    shown: Any = (await team.ask(ShowRun(run=run))).data
    [subtask] = shown["subtask_list"]
    assert [(item["node_name"], item["status"], item["code"]) for item in subtask["attempts"]] == [
        ("ann", "failed", "E_NODE_GONE"),
        ("bob", "accepted", ""),
    ]


async def test_a_run_that_another_coordinator_has_taken_is_left_alone(team: Team, tmp_path: Path) -> None:
    await team.coordinate()
    await team.work("ann", agents=[agent("steps")])
    gate = tmp_path / "gate"
    run = await team.submit({"id": "slow", "capability": "test.steps", "params": {"gate": str(gate)}})
    await team.event("attempt.progress")
    other = await team.swarm.join("rival", ["coordinator"])
    last = await other.journal.last(run)
    assert last is not None
    owned = Owned(at_ms=1, epoch=9, owner=other.node)
    await other.journal.append(run, other.seal_record(run, [owned]), expected=last.seq)
    gate.touch()
    await team.until(lambda: run not in team.coordinator.engine.desks)
    written = await records_of(team, run)
    assert written[-1] == owned
    await team.stop("desk")
    await team.coordinate()
    assert run not in team.coordinator.engine.desks


async def test_a_journal_that_loses_writes_and_confirmations_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator_node.journal_store._PAUSE_FIRST_S", 0.001)
    async with Team(tmp_path) as team:
        await team.coordinate()
        await team.work("ann", noop=True)
        store = team.swarm.store
        for seed in range(5):
            store.rng, store.lose, store.lose_ack = random.Random(seed), 0.2, 0.2
            run = team.new_run()
            plan = {"steps": [{"id": f"s{number}", "capability": "demo.noop"} for number in range(20)]}
            while True:
                try:
                    await team.ask(SubmitRun(goal="x", planner="file", plan=plan), run=run)
                except CallFailed:
                    continue
                break
            await team.until(lambda run=run: team.coordinator.engine.is_closed(run))
            store.lose = store.lose_ack = 0.0
            await team.coordinator.store.drain()
            written = await records_of(team, run)
            assert fold(written) == team.coordinator.engine.state(run)
            assert sum(record.k == "subtask.accepted" for record in written) == 20


async def test_a_journal_that_does_not_answer_at_the_start_is_asked_again(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.coordinate()
    role = await team.work("ann", agents=[agent("steps")])
    gate = tmp_path / "gate"
    run = await team.submit({"id": "slow", "capability": "test.steps", "params": {"gate": str(gate)}})
    await team.event("attempt.progress")
    await team.stop("desk")
    asked = 0

    async def electing(*given: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise StoreUnavailable("electing a leader")
        return await read_run(*given, **more)

    monkeypatch.setattr("coordinator_node.archive.read_run", electing)
    await team.coordinate()
    team.introduce(role.endpoint, role)
    gate.touch()
    assert (await outcome(team, run))["outcome"] == "done"
    assert asked >= 3


async def test_messages_about_runs_that_nobody_knows_leave_no_trace(team: Team) -> None:
    await team.coordinate()
    seller = await team.swarm.join("stranger")
    sent = [team.new_run() for _ in range(20)]
    for run in sent:
        await seller.send(subjects.bid(run, seller.me), [a_bid("one", 1)], run=run)
        await seller.send(subjects.work(run, seller.me), [a_result("one")], run=run)
    last = team.new_run()
    await team.work("ann", noop=True)
    await team.submit(NOOP, run=last)
    await team.until(lambda: team.coordinator.engine.is_closed(last))
    assert set(team.coordinator.store._lanes) == {last}
    assert set(team.coordinator.engine.desks) == {last}


async def test_no_new_run_is_taken_when_the_journal_is_almost_full(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mesh.workspace import Usage

    await team.coordinate()

    async def usage() -> Usage:
        return Usage(85, 100)

    monkeypatch.setattr(team.coordinator.endpoint.journal, "usage", usage)
    with pytest.raises(CallFailed) as refusal:
        await team.submit(NOOP)
    assert refusal.value.code == "E_DISK_FULL"
    assert "85%" in refusal.value.message


async def test_a_journal_of_somebody_else_or_in_disorder_does_not_keep_the_rest_from_going_on(
    team: Team, tmp_path: Path
) -> None:
    await team.coordinate()
    role = await team.work("ann", agents=[agent("steps")])
    gate = tmp_path / "gate"
    run = await team.submit({"id": "slow", "capability": "test.steps", "params": {"gate": str(gate)}})
    await team.event("attempt.progress")
    await team.kill("desk")
    wrecked = team.new_run()
    await team.coordinator.endpoint.journal.append(wrecked, b"no envelope", expected=0)
    await team.coordinate()
    team.introduce(role.endpoint, role)
    gate.touch()
    assert (await outcome(team, run))["outcome"] == "done"
    listed: Any = (await team.ask(ListRuns())).data["runs"]
    assert [(item["run"], item["status"]) for item in listed] == [(wrecked, "halted"), (run, "closed")]


async def test_an_engine_that_breaks_its_own_rules_stops_the_role_and_the_next_start_goes_on(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.coordinate()
    role = await team.work("ann", agents=[agent("steps")])
    gate = tmp_path / "gate"
    run = await team.submit({"id": "slow", "capability": "test.steps", "params": {"gate": str(gate)}})
    await team.event("attempt.progress")

    def broken(*_: object) -> None:
        raise RuntimeError("a rule is broken")

    with monkeypatch.context() as patch:
        patch.setattr(team.coordinator.engine, "handle", broken)
        await team.until(lambda: team.stopped("desk"))
    with pytest.raises(RuntimeError, match="a rule is broken"):
        await team.stop("desk")
    await team.coordinate()
    team.introduce(role.endpoint, role)
    gate.touch()
    assert (await outcome(team, run))["outcome"] == "done"


# --- who wins ---


async def test_of_two_equal_nodes_the_one_that_is_loaded_loses_its_awards(team: Team) -> None:
    from agent_node.events import LoadMeasured

    class Load:
        """The device's meter, turned by the test: what else runs on this machine is not its business."""

        share = 0.0

        def measure(self) -> float:
            return self.share

    await team.coordinate()
    roles = {name: await team.work(name, agents=[agent("shout")], slots=4) for name in ("ann", "bob")}
    meters = {name: Load() for name in roles}
    for name, role in roles.items():
        role._meter = meters[name]  # type: ignore[assignment]

    async def winners(count: int) -> list[str]:
        found = []
        for _ in range(count):
            run = await team.submit(SHOUT[0], inputs=[await team.put("x.txt", b"x")])
            await team.until(lambda run=run: team.coordinator.engine.is_closed(run))
            state = team.coordinator.engine.state(run)
            assert state is not None
            found.append(team.coordinator.node_name(state.subtasks["shout-01"].attempts[-1].node))
        return found

    for busy, idle in (("ann", "bob"), ("bob", "ann")):
        for name, share in ((busy, 0.95), (idle, 0.0)):
            meters[name].share = share
            roles[name]._take(LoadMeasured(share))
        won = await winners(12)
        assert won.count(idle) >= 9, won


# --- the rest ---


async def test_history_is_learnt_again_from_the_journal_after_a_restart(team: Team) -> None:
    await team.coordinate()
    role = await team.work("ann", noop=True)
    run = await team.submit(*({"id": f"s{number}", "capability": "demo.noop"} for number in range(10)))
    await outcome(team, run)
    before = team.coordinator.engine.history.of(role.endpoint.node, "demo.noop").verified
    assert before > 5
    await team.stop("desk")
    await team.coordinate()
    assert team.coordinator.engine.history.of(role.endpoint.node, "demo.noop").verified == pytest.approx(
        before
    )


async def test_a_run_can_be_read_by_any_coordinator_of_the_swarm(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", noop=True)
    run = await team.submit(NOOP)
    await outcome(team, run)
    other = await team.swarm.join("second", ["coordinator"])
    folded = await read_run(other, run)
    assert folded is not None
    assert folded.state == team.coordinator.engine.state(run)
    assert await read_run(other, team.new_run()) is None


def test_a_setting_that_does_not_exist_is_refused_with_those_that_do() -> None:
    assert load_config({"grace_s": 1}, "x").grace_s == 1.0
    with pytest.raises(ConfigInvalid, match=r"config\.toml, coordinator\.patience.*grace_s"):
        load_config({"patience": 3}, "config.toml")
    with pytest.raises(ConfigInvalid, match="grace_s"):
        load_config({"grace_s": -1}, "config.toml")
