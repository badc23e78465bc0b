"""The invite: one line of text by which a device joins (SPEC INV-1 to INV-8), and the record of it that the swarm keeps.

The text is `swarm1` and the lower-case base32 (RFC 4648, no padding) of

    version u8 | flags u8 | expiry u32 | invite id (8) | secret (16) | swarm id (32) | bus pin (16) | count u8 | endpoints | checksum (4)

It pins who the swarm is (the hash of its first charter) and whose bus may be talked to, before anything is sent. The secret never travels:
it makes a key (`proof_key`) whose public half lies in the record, so that reading the record does not let anybody in. The flags are advice
for the screen; the signed record decides. The text is a secret while it is valid: log `invite_id`, never the text.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import struct
from typing import Annotated, Final, NamedTuple

from pydantic import Field, StringConstraints

from .charter import Charter
from .errors import Rejected
from .fields import (
    Bytes8,
    Bytes16,
    Bytes32,
    Capabilities,
    Clearance,
    Roles,
    Seconds,
    Wire,
    ZoneIndexes,
    decode_model,
    encode_model,
)
from .limits import ENDPOINTS_MAX, INVITE_MAX_BYTES, INVITE_MIN_BYTES, INVITE_TEXT_CHARS, NAME_CHARS
from .objects import Kind, open_object, read_head, sign_object
from .signing import SigningKey

__all__ = [
    "FLAG_APPROVAL",
    "FLAG_EPHEMERAL",
    "FLAG_LAN_ONLY",
    "FLAG_SINGLE_USE",
    "INVITE_PREFIX",
    "Endpoint",
    "Invite",
    "InviteRecord",
    "bus_pin",
    "decode_invite",
    "encode_invite",
    "open_invite_record",
    "proof_key",
    "sign_invite_record",
]

INVITE_PREFIX: Final = "swarm1"
FLAG_SINGLE_USE: Final = 0x01
FLAG_APPROVAL: Final = 0x02
FLAG_EPHEMERAL: Final = 0x04
FLAG_LAN_ONLY: Final = 0x08
_FLAGS_KNOWN: Final = 0x0F
_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BBI8s16s32s16sB")
_CHECK_BYTES: Final = 4
_IPV4, _IPV6, _DNS = 1, 2, 3
_ADDRESS_BYTES: Final = {_IPV4: 4, _IPV6: 16}
_DROPPED: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", " \t\r\n\v\f-")
"""ASCII only: other alphabets have letters that lower to ours."""
_ALPHABET: Final = re.compile(r"[a-z2-7]*")
_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?"
)
_MIN_CHARS: Final = (INVITE_MIN_BYTES * 8 + 4) // 5
_MAX_CHARS: Final = (INVITE_MAX_BYTES * 8 + 4) // 5
_NO_SUCH_LENGTH: Final = frozenset((1, 3, 6))
"""Base32 of whole bytes never leaves this many characters over a multiple of 8."""


class Endpoint(NamedTuple):
    """One address of the bus."""

    type: int
    """1 IPv4, 2 IPv6, 3 DNS name."""
    host: str
    port: int


class Invite(NamedTuple):
    """What the text says."""

    flags: int
    expiry: int
    """Unix seconds."""
    invite_id: bytes
    """8 bytes, public: for logs and revocation."""
    secret: bytes
    """16 random bytes."""
    swarm_id: bytes
    """32 bytes: pins the charter chain."""
    bus_pin: bytes
    """16 bytes: pins the bus's certification authority."""
    endpoints: tuple[Endpoint, ...] = ()
    """None: find the bus by mDNS."""
    version: int = _VERSION

    def __repr__(self) -> str:
        return f"Invite({self.invite_id.hex()}, secret hidden)"


def bus_pin(spki_der: bytes) -> bytes:
    """Compute the pin, 16 bytes, of a certification authority's SubjectPublicKeyInfo."""
    return hashlib.sha256(spki_der).digest()[:16]


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(b"swarm-invite-v1\0" + data).digest()[:_CHECK_BYTES]


