"""The joining device's side of enrolment (SPEC ENR): from an invite's text to a home that is a member.

Nothing is sent before the server has shown the key that the invite pins; nothing is believed before the charter chain ends at the swarm that the invite names;
nothing secret travels: the request is sealed to the issuer. The home appears whole at the end, or not at all. Repeating the command after a broken
connection is safe: while the home is being built its keys are kept beside it, and the same keys may use the same invite again.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from protocol import subjects
from protocol.charter import Charter, swarm_id_of, verify_chain
from protocol.codec import unpack
from protocol.enrol import Granted, Pending, Refused, SealedRequest, build_request, check_code, open_reply
from protocol.errors import Rejected
from protocol.fields import Name
from protocol.invite import Invite, decode_invite
from protocol.objects import FRAME_BYTES, read_head
from protocol.signing import SigningKey

from .bus import Bus
from .clock import Clock, SystemClock
from .discovery import Endpoint, choose, parse_endpoint, swarm_tag
from .errors import BadSettings, BusTimeout, BusUnreachable, MeshError, NoResponders
from .founding import clean_name
from .home import Home, NodeFile
from .identity import Identity
from .membership import pack_chain
from .pki import spki_sha256

__all__ = ["InviteExpired", "InviteProblem", "JoinRefused", "join_swarm"]

_EXPIRY_GRACE_S = 300
_ASK_S = (2.0, 3.0, 5.0)
"""How long each try waits: the bus may lose a request at the moment in which it takes in a revocation; a repeat is harmless."""
_MDNS_S = 4.0
_APPROVAL_POLL_S = 2.0


class InviteProblem(MeshError):
    """The text is not an invite; the code says how."""

    def __init__(self, error: Rejected) -> None:
        words = {
            "E_PREFIX": "this does not begin like an invite (swarm1…)",
            "E_LEN": "this is shorter or longer than an invite",
            "E_B32": "this has a character that no invite has",
            "E_B32_NONCANONICAL": "the last character of this invite is wrong",
            "E_CHECKSUM": "there is a typing error in this invite",
            "E_VERSION": "this invite was made by a newer zwerm",
            "E_FLAGS": "this invite was made by a newer zwerm",
        }
        super().__init__(
            error.code,
            words.get(error.code, "this invite is damaged"),
            "Copy the whole line that `zwerm invite` printed, or ask for a new invite.",
        )


class InviteExpired(MeshError):
    """The invite's time is over."""

    def __init__(self, late_s: float) -> None:
        super().__init__(
            "E_INVITE_EXPIRED",
            f"this invite expired {_ago(late_s)} ago by this device's clock",
            "Ask for a new one (`zwerm invite` on a device of the swarm). If it is fresh, set this device's clock.",
        )


class JoinRefused(MeshError):
    """The swarm said no (`final`; code, message and hint are its own), or what came as its answer cannot be one."""

    def __init__(self, code: str, message: str, hint: str = "", *, final: bool = False) -> None:
        super().__init__(code, message, hint)
        self.final = final


