from __future__ import annotations

import pytest

from protocol.errors import Rejected
from protocol.invite import (
    Endpoint,
    InviteRecord,
    bus_pin,
    decode_invite,
    encode_invite,
    open_invite_record,
    proof_key,
    sign_invite_record,
)
from protocol.objects import Kind, sign_object
from protocol.signing import SigningKey
from tests.support.wire_world import NOW_S, World, seed

WORLD = World()
LAN = Endpoint(1, "192.168.1.7", 4747)


def code(text: str) -> str:
    with pytest.raises(Rejected) as caught:
        decode_invite(text)
    return caught.value.code


@pytest.mark.requirement("INV-1")
def test_an_invite_has_the_length_that_people_were_told() -> None:
    assert len(encode_invite(WORLD.invite())) == 139
    assert len(encode_invite(WORLD.invite(endpoints=(LAN,)))) == 152
    assert (
        len(encode_invite(WORLD.invite(endpoints=(Endpoint(3, "bus.home.example.net.example", 4747),))))
        <= 190
    )
    assert encode_invite(WORLD.invite()).startswith("swarm1")


@pytest.mark.requirement("INV-2")
@pytest.mark.requirement("INV-3")
def test_what_was_written_is_read() -> None:
    endpoints = (
        LAN,
        Endpoint(2, "2001:db8::1", 1),
        Endpoint(3, "bus.example.org", 65535),
        Endpoint(3, "a_b-c.local.", 80),
    )
    for invite in (WORLD.invite(), WORLD.invite(endpoints=endpoints, flags=15, expiry=0xFFFFFFFF)):
        assert decode_invite(encode_invite(invite)) == invite


@pytest.mark.requirement("INV-4")
def test_an_invite_may_be_read_out_and_pasted_with_spaces_dashes_and_capitals() -> None:
    invite = WORLD.invite(endpoints=(LAN,))
    text = encode_invite(invite)
    assert decode_invite(text.upper()) == invite
    assert decode_invite(f"\n\t {'- '.join(text)} \r\n") == invite


@pytest.mark.requirement("INV-4")
@pytest.mark.parametrize("odd", ["\u00a0", "\u2011", "\u2013", "\u200b", "_", "'", "\0"], ids=ascii)
def test_no_other_character_is_dropped(odd: str) -> None:
    text = encode_invite(WORLD.invite())
    assert code(text[:50] + odd + text[50:]) in ("E_B32", "E_LEN")
    assert code(odd + text) == "E_PREFIX"


@pytest.mark.requirement("INV-5")
def test_every_cut_and_every_addition_is_noticed() -> None:
    text = encode_invite(WORLD.invite(endpoints=(LAN,)))
    for size in range(len(text)):
        assert code(text[:size]) in ("E_PREFIX", "E_LEN", "E_CHECKSUM", "E_B32_NONCANONICAL")
    for more in ("a", "aa", "aaa", "aaaa", text, "=", "a" * 10_000):
        assert code(text + more)


def test_an_endless_text_is_refused_quickly() -> None:
    assert code("swarm1" + "a" * 5_000_000) == "E_LEN"
    assert code(" " * 5_000_000 + encode_invite(WORLD.invite())) == "E_PREFIX"


def test_a_refusal_says_what_to_do() -> None:
    with pytest.raises(Rejected) as caught:
        decode_invite("hello")
    assert "swarm1" in caught.value.message
    assert "zwerm invite" in caught.value.hint


