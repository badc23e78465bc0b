"""Enrolment on a real server: one winner however many race, the same answer for the same keys, a named refusal for everything else."""

import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import mesh.joining as joining
from mesh.bus import Msg
from mesh.bus_nats import NatsBus
from mesh.client import connect_home
from mesh.daemon import Daemon
from mesh.errors import BadSettings, BusUnreachable, DiskFull, MeshError, PinMismatch
from mesh.home import Home, HomeBusy
from mesh.inviting import MadeInvite
from mesh.joining import InviteExpired, InviteProblem, JoinRefused, join_swarm
from mesh.membership import Membership
from mesh.tls_pin import pinned_context
from protocol import subjects
from protocol.certificate import read_certificate
from protocol.enrol import Granted, Refused, SealedRequest, build_request, open_reply
from protocol.invite import decode_invite, encode_invite
from protocol.messages import RevokeInvite, RevokeNode
from protocol.sealing import BoxKey
from protocol.signing import SigningKey
from tests.support.members import MovedClock, found, invited, running, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(found(tmp_path / "hub")) as daemon:
        yield daemon


class Racer:
    """A device that asks by hand: keys of its own, one sealed request."""

    def __init__(self, hub: Daemon, invite: MadeInvite, name: str) -> None:
        self.membership = Membership.load(hub.home)
        self.sig, self.bus = SigningKey.from_seed(os.urandom(32)), SigningKey.from_seed(os.urandom(32))
        self.box = BoxKey.from_seed(os.urandom(32))
        self.invite = decode_invite(invite.token)
        charter = self.membership.charter
        self.sent: SealedRequest = build_request(
            self.invite,
            charter,
            charter.body.issuers[0],
            sig=self.sig,
            box=self.box,
            bus=self.bus,
            name=name,
            asked_caps=[],
            nonce=os.urandom(16),
            now_s=self.membership.clock.now(),
        )

    async def ask(self, bus: NatsBus) -> Granted | Refused:
        return self.read(
            await joining._request(bus, subjects.enrol_request(self.invite.invite_id.hex()), self.sent.raw)
        )

    def read(self, raw: bytes) -> Granted | Refused:
        opened = open_reply(
            raw,
            self.sent,
            self.membership.charter,
            sig=self.sig.public,
            box=self.box,
            bus=self.bus.public,
            now_s=self.membership.clock.now(),
        )
        assert isinstance(opened.reply, Granted | Refused)
        return opened.reply


@contextlib.asynccontextmanager
async def strangers(hub: Daemon, count: int = 1) -> AsyncIterator[list[NatsBus]]:
    """Connections of devices that are no members."""
    node = hub.home.load()
    pin = bytes.fromhex(node.bus_ca_sha256)[:16]
    buses = [await NatsBus.connect(node.bus_urls, pinned_context(pin, MovedClock())) for _ in range(count)]
    try:
        yield buses
    finally:
        for bus in buses:
            await bus.close()


def outcomes(replies: list[Granted | Refused]) -> Counter[str]:
    return Counter("granted" if isinstance(reply, Granted) else reply.code for reply in replies)


async def race(buses: list[NatsBus], racers: list[Racer]) -> list[Granted | Refused]:
    """All at once, over several connections; each connection carries one question at a time."""
    replies: list[Granted | Refused] = []
    waiting = list(racers)

    async def lane(bus: NatsBus) -> None:
        while waiting:
            replies.append(await waiting.pop().ask(bus))

    async with asyncio.TaskGroup() as group:
        for bus in buses:
            group.create_task(lane(bus))
    return replies


async def test_of_200_devices_that_race_for_one_invite_exactly_one_joins_each_time(hub: Daemon):
    assert hub.enroller is not None
    async with strangers(hub, 24) as buses:
        for round_number in range(1, 4):
            invite = await invited(hub.home)
            replies = await race(buses, [Racer(hub, invite, f"r{number}") for number in range(200)])
            assert outcomes(replies) == {"granted": 1, "E_INVITE_USED": 199}
            assert hub.enroller.counts["alarm"] == 199 * round_number


