"""The hash chain: what owners wrote one after the other is read; anything else is noticed, named, and never guessed at."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator_node.chain import Link
from coordinator_node.errors import JournalBroken
from coordinator_node.fold import fold
from coordinator_node.journal_store import Folded, JournalStore, read_run
from mesh.endpoint import CallFailed, Endpoint
from mesh.workspace import Stored
from protocol.codec import pack
from protocol.envelope import FLAG_JOURNAL
from protocol.errors import Rejected
from protocol.ids import run_bytes
from protocol.messages import Head, ListRuns, ShowRun, Type
from protocol.records import NO_LINK, RECORDS_VERSION, Chain, Owned, Record, RunOpened, SubtaskCancelled
from tests.support.builders import a_ref, node_id, run_id
from tests.support.endpoint_memory import MemorySwarm
from tests.support.swarm_memory import Team

RUN, OTHER = run_id(1), run_id(2)
MUTATIONS = 200


class Tampered:
    """A journal as somebody left it: messages in the order and with the numbers that the test says."""

    def __init__(self, messages: list[Stored]) -> None:
        self.messages = messages

    async def read(self, run: str, after: int = 0) -> AsyncIterator[Stored]:
        for message in self.messages:
            if message.seq > after:
                yield message


class Writer:
    """Writes runs' journals message by message, as `JournalStore` does, without an engine behind it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.now_ms = int(endpoint.clock.now() * 1000)

    def journal(self, run: str, messages: int, *, linked_from: int = 1) -> list[Stored]:
        """So many messages, from the opening on; those before `linked_from` have no link."""
        link = Link()
        stored: list[Stored] = []
        for number in range(1, messages + 1):
            records: list[Record] = [self.opened(run)] if number == 1 else []
            records += [
                Owned(at_ms=number, epoch=number * 10 + extra, owner=self.endpoint.node)
                for extra in range(number % 3 + (number > 1))
            ]
            chain = link.chain(number) if number >= linked_from else None
            raw = self.endpoint.seal_record(run, records, chain)
            stored.append(Stored(number * 7, raw, self.now_ms))
            link = Link(number * 7, digest(raw), link.count + len(records), chain is not None)
        return stored

    def opened(self, run: str) -> RunOpened:
        return RunOpened(
            at_ms=1, run=run, goal=a_ref("goal"), by=node_id("client"), epoch=1, owner=self.endpoint.node
        )


def digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


@pytest.fixture
async def swarm(tmp_path: Path) -> AsyncIterator[MemorySwarm]:
    async with MemorySwarm(tmp_path) as made:
        yield made


async def read(endpoint: Endpoint, messages: list[Stored], head: Head | None = None) -> Folded | None:
    endpoint.journal = Tampered(messages)  # type: ignore[assignment]
    return await read_run(endpoint, RUN, head=head)


async def broken(endpoint: Endpoint, messages: list[Stored], head: Head | None = None) -> JournalBroken:
    with pytest.raises(JournalBroken) as caught:
        await read(endpoint, messages, head)
    assert caught.value.code == "E_JOURNAL"
    assert caught.value.hint
    return caught.value


@pytest.mark.requirement("REC-12")
async def test_what_is_written_is_linked_message_by_message_and_counts_its_records(tmp_path: Path) -> None:
    async with Team(tmp_path) as team:
        role = await team.coordinate()
        await team.work("ann", noop=True)
        run = await team.submit({"id": "one", "capability": "demo.noop"})
        await team.event("run.closed")
        prev, count, told = NO_LINK, 0, 0
        async for stored in role.endpoint.journal.read(run):
            read_pack = role.endpoint.open_pack(run, stored.data, stored.at_ms)
            assert read_pack.chain is not None
            assert (read_pack.chain.prev, read_pack.chain.first) == (prev, count + 1)
            prev, count, told = digest(stored.data), count + len(read_pack.records), told + 1
        assert told > 1
        folded = await read_run(role.endpoint, run)
        assert folded is not None
        assert (folded.link.digest, folded.link.count, folded.state.records) == (prev, count, count)


@pytest.mark.requirement("REC-12")
async def test_a_journal_of_before_the_chain_folds_and_goes_on_linked_but_never_back(
    swarm: MemorySwarm,
) -> None:
    desk = await swarm.join("desk", ["coordinator"])
    for linked_from in (5, 3, 1):
        messages = Writer(desk).journal(RUN, 4, linked_from=linked_from)
        folded = await read(desk, messages)
        assert folded is not None
        assert folded.link.linked == (linked_from < 5)
    unlinked = Writer(desk).journal(RUN, 4, linked_from=9)[3]
    error = await broken(desk, [*messages[:3], unlinked])
    assert error.seq == unlinked.seq
    assert "not linked" in error.message


