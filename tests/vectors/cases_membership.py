"""The cases of certificates, enrolment requests and invite records. Codes are stated by hand, from SPEC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .build import (
    GENESIS,
    GENESIS_OBJECT,
    ISSUER,
    ISSUER2,
    ISSUER_BOX,
    ISSUER_BOX2,
    NODE,
    NODE_BOX,
    NODE_BUS,
    NOW_S,
    OTHER,
    ROOT,
    SWARM_ID,
    Box,
    Case,
    Sign,
    certificate_fields,
    grant,
    hpke_seal,
    msg,
    seed,
    sha,
    signed_object,
)
from .cases_charter import following


def certificates() -> Iterator[Case]:
    second = following({"issuers": [grant(ISSUER2, ISSUER_BOX2)]}, [ROOT])
    dated = following({"issuers": [], "not_before_issue": {ISSUER.id.hex(): NOW_S + 100}}, [ROOT])
    voided = following({"issuers": [], "not_before_issue": {ISSUER.id.hex(): NOW_S - 100}}, [ROOT])

    def case(
        name: str,
        code: str,
        clause: str,
        comment: str,
        raw: bytes,
        *,
        chain: list[bytes] | None = None,
        now: int = NOW_S,
    ) -> Case:
        given = {
            "hex": raw.hex(),
            "chain": [item.hex() for item in chain or [GENESIS_OBJECT]],
            "swarm_id": SWARM_ID.hex(),
            "now_s": now,
        }
        return Case("certificate", name, clause, comment, given, {"code": code})

    def cert(key: Sign = ISSUER, **over: Any) -> bytes:
        return signed_object(2, msg(certificate_fields(**over)), key)

    good = cert()
    yield case("ok", "OK", "CERT-1", "An ordinary certificate.", good)
    yield case("ok-no-capability", "OK", "CERT-1", "No list of capabilities: no limit.", cert(cap=[]))
    yield case("ok-last-second", "OK", "CERT-5", "Its last second.", good, now=NOW_S - 30 + 604_800 - 1)
    yield case(
        "ok-clock-behind",
        "OK",
        "CERT-5",
        "This device's clock is 30 s behind.",
        cert(nbf=NOW_S + 30, exp=NOW_S + 40),
    )
    yield case(
        "ok-withdrawn-later",
        "OK",
        "CHA-7",
        "Its issuer was withdrawn; this was signed before.",
        good,
        chain=[GENESIS_OBJECT, dated],
    )
    yield case(
        "e-type",
        "E_TYPE",
        "CERT-5",
        "An invite record in its place.",
        signed_object(4, msg(certificate_fields()), ISSUER),
    )
    yield case(
        "e-issuer-unknown", "E_ISSUER", "CERT-6", "Issued by a node for itself.", cert(NODE, iss=NODE.id)
    )
    yield case("e-issuer-root", "E_ISSUER", "CERT-6", "A root is not an issuer.", cert(ROOT, iss=ROOT.id))
    yield case(
        "e-issuer-inside", "E_ISSUER", "CERT-5", "Another issuer inside than outside.", cert(iss=ISSUER2.id)
    )
    yield case(
        "e-issuer-dropped",
        "E_ISSUER",
        "CHA-7",
        "Its issuer was left out of the charter.",
        good,
        chain=[GENESIS_OBJECT, second],
    )
    yield case(
        "e-issuer-void",
        "E_ISSUER",
        "CHA-7",
        "Its issuer was withdrawn as of before.",
        good,
        chain=[GENESIS_OBJECT, voided],
    )
    yield case(
        "e-issuer-over",
        "E_ISSUER",
        "CHA-7",
        "Its issuer's grant was over.",
        cert(nbf=NOW_S + 91 * 86_400, exp=NOW_S + 92 * 86_400),
        now=NOW_S + 91 * 86_400,
    )
    yield case(
        "e-sig", "E_SIG", "CERT-5", "One bit of the body.", good[:40] + bytes([good[40] ^ 1]) + good[41:]
    )
    yield case("e-swarm", "E_SWARM", "CERT-5", "For another swarm.", cert(sw=sha(b"other")))
    yield case("e-key-sig", "E_KEY", "KEY-2", "A signing key of small order.", cert(sig=b"\1" + bytes(31)))
    yield case("e-key-bus", "E_KEY", "KEY-2", "A bus key of small order.", cert(bus=b"\1" + bytes(31)))
    yield case("e-key-box", "E_KEY", "SEAL-2", "A box key of small order.", cert(box=bytes(32)))
    yield case(
        "e-grant-role",
        "E_GRANT",
        "CERT-6",
        "A role that the issuer may not give.",
        cert(ro=["agent", "admin"]),
    )
    yield case("e-grant-zone", "E_GRANT", "CERT-6", "A zone that the issuer may not give.", cert(zn=[1, 2]))
    yield case(
        "e-grant-ttl",
        "E_GRANT",
        "CERT-6",
        "A second longer than the issuer may make it.",
        cert(exp=NOW_S - 30 + 604_801),
    )
    yield case(
        "e-grant-exp",
        "E_GRANT",
        "CERT-6",
        "Beyond the end of the issuer's own grant.",
        cert(nbf=NOW_S + 89 * 86_400, exp=NOW_S + 91 * 86_400),
        now=NOW_S + 89 * 86_400,
    )
    yield case("e-not-yet", "E_NOT_YET", "CERT-5", "It begins in 31 s.", cert(nbf=NOW_S + 31))
    yield case(
        "e-cert-expired",
        "E_CERT_EXPIRED",
        "CERT-5",
        "The first second in which it is not good.",
        good,
        now=NOW_S - 30 + 604_800,
    )
    for name, over, clause in (
        ("version", {"v": 2}, "CERT-1"),
        ("serial", {"ser": bytes(7)}, "CERT-1"),
        ("name-dot", {"nm": "a.b"}, "CERT-3"),
        ("name-star", {"nm": "*"}, "CERT-3"),
        ("name-arrow", {"nm": "a>"}, "CERT-3"),
        ("name-space", {"nm": "a b"}, "CERT-3"),
        ("name-control", {"nm": "a\x1b[31m"}, "CERT-3"),
        ("name-bidi", {"nm": "a\u202eb"}, "CERT-3"),
        ("name-empty", {"nm": ""}, "CERT-3"),
        ("name-long", {"nm": "a" * 65}, "CERT-3"),
        ("role-unknown", {"ro": ["king"]}, "CERT-4"),
        ("role-none", {"ro": []}, "CERT-4"),
        ("role-twice", {"ro": ["agent", "agent"]}, "CERT-4"),
        ("capability", {"cap": ["Text"]}, "CERT-1"),
        ("zone-0", {"zn": [0]}, "CERT-1"),
        ("clearance", {"cl": 4}, "CERT-1"),
        ("clearance-true", {"cl": True}, "BODY-7"),
        ("clearance-text", {"cl": "1"}, "BODY-7"),
        ("extra", {"x": 1}, "BODY-7"),
        ("same-keys", {"bus": NODE.public}, "CERT-2"),
        ("backwards", {"exp": NOW_S - 31}, "CERT-1"),
    ):
        yield case(f"e-schema-{name}", "E_SCHEMA", clause, f"A field is wrong: {name}.", cert(**over))
    missing = certificate_fields()
    del missing["cl"]
    yield case(
        "e-schema-missing",
        "E_SCHEMA",
        "BODY-7",
        "A field is missing.",
        signed_object(2, msg(missing), ISSUER),
    )
    yield case(
        "e-body-duplicate",
        "E_BODY",
        "BODY-2",
        "A field occurs twice.",
        signed_object(2, b"\xde\x00\x11" + msg(certificate_fields())[3:] + b"\xa2cl\x03", ISSUER),
    )


def enrolments() -> Iterator[Case]:
    head = sha(GENESIS)
    invite_id, proof = seed("invite id")[:8], Sign("proof")

    def request(**over: Any) -> dict[str, Any]:
        return {
            "v": 1,
            "id": invite_id,
            "sig_pub": NODE.public,
            "box_pub": NODE_BOX.public,
            "bus_pub": NODE_BUS.public,
            "name": "laptop",
            "asked_caps": ["text.extract"],
            "nonce": seed("request nonce")[:16],
            "ts": NOW_S,
            **over,
        }

    def raw(
        fields: dict[str, Any] | None = None,
        keys: tuple[Sign, Sign, Sign] = (NODE, NODE_BUS, proof),
        *,
        outer: bytes = invite_id,
        info_head: bytes = head,
        mark: bytes = b"\xff",
        prefix: bytes = b"\xc1\x45\x01\x01",
        box: Box = ISSUER_BOX,
    ) -> bytes:
        body = msg(fields or request())
        signed = mark + sha(b"swarm-enrol-v1\0", SWARM_ID, head, body)
        plain = body + b"".join(key.sign(signed) for key in keys)
        info = b"swarm-enrol-v1" + SWARM_ID + outer + info_head
        return prefix + outer + ISSUER.id + hpke_seal(box.public, plain, info, Box("enrol ephemeral"))

    def case(name: str, code: str, clause: str, comment: str, data: bytes) -> Case:
        given = {
            "hex": data.hex(),
            "chain": [GENESIS_OBJECT.hex()],
            "swarm_id": SWARM_ID.hex(),
            "box_private_key": ISSUER_BOX.seed.hex(),
            "proof_pub": proof.public.hex(),
        }
        return Case("enrol-request", name, clause, comment, given, {"code": code})

    good = raw()
    yield case("ok", "OK", "ENR-2", "An ordinary request.", good)
    yield case("e-short", "E_SHORT", "ENR-1", "The frame and nothing else.", good[:28])
    yield case("e-magic", "E_MAGIC", "ENR-1", "Another magic.", raw(prefix=b"\xc1\x4f\x01\x01"))
    yield case("e-version", "E_VERSION", "ENR-1", "Version 2.", raw(prefix=b"\xc1\x45\x02\x01"))
    yield case("e-type", "E_TYPE", "ENR-1", "A reply in its place.", raw(prefix=b"\xc1\x45\x01\x02"))
    yield case("e-long", "E_LONG", "ENR-1", "4,097 bytes.", good + bytes(4097 - len(good)))
    yield case("e-decrypt-box", "E_DECRYPT", "ENR-2", "Sealed to another issuer.", raw(box=ISSUER_BOX2))
    yield case(
        "e-decrypt-head", "E_DECRYPT", "ENR-2", "Made under another charter head.", raw(info_head=sha(b"x"))
    )
    yield case(
        "e-decrypt-id",
        "E_DECRYPT",
        "ENR-2",
        "Another invite's id put outside.",
        good[:4] + bytes(8) + good[12:],
    )
    yield case(
        "e-proof-id", "E_PROOF", "ENR-4", "Another invite inside than outside.", raw(request(id=bytes(8)))
    )
    yield case(
        "e-proof-sig",
        "E_PROOF",
        "ENR-3",
        "The signing key does not sign.",
        raw(keys=(OTHER, NODE_BUS, proof)),
    )
    yield case(
        "e-proof-bus", "E_PROOF", "ENR-3", "The bus key does not sign.", raw(keys=(NODE, OTHER, proof))
    )
    yield case(
        "e-proof-secret",
        "E_PROOF",
        "ENR-3",
        "Whoever sends this does not have the invite.",
        raw(keys=(NODE, NODE_BUS, OTHER)),
    )
    yield case(
        "e-proof-order", "E_PROOF", "ENR-3", "Two signatures are swapped.", raw(keys=(NODE_BUS, NODE, proof))
    )
    yield case("e-proof-mark", "E_PROOF", "ENR-3", "Signed without the byte FF.", raw(mark=b""))
    yield case(
        "e-key-small", "E_KEY", "ENR-4", "A signing key of small order.", raw(request(sig_pub=bytes(32)))
    )
    yield case("e-key-box", "E_KEY", "ENR-4", "A box key of small order.", raw(request(box_pub=bytes(32))))
    yield case(
        "e-key-same",
        "E_KEY",
        "ENR-4",
        "One key for two purposes.",
        raw(request(bus_pub=NODE.public), (NODE, NODE, proof)),
    )
    yield case("e-schema-name", "E_SCHEMA", "CERT-3", "A name with a wildcard.", raw(request(name="*")))
    yield case("e-schema-nonce", "E_SCHEMA", "ENR-2", "A nonce of 15 bytes.", raw(request(nonce=bytes(15))))


def records() -> Iterator[Case]:
    def fields(**over: Any) -> dict[str, Any]:
        return {
            "id": seed("invite id")[:8],
            "proof_pub": Sign("proof").public,
            "roles": ["agent"],
            "caps": [],
            "zone": [1],
            "clearance": 1,
            "max_uses": 1,
            "exp": NOW_S + 3600,
            "approval": False,
            "ephemeral": False,
            "label": "for Ana",
            "by": NODE.node,
            **over,
        }

    def case(name: str, code: str, comment: str, raw: bytes) -> Case:
        given = {
            "hex": raw.hex(),
            "chain": [GENESIS_OBJECT.hex()],
            "swarm_id": SWARM_ID.hex(),
            "issued_s": NOW_S,
        }
        return Case("invite-record", name, "INV-7", comment, given, {"code": code})

    def record(key: Sign = ISSUER, **over: Any) -> bytes:
        return signed_object(4, msg(fields(**over)), key)

    yield case("ok", "OK", "An ordinary record.", record())
    yield case("e-issuer", "E_ISSUER", "Signed by a node.", record(NODE))
    yield case("e-type", "E_TYPE", "A certificate in its place.", signed_object(2, msg(fields()), ISSUER))
    yield case("e-sig", "E_SIG", "One bit of the signature.", record()[:-1] + bytes([record()[-1] ^ 1]))
    yield case("e-grant-role", "E_GRANT", "A role that the issuer may not give.", record(roles=["admin"]))
    yield case("e-grant-zone", "E_GRANT", "A zone that the issuer may not give.", record(zone=[2]))
    yield case("e-schema-uses", "E_SCHEMA", "No use at all.", record(max_uses=0))
    yield case("e-schema-approval", "E_SCHEMA", "1 is not true.", record(approval=1))


def all_cases() -> Iterator[Case]:
    yield from certificates()
    yield from enrolments()
    yield from records()
