"""What must hold for any input: round trips, no mutated byte accepted, and nothing but `Rejected` out of any door."""

from __future__ import annotations

import contextlib
import random
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import codec, subjects
from protocol.certificate import read_certificate, verify_certificate
from protocol.charter import verify_chain
from protocol.codec import pack, unpack
from protocol.enrol import build_request, open_request, read_enrol_head
from protocol.envelope import HEADER_BYTES, Header, audience_hash, parse_header
from protocol.errors import Rejected
from protocol.invite import Endpoint, Invite, decode_invite, encode_invite, open_invite_record, proof_key
from protocol.limits import MSGPACK_DEPTH, MSGPACK_NODES, REPLAY_WINDOW, SKEW_MS
from protocol.objects import Kind, open_object, read_head, sign_object
from protocol.replay import ReplayWindows
from protocol.signing import BACKENDS, check_public_key, prepare
from tests.support.wire_world import AUDIENCE, BID, NOW_MS, NOW_S, RULES, SERIAL, SWARM8, Door, Node, World

WORLD = World()
NODE = Node("laptop")
CERTIFICATE = WORLD.certificate(NODE)
INVITE = WORLD.invite()
REQUEST = build_request(
    INVITE,
    WORLD.charter,
    WORLD.grant,
    sig=NODE.sig,
    box=NODE.box,
    bus=NODE.bus,
    name="laptop",
    asked_caps=[],
    nonce=bytes(16),
    now_s=NOW_S,
).raw

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=6),
    max_leaves=30,
)


def refusal(call: Any, *arguments: Any, **named: Any) -> str | None:
    """The code of the refusal, or None; any other exception fails the test."""
    try:
        call(*arguments, **named)
    except Rejected as error:
        return error.code
    return None


# --- bodies --------------------------------------------------------------------------------------------------------------------


@given(values)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    assert unpack(pack(value)) == value


@given(values)
def test_we_write_the_shortest_encoding(value: Any) -> None:
    assert pack(value) == msgpack.packb(value)


def both(data: bytes) -> tuple[Any, Any]:
    """The outcome of each of the two ways through the decoder."""

    def outcome(call: Any, *arguments: Any) -> Any:
        try:
            return repr(call(*arguments))
        except Rejected as error:
            return error.args[:1]

    return outcome(unpack, data), outcome(codec._unpack_scanned, data, MSGPACK_DEPTH, MSGPACK_NODES)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_value_or_e_body(data: bytes) -> None:
    fast, slow = both(data)
    assert fast == slow
    assert isinstance(fast, str) or fast == ("E_BODY",)


@given(values, st.data())
def test_both_ways_through_the_decoder_agree_about_damaged_bodies(value: Any, data: st.DataObject) -> None:
    raw = bytearray(pack(value))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    fast, slow = both(bytes(raw))
    assert fast == slow


@given(st.dictionaries(st.text(max_size=5), st.integers(0, 9), min_size=1, max_size=5), st.data())
def test_a_repeated_key_is_never_accepted(entries: dict[str, int], data: st.DataObject) -> None:
    pairs = list(entries.items())
    pairs.insert(data.draw(st.integers(0, len(pairs))), (data.draw(st.sampled_from(sorted(entries))), 1))
    raw = bytes([0x80 | len(pairs)]) + b"".join(pack(part) for pair in pairs for part in pair)
    assert refusal(unpack, raw) == "E_BODY"


# --- envelope ------------------------------------------------------------------------------------------------------------------


@given(
    body=st.binary(max_size=300),
    cls=st.integers(0, 1),
    ttl_s=st.integers(0, 600),
    drift=st.integers(-SKEW_MS, SKEW_MS),
    context=st.binary(min_size=16, max_size=16),
    session=st.binary(min_size=8, max_size=8),
    backend=st.sampled_from(sorted(BACKENDS)),
)
def test_whatever_is_sealed_within_the_rules_is_accepted(
    body: bytes, cls: int, ttl_s: int, drift: int, context: bytes, session: bytes, backend: str
) -> None:
    door = Door()
    door.member.public = prepare(door.key.public, backend)
    raw = door.sealer(session).seal(
        BID, AUDIENCE, body, now_ms=NOW_MS + drift, ttl_s=ttl_s, cls=cls, context=context
    )
    accepted = door.verifier.verify(
        raw, audience=audience_hash(AUDIENCE), types=RULES.keys(), now_ms=NOW_MS, bus_key=door.bus_key
    )
    assert accepted.body == body
    assert accepted.header == parse_header(raw)
    assert isinstance(accepted.header, Header)
    assert (accepted.header.cls, accepted.header.ttl_s, accepted.header.context) == (cls, ttl_s, context)


