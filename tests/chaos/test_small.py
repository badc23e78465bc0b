"""A few of each kind, in every `.ci/run`: kills at two dozen named points, ten each of workers, buses and partitions, fifty worlds. `-m chaos_small`."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from mesh.sim import World
from tests.chaos.buses import bus_kills
from tests.chaos.cluster import TAKEN_S, cluster_kills
from tests.chaos.coordinators import SMALL_POINTS, coordinator_kills
from tests.chaos.links import LINKS, slow_links
from tests.chaos.partitions import partitions
from tests.chaos.trial import Trial, play, quiet_logs
from tests.chaos.workers import worker_kills

pytestmark = [pytest.mark.chaos_small, pytest.mark.timeout(300)]

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nft") is None,
    reason="needs root, iproute2 and nftables for network namespaces",
)


def check(kind: str, trial: Trial, seed: int, count: int) -> list[dict]:
    """Play and hold every line to account; a blow that shows nothing is void, and half of them may not be."""
    with quiet_logs():
        lines = asyncio.run(play(trial, kind, seed, count, bound_s=280))
    assert [line for line in lines if line["outcome"] not in ("ok", "void")] == []
    assert sum(line["outcome"] == "ok" for line in lines) >= count / 2
    return lines


def test_a_coordinator_killed_at_any_named_point_loses_and_doubles_nothing():
    assert len(set(SMALL_POINTS)) == 24
    trial = coordinator_kills(desks=1, points=SMALL_POINTS)
    lines = check("coordinator", trial, 1, len(SMALL_POINTS))
    missed = [line["how"] for line in lines if line["how"] not in SMALL_POINTS]
    assert missed == []


def test_work_of_killed_and_stopped_nodes_is_awarded_again_in_time_and_zombies_are_fenced():
    check("worker", worker_kills(), 2, 10)


def test_a_killed_bus_loses_nothing_that_it_acknowledged():
    check("bus", bus_kills(), 3, 10)


def test_a_coordinator_killed_together_with_a_server_of_the_cluster_loses_its_runs_to_another_within_20_seconds():
    [line] = check("cluster", cluster_kills(kinds=("coordinator and the journal's leader",)), 4, 1)
    assert 0 < line["times"]["takeover_with_server_s"] <= TAKEN_S


def test_bad_links_lose_and_double_nothing_and_nobody_is_called_dead():
    check("link", slow_links(each_s=6.0), 5, len(LINKS))


@needs_namespaces
@pytest.mark.parametrize("seed", [0, 1])
def test_a_network_that_falls_apart_awards_nothing_twice_and_heals(seed: int, tmp_path: Path):
    check("partition", partitions(longest_s=6.0), seed, 5)


def test_fifty_more_simulated_worlds_keep_every_promise():
    for seed in range(5_000, 5_050):
        World(seed).play()
