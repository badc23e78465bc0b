"""What the long run concludes from its readings."""

import random

import pytest

from tests.chaos.long import growth, slope_of

HOUR = [float(second) for second in range(0, 3600, 5)]


def test_a_leak_is_told_from_noise_and_noise_from_a_leak():
    rng = random.Random(7)
    noise = [rng.gauss(0, 0.5) for _ in HOUR]
    still = slope_of(HOUR, [60 + bump for bump in noise])
    assert still.low < 0 < still.high
    assert still.high < 1
    leaking = slope_of(HOUR, [60 + 3 * at / 3600 + bump for at, bump in zip(HOUR, noise, strict=True)])
    assert leaking.low > 1
    assert leaking.low < 3 < leaking.high


def test_a_steady_climb_has_exactly_its_slope():
    slope = slope_of(HOUR, [50 + 2 * at / 3600 for at in HOUR])
    assert slope.per_hour == pytest.approx(2, rel=0.01)


def test_too_short_a_run_has_no_slope():
    with pytest.raises(ValueError, match="2 bins"):
        slope_of(HOUR[:20], [1.0] * 20)


def test_what_stays_is_seen_in_the_last_quarter():
    assert growth([3, 4, 3, 3, 5, 9, 9, 9]) == (4, 9)
    assert growth([7, 7, 7, 7]) == (7, 7)
