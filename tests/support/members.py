"""Members of a real swarm in this process: real daemons on homes of their own, a real nats-server, real enrolment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from mesh.client import connect_home
from mesh.clock import SystemClock
from mesh.daemon import Daemon
from mesh.endpoint import Endpoint
from mesh.founding import found_swarm
from mesh.home import Home
from mesh.inviting import MadeInvite, make_invite

__all__ = ["IdleRole", "MovedClock", "found", "invited", "running", "until"]


class MovedClock(SystemClock):
    """The device's clock, a given number of seconds off."""

    def __init__(self, off_s: float = 0.0) -> None:
        self.off_s = off_s

    def now(self) -> float:
        return super().now() + self.off_s


class IdleRole:
    """A role that is there and does nothing."""

    name = "idle"
    slots_total = 1
    slots_used = 0

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def cards(self) -> list[Any]:
        return []

    def load(self) -> float:
        return 0.0

    async def run(self, stop: asyncio.Event) -> None:
        await stop.wait()


def found(folder: Path, **options: Any) -> Home:
    """A new swarm's first device, not started."""
    home = Home(folder)
    found_swarm(home, name="office", node_name="hub", bind="loopback", port=0, agent=False, **options)
    home.write("config.toml", b"mdns = false\nartifacts_mib = 64\njournal_mib = 16\nsync_always = false\n")
    return home


@contextlib.asynccontextmanager
async def running(home: Home, *, idle: bool = True, **options: Any) -> AsyncIterator[Daemon]:
    """The daemon of a home while the block runs; `idle`: its roles do nothing."""
    if idle:
        options.setdefault("make_role", lambda _name, endpoint, _config: IdleRole(endpoint))
    daemon = Daemon(home, **options)
    stop, ready = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(daemon.run(stop, ready=ready.set))
        served = group.create_task(ready.wait())
        async with asyncio.timeout(30):
            await asyncio.wait({task, served}, return_when=asyncio.FIRST_COMPLETED)
        served.cancel()
        if not task.done():
            yield daemon
        stop.set()


async def invited(hub: Home, **options: Any) -> MadeInvite:
    """A fresh invite, made by the hub."""
    async with connect_home(hub, role="admin") as swarm:
        return await make_invite(swarm, **options)


async def until(what: str, check: Callable[[], Any], timeout_s: float = 15.0) -> Any:
    """The first true result of `check`; fails when there is none in time."""
    try:
        async with asyncio.timeout(timeout_s):
            while not (found := check()):
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {timeout_s:g} s") from None
    return found