@pytest.mark.requirement("REC-13")
async def test_each_kind_of_damage_is_named_with_the_message_where_it_shows(swarm: MemorySwarm) -> None:
    desk, twin = await swarm.join("desk", ["coordinator"]), await swarm.join("twin", ["coordinator"])
    good = Writer(desk).journal(RUN, 6)
    other = Writer(desk).journal(OTHER, 6)
    opened = desk.open_pack(RUN, good[2].data, good[2].at_ms)
    resigned = good[2]._replace(data=twin.seal_record(RUN, opened.records, opened.chain))
    again = good[2]._replace(data=desk.seal_record(RUN, opened.records, opened.chain))
    cases = {
        "missing": (good[:2] + good[3:], good[3].seq),
        "repeated": ([*good[:3], good[1]._replace(seq=good[2].seq + 1)], good[2].seq + 1),
        "lower number": ([*good[:3], good[2]], good[2].seq),
        "not the owner": ([*good[:2], resigned], resigned.seq),
        "fork": ([*good[:2], again, *good[3:]], good[3].seq),
        "before run.opened": ([Stored(3, unopened(desk), good[0].at_ms)], 3),
        "addressed to": ([*good[:2], other[2], *good[3:]], other[2].seq),
        "signature": ([good[0]._replace(data=flip(good[0].data, -1, 0))], good[0].seq),
        "another run": (
            [Stored(1, desk.seal_record(RUN, [Writer(desk).opened(OTHER)], Link().chain(1)), good[0].at_ms)],
            1,
        ),
    }
    for words, (messages, seq) in cases.items():
        error = await broken(desk, messages)
        assert words in error.message
        assert error.seq == seq


def unopened(desk: Endpoint) -> bytes:
    return desk.seal_record(RUN, [SubtaskCancelled(at_ms=1, subtask="one")], Link().chain(1))


