"""Two coordinators in one swarm, on the bus in memory and on a real one: whose a run is, who takes it, and what each of them may say about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator_node.chain import Link
from coordinator_node.journal_store import read_run
from coordinator_node.node import CoordinatorRole
from coordinator_node.orders import RunDeposed
from coordinator_node.ownership import Ownership
from coordinator_node.ownership_board import Board
from mesh.clock import SystemClock
from mesh.endpoint import CallFailed
from mesh.errors import StoreUnavailable
from protocol import subjects
from protocol.codec import unpack
from protocol.messages import Budget, CancelRun, Head, ListRuns, Result, SubmitRun
from protocol.records import Accepted, Owned
from tests.support.endpoint_memory import MemorySwarm
from tests.support.endpoint_server import ServerSwarm
from tests.support.swarm_memory import Team
from tests.unit.coordinator_node.test_node import agent, records_of

LEASE_S = 1.0
GATED = {"id": "slow", "capability": "test.steps"}


class Pair:
    """A swarm with two coordinators, `east` and `west`, and an agent that both know."""

    def __init__(self, team: Team, folder: Path) -> None:
        self.team = team
        self.gate = folder / "gate"
        self.desks: dict[str, CoordinatorRole] = {}
        self.agents: list[Any] = []

    async def coordinate(self, name: str) -> CoordinatorRole:
        self.desks[name] = await self.team.coordinate(name, lease_s=LEASE_S)
        for role in self.agents:
            self.team.introduce(role.endpoint, role)
        return self.desks[name]

    async def work(self, name: str, *agents: str, **config: Any) -> None:
        role = await self.team.work(name, agents=[agent(one) for one in agents or ("steps",)], **config)
        self.agents.append(role)
        for desk in self.desks.values():
            self.team.coordinator = desk
            self.team.introduce(role.endpoint, role)

    async def submit(self) -> tuple[str, str, str]:
        """A run that waits at the gate, its owner and the other one."""
        return await self.submit_with()

    async def submit_with(self, **request: Any) -> tuple[str, str, str]:
        """The same, with more to the request."""
        run = await self.team.submit({**GATED, "params": {"gate": str(self.gate)}}, **request)
        [owner] = [name for name, desk in self.desks.items() if run in desk.engine.desks]
        [other] = set(self.desks) - {owner}
        self.team.coordinator = self.desks[other]
        return run, owner, other

    async def done(self, run: str) -> None:
        """Open the gate, and see the run end as it should."""
        self.gate.touch()
        assert (await self.team.event("run.closed")).data["outcome"] == "done"
        assert sum(isinstance(record, Accepted) for record in await records_of(self.team, run)) == 1


@asynccontextmanager
async def paired(swarm: MemorySwarm, folder: Path) -> AsyncIterator[Pair]:
    async with Team(folder, swarm=swarm) as team:
        made = Pair(team, folder)
        await made.coordinate("east")
        await made.coordinate("west")
        await made.work("ann")
        yield made


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.integration)])
def swarm(request: pytest.FixtureRequest, tmp_path: Path) -> MemorySwarm:
    return MemorySwarm(tmp_path) if request.param == "memory" else ServerSwarm(tmp_path)


@pytest.fixture
async def pair(swarm: MemorySwarm, tmp_path: Path) -> AsyncIterator[Pair]:
    async with paired(swarm, tmp_path) as made:
        yield made


class Ahead(SystemClock):
    """The clock of a device that nobody has set."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return super().now() + self._seconds


@pytest.fixture
async def memory_pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """For tests that reach into the store."""
    async with paired(MemorySwarm(tmp_path), tmp_path) as made:
        yield made


@pytest.mark.requirement("OWN-1")
async def test_a_coordinator_renews_its_lease_and_deletes_it_when_it_stops(pair: Pair) -> None:
    board = pair.desks["west"].endpoint.kv
    key = f"owner.{pair.desks['east'].endpoint.node}"
    entry = await board.get(key)
    assert entry is not None
    value: Any = unpack(entry.value)
    assert (value["v"], value["ttl_ms"], value["name"], len(value["session"])) == (1, 1000, "east", 8)
    east = pair.desks["east"].takeover.board
    await pair.team.until(lambda: east._revision > entry.revision + 2)
    assert east.others() == ["west"]
    await pair.team.stop("east")
    assert await board.get(key) is None


