"""The signed envelope: every message of the swarm, byte for byte (SPEC ENV-1 to ENV-8).

110 bytes of header at fixed offsets, a body, 64 bytes of signature. Signed are bytes, never structures: `DOMAIN ‖ header ‖ body`, exactly
as they lie on the wire, so nobody ever encodes a message again in order to check it. Here envelopes are made and taken apart; whether
one is believed is decided in `verify`, its counterpart, and nowhere else.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from typing import Final, NamedTuple

from .errors import Rejected
from .limits import ENVELOPE_HEADER_BYTES, ENVELOPE_MAX_BYTES, ENVELOPE_MIN_BYTES, TTL_DEFAULT_S
from .sealing import SEAL_OVERHEAD, BoxKey, seal
from .signing import SIGNATURE_BYTES, SigningKey

__all__ = [
    "DOMAIN",
    "FLAGS_KNOWN",
    "FLAG_GROUP",
    "FLAG_JOURNAL",
    "FLAG_SEALED",
    "FLAG_TAINTED",
    "HEADER_BYTES",
    "MAGIC",
    "NO_CONTEXT",
    "SIGNATURE_BYTES",
    "UNPACK_HEADER",
    "VERSION",
    "Header",
    "Sealer",
    "audience_hash",
    "node_id",
    "open_sealed_body",
    "parse_header",
]

MAGIC: Final = b"\xc1\x53"
"""0xC1 begins neither msgpack nor UTF-8 nor JSON."""
VERSION: Final = 1
DOMAIN: Final = b"\xffswarm-env-v1\0\0\0"
"""16 bytes before what is signed. 0xFF is never UTF-8, so no server's challenge and no JWT can be taken for an envelope."""
HEADER_BYTES: Final = ENVELOPE_HEADER_BYTES
FLAG_SEALED: Final = 0x01
"""b0: the body is sealed to one node (HPKE)."""
FLAG_GROUP: Final = 0x02
"""b1: the body is encrypted for a zone."""
FLAG_TAINTED: Final = 0x04
"""b2: the body holds words from an untrusted source."""
FLAG_JOURNAL: Final = 0x08
"""b3: made to be stored; never accepted live."""
FLAGS_KNOWN: Final = 0x0F
NO_CONTEXT: Final = bytes(16)

_LAYOUT: Final = struct.Struct(">2sBBHBBHI8s16s8s8sQQI16s16sI")
_BOX_INFO: Final = b"swarm-box-v1"
_INFO_BYTES: Final = 106
"""A sealed body is bound to the header up to its length field, which is not known before."""
UNPACK_HEADER: Final = _LAYOUT.unpack_from
assert _LAYOUT.size == HEADER_BYTES


class Header(NamedTuple):
    """The fields in wire order; integers are big-endian."""

    magic: bytes
    version: int
    flags: int
    type: int
    cls: int
    """0 public, 1 internal, 2 confidential, 3 restricted."""
    reserved: int
    zone: int
    """Index in the charter's zone table; 0 is the whole swarm."""
    epoch: int
    """Of the group key; 0 when there is none."""
    swarm: bytes
    """First 8 bytes of the swarm id."""
    sender: bytes
    """Node id, 16 bytes."""
    serial: bytes
    """Of the sender's certificate, 8 bytes."""
    session: bytes
    """8 random bytes per start of the sending process."""
    seq: int
    """From 1, per session."""
    time_ms: int
    """Unix milliseconds by the sender's clock."""
    ttl_s: int
    """Seconds it stays valid."""
    audience: bytes
    """Hash of the logical destination, 16 bytes."""
    context: bytes
    """Run id, or zeros."""
    length: int
    """Bytes of the body."""


@functools.lru_cache(maxsize=4096)
def audience_hash(text: str) -> bytes:
    """Hash a logical destination, e.g. `run/<run>/bids`, to the 16 bytes of the header (ENV-6)."""
    return hashlib.sha256(b"swarm-aud-v1\0" + text.encode()).digest()[:16]


def node_id(sig_pub: bytes) -> bytes:
    """Derive a node's id, 16 bytes, from its public signing key (ENV-5)."""
    return hashlib.sha256(b"swarm-node-id-v1\0" + sig_pub).digest()[:16]


def parse_header(raw: bytes) -> Header:
    """Read the header of an envelope WITHOUT believing any of it: for logs and for looking up an unknown sender.

    Raises:
        Rejected: E_SHORT, E_MAGIC.
    """
    if len(raw) < ENVELOPE_MIN_BYTES:
        raise Rejected("E_SHORT")
    if raw[:2] != MAGIC:
        raise Rejected("E_MAGIC")
    return Header._make(UNPACK_HEADER(raw))


