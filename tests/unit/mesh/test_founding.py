"""Starting a swarm and making an invite: everything at once or nothing, private, and only what was asked for."""

import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mesh.errors import BadSettings, DiskFull, PortTaken
from mesh.founding import MEMBER_ROLES, clean_name, found_swarm, server_settings
from mesh.home import Home, HomeBusy
from mesh.inviting import INVITE_ROLES, make_invite
from mesh.membership import Membership
from protocol.invite import FLAG_LAN_ONLY, FLAG_SINGLE_USE, decode_invite, proof_key
from protocol.messages import CreateInvite, Reply
from tests.support.members import found


def test_a_new_swarm_is_a_home_that_holds_together_and_nobody_else_can_read(tmp_path: Path):
    home = found(tmp_path / "hub")
    membership = Membership.load(home)
    assert membership.certificate.name == "hub"
    assert set(membership.certificate.roles) == {
        "client",
        "coordinator",
        "bus",
        "enroller",
        "admin",
        "observer",
    }
    assert home.problems() == []
    for path in home.path.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]


def test_no_two_keys_of_a_swarm_are_the_same(tmp_path: Path):
    seeds = [
        path.read_bytes()
        for home in (found(tmp_path / "a"), found(tmp_path / "b"))
        for path in (*home.path.glob("keys/*"), *home.path.glob("admin/*.key"), home.file("nats/store.key"))
    ]
    assert len(seeds) == 14
    assert len(set(seeds)) == 14


@pytest.mark.parametrize(
    "options",
    [
        {"name": "an office"},
        {"name": "o" * 100},
        {"node_name": "my laptop"},
        {"node_name": "my.laptop"},
        {"bind": "everywhere"},
        {"bind": "192.0.2.7", "port": 0},
    ],
)
def test_a_name_or_address_that_cannot_be_leaves_nothing_behind(tmp_path: Path, options: dict[str, Any]):
    given = {"name": "office", "node_name": "hub", "bind": "loopback", "port": 0, **options}
    with pytest.raises(BadSettings) as caught:
        found_swarm(Home(tmp_path / "hub"), **given)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_leaves_nothing_behind(tmp_path: Path):
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(PortTaken):
            found_swarm(Home(tmp_path / "hub"), name="x", bind="loopback", port=listener.getsockname()[1])
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_any_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real, writes = os.fsync, 0

    def counted(descriptor: int) -> None:
        nonlocal writes
        writes += 1
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counted)
        shutil.rmtree(found(tmp_path / "hub").path)
    for last in range(0, writes, 7):
        left = last

        def full(descriptor: int) -> None:
            nonlocal left
            if left <= 0:
                raise OSError(28, "No space left on device")
            left -= 1
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(DiskFull):
                found_swarm(Home(tmp_path / "hub"), name="office", node_name="hub", bind="loopback", port=0)
        assert list(tmp_path.iterdir()) == [], last


def test_a_device_is_in_one_swarm_at_a_time(tmp_path: Path):
    home = found(tmp_path / "hub")
    before = home.read("charter.bin")
    with pytest.raises(HomeBusy):
        found_swarm(home, name="another", bind="loopback", port=0)
    assert home.read("charter.bin") == before


@pytest.mark.parametrize(
    ("text", "name"),
    [("My laptop!", "My-laptop"), ("", "node"), ("...", "node"), ("x" * 99, "x" * 48), ("é-1", "1")],
)
def test_a_name_is_made_of_whatever_the_device_is_called(text: str, name: str):
    assert clean_name(text) == name


def test_the_servers_settings_follow_the_devices(tmp_path: Path):
    from mesh.config import Config, load_config

    home = found(tmp_path / "hub")
    config = load_config(home)
    settings = server_settings(home, home.load(), config)
    assert (settings.host, settings.port, settings.sync_always) == ("127.0.0.1", home.load().bus_port, False)
    assert settings.max_store_bytes > config.workspace_sizes().total
    assert server_settings(home, home.load(), Config()).sync_always


# --- invites ------------------------------------------------------------------------------------------------------------------


def a_swarm(home: Home, urls: list[str] | None = None) -> tuple[Any, list[CreateInvite]]:
    """What `make_invite` needs of a connection: it asks once, and is told when the invite ends."""
    membership = Membership.load(home)
    if urls is not None:
        membership.node = membership.node.model_copy(update={"bus_urls": urls})
    asked: list[CreateInvite] = []

    async def call(_service: str, item: CreateInvite, *, timeout_s: float) -> Reply:
        asked.append(item)
        return Reply(ok=True, data={"expires": int(membership.clock.now()) + item.ttl_s})

    return SimpleNamespace(
        membership=membership, endpoint=SimpleNamespace(clock=membership.clock, call=call)
    ), asked


async def test_the_secret_of_an_invite_never_leaves_the_device_but_in_its_text(tmp_path: Path):
    swarm, asked = a_swarm(found(tmp_path / "hub"))
    made = await make_invite(swarm, label="for nas")
    [sent] = asked
    invite = decode_invite(made.token)
    assert invite.secret not in (sent.id + sent.proof_pub)
    assert sent.proof_pub == proof_key(invite).public
    assert (sent.id, sent.role, sent.uses, sent.ttl_s) == (invite.invite_id, "agent", 1, 3600)
    assert invite.flags & FLAG_SINGLE_USE
    assert made.invite == invite.invite_id.hex()
    assert made.reaches == [f"127.0.0.1:{swarm.membership.node.bus_port}"]


async def test_an_invite_names_at_most_three_addresses_and_no_loopback_if_there_are_others(tmp_path: Path):
    urls = [f"tls://192.0.2.{number}:4747" for number in range(1, 6)] + ["tls://127.0.0.1:4747"]
    swarm, _ = a_swarm(found(tmp_path / "hub"), urls)
    made = await make_invite(swarm, uses=5)
    assert made.reaches == [f"192.0.2.{number}:4747" for number in (1, 2, 3)]
    invite = decode_invite(made.token)
    assert [endpoint.host for endpoint in invite.endpoints] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert not invite.flags & FLAG_SINGLE_USE
    assert 139 <= len(made.token) <= 190


async def test_an_invite_may_leave_the_addresses_to_the_local_network(tmp_path: Path):
    swarm, _ = a_swarm(found(tmp_path / "hub"))
    made = await make_invite(swarm, addresses=False)
    invite = decode_invite(made.token)
    assert (made.reaches, invite.endpoints) == ([], ())
    assert invite.flags & FLAG_LAN_ONLY


def test_every_role_that_can_be_invited_is_one_that_can_be_granted():
    assert set(INVITE_ROLES) == set(MEMBER_ROLES)
    assert all("client" in roles for roles in MEMBER_ROLES.values())
