"""The cases of orders to halt. Every field is written by hand, codes are stated from SPEC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .build import (
    ISSUER,
    NODE,
    NOW_S,
    ROOT,
    Case,
    Sign,
    certificate_fields,
    charter_fields,
    charter_object,
    grant,
    msg,
    signed_object,
    swarm_id_of,
)

OTHER = Sign("second node")
GENESIS = msg(charter_fields(issuers=[grant(roles=["agent", "client", "coordinator", "admin"])]))
"""A swarm whose issuer may make admins."""
SWARM_ID = swarm_id_of(GENESIS)
GENESIS_OBJECT = charter_object(GENESIS, [ROOT])


def certificate(key: Sign = ISSUER, **over: Any) -> bytes:
    fields = certificate_fields(**{"sw": SWARM_ID, "ro": ["admin", "client"], **over})
    return signed_object(2, msg(fields), key)


def order(key: Sign = NODE, **over: Any) -> bytes:
    body = {"v": 1, "swarm": SWARM_ID, "n": 1, "at": NOW_S, "on": True, "why": "a drill", **over}
    return signed_object(8, msg({name: value for name, value in body.items() if value is not ...}), key)


def all_cases() -> Iterator[Case]:
    def case(name: str, code: str, comment: str, raw: bytes, by: bytes | None = None) -> Case:
        given = {
            "hex": raw.hex(),
            "certificate": (certificate() if by is None else by).hex(),
            "chain": [GENESIS_OBJECT.hex()],
            "swarm_id": SWARM_ID.hex(),
        }
        return Case("halt", name, "HLT-1", comment, given, {"code": code})

    good = order()
    yield case("ok", "OK", "An admin stops the swarm.", good)
    yield case("ok-lift", "OK", "And lets it go on.", order(n=2, on=False))
    yield case("ok-short", "OK", "No version, no reason.", order(v=..., why=...))
    yield case("e-certificate", "E_SIG", "The certificate was changed.", good, certificate()[:-1] + b"\0")
    yield case("e-certificate-short", "E_SHORT", "No certificate.", good, b"")
    yield case("e-type", "E_TYPE", "An object of another kind.", signed_object(7, msg({}), NODE))
    yield case("e-issuer", "E_ISSUER", "By another key than the certificate's.", order(OTHER))
    yield case(
        "e-sig", "E_SIG", "Changed after it was signed.", good[:40] + bytes([good[40] ^ 1]) + good[41:]
    )
    yield case("e-len", "E_LEN", "A byte behind it.", good + b"\0")
    yield case("e-body", "E_BODY", "No msgpack.", signed_object(8, b"\xc1", NODE))
    yield case("e-schema-n", "E_SCHEMA", "Number 0.", order(n=0))
    yield case("e-schema-on", "E_SCHEMA", "Neither on nor off.", order(on=1))
    yield case("e-schema-more", "E_SCHEMA", "A field that is not known.", order(more=1))
    yield case("e-swarm", "E_SWARM", "For another swarm.", order(swarm=bytes(32)))
    yield case("e-not-yet", "E_NOT_YET", "Before the certificate begins.", order(at=NOW_S - 61))
    yield case("e-cert-expired", "E_CERT_EXPIRED", "After the certificate's end.", order(at=NOW_S + 604_770))
    yield case(
        "e-role",
        "E_ROLE",
        "By a member that is no admin.",
        good,
        certificate(ro=["agent", "client"]),
    )
