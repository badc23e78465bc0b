"""The installed command's first step: answers `--version` before anything is loaded, then hands over to `cli`."""

from __future__ import annotations

import sys

from .version import VERSION

__all__ = ["main"]


def main() -> int:
    """Run `zwerm` with the process's arguments; returns the exit code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"zwerm {VERSION}\n")
        return 0
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:  # before the command itself could take it
        return 130
