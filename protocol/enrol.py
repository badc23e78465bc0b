"""Enrolment: the one exchange by which a device with an invite becomes a node (SPEC ENR-1 to ENR-8).

    request   C1 45 | version u8 | 1 | invite id (8) | issuer key id (16) | sealed( body | sig (64) | bus (64) | proof (64) )
    reply     C1 45 | version u8 | 2 | invite id (8) | issuer key id (16) | sealed( body | issuer's signature (64) )

The request is sealed to the issuer's box key and bound to swarm, invite and charter head; its three signatures, by the node's two signing keys
and by the invite's secret, cover one transcript. So nobody on the way learns anything, and nobody can use it for another key. The reply is
sealed to the node's box key and signed over the transcript: it answers this request and no other.

No clock and no store here: the enroller, in `mesh`, looks the invite up, burns it, and decides.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from pydantic import Field, StringConstraints

from .certificate import Certificate, verify_certificate
from .charter import Charter, IssuerGrant, verify_chain
from .codec import pack, unpack
from .errors import Rejected
from .fields import (
    Bytes8,
    Bytes16,
    Bytes32,
    Capabilities,
    Name,
    Role,
    Seconds,
    Wire,
    decode_model,
    encode_model,
)
from .invite import Invite, proof_key
from .limits import ENROL_REPLY_BYTES, ENROL_REQUEST_BYTES, JWT_CHARS
from .sealing import BoxKey, check_box_key, seal
from .signing import SIGNATURE_BYTES, SigningKey, check_public_key, key_id, verify

__all__ = [
    "EnrolHead",
    "EnrolReply",
    "EnrolRequest",
    "Granted",
    "OpenedReply",
    "OpenedRequest",
    "Pending",
    "Refused",
    "SealedRequest",
    "build_reply",
    "build_request",
    "check_code",
    "open_reply",
    "open_request",
    "read_enrol_head",
    "transcript_of",
]

_MAGIC: Final = b"\xc1\x45"
_VERSION: Final = 1
_REQUEST, _REPLY = 1, 2
_HEAD: Final = struct.Struct(">2sBB8s16s")
_REQUEST_INFO: Final = b"swarm-enrol-v1"
_REPLY_INFO: Final = b"swarm-enrol-reply-v1"
_REQUEST_SIGNATURES: Final = 3 * SIGNATURE_BYTES


class EnrolHead(NamedTuple):
    """What stands in clear before the sealed part; NOT yet believed."""

    invite_id: bytes
    issuer: bytes
    """Key id of the issuer that is asked, or that answers."""


class EnrolRequest(Wire):
    """What a joining device says."""

    v: Annotated[int, Field(ge=1, le=1)]
    id: Bytes8
    """The invite's id."""
    sig_pub: Bytes32
    box_pub: Bytes32
    bus_pub: Bytes32
    """Raw key; its text form is the bus's business."""
    name: Name
    asked_caps: Capabilities
    nonce: Bytes16
    ts: Seconds
    """Unix seconds by the device's clock; information only."""


class Granted(Wire):
    """The device is a node now."""

    status: Literal["granted"] = "granted"
    certificate: Annotated[bytes, Field(max_length=4096)]
    jwts: Annotated[
        dict[Role, Annotated[str, StringConstraints(min_length=1, max_length=JWT_CHARS)]],
        Field(max_length=16),
    ]
    """A bus credential for each role."""
    bus_ca: Annotated[bytes, Field(max_length=4096)]
    """The bus's certification authority, DER."""
    charter: Annotated[list[Annotated[bytes, Field(max_length=ENROL_REPLY_BYTES)]], Field(min_length=1)]
    """The chain, the first charter first."""
    issuer_certificate: Annotated[bytes, Field(max_length=4096)] | None = None
    """The enroller's own membership, so that its messages are accepted at once."""
    crl: Annotated[bytes, Field(max_length=ENROL_REPLY_BYTES)] | None = None
    """The revocations in force."""


class Pending(Wire):
    """An admin has to compare the check code first; ask again with the same request."""

    status: Literal["pending"] = "pending"
    nonce: Bytes16
    """Drawn by the enroller after it had the request, so that nobody can search for a request with a wanted code."""


class Refused(Wire):
    """The device is not admitted."""

    status: Literal["refused"] = "refused"
    code: Annotated[str, StringConstraints(pattern=r"^E_[A-Z0-9_]{1,40}$")]
    message: Annotated[str, StringConstraints(max_length=500)]
    hint: Annotated[str, StringConstraints(max_length=500)]


