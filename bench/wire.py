"""The verification door: what accepting an envelope costs beside the bare signature check, and what refusing junk costs."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from protocol.codec import pack, unpack
from protocol.envelope import DOMAIN, Sealer, audience_hash, node_id
from protocol.errors import Rejected
from protocol.messages import Bid, Type
from protocol.registry import BODY_NODES_MAX, RULES, body_validator, types_on
from protocol.signing import BACKEND, SigningKey, prepare
from protocol.verify import Directory, Member, Verifier

ROUNDS = 101
PER_ROUND = 50
"""Small turns, one after the other: the machine's speed drifts less within a pair than over a whole measurement."""


def bare_check(public: bytes) -> Callable[[bytes, bytes], object]:
    """The signature library's own verification, called as its documentation says: the same library that the door uses."""
    if BACKEND == "pynacl":
        from nacl.bindings import crypto_sign_open

        return lambda signature, data: crypto_sign_open(signature + data, public)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(public).verify


def accept_over_verify() -> dict[str, float | str]:
    """Alternates bare verification and full acceptance (verify, decode, check the schema) of the same envelopes."""
    key = SigningKey.from_seed(os.urandom(32))
    public = prepare(key.public)
    swarm, serial = os.urandom(8), os.urandom(8)
    bus_key = "U" + "A" * 55
    directory = Directory()
    directory.add(
        Member(
            node_id(key.public),
            public,
            serial,
            expires_ms=1 << 61,
            roles=frozenset({"agent"}),
            bus_key=bus_key,
        )
    )
    now_ms = int(time.time() * 1000)
    audience_text = "run/" + "a" * 26 + "/bids"
    audience = audience_hash(audience_text)
    body = pack(
        [
            Bid(
                subtask="extract.12",
                round=4294967297,
                agent="documents",
                price=1830,
                eta_ms=140,
                success=0.97,
                load=0.31,
                queue=0,
                free_slots=2,
            ).model_dump(exclude_defaults=True)
        ]
    )
    types = types_on("bid")
    validator = body_validator(Type.BID)
    check = bare_check(key.public)
    bare: list[float] = []
    full: list[float] = []
    for _ in range(ROUNDS):
        sealer = Sealer(key, swarm, serial, os.urandom(8))
        verifier = Verifier(swarm, directory, RULES, rate_per_s=1e9, burst=1e9)
        envelopes = [sealer.seal(Type.BID, audience_text, body, now_ms=now_ms) for _ in range(PER_ROUND)]
        signed = [(raw[-64:], DOMAIN + raw[:-64]) for raw in envelopes]
        started = time.perf_counter()
        for signature, data in signed:
            check(signature, data)
        bare.append((time.perf_counter() - started) / PER_ROUND * 1e6)
        started = time.perf_counter()
        for raw in envelopes:
            accepted = verifier.verify(raw, audience=audience, types=types, now_ms=now_ms, bus_key=bus_key)
            validator.validate_python(unpack(accepted.body, max_nodes=BODY_NODES_MAX[Type.BID]))
        full.append((time.perf_counter() - started) / PER_ROUND * 1e6)
    ratios = sorted(f / b for f, b in zip(full, bare, strict=True))
    return {
        "accept_over_verify": round(statistics.median(ratios), 3),
        "accept_over_verify_p10": round(ratios[len(ratios) // 10], 3),
        "accept_over_verify_p90": round(ratios[-len(ratios) // 10], 3),
        "accept_us": round(statistics.median(full), 2),
        "verify_us": round(statistics.median(bare), 2),
        "ed25519": BACKEND,
    }


def reject_us() -> dict[str, float]:
    """Refusing random bytes."""
    verifier = Verifier(os.urandom(8), Directory(), RULES)
    junk = [os.urandom(350) for _ in range(200)]
    audience = os.urandom(16)
    types = types_on("bid")
    figures = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for raw in junk:
            try:
                verifier.verify(raw, audience=audience, types=types, now_ms=0)
            except Rejected:
                pass
            else:
                raise AssertionError("random bytes were accepted")
        figures.append((time.perf_counter() - started) / len(junk) * 1e6)
    return {"reject_us": round(statistics.median(figures), 3), "reject_us_min": round(min(figures), 3)}
