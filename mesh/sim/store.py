"""The journal's store in a simulated world: one log a run, compare-and-set, and every way in which its answer can fail to come.

Rules. An append holds exactly if `expected` is the number of the log's last entry when it ARRIVES, which may be long after it was sent. The answer may be lost
although the entry is written. While the store is full it takes nothing and can still be read. What each client asked and was told is kept, so
that `linear` can judge whether one order of all of it exists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

from protocol.records import Owned, Record, RunClosed, RunOpened

from .faults import Faults
from .linear import Call
from .network import Network, Peer
from .timeline import Timeline

__all__ = ["LEASE_TTL_S", "Answer", "BoardView", "Entry", "Head", "Held", "Store", "Value", "Written"]

LEASE_TTL_S: Final = 60.0
"""So long the board keeps a lease that is not renewed; whether it counts is judged by those who read it."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a run's journal."""

    seq: int
    token: Hashable
    """What tells one append's bytes from another's."""
    records: Sequence[Record]
    writer: str
    at: float
    raw: bytes
    """The message itself, as it is stored: sealed, and linked to the one before."""

    @property
    def at_ms(self) -> int:
        """When the store took it, by its own clock."""
        return int(self.at * 1000)


class Head(NamedTuple):
    """What the board says of a run."""

    owner: str
    epoch: int
    closed: bool = False
    seq: int = 0
    """The checkpoint: the last message that its owner was told to be there, its digest, and the records until then."""
    records: int = 0
    digest: bytes = b""


class Value(NamedTuple):
    """What the swarm's key-value store has under a key."""

    data: bytes
    revision: int


class Held(NamedTuple):
    """A coordinator's lease on the board: its revision, its holder's clock when it asked, and which of its lives that was."""

    revision: int
    at_ms: int
    life: int


class BoardView(NamedTuple):
    """The board at one moment: coordinators' leases by node, and the runs."""

    leases: dict[str, Held]
    heads: dict[str, Head]


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
    raw: bytes
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
        self.heads: dict[str, Head] = {}
        self._counts: dict[str, int] = {}
        self._values: dict[str, Value] = {}
        self._leases: dict[str, Held] = {}
        self._lease_at: dict[str, float] = {}
        self._revision = 0

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
        raw: bytes,
        answer: Callable[[Answer], None],
    ) -> Call:
        """Ask for an append. `answer` is called when, and if, the store's answer comes. Returns the call as it is kept."""
        call = Call(peer.name, token, expected, self._timeline.elapsed)
        self.calls.setdefault(run, []).append(call)
        request = _Request(peer, life, run, token, records, expected, raw, answer)
        request.call = call
        if peer.mute:
            return call
        self._network.through(peer, lambda: self._timeline.at(self._way(), self._arrived, request))
        return call

    def read(self, peer: Peer, run: str, answer: Callable[[list[Entry]], None]) -> None:
        """Read a run's log; `answer` gets it when, and if, it comes."""
        self._ask(peer, lambda: list(self.logs.get(run, ())), answer)

    def look(self, peer: Peer, answer: Callable[[BoardView], None]) -> None:
        """Read the board."""
        self._ask(peer, self._board, answer)

    def renew(self, peer: Peer, life: int, answer: Callable[[], None]) -> None:
        """Renew a coordinator's lease; `answer` is called when, and if, it is confirmed. A full store takes no lease either."""
        at_ms = int(peer.clock.steady() * 1000)

        def put() -> bool:
            if not self.full:
                self._revision += 1
                self._leases[peer.node] = Held(self._revision, at_ms, life)
                self._lease_at[peer.node] = self._timeline.now
            return not self.full

        self._ask(peer, put, lambda taken: answer() if taken else None)

    def get(self, peer: Peer, key: str, answer: Callable[[Value | None], None]) -> None:
        """Read the swarm's key-value store; `answer` gets what it has, when, and if, that comes."""
        self._ask(peer, lambda: self._values.get(key), answer)

    def put(
        self, peer: Peer, key: str, data: bytes, revision: int, answer: Callable[[Literal["ok", "conflict", "full"]], None]
    ) -> None:  # fmt: skip
        """Write it, if its revision is still this one (0: there is nothing)."""

        def write() -> Literal["ok", "conflict", "full"]:
            known = self._values.get(key)
            if self.full:
                return "full"
            if (known.revision if known else 0) != revision:
                return "conflict"
            self._revision += 1
            self._values[key] = Value(data, self._revision)
            return "ok"

        self._ask(peer, write, answer)

    def _board(self) -> BoardView:
        over = self._timeline.now - LEASE_TTL_S
        held = {node: lease for node, lease in self._leases.items() if self._lease_at[node] > over}
        return BoardView(held, dict(self.heads))

    def _ask(self, peer: Peer, found: Callable[[], T], answer: Callable[[T], None]) -> None:
        def arrived() -> None:
            result = found()
            if not peer.deaf:
                self._network.through(peer, lambda: self._timeline.at(self._way(), answer, result))

        if not peer.mute:
            self._network.through(peer, lambda: self._timeline.at(self._way(), arrived))

    def _way(self) -> float:
        return self._timeline.rng.uniform(0.0005, 0.01)

    def _arrived(self, request: _Request) -> None:
        run, log = request.run, self.logs.get(request.run, [])
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
                request.raw,
            )
            self.logs.setdefault(run, []).append(entry)
            self._head(run, entry)
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

    def _head(self, run: str, entry: Entry) -> None:
        """What the owner of a run puts on the board, once it knows that the message is there."""
        for record in entry.records:
            if isinstance(record, (RunOpened, Owned)):
                self.heads[run] = Head(record.owner, record.epoch)
            elif isinstance(record, RunClosed):
                self.heads[run] = self.heads[run]._replace(closed=True)
        before = self._counts.get(run, 0)
        self._counts[run] = before + len(entry.records)
        self.heads[run] = self.heads[run]._replace(
            seq=entry.seq, records=self._counts[run], digest=hashlib.sha256(entry.raw).digest()
        )

    def _answered(self, request: _Request, result: Answer) -> None:
        request.answer(result)
