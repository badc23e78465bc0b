"""The cases of msgpack bodies. Codes are stated by hand, from SPEC."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from .build import (
    Case,
    msg,
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


def all_cases() -> Iterator[Case]:
    yield from bodies()
