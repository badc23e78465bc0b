"""Shell: the order of a device's own owner to halt it, as a file of the state directory: it needs no network, no bus and no running daemon.

`halt.local` is there: halted, also after a restart, whatever is in it. The daemon looks when it starts and at SIGUSR1; when it has carried the order
out it writes the order's mark into `halt.obeyed`. `halt.bin` is the swarm's newest order, as it was stored.
"""

from __future__ import annotations

import contextlib
import json
import os

from .home import Home

__all__ = [
    "LOCAL",
    "forget_local",
    "local_mark",
    "obeyed_mark",
    "order_local",
    "read_local",
    "read_order",
    "say_obeyed",
    "write_order",
]

LOCAL = "halt.local"
_OBEYED = "halt.obeyed"
_ORDER = "halt.bin"


def order_local(home: Home, why: str, at: float) -> str:
    """Halt the device; returns the order's mark."""
    mark = os.urandom(8).hex()
    home.write(LOCAL, json.dumps({"schema": "zwerm.halt/1", "why": why, "at": at, "mark": mark}).encode())
    return mark


def forget_local(home: Home) -> bool:
    """Let the device go on; whether it was halted."""
    with contextlib.suppress(FileNotFoundError):
        home.file(LOCAL).unlink()
        return True
    return False


def read_local(home: Home) -> str | None:
    """Why the owner halted the device; None: has not. A file that cannot be read halts it, too."""
    return None if (content := _content(home)) is None else str(content.get("why", ""))[:200]


def local_mark(home: Home) -> str:
    """The mark of the owner's order; "" if there is none."""
    return str((_content(home) or {}).get("mark", ""))


def say_obeyed(home: Home) -> None:
    """The owner's order, as it is now, was carried out."""
    home.write(_OBEYED, local_mark(home).encode())


def obeyed_mark(home: Home) -> str:
    """The mark of the last order of the owner that was carried out; "" after it was lifted."""
    try:
        return home.file(_OBEYED).read_text(encoding="ascii", errors="replace")
    except OSError:
        return "none"


def read_order(home: Home) -> bytes | None:
    """The swarm's newest order as this device last knew it, unverified."""
    try:
        return home.file(_ORDER).read_bytes()
    except OSError:
        return None


def write_order(home: Home, stored: bytes) -> None:
    """Keep the swarm's newest order across restarts."""
    home.write(_ORDER, stored)


def _content(home: Home) -> dict[str, object] | None:
    try:
        value = json.loads(home.file(LOCAL).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
