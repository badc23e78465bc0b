"""A small swarm in one process: real endpoints (keys, signatures, verification, replay windows) on the bus and workspace in memory.

Nothing is faked but the network and the disk of the bus: a message that a role may not send is refused here as it is anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from mesh.bus import Bus
from mesh.bus_memory import MemoryHub
from mesh.clock import Clock, SystemClock
from mesh.endpoint import Endpoint
from mesh.nkeys import NKey
from mesh.workspace import Workspace
from mesh.workspace_memory import MemoryStore
from protocol.directory import Directory, Member
from protocol.envelope import Sealer, node_id
from protocol.registry import RULES
from protocol.signing import SigningKey
from protocol.verify import Verifier

__all__ = ["MemorySwarm"]

_SWARM8 = b"testswrm"
_FAR_MS = 1 << 45


class _Everybody:
    """All members are in the directory from the start."""

    def __init__(self) -> None:
        self.nodes: dict[str, str] = {}

    async def fetch(self, serial: bytes) -> Member | None:
        return None

    def node_of(self, bus_key: str) -> str | None:
        return self.nodes.get(bus_key)


class MemorySwarm:
    """Use as an async context; `join` adds members, who know each other at once."""

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        self.folder = folder
        self.clock = clock or SystemClock()
        self.hub = MemoryHub()
        self.store = MemoryStore(self.clock)
        self.directory = Directory()
        self._everybody = _Everybody()
        self._stack = AsyncExitStack()
        self._sessions = 0

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.hub)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def join(self, name: str, roles: Sequence[str] = ("agent",)) -> Endpoint:
        """A member called `name`; the same name again is the same device after a restart (a new session, the same home)."""
        seed = hashlib.sha256(name.encode()).digest()
        key = SigningKey.from_seed(seed)
        bus_key = NKey.from_seed_bytes("U", hashlib.sha256(seed).digest())
        me = bus_key.public
        node, serial = node_id(key.public), hashlib.sha256(b"serial" + seed).digest()[:8]
        if self.directory.get(node) is None:
            member = Member(
                node, key.public, serial, expires_ms=_FAR_MS, roles=frozenset(roles), bus_key=me, name=name
            )
            self.directory.add(member)
        self._everybody.nodes[me] = node.hex()
        home = self.folder / name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sessions += 1
        bus = await self.connect(bus_key, roles[0])
        endpoint = Endpoint(
            bus=bus,
            sealer=Sealer(key, _SWARM8, serial, self._sessions.to_bytes(8, "big")),
            verifier=Verifier(_SWARM8, self.directory, RULES),
            clock=self.clock,
            me=me,
            node=node.hex(),
            name=name,
            home=home,
            workspace=self.workspace(bus, roles[0]),
            certificates=self._everybody,
            directory=self.directory,
        )
        self._stack.push_async_callback(bus.close)
        return await self._stack.enter_async_context(endpoint)

    async def connect(self, key: NKey, role: str) -> Bus:
        """A member's connection, held to what a server enforces."""
        return self.hub.connect(key.public, role)  # type: ignore[arg-type]

    def workspace(self, bus: Bus, role: str) -> Workspace:
        """The workspace as a member of this role has it."""
        del bus, role
        return self.store.workspace()
