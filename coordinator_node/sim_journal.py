"""A run's journal in a simulated world, read as the daemon reads it: every message verified, decoded and followed along the hash chain.

Rules. A gap, a fork, or a message that is nobody's halts the world with the explanation that the daemon would give for the run. `Tail` follows each message in the
moment in which it holds; `read` reads a whole journal against the checkpoint that the board has, as whoever takes a run does.
"""

from __future__ import annotations

from collections.abc import Sequence

from mesh.sim.ledger import Broken
from mesh.sim.store import Entry, Head
from mesh.wire import Pack, open_pack
from protocol.errors import Rejected
from protocol.messages import Head as Checkpoint
from protocol.verify import Verifier

from .chain import Follower
from .errors import JournalBroken

__all__ = ["Tail", "read"]


def _opened(verifier: Verifier, run: str, entry: Entry) -> Pack:
    try:
        return open_pack(verifier, run, entry.raw, entry.at_ms)
    except Rejected as error:
        raise Broken(f"message {entry.seq} of run {run} cannot be read: {error}") from error


class Tail:
    """Follows one run's journal while it grows."""

    def __init__(self, verifier: Verifier, run: str) -> None:
        self._verifier = verifier
        self._follower = Follower(run)

    def take(self, entry: Entry) -> None:
        """One more message.

        Raises:
            Broken: it does not follow from what came before.
        """
        try:
            self._follower.pass_by(entry.seq, entry.raw, _opened(self._verifier, self._follower.run, entry))
        except JournalBroken as error:
            raise Broken(error.message) from error


def read(verifier: Verifier, run: str, entries: Sequence[Entry], head: Head | None) -> Follower:
    """A whole journal, folded.

    Args:
        verifier: knows the members.
        run: the run.
        entries: its messages.
        head: what the board said of it before it was read.

    Raises:
        Broken: it does not hang together, or does not hold what it must.
    """
    known = None
    if head is not None:
        known = Checkpoint(
            run=run, seq=head.seq, count=head.records, digest=head.digest, epoch=head.epoch, owner=head.owner
        )
    follower = Follower(run, head=known)
    try:
        for entry in entries:
            records = follower.take(entry.seq, entry.raw, _opened(verifier, run, entry))
            if records != list(entry.records):
                raise Broken(f"message {entry.seq} of run {run} is read as something else than was decided")
        follower.finish()
    except JournalBroken as error:
        raise Broken(error.message) from error
    return follower
