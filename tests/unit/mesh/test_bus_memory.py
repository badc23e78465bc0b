"""Patterns, and what only the twin of the bus and of the workspace can do: faults by seed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.bus import BusState, covers, matches
from mesh.bus_memory import MemoryHub
from mesh.errors import BadSettings, BusUnreachable, StoreUnavailable
from mesh.workspace import WorkspaceSizes
from mesh.workspace_memory import MemoryStore
from tests.support.nats import Inbox

tokens = st.sampled_from(["a", "b", "c"])
subjects = st.lists(tokens, min_size=1, max_size=4).map(".".join)
patterns = st.tuples(
    st.lists(st.sampled_from(["a", "b", "*"]), max_size=3), st.sampled_from(["a", "*", ">"])
).map(lambda parts: ".".join([*parts[0], parts[1]]))
RUN = "a" * 26


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("s.ann.>", "s.ann.x", True),
        ("s.ann.>", "s.ann.x.y", True),
        ("s.ann.>", "s.ann", False),
        ("s.*.c", "s.b.c", True),
        ("s.*.c", "s.b.d", False),
        ("s.*", "s.a.b", False),
        ("s.a.b", "s.a", False),
        (">", "anything.at.all", True),
    ],
)
def test_a_pattern_matches_as_the_server_does(pattern, subject, expected):
    assert matches(pattern, subject) is expected


@given(allowed=patterns, pattern=patterns, subject=subjects)
def test_what_a_covered_pattern_matches_its_cover_matches_too(allowed, pattern, subject):
    if covers(allowed, pattern) and matches(pattern, subject):
        assert matches(allowed, subject)


@given(pattern=patterns, subject=subjects)
def test_a_pattern_covers_itself_and_exactly_the_subjects_that_it_matches(pattern, subject):
    assert covers(pattern, pattern)
    assert covers(pattern, subject) is matches(pattern, subject)


async def history(seed, **faults):
    async with MemoryHub(random.Random(seed), **faults) as hub:
        sender, receiver, inbox = hub.connect("USENDER"), hub.connect("URECEIVER"), Inbox()
        await receiver.subscribe("s.ann.>", inbox)
        done = Inbox()
        await receiver.subscribe("s.end", done)
        for number in range(200):
            await sender.publish("s.ann.x", b"%d" % number)
        hub.drop = hub.duplicate = hub.delay = 0.0
        for _ in range(20):  # the longest delay is shorter than this
            await sender.publish("s.end", b"")
            await done.next()
        return [int(inbox.got.get_nowait().data) for _ in range(inbox.got.qsize())]


async def test_one_seed_is_one_history():
    faults = {"drop": 0.2, "duplicate": 0.2, "delay": 0.3}
    assert await history(7, **faults) == await history(7, **faults)
    assert await history(7, **faults) != await history(8, **faults)


async def test_faults_do_what_they_are_called():
    assert await history(1) == list(range(200))
    dropped = await history(1, drop=0.5)
    assert 50 < len(dropped) < 150
    assert dropped == sorted(dropped)
    doubled = await history(1, duplicate=0.5)
    assert len(doubled) > 250
    assert set(doubled) == set(range(200))
    late = await history(1, delay=0.5)
    assert sorted(late) == list(range(200))
    assert late != sorted(late)


async def test_a_member_that_is_cut_off_cannot_speak_until_it_is_back():
    async with MemoryHub() as hub:
        member, states = hub.connect("UME"), []
        member.on_state(lambda state, _: states.append(state))
        member.set_connected(False)
        with pytest.raises(BusUnreachable):
            await member.publish("s.hb.UME", b"")
        with pytest.raises(BusUnreachable):
            await member.flush()
        member.set_connected(True)
        await member.publish("s.hb.UME", b"")
        assert states == [BusState.RECONNECTING, BusState.CONNECTED]
        assert (member.stats.sent, member.stats.dropped) == (1, 1)


@pytest.mark.parametrize("faults", [{"lose": 0.3}, {"lose_ack": 0.3}, {"lose": 0.2, "lose_ack": 0.2}])
async def test_a_writer_that_repeats_unconfirmed_appends_writes_each_exactly_once(faults):
    store = MemoryStore(rng=random.Random(3), **faults)
    journal = store.workspace().journal
    seq, refusals = 0, 0
    for number in range(200):
        while True:
            try:
                seq = await journal.append(RUN, b"%d" % number, expected=seq)
                break
            except StoreUnavailable:
                refusals += 1
    assert refusals > 20
    assert StoreUnavailable.definite is False
    assert [int(entry.data) async for entry in journal.read(RUN)] == list(range(200))


def test_space_that_makes_no_sense_is_refused():
    with pytest.raises(BadSettings):
        WorkspaceSizes(journal=10)
    assert WorkspaceSizes().total == sum((1 << 30, 8 << 30, 64 << 20, 64 << 20, 256 << 20, 64 << 20))
