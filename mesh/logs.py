"""The daemon's log: a file in the home that starts anew at 20 MiB, five kept; never the temp folder."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler

from .home import Home

__all__ = ["log_to_file"]

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def log_to_file(home: Home, *, verbose: int = 0, console: bool = False) -> None:
    """Send the program's log to `logs/daemon.log` of the home, and to stderr if `console`."""
    folder = home.file("logs")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    file = RotatingFileHandler(folder / "daemon.log", maxBytes=20 << 20, backupCount=5, encoding="utf-8")
    file.setFormatter(logging.Formatter(_FORMAT))
    root.addHandler(file)
    (folder / "daemon.log").chmod(0o600)
    if console:
        stream = logging.StreamHandler(sys.stderr)
        stream.setFormatter(logging.Formatter(_FORMAT))
        root.addHandler(stream)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
