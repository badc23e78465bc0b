"""What a node learns about itself: honest at first, quick to learn, quick to notice a change, safe to store."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_node.history import History, Prior

PRIOR = Prior(1.0, 2.0)
MIB = 1 << 20


def done(
    history: History,
    wall_s: float,
    size: int = 0,
    *,
    load: float = 0.0,
    quoted_s: float = 0.0,
    times: int = 1,
) -> None:
    for _ in range(times):
        history.done("doc.read", size, wall_s=wall_s, cpu_s=wall_s / 2, load=load, quoted_s=quoted_s)


def test_a_new_node_estimates_from_its_prior_and_admits_that_it_does_not_know() -> None:
    estimate = History().estimate("doc.read", MIB, PRIOR)
    assert math.isclose(estimate.wall_s, 3.0, rel_tol=0.01)
    assert estimate.error_s > estimate.wall_s / 2
    assert estimate.quoted_s > estimate.wall_s
    assert estimate.samples == 0


def test_a_few_measurements_outweigh_the_prior_and_narrow_the_error() -> None:
    history = History()
    before = history.estimate("doc.read", 0, PRIOR)
    done(history, 0.1, times=10)
    after = history.estimate("doc.read", 0, PRIOR)
    assert after.wall_s < 0.3
    assert after.error_s < before.error_s / 3


def test_the_time_is_learned_as_a_line_over_the_size() -> None:
    history = History()
    for _ in range(20):
        for size in (0, 1, 4):
            done(history, 0.5 + 0.25 * size, size * MIB)
    for size in (0, 2, 8):
        estimate = history.estimate("doc.read", size * MIB, PRIOR)
        assert math.isclose(estimate.wall_s, 0.5 + 0.25 * size, rel_tol=0.25, abs_tol=0.15)


def test_a_device_that_got_slower_says_so_soon() -> None:
    history = History()
    done(history, 0.1, times=100)
    done(history, 1.0, times=30)
    assert history.estimate("doc.read", 0, PRIOR).wall_s > 0.7


def test_time_taken_under_load_is_not_blamed_on_the_work() -> None:
    idle, loaded = History(), History()
    done(idle, 1.0, times=20)
    done(loaded, 2.0, load=1.0, times=20)
    assert math.isclose(
        idle.estimate("doc.read", 0, PRIOR).wall_s, loaded.estimate("doc.read", 0, PRIOR).wall_s, rel_tol=0.01
    )


def test_a_node_that_takes_longer_than_it_says_corrects_itself() -> None:
    history = History()
    assert history.ratio("doc.read") == 1.0
    done(history, 2.0, quoted_s=1.0, times=10)
    assert 1.5 < history.ratio("doc.read") <= 4.0


def test_success_is_what_was_verified_and_fades() -> None:
    history = History()
    new = history.success("doc.read")
    for _ in range(20):
        history.verified("doc.read")
    good = history.success("doc.read")
    for _ in range(60):
        history.failed("doc.read")
    assert history.success("doc.read") < 0.3 < new < good < 1.0


def test_what_is_stored_comes_back_the_same() -> None:
    history = History()
    done(history, 0.3, MIB, quoted_s=0.2, times=5)
    history.verified("doc.read")
    again = History.load(history.dump())
    assert again.dump() == history.dump()
    assert again.estimate("doc.read", MIB, PRIOR) == pytest.approx(history.estimate("doc.read", MIB, PRIOR))


def test_a_damaged_history_is_an_empty_one() -> None:
    good = History()
    done(good, 1.0)
    value = json.loads(good.dump())
    value["capabilities"]["doc.read"]["sy"] = -1.0
    for data in (
        b"",
        b"[]",
        b"null",
        b'{"schema": "other/1"}',
        good.dump()[:-20],
        json.dumps(value).encode(),
    ):
        assert History.load(data).estimate("doc.read", 0, PRIOR).samples == 0


def test_memory_is_bounded() -> None:
    history = History()
    for number in range(2000):
        history.done(f"c{number}", 0, wall_s=1.0, cpu_s=1.0, load=0.0, quoted_s=1.0)
    assert len(json.loads(history.dump())["capabilities"]) <= 512


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5), st.integers(0, 1 << 40), st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 1e5)
        ),
        max_size=30,
    ),
    st.integers(0, 1 << 40),
)
def test_no_measurement_makes_an_estimate_that_is_no_number(
    rows: list[tuple[float, int, float, float, float]], size: int
) -> None:
    history = History()
    for wall_s, given_size, cpu_s, load, quoted_s in rows:
        history.done("doc.read", given_size, wall_s=wall_s, cpu_s=cpu_s, load=load, quoted_s=quoted_s)
    estimate = history.estimate("doc.read", size, PRIOR)
    assert all(math.isfinite(number) and number >= 0.0 for number in estimate)
    assert 0.25 <= history.ratio("doc.read") <= 4.0
