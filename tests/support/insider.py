"""A member turned bad: real keys, real certificate, real bus credentials of a device, used to say what its node would never say."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh.bus import Msg
from mesh.endpoint import Endpoint
from mesh.home import Home
from mesh.membership import Membership
from protocol import subjects
from protocol.codec import pack
from protocol.envelope import Sealer
from protocol.ids import run_bytes
from protocol.messages import Item, Type, type_of
from protocol.registry import body_adapter


@dataclass(frozen=True, slots=True)
class Insider:
    """One device's membership and an open connection under one of its roles."""

    membership: Membership
    endpoint: Endpoint

    @property
    def me(self) -> str:
        """Its bus key."""
        return self.membership.me

    @property
    def node(self) -> str:
        """Its node id."""
        return self.membership.node_hex

    def sealer(self) -> Sealer:
        """A new session with its own key."""
        return self.membership.sealer()

    def seal(
        self,
        items: Sequence[Item],
        *,
        audience: str,
        run: str,
        sealer: Sealer | None = None,
        code: Type | None = None,
        now_ms: int | None = None,
        ttl_s: int = 30,
    ) -> bytes:
        """An envelope with whatever header it likes, signed with its own key (or that of `sealer`)."""
        made_of = type_of(items[0])
        body = pack(body_adapter(made_of).dump_python(list(items), by_alias=True, exclude_defaults=True))
        return (sealer or self.sealer()).seal(
            code or made_of,
            audience,
            body,
            now_ms=int(self.endpoint.clock.now() * 1000) if now_ms is None else now_ms,
            ttl_s=ttl_s,
            context=run_bytes(run),
        )

    async def publish(self, subject: str, *envelopes: bytes) -> None:
        """Put bytes on the bus; returns when the server has them."""
        for number, raw in enumerate(envelopes, 1):
            await self.endpoint.bus.publish(subject, raw)
            if number % 200 == 0:
                await self.endpoint.bus.flush(10)
        await self.endpoint.bus.flush(10)

    async def work(self, run: str, *items: Item) -> None:
        """Say something about an attempt, in due form."""
        for item in items:
            raw = self.seal([item], audience=subjects.audience_work(run), run=run)
            await self.publish(subjects.work(run, self.me), raw)


@asynccontextmanager
async def insider(home: Path, role: str = "agent") -> AsyncIterator[Insider]:
    """Connect with what lies in a device's home."""
    membership = Membership.load(Home(home))
    async with membership.connect(role) as endpoint:
        yield Insider(membership, endpoint)


@asynccontextmanager
async def wiretap(home: Path, *patterns: str) -> AsyncIterator[list[tuple[str, bytes]]]:
    """All (subject, envelope) on some subjects, as one sees them who reads the whole bus (a coordinator's credentials)."""
    heard: list[tuple[str, bytes]] = []

    def on_message(msg: Msg) -> None:
        heard.append((msg.subject, bytes(msg.data)))

    handler: Any = on_message
    async with insider(home, "coordinator") as listener:
        for pattern in patterns:
            await listener.endpoint.bus.subscribe(pattern, handler)
        await listener.endpoint.bus.flush(5)
        yield heard


def stranger(swarm8: bytes, serial: bytes) -> Sealer:
    """A session of somebody who is no member: a key of its own under another's certificate number."""
    from protocol.signing import SigningKey

    return Sealer(SigningKey.from_seed(os.urandom(32)), swarm8, serial, os.urandom(8))