async def test_an_invite_for_many_is_good_for_exactly_so_many_and_each_gets_a_name_of_its_own(hub: Daemon):
    async with strangers(hub, 24) as buses:
        invite = await invited(hub.home, uses=7)
        replies = await race(buses, [Racer(hub, invite, "laptop") for _ in range(40)])
    assert outcomes(replies) == {"granted": 7, "E_INVITE_USED": 33}
    names = {read_certificate(reply.certificate).name for reply in replies if isinstance(reply, Granted)}
    assert names == {"laptop", *(f"laptop-{number}" for number in range(2, 8))}
    assert hub.enroller is not None
    assert hub.enroller.counts["alarm"] == 0  # it is meant to be shared


async def test_the_same_keys_get_the_same_certificate_however_often_they_ask(hub: Daemon):
    async with strangers(hub, 4) as buses:
        racer = Racer(hub, await invited(hub.home), "nas")
        replies = await race(buses, [racer] * 12)
    assert outcomes(replies) == {"granted": 12}
    assert len({reply.certificate for reply in replies if isinstance(reply, Granted)}) == 1


async def test_the_longest_name_may_be_taken_too(hub: Daemon):
    async with strangers(hub) as [bus]:
        invite = await invited(hub.home, uses=2)
        names = []
        for _ in range(2):
            reply = await Racer(hub, invite, "n" * 48).ask(bus)
            assert isinstance(reply, Granted)
            names.append(read_certificate(reply.certificate).name)
    assert names[0] == "n" * 48
    assert names[1].startswith("nnnn")
    assert names[1] != names[0]


async def test_a_copied_invite_raises_an_alarm_that_names_both_devices(
    hub: Daemon, caplog: pytest.LogCaptureFixture
):
    import hashlib

    async with strangers(hub) as [bus]:
        invite = await invited(hub.home)
        first, second = Racer(hub, invite, "nas"), Racer(hub, invite, "thief")
        assert outcomes([await first.ask(bus)]) == {"granted": 1}
        with caplog.at_level(logging.WARNING):
            assert outcomes([await second.ask(bus)]) == {"E_INVITE_USED": 1}
    [alarm] = [record.getMessage() for record in caplog.records if "ALARM" in record.getMessage()]
    for racer in (first, second):
        assert hashlib.sha256(racer.sig.public + racer.bus.public).hexdigest()[:16] in alarm


async def test_a_device_whose_answer_was_lost_gets_it_after_the_invite_expired_and_nobody_else_does(
    tmp_path: Path,
):
    clock = MovedClock()
    async with running(found(tmp_path / "hub"), clock=clock) as hub, strangers(hub) as [bus]:
        invite = await invited(hub.home, uses=2, ttl_s=60)
        first, late = Racer(hub, invite, "nas"), Racer(hub, invite, "late")
        granted = await first.ask(bus)
        clock.off_s = 61.0
        again = await first.ask(bus)
        assert isinstance(granted, Granted)
        assert isinstance(again, Granted)
        assert again.certificate == granted.certificate
        assert outcomes([await late.ask(bus)]) == {"E_INVITE_EXPIRED": 1}


async def test_a_device_that_was_removed_gets_no_new_credentials_by_its_old_invite(hub: Daemon):
    async with strangers(hub) as [bus]:
        racer = Racer(hub, await invited(hub.home), "nas")
        assert outcomes([await racer.ask(bus)]) == {"granted": 1}
        async with connect_home(hub.home, role="admin") as swarm:
            await swarm.endpoint.call("enroll", RevokeNode(node="nas"), timeout_s=10)
        assert outcomes([await racer.ask(bus)]) == {"E_REVOKED": 1}


async def test_a_withdrawn_invite_is_refused_as_such_and_no_alarm_is_raised(hub: Daemon):
    async with strangers(hub) as [bus]:
        invite = await invited(hub.home, uses=3)
        before = Racer(hub, invite, "before")
        assert outcomes([await before.ask(bus)]) == {"granted": 1}
        async with connect_home(hub.home, role="admin") as swarm:
            reply = await swarm.endpoint.call("enroll", RevokeInvite(invite=invite.invite), timeout_s=5)
        assert reply.data == {"stopped": 2}
        assert outcomes([await Racer(hub, invite, "after").ask(bus)]) == {"E_INVITE_REVOKED": 1}
        assert outcomes([await before.ask(bus)]) == {"granted": 1}
    assert hub.enroller is not None
    assert hub.enroller.counts["alarm"] == 0


