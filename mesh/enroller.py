"""The enroller: admits devices, renews and ends memberships. Runs where the issuer's keys lie.

Rules. The record, not the invite's text, decides what is granted. An invite is burnt before anything is minted: a write-once marker in the workspace, won by exactly one
node however many ask at once; the same node asking again (its answer was lost) gets the same certificate. Another node with a used invite is refused and an alarm names
both. What cannot be authenticated is counted and not answered. Counterpart: `joining.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from protocol import subjects
from protocol.certificate import Certificate, issue, read_certificate
from protocol.enrol import (
    EnrolReply,
    Granted,
    OpenedRequest,
    Refused,
    build_reply,
    open_request,
    read_enrol_head,
)
from protocol.errors import Rejected, ZwermError
from protocol.invite import InviteRecord, open_invite_record, sign_invite_record
from protocol.limits import NAME_CHARS
from protocol.messages import (
    CreateInvite,
    Leave,
    ListInvites,
    Ping,
    Renew,
    Reply,
    Revocation,
    RevokeInvite,
    RevokeNode,
)
from protocol.revocations import NEXT_S, Revocations, Revoked, open_revocations, sign_revocations
from protocol.sealing import BoxKey
from protocol.signing import SigningKey

from .bus import Msg
from .bus_accounts import BusAuthority
from .endpoint import CallFailed, Endpoint, Received
from .errors import BusRefused, MeshError
from .founding import CERTIFICATE_S, MEMBER_ROLES, clean_name, mint_tokens
from .home import Home
from .identity import load_seed
from .membership import Membership, pack_chain
from .nkeys import public_text
from .upkeep import REVOCATIONS_KEY

__all__ = ["EPHEMERAL_S", "EnrollerService"]

log = logging.getLogger("zwerm.enroller")

EPHEMERAL_S = 86_400
_LOOK_S = 3600.0
_TELL_PAUSES_S = (0.5, 2.0, 8.0, 30.0)
"""Between the tries to hand the bus a new list of those that it must not let in."""
_BURN_REVOKED = b"revoked"
_AT_ONCE_MAX = 32
_WAITING_MAX = 512
"""Requests that wait for their turn: a class of pupils that joins at once. More than these are dropped and counted."""


class EnrollerService:
    """One enroller; `run` serves until it is told to stop."""

    def __init__(self, home: Home, membership: Membership, endpoint: Endpoint) -> None:
        self.home = home
        self.membership = membership
        self.endpoint = endpoint
        self.counts: Counter[str] = Counter()
        """Refusals by code, alarms under `alarm`."""
        self._issuer = SigningKey.from_seed(load_seed(home, "admin/issuer.key"))
        self._box = BoxKey.from_seed(load_seed(home, "admin/issuer-box.key"))
        self._authority = BusAuthority.from_json(home.read("admin/bus.json"))
        self._ca = home.read("bus-ca.der")
        self._jobs: set[asyncio.Task[None]] = set()
        self._revoking = asyncio.Lock()
        self._naming = asyncio.Lock()
        self._at_once = asyncio.Semaphore(_AT_ONCE_MAX)
        self.serving = asyncio.Event()
        """Set when devices and members are answered."""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve enrolment and the service `enroll` until `stop` is set."""
        bus = self.endpoint.bus
        await bus.subscribe(subjects.CHARTER, self._on_charter, queue="enroll")
        await bus.subscribe(subjects.enrol_requests(), self._on_request, queue="enroll")
        await self.endpoint.serve("enroll", self._on_call)
        try:
            await self._publish_revocations([])
            self.serving.set()
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await stop.wait()
                        break
                try:
                    await self._publish_revocations([])  # a list that nobody repeats grows stale
                except ZwermError as error:
                    log.warning("the list of revocations is not fresh yet: %s", error)
        finally:
            for job in list(self._jobs):
                job.cancel()
            if self._jobs:
                await asyncio.wait(self._jobs)

    # --- joining devices -------------------------------------------------------------------------------------------------------

    async def _on_charter(self, msg: Msg) -> None:
        if msg.reply:
            await self.endpoint.bus.publish(msg.reply, pack_chain(self.membership.charter_chain))

    def _on_request(self, msg: Msg) -> None:
        if not msg.reply or len(self._jobs) >= _WAITING_MAX:
            self.counts["E_RATE"] += 1
            return
        self._start(self._admit(msg))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """A task that `run` owns."""

        async def contained() -> None:
            try:
                await work
            except ZwermError as error:
                log.warning("the enroller could not finish something: %s", error)
            except Exception:
                log.exception("the enroller failed at something")

        job = asyncio.get_running_loop().create_task(contained())
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _admit(self, msg: Msg) -> None:
        try:
            async with self._at_once:
                answer = await self.judge(msg.data)
        except Rejected as error:
            # Not authenticated: an answer would only tell a stranger what we know.
            self.counts[error.code] += 1
            log.info("an enrolment request was refused: %s", error)
            return
        except ZwermError as error:
            log.warning("an enrolment request could not be served: %s", error)
            return
        except Exception:
            log.exception("an enrolment request failed")
            return
        with contextlib.suppress(MeshError):
            await self.endpoint.bus.publish(msg.reply, answer)

    async def judge(self, raw: bytes) -> bytes:
        """Decide one sealed request; returns the sealed answer.

        Raises:
            Rejected: it proves nothing (unknown invite, wrong signatures); there is nobody to answer.
        """
        charter = self.membership.charter
        invite_id = read_enrol_head(raw).invite_id
        stored = await self.endpoint.workspace.invites.get(invite_id.hex())
        if stored is None:
            raise Rejected("E_INVITE_UNKNOWN", f"no invite {invite_id.hex()}")
        now = self.endpoint.clock.now()
        record = open_invite_record(stored, charter, int(now))
        opened = open_request(raw, charter, self._box, record.proof_pub)
        reply = await self._decide(record, opened, now)
        return build_reply(reply, opened, charter, self._issuer)

    async def _decide(self, record: InviteRecord, opened: OpenedRequest, now: float) -> EnrolReply:
        slot = await self._burn(record, opened, expired=now >= record.exp)
        if isinstance(slot, Refused):
            return slot
        request = opened.request
        serial = hashlib.sha256(
            b"swarm-serial\0" + record.id + slot.to_bytes(4, "big") + request.sig_pub
        ).digest()[:8]
        certs = self.endpoint.workspace.certs
        async with self._naming:  # from choosing a free name until it is taken
            raw = await certs.get(serial.hex())
            if raw is None:
                raw = issue(
                    self.membership.charter,
                    self._issuer,
                    serial=serial,
                    sig=request.sig_pub,
                    box=request.box_pub,
                    bus=request.bus_pub,
                    name=self._free_name(request.name, request.sig_pub),
                    roles=record.roles,
                    now_s=now,
                    ttl_s=EPHEMERAL_S if record.ephemeral else CERTIFICATE_S,
                    capabilities=record.caps,
                    zones=record.zone,
                    clearance=record.clearance,
                    invite=record.id,
                )
                if not await certs.create(serial.hex(), raw):
                    raw = await certs.get(serial.hex()) or raw
            certificate = read_certificate(raw)
            if now >= certificate.expires:
                return self._refuse(
                    "E_CERT_EXPIRED",
                    "the membership that this invite gave has expired",
                    "Ask for a new invite.",
                )
            if self.membership.store.add(raw).revoked:
                # Its bus credentials are void; fresh ones would let it in again.
                return self._refuse(
                    "E_REVOKED", "the membership that this invite gave was ended", "Ask the swarm's admin."
                )
        log.info("%s joined as %s by invite %s", certificate.node.hex(), certificate.name, record.id.hex())
        return self._granted(raw, certificate, now)

    async def _burn(self, record: InviteRecord, opened: OpenedRequest, *, expired: bool) -> int | Refused:
        """Take one use of the invite for this node, for good; its number, or why there is none.

        Uses are taken in their order, so the first free one ends the search. A use that this node has taken stays its own when the invite
        expires: it may ask again for an answer that was lost.
        """
        burns = self.endpoint.workspace.burns
        fingerprint = hashlib.sha256(opened.request.sig_pub + opened.request.bus_pub).digest()
        holders: list[bytes] = []
        for slot in range(record.max_uses):
            key = f"{record.id.hex()}.{slot}"
            holder = await burns.get(key)
            if holder is None and expired:
                break
            if holder is None and await burns.create(key, fingerprint):
                return slot
            holder = holder or await burns.get(key) or b""
            if holder == fingerprint:
                return slot
            holders.append(holder)
        if _BURN_REVOKED in holders:
            return self._refuse(
                "E_INVITE_REVOKED", "this invite was withdrawn", "Ask for a new one: `zwerm invite`."
            )
        if expired:
            return self._refuse(
                "E_INVITE_EXPIRED", "this invite has expired", "Ask for a new one: `zwerm invite`."
            )
        if record.max_uses > 1:
            return self._refuse(
                "E_INVITE_USED",
                f"all {record.max_uses} uses of this invite are taken",
                "Ask for a new invite.",
            )
        self.counts["alarm"] += 1
        log.warning(
            "ALARM: invite %s was used by %s; now %s tries it too: somebody has copied it",
            record.id.hex(),
            ", ".join(holder.hex()[:16] for holder in holders),
            fingerprint.hex()[:16],
        )
        return self._refuse(
            "E_INVITE_USED",
            "this invite has been used already, by another device",
            "If that was not you, tell the swarm's admin: somebody has copied it. Ask for a new invite.",
        )

    def _refuse(self, code: str, message: str, hint: str) -> Refused:
        self.counts[code] += 1
        return Refused(code=code, message=message, hint=hint)

    def _tokens(self, certificate: Certificate, now: float) -> dict[str, str]:
        return mint_tokens(
            self._authority,
            public_text("U", certificate.bus),
            certificate.name,
            list(certificate.roles),
            now=now,
            exp=float(certificate.expires),
        )

    def _granted(self, raw: bytes, certificate: Certificate, now: float) -> Granted:
        return Granted(
            certificate=raw,
            jwts=self._tokens(certificate, now),
            bus_ca=self._ca,
            charter=list(self.membership.charter_chain),
            issuer_certificate=self.membership.certificate_raw,
        )

    def _free_name(self, wanted: str, sig_pub: bytes) -> str:
        from protocol.envelope import node_id

        me = node_id(sig_pub)
        taken = {
            member.name
            for member in self.membership.store.directory
            if member.node_id != me and not member.revoked
        }
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted[: NAME_CHARS - 5]}-{number}", number + 1
        return name

    # --- members ---------------------------------------------------------------------------------------------------------------

    async def _on_call(self, received: Received) -> Reply:
        if len(received.items) != 1:
            raise CallFailed(
                "E_SCHEMA", "one request at a time, please", "Send each in a message of its own."
            )
        match item := received.items[0]:
            case Ping():
                return Reply(ok=True, data={"now": self.endpoint.clock.now()})
            case CreateInvite():
                return await self._create_invite(item, received)
            case ListInvites():
                return await self._list_invites()
            case RevokeInvite():
                return await self._revoke_invite(item)
            case Leave():
                await self._end(received.member.node_id, "left by itself", received.node)
                return Reply(ok=True)
            case RevokeNode():
                return await self._revoke_node(item)
            case Renew():
                return await self._renew(received)
        raise CallFailed("E_TYPE", "the enroller does not answer this question")

    async def _create_invite(self, item: CreateInvite, received: Received) -> Reply:
        expires = int(self.endpoint.clock.now()) + item.ttl_s
        record = InviteRecord(
            id=item.id,
            proof_pub=item.proof_pub,
            roles=list(MEMBER_ROLES[item.role]),
            caps=[],
            zone=[],
            clearance=1,
            max_uses=item.uses,
            exp=expires,
            approval=False,
            ephemeral=False,
            label=item.label[:64],
            by=received.header.sender,
        )
        raw = sign_invite_record(record, self._issuer)
        if not await self.endpoint.workspace.invites.create(item.id.hex(), raw):
            raise CallFailed("E_CONFLICT", "an invite of this id exists already", "Make another one.")
        log.info(
            "invite %s for %s made by %s, %d use(s)",
            item.id.hex(),
            item.role,
            received.member.name,
            item.uses,
        )
        return Reply(ok=True, data={"expires": expires})

    async def _list_invites(self) -> Reply:
        now = self.endpoint.clock.now()
        burns: dict[str, list[bytes]] = {}
        async for key, value in self.endpoint.workspace.burns.items():
            burns.setdefault(key.split(".")[0], []).append(value)
        invites = []
        async for key, raw in self.endpoint.workspace.invites.items():
            try:
                record = open_invite_record(raw, self.membership.charter, int(now))
            except Rejected:
                continue
            used = burns.get(key, [])
            revoked = _BURN_REVOKED in used
            count = len(used) - used.count(_BURN_REVOKED)
            state = (
                "revoked"
                if revoked
                else "used"
                if count >= record.max_uses
                else "expired"
                if now >= record.exp
                else "open"
            )
            role = next(
                (name for name, roles in MEMBER_ROLES.items() if list(roles) == list(record.roles)),
                "+".join(record.roles),
            )
            invites.append(
                {
                    "invite": key,
                    "role": role,
                    "uses": record.max_uses,
                    "used": count,
                    "state": state,
                    "label": record.label,
                    "expires": datetime.fromtimestamp(record.exp, UTC)
                    .isoformat(timespec="minutes")
                    .replace("+00:00", "Z"),
                }
            )
        return Reply(ok=True, data={"invites": invites})  # type: ignore[dict-item]

    async def _revoke_invite(self, item: RevokeInvite) -> Reply:
        stored = await self.endpoint.workspace.invites.get(item.invite)
        if stored is None:
            raise CallFailed(
                "E_NOT_FOUND", f"there is no invite {item.invite}", "`zwerm invite ls` lists them."
            )
        record = open_invite_record(stored, self.membership.charter, int(self.endpoint.clock.now()))
        stopped = 0
        for slot in range(record.max_uses):
            stopped += await self.endpoint.workspace.burns.create(f"{item.invite}.{slot}", _BURN_REVOKED)
        return Reply(ok=True, data={"stopped": stopped})

    async def _revoke_node(self, item: RevokeNode) -> Reply:
        matches = [
            member
            for member in self.membership.store.directory
            if not member.revoked and (member.name == item.node or member.node_id.hex().startswith(item.node))
        ]
        if len(matches) != 1:
            raise CallFailed(
                "E_NOT_FOUND", f"{len(matches)} members are called {item.node!r}", "`zwerm nodes` lists them."
            )
        [member] = matches
        if member.node_id == self.membership.identity.node:
            raise CallFailed(
                "E_REFUSED",
                "this is the device that holds the swarm's keys",
                "`zwerm leave` on it ends the swarm.",
            )
        await self._end(member.node_id, item.reason or "removed by an admin", member.name)
        return Reply(ok=True, data={"node": member.node_id.hex()})

    async def _renew(self, received: Received) -> Reply:
        """A fresh certificate for the same keys and rights, signed on the strength of the old one (which just signed this request)."""
        old = self.membership.store.certificates.get(received.header.serial)
        if old is None:
            raise CallFailed("E_SENDER", "the certificate to renew is not known here")
        now = self.endpoint.clock.now()
        raw = issue(
            self.membership.charter,
            self._issuer,
            serial=os.urandom(8),
            sig=old.sig,
            box=old.box,
            bus=old.bus,
            name=old.name,
            roles=old.roles,
            now_s=now,
            ttl_s=old.expires - old.not_before,
            capabilities=old.capabilities,
            zones=old.zones,
            clearance=old.clearance,
            invite=old.invite,
        )
        certificate = read_certificate(raw)
        await self.endpoint.workspace.certs.create(certificate.serial.hex(), raw)
        self.membership.store.add(raw)
        return Reply(
            ok=True,
            blobs={
                "certificate": raw,
                "charter": pack_chain(self.membership.charter_chain),
                **{f"token/{role}": token.encode() for role, token in self._tokens(certificate, now).items()},
            },
        )

    # --- endings ---------------------------------------------------------------------------------------------------------------

    async def _end(self, node: bytes, why: str, name: str) -> None:
        """End a membership: on the list, at the bus, and told to everybody."""
        log.warning("membership of %s ends: %s", name, why)
        now = self.endpoint.clock.now()
        member = self.membership.store.directory.get(node)
        await self._publish_revocations([Revoked(kind="node", id=node, at=int(now), why=why[:200])])
        if member is not None and member.bus_key:
            self._authority = self._authority.revoke(member.bus_key, now)
            self.home.write("admin/bus.json", self._authority.to_json().encode())
            # Apart: a device that leaves by itself shall get its answer before the bus cuts it off.
            self._start(self._tell_servers())

    async def _publish_revocations(self, entries: list[Revoked]) -> None:
        """Write the next list (or today's, unchanged) into the workspace, and push it."""
        async with self._revoking:
            now = self.endpoint.clock.now()
            store = self.endpoint.workspace.swarm
            entry = await store.get(REVOCATIONS_KEY)
            if entry is None:
                current = Revocations(n=1, issued=int(now), next=int(now) + NEXT_S, revoked=[])
            else:
                current = open_revocations(entry.value, self.membership.charter)
                current.apply(self.membership.store.directory)
                if not entries and current.next > now + NEXT_S / 2:
                    return
            following = current.with_entries(entries, now)
            raw = sign_revocations(following, self._issuer)
            await store.put(REVOCATIONS_KEY, raw, 0 if entry is None else entry.revision)
            following.apply(self.membership.store.directory)
            await self.endpoint.send(subjects.control(), [Revocation(revocations=raw)], ttl_s=60)
            await self.endpoint.bus.flush(2)

    async def _tell_servers(self) -> None:
        """Hand the account's new token to the bus, which then cuts the member off; tried again for a while, since a restart of the bus reads it too."""
        for pause in (*_TELL_PAUSES_S, None):
            try:
                await self._update_account()
            except MeshError as error:
                log.warning("the bus has not taken the revocation: %s", error)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                return

    async def _update_account(self) -> None:
        from .bus_nats import NatsBus
        from .tls_pin import ca_context

        await self.endpoint.bus.flush(2)
        bus = await NatsBus.connect(
            list(self.membership.node.bus_urls),
            ca_context(self._ca),
            self.membership.identity.bus,
            self.membership.token("registrar"),
            name=f"{clean_name(self.membership.node.name)}/registrar",
            clock=self.endpoint.clock,
        )
        try:
            # The servers keep this token, push it to each other and drop the member within milliseconds.
            raw = await bus.request(
                "$SYS.REQ.CLAIMS.UPDATE", self._authority.swarm_token.encode(), timeout_s=5
            )
            answer = json.loads(raw)
            if "error" in answer:
                raise BusRefused(
                    f"the bus did not take the revocation: {answer['error'].get('description', '')}",
                    "Restart zwerm on the device that runs the bus: it then reads the list anew.",
                )
        finally:
            await bus.close()
