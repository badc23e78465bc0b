from __future__ import annotations

import pytest

from protocol.envelope import (
    FLAG_JOURNAL,
    FLAG_SEALED,
    FLAG_TAINTED,
    HEADER_BYTES,
    Header,
    Sealer,
    audience_hash,
    node_id,
    open_sealed_body,
    parse_header,
)
from protocol.errors import Rejected
from protocol.limits import ENVELOPE_MAX_BYTES
from protocol.sealing import BoxKey
from protocol.signing import BACKENDS, SigningKey, prepare
from protocol.verify import Accepted, Grant, Verifier
from tests.support.wire_world import AUDIENCE, AWARD, BID, NOW_MS, RULES, SERIAL, SWARM8, Door, bus_text, seed

HASH = audience_hash(AUDIENCE)


def code_of(door: Door, raw: bytes, **more: object) -> str:
    with pytest.raises(Rejected) as caught:
        door.verify(raw, **more)
    return caught.value.code


@pytest.mark.requirement("ENV-1")
@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_a_sealed_message_is_accepted_with_all_that_it_says(backend: str) -> None:
    door = Door()
    door.member.public = prepare(door.key.public, backend)
    raw = door.seal(body=b"\x93\1\2\3", cls=1, context=b"c" * 16, flags=FLAG_TAINTED, ttl_s=7)
    accepted = door.verify(raw, bus_key=door.bus_key)
    assert isinstance(accepted, Accepted)
    assert isinstance(accepted.header, Header)
    assert accepted.body == b"\x93\1\2\3"
    assert accepted.raw is raw
    assert accepted.member is door.member
    header = accepted.header
    assert (header.type, header.cls, header.flags, header.seq, header.ttl_s) == (BID, 1, FLAG_TAINTED, 1, 7)
    assert (header.sender, header.serial, header.session) == (door.member.node_id, SERIAL, b"session1")
    assert (header.context, header.audience, header.swarm) == (b"c" * 16, HASH, SWARM8)
    assert (header.time_ms, header.length) == (NOW_MS, 4)
    assert parse_header(raw) == header


@pytest.mark.requirement("ENV-7")
def test_sequence_numbers_count_from_one_and_never_repeat() -> None:
    door = Door()
    sealer = door.sealer()
    assert [parse_header(door.seal(sealer)).seq for _ in range(3)] == [1, 2, 3]


def test_a_renewed_serial_is_used_from_the_next_message_on() -> None:
    door = Door()
    sealer = door.sealer()
    assert parse_header(door.seal(sealer)).serial == SERIAL
    sealer.serial = b"serial02"
    assert parse_header(door.seal(sealer)).serial == b"serial02"
    assert sealer.sender == node_id(door.key.public)


def test_a_sealer_makes_nothing_that_would_be_refused_for_its_form() -> None:
    door = Door()
    with pytest.raises(Rejected) as caught:
        door.seal(body=bytes(ENVELOPE_MAX_BYTES - 173))
    assert caught.value.code == "E_LONG"
    assert len(door.seal(body=bytes(ENVELOPE_MAX_BYTES - 174))) == ENVELOPE_MAX_BYTES
    with pytest.raises(ValueError, match="16 bytes"):
        door.seal(context=b"short")
    with pytest.raises(ValueError, match="8 bytes"):
        Sealer(door.key, SWARM8, SERIAL, b"short")
    with pytest.raises(ValueError, match="8 bytes"):
        Verifier(b"short", door.directory, RULES)


