"""The bus of a simulated world: every member's link to it, what goes wrong on the way, and the real door at its end.

Rules. What is said passes the very code of the daemon: sealed by `protocol.envelope`, verified by a `Verifier` of the receiving process, decoded by
`mesh.wire`; only the signature may be a keyed hash (`keys`). A message may be lost, doubled, late (and so out of order), or held by a link that has stopped and
then delivers everything at once. A member may be deaf, mute, or both. Clocks are the devices' own, so a wrong one makes its messages be refused.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from protocol import subjects
from protocol.envelope import Sealer, audience_hash, node_id
from protocol.errors import Rejected
from protocol.ids import NO_RUN, run_bytes
from protocol.limits import SKEW_MS
from protocol.messages import Item
from protocol.registry import RULES, types_on
from protocol.signing import SigningKey
from protocol.verify import Directory, Member, Verifier

from ..wire import decode, seal_items
from .faults import Faults
from .keys import pair
from .timeline import NodeClock, Timeline

__all__ = ["Door", "Mail", "Network", "Peer"]

Door: TypeAlias = Literal["none", "hash", "ed25519"]
"""Whether messages pass the real door, and with which signatures."""

_SWARM8: Final = b"sim-swrm"
_SERIAL: Final = b"serial-1"
_FOREVER_MS: Final = 1 << 50
_PULSE_BYTES: Final = 200
"""What a heartbeat takes on the wire, about; in large worlds it is not sealed each time."""
_PULSE_TTL_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Mail:
    """One envelope that got through."""

    kind: str
    """announce, to, bid, work or heartbeat, as in `protocol.subjects.Route`."""
    run: str
    items: Sequence[Item]
    sender: Peer
    session: bytes
    digest: bytes


@dataclass(slots=True, eq=False)
class Peer:
    """One member: who it is, its clock, and the state of its link."""

    name: str
    node: str
    """Node id, hex."""
    bus_key: str
    clock: NodeClock
    hears: Callable[[Mail], None]
    key: SigningKey
    deaf: bool = False
    mute: bool = False
    held: list[Callable[[], None]] | None = None
    """What waits at a link that has stopped; None while it moves."""
    up: bool = False
    session: bytes = b""
    sealer: Sealer | None = None
    verifier: Verifier | None = None
    pen: Sealer | None = None
    """Seals what is stored; journals are sealed in every world."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refused envelopes by code, over all lives of its process."""


