"""Watching over a bus that drops, doubles and reorders, with pages that come late and outdated: each durable event once, in order, none missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator_node.views import event_of
from coordinator_node.watching import Listed, OneFeed, Page, SwarmFeed, Told
from protocol.codec import pack
from protocol.ids import new_run_id
from protocol.messages import Event, Type
from protocol.records import record_adapter
from protocol.registry import BODY_BYTES_MAX, body_adapter
from tests.support.spec_tables import all_items, item_strategy, items, smallest

RUNS = [new_run_id(1_000.0 + number, bytes([number]) * 10) for number in range(3)]


def durable(number: int, last: int) -> Event:
    kind = "run.opened" if number == 1 else "run.closed" if number == last else "subtask.awarded"
    return Event(seq=number, at_ms=number, kind=kind)


def volatile(number: int) -> Event:
    return Event(seq=number, at_ms=0, kind="attempt.progress", volatile=True)


def page_of(run: str, journal: list[Event], after: int, limit: int) -> Page:
    """What a coordinator answers that sees this much of the journal."""
    behind = journal[after:]
    closed = bool(journal) and journal[-1].kind == "run.closed"
    more = len(behind) > limit
    return Page(run, behind[:limit], more, closed and not more)


class Faulty:
    """A run, and the bus between it and a watcher. Drawn steps: said events arrive, are lost, doubled, or overtaken; pages are asked for and come later."""

    def __init__(self, draw: Any, run: str, length: int) -> None:
        self.draw = draw
        self.run = run
        self.length = length
        self.journal: list[Event] = []
        self.flying: list[list[Event]] = []
        self.pages: list[Page] = []

    def step(self, feed: Any) -> list[Told]:
        what = self.draw(
            st.sampled_from(
                ["write", "write", "volatile", "arrive", "arrive", "lose", "double", "ask", "page"]
            )
        )
        if what == "write" and len(self.journal) < self.length:
            several = [
                durable(number, self.length)
                for number in range(
                    len(self.journal) + 1,
                    min(self.length, len(self.journal) + self.draw(st.integers(1, 3))) + 1,
                )
            ]
            self.journal += several
            self.flying.append(several)
        elif what == "volatile" and self.journal:
            self.flying.append([volatile(len(self.journal))])
        elif what in ("arrive", "lose", "double") and self.flying:
            at = self.draw(st.integers(0, min(2, len(self.flying) - 1)))
            events = self.flying.pop(at)
            if what == "lose":
                return []
            told = feed.live(self.run, events)
            if what == "double" and not events[0].volatile:
                told += feed.live(self.run, events)
            return told
        elif what == "ask":
            for ask in [*feed.asks, *feed.checks]:
                if ask.run == self.run:
                    seen = self.draw(st.integers(max(0, len(self.journal) - 3), len(self.journal)))
                    self.pages.append(
                        page_of(self.run, self.journal[:seen], ask.after, self.draw(st.integers(1, 4)))
                    )
        elif what == "page" and self.pages:
            return feed.page(self.pages.pop(self.draw(st.integers(0, len(self.pages) - 1))))
        return []

    def finish(self, feed: Any) -> list[Told]:
        """The run ends and everything else on the bus is lost: only pages are left."""
        self.journal = [durable(number, self.length) for number in range(1, self.length + 1)]
        told: list[Told] = []
        again = True  # as after a silence, and as long as a page is cut
        while again or any(ask.run == self.run for ask in feed.asks):
            asks = [ask for ask in (feed.checks if again else feed.asks) if ask.run == self.run]
            again = False
            for ask in asks:
                page = page_of(self.run, self.journal, ask.after, 3)
                told += feed.page(page)
                again |= page.more
        return told


def in_order(told: list[Told], after: int, last: int) -> None:
    """Every durable event behind `after` once; a volatile one only right behind the record that it names."""
    at = after
    for _, event in told:
        if event.volatile:
            assert event.seq == at
        else:
            assert event.seq == at + 1
            at = event.seq
    assert at == last


@pytest.mark.requirement("EVT-3")
@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(2, 30), st.integers(0, 30))
def test_a_run_is_told_once_and_in_order_whatever_the_bus_does(
    data: st.DataObject, length: int, after: int
) -> None:
    run = RUNS[0]
    after = min(after, length)
    bus, feed = Faulty(data.draw, run, length), OneFeed(run, after)
    told: list[Told] = []
    for _ in range(data.draw(st.integers(0, 60))):
        told += bus.step(feed)
    told += bus.finish(feed)
    in_order(told, after, length)
    assert feed.ended


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_all_runs_are_told_from_the_first_list_on_and_later_ones_from_their_beginning(
    data: st.DataObject,
) -> None:
    feed = SwarmFeed()
    buses = {run: Faulty(data.draw, run, data.draw(st.integers(2, 12))) for run in RUNS}
    told: list[Told] = []
    started: dict[str, int] = {}

    def lists() -> list[Told]:
        """A coordinator's list, perhaps a little outdated."""
        listed = []
        for run, bus in buses.items():
            if bus.journal:
                listed.append(Listed(run, len(bus.journal)))
        if not feed.begun:
            started.update({entry.run: entry.records for entry in listed})
        return feed.listed(listed, whole=True)

    for _ in range(data.draw(st.integers(0, 40))):
        told += data.draw(st.sampled_from(list(buses.values()))).step(feed)
        if data.draw(st.integers(0, 9)) == 0:
            told += lists()
    told += lists()
    for bus in buses.values():
        bus.journal = [durable(number, bus.length) for number in range(1, bus.length + 1)]
    told += lists()
    for bus in buses.values():
        told += bus.finish(feed)
    for run, bus in buses.items():
        of_run = [one for one in told if one.run == run]
        first = next((one.event.seq - (not one.event.volatile) for one in of_run), bus.length)
        assert first <= started.get(
            run, 0
        )  # from the list on at the latest: what was heard before it is told as well
        in_order(of_run, first, bus.length)
    assert feed.asks == []


