"""The hash chain of a run's journal: what to write as the link to the message before, and whether what is read hangs together.

Rules. Each message names the SHA-256 of the whole message before it and the number of its first record; its author is the run's owner. A journal of
before the chain folds as it is, but once a message is linked all later ones are. Whatever does not fit (a message that is missing, doubled,
moved, changed, of another run or signed by somebody else) is a `JournalBroken` that names the message: the run is halted, nothing is guessed.
What is cut off at the end shows against the checkpoint (`Head`), which is kept apart from the journal. Counterparts: `journal_store` and `sim_journal` read and
write, `fold` makes the state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.messages import Head
from protocol.records import NO_LINK, RECORDS_VERSION, Chain, Record

from .errors import InvalidTransition, JournalBroken
from .fold import apply
from .state import RunState

if TYPE_CHECKING:
    from mesh.wire import Pack

__all__ = ["Follower", "Link", "follow_on"]


@dataclass(frozen=True, slots=True)
class Link:
    """The end of a journal as far as it was read or written."""

    seq: int = 0
    """The last message's sequence number; 0: there is none yet."""
    digest: bytes = NO_LINK
    """SHA-256 of that message."""
    count: int = 0
    """Records so far."""
    linked: bool = False
    """Whether a message was linked, so that all later ones must be."""

    def chain(self, at_ms: int) -> Chain:
        """What the next message begins with."""
        return Chain(at_ms=at_ms, prev=self.digest, first=self.count + 1, version=RECORDS_VERSION)


def follow_on(link: Link, seq: int, raw: bytes, records: int) -> Link:
    """The end of the journal after one more linked message."""
    return Link(seq, hashlib.sha256(raw).digest(), link.count + records, linked=True)


class Follower:
    """Reads one run's journal in order, message by message, and folds it.

    Args:
        run: the run.
        state: what was folded so far, and
        link: the end of what was folded so far: both of a snapshot that holds, or neither.
        head: the checkpoint that the journal must hold, if one is known.
        observe: told each record with the state that it made.
    """

    def __init__(
        self,
        run: str,
        state: RunState | None = None,
        link: Link | None = None,
        *,
        head: Head | None = None,
        observe: Callable[[RunState, Record], None] | None = None,
    ) -> None:
        self.run = run
        self.state = state
        self.link = link or Link()
        self._head = head if head is not None and head.seq > self.link.seq else None
        self._observe = observe

    def take(self, seq: int, raw: bytes, pack: Pack) -> list[Record]:
        """The next message, verified and decoded; its records.

        Raises:
            JournalBroken: it does not follow from what came before.
        """
        self._check_link(seq, pack)
        state = self.state
        for record in pack.records:
            try:
                state = apply(state, record)
            except InvalidTransition as error:
                raise self.broken(seq, error.message) from error
            if self._observe is not None:
                self._observe(state, record)
        assert state is not None
        if state.run != self.run:
            raise self.broken(seq, f"it opens another run, {state.run}")
        if pack.author != state.owner:
            raise self.broken(
                seq, f"its author {pack.author[:8]} is not the owner of the run, {state.owner[:8]}"
            )
        self.state = state
        self.link = self._behind(seq, raw, pack)
        return pack.records

    def pass_by(self, seq: int, raw: bytes, pack: Pack) -> None:
        """The next message, for a reader who wants its records and no state: whether it hangs together with what came before.

        Raises:
            JournalBroken: it does not follow from what came before.
        """
        self._check_link(seq, pack)
        self.link = self._behind(seq, raw, pack)

    def _behind(self, seq: int, raw: bytes, pack: Pack) -> Link:
        count = self.link.count + len(pack.records)
        digest = hashlib.sha256(raw).digest()
        head = self._head
        if head is not None and seq >= head.seq:
            if (seq, digest, count) != (head.seq, head.digest, head.count):
                raise self.broken(
                    seq, f"it is not the message {head.seq} that its owner's checkpoint names: a fork"
                )
            self._head = None
        return Link(seq, digest, count, linked=self.link.linked or pack.chain is not None)

    def _check_link(self, seq: int, pack: Pack) -> None:
        before, chain = self.link, pack.chain
        if seq <= before.seq:
            raise self.broken(seq, f"it stands behind message {before.seq} and has a lower number")
        if chain is None:
            if before.linked:
                raise self.broken(seq, "it is not linked to the message before it, although that one is")
            return
        if chain.first != before.count + 1:
            said = f"it begins with record {chain.first}, and {before.count} are before it"
            kind = (
                "messages are missing" if chain.first > before.count else "messages are repeated or of a fork"
            )
            raise self.broken(seq, f"{said}: {kind}")
        if chain.prev != before.digest:
            raise self.broken(
                seq, "it was written behind another message than the one that is before it: a fork"
            )

    def finish(self) -> None:
        """There are no more messages.

        Raises:
            JournalBroken: there were more when the checkpoint was written.
        """
        if self._head is not None:
            raise self.broken(
                0,
                f"it has {self.link.count} records, and its owner's checkpoint says that there were {self._head.count}:"
                " the rest is missing",
            )

    def broken(self, seq: int, why: str, hint: str = "") -> JournalBroken:
        """The error for what was found at a message."""
        return JournalBroken(self.run, seq, why, hint)
