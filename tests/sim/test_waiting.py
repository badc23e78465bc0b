"""Agents at a limit of use, and agents that wait for a person, in hostile and in honest worlds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from mesh.sim import CALM, HOSTILE, World
from mesh.sim.faults import profile

_HONEST = replace(CALM, until_s=60.0, waits=0.3, patient=0.2, limited=0.1)
"""Nothing goes wrong; work waits."""


def test_hostile_worlds_have_agents_that_wait_and_nodes_at_a_limit() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        world = World(seed)
        world.play()
        seen += world.patience.seen
    assert min(seen["limited"], seen["person"], seen["refused for a while"], seen["working"]) > 3
    assert seen["awarded after a limit"] > 0


def test_where_nothing_else_goes_wrong_no_attempt_is_lost_for_waiting() -> None:
    seen: Counter[str] = Counter()
    for seed in range(20):
        world = World(seed, faults=_HONEST)
        world.play()
        seen += world.patience.seen
        assert set(world.tally.ends) <= {
            "E_LIMITED",
            "E_SUPERSEDED",
        }  # its provider ended it, or a faster node
    assert min(seen["limited"], seen["person"]) > 10


def test_the_mild_profile_of_large_worlds_has_them_at_a_low_rate() -> None:
    assert 0 < profile("mild", nodes=300, hours=12).waits < profile("hostile", nodes=300, hours=12).waits


def test_who_takes_a_run_over_gives_a_node_at_its_limit_nothing_for_the_rest_of_it() -> None:
    seen: Counter[str] = Counter()
    for seed in range(10, 25):
        world = World(seed, faults=replace(HOSTILE, limited=0.3, jumps=0, skew_s=1.0))
        world.play()
        seen += world.patience.seen
    assert seen["limits taken over"] > 0