@pytest.mark.requirement("ENV-2")
def test_no_single_changed_bit_of_an_envelope_is_accepted() -> None:
    door = Door()
    raw = door.seal(body=pack([{"price": 1}]))
    door.verifier = type(door.verifier)(SWARM8, door.directory, RULES, rate_per_s=1e9, burst=1e9)
    for at in range(len(raw) * 8):
        spoilt = bytearray(raw)
        spoilt[at // 8] ^= 1 << at % 8
        assert refusal(door.verify, bytes(spoilt)) is not None, at
    assert door.verifier.accepted == 0
    assert refusal(door.verify, raw) is None


@settings(max_examples=300)
@given(st.data())
def test_no_mutation_of_an_envelope_is_accepted_and_none_causes_another_error(data: st.DataObject) -> None:
    door = Door()
    raw = door.seal(body=pack([{"price": 1}]))
    spoilt = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(spoilt) - 1))
        match data.draw(st.sampled_from(("set", "cut", "insert"))):
            case "set":
                spoilt[at] = data.draw(st.integers(0, 255))
            case "cut":
                del spoilt[at : at + data.draw(st.integers(1, 9))]
            case _:
                spoilt[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        if not spoilt:
            break
    if bytes(spoilt) != raw:
        assert refusal(door.verify, bytes(spoilt)) is not None


@given(st.binary(max_size=400))
def test_any_bytes_at_the_door_are_refused_by_name(data: bytes) -> None:
    door = Door()
    audience = audience_hash(AUDIENCE)
    assert refusal(door.verify, data) is not None
    assert refusal(door.verify, b"\xc1\x53\x01\x00\x01\x02\0\0\0\0\0\0\0\0" + SWARM8 + data) is not None
    assert (
        refusal(door.verifier.verify_stored, data, audience=audience, types=RULES.keys(), at_ms=0) is not None
    )
    assert refusal(parse_header, data) in ("E_SHORT", "E_MAGIC")


@given(st.tuples(*(st.integers(0, 2**bits - 1) for bits in (8, 8, 16, 8, 8, 16, 32, 64, 64, 32, 32))))
def test_a_well_signed_header_of_any_numbers_is_judged_without_another_error(fields: tuple[int, ...]) -> None:
    version, flags, kind, cls, reserved, zone, epoch, seq, time_ms, ttl_s, length = fields
    door = Door()
    raw = struct.pack(
        ">2sBBHBBHI8s16s8s8sQQI16s16sI",
        b"\xc1\x53",
        version,
        flags,
        kind,
        cls,
        reserved,
        zone,
        epoch,
        SWARM8,
        door.member.node_id,
        SERIAL,
        b"session1",
        seq,
        time_ms,
        ttl_s,
        audience_hash(AUDIENCE),
        bytes(16),
        length,
    )
    assert len(raw) == HEADER_BYTES
    raw += door.key.sign(b"\xffswarm-env-v1\0\0\0" + raw)
    refusal(door.verify, raw)


# --- replay --------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 3000), max_size=200))
def test_the_window_agrees_with_a_plain_set(numbers: list[int]) -> None:
    windows = ReplayWindows()
    seen: set[int] = set()
    for seq in numbers:
        expected = seq not in seen and (not seen or seq > max(seen) - REPLAY_WINDOW)
        assert windows.fresh(b"session1", seq) is expected
        if expected:
            windows.commit(b"session1", seq, NOW_MS, 30, NOW_MS)
            seen.add(seq)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(0, 60), st.integers(0, 90_000)),
        max_size=60,
    )
)
def test_no_message_is_accepted_twice_however_sessions_come_and_go(
    steps: list[tuple[int, int, int, int]],
) -> None:
    """Time goes on, sessions are forgotten, and still whatever passes the time window once passes the replay window once."""
    door = Door()
    now_ms = NOW_MS
    sent: list[bytes] = []
    accepted: set[bytes] = set()
    for session, count, ttl_s, wait_ms in steps:
        sealer = door.sealer(session.to_bytes(4, "big") + len(sent).to_bytes(4, "big"))
        sent += [door.seal(sealer, now_ms=now_ms, ttl_s=ttl_s) for _ in range(count)]
        for raw in sent:
            if refusal(door.verify, raw, now_ms=now_ms) is None:
                assert raw not in accepted
                accepted.add(raw)
        now_ms += wait_ms
    assert len(accepted) == len(sent)


# --- objects, charter, certificate, record, enrolment ---------------------------------------------------------------------------


@given(st.binary(max_size=500), st.sampled_from(list(Kind)))
def test_every_object_comes_back_as_it_was(body: bytes, kind: Kind) -> None:
    assert open_object(sign_object(kind, body, WORLD.issuer), kind, WORLD.issuer.public) == body


def damaged(raw: bytes) -> st.SearchStrategy[bytes]:
    changes = st.lists(st.tuples(st.integers(0, len(raw) - 1), st.integers(0, 255)), min_size=1, max_size=3)

    def apply(made: list[tuple[int, int]]) -> bytes:
        spoilt = bytearray(raw)
        for at, value in made:
            spoilt[at] = value
        return bytes(spoilt)

    return (changes.map(apply) | st.integers(0, len(raw) - 1).map(lambda size: raw[:size])).filter(
        lambda spoilt: spoilt != raw
    )


