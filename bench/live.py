"""A real swarm on this device: a hub and three agent nodes, each its own process, over the real bus; no-op subtasks through live auctions."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from coordinator_node.run_client import RunClient
from mesh.client import Swarm, connect_home
from mesh.daemon_main import daemon_argv
from mesh.founding import found_swarm
from mesh.home import Home
from mesh.inviting import make_invite
from mesh.joining import join_swarm
from protocol.messages import Event, ListNodes

NODES = ("ada", "bob", "cyd")
ONE_AT_A_TIME = 150
IN_FLIGHT = 1000
_WINDOW = 5
_AGENT = b'mdns = false\n[agent]\ndocuments = false\nnoop = true\ncapabilities = ["demo.noop"]\n'


def _start(home: Home) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        daemon_argv(home, quiet=True, parent=os.getpid()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


async def _until(check: Any, what: str) -> None:
    end = time.monotonic() + 30
    while not await check():
        if time.monotonic() > end:
            raise TimeoutError(what)
        await asyncio.sleep(0.1)


def _rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def _run(swarm: Swarm, steps: list[dict[str, Any]]) -> tuple[list[float], float]:
    """Do a plan; returns when each subtask was accepted (seconds, the coordinator's clock, to the millisecond) and how long the whole took."""
    accepted: list[float] = []

    def on_event(event: Event) -> None:
        if event.kind == "subtask.accepted":
            accepted.append(event.at_ms / 1000)

    client = RunClient(swarm.endpoint, on_event=on_event)
    started = time.perf_counter()
    await client.submit("measure", [], [], planner="file", plan={"goal": "measure", "steps": steps})
    view = await client.watch()
    took = time.perf_counter() - started
    if view["outcome"] != "done" or len(accepted) != len(steps):
        raise RuntimeError(f"{view['outcome']}: {view['message']} ({len(accepted)} of {len(steps)})")
    return accepted, took


async def live() -> dict[str, Any]:
    """p50 of one subtask at a time, and subtasks a second with 1,000 in flight."""
    with tempfile.TemporaryDirectory(prefix="zwerm-bench-") as folder:
        root = Path(folder)
        hub = Home(root / "hub")
        found_swarm(hub, name="bench", node_name="hub", bind="loopback", port=0, agent=False)
        hub.write("config.toml", b"mdns = false\njournal_mib = 256\nartifacts_mib = 256\n")
        processes = {"hub": _start(hub)}
        try:

            async def serving() -> bool:
                return hub.file("daemon.json").exists()

            await _until(serving, "the hub does not serve")
            async with connect_home(hub, role="admin") as admin:
                for name in NODES:
                    made = await make_invite(admin)
                    home = Home(root / name)
                    await join_swarm(home, made.token, node_name=name)
                    home.write("config.toml", _AGENT)
                    processes[name] = _start(home)
            async with connect_home(hub) as swarm:

                async def all_up() -> bool:
                    data = (await swarm.endpoint.call("runs", ListNodes(), timeout_s=5)).data
                    return sum(bool(node["agents"]) for node in data["nodes"]) == len(NODES)  # type: ignore[index,call-overload,union-attr]

                await _until(all_up, "the nodes do not come up")
                idle = {name: round(_rss_mib(processes[name].pid), 1) for name in NODES}
                chain = [
                    {"id": f"s{n:04}", "capability": "demo.noop", **({"after": f"s{n - 1:04}"} if n else {})}
                    for n in range(ONE_AT_A_TIME)
                ]
                await _run(swarm, chain[:20])
                accepted, _ = await _run(swarm, chain)
                # Over windows of five, because the records' times are whole milliseconds.
                gaps = sorted(
                    (after - before) * 1000 / _WINDOW
                    for before, after in zip(accepted, accepted[_WINDOW:], strict=False)
                )
                wide = [{"id": f"w{n:04}", "capability": "demo.noop"} for n in range(IN_FLIGHT)]
                rates, whole = [], []
                for _ in range(3):
                    accepted, took = await _run(swarm, wide)
                    whole.append(took)
                    rates.append(IN_FLIGHT / took)
                rss = {name: round(_rss_mib(process.pid), 1) for name, process in processes.items()}
                return {
                    "live3_p50_ms": round(statistics.median(gaps), 2),
                    "live3_p99_ms": round(gaps[int(len(gaps) * 0.99)], 2),
                    "live3_per_s": round(statistics.median(rates), 1),
                    "live3_per_s_all": [round(rate, 1) for rate in rates],
                    "node_rss_mib": max(rss[name] for name in NODES),
                    "node_rss_mib_idle": max(idle.values()),
                    "hub_rss_mib": rss["hub"],
                }
        finally:
            for process in processes.values():
                process.terminate()
            for process in processes.values():
                process.wait(20)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(live()), indent=1))
    sys.exit(0)
