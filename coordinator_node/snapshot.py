"""A run's state as bytes and back, so that whoever takes a long run over reads only what came since.

Rules. A snapshot is a shortcut and never the truth: the journal is. It names the end of the journal that it was made of, its digest is in the owner's signed
head, and the message behind it must be linked to that end. One that is damaged, of another run, or made by a version with another idea of a state is as
none: the journal is read from its beginning. Pure. Counterparts: `fold`, which makes states, and `snapshot_store`, which keeps snapshots.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zlib
from typing import Any, Final

import msgpack
from pydantic import TypeAdapter, ValidationError

from protocol.records import RECORDS_VERSION

from .chain import Link
from .state import RunState

__all__ = ["dump_state", "load_state", "state_map"]

_VERSION: Final = 1
_BYTES_MAX: Final = 512 << 20
"""Largest state, unpacked: some 100,000 subtasks with all their bids."""


@functools.cache
def _adapter() -> TypeAdapter[RunState]:
    return TypeAdapter(RunState)


@functools.cache
def _form() -> str:
    """Tells one idea of a state from another: a snapshot is read only by whoever has the same."""
    schema = json.dumps(_adapter().json_schema(), sort_keys=True)
    return hashlib.sha256(f"{_VERSION} {RECORDS_VERSION} {schema}".encode()).hexdigest()[:32]


def state_map(state: RunState) -> dict[str, Any]:
    """A state as a map that shares nothing with it, so that the rest can be done beside."""
    found: dict[str, Any] = _adapter().dump_python(state, exclude_defaults=True)
    return found


def dump_state(state: dict[str, Any], link: Link) -> bytes:
    """A snapshot of a state (`state_map`) as of this end of its journal."""
    assert state.get("records") == link.count
    packed: bytes = msgpack.packb(
        {
            "form": _form(),
            "seq": link.seq,
            "digest": link.digest,
            "count": link.count,
            "linked": link.linked,
            "state": state,
        },
        default=list,  # sets
    )
    return zlib.compress(packed, 1)


def load_state(run: str, data: bytes) -> tuple[RunState, Link] | None:
    """The state and the end of the journal that it stands for; None when it is no snapshot of this run that we can use."""
    try:
        unpacker = zlib.decompressobj()
        packed = unpacker.decompress(data, _BYTES_MAX)
        if unpacker.unconsumed_tail or not unpacker.eof:
            return None
        found = msgpack.unpackb(packed, raw=False, strict_map_key=True)
        if found["form"] != _form():
            return None
        state = _adapter().validate_python(found["state"])
        link = Link(int(found["seq"]), bytes(found["digest"]), int(found["count"]), bool(found["linked"]))
    except (zlib.error, ValueError, ValidationError, KeyError, TypeError, msgpack.UnpackException):
        return None
    if state.run != run or state.records != link.count or len(link.digest) != 32:
        return None
    return state, link