class Deaf:
    """The board of somebody whose writes arrive and whose confirmations do not."""

    def __init__(self, kv: Any) -> None:
        self._kv = kv
        self.reads = 0

    async def put(self, key: str, value: bytes, expected: int) -> int:
        await self._kv.put(key, value, expected)
        raise TimeoutError

    async def get(self, key: str) -> Any:
        self.reads += 1
        return await self._kv.get(key)


@pytest.mark.requirement("OWN-1")
async def test_a_renewal_that_arrived_counts_from_its_asking_though_its_confirmation_was_lost(
    pair: Pair,
) -> None:
    endpoint = pair.desks["west"].endpoint
    core = Ownership("ab" * 32, 60.0)
    board = Board(endpoint, core, lambda: None, lambda _run: 0, endpoint.clock.now)
    kv, key = endpoint.kv, f"owner.{core.node}"
    board._key = key  # not the one that the coordinator itself renews
    await board.begin()
    board._kv = deaf = Deaf(kv)  # type: ignore[assignment]
    before = endpoint.clock.monotonic()
    with pytest.raises(StoreUnavailable, match="in time"):
        await board._renew()
    after = endpoint.clock.monotonic()
    board._kv = kv
    await board._renew()
    entry = await kv.get(key)
    assert entry is not None
    assert board._revision == entry.revision
    assert deaf.reads == 0
    assert core._until is not None
    assert before + 54.0 <= core._until <= after + 54.0
    # What another process with our keys wrote is no renewal of ours.
    await kv.put(key, b"somebody else", entry.revision)
    with pytest.raises(StoreUnavailable, match="as we left it"):
        await board._renew()
    await board._renew()
    await board.leave()
    assert await kv.get(key) is None


@pytest.mark.requirement("OWN-3")
async def test_the_runs_of_a_coordinator_that_dies_are_finished_by_another(pair: Pair) -> None:
    run, owner, other = await pair.submit()
    await pair.team.event("attempt.progress")
    await pair.team.kill(owner)
    await pair.team.event("run.owned")
    assert run in pair.desks[other].engine.desks
    await pair.done(run)
    owned = [record for record in await records_of(pair.team, run) if isinstance(record, Owned)]
    assert [(record.epoch, record.owner) for record in owned] == [(2, pair.desks[other].endpoint.node)]


@pytest.mark.requirement("OWN-3")
async def test_one_that_stops_hands_over_and_one_that_comes_back_takes_nothing(pair: Pair) -> None:
    run, owner, other = await pair.submit()
    await pair.team.event("attempt.progress")
    await pair.team.stop(owner)
    await pair.team.event("run.owned")
    back = await pair.coordinate(owner)
    pair.team.coordinator = pair.desks[other]
    seen = back.takeover.board._revision
    await pair.team.until(lambda: back.takeover.board._revision > seen + 6)
    assert run not in back.engine.desks
    assert run in pair.desks[other].engine.desks
    await pair.done(run)


@pytest.mark.requirement("OWN-4")
async def test_without_its_lease_a_coordinator_decides_nothing_and_then_goes_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, owner, _ = await pair.submit()
    desk = pair.desks[owner]
    await pair.team.event("attempt.progress")
    board = desk.endpoint.kv

    async def away(*_: object, **__: object) -> int:
        raise StoreUnavailable("the board is away")

    with monkeypatch.context() as patch:
        patch.setattr(board, "put", away)
        patch.setattr(board, "get", away)
        await pair.team.until(lambda: not desk.takeover.board.holds())
        before = desk.engine.state(run)
        assert before is not None
        records = before.records
        pair.gate.touch()  # the result comes, and waits
        await pair.team.until(lambda: bool(desk.takeover._waiting))
        assert before.records == records
    await pair.done(run)  # whoever has it in the end, the result counts once


@pytest.mark.requirement("OWN-4")
async def test_a_run_that_another_has_taken_is_dropped_without_a_word(pair: Pair) -> None:
    run, owner, other = await pair.submit()
    await pair.team.event("attempt.progress")
    theirs = pair.desks[other]
    # The other one believes that the owner is gone, and takes the run while the owner works.
    theirs.takeover.core._seen.clear()
    theirs.takeover.core.observed({}, theirs.endpoint.clock.monotonic())
    theirs.takeover._begin(run)
    await pair.team.event("run.owned")
    await pair.team.until(lambda: run not in pair.desks[owner].engine.desks)
    assert run in theirs.engine.desks
    await pair.done(run)
    assert not pair.desks[owner].takeover.wanted(subjects.route(subjects.work(run, theirs.endpoint.me)))


