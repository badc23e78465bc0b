"""Every role against every subject, on a real server: the table below is the design's, not the program's."""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque

import pytest

from mesh import bus_jwt
from mesh.bus_accounts import ROLES, found_accounts
from mesh.errors import BusRefused, BusUnreachable, KeyFormat, PinMismatch
from mesh.nkeys import NKey
from mesh.pki import found_ca
from mesh.workspace import WorkspaceSizes
from mesh.workspace_nats import ensure_streams
from tests.support.nats import CLOCK, Inbox, Site, secured_server

pytestmark = pytest.mark.integration

RUN = "a" * 26
SHA = "0" * 64
MEMBERS = {"agent", "coordinator", "client", "observer", "enroller", "admin"}
STORERS = {"agent", "coordinator", "client", "admin"}
JOURNAL_READERS = {"coordinator"}
NOBODY: set[str] = set()

# subject -> who may publish it; {me} is the sender's own bus key, {you} another member's.
PUBLISH = {
    "s.ann.text.count": {"coordinator"},
    "s.to.{you}": {"coordinator"},
    "s.bid." + RUN + ".{me}": {"agent"},
    "s.bid." + RUN + ".{you}": NOBODY,
    "s.work." + RUN + ".{me}": {"agent"},
    "s.work." + RUN + ".{you}": NOBODY,
    "s.offer.{me}": {"agent"},
    "s.offer.{you}": NOBODY,
    "s.hb.{me}": MEMBERS,
    "s.hb.{you}": NOBODY,
    "s.hb.*": NOBODY,
    "s.req.runs.{me}": MEMBERS,
    "s.req.enroll.{me}": MEMBERS,
    "s.req.runs.{you}": NOBODY,
    "s.ev." + RUN: {"coordinator"},
    "s.ctl": {"enroller", "admin"},
    "s.j." + RUN: {"coordinator"},
    "s.art." + SHA + ".{me}.0": STORERS,
    "s.art." + SHA + ".{you}.0": NOBODY,
    "s.cert.0011223344556677": {"enroller"},
    "s.inv.0011223344556677": {"enroller", "admin"},
    "s.burn.0011223344556677.0": {"enroller", "admin"},
    "_I.{you}.x": NOBODY,
    "_I.{me}.x": NOBODY,
    "_E.x": NOBODY,
    "enroll.charter": NOBODY,
    "enroll.req.0011223344556677": NOBODY,
    "$KV.BOARD.x": {"coordinator"},
    "$KV.SWARM.x": {"enroller"},
    "$JS.API.INFO": NOBODY,
    "$JS.API.STREAM.NAMES": NOBODY,
    "$JS.API.STREAM.CREATE.JOURNAL": {"enroller"},
    "$JS.API.STREAM.CREATE.OTHER": NOBODY,
    "$JS.API.STREAM.UPDATE.JOURNAL": {"enroller"},
    "$JS.API.STREAM.DELETE.JOURNAL": NOBODY,
    "$JS.API.STREAM.PURGE.JOURNAL": NOBODY,
    "$JS.API.STREAM.PURGE.ART": {"coordinator"},
    "$JS.API.STREAM.MSG.DELETE.ART": NOBODY,
    "$JS.API.STREAM.MSG.GET.JOURNAL": JOURNAL_READERS,
    "$JS.API.STREAM.INFO.JOURNAL": {"coordinator", "enroller", "admin"},
    "$JS.API.STREAM.SNAPSHOT.JOURNAL": NOBODY,
    "$JS.API.CONSUMER.CREATE.JOURNAL": NOBODY,
    "$JS.API.CONSUMER.CREATE.ART.c": NOBODY,
    "$JS.API.CONSUMER.DURABLE.CREATE.ART.c": NOBODY,
    "$JS.API.CONSUMER.MSG.NEXT.ART.c": NOBODY,
    "$JS.API.DIRECT.GET.JOURNAL": JOURNAL_READERS,
    "$JS.API.DIRECT.GET.JOURNAL.s.j." + RUN: JOURNAL_READERS,
    "$JS.API.DIRECT.GET.ART": NOBODY,
    "$JS.API.DIRECT.GET.ART.s.art." + SHA + ".{you}.0": STORERS,
    "$JS.API.DIRECT.GET.CERTS.s.cert.0011223344556677": MEMBERS,
    "$JS.API.DIRECT.GET.CERTS": {"coordinator", "enroller", "admin"},
    "$JS.API.DIRECT.GET.INVITES": {"enroller", "admin"},
    "$JS.API.DIRECT.GET.INVITES.s.inv.0011223344556677": {"enroller", "admin"},
    "$JS.API.DIRECT.GET.KV_BOARD.$KV.BOARD.x": {"coordinator"},
    "$JS.API.DIRECT.GET.KV_SWARM.$KV.SWARM.x": MEMBERS,
    "$SYS.REQ.SERVER.PING": {"bus"},
    "$SYS.REQ.SERVER.PING.HEALTHZ": {"bus", "registrar"},
    "$SYS.REQ.CLAIMS.UPDATE": {"registrar"},
    "$SYS.REQ.CLAIMS.DELETE": NOBODY,
    "anything.else": NOBODY,
}

