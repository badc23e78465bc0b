"""The state directory: private, whole or absent, one daemon at a time."""

import os
import stat
from pathlib import Path

import pytest

from mesh.errors import DiskFull, MeshError
from mesh.home import Home, HomeBusy, HomeDamaged, NodeFile, NotInSwarm, locate_home, private_write


def node_file() -> NodeFile:
    return NodeFile(
        swarm="office",
        swarm_id="00" * 32,
        name="nas",
        node="ab" * 16,
        roles=["agent"],
        bus_urls=["tls://127.0.0.1:1"],
        bus_ca_sha256="11" * 32,
    )


def test_a_home_that_is_built_appears_whole_and_private(tmp_path: Path):
    home = Home(tmp_path / "z")
    with home.build() as scratch:
        scratch.save(node_file())
        scratch.write("keys/sign.key", b"secret")
        assert not home.exists
    assert home.load().name == "nas"
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.file("keys/sign.key").stat().st_mode) == 0o600
    assert home.problems() == []
    assert [path.name for path in tmp_path.iterdir()] == ["z"]


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path):
    home = Home(tmp_path / "z")
    with pytest.raises(RuntimeError), home.build() as scratch:  # noqa: PT012
        scratch.write("keys/sign.key", b"secret")
        raise RuntimeError("stopped")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_during_the_build_is_named_and_leaves_nothing_behind(tmp_path: Path):
    home = Home(tmp_path / "z")
    with pytest.raises(DiskFull) as caught, home.build():
        raise OSError(28, "No space left on device")
    assert caught.value.code == "E_DISK_FULL"
    assert list(tmp_path.iterdir()) == []


def test_a_second_swarm_on_the_same_home_is_refused(tmp_path: Path):
    home = Home(tmp_path / "z")
    with home.build() as scratch:
        scratch.save(node_file())
    with pytest.raises(HomeBusy) as caught, home.build():
        pass
    assert "zwerm leave" in caught.value.hint


def test_a_device_without_a_swarm_is_told_how_to_get_one(tmp_path: Path):
    with pytest.raises(NotInSwarm) as caught:
        Home(tmp_path).load()
    assert "zwerm init" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"swarm": 1}', b"\xff\xfe"])
def test_a_damaged_node_file_is_an_error_with_a_way_out(tmp_path: Path, content: bytes):
    (tmp_path / "node.json").write_bytes(content)
    with pytest.raises(HomeDamaged) as caught:
        Home(tmp_path).load()
    assert caught.value.hint


def test_only_one_daemon_runs_on_a_home_and_the_other_learns_which(tmp_path: Path):
    first, second = Home(tmp_path), Home(tmp_path)
    assert second.daemon_pid() is None
    with first.lock():
        assert second.daemon_pid() == os.getpid()
        with pytest.raises(HomeBusy) as caught, second.lock():
            pass
        assert str(os.getpid()) in caught.value.message
    assert second.daemon_pid() is None


def test_replacing_a_file_keeps_the_old_one_when_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "file"
    private_write(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MeshError):
        private_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_files_that_others_can_read_are_reported(tmp_path: Path):
    home = Home(tmp_path / "z")
    with home.build() as scratch:
        scratch.save(node_file())
        scratch.write("keys/sign.key", b"secret")
    home.file("keys/sign.key").chmod(0o644)
    [problem] = home.problems()
    assert "sign.key" in problem


def test_the_home_is_the_flag_then_the_environment_then_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ZWERM_HOME", str(tmp_path / "env"))
    assert locate_home(str(tmp_path / "flag")) == tmp_path / "flag"
    assert locate_home() == tmp_path / "env"
    monkeypatch.delenv("ZWERM_HOME")
    assert locate_home().name == "zwerm"
