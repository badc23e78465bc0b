"""What a watcher makes of what it hears, case by case; `tests/property/test_watching.py` tries everything at once."""

from typing import Any

import pytest

from coordinator_node.watching import Listed, Page, PageDamaged, RunFeed, SwarmFeed, read_page
from protocol.messages import Event

RUN, OTHER = "a" * 26, "b" * 26


def event(seq: int, kind: str = "subtask.awarded", *, volatile: bool = False) -> Event:
    return Event(seq=seq, at_ms=0, kind=kind, volatile=volatile)


def told(events: list[Event]) -> list[int]:
    return [one.seq for one in events]


def test_what_comes_early_waits_and_what_comes_twice_is_dropped():
    feed = RunFeed(RUN)
    assert told(feed.live([event(1), event(3), event(3)])) == [1]
    assert feed.behind
    assert told(feed.live([event(2), event(1)])) == [2, 3]
    assert not feed.behind


def test_a_volatile_event_is_told_behind_its_record_or_not_at_all():
    feed = RunFeed(RUN)
    early, late = event(2, "attempt.progress", volatile=True), event(1, "attempt.started", volatile=True)
    assert feed.live([event(1), early]) == [event(1)]
    assert feed.behind  # it says that there is a second record
    assert feed.live([event(2)]) == [event(2), early]
    assert feed.live([late]) == []


def test_an_end_counts_when_everything_before_it_was_told():
    feed = RunFeed(RUN)
    assert feed.live([event(3, "run.closed")]) == []
    assert not feed.ended
    assert told(feed.page(Page(RUN, [event(1), event(2)], more=True, closed=False))) == [1, 2, 3]
    assert feed.ended


def test_a_page_of_a_run_that_ended_before_ends_the_watch():
    feed = RunFeed(RUN, after=7)
    assert feed.page(Page(RUN, [], more=False, closed=True)) == []
    assert feed.ended


def test_what_waits_is_bounded_and_comes_again_with_a_page():
    feed = RunFeed(RUN)
    many = [event(seq) for seq in range(1, 5_001)]
    feed.live(many[1:])
    seen = told(feed.live(many[:1]))
    assert len(seen) < 2_100
    assert feed.behind
    assert told(feed.page(Page(RUN, many[len(seen) :], more=False, closed=False)))[-1] == 5_000


def test_all_runs_are_told_from_the_list_on_and_what_was_heard_before_it_too():
    feed = SwarmFeed()
    assert feed.live(RUN, [event(5)]) == []
    assert [
        (one.run, one.event.seq) for one in feed.listed([Listed(RUN, 6), Listed(OTHER, 2)], whole=True)
    ] == [(RUN, 5)]
    assert [tuple(ask) for ask in feed.asks] == [(RUN, 5)]
    assert told([one.event for one in feed.live(OTHER, [event(3)])]) == [3]


def test_a_run_that_cannot_be_read_waits_for_news_and_is_told_whole():
    feed = SwarmFeed()
    feed.listed([], whole=True)
    feed.live(RUN, [event(2)])
    assert feed.asks
    feed.aside(RUN)
    assert not feed.asks
    feed.listed([], whole=True)
    assert not feed.checks
    assert told([one.event for one in feed.live(RUN, [event(1)])]) == [1, 2]


GOOD: dict[str, Any] = {
    "run": RUN,
    "events": [{"seq": 1, "at_ms": 1, "kind": "run.opened"}],
    "more": True,
    "closed": False,
}


def test_a_page_is_read_as_it_is_written():
    assert read_page(GOOD) == Page(RUN, [Event(seq=1, at_ms=1, kind="run.opened")], more=True, closed=False)


@pytest.mark.parametrize(
    "change",
    [{"run": 5}, {"events": [{"seq": 1}]}, {"events": 3}, {"events": []}, {"more": 1}, {"closed": None}],
    ids=["run", "event", "events", "more-of-nothing", "more", "closed"],
)
def test_what_is_no_page_is_refused(change: dict[str, Any]):
    with pytest.raises(PageDamaged):
        read_page({**GOOD, **change})
    with pytest.raises(PageDamaged):
        read_page({key: value for key, value in GOOD.items() if key not in change})
