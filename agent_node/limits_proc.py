"""Shell, inside a child process: what it may use, and that it dies with its parent.

Only the standard library is used: this file is also run by itself, as the first thing in the process of a command (`python limits_proc.py
JSON`), which then becomes the command. Limits are the kernel's (setrlimit(2)); where a system lacks one it is left out.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

__all__ = ["die_with_parent", "launch", "set_limits"]

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the process that started it ends; end at once if it has ended already. Linux only."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def set_limits(limits: dict[str, Any]) -> None:
    """Bound this process and its children.

    Args:
        limits: any of `memory` (bytes of address space), `files` (open at once), `file_bytes` (size of one file), `cpu_hard_s`
            (processor seconds of the whole process), `processes` (of this user).
    """
    table = {
        "memory": "RLIMIT_AS",
        "files": "RLIMIT_NOFILE",
        "file_bytes": "RLIMIT_FSIZE",
        "cpu_hard_s": "RLIMIT_CPU",
        "processes": "RLIMIT_NPROC",
    }
    _set("RLIMIT_CORE", 0)
    for key, name in table.items():
        if limits.get(key):
            _set(name, int(limits[key]))


def _set(name: str, value: int) -> None:
    which = getattr(resource, name, None)
    if which is None:
        return
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(which, (value, value))


def launch(order: dict[str, Any]) -> None:
    """Become the command: `argv` with exactly the environment `env`, after limits are set. Returns never."""
    die_with_parent(int(order["parent"]))
    set_limits(order["limits"])
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - no shell, and argv is the owner's own
    except OSError as error:
        sys.stderr.write(f"cannot start {order['argv'][0]}: {error.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    launch(json.loads(sys.argv[1]))
