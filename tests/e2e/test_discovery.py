"""Two hosts on one network, an invite without any address: the second finds the bus by mDNS, joins, and does a goal for the first."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_node.documents.samples import sample_files
from protocol.invite import decode_invite
from tests.support.devices import Device, everybody_up
from tests.support.netns import Host, network

pytestmark = [
    pytest.mark.integration,
    pytest.mark.netns,
    pytest.mark.timeout(150),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root and network namespaces"),
]


@pytest.fixture
def hosts() -> Iterator[dict[str, Host]]:
    with network(["hub", "nas"]) as made:
        yield made


def test_a_device_finds_the_bus_without_an_address_joins_and_does_a_goal(
    hosts: dict[str, Host], tmp_path: Path
):
    hub = Device(tmp_path / "hub", inside=hosts["hub"].inside)
    nas = Device(tmp_path / "nas", inside=hosts["nas"].inside)
    documents = tmp_path / "documents"
    documents.mkdir()
    for sample in sample_files():
        (documents / sample.name).write_bytes(sample.read_bytes())
    try:
        done = hub.zwerm("init", "home", "--node-name", "hub", "--bind", "lan", "--no-agent", "--no-service")
        assert done.returncode == 0, done.stderr
        assert hosts["hub"].address in done.stdout
        (hub.home / "config.toml").write_text("artifacts_mib = 256\njournal_mib = 64\nmdns = true\n")
        hub.up()

        token = hub.json("invite", "--no-address")["token"]
        assert decode_invite(token).endpoints == ()
        done = nas.zwerm("join", "-", "--node-name", "nas", "--no-service", stdin=token)
        assert done.returncode == 0, done.stderr
        assert "looking on the local network" in done.stderr
        assert hosts["hub"].address in done.stderr
        urls = json.loads((nas.home / "node.json").read_bytes())["bus_urls"]
        assert any(hosts["hub"].address in url for url in urls)

        nas.up()
        everybody_up(hub, {"hub", "nas"})
        for asking, out in ((hub, tmp_path / "one"), (nas, tmp_path / "two")):
            summary = asking.json("run", "Report on this folder", "-i", documents, "-o", out)
            assert summary["outcome"] == "done"
            assert json.loads((out / "provenance.json").read_text())["nodes"] == ["nas"]
        assert (tmp_path / "one" / "report.md").read_bytes() == (tmp_path / "two" / "report.md").read_bytes()
    finally:
        nas.stop()
        hub.stop()


def test_when_nobody_announces_the_swarm_the_joining_person_hears_what_to_do(
    hosts: dict[str, Host], tmp_path: Path
):
    hub = Device(tmp_path / "hub", inside=hosts["hub"].inside)
    nas = Device(tmp_path / "nas", inside=hosts["nas"].inside)
    try:
        done = hub.zwerm("init", "home", "--node-name", "hub", "--no-agent", "--no-service")
        assert done.returncode == 0, done.stderr
        (hub.home / "config.toml").write_text("artifacts_mib = 256\njournal_mib = 64\nmdns = false\n")
        hub.up()
        token = hub.json("invite", "--no-address")["token"]
        done = nas.zwerm("join", "-", "--no-service", "--json", stdin=token)
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["code"]) == (3, "E_BUS_UNREACHABLE")
        assert "--server" in error["hint"]
        assert not nas.home.exists()
        # what the hint says works, with the same invite
        server = f"{hosts['hub'].address}:4747"
        done = nas.zwerm("join", "-", "--no-service", "--server", server, stdin=token)
        assert done.returncode == 0, done.stderr
    finally:
        hub.stop()


def test_another_swarm_that_announces_itself_is_not_taken_for_ours(hosts: dict[str, Host], tmp_path: Path):
    hub = Device(tmp_path / "hub", inside=hosts["hub"].inside)
    neighbour = Device(tmp_path / "neighbour", inside=hosts["nas"].inside)
    joiner = Device(tmp_path / "joiner", inside=hosts["nas"].inside)
    try:
        for device in (hub, neighbour):
            done = device.zwerm("init", device.name, "--node-name", device.name, "--no-agent", "--no-service")
            assert done.returncode == 0, done.stderr
            (device.home / "config.toml").write_text("artifacts_mib = 256\njournal_mib = 64\nmdns = true\n")
            device.up()
        token = hub.json("invite", "--no-address")["token"]
        done = joiner.zwerm("join", "-", "--no-service", stdin=token)
        assert done.returncode == 0, done.stderr
        assert json.loads((joiner.home / "node.json").read_bytes())["swarm"] == "hub"
    finally:
        neighbour.stop()
        hub.stop()
