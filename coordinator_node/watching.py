"""What a watcher of runs has been told, and what it still has to ask for: every durable event once, in order, whatever the bus does.

Rules. An event is told when it is the next of its run; one that comes early waits, one that was told is dropped. What is known to exist and has not come
makes the watcher *behind*: it asks for a page of the journal (`run_events`), which is as good a source as the bus. A volatile event is told only in step,
right behind the record after which it was said, or not at all. A core: `watching_bus` brings events and pages, and asks. Counterpart on the coordinator:
`watching_pages`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from protocol.ids import by_time
from protocol.messages import Event

__all__ = ["Ask", "Listed", "OneFeed", "Page", "PageDamaged", "RunFeed", "SwarmFeed", "Told", "read_page"]

_EARLY_MAX: Final = 2_000
"""Events that may wait for one before them; what is beyond comes with a page."""
_HELD_MAX: Final = 64
"""Volatile events that may wait for their record."""
_ENDED_MAX: Final = 1_000
"""Ended runs that are remembered, so that stragglers do not begin them anew."""


class PageDamaged(ValueError):
    """An answer to `run_events` is not one."""


class Told(NamedTuple):
    """An event that is to be told, and of which run."""

    run: str
    event: Event


class Ask(NamedTuple):
    """A page that is wanted: the events of a run behind a number."""

    run: str
    after: int


class Listed(NamedTuple):
    """A run as a coordinator lists it, and how many records of it are in the journal."""

    run: str
    records: int


@dataclass(frozen=True, slots=True)
class Page:
    """Events of a run from its journal, in order. `more`: it goes on behind them; `closed`: the run has ended."""

    run: str
    events: Sequence[Event]
    more: bool
    closed: bool


def read_page(data: Mapping[str, Any]) -> Page:
    """The answer to `run_events` (EVT-4).

    Raises:
        PageDamaged: it is something else.
    """
    try:
        events = [Event.model_validate(entry) for entry in data["events"]]
        run, more, closed = data["run"], data["more"], data["closed"]
    except (KeyError, TypeError, ValidationError) as error:
        raise PageDamaged(str(error)) from None
    if not (isinstance(run, str) and isinstance(more, bool) and isinstance(closed, bool)):
        raise PageDamaged("run, more or closed is of another type")
    if more and not events:
        raise PageDamaged("a page without events that says there are more")
    return Page(run, events, more, closed)


class RunFeed:
    """One run's events, from number `after` + 1 on."""

    def __init__(self, run: str, after: int = 0) -> None:
        self.run = run
        self.seq = after
        """Number of the last durable event that was told."""
        self._known = after
        """The highest number that is known to exist."""
        self._closed = False
        self._early: dict[int, Event] = {}
        self._held: list[Event] = []

    @property
    def behind(self) -> bool:
        """Whether there are events that have not come."""
        return self._known > self.seq

    @property
    def ended(self) -> bool:
        """Whether the run has ended and everything was told."""
        return self._closed and not self.behind

    def exists(self, seq: int) -> None:
        """There is an event with this number."""
        self._known = max(self._known, seq)

    def settle(self) -> None:
        """What was not told is not waited for, until it is heard of again."""
        self._known = self.seq

    def live(self, events: Iterable[Event]) -> list[Event]:
        """Events from the bus; returns those to tell now."""
        told: list[Event] = []
        for event in events:
            self.exists(event.seq)
            if event.volatile:
                self._volatile(event, told)
            elif event.seq == self.seq + 1:
                self._tell(event, told)
            elif event.seq > self.seq and len(self._early) < _EARLY_MAX:
                self._early[event.seq] = event
        return told

    def page(self, page: Page) -> list[Event]:
        """Events from the journal; returns those to tell now."""
        told = self.live(event for event in page.events if not event.volatile)
        if page.more:
            self.exists(page.events[-1].seq + 1)
        if page.closed and not page.more:
            self._closed = True
        return told

    def _tell(self, event: Event, told: list[Event]) -> None:
        following: Event | None = event
        while following is not None:
            self.seq = following.seq
            self._early.pop(self.seq, None)
            told.append(following)
            if following.kind == "run.closed":
                self._closed = True
            told += [held for held in self._held if held.seq == self.seq]
            self._held = [held for held in self._held if held.seq > self.seq]
            following = self._early.pop(self.seq + 1, None)

    def _volatile(self, event: Event, told: list[Event]) -> None:
        if event.seq == self.seq:
            told.append(event)
        elif event.seq > self.seq:
            self._held = [*self._held[-(_HELD_MAX - 1) :], event]


