"""Leases and who takes what: decided from revisions and one's own monotonic clock, by nothing else."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator_node.ownership import Lease, Ownership, rank
from tests.support.builders import node_id, run_id

ME, ANN, BOB = node_id("me"), node_id("ann"), node_id("bob")
TTL = 3.0


def leases(**revisions: int) -> dict[str, Lease]:
    nodes = {"me": ME, "ann": ANN, "bob": BOB}
    return {nodes[name]: Lease(nodes[name], revision, TTL) for name, revision in revisions.items()}


def mine(*others: str) -> str:
    """A run that the hash gives to us among these."""
    return next(run for run in map(run_id, range(1, 500)) if rank(run, frozenset({ME, *others}))[0] == ME)


def theirs(other: str) -> str:
    return next(run for run in map(run_id, range(1, 500)) if rank(run, frozenset({ME, other}))[0] == other)


class Watcher:
    """A coordinator that reads every half second and renews its own lease every second."""

    def __init__(self, begin: float = 100.0) -> None:
        self.core = Ownership(ME, TTL)
        self.now = begin
        self.core.renewed(begin)

    def see(self, seconds: float = 0.5, **revisions: int) -> None:
        """Time passes, then the board is read."""
        self.now += seconds
        self.core.renewed(self.now - 0.1)
        self.core.observed(leases(**revisions), self.now)

    def takes(self, run: str, owner: str) -> bool:
        return self.core.takes(run, owner, self.now)


@pytest.mark.requirement("OWN-1")
def test_a_lease_is_held_from_the_moment_of_asking_and_for_less_than_its_length() -> None:
    core = Ownership(ME, TTL)
    assert not core.holds(0.0)
    core.renewed(10.0)
    assert core.holds(12.6)
    assert not core.holds(12.8)
    core.renewed(9.0)  # an older answer that came late takes nothing away
    assert core.holds(12.6)
    core.left()
    assert not core.holds(10.0)
    assert core.renew_every() * 3 < TTL


@pytest.mark.requirement("OWN-2")
def test_a_lease_that_is_not_renewed_is_over_after_its_length_and_one_that_is_renewed_never() -> None:
    watcher = Watcher()
    for number in range(20):
        watcher.see(ann=7, bob=number)
        assert watcher.core.lives(ANN) == (number < 6)
        assert watcher.core.lives(BOB)
    assert watcher.core.alive(watcher.now) == {ME, BOB}


@pytest.mark.requirement("OWN-2")
def test_a_lease_that_is_not_there_is_over_at_once() -> None:
    watcher = Watcher()
    watcher.see(ann=1, bob=2)
    watcher.see(ann=3)
    assert watcher.core.alive(watcher.now) == {ME, ANN}


@pytest.mark.requirement("OWN-2")
def test_what_could_not_be_read_makes_nobody_dead() -> None:
    watcher = Watcher()
    watcher.see(ann=1)
    watcher.see(60.0, ann=1)  # the bus was away; ann has not been able to renew either
    assert watcher.core.lives(ANN)
    watcher.see(ann=2)
    for _ in range(5):
        watcher.see(ann=2)
    assert watcher.core.lives(ANN)
    watcher.see(ann=2)
    assert not watcher.core.lives(ANN)


@pytest.mark.requirement("OWN-2")
def test_who_reads_slowly_still_finds_out() -> None:
    watcher = Watcher()
    for number in range(4):
        watcher.see(4.0, ann=1)
        assert watcher.core.lives(ANN) == (number < 2)


@pytest.mark.requirement("OWN-3")
def test_no_run_of_a_living_owner_is_taken_and_our_own_are_whenever_we_hold_our_lease() -> None:
    watcher = Watcher()
    run = mine(ANN)
    assert not watcher.takes(run, ME), "the board has not been read"
    watcher.see(ann=1)
    assert watcher.takes(run, ME)
    assert not watcher.takes(run, ANN)
    for _ in range(7):
        watcher.see(ann=1)
    assert watcher.takes(run, ANN)
    watcher.see(ann=2)  # it is back
    assert not watcher.takes(run, ANN)
    assert not watcher.core.takes(run, ME, watcher.now + TTL), "our own lease is over"


@pytest.mark.requirement("OWN-3")
def test_the_run_of_a_dead_owner_goes_to_the_one_that_the_hash_names_and_later_to_the_next() -> None:
    watcher = Watcher()
    first, second = mine(BOB), theirs(BOB)
    watcher.see(bob=1, ann=1)
    watcher.see(bob=2)
    assert watcher.takes(first, ANN)
    assert not watcher.takes(second, ANN)
    for number in range(3, 14):
        watcher.see(bob=number)
    assert not watcher.takes(second, ANN)
    watcher.see(bob=20)
    assert watcher.takes(second, ANN)


def test_a_run_is_read_ahead_while_its_owner_is_doubtful_and_by_the_next_one_only() -> None:
    watcher = Watcher()
    run, other = mine(BOB), theirs(BOB)
    expected = []
    for number in range(9):
        watcher.see(ann=1, bob=number)
        expected.append(watcher.core.expects(run, ANN, watcher.now))
        assert not watcher.core.expects(other, ANN, watcher.now)
        assert not watcher.core.expects(run, BOB, watcher.now)
    assert expected == [False] * 3 + [True] * 3 + [False] * 3


@pytest.mark.requirement("OWN-3")
def test_who_speaks_for_an_ended_run_is_one() -> None:
    watcher = Watcher()
    watcher.see(bob=1)
    run, other = mine(BOB), theirs(BOB)
    assert watcher.core.speaks_for(run, ANN, watcher.now)
    assert not watcher.core.speaks_for(other, ANN, watcher.now)
    assert watcher.core.speaks_for(other, ME, watcher.now)
    assert not watcher.core.speaks_for(run, BOB, watcher.now)


@pytest.mark.requirement("OWN-3")
@given(
    st.sets(st.integers(1, 30), min_size=1, max_size=8), st.lists(st.integers(1, 400), min_size=1, max_size=9)
)
def test_everybody_has_the_same_order_and_one_that_goes_moves_only_its_own_runs(
    nodes: set[int], runs: list[int]
) -> None:
    everybody = frozenset(node_id(str(number)) for number in nodes)
    for run in map(run_id, runs):
        order = rank(run, everybody)
        assert sorted(order) == sorted(everybody)
        for gone in everybody - {order[0]}:
            assert rank(run, everybody - {gone})[0] == order[0]


def test_runs_are_shared_out_about_equally() -> None:
    nodes = frozenset({ME, ANN, BOB})
    counts = dict.fromkeys(nodes, 0)
    for number in range(1, 901):
        counts[rank(run_id(number), nodes)[0]] += 1
    assert min(counts.values()) > 240


@pytest.mark.requirement("OWN-2")
@pytest.mark.parametrize("seed", range(30))
def test_nobody_takes_a_run_while_its_owner_holds_its_lease_by_its_own_clock(seed: int) -> None:
    """Whatever the delays of reading and renewing."""
    rng = random.Random(seed)
    offsets = {node: rng.uniform(-1e6, 1e6) for node in (ME, ANN)}  # monotonic clocks have nothing in common
    cores = {node: Ownership(node, TTL) for node in (ME, ANN)}
    revision, written = {ME: 1, ANN: 1}, {ME: 0.0, ANN: 0.0}

    def read(node: str) -> None:
        board = {name: Lease(name, number, TTL) for name, number in revision.items()}
        cores[node].observed(board, now + offsets[node])

    now, run, taken = 0.0, run_id(1), 0
    for node in (ME, ANN):
        cores[node].renewed(offsets[node])
        read(node)
    while now < 400:
        now += rng.uniform(0.01, 0.4)
        silent = ANN if now % 40 > 30 else ME if now % 40 > 20 else ""
        node = rng.choice([ME, ANN])
        other = ANN if node == ME else ME
        if rng.random() < 0.4:
            if node != silent:
                revision[node] += 1
                written[node] = now
                cores[node].renewed(now - rng.uniform(0, 0.3) + offsets[node])
            continue
        read(node)
        if cores[node].takes(run, other, now + offsets[node]):
            taken += 1
            assert not cores[other].holds(now + offsets[other])
            assert now - written[other] >= TTL
    assert taken


# --- how far two clocks are apart ---


def read(watcher: Watcher, revision: int, at_ms: int | None, ours_ms: int, session: bytes = b"one") -> None:
    """Ann's lease is read, which says what her clock was, when ours says so much."""
    watcher.now += 0.5
    lease = Lease(ANN, revision, TTL, "ann", at_ms, session)
    watcher.core.observed({ANN: lease}, watcher.now, at_ms=ours_ms)


