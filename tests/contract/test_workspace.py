"""What every workspace does, in one process and in JetStream alike."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

from mesh.errors import (
    BadSettings,
    DigestMismatch,
    DiskFull,
    NotFound,
    PayloadTooLarge,
    WriteConflict,
)
from mesh.workspace import MAX_MESSAGE_BYTES
from protocol.artifact import CHUNK_BYTES, ArtifactRef

RUN = "a" * 26
OTHER = "b" * 26


# -- key-value -----------------------------------------------------------------------------------------------------


async def test_a_key_is_created_read_replaced_and_removed_by_revision(world):
    board = (await world.workspace()).board
    assert await board.get("run.owner") is None
    first = await board.create("run.owner", b"one")
    assert await board.get("run.owner") == (b"one", first)
    second = await board.put("run.owner", b"two", first)
    assert second > first
    await board.delete("run.owner", second)
    assert await board.get("run.owner") is None
    third = await board.create("run.owner", b"three")
    assert third > second
    assert (await board.get("run.owner")).value == b"three"


async def test_a_replacement_of_an_outdated_revision_is_refused_and_shows_what_is_there(world):
    board = (await world.workspace()).board
    first = await board.create("k", b"one")
    second = await board.put("k", b"two", first)
    with pytest.raises(WriteConflict) as caught:
        await board.put("k", b"late", first)
    assert (caught.value.revision, caught.value.data, caught.value.code) == (second, b"two", "E_CONFLICT")
    with pytest.raises(WriteConflict):
        await board.delete("k", first)
    with pytest.raises(WriteConflict) as caught:
        await board.create("k", b"again")
    assert caught.value.revision == second


async def test_of_many_creators_of_one_key_exactly_one_wins_even_with_equal_values(world):
    boards = [(await world.workspace()).board for _ in range(3)]

    async def attempt(board):
        try:
            return await board.create("lease", b"same")
        except WriteConflict:
            return 0

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(boards[n % 3])) for n in range(24)]
    assert sum(1 for task in tasks if task.result()) == 1


async def test_keys_are_listed_by_prefix_without_removed_ones(world):
    board = (await world.workspace()).board
    revisions = {key: await board.create(key, b"v") for key in ("run.b", "run.a", "run.gone", "runs.c", "x")}
    await board.delete("run.gone", revisions["run.gone"])
    assert await board.keys("run") == ["run.a", "run.b"]
    assert await board.keys() == ["run.a", "run.b", "runs.c", "x"]
    assert await board.keys("nothing") == []


@pytest.mark.parametrize("key", ["", "a b", "a.*", ">", "a..b", ".a", "a.", "a\r\nPUB x", "k" * 300])
async def test_a_key_that_could_reach_others_is_refused(world, key):
    workspace = await world.workspace()
    with pytest.raises(BadSettings):
        await workspace.board.get(key)
    with pytest.raises(BadSettings):
        await workspace.invites.create(key, b"x")


async def test_a_value_over_the_limit_is_refused_before_it_is_sent(world):
    board = (await world.workspace()).board
    with pytest.raises(PayloadTooLarge):
        await board.create("big", b"x" * (MAX_MESSAGE_BYTES + 1))
    revision = await board.create("big", b"x" * MAX_MESSAGE_BYTES)
    assert await board.get("big") == (b"x" * MAX_MESSAGE_BYTES, revision)


async def test_what_changed_since_a_revision_is_listed_in_order_with_removals(world):
    board = (await world.workspace()).board
    one = await board.create("owner.a", b"1")
    two = await board.create("owner.b", b"2")
    await board.create("head.x", b"h")
    told = [change async for change in board.changes("owner")]
    assert [change[:3] for change in told] == [("owner.a", b"1", one), ("owner.b", b"2", two)]
    assert all(change.at_ms > 1_600_000_000_000 for change in told)
    three = await board.put("owner.a", b"3", one)
    await board.delete("owner.b", two)
    later = [change async for change in board.changes(after=two)]
    assert [(change.key, change.value) for change in later] == [
        ("head.x", b"h"),
        ("owner.a", b"3"),
        ("owner.b", None),
    ]
    assert [change.key async for change in board.changes("owner", three)] == ["owner.b"]
    assert [change async for change in board.changes(after=later[-1].revision)] == []


# -- journal -------------------------------------------------------------------------------------------------------


async def test_a_run_is_appended_to_and_read_back_in_order(world):
    journal = (await world.workspace()).journal
    assert await journal.last(RUN) is None
    seq, seqs = 0, []
    for number in range(5):
        seq = await journal.append(RUN, f"r{number}".encode(), expected=seq)
        seqs.append(seq)
        await journal.append(OTHER, f"o{number}".encode(), expected=(await _last_seq(journal, OTHER)))
    stored = [entry async for entry in journal.read(RUN)]
    assert [(entry.seq, entry.data) for entry in stored] == [
        (s, f"r{n}".encode()) for n, s in enumerate(seqs)
    ]
    assert [entry.seq async for entry in journal.read(RUN, after=seqs[2])] == seqs[3:]
    assert [entry async for entry in journal.read(RUN, after=seqs[-1])] == []
    assert (await journal.last(RUN)).data == b"r4"
    assert await journal.runs() == [RUN, OTHER]
    assert all(abs(entry.at_ms / 1000 - _now()) < 60 for entry in stored)


async def test_a_deposed_writer_is_refused_and_sees_the_message_that_came_first(world):
    mine, theirs = (await world.workspace()).journal, (await world.workspace()).journal
    first = await mine.append(RUN, b"mine 1", expected=0)
    second = await theirs.append(RUN, b"theirs", expected=first)
    with pytest.raises(WriteConflict) as caught:
        await mine.append(RUN, b"mine 2", expected=first)
    assert (caught.value.revision, caught.value.data) == (second, b"theirs")
    with pytest.raises(WriteConflict):
        await mine.append(RUN, b"mine 3", expected=0)


async def test_appending_the_same_message_again_after_a_lost_confirmation_is_harmless(world):
    journal = (await world.workspace()).journal
    first = await journal.append(RUN, b"one", expected=0)
    again = await journal.append(RUN, b"one", expected=0)
    assert again == first
    second = await journal.append(RUN, b"two", expected=first)
    assert await journal.append(RUN, b"two", expected=first) == second
    assert [entry.data async for entry in journal.read(RUN)] == [b"one", b"two"]


async def test_a_long_run_is_read_in_pages_without_losing_one(world):
    journal = (await world.workspace()).journal
    seq = 0
    for number in range(600):
        seq = await journal.append(RUN, b"%d" % number, expected=seq)
        if number % 100 == 0:
            await journal.append(OTHER, b"%d" % number, expected=await _last_seq(journal, OTHER))
    assert [int(entry.data) async for entry in journal.read(RUN)] == list(range(600))


async def test_a_full_journal_refuses_new_messages_and_keeps_the_old(world):
    journal = (await world.workspace()).journal
    written = []

    async def fill():
        seq = 0
        for number in range(100):
            data = bytes([number]) * 100_000
            seq = await journal.append(RUN, data, expected=seq)
            written.append(data)

    with pytest.raises(DiskFull) as caught:
        await fill()
    assert caught.value.code == "E_DISK_FULL"
    assert 8 <= len(written) <= 10
    assert [entry.data async for entry in journal.read(RUN)] == written
    assert (await journal.usage()).share > 0.8


# -- write-once ----------------------------------------------------------------------------------------------------


async def test_the_first_burn_of_an_invite_wins_and_a_repeat_by_the_winner_is_harmless(world):
    stores = [(await world.workspace("enroller")).burns for _ in range(2)]

    async def attempt(number):
        return await stores[number % 2].create("0011223344556677.0", f"node {number}".encode())

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(attempt(number)) for number in range(40)]
    winners = [number for number, task in enumerate(tasks) if task.result()]
    assert len(winners) == 1
    value = f"node {winners[0]}".encode()
    assert await stores[0].get("0011223344556677.0") == value
    assert await stores[1].create("0011223344556677.0", value) is True
    assert await stores[1].create("0011223344556677.0", b"thief") is False


async def test_records_are_listed_in_the_order_of_writing_and_by_prefix(world):
    workspace = await world.workspace("enroller")
    for key in ("aa.0", "bb.0", "aa.1"):
        assert await workspace.burns.create(key, key.encode())
    assert [key async for key, _ in workspace.burns.items()] == ["aa.0", "bb.0", "aa.1"]
    assert [value async for _, value in workspace.burns.items("aa")] == [b"aa.0", b"aa.1"]
    assert await workspace.invites.create("aa", b"invite")
    assert [key async for key, _ in workspace.invites.items()] == ["aa"]
    assert await workspace.invites.get("bb") is None


async def test_a_worker_can_read_a_certificate_by_its_serial(world):
    enroller = await world.workspace("enroller")
    await enroller.certs.create("00112233aabbccdd", b"certificate")
    for role in ("agent", "client", "observer", "coordinator", "admin"):
        workspace = await world.workspace(role)
        assert await workspace.certs.get("00112233aabbccdd") == b"certificate"


async def test_every_member_reads_what_enrollers_publish_in_the_swarm_bucket(world):
    enroller = await world.workspace("enroller")
    revision = await enroller.swarm.create("crl", b"list 1")
    agent = await world.workspace("agent")
    assert await agent.swarm.get("crl") == (b"list 1", revision)


# -- artifacts -----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("ART-3")
@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 17])
async def test_content_of_any_size_comes_back_as_it_was(world, size, tmp_path):
    key = world.key()
    mine = (await world.workspace("agent", key)).artifacts
    data = os.urandom(size)
    ref = await mine.put(data, key.public)
    assert ref == ArtifactRef(
        sha256=hashlib.sha256(data).digest(), size=size, chunks=-(-size // CHUNK_BYTES), writer=key.public
    )
    theirs = (await world.workspace("client")).artifacts
    assert b"".join([chunk async for chunk in theirs.get(ref)]) == data
    assert await theirs.read(ref, size) == data
    path = tmp_path / "content"
    path.write_bytes(data)
    assert await mine.put(path, key.public) == ref


async def test_a_stream_of_odd_pieces_becomes_the_same_artifact_as_its_bytes(world):
    key = world.key()
    artifacts = (await world.workspace("agent", key)).artifacts
    data = os.urandom(2 * CHUNK_BYTES + 5)

    async def pieces():
        for start in range(0, len(data), 100_003):
            yield data[start : start + 100_003]

    ref = await artifacts.put(pieces(), key.public)
    assert ref == await artifacts.put(data, key.public)
    assert await artifacts.read(ref, len(data)) == data


async def test_storing_the_same_content_again_writes_nothing(world):
    key = world.key()
    artifacts = (await world.workspace("agent", key)).artifacts
    data = os.urandom(7 << 20)
    ref = await artifacts.put(data, key.public)
    # A second copy would not fit into the space set aside.
    assert await artifacts.put(data, key.public) == ref


async def test_more_content_than_there_is_space_for_is_refused_as_disk_full(world):
    key = world.key()
    artifacts = (await world.workspace("agent", key)).artifacts
    with pytest.raises(DiskFull):
        await artifacts.put(os.urandom(9 << 20), key.public)


async def test_an_artifact_that_is_not_there_is_named_in_the_error(world):
    key = world.key()
    artifacts = (await world.workspace("client", key)).artifacts
    ref = ArtifactRef(sha256=b"\x11" * 32, size=10, chunks=1, writer=key.public)
    with pytest.raises(NotFound) as caught:
        await artifacts.read(ref, 100)
    assert ref.digest[:12] in caught.value.message


async def test_content_that_is_not_what_its_name_says_is_refused_at_the_end(world):
    key = world.key()
    artifacts = (await world.workspace("agent", key)).artifacts
    good = await artifacts.put(b"x" * 1000, key.public)
    for lie in ({"size": 999}, {"size": 1001}):
        with pytest.raises(DigestMismatch):
            await artifacts.read(good.model_copy(update=lie), 5000)
    with pytest.raises(PayloadTooLarge):
        await artifacts.read(good, 999)


async def test_a_file_that_changes_while_it_is_stored_leaves_nothing_wrong_behind(
    world, tmp_path, monkeypatch
):
    from mesh.artifact_source import Content

    key = world.key()
    artifacts = (await world.workspace("agent", key)).artifacts
    path = tmp_path / "log"
    data = bytes(CHUNK_BYTES) + b"tail"
    path.write_bytes(data)
    measure = Content.measure

    def measure_then_append(self):
        measure(self)
        path.write_bytes(bytes(CHUNK_BYTES) + b"TAIL")

    with monkeypatch.context() as patch:
        patch.setattr(Content, "measure", measure_then_append)
        with pytest.raises(DigestMismatch):
            await artifacts.put(path, key.public)
    ref = await artifacts.put(data, key.public)
    assert await artifacts.read(ref, len(data)) == data


async def test_a_removed_artifact_is_gone_and_another_writers_copy_stays(world):
    one, two = world.key(), world.key()
    data = os.urandom(CHUNK_BYTES + 1)
    coordinator = (await world.workspace("coordinator")).artifacts
    first = await (await world.workspace("agent", one)).artifacts.put(data, one.public)
    second = await (await world.workspace("agent", two)).artifacts.put(data, two.public)
    await coordinator.delete(first)
    await coordinator.delete(first)
    with pytest.raises(NotFound):
        await coordinator.read(first, 1 << 20)
    assert await coordinator.read(second, 1 << 20) == data


async def _last_seq(journal, run):
    stored = await journal.last(run)
    return stored.seq if stored else 0


def _now():
    from mesh.clock import SystemClock

    return SystemClock().now()
