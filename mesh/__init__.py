"""Being in the swarm: identity, invites, the bus, the shared workspace, the daemon and the `zwerm` command.

For programs there is one door:

    from mesh import connect

    async with connect() as swarm:
        run = await swarm.run("Summarise this folder", inputs=["notes/"])
        print(await run.deliver("out"))

`connect_sync` is the same without asyncio. Names are loaded when they are first used, so that the command starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Swarm, connect
    from .halt_swarm import HaltSent
    from .sdk import RunEvent, RunFailed, RunHandle, RunResult
    from .sync import SyncRun, SyncSwarm, connect_sync

__all__ = [
    "HaltSent", "RunEvent", "RunFailed", "RunHandle", "RunResult", "Swarm", "SyncRun", "SyncSwarm", "connect", "connect_sync",
]  # fmt: skip

_PLACES = {
    "halt_swarm": {"HaltSent"},
    "sdk": {"RunEvent", "RunFailed", "RunHandle", "RunResult"},
    "sync": {"SyncRun", "SyncSwarm", "connect_sync"},
    "client": {"Swarm", "connect"},
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
