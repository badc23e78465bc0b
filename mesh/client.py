"""A program's door into its swarm: `from mesh import connect`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from .endpoint import Endpoint
from .home import Home, locate_home
from .membership import Membership

__all__ = ["Swarm", "connect", "connect_home"]


@dataclass(frozen=True, slots=True)
class Swarm:
    """A connection under the role `client`."""

    membership: Membership
    endpoint: Endpoint


@asynccontextmanager
async def connect_home(home: Home, *, role: str = "client", timeout_s: float = 10.0) -> AsyncIterator[Swarm]:
    """Connect with the membership of `home`.

    Raises:
        NotInSwarm: the device is in no swarm.
        BusUnreachable: the bus does not answer.
    """
    membership = Membership.load(home)
    async with membership.connect(role, timeout_s=timeout_s) as endpoint:
        yield Swarm(membership, endpoint)


@asynccontextmanager
async def connect(home: str | Path | None = None, *, timeout_s: float = 10.0) -> AsyncIterator[Swarm]:
    """Connect this program to the swarm that this device is in.

    Args:
        home: the state directory; by default the device's own.
        timeout_s: how long to look for the bus.

    Raises:
        NotInSwarm: the device is in no swarm.
        BusUnreachable: the bus does not answer.
    """
    async with connect_home(Home(locate_home(str(home) if home else None)), timeout_s=timeout_s) as swarm:
        yield swarm