async def test_what_proves_nothing_is_counted_and_not_answered(hub: Daemon):
    assert hub.enroller is not None
    counts = hub.enroller.counts
    async with strangers(hub) as [bus]:
        racer = Racer(hub, await invited(hub.home), "nas")
        raw = racer.sent.raw
        subject = subjects.enrol_request(racer.invite.invite_id.hex())
        for code, bad in (
            ("E_MAGIC", b"\x00" * len(raw)),
            ("E_DECRYPT", raw[:-1] + bytes([raw[-1] ^ 1])),
            ("E_INVITE_UNKNOWN", raw[:4] + b"nowhere!" + raw[12:]),
        ):
            await bus.publish(subject, bad, reply=f"{bus.inbox_prefix}.x")
            await until(code, lambda code=code: counts[code] == 1)
        reply = await racer.ask(bus)  # and the invite is as good as it was
        assert isinstance(reply, Granted)
    assert hub._refused() >= 3


# --- the command's side -------------------------------------------------------------------------------------------------------


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"hub"}


async def test_a_device_joins_and_its_home_is_a_member(hub: Daemon, tmp_path: Path):
    invite = await invited(hub.home)
    home = Home(tmp_path / "nas")
    node = await join_swarm(home, invite.token, node_name="nas")
    assert (node.name, node.roles, node.swarm) == ("nas", ["agent", "client"], "office")
    async with connect_home(home) as swarm:
        assert swarm.membership.certificate.name == "nas"
    assert leftovers(tmp_path) == {"nas"}
    assert home.problems() == []


async def test_two_joins_of_one_home_at_once_make_one_member(hub: Daemon, tmp_path: Path):
    home = Home(tmp_path / "nas")
    invite = await invited(hub.home, uses=2)

    async def join() -> str:
        try:
            await join_swarm(home, invite.token, node_name="nas")
        except HomeBusy:
            return "busy"
        return "joined"

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(join()) for _ in range(3)]
    assert sorted(task.result() for task in tasks) == ["busy", "busy", "joined"]
    assert Membership.load(home).certificate.name == "nas"


class Killed(BaseException):
    """Stands for the power cut: nothing that the command does after it happens."""


@pytest.mark.parametrize("point", ["keys", "asked", "answered", "written", "moved"])
async def test_a_device_that_dies_while_joining_joins_by_the_same_command_with_the_same_keys(
    hub: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
):
    home = Home(tmp_path / "nas")
    invite = await invited(hub.home)
    place = joining._kept_place(home, decode_invite(invite.token))
    kept: list[bytes] = []

    def die(*_arguments: Any, **_options: Any) -> Any:
        kept.append(place.read_bytes())
        raise Killed

    with monkeypatch.context() as patch:
        if point == "keys":
            patch.setattr(joining, "_where", die)
        elif point == "asked":

            async def ask(bus: Any, *_rest: Any) -> Any:
                invite_, sent = _rest[0], _rest[3]
                await bus.request(subjects.enrol_request(invite_.invite_id.hex()), sent.raw, timeout_s=10)
                die()

            patch.setattr(joining, "_ask", ask)
        elif point == "answered":
            patch.setattr(joining, "_write", die)
        elif point == "written":
            patch.setattr(Home, "save", die)
        else:
            patch.setattr(Path, "replace", die_at_move(Path.replace, home.path, die))
        with pytest.raises(Killed):
            await join_swarm(home, invite.token, node_name="nas")
    assert not home.exists
    # what a real power cut leaves and a `finally` here has cleaned away
    (tmp_path / ".nas.new" / "keys").mkdir(parents=True)
    (tmp_path / ".nas.new" / "keys" / "sign.key").write_bytes(b"half")

    await join_swarm(home, invite.token, node_name="nas")
    seeds = b"".join(bytes.fromhex(home.read(f"keys/{name}.key").decode()) for name in ("sign", "box", "bus"))
    assert kept == [seeds]
    assert leftovers(tmp_path) == {"nas"}
    assert hub.enroller is not None
    assert hub.enroller.counts["alarm"] == 0


def die_at_move(real: Any, target: Path, die: Any) -> Any:
    def replace(self: Path, to: Path) -> Any:
        return die() if Path(to) == target else real(self, to)

    return replace


