"""The demo's throwaway directory: made, taken away at the end, and taken away by the next demo if this one is killed outright.

Rules. A directory belongs to a living demo as long as its lock is held; the lock goes with the process, however that ends. Only directories of this user
that carry a lock file are ever deleted: one that a person asked to keep carries none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["throwaway"]

_PREFIX = "zwerm-demo-"
_LOCK = "demo.lock"


@contextlib.contextmanager
def throwaway(*, keep: bool = False) -> Iterator[Path]:
    """A private directory for one demo; gone afterwards, unless it is to be kept. Takes away what killed demos left, first."""
    _sweep(Path(tempfile.gettempdir()))
    root = Path(tempfile.mkdtemp(prefix=_PREFIX))
    descriptor = os.open(root / "new.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not keep:
            # Locked before it has the name that others look for: no demo can mistake a new directory for an abandoned one.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            (root / "new.lock").rename(root / _LOCK)
        else:
            (root / "new.lock").unlink()
        yield root
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Delete the directories of demos that run no more."""
    for root in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = root.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            descriptor = os.open(root / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(root, ignore_errors=True)
            finally:
                os.close(descriptor)
