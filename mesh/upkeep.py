"""Keeping a membership good: renewal before it ends, and taking in what was revoked.

A certificate is renewed at half of its life (with jitter, so that devices which joined together do not all ask at once), signed on the strength of the old one. The
bus credentials come with it. An enroller that is away changes nothing for days: the next try comes soon. Revocations are read at the start and taken in as they are
pushed; this device's own ends the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from protocol import subjects
from protocol.certificate import verify_certificate
from protocol.charter import verify_chain
from protocol.codec import unpack
from protocol.errors import Rejected, ZwermError
from protocol.messages import Renew, Reply, Revocation
from protocol.revocations import Revocations, open_revocations

from .endpoint import Endpoint, Received
from .errors import MeshError
from .membership import Membership

__all__ = ["RETRY_S", "REVOCATIONS_KEY", "MembershipEnded", "MembershipExpired", "Upkeep", "renewal_time"]

log = logging.getLogger("zwerm.upkeep")

RETRY_S = 600.0
REVOCATIONS_KEY = "revocations"
_ASK_S = 10.0
_LOOK_S = 600.0
"""How often the date is looked at: a laptop's timers stand still while it sleeps, its calendar does not."""


class MembershipEnded(MeshError):
    """This device is not a member any more."""

    def __init__(self, why: str) -> None:
        super().__init__(
            "E_REVOKED",
            f"this device's membership was ended: {why}",
            "Ask the swarm's admin; join again with a new invite.",
        )


class MembershipExpired(MeshError):
    """This device could not renew its membership in time."""

    def __init__(self) -> None:
        super().__init__(
            "E_CERT_EXPIRED",
            "this device's membership has expired: it was off, or met no enroller, for too long",
            "Leave with `zwerm leave --wipe`, ask for a new invite and join again.",
        )


def renewal_time(not_before: float, expires: float, jitter: float) -> float:
    """When to renew, in Unix seconds: half-way, later by up to a tenth of the life (`jitter` 0 to 1)."""
    life = expires - not_before
    return not_before + life * (0.5 + 0.1 * jitter)


class Upkeep:
    """One device's upkeep. `endpoints` are all of its connections; the first is used to ask."""

    def __init__(
        self,
        membership: Membership,
        endpoints: list[Endpoint],
        on_end: Callable[[MembershipEnded | MembershipExpired], None],
    ) -> None:
        self.membership = membership
        self.endpoints = endpoints
        self._on_end = on_end
        self._number = 0
        self._jitter = random.SystemRandom().random()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        await self.endpoints[0].listen(subjects.control(), self._on_control)
        try:
            entry = await self.endpoints[0].workspace.swarm.get(REVOCATIONS_KEY)
            if entry is not None:
                self._take(entry.value)
        except ZwermError as error:
            log.warning("the list of revocations could not be taken in: %s", error)
        while not stop.is_set():
            certificate = self.membership.certificate
            due = renewal_time(certificate.not_before, certificate.expires, self._jitter)
            now = self.membership.clock.now()
            if now >= certificate.expires:
                # Nobody accepts what this device signs any more, a request for renewal least of all.
                self._on_end(MembershipExpired())
                await stop.wait()
                return
            wait = due - now
            if wait <= 0:
                if await self._renew():
                    continue
                wait = min(RETRY_S, max(1.0, certificate.expires - now))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, _LOOK_S)):
                    await stop.wait()

    async def _renew(self) -> bool:
        try:
            reply = await self.endpoints[0].call("enroll", Renew(), timeout_s=_ASK_S)
            self._adopt(reply)
        except MeshError as error:
            log.warning("membership not renewed yet: %s", error.message)
            return False
        except Rejected as error:
            log.warning("the renewed membership does not hold: %s", error)
            return False
        log.info("membership renewed until %s", self.membership.certificate.expires)
        return True

    def _adopt(self, reply: Reply) -> None:
        """Verify everything that came, then write it all, then use it."""
        member = self.membership
        if "charter" not in reply.blobs or "certificate" not in reply.blobs:
            raise Rejected("E_SCHEMA", "the answer carries no charter, or no certificate")
        chain = unpack(reply.blobs["charter"])
        if not isinstance(chain, list) or not all(isinstance(part, bytes) for part in chain):
            raise Rejected("E_BODY", "not a list of charters")
        parts = [part for part in chain if isinstance(part, bytes)]
        if parts[: len(member.charter_chain)] != member.charter_chain:
            raise Rejected(
                "E_CHAIN", "the charter is older than, or does not follow from, the one known here"
            )
        charter = verify_chain(parts, member.charter.swarm_id)
        certificate = verify_certificate(reply.blobs["certificate"], charter, member.clock.now())
        if (certificate.sig, certificate.bus) != (member.certificate.sig, member.certificate.bus):
            raise Rejected("E_PROOF", "the certificate is for other keys than this device's")
        member.home.write("charter.bin", reply.blobs["charter"])
        member.home.write("certificate.bin", reply.blobs["certificate"])
        for name, blob in reply.blobs.items():
            if name.startswith("token/") and name[6:].isalpha():
                member.home.write(f"tokens/{name[6:]}.jwt", blob)
        member.renewed(parts, reply.blobs["certificate"])
        for endpoint in self.endpoints:
            endpoint.use_certificate(certificate.serial)

    def _on_control(self, received: Received) -> None:
        for item in received.items:
            if isinstance(item, Revocation):
                try:
                    self._take(item.revocations)
                except Rejected as error:
                    log.warning("a list of revocations does not hold: %s", error)

    def _take(self, raw: bytes) -> None:
        revocations: Revocations = open_revocations(raw, self.membership.charter)
        if revocations.n < self._number:
            return
        self._number = revocations.n
        revocations.apply(self.membership.store.directory)
        for entry in revocations.revoked:
            if entry.kind == "node" and entry.id == self.membership.identity.node:
                self._on_end(MembershipEnded(entry.why or "no reason given"))
            if entry.kind == "node":
                for endpoint in self.endpoints:
                    endpoint.roster.forget(entry.id.hex())
