"""What a device needs to speak as a member, and how it connects: keys, charter, certificate, bus credentials.

`Membership.load` reads a home; `connect(role)` yields an `Endpoint` that is signed, verified and closed in bounded time. One process may hold several
endpoints (one for each role); they share the directory of members, not the replay windows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from protocol.certificate import Certificate, verify_certificate
from protocol.charter import Charter, verify_chain
from protocol.codec import pack, unpack
from protocol.envelope import Sealer
from protocol.errors import Rejected
from protocol.registry import RULES
from protocol.verify import Directory, Member, Verifier

from .clock import Clock, SystemClock
from .endpoint import Endpoint
from .errors import MeshError
from .home import Home, HomeDamaged, NodeFile
from .identity import Identity
from .nkeys import public_text
from .tasks import background
from .workspace import WriteOnce

__all__ = ["MemberStore", "Membership", "NoSuchRole", "pack_chain"]

log = logging.getLogger("zwerm.membership")


class NoSuchRole(MeshError):
    """This device's membership does not include a role."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("E_ROLE", message, hint)


class MemberStore:
    """The directory of members, filled from the certificates in the workspace (stream CERTS) and from hellos."""

    def __init__(self, charter: Charter, clock: Clock) -> None:
        self.directory = Directory()
        self.charter = charter
        self.certificates: dict[bytes, Certificate] = {}
        self._clock = clock
        self._stored: WriteOnce | None = None
        self._nodes: dict[str, str] = {}

    def use(self, stored: WriteOnce) -> None:
        """From now on unknown serials are looked up here."""
        self._stored = stored

    def add(self, raw: bytes) -> Member:
        """Verify a certificate and remember its holder.

        Raises:
            Rejected: it does not hold.
        """
        certificate = verify_certificate(raw, self.charter, self._clock.now())
        self.certificates[certificate.serial] = certificate
        self._nodes[public_text("U", certificate.bus)] = certificate.node.hex()
        return self.directory.put(
            certificate, public_text("U", certificate.bus), int(self._clock.now() * 1000)
        )

    def node_of(self, bus_key: str) -> str | None:
        """The node id, hex, of the member with this bus key."""
        return self._nodes.get(bus_key)

    async def fetch(self, serial: bytes) -> Member | None:
        """Get one certificate from the workspace (see `endpoint.CertificateSource`)."""
        if self._stored is None:
            return None
        raw = await self._stored.get(serial.hex())
        if raw is None:
            return None
        try:
            return self.add(raw)
        except Rejected as error:
            log.warning("the certificate %s does not hold: %s", serial.hex(), error)
            return None

    async def load_all(self, stored: WriteOnce) -> int:
        """Read every certificate that is stored (coordinators and enrollers may); returns how many hold now."""
        held = 0
        async for _, raw in stored.items():  # noqa: PERF102 - not a dict
            try:
                self.add(raw)
                held += 1
            except Rejected:
                continue
        return held


