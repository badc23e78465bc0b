"""Copies of artifacts: right or absent, and never more than the space for them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from agent_node.cache_file import InputCache
from protocol.artifact import ArtifactRef


def ref(data: bytes) -> ArtifactRef:
    return ArtifactRef(sha256=hashlib.sha256(data).digest(), size=len(data), chunks=1, writer="U" + "A" * 55)


def test_what_was_added_is_handed_out_as_a_copy(tmp_path: Path) -> None:
    cache = InputCache(tmp_path / "cache", 1000)
    kept = cache.add(ref(b"hello"), b"hello")
    assert kept is not None
    assert kept.held == {ref(b"hello").sha256[:8]: 5}
    assert cache.copy_to(ref(b"hello"), tmp_path / "one")
    (tmp_path / "one").write_bytes(b"spoilt")
    assert cache.copy_to(ref(b"hello"), tmp_path / "two")
    assert (tmp_path / "two").read_bytes() == b"hello"


def test_what_is_not_there_is_not_handed_out(tmp_path: Path) -> None:
    cache = InputCache(tmp_path / "cache", 1000)
    assert not cache.copy_to(ref(b"hello"), tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_content_that_is_not_what_it_says_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"other")
    cache = InputCache(tmp_path / "cache", 1000)
    assert cache.add(ref(b"hello"), tmp_path / "file") is None
    assert cache.used == 0
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_longest_unused_goes_when_space_is_short(tmp_path: Path) -> None:
    cache = InputCache(tmp_path / "cache", 40)
    data = [bytes([number]) * 10 for number in range(5)]
    for one in data[:4]:
        cache.add(ref(one), one)
    cache.copy_to(ref(data[0]), tmp_path / "used")
    kept = cache.add(ref(data[4]), data[4])
    assert kept is not None
    assert kept.gone == [ref(data[1]).sha256[:8]]
    assert cache.used == 40
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_what_would_fill_a_quarter_of_the_space_is_not_kept(tmp_path: Path) -> None:
    cache = InputCache(tmp_path / "cache", 40)
    assert cache.add(ref(bytes(11)), bytes(11)) is None
    assert InputCache(tmp_path / "none", 0).add(ref(b"x"), b"x") is None


def test_a_copy_that_vanished_is_fetched_again_not_invented(tmp_path: Path) -> None:
    cache = InputCache(tmp_path / "cache", 1000)
    cache.add(ref(b"hello"), b"hello")
    for file in (tmp_path / "cache").iterdir():
        file.unlink()
    assert not cache.copy_to(ref(b"hello"), tmp_path / "one")


def test_a_new_start_begins_empty(tmp_path: Path) -> None:
    InputCache(tmp_path / "cache", 1000).add(ref(b"hello"), b"hello")
    assert not InputCache(tmp_path / "cache", 1000).copy_to(ref(b"hello"), tmp_path / "one")