def flip(raw: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= 1 << bit
    return bytes(changed)


def mutate(
    rng: random.Random, good: list[Stored], other: list[Stored], twin: Endpoint, desk: Endpoint
) -> Any:
    """One change to the journal, of a kind and at a place drawn by `rng`."""
    at = rng.randrange(len(good))
    messages, one = list(good), good[at]

    def change(data: bytes) -> list[Stored]:
        messages[at] = one._replace(data=data)
        return messages

    def resign() -> list[Stored]:
        opened = twin.open_pack(RUN, one.data, one.at_ms)
        return change(twin.seal_record(RUN, opened.records, opened.chain))

    def swap() -> list[Stored]:
        first, second = sorted(rng.sample(range(len(good)), 2))
        one, other = good[first], good[second]
        messages[first], messages[second] = other._replace(seq=one.seq), one._replace(seq=other.seq)
        return messages

    def repeat() -> list[Stored]:
        messages.insert(at + 1, one._replace(seq=one.seq + 1))
        return messages

    def drop() -> list[Stored]:
        del messages[at]
        return messages

    def unlink() -> list[Stored]:
        return change(desk.seal_record(RUN, desk.open_pack(RUN, one.data, one.at_ms).records))

    kinds: dict[str, Callable[[], list[Stored]]] = {
        "flip": lambda: change(flip(one.data, rng.randrange(len(one.data)), rng.randrange(8))),
        "truncate": lambda: change(one.data[: rng.randrange(len(one.data))]),
        "lengthen": lambda: change(one.data + rng.randbytes(rng.randint(1, 40))),
        "foreign": lambda: change(other[rng.randrange(len(other))].data),
        "resign": resign,
        "swap": swap,
        "repeat": repeat,
        "drop": drop,
        "cut": lambda: messages[:at],
        "unlink": unlink,
    }
    kind = rng.choice(sorted(kinds))
    return kind, kinds[kind]()


@pytest.mark.requirement("REC-13")
async def test_200_of_200_random_changes_to_a_journal_are_noticed(swarm: MemorySwarm) -> None:
    desk, twin = await swarm.join("desk", ["coordinator"]), await swarm.join("twin", ["coordinator"])
    good, other = Writer(desk).journal(RUN, 9), Writer(desk).journal(OTHER, 9)
    whole = await read(desk, good)
    assert whole is not None
    link = whole.link
    head = Head(
        run=RUN, seq=link.seq, count=link.count, digest=link.digest, epoch=whole.state.epoch, owner=desk.node
    )
    assert await read(desk, good, head) == whole
    rng = random.Random(20_261_125)
    noticed: dict[str, int] = {}
    for _ in range(MUTATIONS):
        kind, messages = mutate(rng, good, other, twin, desk)
        assert messages != good
        await broken(desk, messages, head)
        noticed[kind] = noticed.get(kind, 0) + 1
    assert sum(noticed.values()) == MUTATIONS
    assert len(noticed) == 10


@pytest.mark.requirement("REC-14")
async def test_records_of_a_newer_version_are_not_read_and_the_version_is_said(swarm: MemorySwarm) -> None:
    desk = await swarm.join("desk", ["coordinator"])
    newer = Chain(at_ms=1, prev=NO_LINK, first=1, version=RECORDS_VERSION + 1)
    raw = desk.seal_record(RUN, [Writer(desk).opened(RUN)], newer)
    with pytest.raises(Rejected, match=f"version {RECORDS_VERSION + 1}") as caught:
        desk.open_pack(RUN, raw, Writer(desk).now_ms)
    assert caught.value.code == "E_VERSION"
    error = await broken(desk, [Stored(1, raw, Writer(desk).now_ms)])
    assert f"version {RECORDS_VERSION + 1}" in error.message
    assert error.hint == "Update zwerm on this device."


@pytest.mark.requirement("REC-14")
async def test_a_record_that_only_a_newer_version_knows_names_that_version_too(swarm: MemorySwarm) -> None:
    desk = await swarm.join("desk", ["coordinator"])
    link = {"k": "chain", "at_ms": 1, "prev": NO_LINK, "first": 1, "version": RECORDS_VERSION + 3}
    raw = desk._sealer.seal(
        Type.JOURNAL,
        f"run/{RUN}/journal",
        pack([link, {"k": "run.dreamt", "at_ms": 1}]),
        now_ms=Writer(desk).now_ms,
        ttl_s=0,
        context=run_bytes(RUN),
        flags=FLAG_JOURNAL,
    )
    error = await broken(desk, [Stored(1, raw, Writer(desk).now_ms)])
    assert f"version {RECORDS_VERSION + 3}" in error.message


@pytest.mark.requirement("REC-12")
async def test_a_link_stands_at_the_beginning_and_never_alone(swarm: MemorySwarm) -> None:
    desk = await swarm.join("desk", ["coordinator"])
    link: Any = Link().chain(1)
    opened = Writer(desk).opened(RUN)
    for items in ([link], [opened, link], [link, opened, link]):
        raw = desk.seal_record(RUN, items)
        error = await broken(desk, [Stored(1, raw, Writer(desk).now_ms)])
        assert "a link stands at the beginning" in error.message


async def test_reading_on_from_what_was_read_gives_what_reading_it_all_gives(swarm: MemorySwarm) -> None:
    desk = await swarm.join("desk", ["coordinator"])
    good = Writer(desk).journal(RUN, 8)
    for cut in range(1, 8):
        first = await read(desk, good[:cut])
        assert first is not None
        desk.journal = Tampered(good)  # type: ignore[assignment]
        assert await read_run(desk, RUN, after=first) == await read_run(desk, RUN)


async def test_a_broken_run_is_halted_and_shown_and_the_others_go_on(tmp_path: Path) -> None:
    async with Team(tmp_path) as team:
        first = await team.coordinate()
        await team.stop("desk")
        writer, journal = Writer(first.endpoint), first.endpoint.journal
        expected = 0
        for number in (0, 2):  # the message between them is missing
            raw = writer.journal(RUN, 3)[number].data
            expected = await journal.append(RUN, raw, expected=expected)
        role = await team.coordinate()
        assert RUN in role.archive.broken
        await team.work("ann", noop=True)
        run = await team.submit({"id": "one", "capability": "demo.noop"})
        await team.event("run.closed")
        listed = {entry["run"]: entry for entry in (await team.ask(ListRuns())).data["runs"]}  # type: ignore[union-attr, index]
        assert listed[run]["outcome"] == "done"
        assert (listed[RUN]["status"], listed[RUN]["code"]) == ("halted", "E_JOURNAL")
        with pytest.raises(CallFailed) as caught:
            await team.ask(ShowRun(run=RUN))
        assert caught.value.code == "E_JOURNAL"
        assert "missing" in caught.value.message


async def test_what_the_store_wrote_is_what_it_reads_however_it_was_packed(swarm: MemorySwarm) -> None:
    desk = await swarm.join("desk", ["coordinator"])
    tasks: list[Any] = []

    def start(coroutine: Any) -> object:
        tasks.append(asyncio.ensure_future(coroutine))
        return tasks[-1]

    store = JournalStore(desk, start, lambda *_: None, lambda _: None)
    records: list[Record] = [Writer(desk).opened(RUN)]
    records += [Owned(at_ms=1, epoch=number, owner=desk.node) for number in range(2, 600)]
    for at in range(0, len(records), 97):
        store.submit(RUN, records[at : at + 97], [])
    await store.drain()
    folded = await read_run(desk, RUN)
    assert folded is not None
    assert folded.state == fold(records)
    assert store.appends >= 3
