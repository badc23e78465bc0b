"""The role `agent` from the outside: real endpoints, a scripted buyer, real worker processes."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent_node.errors import OutboxError
from agent_node.events import LoadMeasured
from agent_node.node import AgentRole
from agent_node.policy import DISK_FULL
from protocol.artifact import ArtifactRef
from protocol.messages import (
    Bid,
    Cancelled,
    Decline,
    Failed,
    Missing,
    NamedRef,
    Progress,
    Refuse,
    Result,
    Started,
)
from tests.support.agent_buyer import Buyer, announce, award
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
    task = asyncio.ensure_future(role.run(stop))
    await asyncio.sleep(0)
    try:
        yield role
    finally:
        stop.set()
        await task


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


async def started(buyer: Buyer, seller: Any, tmp_path: Path, function: str, **more: Any) -> list[int]:
    """Award work that writes its process ids to a file, and wait until it has."""
    mark = tmp_path / "started"
    item = announce("s1", f"test.{function}", **more)
    await buyer.auction(seller.me, item, params={"started": str(mark), "gate": str(tmp_path / "gate")})
    await until(lambda: mark.exists() and mark.read_text() != "")
    return [int(word) for word in mark.read_text().split()]


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_job_gets_parameters_names_and_what_is_missing_and_no_secrets(
    swarm: MemorySwarm, buyer: Buyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("echo"))):
        given = await buyer.store("../../etc/passwd", b"harmless")
        absent = Missing(name="gone.pdf", code="E_EMPTY", message="it was empty")
        await buyer.auction(
            seller.me,
            announce("s1", "test.echo"),
            inputs=[given],
            params={"a": [1, {"b": None}]},
            missing=[absent],
        )
        told = json.loads(await buyer.read(await buyer.until(Result, "s1")))
    assert told["params"] == {"a": [1, {"b": None}]}
    assert told["inputs"] == [["../../etc/passwd", "harmless"]]
    assert told["missing"] == ["gone.pdf"]
    assert set(told["environment"]) <= {"PATH", "LANG", "LC_CTYPE", "HOME", "TMPDIR", "ZWERM_JOB"}
    assert told["home"] == told["dir"]
    assert Path(told["dir"]).parent == seller.home / "jobs"


async def test_a_worker_stays_warm_from_job_to_job(swarm: MemorySwarm, buyer: Buyer) -> None:
    seller = await swarm.join("seller")
    pids = set()
    async with running(AgentRole(seller, config("echo"))):
        for number in range(3):
            await buyer.auction(seller.me, announce(f"s{number}", "test.echo"))
            pids.add(json.loads(await buyer.read(await buyer.until(Result, f"s{number}")))["pid"])
    assert len(pids) == 1
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize(
    ("function", "code", "retryable"),
    [("refuse", "E_NO_TABLE", False), ("crash", "E_WORK", True), ("escape", "E_OUTPUT", False)],
)
async def test_a_failure_says_what_and_whether_to_try_again(
    swarm: MemorySwarm, buyer: Buyer, function: str, code: str, retryable: bool
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config(function))):
        await buyer.auction(seller.me, announce("s1", f"test.{function}"))
        failed = await buyer.until(Failed, "s1")
    assert (failed.code, failed.retryable) == (code, retryable)
    assert failed.message.isprintable()


async def test_a_worker_killed_in_the_middle_fails_its_job_alone_and_the_next_gets_another(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("deaf", "shout"))):
        [pid] = await started(buyer, seller, tmp_path, "deaf")
        os.kill(pid, signal.SIGKILL)
        failed = await buyer.until(Failed, "s1")
        assert (failed.code, failed.retryable) == ("E_WORKER_DIED", True)
        assert "SIGKILL" in failed.message
        (tmp_path / "started").unlink()
        await buyer.auction(
            seller.me, announce("s2", "test.deaf"), params={"started": str(tmp_path / "started")}
        )
        await buyer.until(Started, "s2")


async def test_work_past_its_deadline_is_killed_even_if_it_ignores_sigterm(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("deaf"))):
        [pid] = await started(buyer, seller, tmp_path, "deaf", deadline_ms=2_000)
        failed = await buyer.until(Failed, "s1")
        assert (failed.code, failed.retryable) == ("E_DEADLINE", True)
        assert gone(pid)


async def test_a_cancel_is_acknowledged_only_when_the_process_and_its_children_are_gone(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("parent"))):
        pids = await started(buyer, seller, tmp_path, "parent")
        assert len(pids) == 2
        await buyer.cancel(seller.me, "s1")
        await buyer.until(Cancelled, "s1")
        assert all(gone(pid) for pid in pids)
    assert list((seller.home / "jobs").glob("[0-9]*")) == []


async def test_work_that_hears_a_cancel_ends_itself_and_its_worker_goes_on(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("steps"))) as role:
        params = {"gate": str(tmp_path / "gate")}
        await buyer.auction(seller.me, announce("s1", "test.steps"), params=params)
        progress = await buyer.until(Progress, "s1", count=2)
        assert progress.step > 1
        [pid] = role._adapters["steps"].pool.pids  # type: ignore[attr-defined]
        await buyer.cancel(seller.me, "s1")
        await buyer.until(Cancelled, "s1")
        (tmp_path / "gate").touch()
        await buyer.auction(seller.me, announce("s2", "test.steps"), params=params)
        await buyer.until(Result, "s2")
        assert role._adapters["steps"].pool.pids == [pid]  # type: ignore[attr-defined]


async def test_what_a_job_leaves_running_ends_with_the_job(swarm: MemorySwarm, buyer: Buyer) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("litter"))):
        await buyer.auction(seller.me, announce("s1", "test.litter"))
        told = json.loads(await buyer.read(await buyer.until(Result, "s1")))
        await until(lambda: gone(told["child"]))  # a busy kernel takes a moment to end what was killed
        assert not gone(told["pid"])


async def test_a_gigabyte_of_output_is_cut_off_at_the_limit(swarm: MemorySwarm, buyer: Buyer) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("flood", worker={"output_mib": 4}))):
        await buyer.auction(seller.me, announce("s1", "test.flood"))
        failed = await buyer.until(Failed, "s1")
    assert (failed.code, failed.retryable) == ("E_OUTPUT_LIMIT", False)


async def test_work_that_meets_a_full_disk_may_be_tried_elsewhere_and_its_node_takes_no_more_for_now(
    swarm: MemorySwarm, buyer: Buyer
) -> None:
    seller = await swarm.join("seller")
    role = AgentRole(seller, config("brim"))
    async with running(role):
        await buyer.auction(seller.me, announce("s1", "test.brim"))
        failed = await buyer.until(Failed, "s1")
        assert (failed.code, failed.retryable) == ("E_DISK_FULL", True)
        await until(lambda: role.agent.room)  # as soon as it is measured: the disk itself has room


async def test_work_that_uses_too_much_processor_time_is_ended(swarm: MemorySwarm, buyer: Buyer) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("burn", worker={"cpu_s": 1.0}))):
        await buyer.auction(seller.me, announce("s1", "test.burn"))
        failed = await buyer.until(Failed, "s1")
    assert (failed.code, failed.retryable) == ("E_CPU_LIMIT", False)


async def test_an_input_that_is_not_in_the_workspace_fails_the_attempt_and_names_it(
    swarm: MemorySwarm, buyer: Buyer
) -> None:
    seller = await swarm.join("seller")
    ref = ArtifactRef(sha256=bytes(32), size=5, chunks=1, writer=buyer.endpoint.me)
    async with running(AgentRole(seller, config("shout"))):
        await buyer.auction(seller.me, announce("s1", "test.shout"), inputs=[NamedRef(name="x.txt", ref=ref)])
        failed = await buyer.until(Failed, "s1")
    assert (failed.code, failed.retryable) == ("E_NOT_FOUND", True)


async def test_one_message_with_many_awards_is_answered_with_few_messages(
    swarm: MemorySwarm, buyer: Buyer
) -> None:
    seller = await swarm.join("seller")
    names = [f"s{number}" for number in range(200)]
    async with running(AgentRole(seller, config(noop=True))):
        await buyer.announce(*[announce(name, "demo.noop") for name in names])
        await buyer.until(Bid, count=200)
        assert buyer.envelopes <= 3
        await buyer.tell(seller.me, *[award(name, "demo.noop", "noop") for name in names])
        await buyer.until(Result, count=200)
    assert buyer.envelopes <= 8


async def test_a_repeated_award_is_done_once(swarm: MemorySwarm, buyer: Buyer, tmp_path: Path) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("steps"))):
        won = award("s1", "test.steps", "steps", params={"gate": str(tmp_path / "gate")})
        await buyer.tell(seller.me, won)
        await buyer.until(Started, "s1")
        await buyer.tell(seller.me, won)
        await buyer.until(Started, "s1", count=2)
        (tmp_path / "gate").touch()
        result = await buyer.until(Result, "s1")
        await buyer.tell(seller.me, won)
        assert await buyer.until(Result, "s1", count=2) == result


async def test_an_award_of_a_deposed_owner_is_refused(swarm: MemorySwarm, buyer: Buyer) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config(noop=True))):
        await buyer.tell(seller.me, award("s1", "demo.noop", "noop", epoch=3))
        await buyer.until(Result, "s1")
        await buyer.tell(seller.me, award("s2", "demo.noop", "noop", epoch=2))
        refuse = await buyer.until(Refuse, "s2")
    assert refuse.code == "E_EPOCH"


async def test_a_node_that_comes_back_says_again_what_nobody_acknowledged_and_owns_up_to_what_it_lost(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path
) -> None:
    seller = await swarm.join("seller")
    settings = config("deaf", noop=True)
    async with running(AgentRole(seller, settings)) as role:
        await buyer.tell(seller.me, award("s1", "demo.noop", "noop"))
        result = await buyer.until(Result, "s1")
        await buyer.auction(seller.me, announce("s2", "test.deaf"), params={"started": str(tmp_path / "pid")})
        await buyer.until(Started, "s2")
        left = role.outbox.path.read_bytes()
    # As after kill -9: the file is as it was while the work ran.
    role.outbox.path.write_bytes(left)
    buyer.heard.clear()
    again = await swarm.join("seller")
    async with running(AgentRole(again, settings)):
        assert await buyer.until(Result, "s1") == result
        failed = await buyer.until(Failed, "s2")
        assert (failed.code, failed.retryable) == ("E_RESTARTED", True)
        await buyer.ack(again.me, result)
        await buyer.ack(again.me, failed, applied=False)
        await buyer.tell(again.me, award("s2", "test.deaf", "deaf"))
        refuse = await buyer.until(Refuse, "s2")
        assert refuse.code == "E_STALE"


async def test_a_node_that_lost_the_bus_says_its_endings_when_it_is_back(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("steps"))) as role:
        await buyer.auction(seller.me, announce("s1", "test.steps"), params={"gate": str(tmp_path / "gate")})
        await buyer.until(Started, "s1")
        seller.bus.set_connected(False)  # type: ignore[attr-defined]
        (tmp_path / "gate").touch()
        await until(lambda: len(role.agent.outbox) == 1)
        assert not [item for item in buyer.heard if isinstance(item, Result)]
        seller.bus.set_connected(True)  # type: ignore[attr-defined]
        await buyer.until(Result, "s1", within_s=5)


async def test_going_down_stops_what_runs_says_so_and_leaves_nothing_behind(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("deaf"))):
        [pid] = await started(buyer, seller, tmp_path, "deaf")
    failed = await buyer.until(Failed, "s1")
    assert (failed.code, failed.retryable) == ("E_SHUTDOWN", True)
    assert gone(pid)
    assert list((seller.home / "jobs").iterdir()) == []


async def test_going_down_lets_work_finish_that_is_nearly_done(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path
) -> None:
    seller = await swarm.join("seller")
    stop = asyncio.Event()
    role = AgentRole(seller, config("steps", drain_s=5.0))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(role.run(stop))
        await asyncio.sleep(0)
        await buyer.auction(seller.me, announce("s1", "test.steps"), params={"gate": str(tmp_path / "gate")})
        await buyer.until(Started, "s1")
        stop.set()
        await until(lambda: role.agent.draining)
        await buyer.announce(announce("s2", "test.steps"))
        assert (await buyer.until(Decline, "s2")).code == "E_DRAINING"
        (tmp_path / "gate").touch()
        await buyer.until(Result, "s1")


async def test_of_two_equal_nodes_the_busy_one_bids_worse(
    swarm: MemorySwarm, buyer: Buyer, tmp_path: Path
) -> None:
    busy, idle = await swarm.join("busy"), await swarm.join("idle")
    settings = config("steps", "shout", slots=1, queue=4)
    async with running(AgentRole(busy, settings)), running(AgentRole(idle, settings)) as quiet:
        await buyer.tell(busy.me, award("s0", "test.steps", "steps", params={"gate": str(tmp_path / "gate")}))
        await buyer.until(Started, "s0")
        quiet._take(LoadMeasured(0.0))
        await buyer.tell(busy.me, announce("s1", "test.shout"))
        worse = await buyer.until(Bid, "s1")
        await buyer.tell(idle.me, announce("s2", "test.shout"))
        better = await buyer.until(Bid, "s2")
        (tmp_path / "gate").touch()
    assert worse.price > better.price
    assert worse.eta_ms > better.eta_ms
    assert worse.free_slots < better.free_slots
    assert worse.load > better.load


async def test_what_was_measured_survives_a_restart_and_moves_the_bid(
    swarm: MemorySwarm, buyer: Buyer
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("shout"))):
        given = await buyer.store("hello.txt", b"hello")
        first = await buyer.auction(seller.me, announce("s0", "test.shout"), inputs=[given])
        for number in range(1, 6):
            result = await buyer.until(Result, f"s{number - 1}")
            await buyer.ack(seller.me, result)
            await buyer.auction(seller.me, announce(f"s{number}", "test.shout"), inputs=[given])
        await buyer.until(Result, "s5")
    again = await swarm.join("seller")
    async with running(AgentRole(again, config("shout"))):
        await buyer.announce(announce("s9", "test.shout"))
        later = await buyer.until(Bid, "s9")
    assert later.eta_ms < first.eta_ms
    assert later.success > first.success


async def test_the_next_step_finds_its_input_on_the_node_that_made_it(
    swarm: MemorySwarm, buyer: Buyer
) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, config("shout", "echo"))):
        given = await buyer.store("hello.txt", b"hello")
        await buyer.auction(seller.me, announce("s1", "test.shout"), inputs=[given])
        made = (await buyer.until(Result, "s1")).outputs[0]
        digests = [made.ref.sha256[:8]]
        await buyer.announce(
            announce("s2", "test.echo", input_bytes=made.ref.size, inputs=digests, input_count=1)
        )
        assert (await buyer.until(Bid, "s2")).local_bytes == made.ref.size
        await buyer.announce(announce("s3", "test.echo", input_bytes=9, inputs=[b"12345678"], input_count=1))
        assert (await buyer.until(Bid, "s3")).local_bytes == 0


async def test_a_disk_that_cannot_be_written_any_more_stops_the_role_with_a_reason(
    swarm: MemorySwarm, buyer: Buyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller = await swarm.join("seller")
    role = AgentRole(seller, config(noop=True))
    stop = asyncio.Event()

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    task = asyncio.ensure_future(role.run(stop))
    await asyncio.sleep(0)
    await buyer.announce(announce("s0", "demo.noop"))
    await buyer.until(Bid, "s0")
    monkeypatch.setattr("agent_node.outbox_file.os.write", broken)
    await buyer.tell(seller.me, award("s1", "demo.noop", "noop"))
    with pytest.raises(OutboxError, match="Input/output error"):
        await task
    assert not [item for item in buyer.heard if isinstance(item, Started | Result)]


async def test_a_full_disk_is_said_and_outlasted(
    swarm: MemorySwarm, buyer: Buyer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller = await swarm.join("seller")
    role = AgentRole(seller, config(noop=True))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running(role):
        await buyer.announce(announce("s0", "demo.noop"))
        await buyer.until(Bid, "s0")
        with monkeypatch.context() as patched:
            patched.setattr("agent_node.outbox_file.os.write", full)
            await buyer.tell(seller.me, award("s1", "demo.noop", "noop"))
            await buyer.announce(announce("s2", "demo.noop"))
            declined = await buyer.until(Decline, "s2")
            assert (declined.code, declined.detail) == ("E_DISK_FULL", DISK_FULL)
            await buyer.tell(seller.me, award("s3", "demo.noop", "noop"))
            assert not [item for item in buyer.heard if isinstance(item, Started | Result)]
        assert await buyer.until(Result, "s1")
        assert (await buyer.until(Refuse, "s3")).code == "E_DISK_FULL"
        await buyer.announce(announce("s4", "demo.noop"))
        assert await buyer.until(Bid, "s4")


async def test_the_capabilities_of_a_node_are_those_that_its_owner_allows(
    swarm: MemorySwarm, buyer: Buyer
) -> None:
    seller = await swarm.join("seller")
    role = AgentRole(seller, {"documents": True, "noop": True, "capabilities": ["doc.*", "text.extract"]})
    assert role.agent.capabilities == ["doc.read", "text.extract"]
    assert [card.name for card in role.cards()] == ["documents"]
    async with running(role):
        await buyer.tell(seller.me, announce("s1", "text.summarize"))
        assert (await buyer.until(Decline, "s1")).code == "E_CAPABILITY"


async def test_an_agent_that_cannot_work_here_is_left_out_and_the_others_are_offered(
    swarm: MemorySwarm,
) -> None:
    seller = await swarm.join("seller")
    settings = config("shout")
    settings["agents"].append(
        {"name": "lost", "adapter": "python", "capability": "x.y", "target": "no.such.module:f"}
    )
    settings["agents"].append({"name": "odd", "adapter": "teleport", "capability": "x.z"})
    role = AgentRole(seller, settings)
    assert [card.name for card in role.cards()] == ["shout"]
    assert {out.name: out.error.code for out in role.left_out} == {"lost": "E_ADAPTER", "odd": "E_ADAPTER"}
    assert "teleport" in role.left_out[-1].error.message
    async with running(role):
        pass


async def test_documents_are_read_by_the_built_in_agents(swarm: MemorySwarm, buyer: Buyer) -> None:
    seller = await swarm.join("seller")
    async with running(AgentRole(seller, {})):
        note = await buyer.store("note.txt", b"On 3 March 2024 we paid EUR 120.50 to jan@example.org.\n")
        await buyer.auction(seller.me, announce("s1", "doc.read"), inputs=[note])
        text = (await buyer.until(Result, "s1")).outputs
        await buyer.auction(seller.me, announce("s2", "text.extract"), inputs=text)
        rows = json.loads(await buyer.read(await buyer.until(Result, "s2")))
        empty = await buyer.store("empty.txt", b"")
        await buyer.auction(seller.me, announce("s3", "doc.read"), inputs=[empty])
        failed = await buyer.until(Failed, "s3")
    assert {row["kind"] for row in rows["rows"]} == {"date", "amount", "email"}
    assert (failed.code, failed.retryable) == ("E_EMPTY", False)
