"""Shell: answers what watchers missed: the events of a run behind a number, read from its journal, a page at a time.

Rules. The journal is the only source, so any coordinator answers for any run, also for one that has ended, and what it says is what was (or will be) said on
the bus. A page holds what fits into an answer, and one event at least. Where the records of a run lie in the journal is remembered, so that a watcher who
pages through a long run, or only asks whether there is news, does not have it read from its beginning each time. Counterpart: `watching`.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from protocol.codec import pack
from protocol.errors import Rejected
from protocol.messages import Event
from protocol.messages.base import JsonObject
from protocol.records import Record, RunClosed, RunOpened

from .chain import Follower, Link
from .errors import RunUnknown
from .offers import values
from .views import event_of

if TYPE_CHECKING:
    from mesh.endpoint import Endpoint
    from mesh.workspace import Stored

__all__ = ["EventPages"]

_BYTES_MAX: Final = 256 << 10
_VALUES_MAX: Final = 30_000
"""Half of what an answer may hold (SPEC MSG-3): the largest event, a part of a plan, fits in beside."""
_APART: Final = 128
"""A place in the journal is remembered for each so many records."""
_RUNS_MAX: Final = 64
_BREATHE: Final = 32
"""After so many messages others may have the processor."""


@dataclass(slots=True)
class _Places:
    """Ends of the run's journal at some of its messages, so that reading may begin behind them."""

    links: list[Link] = field(default_factory=lambda: [Link()])
    closed: bool = False

    def before(self, number: int) -> Link:
        """The last place that is not behind a record number."""
        return self.links[bisect_right(self.links, number, key=lambda link: link.count) - 1]

    def mark(self, link: Link) -> None:
        """The journal was read up to here."""
        if link.count <= self.links[-1].count:
            return
        if len(self.links) > 1 and link.count - self.links[-2].count < _APART:
            self.links.pop()
        self.links.append(link)


@dataclass(slots=True)
class _Page:
    """A page that is being filled."""

    limit: int
    events: list[Any] = field(default_factory=list)
    more: bool = False
    _bytes: int = 0
    _values: int = 0

    def add(self, event: Event) -> bool:
        """Put an event in; False when it does not fit any more."""
        entry = event.model_dump(exclude_defaults=True)
        self._bytes += len(pack(entry))
        self._values += 12 + values(event.data)
        if self.events and (
            len(self.events) == self.limit or self._bytes > _BYTES_MAX or self._values > _VALUES_MAX
        ):
            self.more = True
            return False
        self.events.append(entry)
        return True


class EventPages:
    """Pages of any run's events, for one coordinator."""

    def __init__(self, endpoint: Endpoint, name: Callable[[str], str]) -> None:
        self._endpoint = endpoint
        self._name = name
        self._places: OrderedDict[str, _Places] = OrderedDict()

    async def page(self, run: str, after: int, limit: int) -> JsonObject:
        """The answer to `run_events` (EVT-4).

        Raises:
            RunUnknown: the journal has nothing of this run.
            JournalBroken: the run is halted: its journal is not what its owners wrote, one message after the other.
            MeshError: the journal cannot be read now.
        """
        places = self._of(run)
        follower = Follower(run, link=places.before(after))
        page = _Page(limit)
        async for stored in self._endpoint.journal.read(run, follower.link.seq):
            number = follower.link.count
            for record in self._records(follower, stored):
                number += 1
                if number > after and not page.add(event_of(number, record, self._name)):
                    break
                places.closed |= isinstance(record, RunClosed)
            if page.more:
                break
            places.mark(follower.link)
            if stored.seq % _BREATHE == 0:
                await asyncio.sleep(0)
        if follower.link.count == 0:
            self._places.pop(run, None)
            raise RunUnknown(f"there is no run {run}")
        return {
            "run": run,
            "events": page.events,
            "more": page.more,
            "closed": places.closed and not page.more,
        }

    def _records(self, follower: Follower, stored: Stored) -> list[Record]:
        try:
            pack = self._endpoint.open_pack(follower.run, stored.data, stored.at_ms)
        except Rejected as error:
            hint = error.hint if error.code == "E_VERSION" else ""
            raise follower.broken(stored.seq, f"{error.message} ({error.code})", hint) from error
        if follower.link.count == 0 and not isinstance(pack.records[0], RunOpened):
            raise follower.broken(stored.seq, "what came before it is gone")
        follower.pass_by(stored.seq, stored.data, pack)
        return pack.records

    def _of(self, run: str) -> _Places:
        places = self._places.pop(run, None) or _Places()
        self._places[run] = places
        if len(self._places) > _RUNS_MAX:
            self._places.popitem(last=False)
        return places