@pytest.mark.requirement("OWN-8")
def test_the_renewal_that_was_read_soonest_says_how_far_two_clocks_are_apart() -> None:
    watcher = Watcher()
    read(watcher, 1, 1_000, 99_000)  # nobody knows how old it was when it was read
    assert watcher.core.apart_ms(ANN) == 0
    read(watcher, 2, 2_000, 5_400)
    assert watcher.core.apart_ms(ANN) == 3_400
    read(watcher, 3, 3_000, 6_100)
    read(watcher, 3, 3_000, 6_600)  # the same renewal again is no news
    read(watcher, 4, 4_000, 7_300)
    assert watcher.core.apart_ms(ANN) == 3_100
    watcher.core.observed({}, watcher.now + 1, at_ms=9_000)
    assert watcher.core.apart_ms(ANN) == 3_100, "it is needed when the other has gone"


@pytest.mark.requirement("OWN-8")
def test_a_clock_that_was_set_is_noticed_and_another_process_has_another_clock() -> None:
    watcher = Watcher()
    for revision in range(1, 20):
        read(watcher, revision, 1_000 * revision, 1_000 * revision + 50)
    for revision in range(20, 30):
        read(watcher, revision, 1_000 * revision, 1_000 * revision + 7_050)
    assert watcher.core.apart_ms(ANN) == 7_050
    read(watcher, 31, 31_000, 41_000, b"two")
    assert watcher.core.apart_ms(ANN) == 10_000


def test_who_says_no_time_and_we_ourselves_are_not_apart() -> None:
    watcher = Watcher()
    for revision in (1, 2, 3):
        read(watcher, revision, None, 5_000)
    assert watcher.core.apart_ms(ANN) == watcher.core.apart_ms(BOB) == watcher.core.apart_ms(ME) == 0