@pytest.mark.requirement("OWN-5")
async def test_heads_say_how_far_a_journal_has_come_and_one_that_ends_before_is_broken(
    memory_pair: Pair,
) -> None:
    pair = memory_pair
    run, owner, other = await pair.submit()
    await pair.done(run)
    theirs = pair.desks[other]
    await pair.team.until(
        lambda: (found := theirs.takeover.board.heads.get(run)) is not None and found.closed
    )
    head = theirs.takeover.board.heads.get(run)
    assert head is not None
    folded = await read_run(theirs.endpoint, run, head=head)
    assert folded is not None
    assert (head.seq, head.count, head.digest) == (folded.link.seq, folded.link.count, folded.link.digest)
    assert (head.owner, head.epoch) == (pair.desks[owner].endpoint.node, 1)
    # The journal loses its last message, and with it the end of the run.
    stream: Any = pair.team.swarm.store.stream("JOURNAL")
    messages = [seq for seq, found in stream._messages.items() if found.subject == subjects.journal(run)]
    del stream._messages[messages[-1]]
    stream._newest[subjects.journal(run)] = messages[-2]
    await pair.team.stop("east")
    await pair.team.stop("west")
    again = await pair.coordinate("east")
    listed: Any = (await pair.team.ask(ListRuns())).data["runs"]
    assert [entry["status"] for entry in listed] == ["halted"]
    assert "the rest is missing" in listed[0]["message"]
    assert run not in again.engine.desks


@pytest.mark.requirement("OWN-5")
async def test_what_is_written_behind_the_end_of_a_run_moves_its_head(pair: Pair) -> None:
    run, owner, _ = await pair.submit()
    await pair.done(run)
    heads = pair.desks[owner].takeover.board.heads
    await pair.team.until(lambda: (found := heads.get(run)) is not None and found.closed)
    ended = heads.get(run)
    assert ended is not None
    # The owner has let go of the revision with the end of the run: it finds it by a conflict, and must not do so for ever.
    heads.wrote(run, Link(ended.seq + 1, bytes(32), ended.count + 1), [])
    await pair.team.until(lambda: (found := heads.get(run)) is not None and found.seq == ended.seq + 1)
    moved = heads.get(run)
    assert moved is not None
    assert (moved.closed, moved.count) == (True, ended.count + 1)


@pytest.mark.requirement("OWN-5")
async def test_a_head_that_does_not_verify_is_as_none(pair: Pair) -> None:
    run, owner, other = await pair.submit()
    theirs = pair.desks[other]
    await pair.team.until(lambda: run in theirs.takeover.board.heads)
    held = theirs.takeover.board.heads.open.pop(run)
    stranger = await pair.team.swarm.join("stranger", ["agent"])
    forged = Head(run=run, seq=9999, count=9999, digest=bytes(32), epoch=9, owner=held.owner)
    key = f"head.{run}"
    entry = await theirs.endpoint.kv.get(key)
    assert entry is not None
    await theirs.endpoint.kv.put(key, stranger.seal_head(forged), entry.revision)
    seen = theirs.takeover.board._revision
    await pair.team.until(lambda: theirs.takeover.board._revision > seen + 3)
    known = theirs.takeover.board.heads.get(run)
    assert known is None or known.seq < 9999
    await pair.team.kill(owner)
    await pair.team.event("run.owned")
    await pair.done(run)


@pytest.mark.requirement("OWN-6")
async def test_whichever_coordinator_is_asked_the_owner_does_it(pair: Pair) -> None:
    for _ in range(4):  # the one that is asked is drawn by lot
        run, owner, other = await pair.submit()
        reply = await pair.team.ask(CancelRun(run=run[-6:], reason="enough"))
        assert reply.data["run"] == run
        await pair.team.until(lambda run=run, owner=owner: pair.desks[owner].engine.is_closed(run))
        state = pair.desks[owner].engine.state(run)
        assert state is not None
        assert (state.outcome, state.cancelled_by) == ("cancelled", pair.team.client.node)
        assert run not in pair.desks[other].engine.desks


