"""Shell, inside a worker process: gives up what its work does not need, for good, by Landlock (Linux 5.13 and later).

A document comes from anywhere, and what reads it may have a hole. After `confine` the process and all that it starts can read Python and
the system's libraries, write below the given folders, and nothing else: no home, no keys, no TCP connection, no signal or look into another
process. It needs no privilege, and cannot be undone. Older kernels have fewer of these; `level` says how much there is.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["confine", "level", "needed_by_python"]

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""System calls; the same numbers on every processor."""
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVS: Final = 38

_EXECUTE, _WRITE, _READ, _READ_DIR = 1, 2, 4, 8
_FILE_ONLY: Final = _EXECUTE | _WRITE | _READ | 1 << 14 | 1 << 15
_FS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights on files that a version of Landlock knows; the rest are as in the version before."""
_TCP: Final = 3
_SCOPES: Final = 3

_SYSTEM: Final = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/sys/devices/system/cpu")
_SETTINGS: Final = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/ssl/certs",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
)
"""Not /proc itself: a privileged process could read the environment of others there, the node's too."""
_DEVICES: Final = ("/dev/null", "/dev/zero")


def level() -> int:
    """The version of Landlock in this kernel; 0 if there is none."""
    if sys.platform != "linux":
        return 0
    found: int = _libc().syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    return max(0, found)


def needed_by_python(path: Iterable[str]) -> list[str]:
    """Those entries of a module path that may be opened to a confined worker: Python's own folders and the one of this package.

    Others (the folder that a command was typed in, above all) may be anybody's home.
    """
    own = Path(__file__).resolve().parent.parent
    roots = [Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()]
    kept: list[str] = []
    for entry in path:
        resolved = Path(entry).resolve() if entry else None
        if resolved is not None and (resolved == own or any(resolved.is_relative_to(root) for root in roots)):
            kept.append(str(resolved))
    return kept if str(own) in kept else [str(own), *kept]


def confine(writable: Iterable[str], readable: Iterable[str]) -> bool:
    """Give up everything else, in this thread and all that it starts from now on. False: this kernel has no Landlock.

    Args:
        writable: folders in which files may be made, changed and removed.
        readable: files and folders that may be read and executed, besides Python's and the system's.

    Raises:
        OSError: the kernel has Landlock and refused; nothing was given up.
    """
    version = level()
    if version == 0:
        return False
    libc = _libc()
    rights = _FS[max(known for known in _FS if known <= version)]
    attributes = struct.pack("=QQQ", rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    try:
        look = _EXECUTE | _READ | _READ_DIR
        for path in (*_SYSTEM, *_SETTINGS, sys.prefix, sys.base_prefix, *readable):
            _allow(libc, ruleset, path, look & rights)
        for path in _DEVICES:
            _allow(libc, ruleset, path, (_READ | _WRITE) & rights)
        for path in writable:
            _allow(libc, ruleset, path, rights & ~_EXECUTE)
        libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
        if libc.syscall(_RESTRICT, ruleset, ctypes.c_uint32(0)) != 0:
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    finally:
        os.close(ruleset)
    return True


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    """Open one path; what does not exist needs no rule."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.isdir(path):  # noqa: PTH112 - the very path that was opened
                rights &= _FILE_ONLY
            rule = struct.pack("=Qi", rights, descriptor)
            if libc.syscall(_ADD, ruleset, _PATH_BENEATH, rule, ctypes.c_uint32(0)) != 0:
                raise OSError(ctypes.get_errno(), f"landlock_add_rule {path}")
        finally:
            os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
