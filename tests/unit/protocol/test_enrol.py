from __future__ import annotations

import pytest

from protocol import enrol
from protocol.charter import Charter, next_charter, sign_charter, verify_chain
from protocol.enrol import (
    EnrolReply,
    Granted,
    OpenedReply,
    Pending,
    Refused,
    SealedRequest,
    build_reply,
    build_request,
    check_code,
    open_reply,
    open_request,
    read_enrol_head,
)
from protocol.errors import Rejected
from protocol.invite import proof_key
from protocol.sealing import BoxKey
from protocol.signing import SigningKey
from tests.support.wire_world import NOW_S, Node, World, seed

WORLD = World()
NODE, THIEF = Node("laptop"), Node("thief")
INVITE = WORLD.invite()
PROOF = proof_key(INVITE).public


def request(node: Node = NODE, **over: object) -> SealedRequest:
    given: dict[str, object] = {
        "sig": node.sig,
        "box": node.box,
        "bus": node.bus,
        "name": node.label,
        "asked_caps": ["text.extract"],
        "nonce": seed("nonce")[:16],
        "now_s": NOW_S,
        **over,
    }
    return build_request(INVITE, WORLD.charter, WORLD.grant, **given)  # type: ignore[arg-type]


SENT = request()
OPENED = open_request(SENT.raw, WORLD.charter, WORLD.issuer_box, PROOF)


def refused_request(
    raw: bytes, charter: Charter = WORLD.charter, box: BoxKey = WORLD.issuer_box, proof: bytes = PROOF
) -> str:
    with pytest.raises(Rejected) as caught:
        open_request(raw, charter, box, proof)
    return caught.value.code


def read_reply(
    raw: bytes, sent: SealedRequest = SENT, node: Node = NODE, charter: Charter = WORLD.charter
) -> OpenedReply:
    return open_reply(raw, sent, charter, sig=node.sig.public, box=node.box, bus=node.bus.public, now_s=NOW_S)


def refused_reply(raw: bytes, **more: object) -> str:
    with pytest.raises(Rejected) as caught:
        read_reply(raw, **more)  # type: ignore[arg-type]
    return caught.value.code


def answer(reply: EnrolReply, issuer: SigningKey = WORLD.issuer) -> bytes:
    return build_reply(reply, OPENED, WORLD.charter, issuer)


def granted(**over: object) -> Granted:
    given: dict[str, object] = {
        "certificate": WORLD.certificate(NODE),
        "jwts": {"agent": "e30.e30.e30"},
        "bus_ca": b"der",
        "charter": [WORLD.genesis],
    }
    return Granted.model_validate({**given, **over})


@pytest.mark.requirement("ENR-1")
@pytest.mark.requirement("ENR-2")
def test_a_request_reaches_the_issuer_with_all_that_it_says() -> None:
    head = read_enrol_head(SENT.raw)
    assert (head.invite_id, head.issuer) == (INVITE.invite_id, WORLD.grant.id)
    said = OPENED.request
    assert (said.id, said.name, said.asked_caps, said.ts) == (
        INVITE.invite_id,
        "laptop",
        ["text.extract"],
        NOW_S,
    )
    assert (said.sig_pub, said.box_pub, said.bus_pub) == (NODE.sig.public, NODE.box.public, NODE.bus.public)
    assert OPENED.transcript == SENT.transcript
    assert len(SENT.raw) < 700


def test_nothing_of_a_request_can_be_read_on_the_way() -> None:
    for secret in (
        INVITE.secret,
        NODE.sig.public,
        NODE.box.public,
        NODE.bus.public,
        b"laptop",
        b"text.extract",
    ):
        assert secret not in SENT.raw


@pytest.mark.requirement("ENR-8")
def test_only_the_seal_differs_when_the_same_request_is_built_again() -> None:
    again = request()
    assert again.transcript == SENT.transcript
    assert again.raw != SENT.raw


@pytest.mark.requirement("ENR-3")
def test_a_request_without_the_invites_secret_is_refused() -> None:
    guess = build_request(
        INVITE._replace(secret=bytes(16)),
        WORLD.charter,
        WORLD.grant,
        sig=THIEF.sig,
        box=THIEF.box,
        bus=THIEF.bus,
        name="thief",
        asked_caps=[],
        nonce=bytes(16),
        now_s=NOW_S,
    )
    assert refused_request(guess.raw) == "E_PROOF"
    assert refused_request(SENT.raw, proof=THIEF.sig.public) == "E_PROOF"


@pytest.mark.requirement("ENR-4")
def test_one_key_for_two_purposes_is_refused() -> None:
    assert refused_request(request(bus=NODE.sig).raw) == "E_KEY"


def test_a_request_for_another_issuer_swarm_or_charter_does_not_open() -> None:
    assert refused_request(SENT.raw, box=BoxKey.from_seed(seed("other"))) == "E_DECRYPT"
    second = sign_charter(next_charter(WORLD.charter, name="home2"), [WORLD.root])
    newer = verify_chain([WORLD.genesis, second], WORLD.swarm_id)
    assert refused_request(SENT.raw, charter=newer) == "E_DECRYPT"


