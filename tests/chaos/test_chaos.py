"""More of each kind, for a quiet machine and a long break: `pytest -m chaos`. Hundreds are added up by `python -m tests.chaos.run`."""

import pytest

from tests.chaos.buses import bus_kills
from tests.chaos.cluster import cluster_kills
from tests.chaos.coordinators import coordinator_kills
from tests.chaos.links import slow_links
from tests.chaos.losses import packet_losses
from tests.chaos.partitions import partitions
from tests.chaos.test_small import check, needs_namespaces
from tests.chaos.workers import worker_kills

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.mark.parametrize("seed", [101, 102])
def test_coordinators_killed_at_random_times_and_points(seed: int):
    check("coordinator", coordinator_kills(desks=1), seed, 30)


def test_workers_killed_and_stopped():
    check("worker", worker_kills(), 103, 20)


def test_buses_killed_under_load():
    check("bus", bus_kills(), 104, 20)


def test_coordinators_and_servers_of_a_cluster_killed():
    check("cluster", cluster_kills(), 106, 8)


def test_links_that_are_far_lossy_narrow_or_stand_still():
    check("link", slow_links(), 107, 10)


@needs_namespaces
def test_packets_that_are_lost():
    check("loss", packet_losses(), 108, 6)


@needs_namespaces
def test_networks_that_fall_apart():
    check("partition", partitions(), 105, 12)
