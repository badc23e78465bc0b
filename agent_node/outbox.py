"""Endings that nobody has acknowledged yet: kept, and said again, until the run's owner has them in its journal.

Rules. One entry per attempt. An entry goes when it is acknowledged, or after `KEEP_S` when its run has no owner any more. Counterparts:
`outbox_file` (the same on the disk), `agent` (decides when to say it again).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from protocol.messages import Failed

from .events import AttemptKey, Ended, Fenced, LocalRecord, Terminal, Took
from .fences import Fences

__all__ = ["KEEP_S", "Outbox", "OutboxEntry", "Past", "replay", "restarted"]

RESEND_FIRST_S: Final = 2.0
RESEND_MOST_S: Final = 30.0
KEEP_S: Final = 24 * 3600.0
"""After a day without an acknowledgement the run is taken to be gone."""


@dataclass(slots=True)
class OutboxEntry:
    """One ending. `capability` is "" when it was restored from the file: what it teaches was lost with the process."""

    key: AttemptKey
    ending: Terminal
    at: float
    capability: str = ""
    resends: int = 0

    def resend_at(self, now: float) -> float:
        """When to say it again if nobody acknowledges it: after 2 s, then twice as long each time, at most 30 s."""
        wait = min(RESEND_MOST_S, RESEND_FIRST_S * 2.0 ** min(self.resends, 8))
        self.resends += 1
        return now + wait

    def expired(self, now: float) -> bool:
        """Whether to give up."""
        return now - self.at > KEEP_S


class Outbox:
    """All of one node's unacknowledged endings."""

    def __init__(self) -> None:
        self._entries: dict[AttemptKey, OutboxEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: OutboxEntry) -> None:
        """Keep an ending."""
        self._entries[entry.key] = entry

    def get(self, key: AttemptKey) -> OutboxEntry | None:
        """The ending of an attempt, if it is still unacknowledged."""
        return self._entries.get(key)

    def take(self, key: AttemptKey) -> OutboxEntry | None:
        """Remove and return it."""
        return self._entries.pop(key, None)

    def all(self) -> Iterator[OutboxEntry]:
        """All of them, oldest first."""
        return iter(list(self._entries.values()))


@dataclass(slots=True)
class Past:
    """What a node's file says: unacknowledged endings, attempts that were interrupted (oldest first), and fences."""

    entries: list[OutboxEntry] = field(default_factory=list)
    interrupted: list[AttemptKey] = field(default_factory=list)
    fences: Fences = field(default_factory=Fences)


def replay(records: Iterable[LocalRecord]) -> Past:
    """Fold the records of a node's file, oldest first."""
    took: dict[AttemptKey, None] = {}
    outbox, fences = Outbox(), Fences()
    for record in records:
        if isinstance(record, Fenced):
            fences.epoch(record.run, record.epoch)
            continue
        fences.pass_(record.key)
        if isinstance(record, Took):
            took[record.key] = None
            continue
        took.pop(record.key, None)
        if isinstance(record, Ended):
            outbox.add(OutboxEntry(record.key, record.item, record.at))
        else:
            outbox.take(record.key)
    return Past(list(outbox.all()), list(took), fences)


def restarted(key: AttemptKey) -> Failed:
    """The ending of an attempt that was under way when its node went down."""
    return Failed(
        subtask=key.subtask,
        attempt=key.attempt,
        epoch=key.epoch,
        code="E_RESTARTED",
        message="the node was restarted while it worked on this",
        retryable=True,
    )
