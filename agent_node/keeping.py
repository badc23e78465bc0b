"""What a node does while nothing can be written to its file: what runs goes on, and no ending is said that could not be kept.

Rules. A step whose records cannot be written is held, with all later ones that have records, in order; their commands leave when the records are on the
file. What needs no record leaves meanwhile: progress, orders to stop, answers. Nothing is dropped but repetitions of endings, which their own
clock says again. Counterparts: `outbox_file` (the file), `node` (tries again now and then), `agent` (takes no new work while there is no room).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from protocol.messages import Cancelled, Failed, Progress, Result

from .errors import OutboxFull
from .events import Command, LocalRecord, Say, Start, Step

__all__ = ["Keeper", "Keeps", "must_outlast"]

log = logging.getLogger("zwerm.agent.outbox")

_ENDINGS: Final = (Result, Failed, Cancelled)


class Keeps(Protocol):
    """Where records go."""

    @property
    def unsynced(self) -> bool:
        """Whether something is written that a power cut would take."""
        ...

    def append(self, records: Iterable[LocalRecord]) -> None:
        """Write records behind what is there, all of them or none.

        Raises:
            OutboxFull: there is no room.
        """
        ...

    def sync(self) -> None:
        """Let what is written outlast a power cut.

        Raises:
            OutboxFull: there is no room.
        """
        ...


class Keeper:
    """The steps that wait for room."""

    def __init__(self, file: Keeps) -> None:
        self._file = file
        self._held: deque[Step] = deque()
        self.full = False
        """Whether there was no room when the file was last written."""

    def admit(self, step: Step) -> list[Command]:
        """Keep a step's records; what of its commands may be carried out now."""
        if not self.full:
            try:
                self._keep(step)
            except OutboxFull as error:
                self.filled(error)
                self._held.append(step)
                return []
            return step.commands
        if step.records or any(isinstance(command, Start) for command in step.commands):
            self._held.append(step)
            return []
        return [
            command
            for command in step.commands
            if not (isinstance(command, Say) and isinstance(command.item, _ENDINGS))
        ]

    def filled(self, error: OutboxFull) -> None:
        """Something could not be written for want of room."""
        if not self.full:
            log.warning("%s; what runs goes on, and its end is said when there is room", error.message)
        self.full = True

    def retry(self) -> Iterator[Command]:
        """Try again; what may be carried out by now."""
        waited = len(self._held)
        while self._held:
            try:
                self._keep(self._held[0])
            except OutboxFull:
                return
            yield from self._held.popleft().commands
        if self.full:
            self.full = False
            log.warning("there is room on the disk again; what waited was written down (%d steps)", waited)

    def _keep(self, step: Step) -> None:
        if step.records:
            self._file.append(step.records)
            step.records = []  # once, if what comes next fails
        if self._file.unsynced and any(map(must_outlast, step.commands)):
            self._file.sync()


def must_outlast(command: Command) -> bool:
    """Whether what was written has to outlast a power cut before this is done.

    Work that may spend no more than was set aside for it: forgotten, it would be begun again when its award comes again, and spend that twice. The word
    that work waits for a person: no lease runs for it from then on, so nobody would ever miss what we forgot.
    """
    if isinstance(command, Say):
        return isinstance(command.item, Progress) and command.item.state == "person"
    return isinstance(command, Start) and command.award.caps is not None
