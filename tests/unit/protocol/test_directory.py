from __future__ import annotations

import pytest

from protocol.certificate import Certificate, verify_certificate
from protocol.directory import Directory, Member
from protocol.errors import Rejected
from protocol.limits import GRANTS_KEPT
from tests.support.wire_world import NOW_MS, NOW_S, SERIAL, Door, Node, World, bus_text

WORLD = World()
NODE = Node("laptop")


def certificate(serial: bytes = SERIAL, now_s: int = NOW_S, **more: object) -> Certificate:
    raw = WORLD.certificate(NODE, serial=serial, now_s=now_s, **more)
    return verify_certificate(raw, WORLD.charter, now_s)


def put(directory: Directory, made: Certificate, now_ms: int = NOW_MS) -> Member:
    return directory.put(made, bus_text("laptop"), now_ms)


def test_a_certificate_makes_a_member_that_is_found_by_node_and_by_bus_key() -> None:
    directory = Directory()
    member = put(directory, certificate(roles=("agent", "client"), zones=[1], invite=b"invite01"))
    assert directory.get(NODE.id) is directory.by_bus_key(bus_text("laptop")) is member
    assert list(directory) == [member]
    assert len(directory) == 1
    assert (member.node_id, member.name, member.serial) == (NODE.id, "laptop", SERIAL)
    assert (member.roles, member.zones, member.clearance) == ({"agent", "client"}, {1}, 1)
    assert member.expires_ms == (NOW_S - 30 + 7 * 86_400) * 1000
    assert member.public.raw == NODE.sig.public
    assert directory.get(bytes(16)) is directory.by_bus_key("U") is None


def test_a_removed_member_is_unknown() -> None:
    directory = Directory()
    put(directory, certificate())
    directory.remove(NODE.id)
    directory.remove(NODE.id)
    assert directory.get(NODE.id) is directory.by_bus_key(bus_text("laptop")) is None


def test_the_same_certificate_twice_changes_nothing() -> None:
    directory = Directory()
    put(directory, certificate())
    member = put(directory, certificate(), NOW_MS + 5000)
    assert member.previous is None
    assert len(member.grants) == 1


@pytest.mark.requirement("CERT-7")
def test_the_certificate_before_stays_good_for_a_minute() -> None:
    directory = Directory()
    member = put(directory, certificate())
    assert put(directory, certificate(b"serial02", NOW_S + 100), NOW_MS + 100_000) is member
    assert member.serial == b"serial02"
    assert member.in_grace(SERIAL, NOW_MS + 160_000) is member.grants[SERIAL]
    assert member.in_grace(SERIAL, NOW_MS + 160_001) is None
    assert member.in_grace(b"serial99", NOW_MS + 100_000) is None


@pytest.mark.requirement("CERT-7")
def test_a_message_under_the_certificate_before_is_accepted_in_that_minute_unless_that_one_is_over() -> None:
    door = Door()
    renewed = door.member.current.__class__(
        b"serial02", not_before_ms=NOW_MS, expires_ms=NOW_MS + 10_000_000, roles=door.roles
    )
    door.member.enter(renewed, NOW_MS)
    sealer = door.sealer()
    assert door.verify(door.seal(sealer, now_ms=NOW_MS + 60_000), now_ms=NOW_MS + 60_000)
    with pytest.raises(Rejected) as caught:
        door.verify(door.seal(sealer, now_ms=NOW_MS + 60_001), now_ms=NOW_MS + 60_001)
    assert caught.value.code == "E_REVOKED"
    door.member.previous.expires_ms = NOW_MS + 5
    with pytest.raises(Rejected) as caught:
        door.verify(door.seal(sealer, now_ms=NOW_MS + 5), now_ms=NOW_MS + 5)
    assert caught.value.code == "E_CERT_EXPIRED"


@pytest.mark.requirement("CERT-7")
def test_an_older_certificate_that_comes_late_does_not_replace_the_newer_one() -> None:
    directory = Directory()
    put(directory, certificate(b"serial02", NOW_S + 100), NOW_MS + 100_000)
    member = put(directory, certificate(), NOW_MS + 200_000)
    assert member.serial == b"serial02"
    assert member.in_grace(SERIAL, NOW_MS + 200_000) is None
    assert member.grants[SERIAL].superseded_ms == (NOW_S + 70) * 1000


def test_a_renewal_may_change_name_rights_and_bus_key() -> None:
    directory = Directory()
    put(directory, certificate())
    raw = WORLD.certificate(NODE, serial=b"serial02", now_s=NOW_S + 100, roles=("client",))
    directory.put(verify_certificate(raw, WORLD.charter, NOW_S + 100), bus_text("new"), NOW_MS + 100_000)
    member = directory.by_bus_key(bus_text("new"))
    assert member is not None
    assert member.roles == {"client"}
    assert directory.by_bus_key(bus_text("laptop")) is None


@pytest.mark.requirement("CERT-8")
@pytest.mark.parametrize(
    "what",
    [
        {"node": NODE.id},
        {"serial": SERIAL},
        {"invite": b"invite01"},
        {"issuer": WORLD.charter.body.issuers[0].id},
    ],
    ids=lambda what: next(iter(what)),
)
def test_a_revocation_strikes_whoever_is_there_and_whoever_comes_later(what: dict[str, bytes]) -> None:
    made = certificate(invite=b"invite01")
    directory = Directory()
    member = put(directory, made)
    assert directory.revoke(NOW_MS, **what) == [member]
    assert member.revoked
    assert directory.revoke(NOW_MS, **what) == []
    later = Directory()
    assert later.revoke(NOW_MS, **what) == []
    assert put(later, made).revoked


@pytest.mark.requirement("CERT-8")
def test_a_revoked_certificate_does_not_stop_its_successor() -> None:
    directory = Directory()
    member = put(directory, certificate())
    directory.revoke(NOW_MS, serial=SERIAL)
    put(directory, certificate(b"serial02", NOW_S + 100), NOW_MS + 1000)
    assert not member.revoked
    assert member.in_grace(SERIAL, NOW_MS + 1000) is None


@pytest.mark.requirement("CERT-8")
def test_a_message_of_a_revoked_member_is_refused() -> None:
    door = Door()
    door.directory.revoke(NOW_MS, node=door.member.node_id)
    with pytest.raises(Rejected) as caught:
        door.verify(door.seal())
    assert caught.value.code == "E_REVOKED"


def test_the_archive_of_a_node_is_bounded_and_keeps_the_newest() -> None:
    directory = Directory()
    for number in range(GRANTS_KEPT + 10):
        member = put(directory, certificate(number.to_bytes(8, "big"), NOW_S + number), NOW_MS)
    assert len(member.grants) == GRANTS_KEPT
    assert member.serial == (GRANTS_KEPT + 9).to_bytes(8, "big")
    assert bytes(8) not in member.grants


def test_a_member_with_a_bad_key_is_not_made() -> None:
    with pytest.raises(Rejected) as caught:
        Member(bytes(16), bytes(32), SERIAL, expires_ms=0, roles=frozenset())
    assert caught.value.code == "E_KEY"
