"""Halts in simulated worlds: people stop the swarm and let it go on, over a bus and a store that fail, and nothing works against an order that has reached it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from mesh.sim import CALM, Faults, World
from mesh.sim.faults import profile
from mesh.sim.stops import END_S

_HALTED = Faults(halts=1.0, bounded=0.4)
_TIGHT = Faults(halts=1.0, bounded=1.0, cuts=4, half_cuts=4)
_CALM = replace(CALM, until_s=60.0, halts=1.0)
"""Nothing goes wrong; somebody halts the swarm."""


@pytest.mark.requirement("HLT-3")
@pytest.mark.parametrize("first", range(0, 60, 10))
def test_under_a_halt_nothing_works_and_after_it_every_run_goes_on_to_its_end(first: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(first, first + 10):
        world = World(seed, faults=_HALTED)
        world.play()
        assert world.tally.overshoot == 0
        seen += world.stops.seen
    assert min(seen["carried out"], seen["attempts under way"], seen["started under a halt"]) > 3


@pytest.mark.parametrize("seed", [23, 53])
def test_what_waits_for_a_budget_when_the_halt_comes_is_put_up_once_after_it(seed: int) -> None:
    World(seed, faults=_TIGHT).play()


@pytest.mark.requirement("HLT-4")
def test_where_nothing_else_goes_wrong_every_node_says_soon_that_it_has_ended_everything() -> None:
    seen: Counter[str] = Counter()
    for seed in range(20):
        world = World(seed, faults=_CALM)
        world.play()
        seen += world.stops.seen
        assert max(world.stops.took, default=0.0) < END_S
        assert set(world.tally.ends) <= {"E_HALTED", "E_SUPERSEDED"}
        assert set(world.ledger.closed.values()) == {"done"}
    assert seen["ended by a halt"] > 5


def test_some_of_the_usual_hostile_worlds_are_halted_and_the_hostile_profile_always() -> None:
    assert 10 < sum(bool(World(seed).admins) for seed in range(100)) < 40
    assert profile("hostile", nodes=300, hours=12).halts == 1.0
    assert profile("mild", nodes=300, hours=12).halts == 0.0