EnrolReply: TypeAlias = Granted | Pending | Refused
_REPLIES: Final[dict[object, type[Granted | Pending | Refused]]] = {
    "granted": Granted,
    "pending": Pending,
    "refused": Refused,
}


class SealedRequest(NamedTuple):
    """A request ready to send; the same bytes are sent again on every retry."""

    raw: bytes
    transcript: bytes
    """32 bytes: for `open_reply` and the check code."""


class OpenedRequest(NamedTuple):
    """A request whose three signatures hold."""

    request: EnrolRequest
    transcript: bytes


class OpenedReply(NamedTuple):
    """A reply whose signature holds; with `granted` also what was verified of its content."""

    reply: EnrolReply
    certificate: Certificate | None
    charter: Charter | None


def transcript_of(swarm_id: bytes, head_hash: bytes, body: bytes) -> bytes:
    """Hash what a request's three signatures cover, behind a byte FF (ENR-3)."""
    return hashlib.sha256(b"swarm-enrol-v1\0" + swarm_id + head_hash + body).digest()


def _request_info(charter: Charter, invite_id: bytes) -> bytes:
    return _REQUEST_INFO + charter.swarm_id + invite_id + charter.hash


def _reply_info(charter: Charter, invite_id: bytes, transcript: bytes) -> bytes:
    return _REPLY_INFO + charter.swarm_id + invite_id + transcript


def _reply_signed(transcript: bytes, body: bytes) -> bytes:
    return b"\xff" + hashlib.sha256(_REPLY_INFO + b"\0" + transcript + body).digest()


def check_code(transcript: bytes, nonce: bytes) -> str:
    """Compute the six digits that two people compare (ENR-6)."""
    digest = hashlib.sha256(transcript + nonce).digest()
    return f"{int.from_bytes(digest[:4], 'big') % 1_000_000:06d}"


def read_enrol_head(raw: bytes) -> EnrolHead:
    """Read whom a request or reply concerns, without believing it.

    Raises:
        Rejected: E_SHORT, E_LONG, E_MAGIC, E_VERSION, E_TYPE.
    """
    return _split(raw, None)[0]


def build_request(
    invite: Invite,
    charter: Charter,
    issuer: IssuerGrant,
    *,
    sig: SigningKey,
    box: BoxKey,
    bus: SigningKey,
    name: str,
    asked_caps: Sequence[str],
    nonce: bytes,
    now_s: float,
) -> SealedRequest:
    """Make the request of a joining device.

    Args:
        invite: As decoded.
        charter: The verified head of the chain that the invite pins.
        issuer: One of the head's issuers.
        sig: The new node's key for envelopes.
        box: Its key for sealed bodies.
        bus: Its key for the bus.
        name: What people shall call it.
        asked_caps: Capabilities that it would like to advertise.
        nonce: 16 fresh random bytes.
        now_s: Unix seconds.

    Raises:
        Rejected: E_SCHEMA (a name that cannot be), E_LONG (too many capabilities for one request).
    """
    body = pack(
        {
            "v": 1,
            "id": invite.invite_id,
            "sig_pub": sig.public,
            "box_pub": box.public,
            "bus_pub": bus.public,
            "name": name,
            "asked_caps": list(asked_caps),
            "nonce": nonce,
            "ts": int(now_s),
        }
    )
    decode_model(EnrolRequest, body)
    transcript = transcript_of(charter.swarm_id, charter.hash, body)
    signed = b"\xff" + transcript
    plain = body + sig.sign(signed) + bus.sign(signed) + proof_key(invite).sign(signed)
    head = _HEAD.pack(_MAGIC, _VERSION, _REQUEST, invite.invite_id, issuer.id)
    raw = head + seal(issuer.box, plain, _request_info(charter, invite.invite_id))
    if len(raw) > ENROL_REQUEST_BYTES:
        raise Rejected("E_LONG", "the request is too long", "Ask for fewer capabilities.")
    return SealedRequest(raw, transcript)


