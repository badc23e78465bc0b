"""What is too old to be obeyed: the highest epoch of each run, and the newest attempt of each subtask, that this node has met.

Rules. An award of a lower epoch than one seen comes from an owner that was deposed: `E_EPOCH`. An award of an attempt that is not newer than
one seen for its subtask has been answered before: `E_STALE`. Memory is bounded: whole runs are forgotten, the longest untouched first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from .events import AttemptKey

__all__ = ["RUNS_MAX", "SUBTASKS_MAX", "Fences"]

RUNS_MAX = 1024
SUBTASKS_MAX = 50_000
"""Over all runs: twelve times the largest run that is planned for."""


@dataclass(slots=True)
class _Fence:
    epoch: int = 0
    newest: dict[str, tuple[int, int]] = field(default_factory=dict)


class Fences:
    """The memory of one node."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, _Fence] = OrderedDict()
        self._subtasks = 0

    def refuses(self, key: AttemptKey) -> tuple[str, str] | None:
        """Why an award of this attempt is too old, or None."""
        fence = self._runs.get(key.run)
        if fence is None:
            return None
        if key.epoch < fence.epoch:
            return "E_EPOCH", f"epoch {key.epoch} has passed; {fence.epoch} owns this run"
        newest = fence.newest.get(key.subtask)
        if newest is not None and (key.epoch, key.attempt) <= newest:
            return "E_STALE", f"attempt {key.attempt} was answered before; the newest here is {newest[1]}"
        return None

    def pass_(self, key: AttemptKey) -> bool:
        """Remember this attempt; whether its epoch is new for its run."""
        fence, new = self._touch(key.run, key.epoch)
        mark = (key.epoch, key.attempt)
        old = fence.newest.get(key.subtask)
        if old is None:
            self._subtasks += 1
        if old is None or mark > old:
            fence.newest[key.subtask] = mark
        self._trim()
        return new

    def epoch(self, run: str, epoch: int) -> None:
        """Remember that this epoch of a run was seen."""
        self._touch(run, epoch)
        self._trim()

    def epochs(self) -> list[tuple[str, int]]:
        """Each remembered run with its highest epoch, the longest untouched first."""
        return [(run, fence.epoch) for run, fence in self._runs.items()]

    def highest(self, run: str) -> int:
        """The highest epoch seen of a run; 0 when none."""
        fence = self._runs.get(run)
        return fence.epoch if fence else 0

    def _touch(self, run: str, epoch: int) -> tuple[_Fence, bool]:
        fence = self._runs.get(run)
        if fence is None:
            fence = self._runs[run] = _Fence()
        self._runs.move_to_end(run)
        new = epoch > fence.epoch
        if new:
            fence.epoch = epoch
        return fence, new

    def _trim(self) -> None:
        while len(self._runs) > 1 and (len(self._runs) > RUNS_MAX or self._subtasks > SUBTASKS_MAX):
            _, dropped = self._runs.popitem(last=False)
            self._subtasks -= len(dropped.newest)
