"""A small swarm for tests of the wire: a root, an issuer, a charter, and nodes made from a seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from protocol.certificate import issue
from protocol.charter import BusServer, Charter, IssuerGrant, found_charter, swarm_id_of, verify_chain
from protocol.envelope import Sealer, audience_hash, node_id
from protocol.invite import Invite, InviteRecord, proof_key
from protocol.objects import FRAME_BYTES, read_head
from protocol.sealing import BoxKey
from protocol.signing import SigningKey
from protocol.verify import Directory, Member, TypeRule, Verifier

NOW_S = 1_800_000_000
NOW_MS = NOW_S * 1000
BID, AWARD = 0x0102, 0x0110
AUDIENCE = "run/aaaaaaaaaaaaaaaaaaaaaaaaaa/bids"
SERIAL = b"serial01"
SWARM8 = b"swarm-01"


def seed(label: str) -> bytes:
    return hashlib.sha256(label.encode()).digest()


def bus_text(label: str) -> str:
    """Something that looks like a bus key in text."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return "U" + "".join(letters[byte % 32] for byte in (seed(label) + seed(label + "2"))[:55])


@dataclass
class Node:
    """Three keys."""

    label: str
    sig: SigningKey = field(init=False)
    box: BoxKey = field(init=False)
    bus: SigningKey = field(init=False)

    def __post_init__(self) -> None:
        self.sig = SigningKey.from_seed(seed(self.label + " sig"))
        self.box = BoxKey.from_seed(seed(self.label + " box"))
        self.bus = SigningKey.from_seed(seed(self.label + " bus"))

    @property
    def id(self) -> bytes:
        return node_id(self.sig.public)


class World:
    """A founded swarm."""

    def __init__(self) -> None:
        self.root = SigningKey.from_seed(seed("root"))
        self.issuer = SigningKey.from_seed(seed("issuer"))
        self.issuer_box = BoxKey.from_seed(seed("issuer box"))
        self.grant = IssuerGrant(
            pub=self.issuer.public,
            box=self.issuer_box.public,
            roles=["agent", "client", "coordinator", "enroller", "admin"],
            zones=[1],
            max_ttl=7 * 86_400,
            exp=NOW_S + 90 * 86_400,
        )
        self.genesis = found_charter(
            name="home",
            root=self.root,
            issuers=[self.grant],
            bus=[BusServer(url="tls://127.0.0.1:4747", ca_spki=seed("spki"))],
            zones=["lab"],
        )
        body = self.genesis[FRAME_BYTES : read_head(self.genesis).body_end]
        self.swarm_id = swarm_id_of(body)
        self.charter: Charter = verify_chain([self.genesis], self.swarm_id)

    def certificate(
        self,
        node: Node,
        *,
        serial: bytes = SERIAL,
        roles: tuple[str, ...] = ("agent",),
        now_s: float = NOW_S,
        **more: object,
    ) -> bytes:
        return issue(
            self.charter,
            self.issuer,
            serial=serial,
            sig=node.sig.public,
            box=node.box.public,
            bus=node.bus.public,
            name=node.label,
            roles=roles,
            now_s=now_s,
            **more,  # type: ignore[arg-type]
        )

    def invite(self, **over: object) -> Invite:
        given: dict[str, object] = {
            "flags": 1,
            "expiry": NOW_S + 3600,
            "invite_id": seed("invite")[:8],
            "secret": seed("secret")[:16],
            "swarm_id": self.swarm_id,
            "bus_pin": seed("pin")[:16],
        }
        return Invite(**{**given, **over})  # type: ignore[arg-type]

    def record(self, invite: Invite, **over: object) -> InviteRecord:
        given: dict[str, object] = {
            "id": invite.invite_id,
            "proof_pub": proof_key(invite).public,
            "roles": ["agent"],
            "caps": [],
            "zone": [],
            "clearance": 1,
            "max_uses": 1,
            "exp": NOW_S + 3600,
            "approval": False,
            "ephemeral": False,
            "label": "",
            "by": bytes(16),
        }
        return InviteRecord.model_validate({**given, **over})


RULES = {
    BID: TypeRule(BID, "bid", 4096, frozenset({"agent"})),
    AWARD: TypeRule(AWARD, "award", 65_536, frozenset({"coordinator"}), 60),
}


@dataclass
class Door:
    """One sender, one receiver, and the shortest way from one to the other."""

    key: SigningKey = field(default_factory=lambda: SigningKey.from_seed(seed("sender")))
    directory: Directory = field(default_factory=Directory)
    roles: frozenset[str] = frozenset({"agent"})
    zones: frozenset[int] = frozenset()
    clearance: int = 3
    bus_key: str = bus_text("sender")

    def __post_init__(self) -> None:
        self.member = self.directory.add(
            Member(
                node_id(self.key.public),
                self.key.public,
                SERIAL,
                expires_ms=NOW_MS + 1_000_000,
                roles=self.roles,
                zones=self.zones,
                clearance=self.clearance,
                bus_key=self.bus_key,
                name="sender",
            )
        )
        self.verifier = Verifier(SWARM8, self.directory, RULES)

    def sealer(self, session: bytes = b"session1") -> Sealer:
        return Sealer(self.key, SWARM8, SERIAL, session)

    def seal(self, sealer: Sealer | None = None, body: bytes = b"\x90", **more: object) -> bytes:
        given: dict[str, object] = {"now_ms": NOW_MS, **more}
        kind = given.pop("type", BID)
        return (sealer or self.sealer()).seal(kind, AUDIENCE, body, **given)  # type: ignore[arg-type]

    def verify(self, raw: bytes, **more: object) -> object:
        given: dict[str, object] = {
            "audience": audience_hash(AUDIENCE),
            "types": frozenset(RULES),
            "now_ms": NOW_MS,
            **more,
        }
        return self.verifier.verify(raw, **given)  # type: ignore[arg-type]
