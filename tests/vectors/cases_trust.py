"""The cases of objects, charters, certificates, invite records and enrolment requests; codes are stated here by hand, from SPEC."""

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
    ROOT2,
    ROOT3,
    SERIAL,
    SWARM_ID,
    Box,
    Case,
    Sign,
    certificate_fields,
    charter_fields,
    charter_object,
    framed,
    grant,
    hpke_seal,
    msg,
    seed,
    sha,
    signed_object,
    swarm_id_of,
)

ENV_DOMAIN = b"\xffswarm-env-v1\0\0\0"


def objects() -> Iterator[Case]:
    def case(name: str, code: str, comment: str, raw: bytes, kind: int = 8, clause: str = "OBJ-4") -> Case:
        given = {"hex": raw.hex(), "object_kind": kind, "public_key": ISSUER.public.hex()}
        return Case("object", name, clause, comment, given, {"code": code})

    body = msg({"v": 1})
    good = signed_object(8, body, ISSUER)
    yield case("ok", "OK", "A halt.", good, clause="OBJ-1")
    yield case("ok-empty", "OK", "A body of no bytes.", signed_object(8, b"", ISSUER), clause="OBJ-1")
    for kind in (2, 3, 4, 5, 6, 7, 9):
        yield case(f"ok-kind-{kind}", "OK", f"Kind {kind}.", signed_object(kind, body, ISSUER), kind, "OBJ-3")
    yield case("e-short", "E_SHORT", "87 bytes.", good[:87])
    yield case(
        "e-magic", "E_MAGIC", "The magic of an envelope.", signed_object(8, body, ISSUER, magic=b"\xc1\x53")
    )
    yield case("e-version", "E_VERSION", "Version 2.", signed_object(8, body, ISSUER, version=2))
    yield case("e-type-0", "E_TYPE", "Kind 0.", signed_object(0, body, ISSUER), 8)
    yield case("e-type-10", "E_TYPE", "Kind 10.", signed_object(10, body, ISSUER), 8)
    yield case("e-type-other", "E_TYPE", "An approval shown as a halt.", signed_object(5, body, ISSUER), 8)
    yield case(
        "e-long",
        "E_LONG",
        "A length of 256 KiB and one.",
        framed(8, ISSUER.id, body, length=262145) + bytes(64),
    )
    yield case(
        "e-len-cut", "E_LEN", "The body is cut off.", framed(8, ISSUER.id, body, length=200) + bytes(64)
    )
    yield case("e-len-more", "E_LEN", "A byte behind the signature.", good + b"\0")
    yield case("e-issuer", "E_ISSUER", "Signed by another key.", signed_object(8, body, ISSUER2))
    yield case(
        "e-sig-id",
        "E_SIG",
        "Signed by another key under this key's id.",
        signed_object(8, body, ISSUER2, issuer=ISSUER.id),
    )
    yield case(
        "e-sig-kind",
        "E_SIG",
        "Signed as an approval, shown as a halt.",
        good[:3] + b"\x08" + signed_object(5, body, ISSUER)[4:],
    )
    yield case(
        "e-sig-domain",
        "E_SIG",
        "Signed in the domain of envelopes.",
        signed_object(8, body, ISSUER, domain=ENV_DOMAIN),
        clause="OBJ-2",
    )
    yield case(
        "e-sig-body",
        "E_SIG",
        "Signed over the body alone.",
        framed(8, ISSUER.id, body) + ISSUER.sign(body),
        clause="OBJ-2",
    )


def charter(
    name: str, code: str, clause: str, comment: str, chain: list[bytes], swarm_id: bytes = SWARM_ID
) -> Case:
    given = {"chain": [raw.hex() for raw in chain], "swarm_id": swarm_id.hex()}
    return Case("charter", name, clause, comment, given, {"code": code})


def founded(**over: Any) -> tuple[list[bytes], bytes]:
    body = msg(charter_fields(**over))
    return [charter_object(body, [ROOT])], swarm_id_of(body)


def following(fields: dict[str, Any], keys: list[Sign], before: bytes = GENESIS) -> bytes:
    return charter_object(msg(charter_fields(n=1, prev=sha(before)) | fields), keys)


