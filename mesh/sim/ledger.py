"""The referee of a simulated world: knows the rules, not the code. It sees what becomes durable and what leaves, and nothing else.

It keeps its own few sets instead of the fold's state, so that a mistake in the fold is one that it can see.
"""

from __future__ import annotations

from protocol.messages import Announce, Award, Item, ResultAck
from protocol.records import (
    Accepted,
    AttemptFailed,
    Awarded,
    CancelRequested,
    LateResult,
    Owned,
    PlanAdopted,
    PlanRevised,
    Record,
    Refused,
    Rejected,
    RunClosed,
    RunOpened,
    RunPaused,
    RunResumed,
    SubtaskCancelled,
    SubtaskCancelRequested,
    SubtaskFailed,
)

__all__ = ["Broken", "Ledger"]

Fence = tuple[int, int, str]
"""attempt, epoch, node"""


class Broken(AssertionError):
    """An invariant does not hold."""


class Ledger:
    """What is known to be in the journal."""

    def __init__(self) -> None:
        self.opened: set[str] = set()
        self.planned: set[str] = set()
        self.cancelling: set[str] = set()
        self.paused: set[str] = set()
        self.stopping: set[tuple[str, str]] = set()
        """Subtasks that somebody asked to stop."""
        self.hedged: set[tuple[str, str]] = set()
        self.closed: dict[str, str] = {}
        self.epoch: dict[str, int] = {}
        self.subtasks: dict[str, set[str]] = {}
        self.live: dict[tuple[str, str], set[Fence]] = {}
        """What holds a subtask: one attempt, or two where the first is late."""
        self.awarded: set[tuple[str, str, int, int]] = set()
        self.settled: set[tuple[str, str, int, int]] = set()
        self.terminal: dict[tuple[str, str], str] = {}
        self.accepted = 0
        self.revised = 0
        self.late = 0
        self._writer: dict[str, object] = {}
        self._newest: dict[tuple[str, str], int] = {}

    # --- the journal ---

    def durable(self, run: str, record: Record, writer: object) -> None:
        """A record is in the journal; `writer` tells processes apart.

        Raises:
            Broken: it may not be there.
        """
        if isinstance(record, RunOpened):
            if run in self.opened:
                raise Broken(f"run {run} is opened twice")
            self.opened.add(run)
            self.epoch[run] = record.epoch
            self._writer[run] = writer
            return
        if run not in self.opened:
            raise Broken(f"{record.k} before run.opened")
        if run in self.closed and not isinstance(record, LateResult):
            raise Broken(f"{record.k} after run.closed")
        if self._writer[run] != writer and not isinstance(record, Owned):
            raise Broken(f"{record.k} of another process, which has not taken the run")
        self._writer[run] = writer
        if isinstance(record, PlanAdopted):
            self.subtasks.setdefault(run, set()).update(entry.id for entry in record.subtasks)
            if record.part == record.parts:
                self.planned.add(run)
        elif isinstance(record, Owned):
            if record.epoch <= self.epoch[run]:
                raise Broken(f"epoch {record.epoch} after {self.epoch[run]}")
            self.epoch[run] = record.epoch
        elif isinstance(record, CancelRequested):
            self.cancelling.add(run)
        elif isinstance(record, RunPaused):
            self.paused.add(run)
        elif isinstance(record, RunResumed):
            self.paused.discard(run)
        elif isinstance(record, RunClosed):
            self._close(run, record)
        else:
            self._subtask(run, record)

    def _revised(self, run: str, record: PlanRevised) -> None:
        place = (run, record.subtask)
        if place in self.terminal or place in self.live or place in self.stopping or run in self.cancelling:
            raise Broken(f"{record.subtask}: revised while it is no longer open")
        known = self.subtasks[run]
        fresh = {entry.id for entry in record.subtasks} - {record.subtask}
        if fresh & known:
            raise Broken(f"{record.subtask}: revised with {fresh & known}, which the plan has already")
        known |= fresh
        self.revised += 1
        self.hedged.discard(place)

    def _close(self, run: str, record: RunClosed) -> None:
        open_ = [name for name in self.subtasks.get(run, ()) if (run, name) not in self.terminal]
        if open_:
            raise Broken(f"run {run} is closed while {open_} have not ended")
        self.closed[run] = record.outcome

    def _subtask(self, run: str, record: Record) -> None:
        place = (run, getattr(record, "subtask", ""))
        if isinstance(record, LateResult):
            if (record.attempt, record.epoch, record.node) in self.live.get(place, ()):
                raise Broken(f"{place[1]}: a result of the attempt that holds is called late")
            self.late += 1
            return
        if place in self.terminal:
            raise Broken(f"{record.k} for {place[1]}, which has ended as {self.terminal[place]}")
        if isinstance(record, PlanRevised):
            self._revised(run, record)
        elif isinstance(record, SubtaskCancelRequested):
            self.stopping.add(place)
        elif isinstance(record, Awarded):
            self._awarded(run, place, record)
        elif isinstance(record, (Accepted, Refused, AttemptFailed, Rejected)):
            held = self.live.get(place, set())
            if (record.attempt, record.epoch, record.node) not in held:
                raise Broken(f"{place[1]}: {record.k} of an attempt that does not hold")
            held.discard((record.attempt, record.epoch, record.node))
            if not held:
                self.live.pop(place)
            self.settled.add((*place, record.attempt, record.epoch))
            if isinstance(record, Accepted):
                if held:
                    raise Broken(f"{place[1]}: accepted while {held} holds it, too")
                self.terminal[place] = record.k
                self.accepted += 1
        elif isinstance(record, (SubtaskFailed, SubtaskCancelled)):
            self._over(run, place, record)

    def _awarded(self, run: str, place: tuple[str, str], record: Awarded) -> None:
        if run in self.paused or run in self.cancelling or place in self.stopping:
            raise Broken(f"{place[1]}: awarded although somebody asked that it is not")
        held = self.live.get(place, set())
        if held and not (record.hedge and len(held) == 1 and record.node not in {one[2] for one in held}):
            raise Broken(f"{place[1]}: awarded while {held} holds it")
        if record.hedge and not held:
            raise Broken(f"{place[1]}: hedged, and nothing holds it")
        if record.hedge and place in self.hedged:
            raise Broken(f"{place[1]}: hedged twice")
        if record.hedge:
            self.hedged.add(place)
        if record.epoch != self.epoch[run]:
            raise Broken(f"{place[1]}: awarded in epoch {record.epoch} of {self.epoch[run]}")
        if record.attempt <= self._newest.get(place, 0):
            raise Broken(f"{place[1]}: attempt {record.attempt} is not new")
        self._newest[place] = record.attempt
        self.live.setdefault(place, set()).add((record.attempt, record.epoch, record.node))
        self.awarded.add((*place, record.attempt, record.epoch))

    def _over(self, run: str, place: tuple[str, str], record: SubtaskFailed | SubtaskCancelled) -> None:
        asked = run in self.cancelling or place in self.stopping
        if isinstance(record, SubtaskCancelled) and not asked:
            raise Broken(f"{place[1]}: cancelled although nobody asked for it")
        if isinstance(record, SubtaskFailed) and place in self.live:
            raise Broken(f"{place[1]}: failed while {self.live[place]} holds it")
        held = self.live.pop(place, set())
        if len(held) > 1:
            raise Broken(f"{place[1]}: cancelled while {held} hold it")
        self.settled |= {(*place, attempt, epoch) for attempt, epoch, _ in held}
        self.terminal[place] = record.k

    # --- what leaves ---

    def stands(self, run: str) -> None:
        """The client is told that its run is there.

        Raises:
            Broken: it is not in the journal.
        """
        if run not in self.opened:
            raise Broken(f"run {run} is said to stand, and is not in the journal")

    def ended(self, run: str) -> None:
        """The run is said to be over.

        Raises:
            Broken: its journal does not say so.
        """
        if run not in self.closed:
            raise Broken(f"run {run} is said to have ended, and its journal does not say so")

    def said(self, run: str, item: Item) -> None:
        """A coordinator says something.

        Raises:
            Broken: what justifies it is not in the journal.
        """
        if isinstance(item, Announce):
            if run not in self.planned:
                raise Broken(f"{item.subtask} is announced before its plan is in the journal")
        elif isinstance(item, Award):
            if (run, item.subtask, item.attempt, item.epoch) not in self.awarded:
                raise Broken(f"the award of {item.subtask} leaves before it is in the journal")
        elif (
            isinstance(item, ResultAck)
            and item.applied
            and (run, item.subtask, item.attempt, item.epoch) not in self.settled
        ):
            raise Broken(f"the end of {item.subtask} is acknowledged before it is in the journal")

    def final(self) -> None:
        """The world is at rest.

        Raises:
            Broken: something is still held, or did not end.
        """
        if self.live:
            raise Broken(f"attempts hold although all runs have ended: {self.live}")
        for run, names in self.subtasks.items():
            for name in names:
                if (run, name) not in self.terminal:
                    raise Broken(f"{name} has no end")
