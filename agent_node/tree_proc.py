"""Shell: ending a process with everything that it has started.

A job's processes are found in three ways, since each misses some: the process group, the children of children (through /proc), and a mark in
the environment, which a daemon that left its group and its parent still carries. All of it is asked of the kernel at the moment of killing;
nothing is remembered, so that a reused process id is never hit. Where there is no /proc the process group has to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = [
    "MARK_NAME",
    "dead",
    "descendants",
    "end_descendants",
    "kill_all",
    "marked",
    "marked_with",
    "reap",
    "signal_group",
]

MARK_NAME: Final = "ZWERM_JOB"
"""The environment variable that every process of a job inherits."""
_PROC: Final = Path("/proc")
_ROUNDS: Final = 5
"""How often to look again for what was started while we killed."""


def signal_group(pid: int, number: int) -> None:
    """Signal the process group that `pid` leads; harmless when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def descendants(pid: int) -> list[int]:
    """The children of `pid`, their children, and so on."""
    found: list[int] = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        for task in _listed(_PROC / str(parent) / "task"):
            try:
                children = [int(word) for word in (task / "children").read_text().split()]
            except (OSError, ValueError):
                continue
            found += children
            todo += children
    return found


def _listed(folder: Path) -> list[Path]:
    """The entries of a folder of /proc, which goes with its process at any moment (`Path.glob` raises when it does)."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def marked(mark: str) -> list[int]:
    """Processes of ours whose environment carries the mark."""
    return sorted(marked_with([mark]))


def marked_with(marks: Iterable[str]) -> set[int]:
    """Processes of ours whose environment carries one of the marks."""
    needles = {f"{MARK_NAME}={mark}".encode() for mark in marks}
    found: set[int] = set()
    for process in _listed(_PROC):
        if process.name.isdecimal():
            try:
                if not needles.isdisjoint((process / "environ").read_bytes().split(b"\0")):
                    found.add(int(process.name))
            except OSError:
                continue
    return found


def kill_all(pid: int | None, mark: str) -> int:
    """Kill a process, its group, its descendants and everything marked; returns how many were found. `pid` None: it has ended already."""
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        victims = set(marked(mark))
        if pid is not None:
            victims |= {pid, *descendants(pid)}
            signal_group(pid, signal.SIGKILL)
        victims.discard(os.getpid())
        for victim in victims:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(victim, signal.SIGKILL)
        if victims <= killed:
            break
        killed |= victims
    return len(killed)


def end_descendants(pid: int) -> None:
    """Kill everything that a process has started and leave the process itself (a worker after a job: nothing of it may run on)."""
    for _ in range(_ROUNDS):
        children = [child for child in descendants(pid) if not dead(child)]
        if not children:
            return
        for child in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)


def reap() -> None:
    """Take leave of children of this very process that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def dead(pid: int) -> bool:
    """Whether a process has ended and only waits for its parent to notice."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[:1] == ["Z"]
