"""The charter: who may found trust in a swarm (SPEC CHA-1 to CHA-7). A chain of signed objects from the first, whose hash IS the swarm.

Charter n names the root keys and how many of them must sign, the issuers (who may admit nodes, with which rights, until when), the bus
servers with their pins, the zones. Charter n+1 needs the signatures of enough roots of n and of enough roots of n+1, and names the hash of
n: whoever holds the first charter's hash (every invite does) can follow the chain to its head without trusting who delivers it.

Form: a signed object of kind 1 (`objects`) whose issuer field is zero and which ends, instead of in one signature, in

    count u8 | count times ( key id (16) | signature (64) )

Each signature covers the same bytes: domain, frame, body. Hashes (`swarm_id`, `prev`, head hash) cover the body alone, so adding another
root's signature changes no name.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from .codec import pack
from .errors import Rejected
from .fields import Bytes32, Name, Roles, Seconds, Wire, ZoneIndexes, decode_model, encode_model
from .limits import (
    CERTIFICATE_TTL_MAX_S,
    CHARTER_CHAIN,
    CHARTER_ISSUERS,
    CHARTER_ROOTS,
    CHARTER_SIGNATURES,
    ZONES_MAX,
)
from .objects import FRAME_BYTES, OBJECT_DOMAIN, Kind, frame, read_head
from .sealing import check_box_key
from .signing import SigningKey, check_public_key, key_id, verify

__all__ = [
    "BusServer",
    "Charter",
    "CharterBody",
    "IssuerGrant",
    "charter_hash",
    "found_charter",
    "next_charter",
    "sign_charter",
    "swarm_id_of",
    "verify_chain",
]

NO_ISSUER: Final = bytes(16)
GENESIS_PREV: Final = bytes(32)
_SIGNATURE: Final = struct.Struct(">16s64s")


def _check_sign_key(public: bytes) -> bytes:
    try:
        check_public_key(public)
    except Rejected as error:
        raise ValueError(error.message) from None
    return public


def _check_box(public: bytes) -> bytes:
    try:
        check_box_key(public)
    except Rejected as error:
        raise ValueError(error.message) from None
    return public


SignKey = Annotated[Bytes32, AfterValidator(_check_sign_key)]
SealKey = Annotated[Bytes32, AfterValidator(_check_box)]


class IssuerGrant(Wire):
    """One issuer: it may admit nodes within these rights."""

    pub: SignKey
    box: SealKey
    """Enrolment requests are sealed to this key."""
    roles: Roles
    zones: ZoneIndexes
    max_ttl: Annotated[int, Field(ge=60, le=CERTIFICATE_TTL_MAX_S)]
    """Seconds that a certificate of this issuer may last."""
    exp: Seconds
    """Unix seconds from which it may sign nothing more."""

    @property
    def id(self) -> bytes:
        """The key id under which it signs."""
        return key_id(self.pub)


class BusServer(Wire):
    """Where the bus is, and the pin of its certification authority."""

    url: Annotated[str, StringConstraints(pattern=r"^tls://[A-Za-z0-9.:\[\]_-]{1,262}$")]
    ca_spki: Bytes32
    """SHA-256 of the authority's SubjectPublicKeyInfo in DER."""


