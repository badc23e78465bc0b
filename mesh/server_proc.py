"""Shell: find, start, watch, restart and stop the embedded nats-server as a child process.

Rules. One server a state directory: an flock on it is held by us and inherited by the server, so that an orphan still holds it. The server dies
with this process (Linux: the kernel sends it SIGTERM) and lives in a session of its own, so that Ctrl-C in the terminal reaches us
first. A port, once found, is kept over restarts. What the server says on its way down becomes one of our errors. Start it from
the main thread: the kernel counts the *thread's* end as the parent's. Counterpart: `server.py`, which says what is in its config.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .clock import Clock, SystemClock
from .errors import BadSettings, DiskFull, PortTaken, ServerBinaryMissing, ServerFailed, StateLocked
from .server import JS_KEY_ENV, ServerSettings, render_config, store_key_text
from .server_binary import find_binary, server_version
from .server_files import (
    MIN_FREE_BYTES,
    check_space,
    delete_ports_files,
    free_bytes,
    from_os_error,
    listening_port,
    prepare,
    read_from,
    size_of,
    write_private,
)

__all__ = ["NatsServer"]

_START_S: Final = 20.0
_LOCK_S: Final = 5.0
_POLL_S: Final = 0.005
_FIRST_BACKOFF_S: Final = 0.1
_MAX_BACKOFF_S: Final = 5.0
_STEADY_S: Final = 60.0
_MAX_FAILED_STARTS: Final = 10
_CHECK_S: Final = 2.0
_WRITE_ERROR: Final = "critical write error"
_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


class NatsServer:
    """One embedded server. `start`, then let a task own `run()`, and `stop` at the end."""

    def __init__(self, settings: ServerSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._process: asyncio.subprocess.Process | None = None
        self._lock: int | None = None
        self._port: int | None = None
        self._log_from = 0
        self._stopping = False
        self.disk_full = False
        """The server could not write to its disk; `run` starts it anew as soon as there is space."""
        self.restarts = 0
        """How often the server had to be started again since `start`."""

    @property
    def port(self) -> int:
        """The port it listens on (after `start`)."""
        if self._port is None:
            raise ServerFailed("the embedded server has not been started", "Call start() first.")
        return self._port

    @property
    def url(self) -> str:
        """Where this device's own clients connect."""
        host = self._settings.host
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # read, not bound
        return f"tls://[{local}]:{self.port}" if ":" in local else f"tls://{local}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start the server and wait until it takes connections and its store is ready.

        Raises:
            PortTaken: another program listens on the port.
            DiskFull: the state directory's disk is full.
            StateLocked: another server uses the state directory.
            ServerBinaryMissing: no usable nats-server.
            ServerFailed: anything else, with the server's own words.
        """
        if self.pid is not None:
            return
        self._stopping = False
        binary = find_binary(self._settings.binary)
        await server_version(binary)
        try:
            prepare(self._settings.state_dir)
            await self._take_lock()
            await self._spawn(binary)
        except BaseException as error:
            await self.stop(grace_s=2)
            if isinstance(error, OSError):
                raise from_os_error(error, self._settings.state_dir) from error
            raise

    async def run(self) -> None:
        """Watch the server and start it again when it dies, until `stop`; a cancellation stops it.

        Raises:
            ServerFailed: it did not come up again after ten tries in a row.
        """
        backoff, failures, since = _FIRST_BACKOFF_S, 0, self._clock.monotonic()
        try:
            while True:
                await self._watch()
                if self._stopping:
                    return
                if self._clock.monotonic() - since > _STEADY_S:
                    backoff, failures = _FIRST_BACKOFF_S, 0
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, _MAX_BACKOFF_S)
                if self._stopping:
                    return
                try:
                    await self._spawn(find_binary(self._settings.binary))
                except (PortTaken, DiskFull, ServerFailed, ServerBinaryMissing, OSError) as error:
                    failures += 1
                    if failures >= _MAX_FAILED_STARTS:
                        if isinstance(error, OSError):
                            raise from_os_error(error, self._settings.state_dir) from error
                        raise
                else:
                    self.restarts += 1
                    failures, since = 0, self._clock.monotonic()
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def _watch(self) -> None:
        """Return when the process has ended; end it when its store must be opened anew."""
        seen = self._log_from
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_S):
                    await self.wait_exit()
                    return
            new, seen = read_from(self._settings.log_file, seen)
            if _WRITE_ERROR in new.lower():
                self.disk_full = True
            # A stream that could not be written once takes no more writes, even when there is space again.
            if (
                self.disk_full
                and self._process is not None
                and free_bytes(self._settings.state_dir) >= MIN_FREE_BYTES
            ):
                self.disk_full = False
                with contextlib.suppress(ProcessLookupError):
                    self._process.terminate()

    async def wait_exit(self) -> int:
        """Wait until the server's process ends; its return code (negative: the signal), 0 if there is none."""
        return 0 if self._process is None else await self._process.wait()

    def reload(self, settings: ServerSettings) -> None:
        """Take other settings on while running: accounts, certificates, payload and store sizes.

        The server keeps its old settings if it does not like the new ones, and says so only in its log.
        """
        self._settings = settings
        write_private(settings.config_file, render_config(settings, port=self._port))
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGHUP)

    async def stop(self, grace_s: float = 10.0) -> None:
        """End the server: a request first, after `grace_s` seconds by force. Harmless when it does not run."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(grace_s):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        delete_ports_files(self._settings.state_dir)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _take_lock(self) -> None:
        if self._lock is not None:
            return
        path = self._settings.state_dir / ".server.lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = self._clock.monotonic() + _LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # The server of a daemon that was just killed may still be closing its store.
                if self._clock.monotonic() >= deadline:
                    os.close(lock)
                    raise StateLocked(str(self._settings.state_dir)) from None
                await asyncio.sleep(0.05)
            else:
                self._lock = lock
                return

    async def _spawn(self, binary: Path) -> None:
        settings = self._settings
        assert self._lock is not None
        write_private(settings.config_file, render_config(settings, port=self._port))
        delete_ports_files(settings.state_dir)
        self._log_from = size_of(settings.log_file)
        stderr = os.open(
            settings.state_dir / "nats-server.err",
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
            0o600,
        )
        try:
            self._process = await asyncio.create_subprocess_exec(
                binary,
                "-c",
                str(settings.config_file),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd=settings.state_dir,
                env={**_few_cores(), **os.environ, JS_KEY_ENV: store_key_text(settings.store_key)},
                start_new_session=True,
                pass_fds=(self._lock,),
                preexec_fn=_die_with_parent(os.getpid()),
            )
        finally:
            os.close(stderr)
        deadline = self._clock.monotonic() + _START_S
        while self._clock.monotonic() < deadline:
            if self._process.returncode is not None:
                raise self._explain()
            port = listening_port(settings.state_dir, self._process.pid)
            if port is not None:
                self._port = port
                return
            await asyncio.sleep(_POLL_S)
        check_space(settings.state_dir)
        said = self._said().strip().splitlines()
        raise ServerFailed(
            f"nats-server did not come up in {_START_S:.0f} s; its last words: {' '.join(said[-1:])}"
        )

    def _said(self) -> str:
        """What the server has said since this start."""
        complaints, _ = read_from(self._settings.state_dir / "nats-server.err", 0)
        log, _ = read_from(self._settings.log_file, self._log_from)
        return complaints + log

    def _explain(self) -> Exception:
        """The error that fits what the server said before it ended."""
        said = self._said()
        lowered = said.lower()
        wanted = self._port or self._settings.port
        if "address already in use" in lowered:
            return PortTaken(self._settings.host, wanted)
        if "no space left on device" in lowered:
            return DiskFull(f"nats-server could not start: the disk of {self._settings.state_dir} is full")
        if "cannot assign requested address" in lowered:
            return BadSettings(
                f"this device has no address {self._settings.host}", "Give one that `ip addr` lists."
            )
        lines = [line for line in said.splitlines() if line.strip()]
        fatal = [line for line in lines if "[FTL]" in line or "[ERR]" in line] or lines
        reason = fatal[-1].split("] ", 2)[-1].strip() if fatal else "it said nothing"
        code = self._process.returncode if self._process else None
        return ServerFailed(f"nats-server ended at once (exit {code}): {reason}")


def _few_cores() -> dict[str, str]:
    """On one or two cores the server gets one: its idle threads, which spin for work, would take the other from the nodes beside it."""
    return {"GOMAXPROCS": "1"} if len(os.sched_getaffinity(0)) <= 2 else {}


def _die_with_parent(parent: int) -> Callable[[], None]:
    # Runs between fork and exec, where only system calls are safe: everything it needs is already at hand.
    def arrange() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
            if os.getppid() != parent:  # the parent died before the call
                os._exit(1)

    return arrange