class Membership:
    """One device's membership of one swarm."""

    def __init__(
        self,
        home: Home,
        node: NodeFile,
        identity: Identity,
        charter_chain: list[bytes],
        certificate: bytes,
        clock: Clock,
    ) -> None:
        self.home = home
        self.node = node
        self.identity = identity
        self.charter_chain = charter_chain
        self.charter = verify_chain(charter_chain, bytes.fromhex(node.swarm_id))
        self.certificate_raw = certificate
        self.clock = clock
        self.certificate = verify_certificate(certificate, self.charter, clock.now())
        self.store = MemberStore(self.charter, clock)
        self.store.add(certificate)

    @classmethod
    def load(cls, home: Home, clock: Clock | None = None) -> Membership:
        """Read a home.

        Raises:
            NotInSwarm: this device is in no swarm.
            HomeDamaged: something is missing or does not fit.
        """
        node = home.load()
        try:
            chain = unpack(home.read("charter.bin"))
            if not isinstance(chain, list) or not all(isinstance(part, bytes) for part in chain):
                raise Rejected("E_BODY", "not a list of charters")
            return cls(
                home, node, Identity.load(home), chain, home.read("certificate.bin"), clock or SystemClock()
            )
        except Rejected as error:
            if error.code == "E_CERT_EXPIRED":
                raise HomeDamaged(
                    "this device's membership has expired (it was off for too long)",
                    "Leave with `zwerm leave --wipe`, ask for a new invite and join again.",
                ) from None
            raise HomeDamaged(
                f"the state in {home.path} does not hold together: {error.message}",
                "Restore it from a backup, or leave with `zwerm leave --wipe` and join again.",
            ) from None

    def renewed(self, charter_chain: list[bytes], certificate: bytes) -> None:
        """Take a renewed certificate (and perhaps a longer charter chain) into use; both were verified and stored."""
        self.charter_chain = charter_chain
        self.charter = self.store.charter = verify_chain(charter_chain, self.charter.swarm_id)
        self.certificate_raw = certificate
        self.certificate = verify_certificate(certificate, self.charter, self.clock.now())
        self.store.add(certificate)

    @property
    def me(self) -> str:
        """Our public bus key."""
        return self.identity.bus.public

    @property
    def node_hex(self) -> str:
        """Our node id, hex."""
        return self.identity.node.hex()

    def token(self, role: str) -> str:
        """The bus credential for one role.

        Raises:
            NoSuchRole: this device does not have that role.
        """
        path = f"tokens/{role}.jwt"
        if not self.home.file(path).exists():
            raise NoSuchRole(
                f"this device has no role {role!r} in the swarm (it has: {', '.join(self.node.roles)})",
                f"Ask an admin for `zwerm invite --role {role}`, or run the command on a device that has it.",
            )
        return self.home.read(path).decode("ascii")

    @asynccontextmanager
    async def connect(
        self, role: str, *, urls: Sequence[str] | None = None, timeout_s: float = 10.0
    ) -> AsyncIterator[Endpoint]:
        """A connection under one role.

        Raises:
            BusUnreachable: no server at any of the addresses within `timeout_s`.
            BusRefused: the membership does not hold any more.
        """
        from .bus_nats import NatsBus
        from .tls_pin import ca_context
        from .workspace_nats import open_workspace

        bus = await NatsBus.connect(
            list(urls or self.node.bus_urls),
            ca_context(self.home.read("bus-ca.der")),
            self.identity.bus,
            self.token(role),
            name=f"{self.node.name}/{role}",
            renew=self.renewed_token(role),
            timeout_s=timeout_s,
            clock=self.clock,
        )
        try:
            workspace = open_workspace(bus, self.clock, worker=role in ("agent", "client"))
            self.store.use(workspace.certs)
            endpoint = Endpoint(
                bus=bus,
                sealer=self.sealer(),
                verifier=Verifier(self.charter.swarm_id[:8], self.store.directory, RULES),
                clock=self.clock,
                me=self.me,
                node=self.node_hex,
                name=self.node.name,
                home=self.home.path,
                workspace=workspace,
                certificates=self.store,
                directory=self.store.directory,
            )
            async with background(bus.run()), endpoint:
                yield endpoint
        finally:
            await bus.close()

    def sealer(self) -> Sealer:
        """A fresh signing session: its number is random, its sequence starts at 1."""
        return Sealer(self.identity.sign, self.charter.swarm_id[:8], self.certificate.serial, os.urandom(8))

    def renewed_token(self, role: str) -> Callable[[], Awaitable[str]]:
        """What the bus asks for the next credential: the daemon's renewal writes it into the home."""

        async def read() -> str:
            return self.token(role)

        return read


def pack_chain(chain: Sequence[bytes]) -> bytes:
    """A charter chain as it lies in `charter.bin`."""
    return pack(list(chain))
