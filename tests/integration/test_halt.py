"""Orders to halt on a real bus, between real daemons: who may give them, who hears them and when, and what changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mesh.client import Swarm, connect_home
from mesh.daemon import Daemon
from mesh.halt_swarm import HaltSent, halt_swarm
from mesh.halting import HALT_KEY
from mesh.home import Home
from mesh.joining import join_swarm
from mesh.membership import Membership, NoSuchRole
from protocol import subjects
from protocol.halts import HaltOrder, pack_halt, sign_halt
from protocol.messages import Halt
from tests.support.members import found, invited, running, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(found(tmp_path / "hub")) as daemon:
        yield daemon


async def joined(hub: Home, name: str) -> Home:
    home = Home(hub.path.with_name(name))
    invite = await invited(hub, role="agent")
    await join_swarm(home, invite.token, node_name=name)
    home.write("config.toml", b"mdns = false\n")
    return home


async def halt(hub: Home, *, on: bool = True, why: str = "", wait_s: float = 5.0) -> HaltSent:
    async with connect_home(hub, role="admin") as swarm:
        return await halt_swarm(swarm.membership, swarm.endpoint, on=on, why=why, wait_s=wait_s)


def forged(member: Membership, n: int, *, by: Membership | None = None) -> Halt:
    order = HaltOrder(swarm=member.charter.swarm_id, n=n, at=int(member.clock.now()), on=False)
    signer = by or member
    return Halt(halt=sign_halt(order, signer.identity.sign), certificate=signer.certificate_raw)


@pytest.mark.requirement("HLT-2")
@pytest.mark.requirement("HLT-4")
async def test_every_node_hears_a_halt_and_says_that_it_has_carried_it_out(hub: Daemon) -> None:
    nas = await joined(hub.home, "nas")
    async with running(nas) as daemon:
        sent = await halt(hub.home, why="a drill")
        assert (sent.n, sent.stored, sent.silent) == (1, True, [])
        assert [(one.name, one.halt, one.stopped) for one in sent.answers] == [("nas", 1, 0)]
        assert daemon.halts.halted
        assert hub.halts.halted
        assert daemon.halts.why == "hub halted the swarm: a drill"
        sent = await halt(hub.home, on=False)
        assert (sent.n, sent.silent) == (2, [])
        assert not daemon.halts.halted
        assert not hub.halts.halted


@pytest.mark.requirement("HLT-3")
async def test_a_node_that_was_away_obeys_before_it_works_and_a_restart_changes_nothing(hub: Daemon) -> None:
    nas = await joined(hub.home, "nas")
    sent = await halt(hub.home, wait_s=2.0)
    assert [(one.name, one.halt) for one in sent.answers] == [("nas", 0)]
    halted_when_made: list[bool] = []

    def make(name: str, endpoint, config):
        from tests.support.members import IdleRole

        halted_when_made.append(endpoint.halts.halted)
        return IdleRole(endpoint)

    async with running(nas, make_role=make):
        pass
    assert halted_when_made == [True]
    # What was ordered is kept on the device, too: the store is not asked for it.
    async with running(nas, make_role=make) as daemon:
        assert daemon.halts.order is not None
    assert halted_when_made == [True, True]
    async with connect_home(hub.home, role="admin") as swarm:
        await halt_swarm(swarm.membership, swarm.endpoint, on=False, why="", wait_s=2.0)
    async with running(nas, make_role=make):
        pass
    assert halted_when_made == [True, True, False]


@pytest.mark.requirement("HLT-1")
@pytest.mark.requirement("HLT-2")
async def test_a_forged_and_an_older_order_change_nothing_and_are_counted(hub: Daemon) -> None:
    nas = await joined(hub.home, "nas")
    with pytest.raises(NoSuchRole):
        async with connect_home(nas, role="admin"):
            pass
    async with running(nas) as daemon:
        await halt(hub.home)
        await halt(hub.home, why="still")
        chief, worker = Membership.load(hub.home), Membership.load(nas)
        async with connect_home(hub.home, role="admin") as swarm:
            for item, code in (
                (forged(worker, 9), "E_ROLE"),
                (Halt(halt=forged(worker, 9).halt, certificate=chief.certificate_raw), "E_ISSUER"),
                (forged(chief, 1), "E_STALE"),
                (Halt(halt=b"nonsense", certificate=chief.certificate_raw), "E_SHORT"),
            ):
                await swarm.endpoint.send(subjects.control(), [item])
                await until(f"{code} is counted", lambda code=code: daemon.halts.counts[code] == 1)
        assert daemon.halts.halted
        assert daemon.halts.order is not None
        assert daemon.halts.order.n == 2
        assert daemon._refused() >= 4


async def test_what_lies_in_the_store_and_does_not_hold_halts_nobody_and_is_replaced(hub: Daemon) -> None:
    worker = Membership.load(await joined(hub.home, "nas"))

    async def store(swarm: Swarm, value: bytes) -> None:
        entry = await swarm.endpoint.workspace.swarm.get(HALT_KEY)
        await swarm.endpoint.workspace.swarm.put(HALT_KEY, value, entry.revision if entry else 0)

    item = forged(worker, 7)
    async with connect_home(hub.home, role="admin") as swarm:
        for value in (b"\xc1", pack_halt(item.halt, item.certificate)):
            await store(swarm, value)
            async with running(worker.home) as daemon:
                assert not daemon.halts.halted
                assert sum(daemon.halts.counts.values()) == 1
    sent = await halt(hub.home, wait_s=1.0)
    assert (sent.n, sent.stored) == (1, True)
