"""Named moments: order, moving, cancelling, and no growth without bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent_node.timers import Timers


def test_moments_come_in_order_and_ties_in_the_order_of_setting() -> None:
    timers: Timers[str] = Timers()
    for name, when in [("b", 2.0), ("a", 1.0), ("c", 1.0)]:
        timers.set(name, when)
    assert timers.next() == 1.0
    assert timers.pop_due(1.0) == ["a", "c"]
    assert timers.pop_due(5.0) == ["b"]
    assert timers.next() is None


def test_setting_a_name_again_moves_it() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 1.0)
    timers.set("a", 9.0)
    assert timers.pop_due(5.0) == []
    assert timers.next() == 9.0


def test_a_cancelled_name_never_comes() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 1.0)
    timers.cancel("a")
    timers.cancel("never set")
    assert timers.next() is None
    assert timers.pop_due(9.0) == []


def test_a_million_settings_of_few_names_take_little_space() -> None:
    timers: Timers[int] = Timers()
    for number in range(100_000):
        timers.set(number % 10, float(number))
        if number % 3 == 0:
            timers.cancel(number % 10)
    assert len(timers._heap) < 200


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.one_of(st.none(), st.floats(0, 100)))))
def test_timers_are_a_dictionary_of_moments(changes: list[tuple[str, float | None]]) -> None:
    timers: Timers[str] = Timers()
    model: dict[str, float] = {}
    for name, when in changes:
        if when is None:
            timers.cancel(name)
            model.pop(name, None)
        else:
            timers.set(name, when)
            model[name] = when
        assert timers.next() == min(model.values(), default=None)
    assert len(timers) == len(model)
    assert set(timers.pop_due(50.0)) == {name for name, when in model.items() if when <= 50.0}
