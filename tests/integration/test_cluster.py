"""A bus of three servers: what the workspace promises on it, and what is said when there are too few."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from pathlib import Path

import pytest

from mesh.bus_nats import NatsBus
from mesh.errors import BadSettings, ServersMissing, StoreUnavailable, TooFewServers
from mesh.founding import found_swarm
from mesh.home import Home
from mesh.pki import found_ca
from mesh.server_kit import ROUTE_PORT_STEP, load_kit
from mesh.server_proc import NatsServer
from mesh.tasks import background
from mesh.workspace import JOURNAL, STREAMS, WorkspaceSizes
from mesh.workspace_nats import NatsStream, ensure_streams, open_workspace
from tests.support.members import found, running, until
from tests.support.nats import CLOCK, Site, secured_cluster, secured_server, write_secret

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SIZES = WorkspaceSizes(*[8 << 20] * 6)
RUN = "a" * 26


async def three_times(bus: NatsBus) -> None:
    """Have the workspace made, as soon as the servers have found each other."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await ensure_streams(bus, SIZES, replicas=3)
            except (ServersMissing, StoreUnavailable):
                await asyncio.sleep(0.2)


async def leader(bus: NatsBus, sites: list[Site]) -> Site:
    name = (await NatsStream(bus, JOURNAL).info())["cluster"]["leader"]
    return next(site for site in sites if site.server._settings.name == name)


async def test_what_was_confirmed_outlives_the_loss_of_the_server_that_confirmed_it(tmp_path: Path):
    async with secured_cluster(tmp_path) as sites:
        enroller = await sites[0].connect("enroller")
        await three_times(enroller)
        for name in STREAMS:
            assert (await NatsStream(enroller, name).info())["config"]["num_replicas"] == 3
        key = sites[0].key()
        jwt = sites[0].authority.mint_user("coordinator", key.public, "desk", now=CLOCK.now(), exp=None)
        bus = await NatsBus.connect([site.url for site in sites], sites[0].context(), key, jwt, name="desk")
        sites[0]._open.append(bus)
        assert bus.clustered
        async with background(bus.run()):
            workspace = open_workspace(bus)
            seq = 0
            for number in range(20):
                seq = await workspace.journal.append(RUN, b"%d" % number, expected=seq)
            lost = await leader(bus, sites)
            assert lost.server.pid is not None
            os.kill(lost.server.pid, signal.SIGKILL)
            for number in range(20, 25):
                seq = await workspace.journal.append(RUN, b"%d" % number, expected=seq)
            assert await leader(bus, sites) is not lost
            read = [stored.data async for stored in workspace.journal.read(RUN)]
            assert read == [b"%d" % number for number in range(25)]


async def test_what_was_stored_through_one_server_is_read_through_another_at_once(tmp_path: Path):
    async with secured_cluster(tmp_path) as sites:
        await three_times(await sites[0].connect("enroller"))
        keys = [site.key() for site in sites]
        spaces = [
            open_workspace(await site.connect("agent", key), worker=True)
            for site, key in zip(sites, keys, strict=True)
        ]
        enough = asyncio.Event()

        async def keep_busy(place: int) -> None:
            while not enough.is_set():
                await spaces[place].artifacts.put(os.urandom(2000), keys[place].public)

        async with asyncio.TaskGroup() as others:
            for place in range(3):
                others.create_task(keep_busy(place))
            for _ in range(150):
                content = os.urandom(1000)
                ref = await spaces[0].artifacts.put(content, keys[0].public)
                for space in spaces[1:]:
                    assert await space.artifacts.read(ref, 2000) == content
            enough.set()


