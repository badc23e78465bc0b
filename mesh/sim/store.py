"""The journal's store in a simulated world: one log a run, compare-and-set, and every way in which its answer can fail to come.

Rules. An append holds exactly if `expected` is the number of the log's last entry when it ARRIVES, which may be long after it was sent. The answer may be lost
although the entry is written. While the store is full it takes nothing and can still be read. What each client asked and was told is kept, so
that `linear` can judge whether one order of all of it exists.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from protocol.records import Record

from .faults import Faults
from .linear import Call
from .network import Network, Peer
from .timeline import Timeline

__all__ = ["Answer", "Entry", "Store", "Written"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a run's journal."""

    seq: int
    token: Hashable
    """What tells one append's bytes from another's."""
    records: Sequence[Record]
    writer: str
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the store says to an append: `ok` and `conflict` name the log's last entry."""

    what: Literal["ok", "conflict", "full"]
    seq: int = 0
    token: Hashable = None


Written: TypeAlias = Callable[[str, Entry], None]


@dataclass(slots=True)
class _Request:
    peer: Peer
    life: int
    run: str
    token: Hashable
    records: Sequence[Record]
    expected: int
    answer: Callable[[Answer], None]
    call: Call = field(init=False)


class Store:
    """All journals. `written` is told each entry in the moment in which it holds."""

    def __init__(self, timeline: Timeline, faults: Faults, network: Network, written: Written) -> None:
        self._timeline = timeline
        self._faults = faults
        self._network = network
        self._written = written
        self.logs: dict[str, list[Entry]] = {}
        self.full = False
        self.calls: dict[str, list[Call]] = {}
        """By run: every append as its client saw it."""
        self._readers: dict[str, int] = {}
        """The newest life of each client that has read the logs."""

    def records(self, run: str) -> list[Record]:
        """All records of a run, in order."""
        return [record for entry in self.logs.get(run, ()) for record in entry.records]

    def append(
        self,
        peer: Peer,
        life: int,
        run: str,
        token: Hashable,
        records: Sequence[Record],
        expected: int,
        answer: Callable[[Answer], None],
    ) -> Call:
        """Ask for an append. `answer` is called when, and if, the store's answer comes. Returns the call as it is kept."""
        call = Call(peer.name, token, expected, self._timeline.elapsed)
        self.calls.setdefault(run, []).append(call)
        request = _Request(peer, life, run, token, records, expected, answer)
        request.call = call
        if peer.mute:
            return call
        self._network.through(peer, lambda: self._timeline.at(self._way(), self._arrived, request))
        return call

    def read(self, peer: Peer, life: int, answer: Callable[[dict[str, list[Entry]]], None]) -> None:
        """Read everything; `answer` gets it when, and if, it comes."""

        def arrived() -> None:
            self._readers[peer.name] = life
            found = {run: list(entries) for run, entries in self.logs.items()}
            if not peer.deaf:
                self._network.through(peer, lambda: answer(found))

        if not peer.mute:
            self._network.through(peer, lambda: self._timeline.at(self._way(), arrived))

    def _way(self) -> float:
        return self._timeline.rng.uniform(0.0005, 0.01)

    def _arrived(self, request: _Request) -> None:
        run, log = request.run, self.logs.get(request.run, [])
        if self._readers.get(request.peer.name, 0) > request.life:
            # Its process died and a newer one has read the logs since: the server closed that connection long ago.
            return
        last = log[-1] if log else None
        if self.full:
            result = Answer("full")
        elif (last.seq if last else 0) != request.expected:
            result = Answer("conflict", last.seq if last else 0, last.token if last else None)
        else:
            entry = Entry(
                request.expected + 1,
                request.token,
                request.records,
                f"{request.peer.name}/{request.life}",
                self._timeline.now,
            )
            self.logs.setdefault(run, []).append(entry)
            self._written(run, entry)
            result = Answer("ok", entry.seq, entry.token)
        if request.peer.deaf:
            return
        if result.what == "ok" and self._network.chance(self._faults.lost_ack):
            self._network.mishaps["unconfirmed"] += 1
            return
        self._network.through(
            request.peer, lambda: self._timeline.at(self._way(), self._answered, request, result)
        )

    def _answered(self, request: _Request, result: Answer) -> None:
        request.answer(result)
