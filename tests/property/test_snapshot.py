"""A snapshot and the rest of the journal make the very state that the whole journal makes, wherever it was taken."""

from __future__ import annotations

import hashlib
import random
import zlib

import msgpack
import pytest

from coordinator_node.chain import Link
from coordinator_node.fold import fold
from coordinator_node.snapshot import dump_state, load_state, state_map
from coordinator_node.state import RunState
from mesh.sim import World
from protocol.records import Record

SEEDS = 12


def journals(seed: int) -> dict[str, list[Record]]:
    """What was written in one hostile world."""
    world = World(seed)
    world.play()
    return {run: world.store.records(run) for run in world.store.logs}


def link(records: int) -> Link:
    return Link(records * 3, hashlib.sha256(str(records).encode()).digest(), records, linked=True)


def folded(records: list[Record], state: RunState | None = None) -> RunState:
    made = fold(records, state)
    assert made is not None
    return made


def same(one: RunState, other: RunState) -> bool:
    """Equal, in the order of what waits as well: the next award depends on it."""
    return (
        one == other and list(one.ready) == list(other.ready) and list(one.subtasks) == list(other.subtasks)
    )


@pytest.mark.requirement("OWN-7")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_snapshot_taken_anywhere_and_the_tail_are_the_whole(seed: int) -> None:
    for run, records in journals(seed).items():
        whole = folded(records)
        for cut in range(1, len(records) + 1):
            state = folded(records[:cut])
            found = load_state(run, dump_state(state_map(state), link(cut)))
            assert found is not None
            assert found[1] == link(cut)
            assert same(found[0], state)
            assert same(folded(records[cut:], found[0]), whole)


def test_a_state_and_its_map_share_nothing() -> None:
    run, records = next(iter(journals(1).items()))
    state = folded(records[:6])
    made = state_map(state)
    before = dump_state(made, link(6))
    folded(records[6:], state)
    assert dump_state(made, link(6)) == before
    assert load_state(run, before) is not None


@pytest.mark.requirement("OWN-7")
def test_what_is_damaged_foreign_or_of_another_form_is_as_none() -> None:
    run, records = next(iter(journals(2).items()))
    state = folded(records)
    good = dump_state(state_map(state), link(len(records)))
    rng = random.Random(7)
    for _ in range(200):
        changed = bytearray(good)
        changed[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        found = load_state(run, bytes(changed))
        assert found is None or same(found[0], state)  # a bit of the header that means nothing
        assert load_state(run, good[: rng.randrange(len(good))]) is None
    assert load_state("a" * 26, good) is None
    content = msgpack.unpackb(zlib.decompress(good))
    for change in ({"form": "another"}, {"count": 1}, {"digest": b"short"}, {"state": 5}, {"seq": "x"}):
        assert load_state(run, zlib.compress(msgpack.packb({**content, **change}))) is None
    for nonsense in (b"", b"x", zlib.compress(b"\xc1"), zlib.compress(msgpack.packb([1]))):
        assert load_state(run, nonsense) is None
