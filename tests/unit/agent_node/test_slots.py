"""The ledger of capacity: never negative, never beyond, reservations weighed by how often bids win."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.slots import Pool, Slots


def ledger(total: int = 2, slots: int = 2, queue: int = 1) -> Slots:
    return Slots(
        total,
        {
            "a": Pool(slots, queue, shared=True),
            "b": Pool(slots, queue, shared=True),
            "q": Pool(5, 0, shared=False),
        },
    )


def test_agents_share_the_slots_of_the_node() -> None:
    slots = ledger()
    for name in ("a", "b"):
        slots.enqueue(name)
        slots.start(name)
    assert not slots.startable("a")
    assert slots.free("b") == 0
    assert slots.free("q") == 5
    slots.release("a", ran=True)
    assert slots.startable("b")


def test_an_award_beyond_slots_and_queue_does_not_fit() -> None:
    slots = ledger()
    for _ in range(3):
        assert slots.fits("a")
        slots.enqueue("a")
    assert not slots.fits("a")


def test_bids_reserve_room_and_give_it_back_when_they_lose() -> None:
    slots = ledger(total=1, slots=1, queue=0)
    assert slots.room("a")
    slots.reserve("a")
    assert not slots.room("a")
    slots.unreserve("a", won=False)
    assert slots.room("a")


def test_a_node_that_seldom_wins_bids_on_more_than_it_could_do() -> None:
    seldom, often = ledger(total=2, queue=0), ledger(total=2, queue=0)
    for slots, won in ((seldom, False), (often, True)):
        for _ in range(40):
            slots.reserve("a")
            slots.unreserve("a", won=won)
        for _ in range(2):
            slots.reserve("a")
    assert seldom.room("a")
    assert not often.room("a")
    assert seldom.win_share < 0.2 < 0.8 < often.win_share


def test_starting_what_does_not_wait_is_an_error() -> None:
    slots = ledger()
    with pytest.raises(ValueError, match="cannot start"):
        slots.start("a")
    with pytest.raises(ValueError, match="nothing to release"):
        slots.release("a", ran=True)
    with pytest.raises(ValueError, match="no open bid"):
        slots.unreserve("a", won=True)
    with pytest.raises(ValueError, match="counts"):
        Slots(-1, {})


def test_what_is_offered_counts_the_nodes_slots_once() -> None:
    assert ledger().offered == 2 + 5
    assert Slots(4, {"q": Pool(5, 0, shared=False)}).offered == 5


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["enqueue", "start", "end", "quit", "reserve", "lose"]), st.sampled_from("abq")
        ),
        max_size=60,
    )
)
def test_no_order_of_events_makes_a_count_negative_or_too_large(events: list[tuple[str, str]]) -> None:
    slots = ledger()
    for what, name in events:
        pool = slots.pools[name]
        if what == "enqueue" and slots.fits(name):
            slots.enqueue(name)
        elif what == "start" and pool.queued and slots.startable(name):
            slots.start(name)
        elif what == "end" and pool.running:
            slots.release(name, ran=True)
        elif what == "quit" and pool.queued:
            slots.release(name, ran=False)
        elif what == "reserve":
            slots.reserve(name)
        elif what == "lose" and pool.reserved:
            slots.unreserve(name, won=False)
        assert slots.running_shared == slots.pools["a"].running + slots.pools["b"].running <= slots.total
        assert slots.used == sum(one.running for one in slots.pools.values())
        for other, one in slots.pools.items():
            assert 0 <= one.running <= one.slots
            assert one.queued >= 0
            assert 0 <= slots.free(other) <= one.slots
            assert slots.ahead(other) >= one.taken