def _encode_endpoint(endpoint: Endpoint) -> bytes:
    if not 0 < endpoint.port <= 0xFFFF:
        raise ValueError(f"{endpoint.port} is not a port")
    port = endpoint.port.to_bytes(2, "big")
    if endpoint.type == _IPV4:
        content = ipaddress.IPv4Address(endpoint.host).packed + port
    elif endpoint.type == _IPV6:
        content = ipaddress.IPv6Address(endpoint.host).packed + port
    elif endpoint.type == _DNS and _HOST.fullmatch(endpoint.host):
        content = port + endpoint.host.encode("ascii")
    else:
        raise ValueError(f"{endpoint.host!r} cannot be put into an invite")
    return bytes((endpoint.type, len(content))) + content


def encode_invite(invite: Invite) -> str:
    """Write an invite as text.

    Raises:
        ValueError: A field is too long or too short, an endpoint cannot be, or there are too many of them.
    """
    if (len(invite.invite_id), len(invite.secret), len(invite.swarm_id), len(invite.bus_pin)) != (
        8,
        16,
        32,
        16,
    ):
        raise ValueError("invite id, secret, swarm id and bus pin have 8, 16, 32 and 16 bytes")
    if invite.version != _VERSION or invite.flags & ~_FLAGS_KNOWN or not 0 <= invite.expiry <= 0xFFFFFFFF:
        raise ValueError("version, flags or expiry of the invite cannot be")
    if len(invite.endpoints) > ENDPOINTS_MAX:
        raise ValueError(f"an invite has at most {ENDPOINTS_MAX} endpoints")
    head = _HEAD.pack(
        invite.version,
        invite.flags,
        invite.expiry,
        invite.invite_id,
        invite.secret,
        invite.swarm_id,
        invite.bus_pin,
        len(invite.endpoints),
    )
    data = head + b"".join(map(_encode_endpoint, invite.endpoints))
    data += _checksum(data)
    if len(data) > INVITE_MAX_BYTES:
        raise ValueError("the invite's endpoints are too long")
    return INVITE_PREFIX + base64.b32encode(data).decode("ascii").rstrip("=").lower()


def decode_invite(text: str) -> Invite:
    """Read an invite as somebody typed or pasted it: spaces, line ends and dashes do not matter, nor does the case.

    Endpoints of an unknown type, and names that are no host names, are passed over: another one may do.

    Raises:
        Rejected: In this order: E_PREFIX, E_LEN (too short, too long, or no whole number of bytes), E_B32, E_B32_NONCANONICAL (bits
            behind the last byte), E_CHECKSUM, E_VERSION, E_FLAGS, E_TRUNC (an endpoint goes beyond the end), E_TRAILING (bytes behind
            the last endpoint, or too many in one).
    """
    cleaned = text[:INVITE_TEXT_CHARS].translate(_DROPPED)
    if not cleaned.startswith(INVITE_PREFIX):
        raise Rejected("E_PREFIX")
    coded = cleaned[len(INVITE_PREFIX) :]
    size = len(coded)
    if len(text) > INVITE_TEXT_CHARS or not _MIN_CHARS <= size <= _MAX_CHARS or size % 8 in _NO_SUCH_LENGTH:
        raise Rejected(
            "E_LEN",
            f"the invite has {size + len(INVITE_PREFIX)} characters, which none can have",
            "Copy the whole line that `zwerm invite` printed.",
        )
    if not _ALPHABET.fullmatch(coded):
        raise Rejected("E_B32")
    data = base64.b32decode(coded.upper() + "=" * (-size % 8))
    if base64.b32encode(data).decode("ascii").rstrip("=").lower() != coded:
        raise Rejected("E_B32_NONCANONICAL")
    content, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if _checksum(content) != check:
        raise Rejected("E_CHECKSUM")
    version, flags, expiry, invite_id, secret, swarm_id, pin, count = _HEAD.unpack_from(content)
    if version != _VERSION:
        raise Rejected("E_VERSION")
    if flags & ~_FLAGS_KNOWN:
        raise Rejected("E_FLAGS")
    endpoints = _decode_endpoints(content[_HEAD.size :], count)
    return Invite(flags, expiry, invite_id, secret, swarm_id, pin, endpoints, version)


