"""Every maximum of the wire, with its unit and the reason for its value. SPEC repeats them; nothing else may contain one."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BODY_MAX_BYTES",
    "CAPABILITIES_MAX",
    "CAPABILITY_CHARS",
    "CERTIFICATE_TTL_MAX_S",
    "CERTIFICATE_TTL_S",
    "CHARTER_CHAIN",
    "CHARTER_ISSUERS",
    "CHARTER_ROOTS",
    "CHARTER_SIGNATURES",
    "CLEARANCE_MAX",
    "CONTROL_BODY_BYTES",
    "ENDPOINTS_MAX",
    "ENROL_REPLY_BYTES",
    "ENROL_REQUEST_BYTES",
    "ENVELOPE_HEADER_BYTES",
    "ENVELOPE_MAX_BYTES",
    "ENVELOPE_MIN_BYTES",
    "GRANTS_KEPT",
    "INVITE_MAX_BYTES",
    "INVITE_MIN_BYTES",
    "INVITE_TEXT_CHARS",
    "INVITE_TTL_MAX_S",
    "INVITE_TTL_S",
    "JWT_CHARS",
    "MSGPACK_ARRAY",
    "MSGPACK_DEPTH",
    "MSGPACK_MAP",
    "MSGPACK_NODES",
    "NAME_CHARS",
    "OBJECT_BODY_BYTES",
    "OBJECT_FRAME_BYTES",
    "REPLAY_WINDOW",
    "REVOCATIONS_NODES",
    "REVOKED_MAX",
    "ROLES_MAX",
    "SENDER_BURST",
    "SENDER_RATE_PER_S",
    "SERIAL_GRACE_MS",
    "SESSIONS_PER_SENDER",
    "SKEW_MS",
    "TTL_DEFAULT_S",
    "TTL_MAX_S",
    "YOUNG_RECEIVER_MS",
    "ZONES_MAX",
]

ENVELOPE_HEADER_BYTES: Final = 110
"""Bytes before the body: every field has a fixed place (ENV-1)."""
ENVELOPE_MIN_BYTES: Final = 174
"""Header and signature around an empty body."""
ENVELOPE_MAX_BYTES: Final = 1 << 20
"""1 MiB, signature included: the bus's own payload limit, so nothing larger can arrive by it."""
BODY_MAX_BYTES: Final = ENVELOPE_MAX_BYTES - ENVELOPE_MIN_BYTES
"""The largest body that an envelope can hold."""
CONTROL_BODY_BYTES: Final = 64 * 1024
"""Bodies that are no content. Worst expansion on decoding is about 85 times, so 5.5 MiB of memory at most."""

SKEW_MS: Final = 30_000
"""Milliseconds that two clocks may differ: what an unattended device drifts in weeks, with margin."""
TTL_MAX_S: Final = 600
"""Seconds a live message may stay valid: bounds how long a replay window has to be remembered."""
TTL_DEFAULT_S: Final = 30
"""Seconds, for messages that are only of use now."""
YOUNG_RECEIVER_MS: Final = TTL_MAX_S * 1000 + 2 * SKEW_MS
"""660,000 ms: after this every envelope from before the receiver's start fails on time (ENV-17)."""

REPLAY_WINDOW: Final = 1024
"""Sequence numbers remembered behind the highest: reordering on a bus spans a few hundred messages at most."""
SESSIONS_PER_SENDER: Final = 256
"""Live sessions of one sender: command-line calls on a busy device each have one."""
SENDER_RATE_PER_S: Final = 5_000.0
"""Messages a second that one sender may have verified on average: about a quarter of one core's signatures."""
SENDER_BURST: Final = 20_000.0
"""Messages that a sender may have verified at once after a pause: a whole outbox after a reconnection."""
SERIAL_GRACE_MS: Final = 60_000
"""Milliseconds that the previous certificate stays good after its successor was seen: messages on their way."""
GRANTS_KEPT: Final = 64
"""Certificates of one node kept to judge stored messages: at one renewal in 3.5 days more than the journal's 90 days."""

MSGPACK_DEPTH: Final = 16
"""Containers inside one another; no message needs more than 8."""
MSGPACK_NODES: Final = 10_000
"""Values in one body, map keys not counted: 250 bodies of 40 fields."""
MSGPACK_ARRAY: Final = 4096
"""Items of one array."""
MSGPACK_MAP: Final = 256
"""Entries of one map."""

OBJECT_FRAME_BYTES: Final = 24
"""Bytes before an object's body (OBJ-1)."""
OBJECT_BODY_BYTES: Final = 256 * 1024
"""Body of a signed object: a revocation list of some thousand entries is the largest kind."""
REVOKED_MAX: Final = MSGPACK_ARRAY
"""Entries of a list of revocations: all that one array can hold."""
REVOCATIONS_NODES: Final = 30_000
"""Values in the body of a list of revocations: five an entry, with room."""
CHARTER_SIGNATURES: Final = 64
"""Signatures under one charter: old and new roots together."""
CHARTER_CHAIN: Final = 4096
"""Charters in a chain: ten years of one a day."""
CHARTER_ROOTS: Final = 16
"""Root keys of a swarm."""
CHARTER_ISSUERS: Final = 64
"""Issuers at one time."""

NAME_CHARS: Final = 64
"""Characters in the name of a swarm, a node or an issuer."""
ROLES_MAX: Final = 16
"""Roles in one certificate; nine exist."""
CAPABILITIES_MAX: Final = 64
"""Capability names in one certificate."""
CAPABILITY_CHARS: Final = 64
"""Characters of a capability's name: it is part of a bus subject."""
ZONES_MAX: Final = 256
"""Zones of a swarm; the header's field could count to 65,535."""
CLEARANCE_MAX: Final = 3
"""The most secret class: 0 public, 1 internal, 2 confidential, 3 restricted."""

CERTIFICATE_TTL_S: Final = 7 * 86_400
"""Seconds a membership lasts by default; renewed at half of it."""
CERTIFICATE_TTL_MAX_S: Final = 90 * 86_400
"""Seconds the longest membership may last (a site without a connection to its enroller)."""

INVITE_MIN_BYTES: Final = 83
"""An invite without an endpoint."""
INVITE_MAX_BYTES: Final = 1024
"""An invite with three DNS names of the greatest length; usual ones have 91 to 115 bytes."""
INVITE_TEXT_CHARS: Final = 8192
"""Characters of pasted text looked at, spaces and dashes included."""
INVITE_TTL_S: Final = 3600
"""Seconds an invite is valid by default."""
INVITE_TTL_MAX_S: Final = 7 * 86_400
"""Seconds the longest invite may be valid."""
ENDPOINTS_MAX: Final = 16
"""Addresses that an encoder puts into one invite."""

ENROL_REQUEST_BYTES: Final = 4096
"""A joining device's request: the enrolment account's payload limit on the bus."""
ENROL_REPLY_BYTES: Final = 512 * 1024
"""The reply: certificate, credentials and the charter chain."""
JWT_CHARS: Final = 8192
"""Characters of one bus credential; 614 were measured."""