def open_request(raw: bytes, charter: Charter, box: BoxKey, proof_pub: bytes) -> OpenedRequest:
    """Open and verify a request at the enroller.

    Args:
        raw: As received.
        charter: The verified head.
        box: The issuer's box key.
        proof_pub: From the record of the invite that `read_enrol_head` names.

    Raises:
        Rejected: As `read_enrol_head`; E_DECRYPT (another issuer's, another swarm's, or made under another charter head); E_BODY,
            E_SCHEMA; E_KEY (a key that proves nothing, or one key in two places); E_PROOF (one of the three signatures does not hold).
    """
    head, sealed = _split(raw, _REQUEST)
    plain = box.open(sealed, _request_info(charter, head.invite_id))
    if len(plain) <= _REQUEST_SIGNATURES:
        raise Rejected("E_SHORT", "the request is cut off")
    body, signatures = plain[:-_REQUEST_SIGNATURES], plain[-_REQUEST_SIGNATURES:]
    request = decode_model(EnrolRequest, body)
    if request.id != head.invite_id:
        raise Rejected("E_PROOF", "the request names another invite inside than outside")
    check_public_key(request.sig_pub)
    check_public_key(request.bus_pub)
    check_box_key(request.box_pub)
    if len({request.sig_pub, request.box_pub, request.bus_pub}) != 3:
        raise Rejected("E_KEY", "the three keys of a node must be different ones")
    transcript = transcript_of(charter.swarm_id, charter.hash, body)
    signed = b"\xff" + transcript
    for place, public in enumerate((request.sig_pub, request.bus_pub, proof_pub)):
        if not verify(public, signatures[place * SIGNATURE_BYTES : (place + 1) * SIGNATURE_BYTES], signed):
            raise Rejected("E_PROOF")
    return OpenedRequest(request, transcript)


def build_reply(reply: EnrolReply, opened: OpenedRequest, charter: Charter, issuer: SigningKey) -> bytes:
    """Make the answer to a request that was opened.

    Raises:
        Rejected: E_LONG.
    """
    body = encode_model(reply)
    plain = body + issuer.sign(_reply_signed(opened.transcript, body))
    request = opened.request
    head = _HEAD.pack(_MAGIC, _VERSION, _REPLY, request.id, key_id(issuer.public))
    raw = head + seal(request.box_pub, plain, _reply_info(charter, request.id, opened.transcript))
    if len(raw) > ENROL_REPLY_BYTES:
        raise Rejected("E_LONG", "the reply is too long")
    return raw


def open_reply(
    raw: bytes, sent: SealedRequest, charter: Charter, *, sig: bytes, box: BoxKey, bus: bytes, now_s: float
) -> OpenedReply:
    """Open and verify the answer at the joining device.

    Args:
        raw: As received.
        sent: The request that was sent.
        charter: The head under which it was made.
        sig: The device's public key for envelopes.
        box: Its box key.
        bus: Its public key for the bus.
        now_s: Unix seconds.

    Raises:
        Rejected: As `read_enrol_head`; E_DECRYPT (not for this request), E_ISSUER, E_SIG, E_BODY, E_SCHEMA; with `granted` also the codes of
            `verify_chain` and `verify_certificate`, and E_PROOF when the certificate is for other keys.
    """
    head, sealed = _split(raw, _REPLY)
    plain = box.open(sealed, _reply_info(charter, head.invite_id, sent.transcript))
    body, signature = plain[:-SIGNATURE_BYTES], plain[-SIGNATURE_BYTES:]
    issuer = charter.issuer(head.issuer, int(now_s))
    if not verify(issuer.pub, signature, _reply_signed(sent.transcript, body)):
        raise Rejected("E_SIG")
    fields = unpack(body)
    kind = _REPLIES.get(fields.get("status")) if isinstance(fields, dict) else None
    if kind is None:
        raise Rejected("E_SCHEMA", "the reply has no known status")
    reply = decode_model(kind, body)
    if not isinstance(reply, Granted):
        return OpenedReply(reply, None, None)
    newest = verify_chain(reply.charter, charter.swarm_id)
    if newest.n < charter.n:
        raise Rejected("E_CHAIN", "the reply has an older charter than the one already known")
    certificate = verify_certificate(reply.certificate, newest, now_s)
    if (certificate.sig, certificate.box, certificate.bus) != (sig, box.public, bus):
        raise Rejected("E_PROOF", "the certificate is for other keys than this device's")
    return OpenedReply(reply, certificate, newest)


def _split(raw: bytes, wanted: int | None) -> tuple[EnrolHead, bytes]:
    if len(raw) <= _HEAD.size:
        raise Rejected("E_SHORT")
    magic, version, kind, invite_id, issuer = _HEAD.unpack_from(raw)
    if magic != _MAGIC:
        raise Rejected("E_MAGIC", "these bytes are not of an enrolment")
    if version != _VERSION:
        raise Rejected("E_VERSION")
    if kind not in (_REQUEST, _REPLY) or (wanted is not None and kind != wanted):
        raise Rejected("E_TYPE", "a request stands where a reply should be, or the other way round")
    if len(raw) > (ENROL_REQUEST_BYTES if kind == _REQUEST else ENROL_REPLY_BYTES):
        raise Rejected("E_LONG")
    return EnrolHead(invite_id, issuer), raw[_HEAD.size :]