def charters() -> Iterator[Case]:
    one = following({"name": "home2"}, [ROOT])
    rotated = {"roots": [ROOT2.public]}
    two_of_three = {"roots": [ROOT.public, ROOT2.public, ROOT3.public], "k": 2}
    yield charter("ok", "OK", "CHA-2", "The first charter alone.", [GENESIS_OBJECT])
    yield charter("ok-second", "OK", "CHA-3", "A second one.", [GENESIS_OBJECT, one])
    yield charter(
        "ok-rotated",
        "OK",
        "CHA-5",
        "The root changes; both roots sign.",
        [GENESIS_OBJECT, following(rotated, [ROOT, ROOT2])],
    )
    yield charter(
        "ok-two-of-three",
        "OK",
        "CHA-5",
        "Two of three roots from now on.",
        [GENESIS_OBJECT, following(two_of_three, [ROOT, ROOT3])],
    )
    yield charter("ok-policy", "OK", "CHA-1", "Policy is any map.", *founded(policy={"a": [1, {"b": None}]}))
    yield charter("e-chain-empty", "E_CHAIN", "CHA-3", "No charter.", [])
    yield charter("e-swarm", "E_SWARM", "CHA-2", "Another swarm's charter.", [GENESIS_OBJECT], sha(b"other"))
    yield charter(
        "e-swarm-second-first", "E_SWARM", "CHA-2", "The chain begins with its second charter.", [one]
    )
    yield charter(
        "e-chain-number",
        "E_CHAIN",
        "CHA-3",
        "Number 2 behind number 0.",
        [GENESIS_OBJECT, following({"n": 2}, [ROOT])],
    )
    yield charter(
        "e-chain-prev",
        "E_CHAIN",
        "CHA-3",
        "prev is another hash.",
        [GENESIS_OBJECT, following({"prev": sha(b"x")}, [ROOT])],
    )
    yield charter(
        "e-chain-prev-object",
        "E_CHAIN",
        "CHA-3",
        "prev is the hash of the whole object.",
        [GENESIS_OBJECT, following({"prev": sha(GENESIS_OBJECT)}, [ROOT])],
    )
    yield charter(
        "e-chain-genesis-prev",
        "E_CHAIN",
        "CHA-3",
        "A first charter that names one before.",
        *founded(prev=sha(b"x")),
    )
    yield charter(
        "e-threshold-new",
        "E_THRESHOLD",
        "CHA-5",
        "Only the old root signs a rotation.",
        [GENESIS_OBJECT, following(rotated, [ROOT])],
    )
    yield charter(
        "e-threshold-old",
        "E_THRESHOLD",
        "CHA-5",
        "Only the new root signs a rotation.",
        [GENESIS_OBJECT, following(rotated, [ROOT2])],
    )
    yield charter(
        "e-threshold-same-twice",
        "E_THRESHOLD",
        "CHA-5",
        "One root signs twice where two must.",
        [GENESIS_OBJECT, following(two_of_three, [ROOT, ROOT])],
    )
    yield charter("e-threshold-none", "E_THRESHOLD", "CHA-5", "No signature.", [charter_object(GENESIS, [])])
    yield charter(
        "e-issuer-foreign",
        "E_ISSUER",
        "CHA-4",
        "A signature of no root.",
        [charter_object(GENESIS, [ROOT, OTHER])],
    )
    yield charter(
        "e-issuer-frame",
        "E_ISSUER",
        "CHA-4",
        "An issuer in the frame.",
        [charter_object(GENESIS, [ROOT], issuer=ROOT.id)],
    )
    yield charter(
        "e-sig",
        "E_SIG",
        "CHA-4",
        "One bit of the signature.",
        [GENESIS_OBJECT[:-1] + bytes([GENESIS_OBJECT[-1] ^ 1])],
    )
    yield charter(
        "e-len",
        "E_LEN",
        "CHA-4",
        "One signature more announced than there is.",
        [charter_object(GENESIS, [ROOT], count=2)],
    )
    yield charter(
        "e-type", "E_TYPE", "CHA-4", "A halt in the place of a charter.", [signed_object(8, GENESIS, ROOT)]
    )
    for name, over in (
        ("k-zero", {"k": 0}),
        ("k-more", {"k": 2}),
        ("no-root", {"roots": []}),
        ("root-twice", {"roots": [ROOT.public, ROOT.public]}),
        ("root-small-order", {"roots": [ROOT.public, bytes(32)]}),
        ("issuer-twice", {"issuers": [grant(), grant()]}),
        ("issuer-zone", {"issuers": [grant(zones=[2])]}),
        ("issuer-role", {"issuers": [grant(roles=["king"])]}),
        ("name", {"name": "my home"}),
        ("extra", {"motto": "x"}),
        ("version", {"v": 2}),
        ("prev-short", {"prev": bytes(31)}),
        ("url", {"bus": [{"url": "http://x", "ca_spki": bytes(32)}]}),
    ):
        yield charter(
            f"e-schema-{name}",
            "E_SCHEMA",
            "CHA-6" if "issuer" in name else "CHA-1",
            f"A field is wrong: {name}.",
            *founded(**over),
        )


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
    yield from objects()
    yield from charters()
    yield from certificates()
    yield from enrolments()
    yield from records()
    assert SERIAL
