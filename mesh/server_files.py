"""Shell: the files of an embedded server's state directory: config, log, ports, and the space they need.

Rules. Everything is the owner's alone; a config is replaced whole. Counterpart: `server_proc.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from .errors import DiskFull, ServerFailed, no_room

__all__ = [
    "MIN_FREE_BYTES",
    "check_space",
    "delete_ports_files",
    "free_bytes",
    "from_os_error",
    "listening_port",
    "prepare",
    "read_from",
    "size_of",
    "write_private",
]

MIN_FREE_BYTES: Final = 16 << 20
"""On a disk with less, the server hangs half-way up instead of saying what is wrong."""


def prepare(state_dir: Path) -> None:
    """Make the state directory, readable by its owner only."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    check_space(state_dir)
    for name in ("accounts", "jetstream"):
        (state_dir / name).mkdir(exist_ok=True, mode=0o700)


def free_bytes(path: Path) -> int:
    """What is left on the disk that holds `path`."""
    return shutil.disk_usage(path).free


def read_from(path: Path, start: int) -> tuple[str, int]:
    """What a log has from `start` on (256 KiB at most), and where that ended."""
    try:
        with path.open("rb") as file:
            # A log that is shorter than it was has been replaced by a new one meanwhile.
            file.seek(start if size_of(path) >= start else 0)
            text = file.read(256 << 10).decode("utf-8", "replace")
            return text, file.tell()
    except OSError:
        return "", start


def check_space(state_dir: Path) -> None:
    """See that the server can start.

    Raises:
        DiskFull: there is too little space for it.
    """
    free = free_bytes(state_dir)
    if free < MIN_FREE_BYTES:
        raise DiskFull(
            f"the disk of {state_dir} has {free >> 10:,} KiB left; the bus needs {MIN_FREE_BYTES >> 20} MiB to start"
        )


def write_private(path: Path, text: str) -> None:
    """Replace a file whole, readable by its owner only."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def size_of(path: Path) -> int:
    """A file's size, 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def delete_ports_files(state_dir: Path) -> None:
    """Remove what servers have said about their ports."""
    # A killed server leaves its file behind, and a process id is used again one day.
    for path in state_dir.glob("*.ports"):
        with contextlib.suppress(OSError):
            path.unlink()


def listening_port(state_dir: Path, pid: int) -> int | None:
    """The client port from the server's ports file; None while there is no complete one."""
    for path in state_dir.glob(f"*_{pid}.ports"):
        try:
            urls = json.loads(path.read_text("utf-8")).get("nats") or []
            return urlsplit(str(urls[0])).port
        except (OSError, ValueError, IndexError):
            return None
    return None


def from_os_error(error: OSError, state_dir: Path) -> Exception:
    """The error that fits a failure of the file system."""
    if no_room(error):
        return DiskFull(f"the disk of {state_dir} is full")
    return ServerFailed(
        f"the embedded server's state directory cannot be used: {error}", "Check its owner and mode."
    )
