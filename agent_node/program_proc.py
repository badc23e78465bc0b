"""Shell: one program of this device as a process of its own: limits on it, dead with its parent, marked, and ended with all that it started.

It leads a session of its own and carries a mark in its environment, which all that it starts inherits (see `tree_proc`); it is entered in
`running_proc`, so that an order to halt finds it. Its environment is what is given here and nothing else. Counterparts: `adapters/command`,
`adapters/acp`, `adapters/headless`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from .errors import WorkError
from .running_proc import Running
from .tree_proc import MARK_NAME, kill_all, signal_group

__all__ = ["CpuMeter", "ProgramLimits", "ask_to_end", "environment", "running", "start"]

_LAUNCHER: Final = str(Path(__file__).resolve().parent / "limits_proc.py")
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_ASK_S: Final = 1.0
"""How long after SIGTERM a cancelled program is killed."""


@dataclass(frozen=True, slots=True)
class ProgramLimits:
    """What one run of a program may use. 0: no bound of memory (some runtimes reserve far more than they use)."""

    timeout_s: float = 600.0
    memory: int = 2 << 30
    output_bytes: int = 1 << 30
    files: int = 1024

    def kernel(self) -> dict[str, Any]:
        """As `limits_proc` takes them."""
        return {
            "memory": self.memory,
            "files": self.files,
            "file_bytes": self.output_bytes,
            "cpu_hard_s": int(self.timeout_s * (os.cpu_count() or 1)) + 1,
        }


def environment(home: Path, *more: dict[str, str], path: Iterable[str] = ()) -> dict[str, str]:
    """All that a program gets to know of where it runs: a few variables, `more`, and a mark of its own. `path`: looked into before the system's."""
    found = {"PATH": ":".join([*path, _PATH]), "LANG": "C.UTF-8", "HOME": str(home)}
    for given in more:
        found.update(given)
    return {**found, MARK_NAME: os.urandom(8).hex()}


async def start(
    argv: list[str],
    env: dict[str, str],
    folder: Path,
    limits: ProgramLimits,
    *,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    line_bytes: int = 1 << 16,
) -> Process:
    """Start it in `folder`, with a pipe as its standard input. `env` is from `environment`; `line_bytes`: the longest line that is read from a piped `stdout`.

    Raises:
        WorkError: E_COMMAND, the system refused.
    """
    launch = {"parent": os.getpid(), "limits": limits.kernel(), "argv": argv, "env": env}
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            _LAUNCHER,
            json.dumps(launch),
            stdin=asyncio.subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env={"LANG": "C.UTF-8", MARK_NAME: env[MARK_NAME]},
            start_new_session=True,
            limit=line_bytes,
        )
    except OSError as error:
        raise WorkError("E_COMMAND", f"the program cannot be started: {error.strerror}", again=True) from None


@contextlib.asynccontextmanager
async def running(
    argv: list[str],
    env: dict[str, str],
    folder: Path,
    limits: ProgramLimits,
    *,
    agent: str,
    entered: Running | None,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    line_bytes: int = 1 << 16,
) -> AsyncIterator[Process]:
    """The process while the block runs; when the block is over, however it ends, nothing of it runs any more.

    Raises:
        WorkError: E_COMMAND, E_HALTED: it cannot, or may not, be started.
    """
    mark = env[MARK_NAME]
    if entered is not None:
        entered.begin(mark, agent)
    try:
        process = await start(argv, env, folder, limits, stdout=stdout, stderr=stderr, line_bytes=line_bytes)
        try:
            if entered is not None:
                entered.started(mark, process.pid)
            yield process
        finally:
            kill_all(process.pid if process.returncode is None else None, mark)
            await process.wait()
            kill_all(None, mark)
    finally:
        if entered is not None:
            entered.ended(mark)


async def ask_to_end(process: Process) -> None:
    """Ask it to end, and wait a moment; what is left is killed by `running`."""
    signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ASK_S):
            await process.wait()


class CpuMeter:
    """Processor time of programs since it was made: of all that ended meanwhile, so no more than one can have used in that time."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self._before = _children_cpu_s()

    def used_s(self) -> float:
        """Seconds so far."""
        most = (asyncio.get_running_loop().time() - self._began) * (os.cpu_count() or 1)
        return min(most, max(0.0, _children_cpu_s() - self._before))


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system