# pattern -> who may subscribe to it.
SUBSCRIBE = {
    ">": NOBODY,
    "s.>": NOBODY,
    "*.*": NOBODY,
    "s.ann.>": {"agent"},
    "s.ann.text.count": {"agent"},
    "s.to.{me}": {"agent", "coordinator"},
    "s.to.{you}": NOBODY,
    "s.to.*": NOBODY,
    "s.bid.>": {"coordinator"},
    "s.bid.*.*": {"coordinator"},
    "s.bid." + RUN + ".{me}": {"coordinator"},
    "s.work.>": {"coordinator"},
    "s.offer.*": {"coordinator", "observer", "admin"},
    "s.hb.*": {"coordinator", "observer", "admin"},
    "s.req.runs.*": {"coordinator"},
    "s.req.enroll.*": {"enroller"},
    "s.req.>": NOBODY,
    "_I.{me}.>": set(ROLES),
    "_I.{me}.abc.*": set(ROLES),
    "_I.{you}.>": NOBODY,
    "_I.>": NOBODY,
    "_I.*.>": NOBODY,
    "_E.*": NOBODY,
    "_R_.>": NOBODY,
    "s.ev.*": {"client", "observer", "admin"},
    "s.ctl": MEMBERS,
    "s.j.*": NOBODY,
    "s.art.>": NOBODY,
    "s.cert.*": NOBODY,
    "s.inv.*": NOBODY,
    "s.burn.>": NOBODY,
    "$KV.>": NOBODY,
    "$JS.>": NOBODY,
    "$SYS.>": NOBODY,
    "enroll.charter": {"enroller"},
    "enroll.req.*": {"enroller"},
}


@pytest.fixture
async def site(tmp_path):
    async with secured_server(tmp_path) as made:
        yield made


def refused(bus, what):
    return {text.split('"')[1] for text in bus.recent_refusals if what in text}


def mine(subject, me, you):
    return subject.replace("{me}", me).replace("{you}", you)


@pytest.mark.requirement("BUS-7")
@pytest.mark.parametrize("role", ROLES)
async def test_a_role_publishes_exactly_what_the_table_says(site, role):
    key, you = site.key(), site.key().public
    bus = await site.connect(role, key)
    bus.recent_refusals = deque()
    for subject in PUBLISH:
        await bus.publish(mine(subject, key.public, you), b"")
    await bus.flush()
    said_no = refused(bus, "for publish")
    answer = {s: mine(s, key.public, you).lower() not in said_no for s in PUBLISH}
    assert answer == {s: role in allowed for s, allowed in PUBLISH.items()}


@pytest.mark.requirement("BUS-7")
@pytest.mark.parametrize("role", ROLES)
async def test_a_role_subscribes_exactly_to_what_the_table_says(site, role):
    key, you = site.key(), site.key().public
    bus = await site.connect(role, key)
    bus.recent_refusals = deque()
    for pattern in SUBSCRIBE:
        await bus.subscribe(mine(pattern, key.public, you), Inbox())
    await bus.flush()
    said_no = refused(bus, "for subscription")
    answer = {p: mine(p, key.public, you).lower() not in said_no for p in SUBSCRIBE}
    assert answer == {p: role in allowed for p, allowed in SUBSCRIBE.items()}


