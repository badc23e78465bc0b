"""What work says beside its result, from real workers to the buyer: that it waits, what it used, what it leaves unfinished."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_node.node import AgentRole
from agent_node.spending import NO_BOUND
from protocol.messages import Failed, Progress, Result, Usage
from tests.support.agent_buyer import Buyer, announce
from tests.support.endpoint_memory import MemorySwarm
from tests.unit.agent_node.test_node import config, running

FREE = Usage(money=NO_BOUND, tokens=NO_BOUND, steps=NO_BOUND, bytes_out=NO_BOUND, children=NO_BOUND)


@pytest.fixture
async def swarm(tmp_path: Path) -> AsyncIterator[MemorySwarm]:
    async with MemorySwarm(tmp_path) as made:
        yield made


@pytest.fixture
async def buyer(swarm: MemorySwarm) -> Buyer:
    made = Buyer(await swarm.join("buyer", ["coordinator"]))
    await made.listen()
    return made


def progress(buyer: Buyer) -> list[Progress]:
    return [item for item in buyer.heard if isinstance(item, Progress)]


async def test_unfinished_work_is_kept_and_handed_to_the_next_attempt(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path
) -> None:
    seller = await swarm.join("seller")
    params = {"gate": str(tmp_path / "gate")}
    async with running(AgentRole(seller, config("unfinished"))):
        left = await buyer.store("draft.txt", b"some and ")
        await buyer.auction(seller.me, announce("s1", "test.unfinished"), params=params, partial=[left])
        await buyer.wait(lambda: any(said.state == "person" and said.partial for said in progress(buyer)))
        said = next(one for one in progress(buyer) if one.state == "person")
        assert said.note == "Shall I go on?"
        (tmp_path / "gate").touch()
        failed = await buyer.until(Failed, "s1")
    assert (failed.code, failed.retryable, failed.retry_ms) == ("E_LIMITED", True, 60_000)
    [kept] = failed.partial
    assert kept.name == "draft.txt"
    content = await buyer.endpoint.artifacts.read(kept.ref, 1000)
    assert content == b"some and more "
    assert (failed.used.tokens, failed.used.bytes_out) == (10, len(content))
    assert progress(buyer)[-1].state in ("person", "working")


async def test_work_that_uses_more_than_it_may_is_ended_whatever_it_hears(
    swarm: MemorySwarm, buyer: Buyer
) -> None:
    seller = await swarm.join("seller")
    caps = FREE.model_copy(update={"tokens": 20})
    async with running(AgentRole(seller, config("spendthrift"))) as role:
        await buyer.auction(seller.me, announce("s1", "test.spendthrift"), caps=caps)
        failed = await buyer.until(Failed, "s1")
        assert (failed.code, failed.retryable) == ("E_BUDGET", True)
        assert failed.used.tokens <= 20
        assert role.agent.idle


async def test_an_output_that_is_larger_than_what_was_set_aside_is_not_stored(
    swarm: MemorySwarm, buyer: Buyer
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("large"))):
        small = FREE.model_copy(update={"bytes_out": 999})
        await buyer.auction(seller.me, announce("s1", "test.large"), caps=small)
        failed = await buyer.until(Failed, "s1")
        assert (failed.code, failed.retryable, failed.used.bytes_out) == ("E_BUDGET", True, 0)
        enough = FREE.model_copy(update={"bytes_out": 1000})
        await buyer.auction(seller.me, announce("s2", "test.large"), caps=enough)
        result = await buyer.until(Result, "s2")
        assert result.used.bytes_out == 1000
