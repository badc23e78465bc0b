"""Being in the swarm: identity, invites, the bus, the shared workspace, the daemon and the `zwerm` command.

For programs there is one door:

    from mesh import connect

    async with connect() as swarm:
        run = await swarm.run("Summarise this folder", inputs=["notes/"])
        print(await run.deliver("out"))

Names are loaded when they are first used, so that the command starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Swarm, connect
    from .sdk import RunEvent, RunFailed, RunHandle, RunResult

__all__ = ["RunEvent", "RunFailed", "RunHandle", "RunResult", "Swarm", "connect"]

_SDK = {"RunEvent", "RunFailed", "RunHandle", "RunResult"}


def __getattr__(name: str) -> Any:
    if name in _SDK:
        from . import sdk

        return getattr(sdk, name)
    if name in __all__:
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