def test_no_changed_byte_of_a_request_is_accepted() -> None:
    for at in range(len(SENT.raw)):
        if 12 <= at < 28:
            continue  # the issuer's key id in clear only says who may open it
        assert refused_request(SENT.raw[:at] + bytes([SENT.raw[at] ^ 1]) + SENT.raw[at + 1 :])
    for size in range(len(SENT.raw)):
        assert refused_request(SENT.raw[:size]) in ("E_SHORT", "E_DECRYPT")


def test_a_request_that_could_not_be_accepted_is_not_sent() -> None:
    for wrong in ({"name": "two words"}, {"nonce": b"short"}, {"asked_caps": ["Not A Capability"]}):
        with pytest.raises(Rejected) as caught:
            request(**wrong)
        assert caught.value.code == "E_SCHEMA"
    with pytest.raises(Rejected) as caught:
        request(asked_caps=[f"{'a' * 60}{number}" for number in range(64)])
    assert caught.value.code == "E_LONG"


@pytest.mark.requirement("ENR-5")
@pytest.mark.parametrize(
    "reply",
    [Pending(nonce=bytes(16)), Refused(code="E_INVITE_USED", message="used", hint="ask")],
    ids=lambda reply: reply.status,
)
def test_an_answer_reaches_the_device(reply: EnrolReply) -> None:
    opened = read_reply(answer(reply))
    assert opened == (reply, None, None)


@pytest.mark.requirement("ENR-5")
def test_a_granted_device_gets_a_verified_certificate_and_charter() -> None:
    reply = granted(crl=b"list", issuer_certificate=WORLD.certificate(Node("first-device")))
    raw = answer(reply)
    opened = read_reply(raw)
    assert opened.reply == reply
    assert opened.certificate is not None
    assert opened.certificate.node == NODE.id
    assert opened.charter is not None
    assert opened.charter.swarm_id == WORLD.swarm_id
    assert b"e30.e30" not in raw


@pytest.mark.requirement("ENR-7")
def test_an_answer_is_for_one_request_and_one_device_only() -> None:
    raw = answer(granted())
    assert refused_reply(raw, sent=request(nonce=bytes(16))) == "E_DECRYPT"
    assert refused_reply(raw, node=THIEF) == "E_DECRYPT"
    assert refused_reply(SENT.raw) == "E_TYPE"
    assert refused_request(raw) == "E_TYPE"


@pytest.mark.requirement("ENR-7")
def test_an_answer_of_somebody_who_is_no_issuer_is_refused() -> None:
    assert refused_reply(answer(granted(), THIEF.sig)) == "E_ISSUER"
    raw = bytearray(answer(granted(), THIEF.sig))
    raw[12:28] = WORLD.grant.id
    assert refused_reply(bytes(raw)) == "E_SIG"


@pytest.mark.requirement("ENR-7")
def test_a_certificate_for_other_keys_is_refused() -> None:
    assert refused_reply(answer(granted(certificate=WORLD.certificate(THIEF)))) == "E_PROOF"
    assert refused_reply(answer(granted(certificate=b"junk"))) == "E_SHORT"


@pytest.mark.requirement("ENR-7")
def test_an_older_charter_than_the_known_one_is_refused() -> None:
    second = sign_charter(next_charter(WORLD.charter, name="home2"), [WORLD.root])
    newer = verify_chain([WORLD.genesis, second], WORLD.swarm_id)
    assert refused_reply(answer(granted()), charter=newer) == "E_CHAIN"
    forward = read_reply(answer(granted(charter=[WORLD.genesis, second])))
    assert forward.charter is not None
    assert forward.charter.n == 1


def test_no_changed_byte_of_an_answer_is_accepted() -> None:
    raw = answer(Pending(nonce=bytes(16)))
    for at in range(len(raw)):
        assert refused_reply(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])


@pytest.mark.parametrize("body", [b"\x80", b"\x90", b"\x81\xa6status\xa4king", b"junk"], ids=repr)
def test_a_signed_answer_without_meaning_is_refused(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrol, "encode_model", lambda _: body)
    raw = answer(Pending(nonce=bytes(16)))
    assert refused_reply(raw) in ("E_SCHEMA", "E_BODY")


def test_an_answer_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(Rejected) as caught:
        answer(granted(crl=bytes(524_288)))
    assert caught.value.code == "E_LONG"


@pytest.mark.requirement("ENR-6")
def test_the_check_code_has_six_digits_and_depends_on_both() -> None:
    codes = {check_code(SENT.transcript, seed(str(number))[:16]) for number in range(200)}
    assert all(len(code) == 6 and code.isdecimal() for code in codes)
    assert len(codes) > 195
    nonce = bytes(16)
    assert check_code(SENT.transcript, nonce) != check_code(request(nonce=nonce).transcript, nonce)
