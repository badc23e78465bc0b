"""The cases of envelope, invite, body and hash vectors; codes are stated here by hand, from SPEC."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import Any

from .build import (
    AUDIENCE,
    BASE,
    BODY,
    ENV_DOMAIN,
    EXPIRED,
    NODE,
    NODE_BOX,
    NOW_MS,
    NOW_S,
    OBJ_DOMAIN,
    OTHER,
    SERIAL,
    SWARM,
    SWARM_ID,
    TORSION,
    TYPES,
    Box,
    Case,
    Env,
    Sign,
    add,
    audience_hash,
    compact,
    dns,
    encode_point,
    hand_sign,
    hpke_seal,
    invite_bytes,
    invite_text,
    ipv4,
    ipv6,
    msg,
    mul,
    scalar,
    seed,
    sha,
)

L = 2**252 + 27742317777372353535851937790883648493
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


def invite(name: str, code: str, comment: str, text: str, clause: str = "INV-5", **fields: Any) -> Case:
    return Case("invite", name, clause, comment, {"text": text}, {"code": code, **fields})


def invites() -> Iterator[Case]:
    def said(data: bytes, *endpoints: dict[str, Any]) -> dict[str, Any]:
        return {
            "version": 1,
            "flags": data[1],
            "expiry": int.from_bytes(data[2:6], "big"),
            "invite_id": data[6:14].hex(),
            "secret": data[14:30].hex(),
            "swarm_id": data[30:62].hex(),
            "bus_pin": data[62:78].hex(),
            "endpoints": list(endpoints),
        }

    lan = {"type": 1, "host": "192.168.1.7", "port": 4747}
    bare = invite_bytes()
    one = invite_bytes(endpoints=[ipv4(bytes([192, 168, 1, 7]), 4747)])
    text = invite_text(one)
    yield invite(
        "ok-mdns",
        "OK",
        "No endpoint: found by mDNS. 139 characters.",
        invite_text(bare),
        "INV-2",
        **said(bare),
    )
    yield invite("ok-ipv4", "OK", "One IPv4 endpoint. 152 characters.", text, "INV-3", **said(one, lan))
    six = invite_bytes(endpoints=[ipv6(bytes.fromhex("20010db8000000000000000000000001"), 443)])
    yield invite(
        "ok-ipv6",
        "OK",
        "One IPv6 endpoint.",
        invite_text(six),
        "INV-3",
        **said(six, {"type": 2, "host": "2001:db8::1", "port": 443}),
    )
    named = invite_bytes(endpoints=[dns(b"bus.example.org", 4747)])
    yield invite(
        "ok-dns",
        "OK",
        "One DNS endpoint.",
        invite_text(named),
        "INV-3",
        **said(named, {"type": 3, "host": "bus.example.org", "port": 4747}),
    )
    three = invite_bytes(
        endpoints=[ipv4(bytes([10, 0, 0, 1]), 1), ipv4(bytes([10, 0, 0, 2]), 65535), dns(b"h", 2)]
    )
    yield invite(
        "ok-three",
        "OK",
        "Three endpoints, in their order.",
        invite_text(three),
        "INV-3",
        **said(
            three,
            {"type": 1, "host": "10.0.0.1", "port": 1},
            {"type": 1, "host": "10.0.0.2", "port": 65535},
            {"type": 3, "host": "h", "port": 2},
        ),
    )
    for flags in (0, 2, 4, 8, 15):
        data = invite_bytes(flags=flags)
        yield invite(
            f"ok-flags-{flags:02x}", "OK", f"Flags {flags:#04x}.", invite_text(data), "INV-2", **said(data)
        )
    late = invite_bytes(expiry=0xFFFFFFFF)
    yield invite(
        "ok-expiry-max",
        "OK",
        "The last expiry; whether it is over is not the decoder's question.",
        invite_text(late),
        "INV-2",
        **said(late),
    )
    unknown = invite_bytes(endpoints=[b"\x09\x03abc", ipv4(bytes([192, 168, 1, 7]), 4747)])
    yield invite(
        "ok-endpoint-unknown",
        "OK",
        "An endpoint of a later type is passed over.",
        invite_text(unknown),
        "INV-3",
        **said(unknown, lan),
    )
    control = invite_bytes(endpoints=[dns(b"a\x1b[31m.example", 1)])
    yield invite(
        "ok-endpoint-no-name",
        "OK",
        "A name that is no host name is passed over.",
        invite_text(control),
        "INV-3",
        **said(control),
    )
    yield invite("ok-upper", "OK", "In capitals, as in a QR code.", text.upper(), "INV-4", **said(one, lan))
    yield invite(
        "ok-spaced",
        "OK",
        "With spaces, dashes and line ends.",
        " " + "-".join(text[i : i + 7] for i in range(0, 77, 7)) + "\r\n\t" + text[77:] + "\n",
        "INV-4",
        **said(one, lan),
    )

    yield invite("e-prefix-none", "E_PREFIX", "Nothing.", "")
    yield invite("e-prefix-other", "E_PREFIX", "Another swarm program's token.", "SWMTKN-1-" + text[6:])
    yield invite("e-prefix-version", "E_PREFIX", "swarm2.", invite_text(one, "swarm2"))
    yield invite("e-prefix-cut", "E_PREFIX", "Without its first letter.", text[1:])
    yield invite("e-prefix-quoted", "E_PREFIX", "In quotation marks.", f'"{text}"')
    yield invite("e-len-prefix-only", "E_LEN", "The prefix and nothing else.", "swarm1")
    yield invite(
        "e-len-short", "E_LEN", "138 characters: one less than the shortest.", invite_text(bare)[:-1]
    )
    yield invite("e-len-long", "E_LEN", "Longer than an invite can be.", text + "a" * 1600)
    yield invite("e-b32-digit", "E_B32", "A 1, which base32 does not have.", text[:40] + "1" + text[41:])
    yield invite("e-b32-zero", "E_B32", "A 0 for an o.", text[:40] + "0" + text[41:])
    yield invite("e-b32-pad", "E_B32", "With base32's padding.", invite_text(bare) + "===")
    yield invite("e-b32-umlaut", "E_B32", "A letter of another alphabet.", text[:40] + "\u00e4" + text[41:])
    yield invite(
        "e-b32-kelvin",
        "E_B32",
        "The Kelvin sign, which becomes a k in lower case.",
        text[:40] + "\u212a" + text[41:],
    )
    spare = invite_text(bare)
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    yield invite(
        "e-b32-noncanonical",
        "E_B32_NONCANONICAL",
        "A bit behind the last byte is set.",
        spare[:-1] + alphabet[alphabet.index(spare[-1]) ^ 1],
    )
    yield invite(
        "e-checksum-typo",
        "E_CHECKSUM",
        "One character mistyped.",
        text[:40] + ("b" if text[40] != "b" else "c") + text[41:],
    )
    swapped = next(i for i in range(20, 100) if text[i] != text[i + 1])
    yield invite(
        "e-checksum-swap",
        "E_CHECKSUM",
        "Two characters swapped.",
        text[:swapped] + text[swapped + 1] + text[swapped] + text[swapped + 2 :],
    )
    yield invite(
        "e-checksum-domain",
        "E_CHECKSUM",
        "A checksum without its domain.",
        invite_text(invite_bytes(domain=b"")),
    )
    yield invite(
        "e-checksum-zero", "E_CHECKSUM", "A checksum of zeros.", invite_text(invite_bytes(check=bytes(4)))
    )
    yield invite(
        "e-checksum-before-version",
        "E_CHECKSUM",
        "Checksum and version wrong: the checksum comes first.",
        invite_text(invite_bytes(version=2, check=bytes(4))),
    )
    yield invite("e-version-0", "E_VERSION", "Version 0.", invite_text(invite_bytes(version=0)))
    yield invite("e-version-2", "E_VERSION", "Version 2.", invite_text(invite_bytes(version=2)))
    yield invite(
        "e-version-before-flags",
        "E_VERSION",
        "Version and flags wrong: the version comes first.",
        invite_text(invite_bytes(version=2, flags=0x80)),
    )
    for bit in (4, 7):
        yield invite(
            f"e-flags-b{bit}",
            "E_FLAGS",
            f"Reserved flag b{bit}.",
            invite_text(invite_bytes(flags=1 | 1 << bit)),
        )
    yield invite(
        "e-trunc-none",
        "E_TRUNC",
        "One endpoint is announced and none is there.",
        invite_text(invite_bytes(count=1)),
    )
    yield invite(
        "e-trunc-head",
        "E_TRUNC",
        "An endpoint ends behind its type.",
        invite_text(invite_bytes(count=1, endpoints=[b"\x01"])),
    )
    yield invite(
        "e-trunc-data",
        "E_TRUNC",
        "An endpoint's length goes beyond the end.",
        invite_text(invite_bytes(endpoints=[b"\x01\x06\x0a\x00"])),
    )
    yield invite(
        "e-trunc-second",
        "E_TRUNC",
        "Two endpoints are announced and one is there.",
        invite_text(invite_bytes(count=2, endpoints=[ipv4(bytes(4), 1)])),
    )
    yield invite(
        "e-trunc-address",
        "E_TRUNC",
        "An IPv4 endpoint of five bytes.",
        invite_text(invite_bytes(endpoints=[b"\x01\x05" + bytes(5)])),
    )
    yield invite(
        "e-trailing",
        "E_TRAILING",
        "A byte behind the last endpoint.",
        invite_text(invite_bytes(count=0, endpoints=[b"\0"])),
    )
    yield invite(
        "e-trailing-endpoint",
        "E_TRAILING",
        "One endpoint more than announced.",
        invite_text(invite_bytes(count=1, endpoints=[ipv4(bytes(4), 1)] * 2)),
    )
    yield invite(
        "e-trailing-address",
        "E_TRAILING",
        "An IPv4 endpoint of seven bytes.",
        invite_text(invite_bytes(endpoints=[b"\x01\x07" + bytes(7)])),
    )


def body(name: str, code: str, clause: str, comment: str, data: bytes, value: Any = None) -> Case:
    expect: dict[str, Any] = {"code": code}
    if code == "OK":
        expect["value"] = value
    return Case("body", name, clause, comment, {"hex": data.hex()}, expect)


def bodies() -> Iterator[Case]:
    """Values are JSON; bytes as {"$hex": "..."}, integers beyond 2^53 as {"$int": "..."}, 64-bit floats as {"$float": "<hex>"}."""
    yield body(
        "ok-map",
        "OK",
        "BODY-1",
        "A map.",
        msg({"a": 1, "b": [True, None, "x"]}),
        {"a": 1, "b": [True, None, "x"]},
    )
    yield body("ok-bytes", "OK", "BODY-1", "Bytes.", msg([b"\x01\x02"]), [{"$hex": "0102"}])
    yield body(
        "ok-float",
        "OK",
        "BODY-4",
        "A float of 64 bits.",
        msg([0.5]),
        [{"$float": struct.pack(">d", 0.5).hex()}],
    )
    yield body(
        "ok-float32",
        "OK",
        "BODY-6",
        "A float of 32 bits.",
        b"\x91\xca" + struct.pack(">f", 0.5),
        [{"$float": struct.pack(">d", 0.5).hex()}],
    )
    yield body("ok-empty", "OK", "BODY-1", "An empty map.", b"\x80", {})
    yield body(
        "ok-i64-max", "OK", "BODY-4", "The largest integer.", msg([2**63 - 1]), [{"$int": str(2**63 - 1)}]
    )
    yield body(
        "ok-i64-min", "OK", "BODY-4", "The smallest integer.", msg([-(2**63)]), [{"$int": str(-(2**63))}]
    )
    yield body(
        "ok-long-int",
        "OK",
        "BODY-6",
        "5 in eight bytes: longer than needed.",
        b"\x91\xcf" + (5).to_bytes(8, "big"),
        [5],
    )
    yield body("ok-long-str", "OK", "BODY-6", "A short string with a 32-bit length.", b"\xdb\0\0\0\x01a", "a")
    yield body(
        "ok-long-map",
        "OK",
        "BODY-6",
        "A short map with a 32-bit count.",
        b"\xdf\0\0\0\x01\xa1a\x01",
        {"a": 1},
    )
    yield body(
        "ok-unicode",
        "OK",
        "BODY-1",
        "Text beyond ASCII.",
        msg({"n": "Zo\u00eb \u65e5\u672c"}),
        {"n": "Zo\u00eb \u65e5\u672c"},
    )
    deep: Any = 1
    for _ in range(16):
        deep = [deep]
    yield body("ok-depth-16", "OK", "BODY-5", "16 arrays inside one another.", msg(deep), deep)
    yield body(
        "ok-same-key-elsewhere",
        "OK",
        "BODY-2",
        "One key in two maps.",
        msg([{"a": 1}, {"a": 2}]),
        [{"a": 1}, {"a": 2}],
    )

    bad = "E_BODY"
    yield body("e-empty", bad, "BODY-1", "No bytes.", b"")
    yield body("e-trailing", bad, "BODY-1", "A byte behind the value.", msg({"a": 1}) + b"\0")
    yield body("e-two-values", bad, "BODY-1", "Two values.", msg(1) + msg(2))
    yield body("e-cut", bad, "BODY-1", "A string that is cut off.", b"\xa5abc")
    yield body("e-cut-array", bad, "BODY-1", "An array that is cut off.", b"\x93\x01\x02")
    yield body("e-c1", bad, "BODY-1", "0xC1, which msgpack does not have.", b"\xc1")
    yield body("e-utf8", bad, "BODY-1", "A string that is not UTF-8.", b"\xa2\xc3\x28")
    yield body("e-utf8-surrogate", bad, "BODY-1", "A surrogate in UTF-8.", b"\xa3\xed\xa0\x80")
    yield body("e-key-int", bad, "BODY-2", "A key that is a number.", b"\x81\x01\x02")
    yield body("e-key-bytes", bad, "BODY-2", "A key of bytes.", b"\x81\xc4\x01a\x02")
    yield body("e-key-nil", bad, "BODY-2", "A key that is nil.", b"\x81\xc0\x02")
    yield body("e-key-array", bad, "BODY-2", "A key that is an array.", b"\x81\x90\x02")
    yield body(
        "e-duplicate", bad, "BODY-2", "The same key twice, with two values.", b"\x82\xa1a\x01\xa1a\x02"
    )
    yield body(
        "e-duplicate-same", bad, "BODY-2", "The same key twice, with one value.", b"\x82\xa1a\x01\xa1a\x01"
    )
    yield body(
        "e-duplicate-inside",
        bad,
        "BODY-2",
        "The same key twice, in an inner map, the second time encoded longer.",
        b"\x91\x82\xa1a\x01\xd9\x01a\x02",
    )
    yield body("e-ext-timestamp", bad, "BODY-3", "A timestamp.", b"\xd6\xff\0\0\0\x01")
    yield body("e-ext-zero", bad, "BODY-3", "An extension of no bytes.", b"\xc7\x00\x05")
    yield body("e-ext-fixed", bad, "BODY-3", "An extension of one byte.", b"\xd4\x05a")
    yield body("e-nan", bad, "BODY-4", "Not a number.", b"\x91\xcb\x7f\xf8" + bytes(6))
    yield body("e-infinity", bad, "BODY-4", "Infinity.", b"\x91\xcb\x7f\xf0" + bytes(6))
    yield body("e-infinity-32", bad, "BODY-4", "Minus infinity in 32 bits.", b"\x91\xca\xff\x80\0\0")
    yield body("e-u64", bad, "BODY-4", "One more than the largest integer.", b"\xcf\x80" + bytes(7))
    yield body("e-depth-17", bad, "BODY-5", "17 arrays inside one another.", msg([deep]))
    yield body("e-depth-1024", bad, "BODY-5", "1,024 arrays inside one another.", b"\x91" * 1024 + b"\xc0")
    yield body("e-nodes", bad, "BODY-5", "10,001 values.", msg([[0] * 3333] * 3))
    yield body("e-array", bad, "BODY-5", "An array of 4,097 items.", msg([0] * 4097))
    yield body("e-map", bad, "BODY-5", "A map of 257 entries.", msg({str(i): 0 for i in range(257)}))
    yield body("e-claim-array", bad, "BODY-5", "An array that claims 4 G items.", b"\xdd\xff\xff\xff\xff")
    yield body("e-claim-map", bad, "BODY-5", "A map that claims 4 G entries.", b"\xdf\xff\xff\xff\xff")
    yield body("e-claim-bin", bad, "BODY-5", "Bytes that claim 4 GiB.", b"\xc6\xff\xff\xff\xff")
    yield body(
        "e-claim-nested",
        bad,
        "BODY-5",
        "64 arrays inside one another that claim 4,096 items each.",
        b"\xdc\x10\x00" * 64,
    )


def keys() -> Iterator[Case]:
    def key(name: str, code: str, comment: str, public: bytes) -> Case:
        return Case("key", name, "KEY-2", comment, {"public_key": public.hex()}, {"code": code})

    yield key("ok", "OK", "An ordinary key.", NODE.public)
    yield key("ok-other", "OK", "Another.", OTHER.public)
    mixed = encode_point(add(mul(scalar("mixed"), BASE), TORSION))
    yield key(
        "ok-mixed-order",
        "OK",
        "A point with a small-order part is neither of small order nor non-canonical.",
        mixed,
    )
    small = {encode_point(mul(i, TORSION)) for i in range(8)}
    for number, point in enumerate(sorted(small)):
        yield key(f"e-small-{number}", "E_KEY", "A point of small order.", point)
    p = 2**255 - 19
    for name, y in (("p", p), ("p1", p + 1), ("p3", p + 3), ("max", 2**255 - 1)):
        yield key(f"e-noncanonical-{name}", "E_KEY", "y is not below p.", y.to_bytes(32, "little"))
    yield key(
        "e-noncanonical-sign-1",
        "E_KEY",
        "y = 1 with the sign of zero set.",
        (1 | 1 << 255).to_bytes(32, "little"),
    )
    yield key(
        "e-noncanonical-sign-m1",
        "E_KEY",
        "y = -1 with the sign of zero set.",
        (p - 1 | 1 << 255).to_bytes(32, "little"),
    )
    yield key("e-no-point", "E_KEY", "No point of the curve has y = 2.", (2).to_bytes(32, "little"))
    yield key("e-short", "E_KEY", "31 bytes.", NODE.public[:31])
    yield key("e-long", "E_KEY", "33 bytes.", NODE.public + b"\0")
    yield key("e-none", "E_KEY", "No bytes.", b"")


def signatures() -> Iterator[Case]:
    def signature(
        name: str, holds: bool, clause: str, comment: str, public: bytes, data: bytes, sig: bytes
    ) -> Case:
        given = {"public_key": public.hex(), "message": data.hex(), "signature": sig.hex()}
        return Case("signature", name, clause, comment, given, {"holds": holds})

    data = b"what is signed"
    good = NODE.sign(data)
    yield signature("ok", True, "KEY-1", "An ordinary signature.", NODE.public, data, good)
    yield signature("ok-empty", True, "KEY-1", "Of no bytes.", NODE.public, b"", NODE.sign(b""))
    yield signature("bad-message", False, "KEY-1", "Of another message.", NODE.public, data + b"!", good)
    yield signature("bad-key", False, "KEY-1", "Of another key.", OTHER.public, data, good)
    s = int.from_bytes(good[32:], "little")
    yield signature(
        "bad-s-plus-l",
        False,
        "KEY-1",
        "S + L.",
        NODE.public,
        data,
        good[:32] + (s + L).to_bytes(32, "little"),
    )
    secret, nonce = scalar("hand secret"), scalar("hand nonce")
    public, r = encode_point(mul(secret, BASE)), mul(nonce, BASE)
    yield signature(
        "ok-by-hand",
        True,
        "KEY-1",
        "Made by hand, as the next ones.",
        public,
        data,
        hand_sign(secret, public, nonce, r, data),
    )
    yield signature(
        "bad-r-torsion",
        False,
        "KEY-1",
        "Holds only with the cofactor.",
        public,
        data,
        hand_sign(secret, public, nonce, add(r, TORSION), data),
    )
    yield signature(
        "bad-r-neutral",
        False,
        "KEY-3",
        "Holds, but R is the neutral element.",
        public,
        data,
        hand_sign(secret, public, 0, (0, 1), data),
    )
    mixed = encode_point(add(mul(secret, BASE), TORSION))
    found: dict[bool, bytes] = {}
    for number in range(64):
        text = b"message %d" % number
        sig = hand_sign(secret, mixed, nonce, r, text)
        import hashlib

        k = int.from_bytes(hashlib.sha512(sig[:32] + mixed + text).digest(), "little") % L
        found.setdefault(k % 8 == 0, text)
    yield signature(
        "ok-mixed-key",
        True,
        "KEY-1",
        "A key with a small-order part; the plain equation holds.",
        mixed,
        found[True],
        hand_sign(secret, mixed, nonce, r, found[True]),
    )
    yield signature(
        "bad-mixed-key",
        False,
        "KEY-1",
        "The same key; only the equation with the cofactor holds.",
        mixed,
        found[False],
        hand_sign(secret, mixed, nonce, r, found[False]),
    )
    yield signature("bad-length", False, "KEY-1", "63 bytes.", NODE.public, data, good[:63])


def hashes() -> Iterator[Case]:
    def derived(
        name: str, clause: str, comment: str, what: str, given: dict[str, Any], out: bytes | str
    ) -> Case:
        return Case(
            "hash",
            name,
            clause,
            comment,
            {"what": what, **given},
            {"value": out.hex() if isinstance(out, bytes) else out},
        )

    yield derived("node-id", "ENV-5", "A node's id.", "node_id", {"public_key": NODE.public.hex()}, NODE.node)
    yield derived(
        "key-id", "KEY-4", "A signing key's id.", "key_id", {"public_key": NODE.public.hex()}, NODE.id
    )
    for name, text in (
        ("bids", AUDIENCE),
        ("presence", "swarm/presence"),
        ("node", "node/" + NODE.node.hex()),
        ("capability", "cap/text.summarize"),
    ):
        yield derived(
            f"audience-{name}", "ENV-6", "An audience.", "audience", {"text": text}, audience_hash(text)
        )
    transcript = sha(b"swarm-enrol-v1\0", SWARM_ID, sha(b"head"), b"body")
    yield derived(
        "transcript",
        "ENR-3",
        "An enrolment's transcript.",
        "transcript",
        {"swarm_id": SWARM_ID.hex(), "head": sha(b"head").hex(), "body": b"body".hex()},
        transcript,
    )
    for name in ("one", "two", "three"):
        nonce = seed("nonce " + name)[:16]
        code = f"{int.from_bytes(sha(transcript, nonce)[:4], 'big') % 1_000_000:06d}"
        yield derived(
            f"check-code-{name}",
            "ENR-6",
            "Six digits.",
            "check_code",
            {"transcript": transcript.hex(), "nonce": nonce.hex()},
            code,
        )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    secret = seed("invite secret")[:16]
    proof = HKDF(SHA256(), 32, SWARM_ID, b"swarm-invite-v1 proof").derive(secret)
    public = Ed25519PrivateKey.from_private_bytes(proof).public_key().public_bytes_raw()
    yield derived(
        "proof-key",
        "INV-6",
        "The public key that belongs to an invite's secret.",
        "proof_key",
        {"secret": secret.hex(), "swarm_id": SWARM_ID.hex()},
        public,
    )


def sealed() -> Iterator[Case]:
    def case(
        name: str,
        code: str,
        comment: str,
        sealed: bytes,
        info: bytes,
        plain: bytes = b"",
        clause: str = "SEAL-1",
    ) -> Case:
        expect = {"code": code, "plaintext": plain.hex()} if code == "OK" else {"code": code}
        given = {"private_key": NODE_BOX.seed.hex(), "sealed": sealed.hex(), "info": info.hex()}
        return Case("sealed", name, clause, comment, given, expect)

    plain, info = b"for one node", b"swarm-box-v1" + bytes(106)
    good = hpke_seal(NODE_BOX.public, plain, info, Box("ephemeral"))
    yield case("ok", "OK", "Sealed to this key.", good, info, plain)
    yield case(
        "ok-empty", "OK", "Nothing, sealed.", hpke_seal(NODE_BOX.public, b"", info, Box("ephemeral 2")), info
    )
    yield case("e-info", "E_DECRYPT", "For another place.", good, info + b"\0")
    yield case(
        "e-key",
        "E_DECRYPT",
        "For another key.",
        hpke_seal(Box("else").public, plain, info, Box("ephemeral")),
        info,
    )
    yield case("e-bit", "E_DECRYPT", "One bit of the ciphertext.", good[:-1] + bytes([good[-1] ^ 1]), info)
    yield case(
        "e-enc", "E_DECRYPT", "One bit of the encapsulated key.", bytes([good[0] ^ 1]) + good[1:], info
    )
    yield case("e-cut", "E_DECRYPT", "Cut off.", good[:47], info)
    yield case(
        "e-small-order", "E_DECRYPT", "An encapsulated key of small order.", bytes(32) + good[32:], info
    )
    header = Env(flags=1, length=len(plain) + 48).header()
    raw_body = hpke_seal(NODE_BOX.public, plain, b"swarm-box-v1" + header[:106], Box("ephemeral 3"))
    yield Case(
        "sealed-envelope",
        "ok",
        "ENV-8",
        "The body of an envelope, bound to its header.",
        {"private_key": NODE_BOX.seed.hex(), "hex": Env(flags=1, body=raw_body).raw().hex()},
        {"code": "OK", "plaintext": plain.hex()},
    )
    moved = Env(flags=1, body=raw_body, sender=OTHER.node, key=OTHER, serial=b"serial02").raw()
    yield Case(
        "sealed-envelope",
        "e-moved",
        "ENV-8",
        "The same body, signed again by another member.",
        {"private_key": NODE_BOX.seed.hex(), "hex": moved.hex()},
        {"code": "E_DECRYPT"},
    )


def all_cases() -> Iterator[Case]:
    yield from envelopes()
    yield from invites()
    yield from bodies()
    yield from keys()
    yield from signatures()
    yield from hashes()
    yield from sealed()
    assert NOW_S
