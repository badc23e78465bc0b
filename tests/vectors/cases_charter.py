"""The cases of signed objects and charters. Codes are stated by hand, from SPEC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .build import (
    ENV_DOMAIN,
    GENESIS,
    GENESIS_OBJECT,
    ISSUER,
    ISSUER2,
    OTHER,
    ROOT,
    ROOT2,
    ROOT3,
    SWARM_ID,
    Case,
    Sign,
    charter_fields,
    charter_object,
    framed,
    grant,
    msg,
    sha,
    signed_object,
    swarm_id_of,
)


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


def all_cases() -> Iterator[Case]:
    yield from objects()
    yield from charters()
