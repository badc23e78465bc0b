"""The order of effects of one run: records wait, go into the journal in packs, and let the commands behind them out.

Rules. One pack is on its way at a time; what comes meanwhile waits for the next (group commit). A command leaves when every record that was there
before it is durable, and commands leave in order; with nothing on its way they leave at once. An announcement promises nothing and carries
nothing: it needs only that the run, its plan and its owner are in the journal, so bids come in while the record that made the
subtask ready is being written. A core, so that the simulated world and `journal_store` keep the very same order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from mesh.errors import MeshError
from protocol.messages import Announce, NamedRef
from protocol.records import (
    RECORDS_PER_MESSAGE_MAX,
    Accepted,
    AttemptFailed,
    Awarded,
    Owned,
    PlanAdopted,
    PlanRevised,
    Record,
    RunClosed,
    RunOpened,
)

from .orders import Command, Say, SayAll

__all__ = ["Durable", "Lane"]

_PACK_MAX: Final = RECORDS_PER_MESSAGE_MAX - 1
"""Records in one message; the link to the message before takes a place."""
_VALUES_MAX: Final = 8_000
"""Values in one message, by estimate; what is sealed may hold 10,000 (`protocol.limits.MSGPACK_NODES`)."""

_GROUNDS: Final = (RunOpened, PlanAdopted, PlanRevised, Owned)

Durable: TypeAlias = tuple[int, Record]
"""A record that is in the journal, and its number within its run (from 1)."""


class Lane:
    """One run.

    Args:
        seq: sequence number of the journal's last message of the run.
        count: records of the run that are in the journal.
    """

    def __init__(self, seq: int = 0, count: int = 0) -> None:
        self.seq = seq
        self.count = count
        self.waiting: deque[Record | list[Command]] = deque()
        self.flying: Sequence[Record] = ()
        self.closed = False
        self._grounds = 0
        """Records on the way without which nothing may be said at all."""

    def push(self, records: Sequence[Record], commands: Sequence[Command]) -> Sequence[Command]:
        """What a step led to; returns the commands that may leave at once."""
        if self.closed:
            return ()
        self.waiting += records
        self._grounds += sum(isinstance(record, _GROUNDS) for record in records)
        if not commands:
            return ()
        if not self.waiting and not self.flying:
            return commands
        early = [command for command in commands if _is_offer(command)] if not self._grounds else []
        rest = [command for command in commands if not _is_offer(command)] if early else list(commands)
        if rest:
            self.waiting.append(rest)
        return early

    def take(self) -> Sequence[Record]:
        """The next pack, which is on its way from now on; empty when nothing waits."""
        assert not self.flying, "a pack is on its way"
        records: list[Record] = []
        held: list[Command] = []
        values = 0
        while self.waiting and len(records) < _PACK_MAX:
            head = self.waiting[0]
            if isinstance(head, list):
                held += head
            else:
                values += weight(head)
                if records and values > _VALUES_MAX:
                    break
                records.append(head)
            self.waiting.popleft()
        if held:
            # Commands between the records of a pack go out behind it: later than they may, never earlier.
            self.waiting.appendleft(held)
        self.flying = records
        return records

    def sealed(self, seal: Callable[[Sequence[Record]], bytes]) -> bytes:
        """The pack as a journal message, smaller if it does not fit; nothing more of the lane may be written if not even one record does.

        Raises:
            MeshError: E_TOO_LARGE, for the one record that is left of it.
        """
        while True:
            records = self.flying
            try:
                return seal(records)
            except MeshError:
                if len(records) == 1:
                    raise
                self.halve()

    def halve(self) -> Sequence[Record]:
        """The pack does not fit into a message after all: its first half goes now, the rest next. Empty when it is a single record."""
        keep = len(self.flying) // 2
        self.waiting.extendleft(reversed(self.flying[keep:]))
        self.flying = self.flying[:keep]
        return self.flying

    def written(self) -> tuple[list[Durable], list[Command]]:
        """The pack is durable: its records with their numbers, and the commands that it let out."""
        durable = list(enumerate(self.flying, self.count + 1))
        self.count += len(self.flying)
        self._grounds -= sum(isinstance(record, _GROUNDS) for record in self.flying)
        self.flying = ()
        commands: list[Command] = []
        while self.waiting and isinstance(head := self.waiting[0], list):
            commands += head
            self.waiting.popleft()
        return durable, commands

    def close(self) -> None:
        """The run is somebody else's: nothing of it leaves any more."""
        self.closed = True
        self.waiting.clear()
        self.flying = ()


def _is_offer(command: Command) -> bool:
    return isinstance(command, (Say, SayAll)) and isinstance(command.item, Announce)


def weight(record: Record) -> int:
    """About how many values a record is."""
    if isinstance(record, Awarded):
        return 16 + 10 * len(record.bids)
    if isinstance(record, (PlanAdopted, PlanRevised)):
        return 12 + sum(10 + len(entry.needs) for entry in record.subtasks)
    if isinstance(record, RunOpened):
        return 16 + 9 * len(record.inputs) + 4 * len(record.skipped)
    files: list[NamedRef] = []
    if isinstance(record, Accepted):
        files = record.outputs
    elif isinstance(record, RunClosed):
        files = record.deliverables
    elif isinstance(record, AttemptFailed):
        files = record.partial
    return 12 + 9 * len(files) + 5 * len(getattr(record, "declines", ()))