def _decode_endpoints(data: bytes, count: int) -> tuple[Endpoint, ...]:
    found: list[Endpoint] = []
    at = 0
    for _ in range(count):
        if at + 2 > len(data):
            raise Rejected("E_TRUNC")
        kind, size = data[at], data[at + 1]
        content = data[at + 2 : at + 2 + size]
        if len(content) != size:
            raise Rejected("E_TRUNC")
        at += 2 + size
        endpoint = _decode_endpoint(kind, content)
        if endpoint is not None:
            found.append(endpoint)
    if at != len(data):
        raise Rejected("E_TRAILING")
    return tuple(found)


def _decode_endpoint(kind: int, content: bytes) -> Endpoint | None:
    width = _ADDRESS_BYTES.get(kind)
    if width is not None:
        if len(content) < width + 2:
            raise Rejected("E_TRUNC")
        if len(content) > width + 2:
            raise Rejected("E_TRAILING")
        address = ipaddress.ip_address(content[:width])
        return Endpoint(kind, str(address), int.from_bytes(content[width:], "big"))
    if kind == _DNS:
        if len(content) < 3:
            raise Rejected("E_TRUNC")
        name = content[2:].decode("ascii", "replace")
        if _HOST.fullmatch(name):
            return Endpoint(kind, name, int.from_bytes(content[:2], "big"))
    return None


def proof_key(invite: Invite) -> SigningKey:
    """Derive the key that proves possession of the invite's secret (INV-6)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(algorithm=SHA256(), length=32, salt=invite.swarm_id, info=b"swarm-invite-v1 proof").derive(
        invite.secret
    )
    return SigningKey.from_seed(derived)


class InviteRecord(Wire):
    """What an invite allows; signed by an issuer, stored under the invite's id. It holds nothing that would let a reader join."""

    id: Bytes8
    proof_pub: Bytes32
    """Public half of `proof_key`."""
    roles: Roles
    caps: Capabilities
    zone: ZoneIndexes
    """Zones that the node gets."""
    clearance: Clearance
    max_uses: Annotated[int, Field(ge=1, le=1000)]
    exp: Seconds
    """Unix seconds from which it is not accepted."""
    approval: bool
    """An admin compares the check code before the certificate is made."""
    ephemeral: bool
    """The certificate lasts a day."""
    label: Annotated[str, StringConstraints(max_length=NAME_CHARS)]
    """A word for people: for whom it was made."""
    by: Bytes16
    """Node id of the device on which it was made."""


def sign_invite_record(record: InviteRecord, issuer: SigningKey) -> bytes:
    """Sign a record as an object of kind 4."""
    return sign_object(Kind.INVITE_RECORD, encode_model(record), issuer)


def open_invite_record(raw: bytes, charter: Charter, issued_s: int) -> InviteRecord:
    """Verify a record against the charter.

    Args:
        raw: The signed object.
        charter: The verified head.
        issued_s: When the store took it, in Unix seconds.

    Raises:
        Rejected: The object codes, E_ISSUER, E_SIG, E_BODY, E_SCHEMA, E_GRANT (roles or zones that the issuer may not give).
    """
    head = read_head(raw)
    if head.kind is not Kind.INVITE_RECORD:
        raise Rejected("E_TYPE", f"this is a {head.kind.name.lower()} object, not an invite record")
    grant = charter.issuer(head.issuer, issued_s)
    record = decode_model(InviteRecord, open_object(raw, Kind.INVITE_RECORD, grant.pub))
    if not set(record.roles) <= set(grant.roles) or not set(record.zone) <= set(grant.zones):
        raise Rejected("E_GRANT")
    return record