async def test_messages_about_runs_of_others_are_dropped_before_their_signature(pair: Pair) -> None:
    run, owner, other = await pair.submit()
    await pair.team.event("attempt.progress")
    [worker] = pair.agents
    node = bytes.fromhex(worker.endpoint.node)
    heard = pair.desks[other].endpoint.verifier.accepted_from(node)
    before = pair.desks[owner].endpoint.verifier.accepted_from(node)
    for step in range(1, 6):
        result = Result(subtask="other", attempt=1, epoch=1, wall_ms=step)
        await worker.endpoint.send(subjects.work(run, worker.endpoint.me), [result], run=run)
    await pair.team.until(lambda: pair.desks[owner].endpoint.verifier.accepted_from(node) >= before + 5)
    assert pair.desks[other].endpoint.verifier.accepted_from(node) == heard
    await pair.done(run)


async def test_a_run_whose_owner_died_before_the_board_knew_of_it_is_found_in_the_journal(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for desk in pair.desks.values():
        monkeypatch.setattr(desk.store, "_wrote", lambda *_: None)
    run, owner, other = await pair.submit()
    await pair.team.event("attempt.progress")
    await pair.team.kill(owner)
    await pair.team.event("run.owned")
    assert run in pair.desks[other].engine.desks
    await pair.done(run)


async def test_the_result_of_an_ended_run_is_acknowledged_after_its_owner_has_gone(pair: Pair) -> None:
    run, owner, other = await pair.submit()
    await pair.done(run)
    theirs = pair.desks[other]
    await pair.team.until(lambda: (head := theirs.takeover.board.heads.get(run)) is not None and head.closed)
    [worker] = pair.agents
    route = subjects.route(subjects.work(run, worker.endpoint.me))
    assert not theirs.takeover.wanted(route)
    await pair.team.stop(owner)
    await pair.team.until(lambda: theirs.takeover.wanted(route))
    acked: list[Any] = []
    await worker.endpoint.listen(
        subjects.to_node(worker.endpoint.me), lambda received: acked.extend(received.items)
    )
    result = Result(subtask="slow", attempt=1, epoch=1, wall_ms=1)
    await worker.endpoint.send(subjects.work(run, worker.endpoint.me), [result], run=run)
    await pair.team.until(lambda: bool(acked))
    assert acked[0].applied is False


@pytest.mark.requirement("BUD-8", "OWN-8")
@pytest.mark.parametrize("ahead_s", [20.0, -20.0])
async def test_a_run_has_no_more_and_no_less_time_after_it_was_taken_by_another_clock(
    swarm: MemorySwarm, tmp_path: Path, ahead_s: float
) -> None:
    wall_ms = 6_000
    async with Team(tmp_path, swarm=swarm) as team:
        pair = Pair(team, tmp_path)
        await pair.coordinate("east")
        await pair.work("ann")
        east = pair.desks["east"].endpoint.node
        gated = {**GATED, "params": {"gate": str(pair.gate)}}
        run = await team.submit(gated, budget=Budget(wall_ms=wall_ms))
        swarm.clock = Ahead(ahead_s)
        west = await pair.coordinate("west")
        await team.until(lambda: west.takeover.board.apart_ms(east) != 0)
        await team.kill("east")
        closed = await team.event("run.closed")
        assert (closed.data["outcome"], closed.data["code"]) == ("failed", "E_DEADLINE")
        records = await records_of(team, run)
        [owned] = [record for record in records if isinstance(record, Owned)]
        assert owned.owner == west.endpoint.node
        assert owned.began_ms is not None
        apart_s = (owned.began_ms - records[0].at_ms) / 1000
        assert abs(apart_s - ahead_s) < 5, "the difference of the two clocks"
        assert wall_ms <= records[-1].at_ms - owned.began_ms < wall_ms + 10_000
        pair.gate.touch()  # so that the work, which was told to stop, ends at once


@pytest.mark.requirement("REC-15")
async def test_a_node_that_named_a_wait_before_a_takeover_is_given_nothing_after_it(pair: Pair) -> None:
    await pair.work("bob", "unfinished")
    pair.gate.touch()
    run = await pair.team.submit(
        {"id": "draft", "capability": "test.unfinished", "params": {"gate": str(pair.gate)}}
    )
    failed = await pair.team.event("attempt.failed")
    assert (failed.data["code"], failed.data["retry_ms"]) == ("E_LIMITED", 60_000)
    [owner] = [name for name, desk in pair.desks.items() if run in desk.engine.desks]
    [other] = set(pair.desks) - {owner}
    taker = pair.desks[other].engine
    await pair.team.kill(owner)
    await pair.team.until(lambda: run in taker.desks)
    bob = pair.agents[-1].endpoint.node
    assert bob in taker.market.offering("test.unfinished")
    assert taker.market.limited(bob, "test.unfinished")
    assert not taker.market.limited(bob, "test.steps")
    assert len(taker.desks[run].state.subtasks["draft"].attempts) == 1


@pytest.mark.requirement("OWN-6", "BUD-7")
async def test_a_run_below_another_is_begun_by_that_ones_owner_whoever_is_asked(pair: Pair) -> None:
    team = pair.team
    run, owner, other = await pair.submit_with(budget=Budget(money=5_000_000, children=8))
    [note] = [await team.put("note.txt", b"some words")]
    below = []
    for number in range(6):  # the one that is asked is drawn by lot
        child = await team.submit(
            {
                "id": f"x{number}",
                "capability": "test.steps",
                "map": "inputs",
                "params": {"gate": str(pair.gate)},
            },
            inputs=[note],
            parent=run,
            budget=Budget(money=50_000),
        )
        below.append(child)
        assert child in pair.desks[owner].engine.desks
        assert child not in pair.desks[other].engine.desks
    service = pair.desks[other].service
    state = pair.desks[owner].engine.desks[run].state
    assert list(state.children) == below
    # The same again, of the one that does not own it.
    again = await service.answer(asked(team, SubmitRun(goal="do it", parent=run), below[0]))
    assert again.data["again"] is True
    with pytest.raises(CallFailed) as caught:
        await service.answer(
            asked(team, SubmitRun(goal="do it", planner="file", plan={"steps": [GATED]}, parent=run))
        )
    assert caught.value.code == "E_BUDGET", "the owner says no, and why"
    pair.gate.touch()
    await team.until(lambda: sum(event.kind == "run.closed" for event in team.events) == 7)


@pytest.mark.requirement("OWN-6")
async def test_a_run_below_one_whose_owner_has_just_died_is_begun_by_who_takes_it(pair: Pair) -> None:
    team = pair.team
    run, owner, other = await pair.submit_with()
    for ear in pair.desks[owner]._ears:  # the connection of a process ends with it
        await ear.unsubscribe()
    await team.kill(owner)
    step = {**GATED, "params": {"gate": str(pair.gate)}}
    child = await team.submit(step, parent=run)
    assert pair.desks[other].engine.desks[child].state.parent == run
    assert child in pair.desks[other].engine.desks[run].state.children


@pytest.mark.requirement("BUD-7")
async def test_what_a_run_used_below_one_of_another_coordinator_is_settled_there(pair: Pair) -> None:
    team = pair.team
    run, owner, other = await pair.submit_with(budget=Budget(money=5_000_000, children=8))
    gates = [str(pair.gate), f"{pair.gate}2"]
    child = await team.submit(
        {**GATED, "params": {"gate": gates[1]}}, parent=run, budget=Budget(money=50_000)
    )
    taker = pair.desks[other]
    state = pair.desks[owner].engine.desks[child].state
    # As after a takeover by two: the run below is somebody else's now.
    pair.desks[owner].take(RunDeposed(child))
    pair.desks[owner].store.forget(child)
    taker.takeover.core.takes = lambda run, owner, now: run == child  # type: ignore[method-assign]
    taker.takeover._begin(child)
    await team.until(lambda: child in taker.engine.desks)
    above = pair.desks[owner].engine.desks[run].state
    assert above.children[child].used is None
    Path(gates[1]).touch()
    await team.until(lambda: above.children[child].used is not None)
    used = above.children[child].used
    assert used is not None
    assert used.children == 1
    assert state.run == child


async def test_a_run_below_none_is_refused(memory_pair: Pair) -> None:
    with pytest.raises(CallFailed) as caught:
        await memory_pair.team.submit(GATED, parent=memory_pair.team.new_run())
    assert caught.value.code == "E_NOT_FOUND"


def asked(team: Team, request: Any, run: str | None = None) -> Any:
    """A request of the client as a coordinator hears it."""
    return SimpleNamespace(items=[request], node=team.client.node, run=run or team.new_run())
