"""Shell: halting this device without any network: a file, a signal to the daemon, and, where the daemon does not obey, the kernel.

The order lies in the state directory and holds until it is lifted, also over a restart. The processes that the node's agents are were written down
by the daemon (`running_proc`); whether they are gone is looked up, never believed. A daemon that is stopped or hangs has the signal waiting for it
and obeys when it goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mesh.clock import Clock, SystemClock
from mesh.halt_file import forget_local, local_mark, obeyed_mark, order_local
from mesh.home import Home

from .running_proc import FOLDER, entries, kill_entries, still_there

__all__ = ["LocalHalt", "halt_local", "lift_local"]

_ASK_S: Final = 1.0
"""How long the daemon may take before its agents are killed from here; and so long again before it is called silent."""
_END_S: Final = 1.5
"""How long a busy system may take to end what was killed."""
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class LocalHalt:
    """What became of the order. `left`: processes that are still there; `daemon`: whether it obeyed, says nothing, or does not run."""

    stopped: int
    left: int
    daemon: Literal["obeyed", "silent", "none"]
    daemon_pid: int | None


def halt_local(home: Home, why: str, *, clock: Clock | None = None) -> LocalHalt:
    """Stop every agent of this device, and let it take nothing until the order is lifted."""
    clock = clock or SystemClock()
    folder = home.file(FOLDER)
    mark = order_local(home, why, clock.now())
    seen = still_there(entries(folder))
    pid = home.daemon_pid()
    daemon = _told(home, pid, mark, clock)
    seen |= still_there(entries(folder))
    kill_entries(entries(folder))
    if daemon == "silent":
        daemon = _obeys(home, pid, mark, clock)
    left = _until_gone(folder, clock)
    return LocalHalt(len(seen - left), len(left), daemon, pid)


def _until_gone(folder: Path, clock: Clock) -> set[int]:
    """What is still there when everything that was killed has had time to end."""
    end = clock.monotonic() + _END_S
    while (left := still_there(entries(folder))) and clock.monotonic() < end:
        time.sleep(_POLL_S)
    return left


def lift_local(home: Home, *, clock: Clock | None = None) -> tuple[bool, Literal["obeyed", "silent", "none"]]:
    """Let this device work again; whether it was halted, and whether the daemon has heard of it."""
    lifted = forget_local(home)
    return lifted, _told(home, home.daemon_pid(), "", clock or SystemClock())


def _told(home: Home, pid: int | None, mark: str, clock: Clock) -> Literal["obeyed", "silent", "none"]:
    """Have the daemon look at the order, and wait until it has carried it out."""
    if pid is None:
        return "none"
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGUSR1)
    return _obeys(home, pid, mark, clock)


def _obeys(home: Home, pid: int | None, mark: str, clock: Clock) -> Literal["obeyed", "silent", "none"]:
    end = clock.monotonic() + _ASK_S
    while clock.monotonic() < end:
        if obeyed_mark(home) == mark == local_mark(home):
            return "obeyed"
        if home.daemon_pid() != pid:
            return "none"
        time.sleep(_POLL_S)
    return "silent"
