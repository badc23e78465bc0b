from __future__ import annotations

import enum
import math
import tracemalloc

import msgpack
import pytest

from protocol import codec
from protocol.codec import pack, unpack
from protocol.errors import Rejected


class Colour(enum.StrEnum):
    RED = "red"


def refused(data: bytes, **limits: int) -> str:
    with pytest.raises(Rejected) as caught:
        unpack(data, **limits)
    assert caught.value.code == "E_BODY"
    return caught.value.message


@pytest.mark.requirement("BODY-1")
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        0.5,
        "",
        "Zoë",
        b"",
        b"\x00\xff",
        [],
        {},
        [{"a": [1, {"b": b"c"}]}],
    ],
    ids=repr,
)
def test_what_is_packed_comes_back(value: object) -> None:
    assert unpack(pack(value)) == value


def test_tuples_and_enumeration_members_are_packed_as_what_they_stand_for() -> None:
    assert unpack(pack({"a": (1, 2), "b": Colour.RED, Colour.RED: 1})) == {"a": [1, 2], "b": "red", "red": 1}


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        [-math.inf],
        2**63,
        -(2**63) - 1,
        {1: 2},
        {b"a": 1},
        {None: 1},
        pytest.param(object(), id="an object"),
        {"a": {1, 2}},
        "\ud800",
        2**70,
    ],
    ids=repr,
)
def test_what_no_strict_decoder_would_take_is_not_packed(value: object) -> None:
    with pytest.raises(Rejected) as caught:
        pack(value)
    assert caught.value.code == "E_BODY"


def test_packing_goes_on_after_a_failure() -> None:
    with pytest.raises(Rejected):
        pack([1, 2, object()])
    assert pack([1]) == b"\x91\x01"


def test_a_value_that_is_too_deep_is_not_packed() -> None:
    deep: object = 1
    for _ in range(17):
        deep = [deep]
    with pytest.raises(Rejected):
        pack(deep)
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(Rejected):
        pack(endless)


@pytest.mark.requirement("BODY-2")
def test_a_duplicate_key_is_found_however_it_is_encoded() -> None:
    assert "same key" in refused(b"\x82\xa1a\x01\xa1a\x02")
    assert "same key" in refused(b"\x82\xa1a\x01\xd9\x01a\x02")
    assert "same key" in refused(b"\x92\x81\xa1a\x01\x82\xa1b\x01\xa1b\x01")


@pytest.mark.requirement("BODY-3")
@pytest.mark.parametrize("data", [b"\xd6\xff\0\0\0\1", b"\xc7\0\5", b"\xd4\5a", b"\xc7\x0c\xff" + bytes(12)])
def test_extension_types_are_refused(data: bytes) -> None:
    refused(data)


@pytest.mark.requirement("BODY-5")
def test_limits_of_depth_and_values_are_the_callers() -> None:
    assert unpack(b"\x91\x91\x01", max_depth=2) == [[1]]
    refused(b"\x91\x91\x01", max_depth=1)
    assert unpack(pack([1, 2, 3]), max_nodes=4) == [1, 2, 3]
    refused(pack([1, 2, 3]), max_nodes=3)
    # Keys are not counted.
    assert unpack(pack({"a": 1}), max_nodes=2) == {"a": 1}


def test_a_caller_may_allow_more_values_than_usual() -> None:
    value = [[0] * 4000] * 5
    assert unpack(msgpack.packb(value), max_nodes=30_000) == value


@pytest.mark.requirement("BODY-6")
def test_longer_encodings_than_needed_are_accepted() -> None:
    assert unpack(b"\xdf\0\0\0\1\xdb\0\0\0\1a\xd3" + bytes(7) + b"\5") == {"a": 5}


BOMBS = {
    "64 KiB of empty arrays": b"\x90" * 65536,
    "empty arrays in arrays of the largest size": (b"\xdc\x0f\xff" + b"\x90" * 4095) * 16,
    "1,024 arrays inside one another": b"\x91" * 1024 + b"\xc0",
    "1,024 claims of the largest array": b"\xdc\x10\x00" * 1024,
    "claims with 32 bits": b"\xdd\x00\x00\x10\x00" * 12_000,
    "an array of 4 G items": b"\xdd\xff\xff\xff\xff",
    "a map of 4 G entries": b"\xdf\xff\xff\xff\xff",
    "a string of 4 GiB": b"\xdb\xff\xff\xff\xff",
    "1 MiB of empty maps": b"\xdc\x10\x00" + b"\x80" * (1 << 20),
}


@pytest.mark.requirement("BODY-5")
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_refused_and_takes_no_memory(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        refused(bomb)
        assert tracemalloc.get_traced_memory()[1] < 6 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_large_body_is_judged_like_a_small_one() -> None:
    text = "x" * 70_000
    assert unpack(pack({"a": text})) == {"a": text}
    refused(b"\x82" + pack("a") + pack(text) + pack("a") + pack(1))
    refused(b"\x92" + pack(text) + b"\xcb\x7f\xf0" + bytes(6))
    refused(b"\x92" + pack(text) + b"\xcf" + b"\xff" * 8)
    refused(b"\x92" + pack(text) + b"\xc1")
    refused(b"\x92" + pack(text))
    refused(b"\x81\x01" + pack(text))
    refused(pack([text]) + b"\0")
    assert unpack(b"\x92" + pack(text) + b"\xca\x3f\0\0\0")[1] == 0.5


def test_a_body_of_bytes_that_look_like_array_headers_is_not_a_bomb() -> None:
    value = {"digest": b"\xdc" * 64, "more": b"\xdd" * 64}
    assert unpack(pack(value)) == value


@pytest.mark.parametrize("limit", ["_SCAN_FIRST_BYTES", "_SUSPICIOUS_ARRAYS"])
def test_both_ways_give_the_same_value(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = [{"a": 1, "b": [None, True, -5, 1.25, "é", b"\xff"]}] * 3
    data = pack(value)
    fast = unpack(data)
    monkeypatch.setattr(codec, limit, -1)
    assert unpack(data) == fast == value
