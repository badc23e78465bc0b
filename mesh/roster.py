"""Who is in the swarm right now: a core folded from signed hellos, heartbeats and goodbyes.

Rules. Only what the verification door let through arrives here. A node is `up` while its last word is younger than `SUSPECT_S`, then
`suspected`, then `gone` at `GONE_S`; a goodbye makes it `gone` at once. The roster says who may be asked; it never decides that work was
lost: that is the lease's business. Only coordinators and observers keep one; others ask a coordinator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from protocol.messages import AgentCard, Goodbye, Heartbeat, Hello

__all__ = ["GONE_S", "HEARTBEAT_S", "SUSPECT_S", "NodeGone", "NodeSeen", "Presence", "Roster"]

HEARTBEAT_S = 5.0
"""How often each node says that it is here."""
SUSPECT_S = 12.5
"""Two heartbeats missed, with room for a slow network."""
GONE_S = 30.0
"""After this a node counts as offline until it is heard again."""


@dataclass(slots=True)
class Presence:
    """One node as last heard. Times are Unix seconds of this device's clock; `load` is 0 to 1."""

    node: str
    bus_key: str
    name: str
    version: str = ""
    roles: tuple[str, ...] = ()
    agents: tuple[AgentCard, ...] = ()
    slots: int = 0
    slots_used: int = 0
    load: float = 0.0
    refused: int = 0
    halted: bool = False
    session: bytes = b""
    first_seen: float = 0.0
    seen: float = 0.0
    state: Literal["up", "suspected", "gone"] = "up"
    capabilities: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node is here: new, back, restarted (another session) or offering something else."""

    presence: Presence
    restarted: bool


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A node said goodbye or was not heard for `GONE_S`."""

    node: str
    reason: str


Change = NodeSeen | NodeGone


class Roster:
    """The fold. `hello`, `heartbeat`, `goodbye` and `tick` return the changes they made and tell every subscriber."""

    def __init__(self) -> None:
        self._nodes: dict[str, Presence] = {}
        self._subscribers: list[Callable[[Change], None]] = []

    def subscribe(self, callback: Callable[[Change], None]) -> None:
        """Call `callback` for each later change."""
        self._subscribers.append(callback)

    def hello(self, node: str, bus_key: str, session: bytes, message: Hello, now: float) -> list[Change]:
        """A node introduced itself."""
        known = self._nodes.get(node)
        restarted = known is not None and known.session != session and bool(known.session)
        presence = Presence(
            node=node,
            bus_key=bus_key,
            name=message.name,
            version=message.version,
            roles=tuple(message.roles),
            agents=tuple(message.agents),
            slots=message.slots,
            slots_used=known.slots_used if known and not restarted else 0,
            load=known.load if known else 0.0,
            halted=known.halted if known else False,
            session=session,
            first_seen=known.first_seen if known else now,
            seen=now,
            capabilities=frozenset(name for card in message.agents for name in card.capabilities),
        )
        self._nodes[node] = presence
        return self._tell([NodeSeen(presence, restarted)])

    def heartbeat(self, node: str, message: Heartbeat, now: float) -> list[Change]:
        """A node is still here. One that never said hello is not listed: what it can do is not known."""
        presence = self._nodes.get(node)
        if presence is None:
            return []
        was_gone = presence.state == "gone"
        presence.seen = now
        presence.state = "up"
        presence.load = message.load
        presence.slots = message.slots
        presence.slots_used = message.slots_used
        presence.refused = message.refused
        presence.halted = message.halted
        return self._tell([NodeSeen(presence, restarted=False)]) if was_gone else []

    def goodbye(self, node: str, message: Goodbye) -> list[Change]:
        """A node left on purpose."""
        presence = self._nodes.get(node)
        if presence is None or presence.state == "gone":
            return []
        presence.state = "gone"
        return self._tell([NodeGone(node, message.reason or "said goodbye")])

    def forget(self, node: str) -> list[Change]:
        """A node is no longer a member."""
        presence = self._nodes.pop(node, None)
        if presence is None or presence.state == "gone":
            return []
        return self._tell([NodeGone(node, "its membership ended")])

    def tick(self, now: float) -> list[Change]:
        """Let time pass: who has been silent too long?"""
        changes: list[Change] = []
        for presence in self._nodes.values():
            silent = now - presence.seen
            if presence.state != "gone" and silent >= GONE_S:
                presence.state = "gone"
                changes.append(NodeGone(presence.node, f"silent for {int(silent)} s"))
            elif presence.state == "up" and silent >= SUSPECT_S:
                presence.state = "suspected"
        return self._tell(changes)

    def deadline(self) -> float | None:
        """When `tick` should run next, in Unix seconds; None when nobody is here."""
        times = [
            presence.seen + (SUSPECT_S if presence.state == "up" else GONE_S)
            for presence in self._nodes.values()
            if presence.state != "gone"
        ]
        return min(times, default=None)

    def knows(self, node: str) -> bool:
        """Whether this node has said hello since we began to listen."""
        return node in self._nodes

    def get(self, node: str) -> Presence | None:
        """One node by id."""
        return self._nodes.get(node)

    def all(self) -> list[Presence]:
        """Everybody ever heard, by name."""
        return sorted(self._nodes.values(), key=lambda presence: (presence.name, presence.node))

    def alive(self, now: float) -> list[Presence]:
        """Who may be asked now: heard within `SUSPECT_S`."""
        return [
            presence
            for presence in self._nodes.values()
            if presence.state != "gone" and now - presence.seen < SUSPECT_S
        ]

    def _tell(self, changes: Iterable[Change]) -> list[Change]:
        told = list(changes)
        for change in told:
            for callback in self._subscribers:
                callback(change)
        return told