@pytest.mark.requirement("BUS-2")
async def test_a_joiner_may_ask_for_charter_and_enrolment_and_nothing_else(site):
    bus = await site.connect_joiner()
    bus.recent_refusals = deque()
    key = site.key().public
    subjects = [mine(subject, key, key) for subject in PUBLISH]
    for subject in subjects:
        await bus.publish(subject, b"")
    await bus.flush()
    allowed = {s for s in subjects if s.lower() not in refused(bus, "for publish")}
    assert allowed == {"enroll.charter", "enroll.req.0011223344556677"}
    # Not `_E.>`: to the server a trailing `*` allows a trailing `>`, which here covers nothing more.
    for pattern in (">", "_E", "*.*", "_I.>", "_R_.>"):
        bus.recent_refusals.clear()
        await bus.subscribe(pattern, Inbox())
        await bus.flush()
        assert refused(bus, "for subscription") == {pattern.lower()}


async def test_a_member_named_with_wildcards_gets_nothing_by_its_name(site):
    attacker = await site.connect("agent", name="*")
    victim_key = site.key()
    victim = await site.connect("agent", victim_key)
    coordinator = await site.connect("coordinator")
    heard, orders = Inbox(), Inbox()
    for pattern in ("s.to.*", "s.to.>", "_I.*.>", f"s.to.{victim_key.public}"):
        await attacker.subscribe(pattern, heard)
    await victim.subscribe(f"s.to.{victim_key.public}", orders)
    await attacker.flush()
    await victim.flush()
    await attacker.publish(f"s.to.{victim_key.public}", b"forged")
    await attacker.flush()
    await coordinator.publish(f"s.to.{victim_key.public}", b"real")
    assert (await orders.next()).data == b"real"
    await attacker.flush()
    assert heard.empty()
    assert orders.empty()


