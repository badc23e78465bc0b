"""Starting the daemon as a process of its own, and stopping it: the shell behind `init`, `join`, `up --background`, `down`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time

from .clock import SystemClock
from .daemon_main import daemon_argv
from .errors import MeshError
from .home import Home

__all__ = ["DaemonFailed", "start_in_background", "stop_daemon"]

_POLL_S = 0.05
_END_S = 15.0


class DaemonFailed(MeshError):
    """The daemon did not come up."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("E_NO_DAEMON", message, hint)


def start_in_background(home: Home, *, timeout_s: float = 30.0) -> int:
    """Start the daemon in its own session and wait until it serves; returns its process id. Does nothing if it runs already.

    Raises:
        DaemonFailed: it ended, or did not serve in time; the reason is the end of its log.
    """
    running = home.daemon_pid()
    if running is not None:
        return running
    log = home.file("logs/daemon.out")
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        home.file("daemon.json").unlink()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            daemon_argv(home),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            cwd="/",
        )
    finally:
        os.close(descriptor)
    clock = SystemClock()
    end = clock.monotonic() + timeout_s
    while clock.monotonic() < end:
        if process.poll() is not None:
            raise DaemonFailed(
                f"the daemon ended at once: {_tail(log.read_text(errors='replace'))}", f"All of it: {log}"
            )
        with contextlib.suppress(OSError, ValueError):
            if json.loads(home.file("daemon.json").read_bytes())["pid"] == process.pid:
                process.returncode = 0  # it goes on without us: nothing here waits for its end
                return process.pid
        time.sleep(_POLL_S)
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    raise DaemonFailed(
        f"the daemon did not serve within {timeout_s:.0f} s: {_tail(log.read_text(errors='replace'))}",
        f"All of it: {log}",
    )


def stop_daemon(home: Home, *, timeout_s: float = 20.0) -> bool:
    """Ask the daemon to stop and wait for it; False if none was running.

    Raises:
        DaemonFailed: it still runs after `timeout_s`.
    """
    pid = home.daemon_pid()
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    clock = SystemClock()
    end = clock.monotonic() + timeout_s
    while clock.monotonic() < end:
        if home.daemon_pid() is None:
            return True
        time.sleep(_POLL_S)
    raise DaemonFailed(
        f"process {pid} still runs after {timeout_s:.0f} s",
        f"Look at {home.file('logs')}; `kill -9 {pid}` ends it.",
    )


def _tail(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-600:] or "it said nothing"