RECORDS = list(items("## Records", "record"))
KINDS = [kind for kind in RECORDS if "." in kind and kind != "journal.linked"]


@pytest.mark.requirement("EVT-1")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_whatever_a_record_says_its_event_can_be_said_and_read(kind: str, data: st.DataObject) -> None:
    fields = data.draw(item_strategy(kind))
    [record] = record_adapter().validate_python([{"k": kind, "at_ms": 5, **fields}])
    event = event_of(7, record, lambda node: f"the node {node}" * 9)
    assert (event.seq, event.kind, event.at_ms, event.volatile) == (7, kind, 5, False)
    assert event.subtask == fields.get("subtask", "")
    assert event.node == (
        fields.get("node") or (fields["owner"] if kind in ("run.opened", "run.owned") else "")
    )
    dumped = body_adapter(Type.EVENT).dump_python([event], exclude_defaults=True)
    assert body_adapter(Type.EVENT).validate_python(dumped) == [event]
    assert json.loads(json.dumps(event.document(RUNS[0])))["data"] == event.data


BEE = "\U0001f41d"
FILES = [
    {
        "name": BEE * 255,
        "media_type": "m" * 127,
        "ref": {"sha256": bytes(32), "size": 1 << 40, "chunks": 1 << 22, "writer": "U" + "A" * 55},
    }
] * 256
PIECES = [{"id": "p" * 64, "capability": "c" * 64}] * 400
DECLINES = [{"node": "0" * 32, "code": "E_" + "X" * 40, "detail": BEE * 200}] * 64


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("subtask.accepted", {"outputs": FILES}),
        ("run.closed", {"deliverables": FILES * 4, "message": BEE * 2000, "hint": BEE * 2000}),
        ("plan.adopted", {"subtasks": PIECES}),  # so many are in a part at most
        ("plan.revised", {"subtasks": PIECES[:100], "reason": BEE * 200}),
        ("subtask.unbid", {"declines": DECLINES}),
        ("subtask.failed", {"message": BEE * 2000}),
    ],
)
def test_the_largest_events_fit_into_a_message(kind: str, fields: dict[str, Any]) -> None:
    whole = {one.name: smallest(one.value) for one in all_items()[kind] if one.required}
    [record] = record_adapter().validate_python([{"k": kind, "at_ms": 5, **whole, **fields}])
    event = event_of(7, record, lambda _: BEE * 64)
    assert 1000 < len(pack([event.model_dump(exclude_defaults=True)])) <= BODY_BYTES_MAX[Type.EVENT]