@pytest.mark.parametrize(
    "extra",
    [
        {"pub": {"allow": [">"]}},
        {"sub": {"allow": [">"]}},
        {"pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1},
        {"bearer_token": True},
    ],
)
async def test_a_token_that_widens_its_scope_is_refused(site, extra):
    key = site.key()
    role_key = NKey.from_seed(site.authority.role_seeds["agent"])
    jwt = bus_jwt.user_token(
        role_key,
        key.public,
        "x",
        account=site.authority.swarm_public,
        now=CLOCK.now(),
        exp=None,
        permissions=extra,
    )
    await expect_refusal(site, key, jwt)


async def expect_refusal(site, key, jwt):
    from mesh.bus_nats import NatsBus

    with pytest.raises(BusRefused) as caught:
        await NatsBus.connect([site.url], site.context(), key, jwt)
    assert caught.value.code == "E_REFUSED"
    assert caught.value.hint


async def test_a_credential_of_another_swarm_or_for_another_key_is_refused(site):
    other = found_accounts("other", os.urandom, CLOCK.now())
    key = site.key()
    await expect_refusal(site, key, other.mint_user("admin", key.public, "x", now=CLOCK.now(), exp=None))
    stolen = site.authority.mint_user("admin", site.key().public, "x", now=CLOCK.now(), exp=None)
    await expect_refusal(site, key, stolen)
    unknown = bus_jwt.user_token(
        NKey.from_seed_bytes("A", os.urandom(32)),
        key.public,
        "x",
        account=site.authority.swarm_public,
        now=CLOCK.now(),
        exp=None,
    )
    await expect_refusal(site, key, unknown)


async def test_an_expired_credential_is_refused(site):
    key = site.key()
    jwt = site.authority.mint_user("agent", key.public, "x", now=CLOCK.now() - 100, exp=CLOCK.now() - 50)
    await expect_refusal(site, key, jwt)


async def test_a_joiner_cannot_send_more_than_an_enrolment_request(site):
    joiner = await site.connect_joiner()
    enroller = await site.connect("enroller")
    inbox = Inbox()
    await enroller.subscribe("enroll.req.*", inbox)
    await enroller.flush()
    await joiner.publish("enroll.req.0011223344556677", bytes(4096))
    assert len((await inbox.next()).data) == 4096
    gone = asyncio.Event()
    joiner.on_state(lambda _state, _reason: gone.set())
    await joiner.publish("enroll.req.0011223344556677", bytes(4097))
    with pytest.raises(BusUnreachable):
        await joiner.flush(5)
    assert not joiner.connected
    assert inbox.empty()


async def test_a_flood_of_joiners_is_capped_and_members_still_get_in(site):
    joiners = [await site.connect_joiner() for _ in range(32)]
    with pytest.raises((BusRefused, BusUnreachable)):
        await site.connect_joiner()
    assert (await site.connect("agent")).connected
    await joiners[0].close()


async def test_deleting_and_overwriting_what_is_written_once_is_refused_by_the_server(site):
    # A member with every right on the account, which no role has.
    enroller = await site.connect("enroller")
    sizes = WorkspaceSizes(*[1 << 20] * 6)
    await ensure_streams(enroller, sizes)
    for subject in ("s.cert.0011223344556677", "s.burn.0011223344556677.0"):
        first = json.loads(await enroller.request(subject, b"one", timeout_s=5))
        assert first["seq"] == 1
        second = json.loads(await enroller.request(subject, b"two", timeout_s=5))
        assert "per subject" in second["error"]["description"]
    again = json.loads(
        await enroller.request(
            "$JS.API.STREAM.UPDATE.CERTS",
            json.dumps({"name": "CERTS", "subjects": ["s.cert.*"], "deny_delete": False}).encode(),
            timeout_s=5,
        )
    )
    assert "deny" in again["error"]["description"]


async def test_a_server_of_another_swarm_is_noticed_before_anything_is_sent(site, tmp_path):
    from mesh.bus_nats import NatsBus
    from mesh.tls_pin import ca_context, pinned_context

    stranger = found_ca(CLOCK.now())
    key = site.key()
    jwt = site.authority.mint_user("agent", key.public, "x", now=CLOCK.now(), exp=None)
    for context in (pinned_context(stranger.pin), ca_context(stranger.cert_der)):
        with pytest.raises(PinMismatch) as caught:
            await NatsBus.connect([site.url], context, key, jwt)
        assert caught.value.code == "E_PIN"
        assert str(site.server.port) in caught.value.message


async def test_the_pinned_connection_yields_the_ca_for_all_later_ones(site):
    from mesh.bus_nats import NatsBus
    from mesh.tls_pin import ca_context, pinned_context

    context = pinned_context(site.ca.pin)
    first = await NatsBus.connect([site.url], context)
    await first.close()
    assert context.ca_der == site.ca.cert_der
    second = await NatsBus.connect([site.url], ca_context(context.ca_der))
    await second.close()


@pytest.mark.requirement("BUS-1")
async def test_nothing_is_sent_to_a_server_that_does_not_speak_tls_first(site):
    from mesh.bus_nats import NatsBus

    received = bytearray()

    async def fake(reader, writer):
        writer.write(
            b'INFO {"server_id":"X","version":"2.15.1","headers":true,"max_payload":1048576,"nonce":"abcdefghijkl"}\r\n'
        )
        received.extend(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(fake, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    key = site.key()
    jwt = site.authority.mint_user("agent", key.public, "x", now=CLOCK.now(), exp=None)
    async with server:
        with pytest.raises(BusUnreachable) as caught:
            await NatsBus.connect([f"tls://127.0.0.1:{port}"], site.context(), key, jwt)
    assert jwt.encode() not in received
    assert b"CONNECT" not in received
    assert received[:1] == b"\x16"  # a TLS handshake and nothing else
    assert str(port) in caught.value.message


def test_a_signature_over_something_else_than_a_nonce_is_never_given():
    with pytest.raises(KeyFormat):
        NKey.from_seed_bytes("U", bytes(32)).sign_nonce("\xffswarm-env-v1\0")


def test_the_fixture_is_a_whole_site():
    assert {"authority", "ca", "server"} <= set(Site.__init__.__annotations__)
