"""The daemon's own process: `python -m mesh.daemon_main --home DIR`. `zwerm up` becomes it, so that a node carries nothing of the command line's weight."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

from protocol.errors import ZwermError

from .home import Home
from .loop import first_named, run_async
from .output import Exit, Out, exit_code_of

__all__ = ["daemon_argv", "main"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def daemon_argv(
    home: Home,
    *,
    quiet: bool = False,
    as_json: bool = False,
    verbose: int = 0,
    no_color: bool = False,
    parent: int | None = None,
) -> list[str]:
    """The command line that runs the daemon of a home in the foreground."""
    return [
        sys.executable,
        "-m",
        "mesh.daemon_main",
        "--home",
        str(home.path),
        *(["--quiet"] if quiet else []),
        *(["--json"] if as_json else []),
        *(["--no-color"] if no_color else []),
        *(["--verbose"] * verbose),
        *(["--with-parent", str(parent)] if parent is not None else []),
    ]


def main() -> int:
    """Run the daemon until it is told to stop; returns its exit code."""
    parser = argparse.ArgumentParser(prog="zwerm up", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-color", action="store_true")
    parser.add_argument("--verbose", action="count", default=0)
    parser.add_argument("--with-parent", type=int)
    arguments = parser.parse_args()
    out = Out.for_terminal(as_json=arguments.json, quiet=arguments.quiet, no_color=arguments.no_color)
    try:
        _run(Home(arguments.home), out, arguments.verbose, arguments.with_parent)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except ZwermError as error:
        out.failure(error)
        return exit_code_of(error)
    except BaseExceptionGroup as group:
        first = first_named(group)
        if first is None:
            raise
        out.failure(first)
        return exit_code_of(first)
    return Exit.OK


def _run(home: Home, out: Out, verbose: int, parent: int | None) -> None:
    from .daemon import Daemon, run_until_signalled
    from .logs import log_to_file

    node = home.load()
    log_to_file(home, verbose=verbose, console=verbose > 0)

    def ready() -> None:
        give_back_memory()
        out.done(f"{node.name} is up in {node.swarm!r}: {', '.join(node.roles)}   (Ctrl-C stops it)")
        out.document("up", {"node": node.name, "pid": os.getpid(), "roles": node.roles})

    run_async(run_until_signalled(Daemon(home, say=out.say), ready=ready, parent=parent))


def give_back_memory() -> None:
    """Hand what the start needed and no longer needs back to the system (glibc keeps it otherwise)."""
    gc.collect()
    gc.freeze()
    # Messages make many short-lived objects and hardly a cycle: look for cycles a tenth as often.
    gc.set_threshold(7_000, 20, 20)
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        # Large buffers (batches of messages) go straight back when they are freed, instead of making the heap grow for good.
        libc.mallopt(_M_MMAP_THRESHOLD, 64 * 1024)
        libc.mallopt(_M_TRIM_THRESHOLD, 128 * 1024)
        libc.malloc_trim(0)


if __name__ == "__main__":
    sys.exit(main())