@pytest.mark.parametrize(
    "over",
    [
        {"invite_id": b"short"},
        {"secret": b"short"},
        {"swarm_id": b"short"},
        {"bus_pin": b"short"},
        {"flags": 16},
        {"expiry": -1},
        {"expiry": 1 << 32},
        {"version": 2},
        {"endpoints": (Endpoint(1, "192.168.1.7", 0),)},
        {"endpoints": (Endpoint(1, "192.168.1.7", 65536),)},
        {"endpoints": (Endpoint(1, "::1", 1),)},
        {"endpoints": (Endpoint(2, "host", 1),)},
        {"endpoints": (Endpoint(3, "two words", 1),)},
        {"endpoints": (Endpoint(3, "", 1),)},
        {"endpoints": (Endpoint(3, "a" * 254, 1),)},
        {"endpoints": (Endpoint(4, "host", 1),)},
        {"endpoints": (LAN,) * 17},
        {"endpoints": (Endpoint(3, ".".join(["a" * 60] * 4), 1),) * 5},
    ],
    ids=lambda over: f"{ascii(over)[:60]}-{len(ascii(over))}",
)
def test_an_invite_that_could_not_be_read_is_not_written(over: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode_invite(WORLD.invite(**over))


@pytest.mark.requirement("INV-6")
def test_the_proof_key_depends_on_secret_and_swarm_and_nothing_else() -> None:
    invite = WORLD.invite()
    public = proof_key(invite).public
    assert proof_key(invite._replace(expiry=1, flags=0, invite_id=bytes(8))).public == public
    assert proof_key(invite._replace(secret=bytes(16))).public != public
    assert proof_key(invite._replace(swarm_id=bytes(32))).public != public


@pytest.mark.requirement("INV-8")
def test_an_invite_does_not_show_its_secret() -> None:
    invite = WORLD.invite()
    shown = f"{invite!r} {invite} {[invite]}"
    assert invite.invite_id.hex() in shown
    assert invite.secret.hex() not in shown
    assert repr(invite.secret) not in shown


@pytest.mark.requirement("INV-8")
def test_an_error_does_not_show_the_text() -> None:
    text = encode_invite(WORLD.invite())
    for wrong in (text[:-1], text[:-3] + "aaa", text[:40] + "1" + text[41:], "x" + text):
        with pytest.raises(Rejected) as caught:
            decode_invite(wrong)
        shown = f"{caught.value} {caught.value.hint} {caught.value!r}"
        assert wrong[10:30] not in shown


def test_a_pin_has_16_bytes() -> None:
    assert len(bus_pin(b"spki")) == 16
    assert bus_pin(b"spki") != bus_pin(b"other")


@pytest.mark.requirement("INV-7")
def test_a_record_is_the_issuers_word_within_its_grant() -> None:
    invite = WORLD.invite()
    record = WORLD.record(invite, roles=["agent", "client"], zone=[1], max_uses=5, label="for Ana")
    raw = sign_invite_record(record, WORLD.issuer)
    assert open_invite_record(raw, WORLD.charter, NOW_S) == record
    assert invite.secret not in raw

    def refused(data: bytes, issued_s: int = NOW_S) -> str:
        with pytest.raises(Rejected) as caught:
            open_invite_record(data, WORLD.charter, issued_s)
        return caught.value.code

    assert refused(sign_invite_record(WORLD.record(invite, roles=["observer"]), WORLD.issuer)) == "E_GRANT"
    assert refused(sign_invite_record(WORLD.record(invite, zone=[2]), WORLD.issuer)) == "E_GRANT"
    assert refused(sign_invite_record(record, SigningKey.from_seed(seed("member")))) == "E_ISSUER"
    assert refused(raw, WORLD.grant.exp) == "E_ISSUER"
    assert refused(raw[:-1] + b"\xff") == "E_SIG"
    assert refused(sign_object(Kind.HALT, b"\x80", WORLD.issuer)) == "E_TYPE"
    assert refused(sign_object(Kind.INVITE_RECORD, b"\x80", WORLD.issuer)) == "E_SCHEMA"


@pytest.mark.parametrize(
    "over",
    [{"max_uses": 0}, {"max_uses": 1001}, {"approval": 1}, {"by": bytes(8)}, {"roles": []}, {"clearance": 4}],
    ids=repr,
)
def test_a_record_that_cannot_be_is_not_made(over: dict[str, object]) -> None:
    fields = WORLD.record(WORLD.invite()).model_dump()
    with pytest.raises(ValueError, match=next(iter(over))):
        InviteRecord.model_validate({**fields, **over})
