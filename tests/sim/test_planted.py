"""Planted bugs: the referee must find each of them, or what it says of the real code means nothing."""

from __future__ import annotations

import pytest

from mesh.sim import Faults, World
from tests.support.planted import BUGS, found_by


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    assert found_by(name) is not None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("stale_owner_writes", "messages are repeated or of a fork"),
        ("tail_lost", "the rest is missing"),
        ("gap", "messages are missing"),
    ],
)
def test_what_the_hash_chain_finds_halts_the_run_with_an_explanation(name: str, words: str) -> None:
    found = found_by(name, 20)
    assert found is not None
    assert "is halted: at" in found[1]
    assert words in found[1]


def test_without_a_bug_the_same_worlds_pass() -> None:
    for seed in range(20):
        World(seed, faults=Faults(power_cuts=2, wedge=0.15)).play()


@pytest.mark.chaos
@pytest.mark.timeout(3_600)
def test_a_thousand_seeds_twice_are_the_same_thousand_histories() -> None:
    for seed in range(1_000):
        first, second = World(seed), World(seed)
        first.play()
        second.play()
        assert first.timeline.digest == second.timeline.digest, seed
