"""Two hundred hostile worlds, in which the daemon's own Engine and Agent must keep every promise of the design."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from agent_node.sim_actor import SimAgent
from coordinator_node.sim_actor import SimCoordinator
from mesh.sim import CALM, Crash, Faults, Void, World
from mesh.sim.network import Door
from protocol.records import Owned, RunOpened

SEEDS = 200
_BLOCK = 20
_FAILED_ONCE = Path(__file__).with_name("seeds.txt")
_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, _BLOCK))
def test_no_fault_breaks_an_invariant_and_every_run_ends(first: int) -> None:
    for seed in range(first, first + _BLOCK):
        World(seed).play()


def test_seeds_that_once_failed_pass() -> None:
    for line in _FAILED_ONCE.read_text().splitlines():
        seed = line.partition("#")[0].strip()
        if seed:
            World(int(seed)).play()


def test_the_worlds_are_hostile_enough_to_mean_something() -> None:
    late, hedged, revised, kinds, mishaps, refused = 0, 0, 0, set[str](), Counter[str](), Counter[str]()
    for seed in range(40):
        world = World(seed)
        world.play()
        late += world.ledger.late
        hedged += len(world.ledger.hedged)
        revised += world.ledger.revised
        mishaps += world.network.mishaps
        refused += world.desk.peer.refused
        for run in world.plans:
            kinds |= {
                f"{record.k} {getattr(record, 'code', '')}".strip() for record in world.store.records(run)
            }
    assert late > 10
    assert hedged > 10
    assert revised > 10
    assert {"lost", "late", "doubled", "unconfirmed"} <= set(mishaps)
    assert {"E_REPLAY", "E_TIME"} <= set(refused)
    assert {
        "run.owned",
        "result.late",
        "result.rejected",
        "attempt.failed E_LEASE",
        "attempt.failed E_LIMITED",
        "attempt.failed E_RESTARTED",
        "attempt.failed E_WORK",
        "attempt.refused E_SLOTS",
        "attempt.state",
        "subtask.cancelled",
        "run.closed OK",
        "run.closed E_CANCELLED",
    } <= kinds


def test_the_same_seed_is_the_same_history() -> None:
    first, second, other = World(7), World(7), World(8)
    for world in (first, second, other):
        world.play()
    assert first.timeline.digest == second.timeline.digest
    assert first.timeline.digest != other.timeline.digest


def test_a_history_does_not_depend_on_the_process_that_plays_it() -> None:
    code = "from mesh.sim import World\nfor s in (*range(4), 99):\n w = World(s); w.play(); print(w.timeline.digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=_ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=50,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize("door", ["none", "hash", "ed25519"])
def test_a_world_without_faults_does_everything_once(door: Door) -> None:
    for seed in range(6):
        world = World(seed, faults=CALM, door=door)
        world.play()
        subtasks = sum(len(plan.subtasks) for plan in world.plans.values())
        assert world.ledger.accepted == subtasks
        assert world.ledger.late == 0
        assert set(world.ledger.closed.values()) == {"done"}
        assert not any(actor.peer.refused for actor in (world.desk, *world.agents))


def test_a_keyed_hash_in_the_place_of_signatures_changes_nothing() -> None:
    first, second = World(3, door="hash"), World(3, door="ed25519")
    for world in (first, second):
        world.play()
    assert first.timeline.digest == second.timeline.digest


def test_a_run_of_a_coordinator_that_dies_is_taken_by_another_and_never_has_two() -> None:
    taken = 0
    for seed in range(8):
        world = World(seed, coordinators=3, faults=Faults(kills=8, die=0.002))
        world.play()
        for run in world.plans:
            owners = [
                record.owner for record in world.store.records(run) if isinstance(record, (RunOpened, Owned))
            ]
            taken += sum(before != after for before, after in itertools.pairwise(owners))
    assert taken > 3


def test_a_run_survives_a_coordinator_that_dies_again_and_again() -> None:
    for seed in range(10):
        world = World(seed, faults=Faults(die=0.01, kills=6, fail=0, bad=0, limited=0, wedge=0))
        world.play()
        assert set(world.ledger.closed.values()) <= {"done", "partial", "cancelled", "unbid"}


_POINTS = [(kind.kind, point) for kind in (SimCoordinator, SimAgent) for point in kind.points]
_UNSEEN = {"submit.planned", "submit.stands", "say.Event", "said.Event"}
"""Points of shells that are not simulated: the service for clients, and what watchers are told."""


@pytest.mark.parametrize(("kind", "point"), _POINTS, ids=[point for _, point in _POINTS])
def test_a_process_may_die_at_every_named_point(kind: str, point: str) -> None:
    died = 0
    for seed in range(2 if point in _UNSEEN else 12):
        world = World(seed, faults=Faults(die=0, kills=3), crash=Crash(kind, point, nth=1 + seed % 3))
        world.play()
        died += world.died_at[point]
        if died:
            return
    assert died > 0 or point in _UNSEEN


def test_a_history_in_which_too_little_happens_is_void() -> None:
    with pytest.raises(Void, match="proves nothing"):
        World(1, faults=CALM, events_min=100_000).play()
