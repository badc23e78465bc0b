"""The order to stop every agent of the swarm, and to go on (SPEC HLT-1 to HLT-4). A signed object of kind 8, by an admin's own key.

It comes with the admin's certificate, which the charter's issuers vouch for: whoever holds the charter can judge the order alone, whoever
delivers it and whenever. Orders are numbered and the number only grows, so an old one changes nothing.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from pydantic import Field, StringConstraints

from .certificate import Certificate, verify_certificate
from .charter import Charter
from .codec import pack, unpack
from .directory import NEVER_MS, Directory
from .errors import Rejected
from .fields import Bytes32, Seconds, Wire, decode_model, encode_model
from .objects import Kind, open_object, sign_object
from .signing import SigningKey

__all__ = [
    "HALT_ROLE",
    "HaltOrder",
    "OpenedHalt",
    "newer",
    "open_halt",
    "pack_halt",
    "sign_halt",
    "unpack_halt",
]

HALT_ROLE: Final = "admin"


class HaltOrder(Wire):
    """The body."""

    v: Annotated[int, Field(ge=1, le=1)] = 1
    swarm: Bytes32
    n: Annotated[int, Field(ge=1, le=1 << 48)]
    """Only grows; the highest one rules."""
    at: Seconds
    on: bool
    """True: stop; false: go on."""
    why: Annotated[str, StringConstraints(max_length=200)] = ""


class OpenedHalt(NamedTuple):
    """An order that holds, and who gave it."""

    order: HaltOrder
    by: Certificate


def sign_halt(order: HaltOrder, admin: SigningKey) -> bytes:
    """The order as a signed object; `admin` is the key with which the device signs its messages."""
    return sign_object(Kind.HALT, encode_model(order), admin)


def open_halt(
    raw: bytes, certificate: bytes, charter: Charter, directory: Directory | None = None
) -> OpenedHalt:
    """Verify an order and whoever gave it; whoever delivered it does not matter.

    Args:
        raw: the signed object.
        certificate: the certificate of its signer.
        charter: the verified head.
        directory: where revocations are looked up.

    Raises:
        Rejected: in this order: the codes of a certificate (CERT-5, its dates left out), those of an object of kind 8 by the certificate's
            key, E_BODY, E_SCHEMA, E_SWARM, E_NOT_YET or E_CERT_EXPIRED (as of the order's time), E_ROLE, E_REVOKED (as of the order's time).
    """
    by = verify_certificate(certificate, charter, float(0xFFFFFFFF), allow_expired=True)
    order = decode_model(HaltOrder, open_object(raw, Kind.HALT, by.sig))
    if order.swarm != charter.swarm_id:
        raise Rejected("E_SWARM", "the halt is for another swarm")
    verify_certificate(certificate, charter, float(order.at))
    if HALT_ROLE not in by.roles:
        raise Rejected("E_ROLE", "only an admin may halt the swarm")
    member = directory.get(by.node) if directory is not None else None
    grant = member.grants.get(by.serial) if member is not None else None
    if grant is not None and grant.revoked_ms != NEVER_MS and order.at * 1000 >= grant.revoked_ms:
        raise Rejected("E_REVOKED", "whoever gave the halt was no member any more")
    return OpenedHalt(order, by)


def newer(order: HaltOrder, known: HaltOrder | None) -> bool:
    """Whether an order takes the place of the one that is known: by its number; of two with one number, the one that stops."""
    return known is None or (order.n, order.on) > (known.n, known.on)


def pack_halt(raw: bytes, certificate: bytes) -> bytes:
    """An order as it is stored: both parts in one value."""
    return pack([raw, certificate])


def unpack_halt(stored: bytes) -> tuple[bytes, bytes]:
    """Both parts of a stored order, unverified.

    Raises:
        Rejected: E_BODY, E_SCHEMA.
    """
    value = unpack(stored)
    if (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], bytes)
        and isinstance(value[1], bytes)
    ):
        return value[0], value[1]
    raise Rejected("E_SCHEMA", "a stored halt has two parts: the order and a certificate")
