"""Making an invite: the secret is minted here, on the admin's own device, and never leaves it but in the text that the person passes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast

from protocol.invite import FLAG_LAN_ONLY, FLAG_SINGLE_USE, Endpoint, Invite, encode_invite, proof_key
from protocol.messages import CreateInvite

from .client import Swarm
from .discovery import parse_endpoint

__all__ = ["INVITE_ROLES", "MadeInvite", "make_invite"]

InviteRole = Literal["agent", "coordinator", "client", "bus", "admin"]
INVITE_ROLES: tuple[InviteRole, ...] = ("agent", "coordinator", "client", "bus", "admin")
_ENDPOINTS_MAX = 3
"""So that the text stays short enough to read aloud."""


@dataclass(frozen=True, slots=True)
class MadeInvite:
    """A fresh invite. `token` is the secret text; the rest may be shown and logged."""

    token: str
    invite: str
    role: str
    uses: int
    expires: str
    """ISO 8601, UTC."""
    reaches: list[str]


async def make_invite(
    swarm: Swarm,
    *,
    role: InviteRole = "agent",
    uses: int = 1,
    ttl_s: int = 3600,
    label: str = "",
    addresses: bool = True,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> MadeInvite:
    """Enter an invite into the swarm and make its text. `addresses` False leaves them out: the device then finds the bus by mDNS.

    Raises:
        CallFailed: this device is no admin, or the enroller refuses.
        NoAnswer: no enroller is up.
    """
    membership = swarm.membership
    reaches: list[str] = []
    endpoints: list[Endpoint] = []
    known = [parse_endpoint(url) for url in membership.node.bus_urls if addresses]
    # Its own address of this device means another one elsewhere.
    for found in [one for one in known if one.host != "127.0.0.1"] or known:
        kind = 2 if ":" in found.host else 1 if found.host.replace(".", "").isdigit() else 3
        endpoints.append(Endpoint(kind, found.host, found.port))
        reaches.append(f"{found.host}:{found.port}")
    endpoints, reaches = endpoints[:_ENDPOINTS_MAX], reaches[:_ENDPOINTS_MAX]
    invite = Invite(
        flags=(FLAG_SINGLE_USE if uses == 1 else 0) | (0 if addresses else FLAG_LAN_ONLY),
        expiry=int(swarm.endpoint.clock.now()) + ttl_s,
        invite_id=random_bytes(8),
        secret=random_bytes(16),
        swarm_id=membership.charter.swarm_id,
        bus_pin=bytes.fromhex(membership.node.bus_ca_sha256)[:16],
        endpoints=tuple(endpoints),
    )
    reply = await swarm.endpoint.call(
        "enroll",
        CreateInvite(
            id=invite.invite_id,
            proof_pub=proof_key(invite).public,
            role=role,
            uses=uses,
            ttl_s=ttl_s,
            label=label,
        ),
        timeout_s=10,
    )
    expiry = int(cast("int", reply.data["expires"]))
    return MadeInvite(
        token=encode_invite(invite._replace(expiry=expiry)),
        invite=invite.invite_id.hex(),
        role=role,
        uses=uses,
        expires=datetime.fromtimestamp(expiry, UTC).isoformat(timespec="minutes").replace("+00:00", "Z"),
        reaches=reaches,
    )