async def test_a_full_disk_at_the_end_of_joining_is_named_and_the_invite_still_works(
    hub: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = Home(tmp_path / "nas")
    invite = await invited(hub.home)

    def full(_home: Home, _node: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Home, "save", full)
        with pytest.raises(DiskFull):
            await join_swarm(home, invite.token)
    await join_swarm(home, invite.token)
    assert home.exists


async def refused(home: Home, token: str, **options: Any) -> MeshError:
    with pytest.raises(MeshError) as caught:
        await join_swarm(home, token, **options)
    assert caught.value.hint
    assert not home.exists
    return caught.value


async def test_every_invite_that_is_not_good_says_why_and_what_to_do(hub: Daemon, tmp_path: Path):
    home = Home(tmp_path / "nas")
    invite = await invited(hub.home)
    good = decode_invite(invite.token)
    assert isinstance(await refused(home, "swarm1abc"), InviteProblem)
    now = int(MovedClock().now())
    assert isinstance(await refused(home, encode_invite(good._replace(expiry=now - 3600))), InviteExpired)
    assert (await refused(home, encode_invite(good._replace(swarm_id=b"\x01" * 32)))).code == "E_FOREIGN"
    assert isinstance(await refused(home, encode_invite(good._replace(bus_pin=b"\x01" * 16))), PinMismatch)
    assert isinstance(await refused(home, invite.token, node_name="my laptop"), BadSettings)
    assert leftovers(tmp_path) <= {path.name for path in tmp_path.glob(".nas.join-*")}
    await join_swarm(home, invite.token)


async def test_an_invite_that_the_swarm_does_not_know_gets_no_answer_and_a_hint(
    hub: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(joining, "_ASK_S", (0.1, 0.1, 0.3))
    good = decode_invite((await invited(hub.home)).token)
    error = await refused(Home(tmp_path / "nas"), encode_invite(good._replace(invite_id=b"unknown!")))
    assert (error.code, "zwerm up" in error.hint) == ("E_NO_ANSWER", True)


async def test_nobody_at_the_address_is_unreachable(
    hub: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = NatsBus.connect

    async def quick(*arguments: Any, **options: Any) -> NatsBus:
        return await real(*arguments, **{**options, "timeout_s": 1.0})

    monkeypatch.setattr(NatsBus, "connect", quick)
    token = (await invited(hub.home)).token
    error = await refused(Home(tmp_path / "nas"), token, server="127.0.0.1:9")
    assert isinstance(error, BusUnreachable)


@pytest.mark.parametrize("part", ["charter", "reply"])
async def test_an_answer_that_was_changed_on_the_way_is_refused_and_the_keys_are_kept(
    hub: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
):
    home = Home(tmp_path / "nas")
    invite = await invited(hub.home)
    real = NatsBus.request

    async def changed(self: NatsBus, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        raw = await real(self, subject, data, timeout_s=timeout_s)
        if (subject == subjects.CHARTER) == (part == "charter"):
            raw = raw[:-1] + bytes([raw[-1] ^ 1])
        return raw

    with monkeypatch.context() as patch:
        patch.setattr(NatsBus, "request", changed)
        error = await refused(home, invite.token)
    assert isinstance(error, JoinRefused)
    await join_swarm(home, invite.token)  # the burn, if there was one, is still ours


async def test_a_list_of_invites_tells_what_became_of_each(hub: Daemon):
    from protocol.messages import ListInvites

    async with strangers(hub) as [bus]:
        used = await invited(hub.home, label="used")
        await Racer(hub, used, "nas").ask(bus)
        part = await invited(hub.home, uses=3, role="client", label="part")
        await Racer(hub, part, "phone").ask(bus)
    async with connect_home(hub.home, role="admin") as swarm:
        invites = (await swarm.endpoint.call("enroll", ListInvites(), timeout_s=5)).data["invites"]
    shown = {
        entry["label"]: (entry["state"], entry["used"], entry["uses"], entry["role"]) for entry in invites
    }  # type: ignore[union-attr,index]
    assert shown == {"used": ("used", 1, 1, "agent"), "part": ("open", 1, 3, "client")}


async def test_a_flood_of_requests_is_dropped_and_counted_beyond_what_may_wait(hub: Daemon):
    assert hub.enroller is not None
    for number in range(600):
        hub.enroller._on_request(Msg("enroll.req.00", b"", f"_E.{number}"))
    assert hub.enroller.counts["E_RATE"] == 88
    await until("all refused", lambda: hub.enroller is not None and not hub.enroller._jobs)
