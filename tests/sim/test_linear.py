"""The checker of histories: what one order explains passes, and nothing else."""

from __future__ import annotations

from mesh.sim.linear import Call, check


def _call(client: str, token: str, expected: int, began: float, *told: object) -> Call:
    call = Call(client, token, expected, began)
    if told:
        call.end(*told)  # type: ignore[arg-type]
    return call


def test_an_empty_log_that_nobody_asked_anything_is_explained() -> None:
    assert check([], []) == ""


def test_appends_one_after_the_other_and_a_conflict_between_them_are_explained() -> None:
    calls = [
        _call("a", "x", 0, 0.0, "ok", 1, 1.0),
        _call("b", "y", 0, 0.5, "conflict", 1, 2.0),
        _call("b", "z", 1, 2.0, "ok", 2, 3.0),
    ]
    assert check(["x", "z"], calls) == ""


def test_an_append_whose_answer_never_came_may_be_there_or_not() -> None:
    lost = _call("a", "x", 0, 0.0)
    assert check(["x"], [lost]) == ""
    assert check([], [lost]) == ""


def test_who_asks_again_with_the_same_bytes_and_finds_its_own_is_explained() -> None:
    calls = [_call("a", "x", 0, 0.0), _call("a", "x", 0, 2.0, "conflict", 1, 3.0)]
    assert check(["x"], calls) == ""


def test_a_success_that_is_not_in_the_log_is_not() -> None:
    assert "not in the log" in check([], [_call("a", "x", 0, 0.0, "ok", 1, 1.0)])


def test_two_successes_of_one_place_are_not() -> None:
    calls = [_call("a", "x", 0, 0.0, "ok", 1, 1.0), _call("b", "y", 0, 0.0, "ok", 1, 1.0)]
    assert "not in the log" in check(["x"], calls)


def test_an_entry_that_was_seen_before_anybody_asked_for_it_is_not() -> None:
    calls = [_call("a", "x", 0, 5.0, "ok", 1, 6.0), _call("b", "y", 0, 0.0, "conflict", 1, 1.0)]
    assert "before it can have been written" in check(["x"], calls)


def test_a_log_that_was_seen_shorter_after_it_was_longer_is_not() -> None:
    calls = [
        _call("a", "x", 0, 0.0, "ok", 1, 1.0),
        _call("a", "y", 1, 1.0, "ok", 2, 2.0),
        _call("b", "z", 0, 3.0, "conflict", 1, 4.0),
    ]
    assert "entry 2 was seen before" in check(["x", "y"], calls)


def test_a_refusal_without_a_reason_is_not() -> None:
    assert "although nothing was there" in check([], [_call("a", "x", 0, 0.0, "conflict", 0, 1.0)])


def test_an_entry_that_nobody_asked_for_is_not() -> None:
    assert "nobody asked" in check(["x"], [])


def test_the_same_append_twice_is_not() -> None:
    calls = [_call("a", "x", 0, 0.0, "ok", 1, 1.0), _call("a", "x", 1, 1.0, "ok", 2, 2.0)]
    assert "twice" in check(["x", "x"], calls)
