"""Shell: reading and writing files for somebody who must not get out of a few folders, whatever links there are in them.

Every part of a path is opened by itself, from its parent, and no link is followed, so that nothing can be exchanged between looking and opening.
Linux and other systems with `openat`. Counterpart: `adapters/acp` (an agent's files through the client).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

__all__ = ["OutsideError", "read_beneath", "write_beneath"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS: Final = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK, errno.ENXIO)
"""What the kernel answers where a link, or no folder, is in the way."""
_FILE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class OutsideError(Exception):
    """The path leads out of the folder, or to something that is no ordinary file."""


def read_beneath(root: Path, path: PurePosixPath, most: int) -> bytes:
    """The content of an ordinary file below `root`, at most `most` bytes of it.

    Raises:
        OutsideError: it leads elsewhere.
        OSError: it cannot be read.
    """
    with _parent(root, path, make=False) as (parent, name):
        descriptor = _open(name, os.O_RDONLY, parent)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OutsideError
        return file.read(most)


def write_beneath(root: Path, path: PurePosixPath, content: bytes) -> None:
    """Make or replace the content of an ordinary file below `root`, and the folders above it.

    Raises:
        OutsideError: it leads elsewhere.
        OSError: it cannot be written.
    """
    with _parent(root, path, make=True) as (parent, name):
        descriptor = _open(name, os.O_WRONLY | os.O_CREAT, parent)
    with os.fdopen(descriptor, "wb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OutsideError
        file.truncate(0)
        file.write(content)


def _open(name: str, flags: int, parent: int) -> int:
    try:
        return os.open(name, flags | _FILE, 0o600, dir_fd=parent)
    except OSError as error:
        if error.errno in _LINKS:
            raise OutsideError from None
        raise


@contextlib.contextmanager
def _parent(root: Path, path: PurePosixPath, *, make: bool) -> Iterator[tuple[int, str]]:
    """The opened folder that a path's last part is in, and that part."""
    parts = [part for part in path.parts if part != "."]
    if not parts or path.is_absolute() or ".." in parts:
        raise OutsideError
    current = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=current)
            try:
                following = os.open(part, _FOLDER, dir_fd=current)
            except OSError as error:
                if error.errno in _LINKS:
                    raise OutsideError from None
                raise
            os.close(current)
            current = following
        yield current, parts[-1]
    finally:
        os.close(current)
