"""The membership certificate: what makes a device a node of the swarm (SPEC CERT-1 to CERT-6).

A signed object of kind 2: an issuer of the charter says that these three keys (signing, box, bus: never the same) are one node, with these
roles, capabilities, zones and clearance, from `not_before` until `expires`. An issuer can give no right that the charter does not give to
it. What is not in the certificate, a node may claim as often as it likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from .charter import Charter
from .codec import pack
from .envelope import node_id
from .errors import Rejected
from .fields import (
    Bytes8,
    Bytes16,
    Bytes32,
    Capabilities,
    Clearance,
    Name,
    Roles,
    Seconds,
    Wire,
    ZoneIndexes,
    decode_model,
)
from .limits import CERTIFICATE_TTL_S
from .objects import FRAME_BYTES, Kind, open_object, read_head, sign_object
from .sealing import check_box_key
from .signing import SigningKey, check_public_key, key_id

__all__ = ["Certificate", "issue", "read_certificate", "verify_certificate"]

_SKEW_S = 30


class Certificate(Wire):
    """The fields; the alias is the key on the wire. Times are Unix seconds."""

    version: Annotated[int, Field(alias="v", ge=1, le=1)] = 1
    swarm: Annotated[Bytes32, Field(alias="sw")]
    serial: Annotated[Bytes8, Field(alias="ser")]
    sig: Bytes32
    """Ed25519: signs envelopes."""
    box: Bytes32
    """X25519: bodies and replies are sealed to it."""
    bus: Bytes32
    """Ed25519: proves itself to the bus, and nothing else, since the bus chooses what it signs."""
    name: Annotated[Name, Field(alias="nm")]
    roles: Annotated[Roles, Field(alias="ro")]
    capabilities: Annotated[Capabilities, Field(alias="cap")]
    """Capabilities it may advertise; an empty list sets no limit."""
    zones: Annotated[ZoneIndexes, Field(alias="zn")]
    clearance: Annotated[Clearance, Field(alias="cl")]
    not_before: Annotated[Seconds, Field(alias="nbf")]
    expires: Annotated[Seconds, Field(alias="exp")]
    """The first second in which it is no longer good."""
    invite: Annotated[Bytes8, Field(alias="inv")]
    """Id of the invite by which the node joined; zeros for the founding node."""
    issuer: Annotated[Bytes16, Field(alias="iss")]
    """Key id of the issuer, as in the frame."""
    charter: Annotated[int, Field(alias="ch", ge=0)]
    """Number of the charter that was the head when it was issued."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({self.sig, self.box, self.bus}) != 3:
            raise ValueError("the three keys must be different ones")
        if self.expires <= self.not_before:
            raise ValueError("it ends before it begins")
        return self

    @property
    def node(self) -> bytes:
        """The node id that follows from the signing key."""
        return node_id(self.sig)


def issue(
    charter: Charter,
    issuer: SigningKey,
    *,
    serial: bytes,
    sig: bytes,
    box: bytes,
    bus: bytes,
    name: str,
    roles: Sequence[str],
    now_s: float,
    ttl_s: int = CERTIFICATE_TTL_S,
    capabilities: Sequence[str] = (),
    zones: Sequence[int] = (),
    clearance: int = 1,
    invite: bytes = bytes(8),
) -> bytes:
    """Issue a certificate; `ttl_s` is cut to what the charter allows this issuer.

    Args:
        charter: The verified head.
        issuer: An issuer's signing key.
        serial: 8 fresh random bytes.
        sig: The node's public Ed25519 key for envelopes.
        box: Its public X25519 key.
        bus: Its public Ed25519 key for the bus.
        name: What people call the node.
        roles: What it may do.
        now_s: Unix seconds; the certificate begins 30 s earlier, for devices whose clock is behind.
        ttl_s: Seconds until it expires.
        capabilities: What it may advertise; none for no limit.
        zones: Indexes of zones whose data it may have.
        clearance: The most secret class it may have.
        invite: 8 bytes, the invite's id.

    Raises:
        Rejected: E_ISSUER, E_GRANT, E_KEY, E_SCHEMA.
    """
    begins = int(now_s) - _SKEW_S
    issuer_id = key_id(issuer.public)
    grant = charter.issuer(issuer_id, begins)
    body = pack(
        {
            "v": 1,
            "sw": charter.swarm_id,
            "ser": serial,
            "sig": sig,
            "box": box,
            "bus": bus,
            "nm": name,
            "ro": list(roles),
            "cap": list(capabilities),
            "zn": list(zones),
            "cl": clearance,
            "nbf": begins,
            "exp": min(begins + min(ttl_s, grant.max_ttl), grant.exp),
            "inv": invite,
            "iss": issuer_id,
            "ch": charter.n,
        }
    )
    raw = sign_object(Kind.CERTIFICATE, body, issuer)
    verify_certificate(raw, charter, now_s)
    return raw


def read_certificate(raw: bytes) -> Certificate:
    """Read a certificate WITHOUT verifying it: to show it, or to learn its dates.

    Raises:
        Rejected: The object codes, E_TYPE, E_BODY, E_SCHEMA.
    """
    head = read_head(raw)
    if head.kind is not Kind.CERTIFICATE:
        raise Rejected("E_TYPE", f"this is a {head.kind.name.lower()} object, not a certificate")
    return decode_model(Certificate, raw[FRAME_BYTES : head.body_end])


def verify_certificate(
    raw: bytes, charter: Charter, now_s: float, *, allow_expired: bool = False
) -> Certificate:
    """Verify a certificate against the charter.

    Args:
        raw: The signed object.
        charter: The verified head of the chain.
        now_s: Unix seconds.
        allow_expired: Leave out the end date: for the archive, from which stored messages are judged.

    Raises:
        Rejected: In this order: the object codes, E_ISSUER (not in the charter), E_SIG, E_BODY, E_SCHEMA, E_SWARM, E_KEY, E_ISSUER (no grant
            at its time, or another issuer inside than outside), E_GRANT (more rights or a longer life than the grant), E_NOT_YET,
            E_CERT_EXPIRED.
    """
    head = read_head(raw)
    if head.kind is not Kind.CERTIFICATE:
        raise Rejected("E_TYPE", f"this is a {head.kind.name.lower()} object, not a certificate")
    certificate = decode_model(
        Certificate, open_object(raw, Kind.CERTIFICATE, charter.issuer_key(head.issuer))
    )
    if certificate.swarm != charter.swarm_id:
        raise Rejected("E_SWARM", "the certificate is for another swarm")
    check_public_key(certificate.sig)
    check_public_key(certificate.bus)
    check_box_key(certificate.box)
    if certificate.issuer != head.issuer:
        raise Rejected("E_ISSUER", "the certificate names another issuer than the one that signed it")
    grant = charter.issuer(head.issuer, certificate.not_before)
    if not set(certificate.roles) <= set(grant.roles) or not set(certificate.zones) <= set(grant.zones):
        raise Rejected("E_GRANT")
    if certificate.expires - certificate.not_before > grant.max_ttl or certificate.expires > grant.exp:
        raise Rejected("E_GRANT", "the certificate lasts longer than its issuer may make one last")
    if now_s + _SKEW_S < certificate.not_before:
        raise Rejected("E_NOT_YET")
    if now_s >= certificate.expires and not allow_expired:
        raise Rejected("E_CERT_EXPIRED")
    return certificate
