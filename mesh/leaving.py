"""Taking a device out of its swarm: tell the swarm, stop, and put the state aside or delete it."""

from __future__ import annotations

import shutil

from protocol.messages import Leave

from .background import stop_daemon
from .client import connect_home
from .errors import MeshError
from .home import Home

__all__ = ["leave_swarm", "tell_swarm"]


async def tell_swarm(home: Home, *, timeout_s: float) -> bool:
    """Ask the enroller to end this membership; False if it could not be reached."""
    try:
        async with connect_home(home, timeout_s=timeout_s) as swarm:
            await swarm.endpoint.call("enroll", Leave(), timeout_s=timeout_s)
    except MeshError as error:
        # Being cut off by the bus at this very moment is what was asked for.
        return error.code in ("E_REFUSED", "E_REVOKED")
    return True


def leave_swarm(home: Home, *, wipe: bool, timeout_s: float = 20.0) -> bool:
    """Leave; returns whether the swarm was told.

    Raises:
        DaemonFailed: the daemon does not stop.
    """
    from .loop import run_async

    node = home.load()
    told = False
    if "enroller" not in node.roles:
        told = run_async(tell_swarm(home, timeout_s=min(5.0, timeout_s)))
    stop_daemon(home, timeout_s=timeout_s)
    if wipe:
        shutil.rmtree(home.path)
        return told
    aside = home.path.with_name(home.path.name + ".left")
    number = 2
    while aside.exists():
        aside, number = home.path.with_name(f"{home.path.name}.left-{number}"), number + 1
    home.path.rename(aside)
    return told
