"""The small swarm of `endpoint_memory`, but on a real, secured nats-server: the same members, keys and signatures, a real bus and workspace."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from mesh.bus import Bus
from mesh.nkeys import NKey
from mesh.tasks import background
from mesh.workspace import Workspace, WorkspaceSizes
from mesh.workspace_nats import ensure_streams, open_workspace
from tests.support.endpoint_memory import MemorySwarm
from tests.support.nats import Site, secured_server

__all__ = ["ServerSwarm"]

SIZES = WorkspaceSizes(
    journal=4 << 20, artifacts=8 << 20, certs=1 << 20, invites=1 << 20, board=1 << 20, swarm=1 << 20
)


class ServerSwarm(MemorySwarm):
    """Use as an async context; `site.server` is the server, which a test may stop and start."""

    site: Site

    def __init__(self, folder: Path, sizes: WorkspaceSizes = SIZES) -> None:
        super().__init__(folder)
        self._sizes = sizes

    async def __aenter__(self) -> Self:
        self.site = await self._stack.enter_async_context(secured_server(self.folder / "site"))
        await self.resize(self._sizes)
        return self

    async def resize(self, sizes: WorkspaceSizes) -> None:
        """Bring the workspace to these sizes, as a restart with other settings does."""
        await ensure_streams(await self.site.connect("enroller"), sizes)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def connect(self, key: NKey, role: str) -> Bus:
        """A member's connection, which is dialled again when it is lost."""
        bus = await self.site.connect(role, key)  # type: ignore[arg-type]
        await self._stack.enter_async_context(background(bus.run()))
        return bus

    def workspace(self, bus: Bus, role: str) -> Workspace:
        """The workspace as a member of this role has it."""
        return open_workspace(bus, self.clock, worker=role in ("agent", "client"))  # type: ignore[arg-type]
