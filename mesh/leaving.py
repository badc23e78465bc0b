"""Taking a device out of its swarm: tell the swarm, stop, and put the state aside or delete it."""

from __future__ import annotations

import shutil
from pathlib import Path

from protocol.messages import Leave

from .background import stop_daemon
from .client import connect_home
from .errors import MeshError
from .home import Home, HomeDamaged

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


def leave_swarm(home: Home, *, wipe: bool, timeout_s: float = 20.0) -> tuple[bool, Path | None]:
    """Leave; returns whether the swarm was told, and where the state lies now (None: deleted).

    With `wipe` a home that is damaged goes as well: leaving is the way out of that.

    Raises:
        DaemonFailed: the daemon does not stop.
        HomeDamaged: the home cannot be read, or not be removed.
    """
    from .loop import run_async

    told = False
    try:
        owner = "enroller" in home.load().roles
    except HomeDamaged:
        if not wipe:
            raise
        owner = True
    if not owner:
        told = run_async(tell_swarm(home, timeout_s=min(5.0, timeout_s)))
    stop_daemon(home, timeout_s=timeout_s)
    try:
        return told, _put_away(home, wipe=wipe)
    except OSError as error:
        raise HomeDamaged(
            f"{home.path} cannot be removed: {error.strerror}", "Run zwerm as the user that owns it."
        ) from None


def _put_away(home: Home, *, wipe: bool) -> Path | None:
    if wipe:
        shutil.rmtree(home.path)
        return None
    aside = home.path.with_name(home.path.name + ".left")
    number = 2
    while aside.exists():
        aside, number = home.path.with_name(f"{home.path.name}.left-{number}"), number + 1
    home.path.rename(aside)
    return aside
