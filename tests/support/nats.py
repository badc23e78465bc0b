"""A real, secured nats-server for tests: own keys, own CA, all accounts, own directory.

async with secured_server(tmp_path) as site:
    bus = await site.connect("agent")
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mesh.bus_accounts import BusAuthority, Role, found_accounts
from mesh.bus_nats import NatsBus
from mesh.clock import SystemClock
from mesh.nkeys import NKey
from mesh.pki import CertAuthority, found_ca
from mesh.server import ClusterSettings, ServerSettings, ServerTokens
from mesh.server_kit import ROUTE_PORT_STEP
from mesh.server_proc import NatsServer
from mesh.tls_pin import ca_context, pinned_context
from tests.support.ports import bus_ports

CLOCK = SystemClock()


def write_secret(path: Path, data: bytes) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return path


def tokens_of(authority: BusAuthority) -> ServerTokens:
    return ServerTokens(
        authority.operator_token, authority.sys_public, authority.account_tokens, authority.sentinel
    )


def site_settings(
    directory: Path, authority: BusAuthority, ca: CertAuthority, **changes: Any
) -> ServerSettings:
    directory.mkdir(parents=True, exist_ok=True)
    host = changes.get("host", "127.0.0.1")
    cert = ca.issue_server(
        CLOCK.now(), addresses=("127.0.0.1", host) if host != "0.0.0.0" else ("127.0.0.1",)
    )
    values: dict[str, Any] = {
        "state_dir": directory / "bus",
        "tokens": tokens_of(authority),
        "cert_file": write_secret(directory / "bus.crt", cert.chain_pem),
        "key_file": write_secret(directory / "bus.key", cert.key_pem),
        "store_key": b"\x07" * 32,
    }
    return ServerSettings(**{**values, **changes})


class Site:
    """One swarm's bus as tests need it: the authority, the CA, the running server, and members' connections."""

    def __init__(self, authority: BusAuthority, ca: CertAuthority, server: NatsServer) -> None:
        self.authority = authority
        self.ca = ca
        self.server = server
        self._open: list[NatsBus] = []

    @property
    def url(self) -> str:
        return self.server.url

    def key(self) -> NKey:
        return NKey.from_seed_bytes("U", os.urandom(32))

    def context(self) -> Any:
        return ca_context(self.ca.cert_der)

    def pinned(self) -> Any:
        return pinned_context(self.ca.pin)

    async def connect(
        self, role: Role, key: NKey | None = None, *, exp: float | None = None, name: str = "", **options: Any
    ) -> NatsBus:
        """A member's connection; closed with the site."""
        key = key or self.key()
        jwt = self.authority.mint_user(role, key.public, name or role, now=CLOCK.now(), exp=exp)
        bus = await NatsBus.connect([self.url], self.context(), key, jwt, name=name or role, **options)
        self._open.append(bus)
        return bus

    async def connect_joiner(self, **options: Any) -> NatsBus:
        """A connection without any credential, by the pin alone."""
        bus = await NatsBus.connect([self.url], self.pinned(), **options)
        self._open.append(bus)
        return bus

    async def close(self) -> None:
        for bus in self._open:
            await bus.close()
        await self.server.stop(grace_s=5)


@contextlib.asynccontextmanager
async def secured_server(directory: Path, **changes: Any) -> AsyncIterator[Site]:
    """A running server of a new swarm; `changes` replace single `ServerSettings`."""
    authority = found_accounts("test", os.urandom, CLOCK.now())
    ca = found_ca(CLOCK.now())
    server = NatsServer(site_settings(directory, authority, ca, **changes))
    await server.start()
    site = Site(authority, ca, server)
    try:
        yield site
    finally:
        await site.close()


@contextlib.asynccontextmanager
async def secured_cluster(directory: Path, count: int = 3) -> AsyncIterator[list[Site]]:
    """Running servers of one bus: the site of each. Who wants a stream on all of them waits until they have found each other."""
    authority = found_accounts("test", os.urandom, CLOCK.now())
    ca = found_ca(CLOCK.now())
    directory.mkdir(parents=True, exist_ok=True)
    ca_file = write_secret(directory / "ca.pem", ca.cert_pem)
    ports = bus_ports(count)
    sites: list[Site] = []
    try:
        for number, port in enumerate(ports):
            routes = tuple(f"127.0.0.1:{other + ROUTE_PORT_STEP}" for other in ports if other != port)
            cluster = ClusterSettings("test", port + ROUTE_PORT_STEP, routes, ca_file)
            server = NatsServer(
                site_settings(
                    directory / str(number), authority, ca, port=port, name=f"s{number}", cluster=cluster
                )
            )
            sites.append(Site(authority, ca, server))
            await server.start()
        yield sites
    finally:
        for site in sites:
            await site.close()


class Inbox:
    """A handler that keeps what it got, and lets a test wait for it."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, msg: Any) -> None:
        self.got.put_nowait(msg)

    async def next(self, timeout_s: float = 5.0) -> Any:
        async with asyncio.timeout(timeout_s):
            return await self.got.get()

    def empty(self) -> bool:
        return self.got.empty()