def speak(port: int, context: ssl.SSLContext) -> bytes:
    """What a server says to somebody who comes as another server of its bus."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="swarm.internal") as safe,
    ):
        return safe.recv(1)


async def test_a_server_lets_no_other_in_that_shows_no_certificate_of_the_swarm(tmp_path: Path):
    async with secured_cluster(tmp_path) as [site, *_]:
        cluster = site.server._settings.cluster
        assert cluster is not None
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            await asyncio.to_thread(speak, cluster.port, site.context())
        foreign = found_ca(CLOCK.now()).issue_server(CLOCK.now())
        context = site.context()
        pem = write_secret(tmp_path / "foreign.pem", foreign.chain_pem + foreign.key_pem)
        context.load_cert_chain(pem)
        with pytest.raises(ssl.SSLError, match=r"UNKNOWN_CA|BAD_CERTIFICATE"):
            await asyncio.to_thread(speak, cluster.port, context)


async def test_one_server_cannot_keep_three_copies_and_says_so(tmp_path: Path):
    async with secured_server(tmp_path) as site:
        with pytest.raises(TooFewServers) as caught:
            await ensure_streams(await site.connect("enroller"), SIZES, replicas=3)
        assert (caught.value.code, caught.value.retryable) == ("E_REPLICAS", False)
        assert "replicas = 1" in caught.value.hint


async def test_a_device_with_one_server_whose_settings_ask_for_three_copies_does_not_start(tmp_path: Path):
    home = found(tmp_path / "hub")
    home.write("config.toml", b"mdns = false\nartifacts_mib = 64\njournal_mib = 16\nreplicas = 3\n")
    with pytest.raises(ExceptionGroup) as caught:
        async with running(home):
            pass
    [error] = caught.value.exceptions
    assert isinstance(error, TooFewServers)


async def test_the_first_device_waits_aloud_for_the_other_servers_and_then_serves(tmp_path: Path):
    from mesh.discovery import Endpoint
    from tests.support.ports import bus_ports

    ports = bus_ports(3)
    home = Home(tmp_path / "hub")
    others = [Endpoint("127.0.0.1", port) for port in ports[1:]]
    found_swarm(home, name="o", node_name="hub", bind="loopback", port=ports[0], agent=False, servers=others)
    home.write("config.toml", b"mdns = false\nartifacts_mib = 64\njournal_mib = 16\nreplicas = 3\n")
    said: list[str] = []
    servers = [NatsServer(load_kit(home.file(f"servers/{number}"))) for number in (2, 3)]

    async def start_the_others() -> None:
        await until("it waits", lambda: [line for line in said if line.startswith("Waiting")], 60.0)
        for server in servers:
            await server.start()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(start_the_others())
            async with running(home, say=said.append):
                assert home.file("daemon.json").exists()
    finally:
        for server in servers:
            await server.stop()


async def test_servers_that_are_away_are_waited_for(tmp_path: Path):
    async with secured_cluster(tmp_path) as sites:
        enroller = await sites[0].connect("enroller")
        await three_times(enroller)
        await sites[1].server.stop()
        with pytest.raises(ServersMissing) as caught:
            await ensure_streams(enroller, SIZES, replicas=5)  # type: ignore[call-overload]
        assert caught.value.retryable
        assert "zwerm serve" in caught.value.hint


def test_a_folder_that_is_none_of_a_server_is_refused_with_where_they_are(tmp_path: Path):
    with pytest.raises(BadSettings) as caught:
        load_kit(tmp_path)
    assert "servers/" in caught.value.hint


def test_the_servers_of_a_bus_have_each_others_address_and_keys_of_their_own(tmp_path: Path):
    from mesh.discovery import Endpoint

    home = found(tmp_path / "hub", servers=[Endpoint("10.0.0.2", 4747), Endpoint("10.0.0.3", 4800)])
    node = home.load()
    assert node.bus_urls[1:] == ["tls://10.0.0.2:4747", "tls://10.0.0.3:4800"]
    kits = [load_kit(home.file(f"servers/{number}")) for number in (2, 3)]
    assert node.routes == ["10.0.0.2:6747", "10.0.0.3:6800"]
    first = f"127.0.0.1:{node.bus_port + ROUTE_PORT_STEP}"
    assert [kit.cluster.routes for kit in kits if kit.cluster] == [
        (first, "10.0.0.3:6800"),
        (first, "10.0.0.2:6747"),
    ]
    assert len({kit.store_key for kit in kits}) == 2
    assert len({kit.name for kit in kits} | {node.name}) == 3
    for kit in kits:
        held = {path.name for path in kit.cert_file.parent.iterdir()}
        assert held == {"server.json", "server.pem", "server.key", "bus-ca.pem", "store.key"}


@pytest.mark.parametrize("count", [1, 3])
def test_a_bus_with_an_even_number_of_servers_is_refused(tmp_path: Path, count: int):
    from mesh.discovery import Endpoint

    with pytest.raises(BadSettings) as caught:
        found(tmp_path / "hub", servers=[Endpoint("10.0.0.2", 4747 + n) for n in range(count)])
    assert "1, 3 or 5" in caught.value.message
