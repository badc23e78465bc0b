"""An order to halt at a node with real workers, and awards that come before it is known whether there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_node.node import AgentRole
from agent_node.running_proc import FOLDER, entries
from protocol.messages import Decline, Failed, Refuse, Started
from tests.support.agent_buyer import Buyer, announce, award
from tests.support.endpoint_memory import MemorySwarm
from tests.unit.agent_node.test_node import config, gone, running, started, until


@pytest.fixture
async def swarm(tmp_path: Path) -> AsyncIterator[MemorySwarm]:
    async with MemorySwarm(tmp_path) as made:
        yield made


@pytest.fixture
async def buyer(swarm: MemorySwarm) -> Buyer:
    made = Buyer(await swarm.join("buyer", ["coordinator"]))
    await made.listen()
    return made


@pytest.mark.requirement("HLT-3")
@pytest.mark.parametrize("function", ["deaf", "parent"])
async def test_a_halt_ends_workers_that_hear_nothing_and_what_they_started(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path, function: str
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config(function))) as role:
        pids = await started(buyer, seller, tmp_path, function)
        assert [entry.agent for entry in entries(seller.home / FOLDER)] == [function]
        seller.halts.set_local("enough")
        failed = await buyer.until(Failed, "s1")
        assert (failed.code, failed.retryable) == ("E_HALTED", True)
        await until(lambda: not seller.halts.pending)
        assert seller.halts.stopped == len(pids)
        await until(lambda: all(gone(pid) for pid in pids))
        assert entries(seller.home / FOLDER) == []
        await buyer.announce(announce("s2", f"test.{function}"))
        assert (await buyer.until(Decline, "s2")).code == "E_HALTED"
        await buyer.tell(seller.me, award("s2", f"test.{function}", function))
        assert (await buyer.until(Refuse, "s2")).code == "E_HALTED"
        assert role.agent.idle


@pytest.mark.requirement("HLT-3")
async def test_an_award_waits_until_it_is_known_whether_the_swarm_is_halted(
    swarm: MemorySwarm, buyer: Buyer
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config(noop=True))) as role:
        seller.halts.set_sure(False)
        await buyer.tell(seller.me, award("s1", "demo.noop", "noop"))
        await buyer.announce(announce("s2", "demo.noop"))
        await until(lambda: role.agent.open_bids == 1)
        assert role._obedience._deferred
        seller.halts.set_local("")
        seller.halts.set_sure(True)
        assert (await buyer.until(Refuse, "s1")).code == "E_HALTED"
        assert not any(isinstance(item, Started) for item in buyer.heard)
