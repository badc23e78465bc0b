"""Shell: which processes this node's agents are, written down, so that they can be ended by somebody else when the daemon cannot do it.

Rules. A process is entered by its mark (see `tree_proc`) before it is started, and with its id and the time of its start as soon as it has one; the
entry goes when nothing of it runs any more. Killing believes the kernel and not the file: a process is killed only if it carries the mark, or
is the one that was entered (same id, same start, same boot), or was started by that one. So a reused process id is never hit. Counterparts:
`worker_proc`, `adapters/command` (enter), `node` (kills on an order to halt), `halting_proc` (kills without the daemon).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import WorkError
from .tree_proc import dead, descendants, marked_with, signal_group

__all__ = ["FOLDER", "Entry", "Running", "entries", "kill_entries", "still_there"]

FOLDER: Final = "running"
"""Below the state directory."""
_ROUNDS: Final = 6
"""How often to look again for what was started while we killed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One process that was started for an agent. `pid` 0: it had none yet when this was written."""

    mark: str
    agent: str
    pid: int = 0
    start: str = ""
    boot: str = ""


class Running:
    """The entries of one node, kept in `folder`, one small file each."""

    def __init__(self, folder: Path, *, forbidden_by: Path | None = None) -> None:
        """Args: `forbidden_by` is a file; while it is there nothing may be started."""
        self.halted = False
        self._folder = folder
        self._forbidden_by = forbidden_by
        self._entries: dict[str, Entry] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def end_left_over(self) -> int:
        """Kill what an earlier daemon on this home has left behind, and forget it; returns how many processes that were."""
        left = entries(self._folder)
        count = kill_entries(left)
        for entry in left:
            self._unlink(entry.mark)
        return count

    def begin(self, mark: str, agent: str) -> None:
        """A process is about to be started.

        Raises:
            WorkError: E_HALTED, nothing may be started.
        """
        if self.halted or (self._forbidden_by is not None and self._forbidden_by.exists()):
            raise WorkError("E_HALTED", "the agents of this node were stopped by order", again=True)
        self._write(Entry(mark, agent))

    def started(self, mark: str, pid: int) -> None:
        """It runs, and leads a session of its own."""
        self._write(Entry(mark, self._entries[mark].agent, pid, start_of(pid), boot()))

    def ended(self, mark: str) -> None:
        """Nothing of it runs any more; harmless when repeated."""
        if self._entries.pop(mark, None) is not None:
            self._unlink(mark)

    def kill(self) -> int:
        """Kill everything that is entered; returns how many processes that were. Takes a moment: call it in a thread."""
        return kill_entries(list(self._entries.values()))

    def _write(self, entry: Entry) -> None:
        self._entries[entry.mark] = entry
        path = self._folder / f"{entry.mark}.json"
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps({name: getattr(entry, name) for name in entry.__slots__}))
            temporary.replace(path)
        except OSError as error:
            raise WorkError(
                "E_DISK", f"a process cannot be entered in {self._folder}: {error.strerror}", again=True
            ) from None

    def _unlink(self, mark: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder / f"{mark}.json").unlink()


def entries(folder: Path) -> list[Entry]:
    """What is written down; what cannot be read is left out."""
    found: list[Entry] = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            value = json.loads(path.read_text(encoding="utf-8"))
            found.append(
                Entry(
                    str(value["mark"]),
                    str(value["agent"]),
                    int(value["pid"]),
                    str(value["start"]),
                    str(value["boot"]),
                )
            )
    return found


def kill_entries(listed: Iterable[Entry]) -> int:
    """Kill these processes with all that they have started; returns how many were found alive."""
    listed = list(listed)
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        victims = still_there(listed)
        for entry in listed:
            if _is_the_one(entry):
                signal_group(entry.pid, signal.SIGKILL)
        for victim in victims:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(victim, signal.SIGKILL)
        if victims <= killed:
            break
        killed |= victims
    return len(killed)


def still_there(listed: Iterable[Entry]) -> set[int]:
    """Processes of these entries that are alive."""
    listed = list(listed)
    found = marked_with(entry.mark for entry in listed) if listed else set()
    for entry in listed:
        if _is_the_one(entry):
            found |= {entry.pid, *descendants(entry.pid)}
    return {pid for pid in found if pid != os.getpid() and not dead(pid)}


def _is_the_one(entry: Entry) -> bool:
    """Whether the process of this id is the one that was entered, and not a later one that was given its number."""
    return entry.pid > 1 and bool(entry.start) and entry.boot == boot() and start_of(entry.pid) == entry.start


def start_of(pid: int) -> str:
    """When a process was started, in the system's own words; "" if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        if Path("/proc/self/stat").exists():
            return ""
    listed = subprocess.run(  # noqa: S603 - words of our own
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip()


def boot() -> str:
    """Which start of the machine this is; "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