class OneFeed:
    """One run alone, in the form of `SwarmFeed`."""

    begun = True

    def __init__(self, run: str, after: int = 0) -> None:
        self.feed = RunFeed(run, after)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.feed.ended

    @property
    def asks(self) -> list[Ask]:
        """Pages that are wanted now."""
        return [Ask(self.feed.run, self.feed.seq)] if self.feed.behind else []

    @property
    def checks(self) -> list[Ask]:
        """Pages that show whether something was missed."""
        return [Ask(self.feed.run, self.feed.seq)]

    def live(self, run: str, events: Sequence[Event]) -> list[Told]:
        """Events from the bus; returns what to tell now."""
        return [Told(run, event) for event in self.feed.live(events)] if run == self.feed.run else []

    def page(self, page: Page) -> list[Told]:
        """Events from the journal; returns what to tell now."""
        return [Told(page.run, event) for event in self.feed.page(page)] if page.run == self.feed.run else []

    def exists(self, run: str, seq: int) -> None:
        """There is an event with this number."""
        if run == self.feed.run:
            self.feed.exists(seq)


class SwarmFeed:
    """The events of all runs, from now on: what follows the first list of runs, and every later run from its beginning."""

    def __init__(self) -> None:
        self._feeds: dict[str, RunFeed] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._waiting: list[Told] | None = []
        """What came before the first list; None when that is there."""
        self._oldest = ""
        """The oldest run that the first list had, if there may be older ones."""

        self._unlisted: list[str] = []
        self._aside: set[str] = set()

    ended = False

    @property
    def begun(self) -> bool:
        """Whether the first list has come."""
        return self._waiting is None

    @property
    def asks(self) -> list[Ask]:
        """Pages that are wanted now."""
        return [Ask(feed.run, feed.seq) for feed in self._feeds.values() if feed.behind]

    @property
    def checks(self) -> list[Ask]:
        """Pages that show whether something was missed, of open runs about which the last list said nothing."""
        return [
            Ask(run, self._feeds[run].seq)
            for run in self._unlisted
            if run in self._feeds and run not in self._aside
        ]

    def listed(self, runs: Sequence[Listed], *, whole: bool) -> list[Told]:
        """The newest runs as a coordinator lists them; `whole`: there are no older ones. Returns what to tell now."""
        names = {entry.run for entry in runs}
        self._unlisted = [run for run in self._feeds if run not in names]
        if self._waiting is None:
            for entry in runs:
                self._later(entry)
            return []
        if not whole:
            self._oldest = min((by_time(entry.run) for entry in runs), default="")
        waiting, self._waiting = self._waiting, None
        heard: dict[str, int] = {}
        for told in waiting:
            first = told.event.seq - (not told.event.volatile)
            heard[told.run] = min(first, heard.get(told.run, first))
        for entry in runs:  # those that have ended too: what comes late is told
            first = min(entry.records, heard.get(entry.run, entry.records))
            feed = self._feeds[entry.run] = RunFeed(entry.run, first)
            feed.exists(entry.records)
        return [again for told in waiting for again in self.live(told.run, [told.event])]

    def _later(self, entry: Listed) -> None:
        if entry.run in self._ended:
            return
        feed = self._feeds.get(entry.run)
        if feed is None:
            if self._is_old(entry.run):
                return
            feed = self._feeds[entry.run] = RunFeed(entry.run)
        feed.exists(entry.records)

    def live(self, run: str, events: Sequence[Event]) -> list[Told]:
        """Events from the bus; returns what to tell now."""
        if self._waiting is not None:
            self._waiting = [*self._waiting, *(Told(run, event) for event in events)][-_EARLY_MAX:]
            return []
        if run in self._ended or not events:
            return []
        feed = self._feeds.get(run)
        if feed is None:
            first = events[0].seq - (not events[0].volatile)
            feed = self._feeds[run] = RunFeed(run, first if self._is_old(run) else 0)
        return self._from(feed, feed.live(events))

    def page(self, page: Page) -> list[Told]:
        """Events from a journal; returns what to tell now."""
        self._aside.discard(page.run)
        feed = self._feeds.get(page.run)
        return [] if feed is None else self._from(feed, feed.page(page))

    def exists(self, run: str, seq: int) -> None:
        """There is an event with this number."""
        if run in self._feeds:
            self._feeds[run].exists(seq)

    def aside(self, run: str) -> None:
        """The run cannot be read now: it waits until there is news of it."""
        if run in self._feeds:
            self._feeds[run].settle()
            self._aside.add(run)

    def _from(self, feed: RunFeed, events: list[Event]) -> list[Told]:
        if feed.ended:
            self._end(feed.run)
        return [Told(feed.run, event) for event in events]

    def _is_old(self, run: str) -> bool:
        return by_time(run) < self._oldest

    def _end(self, run: str) -> None:
        self._feeds.pop(run, None)
        self._aside.discard(run)
        self._ended[run] = None
        if len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)
