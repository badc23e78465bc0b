"""The award rule in a market where a third of the sellers lie: 20 seeds that no weight was tuned on, each rule in the same worlds."""

from __future__ import annotations

from functools import cache

import pytest

from bench.market import SEEDS, Outcome, paired, play
from bench.market_model import AGENTS, LIARS, TASKS, make_world


@cache
def liars(name: str) -> list[Outcome]:
    return [play(make_world(seed), name) for seed in SEEDS]


def values(name: str, what: str) -> list[float]:
    return [getattr(outcome, what) for outcome in liars(name)]


@pytest.mark.parametrize("what", ["completion", "surplus"])
@pytest.mark.parametrize("other", ["lowest_price", "highest_confidence", "random"])
def test_with_liars_more_gets_done_and_is_worth_more_than_by_the_simple_rules(other: str, what: str) -> None:
    mean, low, high = paired(values("ours", what), values(other, what))
    assert low > 0.0, f"{mean:.3f} ({low:.3f} to {high:.3f})"


@pytest.mark.parametrize("what", ["completion", "surplus"])
def test_with_liars_it_is_not_worse_than_a_rule_that_is_told_what_each_task_is_worth(what: str) -> None:
    mean, low, high = paired(values("ours", what), values("risk_adjusted_cost", what))
    assert high > 0.0, f"{mean:.3f} ({low:.3f} to {high:.3f})"


def test_liars_change_what_is_said_and_nothing_of_what_is_so() -> None:
    lying, honest = make_world(1), make_world(1, liars=0)
    assert (len(lying.tasks), AGENTS, LIARS, TASKS) == (400, 24, 8, 400)
    overstated = 0
    for one, other in zip(lying.tasks, honest.tasks, strict=True):
        said = {offer.agent: offer for offer in one.offers}
        for offer in other.offers:
            same = said[offer.agent]
            assert (same.price, same.passes, same.took_s) == (offer.price, offer.passes, offer.took_s)
            overstated += same.confidence > offer.confidence
            assert same.confidence == offer.confidence or offer.agent < LIARS
    assert overstated > 400


def test_a_seed_is_a_result() -> None:
    assert play(make_world(3), "ours") == play(make_world(3), "ours")
