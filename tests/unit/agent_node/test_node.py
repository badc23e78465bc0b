"""The role `agent` from the outside: real endpoints, a scripted buyer, real worker processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent_node.node import AgentRole
from protocol.messages import Bid, Result
from tests.support.agent_buyer import Buyer, announce
from tests.support.endpoint_memory import MemorySwarm

FUNCTIONS = str(Path(__file__).parents[2] / "support" / "agent_functions.py")


def config(*functions: str, **section: Any) -> dict[str, Any]:
    agents = [
        {
            "name": name,
            "adapter": "python",
            "capability": f"test.{name.replace('_', '-')}",
            "target": f"{FUNCTIONS}:{name}",
        }
        for name in functions
    ]
    return {"documents": False, "slots": 2, "drain_s": 0.0, **section, "agents": agents}


@asynccontextmanager
async def running(role: AgentRole) -> AsyncIterator[AgentRole]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(role.run(stop))
        await asyncio.sleep(0)
        try:
            yield role
        finally:
            stop.set()


@pytest.fixture
async def swarm(tmp_path: Path) -> AsyncIterator[MemorySwarm]:
    async with MemorySwarm(tmp_path) as made:
        yield made


@pytest.fixture
async def buyer(swarm: MemorySwarm) -> Buyer:
    made = Buyer(await swarm.join("buyer", ["coordinator"]))
    await made.listen()
    return made


async def test_a_noop_is_bid_for_awarded_done_and_acknowledged(swarm: MemorySwarm, buyer: Buyer) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config(noop=True))) as role:
        bid = await buyer.auction(seller.me, announce("s1", "demo.noop"))
        assert bid.agent == "noop"
        result = await buyer.until(Result, "s1")
        assert result.outputs == []
        await buyer.ack(seller.me, result)
        await buyer.announce(announce("s2", "demo.noop"))
        await buyer.until(Bid, "s2")
        assert len(role.agent.outbox) == 0


async def test_a_function_in_a_worker_reads_its_input_and_its_output_is_stored(
    swarm: MemorySwarm, buyer: Buyer
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("shout"))):
        given = await buyer.store("hello.txt", b"hello")
        await buyer.auction(
            seller.me, announce("s1", "test.shout", input_bytes=5, input_count=1), inputs=[given]
        )
        result = await buyer.until(Result, "s1")
        assert [output.name for output in result.outputs] == ["shout.txt"]
        assert await buyer.read(result) == b"HELLO"
    assert list((seller.home / "jobs").iterdir()) == []
