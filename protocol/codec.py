"""msgpack, strictly: the only encoder and decoder of bodies (SPEC BODY-1 to BODY-6).

Refused, always as `Rejected("E_BODY")`: keys that are not strings, duplicate keys, extension types (timestamps too), strings that are not
UTF-8, NaN and infinities, integers outside a signed 64 bits, more than `max_depth` containers inside one another, more than `max_nodes`
values, bytes behind the value. Encodings that are longer than needed are accepted: a signature covers the bytes that were received, so
nobody ever has to encode a body again to check it.

Two ways to the same verdict. The fast one lets the C decoder work, then encodes the result again: equal bytes prove that no key occurred
twice (a duplicate makes the result shorter) and cost less than a Python call for each map. Everything else, and everything that could
make the C decoder reserve much memory before the depth is known, goes the slow one: a scan of the bytes that reserves nothing.
A value is walked over afterwards, unless its bytes already show that no rule about numbers, keys, depth and size can be broken.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final

import msgpack

from .errors import Rejected
from .limits import MSGPACK_ARRAY, MSGPACK_DEPTH, MSGPACK_MAP, MSGPACK_NODES

__all__ = ["pack", "unpack"]

_SCAN_FIRST_BYTES: Final = 65_536
"""Longer bodies are scanned before they are decoded: the scan ends at the node limit, the C decoder would not."""
_SUSPICIOUS_ARRAYS: Final = 32
"""More bytes than this that could be array headers with a 16 or 32-bit count: each one makes the decoder reserve up to 32 KiB."""
_I64_MAX: Final = (1 << 63) - 1
_SIZED: Final = frozenset((0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB))
"""bin 8/16/32 and str 8/16/32: a length, then as many bytes."""
_WIDTHS: Final = {
    **dict.fromkeys((0xC4, 0xCC, 0xD0, 0xD9), 1),
    **dict.fromkeys((0xC5, 0xCD, 0xD1, 0xDA, 0xDC, 0xDE), 2),
    **dict.fromkeys((0xC6, 0xCA, 0xCE, 0xD2, 0xDB, 0xDD, 0xDF), 4),
    **dict.fromkeys((0xCB, 0xCF, 0xD3), 8),
}
"""Bytes of the number or length behind these first bytes; a first byte that is nowhere is an extension type or 0xC1."""
_MSGPACK_ERRORS: Final = (
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
    MemoryError,
    msgpack.UnpackException,
)
"""All that the decoder was seen to raise for bad input; `FormatError`, `StackError` and `ExtraData` are ValueErrors."""
_OPENER, _BYTES, _DOUBLE, _U64 = 1, 2, 3, 4
_MARKS: Final = bytes(
    _OPENER
    if 0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF
    else {0xC4: _BYTES, 0xC5: _BYTES, 0xC6: _BYTES, 0xCA: _BYTES, 0xCB: _DOUBLE, 0xCF: _U64}.get(byte, 0)
    for byte in range(256)
)
"""Marks what could be the first byte of a container; of bytes (which could be a key) or a 32-bit float; of a 64-bit float; of a 64-bit
integer. (One table and searches for single bytes: a regular expression costs three times as much between two signatures.)"""
_CUT_OFF: Final = (bytes((_DOUBLE,)), bytes((_U64,)))
_packer = msgpack.Packer(use_bin_type=True)


def _refuse_ext(code: int, data: bytes) -> object:
    raise Rejected("E_BODY", f"extension type {code} is not allowed")


def _pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Rejected("E_BODY", "a map has the same key twice")
    return made


def pack(value: object, *, max_nodes: int = MSGPACK_NODES) -> bytes:
    """Encode `value` (None, bool, int, float, str, bytes, list, tuple, dict with str keys) in the one way we write msgpack.

    Args:
        value: What to encode.
        max_nodes: Values altogether that its reader takes, containers included, map keys not.

    Raises:
        Rejected: E_BODY, when no strict decoder would accept the result.
    """
    try:
        data = _packer.pack(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Rejected("E_BODY", f"this cannot be encoded: {error}") from error
    _check_values(value, MSGPACK_DEPTH, max_nodes)
    return data


def unpack(data: bytes, *, max_depth: int = MSGPACK_DEPTH, max_nodes: int = MSGPACK_NODES) -> Any:
    """Decode exactly one value, strictly.

    Args:
        data: The received bytes, all of them.
        max_depth: Containers inside one another.
        max_nodes: Values altogether, containers included, map keys not.

    Raises:
        Rejected: E_BODY, for whatever breaks a rule.
    """
    size = len(data)
    # Most bodies have no byte that could be a number out of range, bytes as a key, or a container too many: this is seen
    # without decoding, and the walk over the values saved.
    marks = data.translate(_MARKS)
    plain = (
        _BYTES not in marks
        and marks.count(_OPENER) <= max_depth
        and size <= max_nodes
        and _numbers_are_sound(data, marks)
    )
    if not plain and (
        size > _SCAN_FIRST_BYTES or data.count(b"\xdc") + data.count(b"\xdd") > _SUSPICIOUS_ARRAYS
    ):
        return _unpack_scanned(data, max_depth, max_nodes)
    try:
        value = msgpack.unpackb(
            data, ext_hook=_refuse_ext, max_ext_len=0, max_array_len=MSGPACK_ARRAY, max_map_len=MSGPACK_MAP
        )
        if _packer.pack(value) != data:
            return _unpack_scanned(data, max_depth, max_nodes)
    except _MSGPACK_ERRORS as error:
        raise Rejected("E_BODY", f"the body is not msgpack: {type(error).__name__}") from None
    if not plain:
        _check_values(value, max_depth, max_nodes)
    return value


def _numbers_are_sound(data: bytes, marks: bytes) -> bool:
    """Tell whether no byte could begin a NaN, an infinity or an integer beyond 63 bits; may err on the side of no."""
    if marks.endswith(_CUT_OFF):
        return False
    at = marks.find(_DOUBLE)
    while at >= 0:
        if data[at + 1] & 0x7F == 0x7F:  # the whole exponent is set, or nearly
            return False
        at = marks.find(_DOUBLE, at + 1)
    at = marks.find(_U64)
    while at >= 0:
        if data[at + 1] & 0x80:
            return False
        at = marks.find(_U64, at + 1)
    return True


def _check_values(value: object, max_depth: int, max_nodes: int) -> None:
    """Walk over a value level by level; the tests are in the order in which kinds are frequent."""
    level: list[Any] = [value]
    nodes = 1
    depth = 0
    while True:
        containers: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str or kind is bytes or kind is bool or item is None:
                continue
            if kind is dict or kind is list:
                containers.append(item)
            elif kind is int:
                if item > _I64_MAX:  # the format itself ends at the smallest i64
                    raise Rejected("E_BODY", "an integer does not fit into 64 bits with sign")
            elif kind is float:
                if item - item != 0.0:  # the quickest test that catches NaN and both infinities
                    raise Rejected("E_BODY", "a number is not finite")
            else:
                _check_subclass(item, containers)
        if not containers:
            return
        depth += 1
        if depth > max_depth:
            raise Rejected("E_BODY", f"more than {max_depth} containers inside one another")
        level = _members(containers)
        nodes += len(level)
        if nodes > max_nodes:
            raise Rejected("E_BODY", f"more than {max_nodes} values")


def _members(containers: list[Any]) -> list[Any]:
    """List what the containers of one level hold, and test what a walk over values would not see."""
    level: list[Any] = []
    for item in containers:
        if isinstance(item, dict):
            try:
                "".join(item)  # takes strings only, and looks at all keys in one loop in C
            except TypeError:
                raise Rejected("E_BODY", "a key is not a string") from None
            if len(item) > MSGPACK_MAP:
                raise Rejected("E_BODY", f"a map has more than {MSGPACK_MAP} entries")
            level += item.values()
        else:
            if len(item) > MSGPACK_ARRAY:
                raise Rejected("E_BODY", f"an array has more than {MSGPACK_ARRAY} items")
            level += item
    return level


def _check_subclass(item: Any, containers: list[Any]) -> None:
    """Judge what only an encoder meets: tuples, enumeration members, other subclasses of the plain types."""
    if isinstance(item, (tuple, list, dict)):
        containers.append(item)
    elif isinstance(item, int):
        if item > _I64_MAX:
            raise Rejected("E_BODY", "an integer does not fit into 64 bits with sign")
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise Rejected("E_BODY", "a number is not finite")
    elif not isinstance(item, (str, bytes, bytearray, memoryview)):
        raise Rejected("E_BODY", f"{type(item).__name__} cannot be encoded")


def _unpack_scanned(data: bytes, max_depth: int, max_nodes: int) -> Any:
    """Decode after a scan has shown that it is harmless; the map hook finds duplicate keys."""
    try:
        _scan(data, max_depth, max_nodes)
        return msgpack.unpackb(
            data,
            ext_hook=_refuse_ext,
            object_pairs_hook=_pairs,
            max_ext_len=0,
            max_array_len=MSGPACK_ARRAY,
            max_map_len=MSGPACK_MAP,
        )
    except _MSGPACK_ERRORS as error:
        raise Rejected("E_BODY", f"the body is not msgpack: {type(error).__name__}") from None


def _scan(data: bytes, max_depth: int, max_nodes: int) -> None:
    """Walk over the encoded bytes and test every rule that needs no decoding, without reserving memory for what they claim."""
    at = 0
    size = len(data)
    nodes = 0
    left: list[int] = [1]  # items still to come, per open container
    is_map: list[bool] = [False]
    while True:
        while left[-1] == 0:
            left.pop()
            is_map.pop()
            if not left:
                if at != size:
                    raise Rejected("E_BODY", "there are bytes behind the value")
                return
        if at >= size:
            raise Rejected("E_BODY", "the value is cut off")
        left[-1] -= 1
        head = data[at]
        # Items of a map alternate, key first, and its count is even at the start: what remains is odd after a key.
        is_key = is_map[-1] and left[-1] & 1 == 1
        if is_key:
            if not (0xA0 <= head <= 0xBF or 0xD9 <= head <= 0xDB):
                raise Rejected("E_BODY", "a key is not a string")
        else:
            nodes += 1
            if nodes > max_nodes:
                raise Rejected("E_BODY", f"more than {max_nodes} values")
        count, at = _item(data, at, head)
        if count >= 0:
            if len(left) > max_depth:
                raise Rejected("E_BODY", f"more than {max_depth} containers inside one another")
            mapping = 0x80 <= head <= 0x8F or head in (0xDE, 0xDF)
            if count > (MSGPACK_MAP if mapping else MSGPACK_ARRAY):
                raise Rejected("E_BODY", f"a container with {count} entries is too large")
            left.append(count * 2 if mapping else count)
            is_map.append(mapping)


def _item(data: bytes, at: int, head: int) -> tuple[int, int]:
    """Read one item's header at `at`: (entries when it is a container else -1, offset of what follows header and content)."""
    if head <= 0x7F or head >= 0xE0 or head in (0xC0, 0xC2, 0xC3):
        return -1, at + 1
    if head <= 0x9F:
        return head & 0x0F, at + 1
    if head <= 0xBF:
        return -1, at + 1 + (head & 0x1F)
    width = _WIDTHS.get(head)
    if width is None:
        raise Rejected("E_BODY", f"byte {head:02x} is an extension type or no msgpack")
    end = at + 1 + width
    field = data[at + 1 : end]
    if len(field) != width:
        raise Rejected("E_BODY", "the value is cut off")
    if head in _SIZED:
        return -1, end + int.from_bytes(field, "big")
    if head >= 0xDC:
        return int.from_bytes(field, "big"), end
    if head == 0xCF and field[0] & 0x80:
        raise Rejected("E_BODY", "an integer does not fit into 64 bits with sign")
    if head in (0xCA, 0xCB) and not math.isfinite(struct.unpack(">f" if width == 4 else ">d", field)[0]):
        raise Rejected("E_BODY", "a number is not finite")
    return -1, end
