"""The two worlds every contract test runs in: the in-memory twin and a real, secured nats-server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mesh.bus import Bus
from mesh.bus_accounts import Role
from mesh.bus_memory import MemoryHub
from mesh.nkeys import NKey
from mesh.workspace import Workspace, WorkspaceSizes
from mesh.workspace_memory import MemoryStore
from mesh.workspace_nats import ensure_streams, open_workspace
from tests.support.nats import secured_server

SIZES = WorkspaceSizes(
    journal=1 << 20, artifacts=8 << 20, certs=1 << 20, invites=1 << 20, board=1 << 20, swarm=1 << 20
)


class World:
    """Gives members' connections and their views of one workspace."""

    def __init__(self, kind: str, site: Any, hub: MemoryHub | None) -> None:
        self.kind = kind
        self.site = site
        self.hub = hub
        self.store = MemoryStore(sizes=SIZES)
        self._ensured = False

    def key(self) -> NKey:
        return NKey.from_seed_bytes("U", os.urandom(32))

    async def connect(self, role: Role, key: NKey | None = None) -> Bus:
        key = key or self.key()
        if self.hub is not None:
            return self.hub.connect(key.public, role)
        bus: Bus = await self.site.connect(role, key)
        return bus

    async def joiner(self) -> Bus:
        if self.hub is not None:
            return self.hub.connect(None)
        bus: Bus = await self.site.connect_joiner()
        return bus

    async def workspace(self, role: Role = "coordinator", key: NKey | None = None) -> Workspace:
        if self.hub is not None:
            return self.store.workspace()
        if not self._ensured:
            await ensure_streams(await self.site.connect("enroller"), SIZES)
            self._ensured = True
        bus = await self.site.connect(role, key or self.key())
        return open_workspace(bus, worker=role in {"agent", "client"})


@contextlib.asynccontextmanager
async def opened_world(kind: str, tmp_path: Any) -> AsyncIterator[World]:
    if kind == "memory":
        async with MemoryHub() as hub:
            yield World(kind, None, hub)
    else:
        async with secured_server(tmp_path) as site:
            yield World(kind, site, None)


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.integration)])
async def world(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[World]:
    async with opened_world(request.param, tmp_path) as made:
        yield made
