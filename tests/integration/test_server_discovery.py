"""mDNS for real: two network namespaces on one wire, and networks on which it cannot work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mesh.discovery import Beacon
from mesh.discovery_mdns import announce, browse

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]

SPEAKER = """
import asyncio, sys
sys.path.insert(0, {root!r})
from mesh.discovery import Beacon
from mesh.discovery_mdns import announce
async def main():
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    import signal
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await announce(Beacon({swarm!r}, {node!r}, {port}), on_announced=lambda: print("announced", flush=True))
    except asyncio.CancelledError:
        print("goodbye", flush=True)
asyncio.run(main())
"""

LISTENER = """
import asyncio, json, sys
sys.path.insert(0, {root!r})
from mesh.discovery_mdns import browse
async def main():
    heard = await browse({timeout}, swarm={swarm!r}, enough={enough})
    print(json.dumps([beacon._asdict() for beacon in heard]))
asyncio.run(main())
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def wire():
    """Two namespaces joined by a cable; gone afterwards."""
    if os.geteuid() != 0:
        pytest.skip("needs root and network namespaces")
    tag = f"zw{os.getpid() % 100_000}"
    spaces = [f"{tag}a", f"{tag}b"]
    with contextlib.ExitStack() as stack:
        for space in spaces:
            ip("netns", "add", space)
            stack.callback(subprocess.run, ["ip", "netns", "del", space], capture_output=True)
        ip(
            "link",
            "add",
            f"{tag}0",
            "netns",
            spaces[0],
            "type",
            "veth",
            "peer",
            "name",
            f"{tag}1",
            "netns",
            spaces[1],
        )
        for number, space in enumerate(spaces):
            ip("-n", space, "addr", "add", f"10.99.0.{number + 1}/24", "dev", f"{tag}{number}")
            ip("-n", space, "link", "set", f"{tag}{number}", "up")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "route", "add", "default", "dev", f"{tag}{number}")
        yield spaces


@contextlib.asynccontextmanager
async def program(space, tmp_path, name, text, **values):
    script = tmp_path / f"{name}.py"
    script.write_text(textwrap.dedent(text).format(root=str(ROOT), **values))
    process = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", space, sys.executable, str(script), stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(10):
                await process.wait()


async def line(process):
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


@pytest.mark.netns
async def test_two_hosts_on_one_network_find_each_other_without_an_address(wire, tmp_path):
    one, two = wire
    async with (
        program(
            one, tmp_path, "speaker", SPEAKER, swarm="deadbeef", node="laptop-01234567", port=4222
        ) as speaker,
        program(
            one, tmp_path, "other", SPEAKER, swarm="0badcafe", node="stranger-76543210", port=4223
        ) as other,
    ):
        assert await line(speaker) == "announced"
        assert await line(other) == "announced"
        async with program(
            two, tmp_path, "listener", LISTENER, timeout=10, swarm="deadbeef", enough=1
        ) as listener:
            heard = json.loads(await line(listener))
        assert heard == [
            {"swarm": "deadbeef", "node": "laptop-01234567", "port": 4222, "addresses": ["10.99.0.1"]}
        ]
        speaker.terminate()
        assert await line(speaker) == "goodbye"
        async with program(
            two, tmp_path, "again", LISTENER, timeout=2, swarm="deadbeef", enough=1
        ) as listener:
            assert json.loads(await line(listener)) == []


@pytest.mark.netns
async def test_two_nodes_of_one_name_are_both_heard(wire, tmp_path):
    one, two = wire
    async with (
        program(one, tmp_path, "first", SPEAKER, swarm="deadbeef", node="pc-01234567", port=4222) as first,
    ):
        assert await line(first) == "announced"
        async with program(
            two, tmp_path, "second", SPEAKER, swarm="deadbeef", node="pc-01234567", port=4333
        ) as second:
            assert await line(second) == "announced"
            async with program(
                two, tmp_path, "listener", LISTENER, timeout=10, swarm="deadbeef", enough=2
            ) as listener:
                heard = json.loads(await line(listener))
            assert {beacon["port"] for beacon in heard} == {4222, 4333}


@pytest.mark.netns
@pytest.mark.parametrize("network", ["nothing at all", "loopback only", "multicast cut off"])
async def test_a_network_without_multicast_neither_stops_nor_delays_a_node(tmp_path, network):
    if os.geteuid() != 0:
        pytest.skip("needs root and network namespaces")
    script = tmp_path / "node.py"
    script.write_text(
        textwrap.dedent(f"""
        import asyncio, sys
        sys.path.insert(0, {str(ROOT)!r})
        from mesh.discovery import Beacon
        from mesh.discovery_mdns import announce, browse
        async def main():
            async with asyncio.TaskGroup() as group:
                task = group.create_task(announce(Beacon("deadbeef", "pc-01234567", 4222, ("10.1.2.3",))))
                async with asyncio.timeout(10):
                    print("heard", [b.port for b in await browse(0.5, swarm="0badcafe")])
                    task.cancel()
            print("ended")
        asyncio.run(main())
        """)
    )
    prepare = {
        "nothing at all": "true",
        "loopback only": "ip link set lo up",
        "multicast cut off": (
            "ip link set lo up && ip link add d0 type veth peer name d1 && ip link set d1 up && ip addr add 10.1.2.3/24 dev d0 && "
            "ip link set d0 up && ip route add default dev d0 && ip route add blackhole 224.0.0.0/4"
        ),
    }[network]
    process = await asyncio.create_subprocess_exec(
        "unshare",
        "-n",
        "sh",
        "-c",
        f"{prepare} && exec {sys.executable} {script}",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    async with asyncio.timeout(40):
        output, _ = await process.communicate()
    assert output.decode().splitlines() == ["heard []", "ended"]


async def test_trouble_in_the_mdns_library_never_reaches_the_node(monkeypatch):
    def broken():
        raise RuntimeError("no such interface")

    tried = asyncio.Event()

    def addresses():
        tried.set()
        return ["10.0.0.1"]

    monkeypatch.setattr("mesh.discovery_mdns._open", broken)
    assert await browse(5.0) == []
    async with asyncio.TaskGroup() as group:
        task = group.create_task(announce(Beacon("deadbeef", "pc-01234567", 4222), addresses=addresses))
        await tried.wait()
        await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