class CharterBody(Wire):
    """The fields of one charter, as they are signed."""

    v: Annotated[int, Field(ge=1, le=1)]
    name: Name
    n: Annotated[int, Field(ge=0, lt=CHARTER_CHAIN)]
    """0 for the first charter."""
    prev: Bytes32
    """SHA-256 of the body of charter n-1; zeros in the first."""
    roots: Annotated[list[SignKey], Field(min_length=1, max_length=CHARTER_ROOTS)]
    k: Annotated[int, Field(ge=1, le=CHARTER_ROOTS)]
    """So many different roots must sign."""
    issuers: Annotated[list[IssuerGrant], Field(max_length=CHARTER_ISSUERS)]
    bus: Annotated[list[BusServer], Field(max_length=16)]
    zones: Annotated[list[Name], Field(max_length=ZONES_MAX)]
    """Zone index i (from 1) is the name at place i-1."""
    policy: dict[Annotated[str, StringConstraints(max_length=64)], JsonValue]
    not_before_issue: dict[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")], Seconds]
    """For each withdrawn issuer's key id (hex): what it signed at or after this Unix second is void."""


class Charter:
    """The head of a verified chain. Made by `verify_chain` and by nothing else."""

    __slots__ = ("_issuers", "body", "hash", "raw", "swarm_id")

    def __init__(
        self, body: CharterBody, encoded: bytes, raw: bytes, swarm_id: bytes, past: dict[bytes, IssuerGrant]
    ) -> None:
        self.body: Final = body
        self.raw: Final = raw
        """The head object as it is stored and shown."""
        self.hash: Final = hashlib.sha256(encoded).digest()
        """SHA-256 of the head's body; enrolment is bound to it."""
        self.swarm_id: Final = swarm_id
        self._issuers: Final = {**past, **{issuer.id: issuer for issuer in body.issuers}}

    @property
    def swarm8(self) -> bytes:
        """The swarm's short id, as in every envelope."""
        return self.swarm_id[:8]

    @property
    def name(self) -> str:
        """What people call the swarm."""
        return self.body.name

    @property
    def n(self) -> int:
        """The head's number."""
        return self.body.n

    def issuer_key(self, issuer: bytes) -> bytes:
        """Give the public key of an issuer that any charter of the chain named; whether it still counts is `issuer`'s to say.

        Raises:
            Rejected: E_ISSUER.
        """
        grant = self._issuers.get(issuer)
        if grant is None:
            raise Rejected("E_ISSUER", "the charter does not name the key that signed it")
        return grant.pub

    def issuer(self, issuer: bytes, issued_s: int) -> IssuerGrant:
        """Give the grant under which the key `issuer` signed something at `issued_s`.

        What an issuer signed whom the head leaves out is void; where the head gives a time for it (`not_before_issue`), only what it
        signed from then on.

        Raises:
            Rejected: E_ISSUER, for a key that no charter of the chain names, whose grant was over at `issued_s`, or whose signatures of
                that time are void.
        """
        grant = self._issuers.get(issuer)
        if grant is None:
            raise Rejected("E_ISSUER", "the charter does not name the key that signed it")
        void_from = self.body.not_before_issue.get(issuer.hex())
        listed = any(current.pub == grant.pub for current in self.body.issuers)
        if void_from is not None and issued_s >= void_from:
            raise Rejected("E_ISSUER", "its issuer was withdrawn, and what it signed at that time is void")
        if not listed and void_from is None:
            raise Rejected("E_ISSUER", "its issuer is not in the charter any more")
        if issued_s >= grant.exp:
            raise Rejected("E_ISSUER", "its issuer had no grant at the time of signing")
        return grant


def swarm_id_of(genesis: bytes) -> bytes:
    """Compute the swarm's id from the BODY of its first charter (CHA-2)."""
    return hashlib.sha256(b"swarm-charter-v1\0" + genesis).digest()


def charter_hash(raw: bytes) -> bytes:
    """Hash of a charter object's body: what the next one names as `prev`.

    Raises:
        Rejected: As `objects.read_head`.
    """
    return hashlib.sha256(_take_apart(raw)[0]).digest()


def found_charter(
    *,
    name: str,
    root: SigningKey,
    issuers: Sequence[IssuerGrant],
    bus: Sequence[BusServer],
    zones: Sequence[str] = (),
    policy: dict[str, JsonValue] | None = None,
) -> bytes:
    """Found a swarm: charter 0 with one root, signed by it.

    Raises:
        Rejected: E_SCHEMA, when a value cannot be (a name with a space, say).
    """
    body = _body(
        {
            "v": 1,
            "name": name,
            "n": 0,
            "prev": GENESIS_PREV,
            "roots": [root.public],
            "k": 1,
            "issuers": [issuer.model_dump(by_alias=True) for issuer in issuers],
            "bus": [server.model_dump(by_alias=True) for server in bus],
            "zones": list(zones),
            "policy": policy or {},
            "not_before_issue": {},
        }
    )
    return sign_charter(body, [root])


def next_charter(head: Charter, **changes: object) -> CharterBody:
    """Draft the charter after `head`, with some fields changed; to be signed by enough old and new roots.

    Raises:
        Rejected: E_SCHEMA.
    """
    fields = head.body.model_dump(by_alias=True)
    plain = {
        key: [item.model_dump(by_alias=True) if isinstance(item, Wire) else item for item in value]
        if isinstance(value, (list, tuple))
        else value
        for key, value in changes.items()
    }
    return _body({**fields, "n": head.n + 1, "prev": head.hash, **plain})


def sign_charter(body: CharterBody, keys: Sequence[SigningKey]) -> bytes:
    """Put a charter into its final form with the signatures of `keys`."""
    framed = frame(Kind.CHARTER, NO_ISSUER, encode_model(body))
    signed = b"".join(_SIGNATURE.pack(key_id(key.public), key.sign(OBJECT_DOMAIN + framed)) for key in keys)
    return framed + bytes([len(keys)]) + signed


def verify_chain(chain: Sequence[bytes], swarm_id: bytes) -> Charter:
    """Follow a chain from the first charter to its head.

    Args:
        chain: Charter objects, the first one first.
        swarm_id: 32 bytes, from the invite or from this device's own state.

    Raises:
        Rejected: The object codes; E_SWARM when the first one is not this swarm's; E_CHAIN when a number or hash does not follow;
            E_THRESHOLD when too few roots signed; E_SIG when a given signature does not hold; E_BODY, E_SCHEMA.
    """
    if not chain or len(chain) > CHARTER_CHAIN:
        raise Rejected("E_CHAIN", "the charter chain is empty or too long")
    past: dict[bytes, IssuerGrant] = {}
    before: CharterBody | None = None
    encoded = b""
    for n, raw in enumerate(chain):
        previous_hash = hashlib.sha256(encoded).digest() if before is not None else GENESIS_PREV
        encoded, signatures = _take_apart(raw)
        if before is None and swarm_id_of(encoded) != swarm_id:
            raise Rejected("E_SWARM", "the first charter is not that of this swarm")
        body = _checked(decode_model(CharterBody, encoded))
        if body.n != n or body.prev != previous_hash:
            raise Rejected("E_CHAIN")
        _check_signatures(frame(Kind.CHARTER, NO_ISSUER, encoded), signatures, body, before)
        if before is not None:
            past.update({issuer.id: issuer for issuer in before.issuers})
        before = body
    assert before is not None
    return Charter(before, encoded, chain[-1], swarm_id, past)


def _take_apart(raw: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    head = read_head(raw)
    if head.kind is not Kind.CHARTER:
        raise Rejected("E_TYPE", f"this is a {head.kind.name.lower()} object, not a charter")
    if head.issuer != NO_ISSUER:
        raise Rejected("E_ISSUER", "a charter names no single issuer")
    rest = raw[head.body_end :]
    if not rest or len(rest) != 1 + rest[0] * _SIGNATURE.size:
        raise Rejected("E_LEN")
    if rest[0] > CHARTER_SIGNATURES:
        raise Rejected("E_LONG", "the charter has too many signatures")
    return raw[FRAME_BYTES : head.body_end], list(_SIGNATURE.iter_unpack(rest[1:]))


def _check_signatures(
    framed: bytes, signatures: list[tuple[bytes, bytes]], body: CharterBody, before: CharterBody | None
) -> None:
    """Each signature must hold and be of a root of either charter; enough of each charter's roots must be among them."""
    roots = {key_id(root): root for root in (*body.roots, *(before.roots if before is not None else ()))}
    signers: set[bytes] = set()
    for signer, signature in signatures:
        root = roots.get(signer)
        if root is None:
            raise Rejected("E_ISSUER", "a signature under the charter is of no root")
        if not verify(root, signature, OBJECT_DOMAIN + framed):
            raise Rejected("E_SIG")
        signers.add(root)
    for charter in (body, before):
        if charter is not None and len(signers.intersection(charter.roots)) < charter.k:
            raise Rejected("E_THRESHOLD")


def _body(fields: dict[str, object]) -> CharterBody:
    return _checked(decode_model(CharterBody, pack(fields)))


def _checked(body: CharterBody) -> CharterBody:
    """The rules that concern several fields."""
    if len(set(body.roots)) != len(body.roots) or body.k > len(body.roots):
        raise Rejected(
            "E_SCHEMA", "charter: roots must differ, and no more signatures be asked for than there are roots"
        )
    if len({issuer.pub for issuer in body.issuers}) != len(body.issuers):
        raise Rejected("E_SCHEMA", "charter: an issuer is named twice")
    if len(set(body.zones)) != len(body.zones):
        raise Rejected("E_SCHEMA", "charter: a zone is named twice")
    if any(zone > len(body.zones) for issuer in body.issuers for zone in issuer.zones):
        raise Rejected("E_SCHEMA", "charter: an issuer has a zone that does not exist")
    return body
