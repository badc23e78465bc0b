"""The cases of envelopes. Codes are stated by hand, from SPEC."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from .build import (
    AUDIENCE,
    BODY,
    ENV_DOMAIN,
    EXPIRED,
    NODE,
    NOW_MS,
    OBJ_DOMAIN,
    OTHER,
    SERIAL,
    SWARM,
    TYPES,
    Case,
    Env,
    L,
    Sign,
    audience_hash,
    compact,
    sha,
)

MEMBERS = [
    {
        "public_key": NODE.public.hex(),
        "sender": NODE.node.hex(),
        "serial": SERIAL.hex(),
        "expires_ms": NOW_MS + 86_400_000,
    },
    {
        "public_key": OTHER.public.hex(),
        "sender": OTHER.node.hex(),
        "serial": b"serial02".hex(),
        "expires_ms": NOW_MS + 86_400_000,
    },
    {
        "public_key": EXPIRED.public.hex(),
        "sender": EXPIRED.node.hex(),
        "serial": b"serial03".hex(),
        "expires_ms": NOW_MS - 1000,
    },
]


def envelope(name: str, code: str, clause: str, comment: str, raw: bytes | Env) -> Case:
    data = raw.raw() if isinstance(raw, Env) else raw
    given = {
        "now_ms": NOW_MS,
        "swarm8": SWARM[:8].hex(),
        "audience": AUDIENCE,
        "types": TYPES,
        "members": MEMBERS,
        "hex": compact(data),
    }
    return Case("envelope", name, clause, comment, given, {"code": code})


def envelopes() -> Iterator[Case]:
    good = Env().raw()
    ok = ("OK", "ENV-1")
    yield envelope("ok", *ok, "The plainest envelope.", good)
    yield envelope(
        "ok-empty-body", *ok, "A body of no bytes: the smallest envelope, 174 bytes.", Env(body=b"")
    )
    yield envelope("ok-large", *ok, "1 MiB, the largest envelope.", Env(body=bytes(1048576 - 174)))
    yield envelope("ok-other-type", "OK", "ENV-9", "The other type that is allowed here.", Env(type=0x0103))
    yield envelope(
        "ok-other-member",
        "OK",
        "ENV-5",
        "Another member.",
        Env(key=OTHER, sender=OTHER.node, serial=b"serial02"),
    )
    yield envelope("ok-flag-tainted", "OK", "ENV-4", "Flag b2.", Env(flags=4))
    yield envelope(
        "ok-flag-sealed",
        "OK",
        "ENV-4",
        "Flag b0; the body is not opened at the door.",
        Env(flags=1, body=bytes(60)),
    )
    yield envelope("ok-flag-group", "OK", "ENV-4", "Flag b1 with a key epoch.", Env(flags=2, epoch=7, zone=1))
    yield envelope("ok-class-internal", "OK", "ENV-12", "Class 1 may travel in clear.", Env(cls=1))
    yield envelope("ok-zone", "OK", "ENV-12", "A zone that the sender has.", Env(zone=3))
    yield envelope("ok-seq-far", "OK", "ENV-13", "A session may begin anywhere above 0.", Env(seq=2**63))
    yield envelope(
        "ok-context", "OK", "ENV-1", "A context is not judged at the door.", Env(context=b"c" * 16)
    )
    yield envelope(
        "ok-time-oldest",
        "OK",
        "ENV-11",
        "As old as it may be: ttl and 30 s, to the millisecond.",
        Env(time_ms=NOW_MS - 60_000),
    )
    yield envelope(
        "ok-time-ahead",
        "OK",
        "ENV-11",
        "30 s from the future, to the millisecond.",
        Env(time_ms=NOW_MS + 30_000),
    )
    yield envelope(
        "ok-ttl-zero",
        "OK",
        "ENV-11",
        "ttl 0 leaves the 30 s of clock difference.",
        Env(ttl_s=0, time_ms=NOW_MS - 30_000),
    )
    yield envelope(
        "ok-ttl-max",
        "OK",
        "ENV-11",
        "ttl 600 s, the most, and as old as it may be.",
        Env(ttl_s=600, time_ms=NOW_MS - 630_000),
    )

    yield envelope("e-short-nothing", "E_SHORT", "ENV-10", "No bytes at all.", b"")
    yield envelope("e-short-header", "E_SHORT", "ENV-10", "A header and nothing else.", good[:110])
    yield envelope(
        "e-short-173", "E_SHORT", "ENV-10", "One byte less than the smallest.", Env(body=b"").raw()[:-1]
    )
    yield envelope(
        "e-short-before-magic",
        "E_SHORT",
        "ENV-9",
        "Too short and foreign: the length comes first.",
        b"x" * 100,
    )
    yield envelope("e-long", "E_LONG", "ENV-10", "One byte more than 1 MiB.", Env(body=bytes(1048576 - 173)))
    yield envelope(
        "e-long-before-magic",
        "E_LONG",
        "ENV-9",
        "Too long and foreign: the length comes first.",
        b"x" * 1048577,
    )
    yield envelope(
        "e-magic-object",
        "E_MAGIC",
        "ENV-1",
        "The magic of a signed object, correctly signed.",
        Env(magic=b"\xc1\x4f"),
    )
    yield envelope("e-magic-json", "E_MAGIC", "ENV-1", "JSON.", b'{"v":1}' * 30)
    yield envelope(
        "e-magic-before-version",
        "E_MAGIC",
        "ENV-9",
        "Magic and version wrong: the magic comes first.",
        Env(magic=b"\0\0", version=9),
    )
    yield envelope("e-version-0", "E_VERSION", "ENV-3", "Version 0, correctly signed.", Env(version=0))
    yield envelope(
        "e-version-2",
        "E_VERSION",
        "ENV-3",
        "A version that does not exist yet, correctly signed.",
        Env(version=2),
    )
    for bit in (4, 5, 6, 7):
        yield envelope(
            f"e-flags-b{bit}",
            "E_FLAGS",
            "ENV-4",
            f"Reserved flag b{bit}, correctly signed.",
            Env(flags=1 << bit),
        )
    yield envelope(
        "e-reserved", "E_RESERVED", "ENV-1", "Byte 7 is not zero, correctly signed.", Env(reserved=1)
    )
    yield envelope(
        "e-swarm",
        "E_SWARM",
        "ENV-9",
        "Another swarm's message, correctly signed.",
        Env(swarm=sha(b"other")[:8]),
    )
    yield envelope("e-type-unknown", "E_TYPE", "ENV-9", "A type that nobody knows.", Env(type=0x7777))
    yield envelope(
        "e-type-elsewhere",
        "E_TYPE",
        "ENV-9",
        "An award, which is not allowed on this subject.",
        Env(type=0x0110),
    )
    yield envelope(
        "e-type-journal",
        "E_TYPE",
        "ENV-16",
        "A stored record (flag b3) sent as a live message.",
        Env(flags=8),
    )
    yield envelope(
        "e-aud",
        "E_AUD",
        "ENV-6",
        "For another run.",
        Env(audience=audience_hash("run/bbbbbbbbbbbbbbbbbbbbbbbbbb/bids")),
    )
    yield envelope(
        "e-aud-case",
        "E_AUD",
        "ENV-6",
        "The audience's text in capitals is another text.",
        Env(audience=audience_hash(AUDIENCE.upper())),
    )
    yield envelope(
        "e-len-more",
        "E_LEN",
        "ENV-10",
        "The length field says one more than there is.",
        Env(length=len(BODY) + 1),
    )
    yield envelope(
        "e-len-less",
        "E_LEN",
        "ENV-10",
        "The length field says one less than there is.",
        Env(length=len(BODY) - 1),
    )
    yield envelope("e-len-huge", "E_LEN", "ENV-10", "The length field says 4 GiB.", Env(length=0xFFFFFFFF))
    yield envelope("e-len-appended", "E_LEN", "ENV-10", "A byte behind the signature.", good + b"\0")
    yield envelope("e-time-old", "E_TIME", "ENV-11", "One millisecond too old.", Env(time_ms=NOW_MS - 60_001))
    yield envelope(
        "e-time-ahead",
        "E_TIME",
        "ENV-11",
        "One millisecond too far in the future.",
        Env(time_ms=NOW_MS + 30_001),
    )
    yield envelope("e-time-ttl", "E_TIME", "ENV-11", "A live ttl of 601 s.", Env(ttl_s=601))
    yield envelope(
        "e-time-ttl-huge", "E_TIME", "ENV-11", "The largest ttl, from 1970.", Env(ttl_s=0xFFFFFFFF, time_ms=0)
    )
    yield envelope("e-time-max", "E_TIME", "ENV-11", "The largest time.", Env(time_ms=2**64 - 1))
    yield envelope(
        "e-sender",
        "E_SENDER",
        "ENV-9",
        "A correctly signed message of nobody we know.",
        Env(key=Sign("stranger"), sender=Sign("stranger").node),
    )
    yield envelope(
        "e-revoked-serial",
        "E_REVOKED",
        "CERT-7",
        "A serial that is not the current one.",
        Env(serial=b"oldserial"[:8]),
    )
    yield envelope(
        "e-cert-expired",
        "E_CERT_EXPIRED",
        "ENV-9",
        "The sender's certificate ended a second ago.",
        Env(key=EXPIRED, sender=EXPIRED.node, serial=b"serial03"),
    )
    yield envelope(
        "e-class-confidential", "E_CLASS", "ENV-12", "Class 2 in clear, correctly signed.", Env(cls=2)
    )
    yield envelope(
        "e-class-restricted", "E_CLASS", "ENV-12", "Class 3 in clear, correctly signed.", Env(cls=3)
    )
    yield envelope("e-class-unknown", "E_CLASS", "ENV-12", "Class 4 does not exist.", Env(cls=4))
    yield envelope("e-replay-seq-0", "E_REPLAY", "ENV-7", "Sequence numbers begin at 1.", Env(seq=0))

    def flip(at: int) -> bytes:
        return good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]

    yield envelope("e-sig-body", "E_SIG", "ENV-2", "One bit of the body.", flip(115))
    yield envelope("e-sig-context", "E_SIG", "ENV-2", "One bit of the context.", flip(95))
    yield envelope("e-sig-session", "E_SIG", "ENV-2", "One bit of the session.", flip(46))
    yield envelope("e-sig-epoch", "E_SIG", "ENV-2", "One bit of the key epoch.", flip(13))
    yield envelope("e-sig-r", "E_SIG", "ENV-2", "One bit of the signature's R.", flip(len(good) - 64))
    yield envelope("e-sig-s", "E_SIG", "ENV-2", "One bit of the signature's S.", flip(len(good) - 32))
    yield envelope("e-sig-zero", "E_SIG", "ENV-2", "A signature of zeros.", good[:-64] + bytes(64))
    yield envelope("e-sig-other-key", "E_SIG", "ENV-2", "Signed by another member.", Env(key=OTHER))
    yield envelope("e-sig-no-domain", "E_SIG", "ENV-2", "Signed without the domain.", Env(domain=b""))
    yield envelope(
        "e-sig-object-domain", "E_SIG", "ENV-2", "Signed in the domain of objects.", Env(domain=OBJ_DOMAIN)
    )
    yield envelope(
        "e-sig-short-domain",
        "E_SIG",
        "ENV-2",
        "Signed in the domain without its last zeros.",
        Env(domain=ENV_DOMAIN[:13]),
    )
    s = int.from_bytes(good[-32:], "little") + L
    yield envelope(
        "e-sig-s-plus-l",
        "E_SIG",
        "KEY-1",
        "S + L: the same signature, written another way.",
        good[:-32] + s.to_bytes(32, "little"),
    )
    other = dataclasses.replace(Env(), body=BODY + b"\0").raw()
    yield envelope(
        "e-sig-other-message", "E_SIG", "ENV-2", "Another message's signature.", good[:-64] + other[-64:]
    )


def all_cases() -> Iterator[Case]:
    yield from envelopes()
