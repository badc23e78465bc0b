"""Watching runs over the bus in memory and over a real server: every event once, in order, through whatever is lost, and the same from every door."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator_node.views import event_of
from coordinator_node.watching import Told
from coordinator_node.watching_bus import Watcher, WatchLost
from coordinator_node.watching_pages import EventPages
from coordinator_node.watching_wire import Ears, fetch_page, find_run
from mesh.bus import Msg
from mesh.endpoint import CallFailed, Endpoint
from mesh.errors import StoreUnavailable
from protocol import subjects
from protocol.codec import pack
from protocol.ids import new_run_id
from protocol.messages import Event, ListRuns, Reply, Type
from protocol.records import CancelRequested, Record
from protocol.registry import BODY_BYTES_MAX, BODY_NODES_MAX
from tests.support.endpoint_memory import MemorySwarm
from tests.support.endpoint_server import ServerSwarm
from tests.support.swarm_memory import Team

MANY = [{"id": f"s{number}", "capability": "demo.noop"} for number in range(30)]


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.integration)])
async def team(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Team]:
    swarm = ServerSwarm(tmp_path) if request.param == "nats" else MemorySwarm(tmp_path)
    async with Team(tmp_path, swarm=swarm) as made:
        yield made


@pytest.fixture
async def eye(team: Team) -> Endpoint:
    """A member who only watches."""
    return await team.swarm.join("eye", ["client"])


async def records_of(team: Team, run: str) -> list[Record]:
    endpoint = team.coordinator.endpoint
    found: list[Record] = []
    async for stored in endpoint.journal.read(run):
        found += endpoint.open_record(run, stored.data, stored.at_ms)[1]
    return found


def durable(told: list[Told]) -> list[Event]:
    return [event for _, event in told if not event.volatile]


async def all_of(watcher: Watcher) -> list[Told]:
    async with watcher:
        return [told async for told in watcher]


async def last_word(watcher: Watcher) -> None:
    """Go on until the watcher fails."""
    while not watcher.ended:
        await watcher.next(20)


async def cut_off(team: Team, eye: Endpoint) -> None:
    """Who watches has no bus any more."""
    if isinstance(team.swarm, ServerSwarm):
        await team.stop("desk")
        await team.swarm.site.server.stop(grace_s=2)
    else:
        eye.bus.set_connected(False)  # type: ignore[attr-defined]


class Deaf:
    """Lets a member hear the messages about runs badly: what `fate` says of each is "heard", "lost", or "late" (behind the next one that is heard)."""

    def __init__(self, endpoint: Endpoint, fate: Callable[[int], str]) -> None:
        self.lost = 0
        subscribe = endpoint.bus.subscribe

        async def partly(pattern: str, handler: Any, *, queue: str = "") -> Any:
            if not pattern.startswith("s.ev."):
                return await subscribe(pattern, handler, queue=queue)
            count = 0
            late: list[Msg] = []

            def some(msg: Msg) -> None:
                nonlocal count
                count += 1
                what = fate(count)
                if what == "late":
                    late.append(msg)
                elif what == "lost":
                    self.lost += 1
                else:
                    for one in [msg, *late]:
                        handler(one)
                    late.clear()

            return await subscribe(pattern, some, queue=queue)

        endpoint.bus.subscribe = partly  # type: ignore[method-assign]


def at_random(seed: int) -> Callable[[int], str]:
    """A fate that is drawn."""
    rng = random.Random(seed)
    return lambda _: rng.choice(["heard", "heard", "lost", "late"])


@pytest.mark.requirement("EVT-1")
@pytest.mark.requirement("EVT-2")
async def test_every_record_is_an_event_and_what_has_none_stands_behind_its_number(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", agents=[AGENT])
    run = await team.submit(*({**step, "capability": "test.later"} for step in MANY[:8]))
    await team.event("run.closed")
    written = await records_of(team, run)
    name = team.coordinator.node_name
    told = [event for event in team.events if not event.volatile]
    assert told == [event_of(number, record, name) for number, record in enumerate(written, 1)]
    opened = told[0]
    assert (opened.seq, opened.kind) == (1, "run.opened")
    assert (opened.node, opened.node_name) == (team.coordinator.endpoint.node, "desk")
    at = 0
    volatile = [event for event in team.events if event.volatile]
    assert "attempt.started" in {event.kind for event in volatile}
    for event in team.events:
        assert event.seq == (at if event.volatile else at + 1)
        at = event.seq
    page = await fetch_page(team.client, run, 0, limit=1000)
    assert list(page.events) == told


@pytest.mark.requirement("EVT-4")
async def test_pages_go_through_a_run_without_a_gap_and_any_coordinator_has_them(team: Team) -> None:
    first = await team.coordinate()
    await team.work("ann", noop=True)
    run = await team.submit(*MANY)
    await team.event("run.closed")
    count = len(await records_of(team, run))
    await team.stop("desk")
    await team.coordinate("other")
    assert team.coordinator.endpoint.node != first.endpoint.node
    seen: list[int] = []
    while True:
        page = await fetch_page(team.client, run[-8:], seen[-1] if seen else 0, limit=7)
        assert page.run == run
        seen += [event.seq for event in page.events]
        assert page.closed is not page.more
        assert len(page.events) == 7 or not page.more
        if not page.more:
            break
    assert seen == list(range(1, count + 1))
    beyond = await fetch_page(team.client, run, count + 5)
    assert (list(beyond.events), beyond.more, beyond.closed) == ([], False, True)
    with pytest.raises(CallFailed) as refusal:
        await fetch_page(team.client, new_run_id(1.0, bytes(10)), 0)
    assert refusal.value.code == "E_NOT_FOUND"
    with pytest.raises(CallFailed) as refusal:
        await find_run(team.client, "zzzzzz")
    assert refusal.value.code == "E_NOT_FOUND"


@pytest.mark.requirement("EVT-4")
async def test_a_page_is_cut_where_an_answer_cannot_hold_more_and_the_largest_event_still_fits(
    team: Team,
    eye: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    role = await team.coordinate(grace_s=60.0)
    steps = [{"id": f"{'x' * 36}{number:04}", "capability": f"test.{'y' * 50}"} for number in range(1_000)]
    run = await team.submit(*steps)  # which nobody can do
    pages = EventPages(role.endpoint, role.node_name)
    monkeypatch.setattr("coordinator_node.watching_pages._BYTES_MAX", 30_000)
    at, sizes = 0, []
    while True:
        data: Any = await pages.page(run, at, 1000)
        body = pack(
            [Reply(ok=True, data=data).model_dump(exclude_defaults=True)],
            max_nodes=BODY_NODES_MAX[Type.REPLY],
        )
        assert len(body) <= BODY_BYTES_MAX[Type.REPLY]
        sizes.append([len(pack([entry])) for entry in data["events"]])
        at += len(data["events"])
        if not data["more"]:
            break
    assert max(max(page) for page in sizes) > 30_000  # alone it is not too large
    assert all(sum(page) < 30_000 for page in sizes if len(page) > 1)
    async with Watcher(eye, run) as watcher:
        heard = [await watcher.next(20) for _ in range(3)]
    assert [told.event.seq for told in heard if told] == [1, 2, 3]


@pytest.mark.requirement("EVT-5")
async def test_an_event_is_the_same_object_for_programs_wherever_it_comes_from(
    team: Team, eye: Endpoint
) -> None:
    await team.coordinate()
    await team.work("ann", noop=True)
    run = await team.submit(*MANY[:1])
    told = await all_of(Watcher(eye, run))
    documents = [event.document(run) for event in durable(told)]
    assert documents == [event.document(run) for event in team.events if not event.volatile]
    for document in documents:
        assert list(document) == [
            "schema", "run", "seq", "at_ms", "kind", "subtask", "node", "node_name", "volatile", "data",
        ]  # fmt: skip
        assert document["schema"] == "zwerm.event/1"
        assert json.loads(json.dumps(document)) == document


@pytest.mark.requirement("EVT-3")
@pytest.mark.parametrize(
    "fate",
    [
        lambda _: "lost",
        lambda count: "heard" if count % 2 == 0 else "lost",
        lambda count: "heard" if count != 1 else "lost",
        lambda count: "late" if count % 3 else "heard",
        at_random(1),
        at_random(2),
    ],
    ids=["nothing", "half", "all-but-one", "late", "random-1", "random-2"],
)
async def test_a_watcher_who_hears_badly_is_told_everything_once_and_in_order(
    team: Team, eye: Endpoint, fate: Any
) -> None:
    Deaf(eye, fate)
    await team.coordinate()
    await team.work("ann", agents=[AGENT])
    run = await team.submit(*({**step, "capability": "test.later"} for step in MANY[:12]))
    told = await all_of(Watcher(eye, run))
    written = await records_of(team, run)
    assert [event.seq for event in durable(told)] == list(range(1, len(written) + 1))
    at = 0
    for _, event in told:
        assert event.seq == (at if event.volatile else at + 1)
        at = event.seq


async def test_watchers_of_one_connection_do_not_take_each_others_events(team: Team) -> None:
    await team.coordinate()
    await team.work("ann", noop=True)
    endpoint = await team.swarm.join("watcher", ["client"])
    ears = Ears(endpoint)
    async with Watcher(endpoint, None, ears=ears) as everything:
        await team.until(lambda: everything.begun)
        runs = [await team.submit(*MANY[:4]) for _ in range(3)]
        for run in [runs[0], *runs]:  # two of them watch the same run
            told = await all_of(Watcher(endpoint, run, ears=ears))
            assert [event.seq for event in durable(told)] == list(range(1, len(durable(told)) + 1))
        seen: dict[str, list[Event]] = {run: [] for run in runs}
        while not all(events and events[-1].kind == "run.closed" for events in seen.values()):
            one = await everything.next(20)
            assert one is not None
            if not one.event.volatile:
                seen[one.run].append(one.event)
        for run in runs:
            assert [event.seq for event in seen[run]] == list(range(1, len(await records_of(team, run)) + 1))
    assert not [key for key in endpoint._handlers if key[0].startswith("s.ev.")]


async def test_what_came_before_a_watcher_of_all_runs_is_not_told_and_what_it_missed_is(team: Team) -> None:
    await team.coordinate()
    before = await team.submit({"id": "one", "capability": "test.later"})
    endpoint = await team.swarm.join("watcher", ["client"])
    Deaf(endpoint, lambda _: "lost")
    async with Watcher(endpoint, None) as watcher:
        await team.until(lambda: watcher.begun)
        start = len(await records_of(team, before))
        during = await team.submit({"id": "two", "capability": "test.later"})
        await team.work("ann", agents=[AGENT])
        await team.until(
            lambda: team.coordinator.engine.is_closed(before) and team.coordinator.engine.is_closed(during)
        )
        watcher._on_connected()  # nothing was heard: a reconnect is what makes it ask
        told: dict[str, list[int]] = {before: [], during: []}
        for run, first in ((before, start), (during, 0)):
            last = len(await records_of(team, run))
            while len(told[run]) < last - first:
                one = await watcher.next(20)
                assert one is not None
                told[one.run].append(one.event.seq)
            assert told[run] == list(range(first + 1, last + 1))


AGENT = {
    "name": "later", "adapter": "python", "mode": "thread", "capability": "test.later",
    "target": f"{Path(__file__).parents[1] / 'support' / 'agent_functions.py'}:echo",
}  # fmt: skip


async def test_a_watcher_goes_on_through_another_coordinator(team: Team, eye: Endpoint) -> None:
    await team.coordinate()
    run = await team.submit({"id": "one", "capability": "test.later"})
    async with Watcher(eye, run) as watcher:
        first = await watcher.next(20)
        assert first is not None
        await team.kill("desk")
        await team.coordinate()
        await team.work("ann", agents=[AGENT])
        told = [first] + [one async for one in watcher]
    written = await records_of(team, run)
    assert [event.seq for event in durable(told)] == list(range(1, len(written) + 1))
    assert "run.owned" in [event.kind for event in durable(told)]


async def test_a_watcher_goes_on_when_another_coordinator_takes_the_run(team: Team, eye: Endpoint) -> None:
    first = await team.coordinate()
    run = await team.submit({"id": "one", "capability": "test.later"})
    ears = Ears(eye)
    async with Watcher(eye, run, ears=ears) as watcher, Watcher(eye, None, ears=ears) as everything:
        told = [await watcher.next(20)]
        second = await team.coordinate("other")
        await team.kill("desk")
        await first.endpoint.bus.close()
        await team.work("ann", agents=[AGENT])
        told += [one async for one in watcher]
        assert await everything.next(20)
    written = await records_of(team, run)
    events = durable([one for one in told if one])
    assert [event.seq for event in events] == list(range(1, len(written) + 1))
    taken = [event.node for event in events if event.kind == "run.owned"]
    assert taken[-1] == second.endpoint.node
    assert events[-1].data["outcome"] == "done"


async def test_a_broken_journal_is_said_at_once_and_keeps_no_other_run_from_being_watched(
    team: Team, eye: Endpoint
) -> None:
    role = await team.coordinate(grace_s=60.0)
    broken = await team.submit({"id": "one", "capability": "test.nobody"})
    last = await role.endpoint.journal.last(broken)
    assert last is not None
    unlinked = role.endpoint.seal_record(broken, [CancelRequested(at_ms=1, by="0" * 32)])
    await role.endpoint.journal.append(broken, unlinked, expected=last.seq)
    with pytest.raises(CallFailed) as refusal:
        await all_of(Watcher(eye, broken))
    assert refusal.value.code == "E_JOURNAL"
    assert refusal.value.hint
    ears = Ears(eye)
    async with Watcher(eye, None, ears=ears) as everything:
        await team.until(lambda: everything.begun)
        run = await team.submit({"id": "one", "capability": "test.later"})
        await team.work("ann", agents=[AGENT])
        assert durable(await all_of(Watcher(eye, run, ears=ears)))[-1].kind == "run.closed"
        kinds: list[str] = []
        while "run.closed" not in kinds:
            one = await everything.next(20)
            assert one is not None
            assert one.run == run
            kinds.append(one.event.kind)


async def test_a_run_that_is_listed_before_it_is_written_is_not_given_up(
    team: Team, eye: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = await team.coordinate()
    await team.work("ann", noop=True)

    async def down(*_: Any, **__: Any) -> int:
        raise StoreUnavailable("the journal does not answer")

    async with Watcher(eye, None) as watcher:
        await team.until(lambda: watcher.begun)
        run = team.new_run()
        async with asyncio.TaskGroup() as tasks:
            with monkeypatch.context() as patch:
                patch.setattr(role.endpoint.journal, "append", down)
                tasks.create_task(team.submit(*MANY[:2], run=run))
                await team.until(lambda: run in role.engine.desks)
                for _ in range(3):
                    watcher._on_connected()
                    await team.until(lambda: not watcher._check_now)
                [listed] = (await team.ask(ListRuns())).data["runs"]  # type: ignore[misc]
                assert (listed["run"], listed["records"]) == (run, 0)
        seen: list[Event] = []
        while not seen or seen[-1].kind != "run.closed":
            one = await watcher.next(20)
            assert one is not None
            if not one.event.volatile:
                seen.append(one.event)
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))


async def test_a_run_that_is_gone_does_not_end_the_watch_of_all(team: Team, eye: Endpoint) -> None:
    role = await team.coordinate()
    await team.work("ann", noop=True)
    async with Watcher(eye, None, patience_s=0.1) as watcher:
        await team.until(lambda: watcher.begun)
        gone = new_run_id(1.0, bytes(10))
        stray = Event(seq=5, at_ms=1, kind="run.owned")
        await role.endpoint.send(subjects.events(gone), [stray], run=gone)
        for _ in range(3):
            run = await team.submit(*MANY[:1])
            while True:
                one = await watcher.next(20)
                assert one is not None
                assert one.run == run
                if one.event.kind == "run.closed":
                    break


async def test_a_watcher_that_fails_does_not_look_like_a_run_that_ended(
    team: Team, eye: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.coordinate(grace_s=60.0)
    run = await team.submit({"id": "one", "capability": "test.nobody"})

    async def broken(*_: Any, **__: Any) -> Any:
        raise KeyError("a defect")

    monkeypatch.setattr("coordinator_node.watching_bus.fetch_page", broken)
    with pytest.raises(WatchLost) as lost:
        await all_of(Watcher(eye, run))
    assert lost.value.code == "E_INTERNAL"


async def test_a_slow_consumer_misses_nothing(
    team: Team, eye: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator_node.watching_bus._BACKLOG_MAX", 4)
    monkeypatch.setattr("coordinator_node.watching_bus._ROOM", 2)
    await team.coordinate()
    await team.work("ann", noop=True)
    run = await team.submit(*MANY)
    async with Watcher(eye, run) as watcher:
        await team.event("run.closed")
        told = [one async for one in watcher]
    written = await records_of(team, run)
    assert [event.seq for event in durable(told)] == list(range(1, len(written) + 1))


async def test_without_follow_a_watcher_ends_with_what_is_there(team: Team, eye: Endpoint) -> None:
    await team.coordinate()
    run = await team.submit({"id": "one", "capability": "test.nobody"})
    told = await all_of(Watcher(eye, run, follow=False))
    assert [event.seq for _, event in told][:2] == [1, 2]
    later = await all_of(Watcher(eye, run, after=1, follow=False))
    assert [event.seq for _, event in later][:1] == [2]


async def test_when_nobody_answers_any_more_the_watcher_says_how_to_go_on(team: Team, eye: Endpoint) -> None:
    await team.coordinate(grace_s=60.0)
    run = await team.submit({"id": "one", "capability": "test.nobody"})
    async with Watcher(eye, run, patience_s=0.5) as watcher:
        for _ in range(2):
            assert await watcher.next(20)
        await cut_off(team, eye)
        with pytest.raises(WatchLost) as lost:
            await last_word(watcher)
    assert lost.value.code == "E_BUS_UNREACHABLE"
    assert f"zwerm events {run[-6:]} -f --after {watcher.seq}" in lost.value.hint
    with pytest.raises(WatchLost):
        await all_of(Watcher(eye, run, patience_s=0.2))


async def test_a_run_that_is_not_there_is_said_at_once(team: Team, eye: Endpoint) -> None:
    await team.coordinate()
    with pytest.raises(CallFailed) as refusal:
        await all_of(Watcher(eye, new_run_id(1.0, bytes(10))))
    assert refusal.value.code == "E_NOT_FOUND"
