"""Who is a member, as a verifier needs to know it: keys, rights and dates by node id (SPEC CERT-7 to CERT-9).

Filled from certificates that `certificate.verify_certificate` accepted, and from revocations; never from a message's own words. A node has
one current certificate. When a newer one comes the one before stays good for 60 s, for messages on their way, and all are kept for a
while so that stored messages can be judged as of the time at which they were stored.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Final

from .limits import CLEARANCE_MAX, GRANTS_KEPT, SERIAL_GRACE_MS
from .signing import PublicKey, prepare

if TYPE_CHECKING:
    from .certificate import Certificate

__all__ = ["NEVER_MS", "Directory", "Grant", "Member"]

NEVER_MS: Final = 1 << 62
"""The time of what has not happened."""


class Grant:
    """What one certificate gave, and when."""

    __slots__ = (
        "clearance",
        "expires_ms",
        "invite",
        "issuer",
        "not_before_ms",
        "revoked_ms",
        "roles",
        "serial",
        "superseded_ms",
        "zones",
    )

    def __init__(
        self,
        serial: bytes,
        *,
        not_before_ms: int = 0,
        expires_ms: int = NEVER_MS,
        roles: frozenset[str] = frozenset(),
        zones: Container[int] = frozenset(),
        clearance: int = 0,
        invite: bytes = b"",
        issuer: bytes = b"",
    ) -> None:
        self.serial = serial
        self.not_before_ms = not_before_ms
        self.expires_ms = expires_ms
        self.roles = roles
        self.zones = zones
        self.clearance = clearance
        self.invite = invite
        self.issuer = issuer
        self.revoked_ms = NEVER_MS
        self.superseded_ms = NEVER_MS


class Member:
    """One node: what the verifier reads for each message lies flat in it."""

    __slots__ = (
        "bus_key",
        "clearance",
        "expires_ms",
        "grants",
        "name",
        "node_id",
        "previous",
        "public",
        "revoked",
        "roles",
        "serial",
        "zones",
    )

    def __init__(
        self,
        node_id: bytes,
        public: PublicKey | bytes,
        serial: bytes,
        *,
        expires_ms: int,
        roles: frozenset[str],
        zones: Container[int] = frozenset(),
        clearance: int = CLEARANCE_MAX,
        bus_key: str = "",
        name: str = "",
        not_before_ms: int = 0,
    ) -> None:
        """Describe a node by its current certificate.

        Raises:
            Rejected: E_KEY, when `public` is raw bytes that are no usable key.
        """
        self.node_id = node_id
        self.public = public if isinstance(public, PublicKey) else prepare(public)
        self.bus_key = bus_key
        self.name = name
        self.grants: dict[bytes, Grant] = {}
        self.previous: Grant | None = None
        self.serial = serial
        self.expires_ms = expires_ms
        self.roles = roles
        self.zones = zones
        self.clearance = clearance
        self.revoked = False
        self.grants[serial] = Grant(
            serial,
            not_before_ms=not_before_ms,
            expires_ms=expires_ms,
            roles=roles,
            zones=zones,
            clearance=clearance,
        )

    @property
    def current(self) -> Grant:
        """The current certificate's grant."""
        return self.grants[self.serial]

    def enter(self, grant: Grant, now_ms: int) -> None:
        """Enter another certificate of this node: it becomes the current one if it began later than the present one."""
        if grant.serial in self.grants:
            return
        self.grants[grant.serial] = grant
        current = self.current
        newer = (grant.not_before_ms, grant.expires_ms) > (current.not_before_ms, current.expires_ms)
        if newer:
            current.superseded_ms = now_ms
            self.previous = current
            self._show(grant)
        else:
            grant.superseded_ms = min(now_ms, current.not_before_ms)
        while len(self.grants) > GRANTS_KEPT:
            oldest = min(self.grants.values(), key=lambda kept: kept.not_before_ms)
            if oldest.serial == self.serial:
                break
            del self.grants[oldest.serial]

    def in_grace(self, serial: bytes, now_ms: int) -> Grant | None:
        """Give the grant of the certificate before the current one while it is still good, else None."""
        previous = self.previous
        if previous is None or previous.serial != serial or previous.revoked_ms != NEVER_MS:
            return None
        return previous if now_ms - previous.superseded_ms <= SERIAL_GRACE_MS else None

    def _show(self, grant: Grant) -> None:
        self.serial = grant.serial
        self.expires_ms = grant.expires_ms
        self.roles = grant.roles
        self.zones = grant.zones
        self.clearance = grant.clearance
        self.revoked = grant.revoked_ms != NEVER_MS