class Sealer:
    """Makes one session's envelopes: knows the key, counts `seq` from 1, never gives a number twice.

    `serial` is set anew when the certificate is renewed. The session's 8 bytes must be fresh random ones at every start of the process.
    """

    __slots__ = ("_key", "_next", "_sender", "_swarm8", "serial", "session")

    def __init__(self, key: SigningKey, swarm8: bytes, serial: bytes, session: bytes) -> None:
        if not len(swarm8) == len(serial) == len(session) == 8:
            raise ValueError("swarm, serial and session have 8 bytes each")
        self._key = key
        self._swarm8 = swarm8
        self._sender = node_id(key.public)
        self._next = 1
        self.serial = serial
        self.session = session

    @property
    def sender(self) -> bytes:
        """The node id under which it sends."""
        return self._sender

    def seal(
        self,
        type: int,  # noqa: A002 - the field's name in SPEC
        audience: str | bytes,
        body: bytes,
        *,
        now_ms: int,
        ttl_s: int = TTL_DEFAULT_S,
        cls: int = 0,
        zone: int = 0,
        context: bytes = NO_CONTEXT,
        flags: int = 0,
        epoch: int = 0,
    ) -> bytes:
        """Make one signed envelope.

        Args:
            type: Code of the message's type.
            audience: The logical destination as text, or its hash of 16 bytes.
            body: The encoded body (`codec.pack`).
            now_ms: Unix milliseconds.
            ttl_s: Seconds it stays valid; at most 600 for a live message.
            cls: Class of the data, 0 to 3.
            zone: Index of the zone, 0 for the whole swarm.
            context: 16 bytes of the run's id, or zeros.
            flags: `FLAG_TAINTED`, `FLAG_JOURNAL`, `FLAG_GROUP`.
            epoch: Of the group key.

        Raises:
            Rejected: E_LONG, when the envelope would not fit on the bus.
        """
        head = self._head(type, audience, len(body), now_ms, ttl_s, cls, zone, context, flags, epoch)
        signed = head + body
        return signed + self._key.sign(DOMAIN + signed)

    def seal_to(
        self,
        box_public: bytes,
        type: int,  # noqa: A002 - the field's name in SPEC
        audience: str | bytes,
        body: bytes,
        *,
        now_ms: int,
        ttl_s: int = TTL_DEFAULT_S,
        cls: int = 0,
        zone: int = 0,
        context: bytes = NO_CONTEXT,
        flags: int = 0,
    ) -> bytes:
        """Make one envelope whose body only the owner of `box_public` can open (ENV-8).

        Raises:
            Rejected: E_LONG as in `seal`; E_KEY, when `box_public` is no usable X25519 key.
        """
        size = len(body) + SEAL_OVERHEAD
        head = self._head(type, audience, size, now_ms, ttl_s, cls, zone, context, flags | FLAG_SEALED, 0)
        signed = head + seal(box_public, body, _BOX_INFO + head[:_INFO_BYTES])
        return signed + self._key.sign(DOMAIN + signed)

    def _head(
        self,
        kind: int,
        audience: str | bytes,
        size: int,
        now_ms: int,
        ttl_s: int,
        cls: int,
        zone: int,
        context: bytes,
        flags: int,
        epoch: int,
    ) -> bytes:
        if size > ENVELOPE_MAX_BYTES - ENVELOPE_MIN_BYTES:
            raise Rejected("E_LONG", f"a body of {size:,} bytes does not fit into one message")
        hashed = audience_hash(audience) if isinstance(audience, str) else audience
        if len(hashed) != 16 or len(context) != 16 or len(self.serial) != 8:
            raise ValueError("audience and context have 16 bytes each, a serial has 8")
        seq = self._next
        self._next = seq + 1
        return _LAYOUT.pack(
            MAGIC,
            VERSION,
            flags,
            kind,
            cls,
            0,
            zone,
            epoch,
            self._swarm8,
            self._sender,
            self.serial,
            self.session,
            seq,
            now_ms,
            ttl_s,
            hashed,
            context,
            size,
        )


def open_sealed_body(raw: bytes, box: BoxKey) -> bytes:
    """Open the body of a VERIFIED envelope that has `FLAG_SEALED`.

    Raises:
        Rejected: E_DECRYPT, when it was sealed to another key, or for another header.
    """
    return box.open(raw[HEADER_BYTES:-SIGNATURE_BYTES], _BOX_INFO + raw[:_INFO_BYTES])
