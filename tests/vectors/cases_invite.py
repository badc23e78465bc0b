"""The cases of an invite's text. Codes are stated by hand, from SPEC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .build import (
    Case,
    dns,
    invite_bytes,
    invite_text,
    ipv4,
    ipv6,
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


def all_cases() -> Iterator[Case]:
    yield from invites()
