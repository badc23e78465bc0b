"""The node's file: what was appended is there after a crash, and damage costs no more than what is behind it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_node.errors import OutboxError
from agent_node.events import AttemptKey, Ended, Fenced, Forgot, LocalRecord, Took
from agent_node.outbox import KEEP_S, OutboxEntry, replay, restarted
from agent_node.outbox_file import OutboxFile
from protocol.artifact import ArtifactRef
from protocol.messages import Cancelled, Failed, NamedRef, Result

RUN = "b" * 26
REF = ArtifactRef(sha256=bytes(range(32)), size=7, chunks=1, writer="U" + "A" * 55)


def key(subtask: str = "s1", attempt: int = 1) -> AttemptKey:
    return AttemptKey(RUN, subtask, attempt, 1)


RECORDS: list[LocalRecord] = [
    Fenced(RUN, 3),
    Took(key()),
    Ended(
        key(),
        Result(subtask="s1", attempt=1, epoch=1, outputs=[NamedRef(name="ü.txt", ref=REF)], wall_ms=5),
        12.5,
    ),
    Took(key("s2")),
    Ended(
        key("s2"), Failed(subtask="s2", attempt=1, epoch=1, code="E_X", message="why", retryable=False), 13.0
    ),
    Ended(key("s3"), Cancelled(subtask="s3", attempt=1, epoch=1), 13.5),
    Forgot(key()),
]


def written(path: Path, records: list[LocalRecord]) -> bytes:
    file = OutboxFile(path)
    file.open()
    file.append(records)
    file.sync()
    file.close()
    return path.read_bytes()


def read(path: Path) -> list[LocalRecord]:
    file = OutboxFile(path)
    try:
        return file.open()
    finally:
        file.close()


def test_what_was_appended_is_there_and_private(tmp_path: Path) -> None:
    path = tmp_path / "outbox.log"
    written(path, RECORDS)
    assert read(path) == RECORDS
    assert path.stat().st_mode & 0o777 == 0o600


def test_appending_goes_on_behind_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "outbox.log"
    written(path, RECORDS[:2])
    written(path, RECORDS[2:])
    assert read(path) == RECORDS


@given(cut=st.integers(0, 10_000))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_anywhere_gives_the_records_before_the_cut(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "outbox.log"
    path.unlink(missing_ok=True)
    data = written(path, RECORDS)
    path.write_bytes(data[: cut % (len(data) + 1)])
    found = read(path)
    assert found == RECORDS[: len(found)]
    assert cut % (len(data) + 1) < len(data) or found == RECORDS
    written(path, [Fenced(RUN, 9)])
    assert read(path) == [*found, Fenced(RUN, 9)]


@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_never_makes_another_record(tmp_path: Path, place: int, flip: int) -> None:
    path = tmp_path / "outbox.log"
    path.unlink(missing_ok=True)
    data = bytearray(written(path, RECORDS))
    data[place % len(data)] ^= flip
    path.write_bytes(data)
    found = read(path)
    assert found == RECORDS[: len(found)]
    assert len(found) < len(RECORDS)


def test_rewriting_keeps_what_it_is_given_and_appending_goes_on(tmp_path: Path) -> None:
    file = OutboxFile(tmp_path / "outbox.log")
    file.open()
    file.append(RECORDS)
    file.rewrite(RECORDS[-2:])
    file.append([Fenced(RUN, 5)])
    file.close()
    assert read(tmp_path / "outbox.log") == [*RECORDS[-2:], Fenced(RUN, 5)]
    assert [path.name for path in tmp_path.iterdir()] == ["outbox.log"]


def test_many_appends_share_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = os.fdatasync
    monkeypatch.setattr(
        "agent_node.outbox_file.os.fdatasync", lambda descriptor: (calls.append(1), real(descriptor))
    )
    file = OutboxFile(tmp_path / "outbox.log")
    file.open()
    for _ in range(100):
        file.append(RECORDS)
    assert file.unsynced
    file.sync()
    assert not file.unsynced
    file.close()
    assert calls == [1]


def test_a_file_that_cannot_be_written_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "outbox.log").mkdir()
    with pytest.raises(OutboxError) as caught:
        OutboxFile(tmp_path / "outbox.log").open()
    assert caught.value.code == "E_OUTBOX"
    assert str(tmp_path) in caught.value.message
    assert caught.value.hint


def test_replaying_finds_endings_to_say_and_work_that_was_interrupted() -> None:
    past = replay([*RECORDS, Took(key("s9"))])
    assert [entry.key for entry in past.entries] == [key("s2"), key("s3")]
    assert past.interrupted == [key("s9")]
    assert past.fences.highest(RUN) == 3
    assert past.fences.refuses(key("s1")) is not None
    failed = restarted(key("s9"))
    assert (failed.code, failed.retryable) == ("E_RESTARTED", True)


def test_an_ending_is_said_again_ever_more_rarely_and_given_up_after_a_day() -> None:
    entry = OutboxEntry(key(), Cancelled(subtask="s1", attempt=1, epoch=1), 0.0)
    waits = [entry.resend_at(0.0) for _ in range(8)]
    assert waits == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]
    assert not entry.expired(KEEP_S)
    assert entry.expired(KEEP_S + 1)