class Network:
    """All links.

    Args:
        timeline: the world's time and chance.
        faults: what goes wrong.
        door: see `Door`.
        thrifty: do not seal heartbeats, of which a long world has millions.
    """

    def __init__(self, timeline: Timeline, faults: Faults, *, door: Door, thrifty: bool = False) -> None:
        self._timeline = timeline
        self._faults = faults
        self._door = door
        self._thrifty = thrifty
        self._directory = Directory()
        self.reader = Verifier(_SWARM8, self._directory, RULES)
        """Reads what is stored, for everybody: it knows the members, and keeps nothing of what it read."""
        self.messages = 0
        """Envelopes published about work."""
        self.bytes = 0
        self.pulses = 0
        """Envelopes published about presence."""
        self.mishaps: Counter[str] = Counter()

    @property
    def troubled(self) -> bool:
        """Whether faults still happen."""
        return self._timeline.elapsed < self._faults.until_s

    def chance(self, probability: float) -> bool:
        """Whether a fault of this probability happens now."""
        return probability > 0 and self.troubled and self._timeline.rng.random() < probability

    # --- members ---

    def join(self, name: str, roles: frozenset[str], hears: Callable[[Mail], None], offset: float) -> Peer:
        """A new member; its process is not up yet."""
        seed = hashlib.sha256(f"sim {name}".encode()).digest()
        key, public = pair(seed, real=self._door == "ed25519")
        raw = hashlib.sha512(name.encode()).digest()[:35]
        bus_key = "U" + base64.b32encode(raw).decode().rstrip("=")[:55]
        node = node_id(key.public)
        self._directory.add(
            Member(
                node, public, _SERIAL, expires_ms=_FOREVER_MS, roles=roles, clearance=1, bus_key=bus_key, name=name
            )
        )  # fmt: skip
        return Peer(name, node.hex(), bus_key, NodeClock(self._timeline, offset), hears, key)

    def begin(self, peer: Peer) -> None:
        """The member's process starts: a new session, and no memory of what it had heard."""
        peer.up = True
        peer.clock.started()
        peer.session = self._timeline.rng.getrandbits(64).to_bytes(8, "big")
        peer.pen = Sealer(peer.key, _SWARM8, _SERIAL, peer.session)
        if self._door == "none":
            return
        peer.sealer = Sealer(peer.key, _SWARM8, _SERIAL, peer.session)
        peer.verifier = Verifier(_SWARM8, self._directory, RULES)

    def end(self, peer: Peer) -> None:
        """The member's process is gone."""
        peer.up = False
        if peer.verifier is not None:
            peer.refused += peer.verifier.counts
            peer.verifier = peer.sealer = None
        peer.pen = None

    # --- links ---

    def stop(self, peer: Peer) -> None:
        """The link stops: nothing is lost, nothing moves."""
        if peer.held is None:
            peer.held = []

    def go_on(self, peer: Peer) -> None:
        """The link moves again: everything that waited arrives at once."""
        held, peer.held = peer.held, None
        for action in held or ():
            action()

    def through(self, peer: Peer, action: Callable[[], None]) -> None:
        """Do something behind the peer's link, when it moves."""
        if peer.held is not None:
            peer.held.append(action)
        else:
            action()

    def delay(self) -> float:
        """How long one way takes now."""
        rng = self._timeline.rng
        delay = rng.expovariate(400.0)
        if self.chance(self._faults.late):
            self.mishaps["late"] += 1
            delay += rng.uniform(0, self._faults.late_s)
        return delay

    # --- saying ---

    def send(
        self, sender: Peer, receivers: Sequence[Peer], subject: str, run: str, items: Sequence[Item], ttl_s: int = 30
    ) -> None:  # fmt: skip
        """Publish items of one type on a subject that these receivers listen to."""
        for raw, part in self._sealed(sender, receivers, subject, run, items, ttl_s):
            self.messages += 1
            self.bytes += len(raw) if raw is not None else 0
            if sender.mute:
                self._lost(sender, part)
                continue
            for receiver in receivers:
                self.through(
                    sender,
                    lambda receiver=receiver, raw=raw, part=part: self._carry(  # type: ignore[misc]
                        sender, receiver, subject, run, raw, part
                    ),
                )

    def _sealed(
        self, sender: Peer, receivers: Sequence[Peer], subject: str, run: str, items: Sequence[Item], ttl_s: int
    ) -> Sequence[tuple[bytes | None, Sequence[Item]]]:  # fmt: skip
        if sender.sealer is None:
            return [(None, items)]
        raws = seal_items(
            sender.sealer,
            subjects.audience(subjects.route(subject), receivers[0].node if receivers else ""),
            items,
            context=run_bytes(run) if run else NO_RUN,
            now_ms=int(sender.clock.wall() * 1000),
            ttl_s=ttl_s,
        )
        return [(raw, items) for raw in raws]

    def _carry(
        self, sender: Peer, receiver: Peer, subject: str, run: str, raw: bytes | None, items: Sequence[Item]
    ) -> None:
        if self.chance(self._faults.drop):
            self._lost(receiver, items)
            return
        copies = 1
        if self.chance(self._faults.double):
            self.mishaps["doubled"] += 1
            copies = 2
        for _ in range(copies):
            self._timeline.at(
                self.delay(), self._arrive, sender, sender.session, receiver, subject, run, raw, items
            )

    def _lost(self, peer: Peer, items: Sequence[Item]) -> None:
        self.mishaps["lost"] += 1
        self._timeline.note("net", f"lost {type(items[0]).__name__} x{len(items)} at {peer.name}")

    def _arrive(
        self,
        sender: Peer,
        session: bytes,
        receiver: Peer,
        subject: str,
        run: str,
        raw: bytes | None,
        items: Sequence[Item],
    ) -> None:
        if receiver.deaf or not receiver.up:
            self._lost(receiver, items)
        elif receiver.held is not None:
            receiver.held.append(lambda: self._arrive(sender, session, receiver, subject, run, raw, items))
        else:
            self._hand_over(sender, session, receiver, subject, run, raw, items)

    def _hand_over(
        self,
        sender: Peer,
        session: bytes,
        receiver: Peer,
        subject: str,
        run: str,
        raw: bytes | None,
        items: Sequence[Item],
    ) -> None:
        route = subjects.route(subject)
        if raw is None or receiver.verifier is None:
            receiver.hears(Mail(route.kind, run, items, sender, session, b"d" * 16))
            return
        try:
            accepted = receiver.verifier.verify(
                raw,
                audience=audience_hash(subjects.audience(route, receiver.node)),
                types=types_on(route.kind),
                now_ms=int(receiver.clock.wall() * 1000),
                bus_key=route.me or None,
            )
            opened = decode(receiver.verifier, accepted)
        except Rejected as error:
            self._timeline.note("net", f"{receiver.name} refuses {error.code}")
            return
        digest = hashlib.sha256(raw).digest()[:16]
        receiver.hears(Mail(route.kind, run, opened, sender, accepted.header.session, digest))

    # --- presence ---

    def pulse(self, sender: Peer, receivers: Sequence[Peer], item: Item) -> None:
        """Say a heartbeat. Nobody cares about its delay, so it arrives at once or not at all."""
        self.pulses += 1
        if sender.mute or sender.held is not None:
            return
        subject = subjects.heartbeat(sender.bus_key)
        sealed: Sequence[tuple[bytes | None, Sequence[Item]]] = [(None, [item])]
        if not self._thrifty:
            sealed = self._sealed(sender, receivers, subject, "", [item], 30)
        for receiver in receivers:
            if (
                receiver.deaf
                or not receiver.up
                or receiver.held is not None
                or self.chance(self._faults.drop)
            ):
                continue
            for raw, part in sealed:
                if raw is None:
                    apart_ms = abs(sender.clock.offset - receiver.clock.offset) * 1000
                    if self._door != "none" and apart_ms > SKEW_MS + _PULSE_TTL_MS:
                        receiver.refused["E_TIME"] += 1
                        continue
                    receiver.hears(Mail("heartbeat", "", part, sender, sender.session, b""))
                else:
                    self._hand_over(sender, sender.session, receiver, subject, "", raw, part)