@pytest.mark.parametrize(
    ("raw", "code"), [(b"", "E_SHORT"), (bytes(173), "E_SHORT"), (bytes(174), "E_MAGIC")]
)
def test_a_header_is_read_from_an_envelope_only(raw: bytes, code: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse_header(raw)
    assert caught.value.code == code


@pytest.mark.requirement("ENV-9")
def test_each_test_comes_before_those_behind_it() -> None:
    """Every pair of neighbours: a message that fails both gets the code of the first."""
    door = Door()
    good = bytearray(door.seal())

    def spoilt(*changes: tuple[int, bytes]) -> bytes:
        raw = bytearray(good)
        for at, value in changes:
            raw[at : at + len(value)] = value
        return bytes(raw)

    magic, version, flags, reserved = (0, b"\0"), (2, b"\2"), (3, b"\x80"), (7, b"\1")
    swarm, kind, audience, length = (14, b"other-01"), (4, b"\x77\x77"), (74, b"x"), (109, b"\xff")
    time, sender, serial, cls = (62, bytes(8)), (22, b"x"), (38, b"x"), (6, b"\3")
    seq, signature = (54, bytes(8)), (len(good) - 1, b"\xff")
    ladder = [
        ("E_MAGIC", magic),
        ("E_VERSION", version),
        ("E_FLAGS", flags),
        ("E_RESERVED", reserved),
        ("E_SWARM", swarm),
        ("E_TYPE", kind),
        ("E_AUD", audience),
        ("E_LEN", length),
        ("E_TIME", time),
        ("E_SENDER", sender),
        ("E_REVOKED", serial),
        ("E_CLASS", cls),
        ("E_REPLAY", seq),
        ("E_SIG", signature),
    ]
    for place, (code, _) in enumerate(ladder):
        assert code_of(door, spoilt(*(change for _, change in ladder[place:]))) == code
    assert code_of(door, spoilt(kind, audience)[:173]) == "E_SHORT"
    assert code_of(door, bytes(ENVELOPE_MAX_BYTES + 1)) == "E_LONG"


@pytest.mark.requirement("ENV-9")
def test_an_expired_certificate_comes_before_a_missing_role_and_that_before_the_class() -> None:
    door = Door()
    award = door.seal(type=AWARD, cls=3)
    door.member.expires_ms = NOW_MS
    assert code_of(door, award) == "E_CERT_EXPIRED"
    door.member.expires_ms = NOW_MS + 1
    assert code_of(door, award) == "E_ROLE"
    door.member.roles = frozenset({"agent", "coordinator"})
    assert code_of(door, award) == "E_CLASS"


def test_a_body_larger_than_its_type_allows_is_refused() -> None:
    door = Door()
    assert door.verify(door.seal(body=bytes(4096)))
    assert code_of(door, door.seal(body=bytes(4097))) == "E_LONG"
    # ... before anybody looks at whom it is for.
    assert code_of(door, door.seal(body=bytes(4097)), audience=bytes(16)) == "E_LONG"


def test_a_type_is_refused_where_its_subject_does_not_carry_it() -> None:
    door = Door()
    assert code_of(door, door.seal(), types=frozenset({AWARD})) == "E_TYPE"
    # Allowed on the subject, and yet no rule: an error of the caller refuses too.
    assert code_of(door, door.seal(type=0x0999), types=frozenset({0x0999})) == "E_TYPE"


@pytest.mark.requirement("ENV-11")
def test_a_type_may_have_a_shorter_life_than_the_longest() -> None:
    door = Door(roles=frozenset({"coordinator"}))
    assert door.verify(door.seal(type=AWARD, ttl_s=60))
    assert code_of(door, door.seal(type=AWARD, ttl_s=61)) == "E_TIME"


@pytest.mark.requirement("ENV-18")
@pytest.mark.requirement("SUB-4")
def test_the_bus_key_of_the_subject_must_be_the_senders() -> None:
    door = Door()
    sealer = door.sealer()
    assert code_of(door, door.seal(sealer), bus_key=bus_text("somebody else")) == "E_SENDER"
    assert door.verify(door.seal(sealer), bus_key=door.bus_key)


@pytest.mark.requirement("ENV-12")
def test_classes_and_zones_that_may_not_travel_are_refused() -> None:
    door = Door(zones=frozenset({2}), clearance=0)
    assert code_of(door, door.seal(cls=1)) == "E_CLASS"
    assert code_of(door, door.seal(zone=1)) == "E_CLASS"
    assert door.verify(door.seal(zone=2))
    cleared = Door(clearance=3)
    assert cleared.verify(cleared.seal(cls=1))
    for cls in (2, 3, 255):
        assert code_of(cleared, cleared.seal(cls=cls)) == "E_CLASS"
        assert code_of(cleared, cleared.seal(cls=cls, flags=FLAG_SEALED)) == "E_CLASS"


@pytest.mark.requirement("ENV-13")
def test_a_message_is_accepted_once() -> None:
    door = Door()
    raw = door.seal()
    door.verify(raw)
    assert code_of(door, raw) == "E_REPLAY"
    # Another receiver has its own memory.
    other = Verifier(SWARM8, door.directory, RULES)
    assert other.verify(raw, audience=HASH, types=RULES.keys(), now_ms=NOW_MS)


@pytest.mark.requirement("ENV-13")
def test_a_forged_message_does_not_move_the_window() -> None:
    door = Door()
    sealer = door.sealer()
    first = door.seal(sealer)
    forged = bytearray(door.seal(sealer))
    forged[54:62] = (1 << 60).to_bytes(8, "big")
    assert code_of(door, bytes(forged)) == "E_SIG"
    assert door.verify(first)


@pytest.mark.requirement("ENV-14")
def test_a_sender_may_have_256_sessions_until_they_are_over() -> None:
    door = Door()
    for number in range(256):
        door.verify(door.seal(door.sealer(number.to_bytes(8, "big")), ttl_s=10))
    late = door.sealer(b"session-")
    assert code_of(door, door.seal(late, ttl_s=10)) == "E_RATE"
    # A known session goes on.
    known = door.sealer(bytes(8))
    door.seal(known)
    assert door.verify(door.seal(known, ttl_s=10))
    over = NOW_MS + 40_001
    assert door.verify(door.seal(late, now_ms=over), now_ms=over)


@pytest.mark.requirement("ENV-15")
def test_a_sender_that_says_too_much_has_to_wait() -> None:
    door = Door()
    door.verifier = Verifier(SWARM8, door.directory, RULES, rate_per_s=2, burst=3)
    sealer = door.sealer()
    for _ in range(3):
        door.verify(door.seal(sealer))
    assert code_of(door, door.seal(sealer)) == "E_RATE"
    assert code_of(door, door.seal(sealer), now_ms=NOW_MS + 499) == "E_RATE"
    assert door.verify(door.seal(sealer), now_ms=NOW_MS + 500)
    assert code_of(door, door.seal(sealer), now_ms=NOW_MS + 500) == "E_RATE"
    # A clock that goes back gives nothing and takes nothing; the bucket never holds more than its size.
    assert code_of(door, door.seal(sealer), now_ms=NOW_MS) == "E_RATE"
    for _ in range(3):
        door.verify(door.seal(sealer), now_ms=NOW_MS + 20_000)
    assert code_of(door, door.seal(sealer), now_ms=NOW_MS + 20_000) == "E_RATE"


@pytest.mark.requirement("ENV-15")
def test_forged_messages_are_paid_for_too() -> None:
    door = Door()
    door.verifier = Verifier(SWARM8, door.directory, RULES, rate_per_s=1, burst=5)
    sealer = door.sealer()
    codes = [code_of(door, door.seal(sealer)[:-1] + b"\xff") for _ in range(7)]
    assert codes == ["E_SIG"] * 5 + ["E_RATE"] * 2


@pytest.mark.requirement("ENV-19")
def test_what_is_refused_is_counted_by_code_and_by_whom_it_claims_or_is() -> None:
    door = Door()
    sealer = door.sealer()
    node = door.member.node_id
    accepted = door.verify(door.seal(sealer))
    code_of(door, b"")
    code_of(door, door.seal(sealer), bus_key="U")
    code_of(door, door.seal(sealer)[:-1] + b"\xff")
    error = door.verifier.refuse_accepted(accepted, "E_SCHEMA", "no such field")
    assert (error.code, error.message) == ("E_SCHEMA", "no such field")
    assert door.verifier.accepted == 1
    assert door.verifier.accepted_from(node) == 1
    assert door.verifier.counts == {"E_SHORT": 1, "E_SENDER": 1, "E_SIG": 1, "E_SCHEMA": 1}
    assert door.verifier.refused_from(node) == {"E_SCHEMA": 1}
    assert door.verifier.claimed_from(node) == {"E_SENDER": 1, "E_SIG": 1}
    stranger = bytes(16)
    assert door.verifier.accepted_from(stranger) == 0
    assert door.verifier.refused_from(stranger) == door.verifier.claimed_from(stranger) == {}


def test_what_claims_to_be_of_strangers_leaves_no_memory_behind() -> None:
    door = Door()
    for number in range(50):
        key = SigningKey.from_seed(seed(f"stranger {number}"))
        raw = Sealer(key, SWARM8, SERIAL, b"session1").seal(BID, AUDIENCE, b"", now_ms=NOW_MS)
        assert code_of(door, raw) == "E_SENDER"
    assert not door.verifier._senders


def test_pruning_forgets_who_has_left() -> None:
    door = Door()
    raw = door.seal()
    door.verify(raw)
    door.verifier.prune(NOW_MS + 3_600_000)
    assert door.verifier.accepted_from(door.member.node_id) == 1
    door.directory.remove(door.member.node_id)
    door.verifier.prune(NOW_MS)
    assert door.verifier.accepted_from(door.member.node_id) == 0
    assert code_of(door, raw) == "E_SENDER"


@pytest.mark.requirement("ENV-16")
def test_a_stored_record_is_read_by_the_function_for_stored_records_only() -> None:
    door = Door()
    stored = door.seal(flags=FLAG_JOURNAL, ttl_s=0)
    live = door.seal()
    assert code_of(door, stored) == "E_TYPE"

    def read(
        raw: bytes, at_ms: int = NOW_MS, audience: bytes = HASH, types: object = frozenset(RULES)
    ) -> str:
        try:
            accepted = door.verifier.verify_stored(raw, audience=audience, types=types, at_ms=at_ms)  # type: ignore[arg-type]
        except Rejected as error:
            return error.code
        assert (accepted.body, accepted.raw, accepted.member) == (b"\x90", raw, door.member)
        return "OK"

    # As often as it is asked for, however old: time and replay do not count.
    assert read(stored) == read(stored) == "OK"
    assert read(live) == "E_TYPE"
    assert read(stored, audience=bytes(16)) == "E_AUD"
    assert read(stored, types=frozenset({AWARD})) == "E_TYPE"
    assert read(stored[:-1]) == "E_LEN"
    assert read(stored[:100]) == "E_SHORT"
    assert read(bytes(ENVELOPE_MAX_BYTES + 1)) == "E_LONG"
    assert read(b"x" * 200) == "E_MAGIC"
    assert read(stored[:-1] + bytes([stored[-1] ^ 1])) == "E_SIG"
    assert read(door.seal(flags=FLAG_JOURNAL, body=bytes(4097))) == "E_LONG"
    assert read(door.seal(flags=FLAG_JOURNAL, type=AWARD)) == "E_ROLE"
    assert read(door.seal(flags=FLAG_JOURNAL, cls=2)) == "E_CLASS"
    for at, value, code in (
        (2, 2, "E_VERSION"),
        (3, 0x88, "E_FLAGS"),
        (7, 1, "E_RESERVED"),
        (14, 0, "E_SWARM"),
        (22, 0, "E_SENDER"),
        (38, 0, "E_REVOKED"),
    ):
        spoilt = bytearray(stored)
        spoilt[at] = value
        assert read(bytes(spoilt)) == code


@pytest.mark.requirement("CERT-9")
def test_a_stored_record_is_judged_as_of_the_time_at_which_it_was_stored() -> None:
    door = Door()
    stored = door.seal(flags=FLAG_JOURNAL)

    def read(at_ms: int) -> str:
        try:
            door.verifier.verify_stored(stored, audience=HASH, types=RULES.keys(), at_ms=at_ms)
        except Rejected as error:
            return error.code
        return "OK"

    assert read(door.member.expires_ms - 1) == "OK"
    assert read(door.member.expires_ms) == "E_CERT_EXPIRED"
    renewed = Grant(b"serial02", not_before_ms=NOW_MS, expires_ms=NOW_MS * 2, roles=door.roles)
    door.member.enter(renewed, NOW_MS + 1000)
    assert read(NOW_MS + 61_000) == "OK"
    assert read(NOW_MS + 61_001) == "E_REVOKED"
    door.directory.revoke(NOW_MS + 500, serial=SERIAL)
    assert read(NOW_MS + 499) == "OK"
    assert read(NOW_MS + 500) == "E_REVOKED"


@pytest.mark.requirement("ENV-8")
def test_a_sealed_body_opens_for_its_receiver_and_in_its_own_envelope_only() -> None:
    door = Door()
    box, other = BoxKey.from_seed(seed("box")), BoxKey.from_seed(seed("other box"))
    sealer = door.sealer()
    raw = sealer.seal_to(box.public, BID, AUDIENCE, b"secret", now_ms=NOW_MS, flags=FLAG_TAINTED)
    accepted = door.verify(raw)
    assert accepted.header.flags == FLAG_SEALED | FLAG_TAINTED
    assert b"secret" not in raw
    assert open_sealed_body(raw, box) == b"secret"
    moved = door.seal(sealer, body=raw[HEADER_BYTES:-64], flags=FLAG_SEALED)
    for key, data in ((other, raw), (box, moved)):
        with pytest.raises(Rejected) as caught:
            open_sealed_body(data, key)
        assert caught.value.code == "E_DECRYPT"
    with pytest.raises(Rejected):
        sealer.seal_to(bytes(32), BID, AUDIENCE, b"", now_ms=NOW_MS)