def _ago(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds > 7200 else f"{seconds / 60:.0f} min"


@dataclass(frozen=True, slots=True)
class _Joined:
    granted: Granted
    charter: Charter
    roles: list[str]
    name: str
    urls: list[str]


async def join_swarm(
    home: Home,
    text: str,
    *,
    node_name: str | None = None,
    server: str | None = None,
    say: Callable[[str], None] = lambda _line: None,
    clock: Clock | None = None,
) -> NodeFile:
    """Join the swarm that an invite names; returns what this device is there.

    Raises:
        InviteProblem: the text is no invite. InviteExpired: it is too old.
        BadSettings: the device cannot have that name.
        HomeBusy: this device is in a swarm already, or is joining one at this moment.
        BusUnreachable: no server at any address. PinMismatch: a server answered that is not this swarm's.
        JoinRefused: the swarm said no (used, revoked, expired, ...).
    """
    clock = clock or SystemClock()
    try:
        invite = decode_invite(text)
    except Rejected as error:
        raise InviteProblem(error) from None
    late = clock.now() - invite.expiry
    if late > _EXPIRY_GRACE_S:
        raise InviteExpired(late)
    if node_name is not None:
        _check_name(node_name)
    with home.build() as scratch:
        identity = _kept_identity(home, scratch, invite)
        name = node_name or clean_name(socket.gethostname())
        endpoints = await _where(invite, server, say)
        try:
            joined = await _enrol(invite, identity, endpoints, name, say, clock)
        except JoinRefused as error:
            if error.final:  # these keys are of no use to this invite
                _kept_place(home, invite).unlink(missing_ok=True)
            raise
        node = _write(scratch, invite, identity, joined)
    # Only now is the home in its place: a device that dies a moment earlier still finds its keys when it tries again.
    _kept_place(home, invite).unlink(missing_ok=True)
    return node


def _check_name(name: str) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise BadSettings(
            f"{name!r} cannot be a device's name", "Names have letters, digits, `-` and `_`, and no spaces."
        ) from None


def _kept_place(home: Home, invite: Invite) -> Path:
    return home.path.with_name(f".{home.path.name}.join-{invite.invite_id.hex()}")


def _kept_identity(home: Home, scratch: Home, invite: Invite) -> Identity:
    """The keys for this invite: those of an earlier, broken try if there was one, so that its burn is still ours."""
    place = _kept_place(home, invite)
    if place.exists() and len(seeds := place.read_bytes()) == 96:
        for number, name in enumerate(("sign", "box", "bus")):
            scratch.write(f"keys/{name}.key", seeds[32 * number : 32 * number + 32].hex().encode() + b"\n")
        return Identity.load(scratch)
    identity = Identity.create(scratch, os.urandom)
    from .home import private_write
    from .identity import load_seed

    private_write(place, b"".join(load_seed(scratch, f"keys/{name}.key") for name in ("sign", "box", "bus")))
    return identity


async def _where(invite: Invite, server: str | None, say: Callable[[str], None]) -> list[Endpoint]:
    if server is not None:
        return [parse_endpoint(server)]
    known = [Endpoint(endpoint.host, endpoint.port, "invite") for endpoint in invite.endpoints]
    if known:
        return choose(known)
    from .discovery_mdns import browse

    say("The invite names no address; looking on the local network …")
    tag = swarm_tag(invite.swarm_id)
    beacons = await browse(_MDNS_S, swarm=tag, enough=1)
    found = choose([], beacons=beacons, swarm=tag)
    if not found:
        raise BusUnreachable(
            "the invite names no address, and nobody announces this swarm on the local network",
            "Is the swarm's first device on, and on this network? Else give its address with --server HOST:PORT.",
        )
    return found


async def _enrol(
    invite: Invite,
    identity: Identity,
    endpoints: list[Endpoint],
    name: str,
    say: Callable[[str], None],
    clock: Clock,
) -> _Joined:
    from .bus_nats import NatsBus
    from .tls_pin import pinned_context

    urls = [endpoint.url for endpoint in endpoints]
    say(f"Looking for the bus at {', '.join(urls)} …")
    bus = await NatsBus.connect(
        urls, pinned_context(invite.bus_pin, clock), name="joining", clock=clock, timeout_s=20.0
    )
    try:
        chain = unpack(await _request(bus, subjects.CHARTER, b""))
        if not isinstance(chain, list) or not chain or not all(isinstance(part, bytes) for part in chain):
            raise Rejected("E_BODY", "the swarm's charter is not readable")
        parts = [part for part in chain if isinstance(part, bytes)]
        head = read_head(parts[0])
        if swarm_id_of(parts[0][FRAME_BYTES : head.body_end]) != invite.swarm_id:
            raise JoinRefused(
                "E_FOREIGN",
                "the server belongs to another swarm than the invite",
                "Check the address; ask for a new invite.",
            )
        charter = verify_chain(parts, invite.swarm_id)
        issuers = [issuer for issuer in charter.body.issuers if issuer.exp > clock.now()]
        if not issuers:
            raise JoinRefused(
                "E_ISSUER",
                "nobody in this swarm may admit devices at the moment",
                "Its admin has to renew the charter.",
            )
        bus_key = SigningKey.from_seed(identity.bus.seed_bytes)
        sent = build_request(
            invite,
            charter,
            issuers[0],
            sig=identity.sign,
            box=identity.box,
            bus=bus_key,
            name=name,
            asked_caps=[],
            nonce=os.urandom(16),
            now_s=clock.now(),
        )
        return await _ask(bus, invite, identity, charter, sent, bus_key.public, urls, say, clock)
    except Rejected as error:
        raise JoinRefused(
            error.code,
            f"the swarm's answer does not hold: {error.message}",
            "Nothing was given away. Try again; if it lasts, ask for a new invite.",
        ) from None
    except MeshError as error:
        if error.code in ("E_TIMEOUT", "E_NO_RESPONDERS"):
            raise JoinRefused(
                "E_NO_ANSWER",
                "the swarm's bus is there, but nobody answered: the enroller is off, or it does not know this invite",
                "Check that `zwerm up` runs on the device that made the invite; if it does, ask for a new invite.",
            ) from None
        raise
    finally:
        await bus.close()


async def _request(bus: Bus, subject: str, data: bytes) -> bytes:
    """Ask, a few times if need be.

    Raises:
        BusTimeout, NoResponders: nobody has answered any of them.
    """
    *waits, last = _ASK_S
    for wait_s in waits:
        try:
            return await bus.request(subject, data, timeout_s=wait_s)
        except BusTimeout:
            continue
        except NoResponders:
            await asyncio.sleep(wait_s / 2)
    return await bus.request(subject, data, timeout_s=last)


async def _ask(
    bus: Bus,
    invite: Invite,
    identity: Identity,
    charter: Charter,
    sent: SealedRequest,
    bus_public: bytes,
    urls: list[str],
    say: Callable[[str], None],
    clock: Clock,
) -> _Joined:
    shown = False
    while True:
        raw = await _request(bus, subjects.enrol_request(invite.invite_id.hex()), sent.raw)
        opened = open_reply(
            raw, sent, charter, sig=identity.sign.public, box=identity.box, bus=bus_public, now_s=clock.now()
        )
        reply = opened.reply
        if isinstance(reply, Refused):
            raise JoinRefused(reply.code, reply.message, reply.hint, final=True)
        if isinstance(reply, Pending):
            if not shown:
                say(
                    f"Waiting for an admin, who must see this number: {check_code(sent.transcript, reply.nonce)}"
                )
                shown = True
            await asyncio.sleep(_APPROVAL_POLL_S)
            continue
        assert isinstance(reply, Granted)
        assert opened.certificate is not None
        assert opened.charter is not None
        known = [server.url for server in opened.charter.body.bus]
        return _Joined(
            reply,
            opened.charter,
            list(opened.certificate.roles),
            opened.certificate.name,
            list(dict.fromkeys([*urls, *known])),
        )


def _write(scratch: Home, invite: Invite, identity: Identity, joined: _Joined) -> NodeFile:
    granted = joined.granted
    if spki_sha256(granted.bus_ca)[:16] != invite.bus_pin:
        raise JoinRefused(
            "E_PIN", "the swarm named another authority for its bus than the invite", "Ask for a new invite."
        )
    scratch.write("charter.bin", pack_chain(granted.charter))
    scratch.write("certificate.bin", granted.certificate)
    scratch.write("bus-ca.der", granted.bus_ca)
    if granted.issuer_certificate is not None:
        scratch.write("enroller.bin", granted.issuer_certificate)
    for role, token in granted.jwts.items():
        scratch.write(f"tokens/{role}.jwt", token.encode())
    node = NodeFile(
        swarm=joined.charter.name,
        swarm_id=joined.charter.swarm_id.hex(),
        name=joined.name,
        node=identity.node.hex(),
        roles=joined.roles,
        bus_urls=joined.urls,
        bus_ca_sha256=spki_sha256(granted.bus_ca).hex(),
    )
    scratch.save(node)
    return node
