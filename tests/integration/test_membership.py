"""Memberships that end and that go on: removal, leaving, renewal, expiry, on a real bus with real daemons."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio

import mesh.upkeep as upkeep
from mesh.bus import BusState
from mesh.client import Swarm, connect_home
from mesh.daemon import Daemon
from mesh.endpoint import CallFailed, Endpoint
from mesh.errors import BusRefused, MeshError
from mesh.home import Home, HomeDamaged
from mesh.joining import join_swarm
from mesh.leaving import leave_swarm, tell_swarm
from mesh.membership import Membership, NoSuchRole
from mesh.upkeep import MembershipEnded, MembershipExpired, renewal_time
from protocol import subjects
from protocol.codec import pack
from protocol.envelope import audience_hash
from protocol.errors import Rejected
from protocol.messages import Heartbeat, Ping, RevokeNode, Type
from protocol.registry import types_on
from tests.support.members import MovedClock, found, invited, running, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

DAY = 86_400.0


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(found(tmp_path / "hub")) as daemon:
        yield daemon


async def joined(hub: Home, name: str, role: str = "agent", clock: MovedClock | None = None) -> Home:
    home = Home(hub.path.with_name(name))
    invite = await invited(hub, role=role)
    await join_swarm(home, invite.token, node_name=name, clock=clock)
    home.write("config.toml", b"mdns = false\n")
    return home


async def remove(hub: Home, name: str) -> None:
    async with connect_home(hub, role="admin") as swarm:
        await swarm.endpoint.call("enroll", RevokeNode(node=name, reason="lost on a train"), timeout_s=10)


def judged(listener: Endpoint, said_by: Membership) -> str:
    """How a member judges what another one signs now."""
    subject = subjects.heartbeat(said_by.me)
    raw = said_by.sealer().seal(
        Type.HEARTBEAT,
        "swarm/presence",
        pack([Heartbeat(load=0.0, slots_used=0, slots=1).model_dump()]),
        now_ms=int(said_by.clock.now() * 1000),
        ttl_s=30,
    )
    try:
        listener.verifier.verify(
            raw,
            audience=audience_hash(subjects.audience(subjects.route(subject))),
            types=types_on("heartbeat"),
            now_ms=int(listener.clock.now() * 1000),
        )
    except Rejected as error:
        return error.code
    return "OK"


async def ended(home: Home, clock: MovedClock | None = None) -> MeshError:
    """Run the daemon of a home until it ends by itself; what it ends with."""
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(home, clock=clock):
            await asyncio.Event().wait()
    [error] = caught.value.exceptions
    assert isinstance(error, MeshError)
    return error


# --- ending -------------------------------------------------------------------------------------------------------------------


async def test_a_removed_device_is_cut_off_refused_by_all_and_its_daemon_says_why(hub: Daemon):
    nas, pal = await joined(hub.home, "nas"), await joined(hub.home, "pal", "coordinator")
    said = Membership.load(nas)
    async with running(pal) as witness, connect_home(nas) as client, asyncio.TaskGroup() as group:
        daemon = group.create_task(ended(nas))
        listeners = [hub.endpoints["coordinator"], witness.endpoints["coordinator"]]
        await until("nas is heard", lambda: all(one.roster.knows(said.node_hex) for one in listeners))
        assert [judged(one, said) for one in listeners] == ["OK", "OK"]

        await remove(hub.home, "nas")

        await until("cut off", lambda: client.endpoint.bus.state is BusState.REFUSED)  # type: ignore[attr-defined]
        await until("refused", lambda: [judged(one, said) for one in listeners] == ["E_REVOKED"] * 2)
        await until("forgotten", lambda: not any(one.roster.knows(said.node_hex) for one in listeners))
    error = daemon.result()
    assert isinstance(error, MembershipEnded)
    assert "lost on a train" in error.message
    assert error.hint


async def test_a_removal_outlives_a_restart_of_the_bus(tmp_path: Path):
    home = found(tmp_path / "hub")
    async with running(home):
        nas, pal = await joined(home, "nas"), await joined(home, "pal", "coordinator")
        await remove(home, "nas")
        await until("kept", lambda: "revocations" in home.read("admin/bus.json").decode().lower())
    async with running(home) as hub, running(pal) as witness:
        with pytest.raises(BusRefused):
            async with connect_home(nas):
                pass
        said = Membership.load(nas)
        await witness.endpoints["coordinator"]._certificates.fetch(said.certificate.serial)
        assert judged(hub.endpoints["coordinator"], said) == "E_REVOKED"
        assert judged(witness.endpoints["coordinator"], said) == "E_REVOKED"
        error = await ended(nas)
        assert error.code in ("E_REFUSED", "E_REVOKED")
        assert "new invite" in error.hint


async def test_removing_one_of_two_devices_that_had_the_same_name_is_possible(hub: Daemon):
    first = await joined(hub.home, "nas")
    await remove(hub.home, "nas")
    first.path.rename(first.path.with_name("old"))
    await joined(hub.home, "nas")
    await remove(hub.home, "nas")
    with pytest.raises(CallFailed) as caught:
        await remove(hub.home, "nas")
    assert caught.value.code == "E_NOT_FOUND"


async def test_the_device_that_holds_the_keys_cannot_be_removed(hub: Daemon):
    with pytest.raises(CallFailed) as caught:
        await remove(hub.home, "hub")
    assert caught.value.code == "E_REFUSED"


async def test_only_an_admin_removes(hub: Daemon):
    nas, pal = await joined(hub.home, "nas"), await joined(hub.home, "pal")
    with pytest.raises(NoSuchRole) as caught:
        async with connect_home(nas, role="admin"):
            pass
    assert caught.value.code == "E_ROLE"
    async with connect_home(nas) as swarm:
        with pytest.raises(MeshError):
            await swarm.endpoint.call("enroll", RevokeNode(node="pal"), timeout_s=0.5)
    assert hub.endpoints["enroller"].verifier.counts["E_ROLE"] == 1
    async with connect_home(pal) as swarm:
        assert (await swarm.endpoint.call("enroll", Ping(), timeout_s=5)).ok


async def test_a_device_that_leaves_tells_the_swarm_and_keeps_its_state_aside(hub: Daemon):
    nas = await joined(hub.home, "nas")
    node = bytes.fromhex(nas.load().node)
    assert await tell_swarm(nas, timeout_s=5)
    assert hub.enroller is not None
    member = hub.enroller.membership.store.directory.get(node)
    assert member is not None
    assert member.revoked


async def test_leaving_works_without_a_bus_and_says_that_nobody_was_told(tmp_path: Path):
    async with running(found(tmp_path / "hub")) as hub:
        nas = await joined(hub.home, "nas")
        pal = await joined(hub.home, "pal")
    told, aside = await asyncio.to_thread(leave_swarm, nas, wipe=False, timeout_s=1)
    assert (told, aside) == (False, tmp_path / "nas.left")
    assert aside is not None
    assert Home(aside).exists
    assert not nas.exists
    assert await asyncio.to_thread(leave_swarm, pal, wipe=True, timeout_s=1) == (False, None)
    assert not pal.path.exists()


# --- going on -----------------------------------------------------------------------------------------------------------------


async def test_a_membership_is_renewed_before_it_ends_and_the_device_keeps_talking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(upkeep, "_LOOK_S", 0.05)
    clock = MovedClock()
    async with running(found(tmp_path / "hub"), clock=clock) as hub:
        nas = await joined(hub.home, "nas", clock=clock)
        before = Membership.load(nas, clock)
        token = nas.read("tokens/agent.jwt")
        async with running(nas, clock=clock) as daemon:
            listener = hub.endpoints["coordinator"]
            await until("heard", lambda: listener.roster.knows(before.node_hex))
            clock.off_s = 4.3 * DAY
            await until("renewed", lambda: nas.read("certificate.bin") != before.certificate_raw)
            after = Membership.load(nas, clock)
            assert after.certificate.expires > before.certificate.expires + 4 * DAY
            assert (after.certificate.roles, after.certificate.name) == (["agent", "client"], "nas")
            await until("token renewed", lambda: nas.read("tokens/agent.jwt") != token)
            first = hub.enroller
            assert first is not None
            await until(
                "the first device, too",
                lambda: first.membership.certificate.expires > before.certificate.expires + 4 * DAY,
            )
            await until("heard again", lambda: judged(listener, after) == "OK")
            assert judged(listener, before) == "OK"  # what is on its way, signed under the one before
            clock.off_s += 61.0
            assert judged(listener, before) == "E_REVOKED"
            reply = await daemon.endpoints["agent"].call("enroll", Ping(), timeout_s=10)
            assert reply.ok
            assert +daemon.endpoints["agent"].verifier.counts == {}


async def test_a_device_that_could_not_renew_in_time_ends_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(upkeep, "_LOOK_S", 0.05)
    async with running(found(tmp_path / "hub")) as hub:
        nas = await joined(hub.home, "nas")
        clock = MovedClock()
        async with asyncio.TaskGroup() as group:
            daemon = group.create_task(ended(nas, clock))
            await until("up", lambda: (nas.path / "daemon.json").exists())
            clock.off_s = 8 * DAY
    error = daemon.result()
    assert isinstance(error, MembershipExpired)
    assert "join again" in error.hint
    with pytest.raises(HomeDamaged) as caught:
        Membership.load(nas, clock)
    assert "expired" in caught.value.message


async def test_a_damaged_list_of_revocations_does_not_end_the_daemon(hub: Daemon):
    nas = await joined(hub.home, "nas")
    store = hub.endpoints["enroller"].workspace.swarm
    entry = await store.get(upkeep.REVOCATIONS_KEY)
    assert entry is not None
    await store.put(upkeep.REVOCATIONS_KEY, entry.value[:-1] + b"\x00", entry.revision)
    async with running(nas) as daemon:
        reply = await daemon.endpoints["agent"].call("enroll", Ping(), timeout_s=5)
        assert reply.ok


@pytest.mark.parametrize("damage", ["no charter", "older charter", "other keys", "forged"])
async def test_a_renewal_that_does_not_hold_changes_nothing(tmp_path: Path, damage: str):
    from mesh.membership import pack_chain
    from protocol.messages import Reply

    membership = Membership.load(found(tmp_path / "hub"))
    stranger = Membership.load(found(tmp_path / "other"))
    blobs = {"charter": pack_chain(membership.charter_chain), "certificate": membership.certificate_raw}
    if damage == "no charter":
        del blobs["charter"]
    elif damage == "older charter":
        membership.charter_chain = [*membership.charter_chain, b"a later one"]
    elif damage == "other keys":
        membership.certificate = membership.certificate.model_copy(update={"bus": b"\x00" * 32})
    else:
        blobs["certificate"] = stranger.certificate_raw
    files = {path: path.read_bytes() for path in membership.home.path.rglob("*") if path.is_file()}
    with pytest.raises(Rejected):
        upkeep.Upkeep(membership, [], lambda _error: None)._adopt(Reply(ok=True, blobs=blobs))
    assert {path: path.read_bytes() for path in membership.home.path.rglob("*") if path.is_file()} == files


def test_renewal_comes_at_half_of_the_life_spread_over_a_tenth_of_it():
    assert renewal_time(1000.0, 2000.0, 0.0) == 1500.0
    assert renewal_time(1000.0, 2000.0, 1.0) == 1600.0


async def test_a_program_connects_by_the_home_and_is_a_client(hub: Daemon):
    async with connect_home(hub.home) as swarm:
        assert isinstance(swarm, Swarm)
        assert (await swarm.endpoint.call("enroll", Ping(), timeout_s=5)).ok


async def test_a_revocation_that_the_bus_does_not_take_is_a_failure_and_not_a_success(hub: Daemon):
    assert hub.enroller is not None
    hub.enroller._authority = SimpleNamespace(swarm_token="eyJ0.e30.AA")  # type: ignore[assignment]
    with pytest.raises(BusRefused) as caught:
        await hub.enroller._update_account()
    assert "revocation" in caught.value.message