@given(damaged(CERTIFICATE) | st.binary(max_size=200))
def test_no_damaged_certificate_is_accepted(raw: bytes) -> None:
    assert refusal(verify_certificate, raw, WORLD.charter, NOW_S) is not None
    refusal(read_certificate, raw)
    refusal(read_head, raw)


@given(damaged(WORLD.genesis) | st.binary(max_size=200))
def test_no_damaged_charter_is_accepted(raw: bytes) -> None:
    assert refusal(verify_chain, [raw], WORLD.swarm_id) is not None
    assert refusal(verify_chain, [WORLD.genesis, raw], WORLD.swarm_id) is not None


@given(damaged(REQUEST) | st.binary(max_size=200))
def test_no_damaged_request_is_accepted(raw: bytes) -> None:
    if raw[:12] + raw[28:] != REQUEST[:12] + REQUEST[28:]:
        proof = proof_key(INVITE).public
        assert refusal(open_request, raw, WORLD.charter, WORLD.issuer_box, proof) is not None
    refusal(read_enrol_head, raw)


@given(values)
def test_any_well_signed_body_is_a_certificate_or_record_or_refused_by_name(value: Any) -> None:
    body = pack(value)
    assert refusal(
        verify_certificate, sign_object(Kind.CERTIFICATE, body, WORLD.issuer), WORLD.charter, NOW_S
    )
    assert refusal(
        open_invite_record, sign_object(Kind.INVITE_RECORD, body, WORLD.issuer), WORLD.charter, NOW_S
    )


@given(st.binary(max_size=40))
def test_any_bytes_are_a_key_or_e_key_and_both_libraries_take_the_same(data: bytes) -> None:
    outcomes = {refusal(prepare, data, backend) for backend in BACKENDS} | {refusal(check_public_key, data)}
    assert len(outcomes) == 1
    assert outcomes <= {None, "E_KEY"}


@given(st.binary(min_size=64, max_size=64), st.binary(max_size=40))
def test_both_libraries_agree_about_any_signature(signature: bytes, data: bytes) -> None:
    good = NODE.sig.sign(data)
    for tried in (signature, good, good[:32] + signature[32:], signature[:32] + good[32:]):
        assert len({prepare(NODE.sig.public, backend).verify(tried, data) for backend in BACKENDS}) == 1


# --- invite and subjects --------------------------------------------------------------------------------------------------------

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20})(\.[a-z0-9][a-z0-9-]{0,20}){0,3}", fullmatch=True)
ports = st.integers(1, 65535)
endpoints = (
    st.builds(Endpoint, st.just(1), st.ip_addresses(v=4).map(str), ports)
    | st.builds(Endpoint, st.just(2), st.ip_addresses(v=6).map(str), ports)
    | st.builds(Endpoint, st.just(3), names, ports)
)
invites = st.builds(
    Invite,
    st.integers(0, 15),
    st.integers(0, 2**32 - 1),
    *(st.binary(min_size=size, max_size=size) for size in (8, 16, 32, 16)),
    st.lists(endpoints, max_size=5).map(tuple),
    st.just(1),
)


@given(invites)
def test_every_invite_comes_back_as_it_was(invite: Invite) -> None:
    text = encode_invite(invite)
    assert decode_invite(text) == invite
    assert text == text.lower()
    assert text.isalnum()


@given(st.text(max_size=300))
def test_any_text_is_an_invite_or_refused_by_name(text: str) -> None:
    assert refusal(decode_invite, text) is not None
    assert refusal(decode_invite, "swarm1" + text) is not None


def test_no_single_mistyped_character_goes_unnoticed() -> None:
    """10,000 of them here; 200,000 were tried once, none unnoticed."""
    draw = random.Random(20)
    text = encode_invite(INVITE._replace(endpoints=(Endpoint(1, "192.168.1.7", 4747),)))
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    for _ in range(10_000):
        at = draw.randrange(6, len(text))
        typo = draw.choice(letters.replace(text[at], ""))
        assert refusal(decode_invite, text[:at] + typo + text[at + 1 :]) in (
            "E_CHECKSUM",
            "E_B32_NONCANONICAL",
        )


@given(st.text(max_size=100))
def test_any_subject_is_one_of_ours_or_e_aud(subject: str) -> None:
    for text in (subject, "s." + subject, "s.ann." + subject, f"s.bid.{'a' * 26}.{subject}"):
        with contextlib.suppress(Rejected):
            route = subjects.route(text)
            assert route.kind
            assert not set("*> \n").intersection(text)
        assert refusal(subjects.route, text) in (None, "E_AUD")
