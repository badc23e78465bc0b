"""How much fits into one message: senders split by the very limits that receivers apply."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mesh.endpoint import CallFailed, Received
from mesh.errors import MeshError
from protocol import subjects
from protocol.messages import Award, Event, Ping, Reply
from protocol.records import RunClosed
from tests.support.builders import named, run_id
from tests.support.endpoint_memory import MemorySwarm

RUN = run_id()
FILES = [named(f"{number}.txt") for number in range(4096)]


@pytest.mark.requirement("MSG-3")
async def test_items_of_few_bytes_and_many_values_are_split_and_none_is_lost(tmp_path: Path) -> None:
    async with MemorySwarm(tmp_path) as swarm:
        desk, client = await swarm.join("desk", ["coordinator"]), await swarm.join("client", ["client"])
        heard: asyncio.Queue[Received] = asyncio.Queue()
        await client.listen(subjects.events(RUN), heard.put_nowait)
        events = [Event(seq=at, at_ms=1, kind="x", data={"steps": [0] * 60}) for at in range(250)]
        await desk.send(subjects.events(RUN), events, run=RUN)
        got: list[object] = []
        async with asyncio.timeout(10):
            while len(got) < len(events):
                got += (await heard.get()).items
        assert got == events
        assert client.refused() == 0


@pytest.mark.requirement("MSG-3")
async def test_one_item_of_too_many_values_is_refused_in_words_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    async with MemorySwarm(tmp_path) as swarm:
        desk = await swarm.join("desk", ["coordinator"])
        event = Event(seq=1, at_ms=1, kind="x", data={str(at): [0] * 3400 for at in range(3)})
        with pytest.raises(MeshError) as caught:
            await desk.send(subjects.events(RUN), [event], run=RUN)
        assert (caught.value.code, bool(caught.value.hint)) == ("E_TOO_LARGE", True)
        assert "10000 values" in caught.value.message


@pytest.mark.requirement("MSG-3")
async def test_an_award_over_thousands_of_files_arrives(tmp_path: Path) -> None:
    async with MemorySwarm(tmp_path) as swarm:
        desk, seller = await swarm.join("desk", ["coordinator"]), await swarm.join("seller")
        heard: asyncio.Queue[Received] = asyncio.Queue()
        await seller.listen(subjects.to_node(seller.me), heard.put_nowait)
        fields = {
            "subtask": "one",
            "round": 1,
            "attempt": 1,
            "epoch": 1,
            "capability": "doc.report",
            "agent": "docs",
        }
        award = Award.model_validate({**fields, "lease_ms": 1, "deadline_ms": 1, "inputs": FILES[:2500]})
        await desk.send(subjects.to_node(seller.me), [award], run=RUN)
        async with asyncio.timeout(10):
            assert (await heard.get()).items == [award]


@pytest.mark.requirement("MSG-3")
async def test_an_answer_may_have_more_values_than_other_messages_but_not_without_end(tmp_path: Path) -> None:
    async with MemorySwarm(tmp_path) as swarm:
        desk, client = await swarm.join("desk", ["coordinator"]), await swarm.join("client", ["client"])
        rows = [4]

        async def answer(received: Received) -> Reply:
            return Reply(ok=True, data={str(at): [0] * 4000 for at in range(rows[0])})

        await desk.serve("runs", answer)
        assert len((await client.call("runs", Ping(), timeout_s=10)).data) == 4
        rows[0] = 16
        with pytest.raises(CallFailed) as caught:
            await client.call("runs", Ping(), timeout_s=10)
        assert caught.value.code == "E_TOO_LARGE"


@pytest.mark.requirement("MSG-3")
async def test_a_record_that_names_a_thousand_files_is_stored_and_read(tmp_path: Path) -> None:
    async with MemorySwarm(tmp_path) as swarm:
        desk = await swarm.join("desk", ["coordinator"])
        closed = [RunClosed(at_ms=1, outcome="done", deliverables=FILES[:1024])] * 2
        raw = desk.seal_record(RUN, closed)
        assert desk.open_record(RUN, raw, int(swarm.clock.now() * 1000))[1] == closed
        with pytest.raises(MeshError) as caught:
            desk.seal_record(RUN, closed * 4)
        assert caught.value.code == "E_TOO_LARGE"
