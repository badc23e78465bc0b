"""Signed objects: what is stored and shown rather than sent (SPEC OBJ-1 to OBJ-4). Certificates, invite records, revocations, halts, ...

    C1 4F | version u8 | kind u8 | issuer key id (16) | body length u32 | body | signature (64)

Signed are FF "swarm-obj-v1" 00 and then the frame from its first byte to the end of the body; the kind lies inside, so an object of one kind
can never be shown as one of another. A charter is signed by several roots and has its own ending (`charter`).
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from .errors import Rejected
from .limits import OBJECT_BODY_BYTES, OBJECT_FRAME_BYTES
from .signing import SIGNATURE_BYTES, PublicKey, SigningKey, key_id, prepare

__all__ = [
    "FRAME_BYTES",
    "OBJECT_DOMAIN",
    "OBJECT_MAGIC",
    "Kind",
    "ObjectHead",
    "frame",
    "open_object",
    "read_head",
    "sign_object",
]

OBJECT_MAGIC: Final = b"\xc1\x4f"
OBJECT_VERSION: Final = 1
OBJECT_DOMAIN: Final = b"\xffswarm-obj-v1\0"
FRAME_BYTES: Final = OBJECT_FRAME_BYTES
_FRAME: Final = struct.Struct(">2sBB16sI")
assert _FRAME.size == FRAME_BYTES


class Kind(IntEnum):
    """What an object is."""

    CHARTER = 1
    CERTIFICATE = 2
    REVOCATIONS = 3
    INVITE_RECORD = 4
    APPROVAL = 5
    RELABEL = 6
    CHECKPOINT = 7
    HALT = 8
    ZONE_KEY = 9


class ObjectHead(NamedTuple):
    """A frame, read and NOT yet believed: enough to look the issuer up."""

    kind: Kind
    issuer: bytes
    """Key id of who claims to have signed it."""
    body_end: int
    """Offset of the first byte behind the body."""


def frame(kind: Kind, issuer: bytes, body: bytes) -> bytes:
    """Put the frame before a body; what is signed is `OBJECT_DOMAIN` and this.

    Raises:
        Rejected: E_LONG.
    """
    if len(body) > OBJECT_BODY_BYTES:
        raise Rejected(
            "E_LONG", f"an object's body of {len(body):,} bytes; {OBJECT_BODY_BYTES:,} is the most"
        )
    return _FRAME.pack(OBJECT_MAGIC, OBJECT_VERSION, kind, issuer, len(body)) + body


def sign_object(kind: Kind | int, body: bytes, key: SigningKey) -> bytes:
    """Make a signed object of an encoded body.

    Raises:
        Rejected: E_LONG; E_TYPE for an unknown kind.
    """
    framed = frame(_kind(kind), key_id(key.public), body)
    return framed + key.sign(OBJECT_DOMAIN + framed)


def read_head(raw: bytes) -> ObjectHead:
    """Read a frame without believing it.

    Raises:
        Rejected: E_SHORT, E_MAGIC, E_VERSION, E_TYPE (unknown kind), E_LONG, E_LEN (the body is cut off), in this order.
    """
    if len(raw) < FRAME_BYTES + SIGNATURE_BYTES:
        raise Rejected("E_SHORT", "the object is shorter than the smallest possible one")
    magic, version, kind, issuer, length = _FRAME.unpack_from(raw)
    if magic != OBJECT_MAGIC:
        raise Rejected("E_MAGIC", "these bytes are not a signed object")
    if version != OBJECT_VERSION:
        raise Rejected("E_VERSION")
    known = _kind(kind)
    if length > OBJECT_BODY_BYTES:
        raise Rejected("E_LONG", f"an object's body of {length:,} bytes; {OBJECT_BODY_BYTES:,} is the most")
    end = FRAME_BYTES + length
    if end > len(raw):
        raise Rejected("E_LEN", "the object is cut off")
    return ObjectHead(known, issuer, end)


def open_object(raw: bytes, kind: Kind | int, public: PublicKey | bytes) -> bytes:
    """Verify an object of one kind, signed by one key, and give its body as it was signed.

    Raises:
        Rejected: As `read_head`; then E_TYPE (another kind), E_LEN (bytes behind the signature, or none left for it), E_ISSUER (another
            key's id), E_SIG; E_KEY when `public` is raw bytes that are no usable key.
    """
    head = read_head(raw)
    if head.kind != kind:
        raise Rejected(
            "E_TYPE", f"this is a {head.kind.name.lower()} object, not a {_kind(kind).name.lower()}"
        )
    if head.body_end + SIGNATURE_BYTES != len(raw):
        raise Rejected("E_LEN")
    key = public if isinstance(public, PublicKey) else prepare(public)
    if head.issuer != key_id(key.raw):
        raise Rejected("E_ISSUER")
    if not key.verify_tail(OBJECT_DOMAIN, raw):
        raise Rejected("E_SIG")
    return raw[FRAME_BYTES : head.body_end]


def _kind(kind: int) -> Kind:
    try:
        return Kind(kind)
    except ValueError:
        raise Rejected("E_TYPE", f"objects of kind {kind} are unknown") from None