class Directory:
    """The members by node id, and what was revoked, also before it was met."""

    __slots__ = ("_by_bus_key", "_invites", "_issuers", "_nodes", "_serials", "members")

    def __init__(self) -> None:
        self.members: dict[bytes, Member] = {}
        """By node id, for reading only."""
        self._by_bus_key: dict[str, bytes] = {}
        self._nodes: dict[bytes, int] = {}
        self._serials: dict[bytes, int] = {}
        self._invites: dict[bytes, int] = {}
        self._issuers: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())

    def get(self, node: bytes) -> Member | None:
        """Look a node up by its id."""
        return self.members.get(node)

    def by_bus_key(self, bus_key: str) -> Member | None:
        """Look a node up by its bus key, `U...`: whom a subject names."""
        node = self._by_bus_key.get(bus_key)
        return None if node is None else self.members.get(node)

    def add(self, member: Member) -> Member:
        """Enter a member that was described by hand (a simulator, the conformance runner); replaces one of the same id."""
        self.members[member.node_id] = member
        self._by_bus_key[member.bus_key] = member.node_id
        for grant in member.grants.values():
            self._apply(member, grant)
        return member

    def put(self, certificate: Certificate, bus_key: str, now_ms: int) -> Member:
        """Enter a VERIFIED certificate: a new member, a renewal, or an old one for the archive.

        Args:
            certificate: As `verify_certificate` returned it.
            bus_key: The certificate's bus key in its text form, `U...`.
            now_ms: Unix milliseconds; the 60 s of the certificate before begin here.

        Raises:
            Rejected: E_KEY, when the signing key is not usable.
        """
        grant = Grant(
            certificate.serial,
            not_before_ms=certificate.not_before * 1000,
            expires_ms=certificate.expires * 1000,
            roles=frozenset(certificate.roles),
            zones=frozenset(certificate.zones),
            clearance=certificate.clearance,
            invite=certificate.invite,
            issuer=certificate.issuer,
        )
        member = self.members.get(certificate.node)
        if member is None:
            member = Member(
                certificate.node,
                certificate.sig,
                certificate.serial,
                expires_ms=grant.expires_ms,
                roles=grant.roles,
                zones=grant.zones,
                clearance=grant.clearance,
                bus_key=bus_key,
                name=certificate.name,
                not_before_ms=grant.not_before_ms,
            )
            member.grants[grant.serial] = grant
            self.members[member.node_id] = member
        else:
            member.enter(grant, now_ms)
            if member.serial == grant.serial and member.bus_key != bus_key:
                self._by_bus_key.pop(member.bus_key, None)
                member.bus_key = bus_key
            if member.serial == grant.serial:
                member.name = certificate.name
        self._by_bus_key[member.bus_key] = member.node_id
        self._apply(member, grant)
        return member

    def remove(self, node: bytes) -> None:
        """Forget a node; its messages are then of an unknown sender."""
        member = self.members.pop(node, None)
        if member is not None and self._by_bus_key.get(member.bus_key) == node:
            del self._by_bus_key[member.bus_key]

    def revoke(
        self,
        at_ms: int,
        *,
        node: bytes | None = None,
        serial: bytes | None = None,
        invite: bytes | None = None,
        issuer: bytes | None = None,
    ) -> list[Member]:
        """Revoke one node, certificate, invite (all who joined by it) or issuer (all whom it certified), as of `at_ms`.

        Holds for certificates that come later, too. Gives the members that are now revoked by it.
        """
        for table, key in (
            (self._nodes, node),
            (self._serials, serial),
            (self._invites, invite),
            (self._issuers, issuer),
        ):
            if key is not None:
                table[key] = min(at_ms, table.get(key, at_ms))
        struck = []
        for member in self.members.values():
            before = member.revoked
            for grant in member.grants.values():
                self._apply(member, grant)
            if member.revoked and not before:
                struck.append(member)
        return struck

    def _apply(self, member: Member, grant: Grant) -> None:
        at_ms = min(
            self._nodes.get(member.node_id, NEVER_MS),
            self._serials.get(grant.serial, NEVER_MS),
            self._invites.get(grant.invite, NEVER_MS),
            self._issuers.get(grant.issuer, NEVER_MS),
        )
        grant.revoked_ms = min(grant.revoked_ms, at_ms)
        if grant.serial == member.serial:
            member.revoked = grant.revoked_ms != NEVER_MS
