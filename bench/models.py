"""What the adapter `chat` costs: time of a call over the bare endpoint, and the node's memory with 64 answers coming at the same time.

python -m bench.models        needs the extra `models`; the server is the tests' scripted one, in another process
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2

from agent_node.adapters import Place, build
from agent_node.adapters.base import Job
from agent_node.config import load_config
from bench.live import _rss_mib, _run, _start, _until
from mesh.client import connect_home
from mesh.founding import found_swarm
from mesh.home import Home
from mesh.inviting import make_invite
from mesh.joining import join_swarm
from protocol.messages import ListNodes
from tests.support.model_server import ModelServer

CALLS = 200
AT_ONCE = 64


async def overhead(url: str) -> dict[str, Any]:
    """Milliseconds of a call: the bare endpoint, streamed and read to its end, and the same by the adapter, in turn."""
    with tempfile.TemporaryDirectory(prefix="zwerm-bench-") as folder:
        options = {"url": url, "model": "scripted", "local": True}
        entry = {"name": "m", "adapter": "chat", "capability": "text.summarize", "options": options}
        [adapter], _ = build(Place(load_config({"documents": False, "agents": [entry]}), Path(folder)))
        job = Job("1", "text.summarize", {"question": "Which day is it?"}, Path(folder))
        body: dict[str, Any] = {
            "model": "scripted",
            "messages": [],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        bare, ours = [], []
        async with httpx2.AsyncClient(trust_env=False) as client:
            for number in range(CALLS + 20):
                began = time.perf_counter()
                async with client.stream("POST", f"{url}/chat/completions", json=body) as response:
                    async for _ in response.aiter_raw():
                        pass
                middle = time.perf_counter()
                await adapter.run(job, lambda *_: None)
                if number >= 20:
                    bare.append(1000 * (middle - began))
                    ours.append(1000 * (time.perf_counter() - middle))
        await adapter.close()
    over = [own - plain for own, plain in zip(ours, bare, strict=True)]
    return {
        "bare_ms": round(statistics.median(bare), 2),
        "chat_ms": round(statistics.median(ours), 2),
        "overhead_ms_p50": round(statistics.median(over), 2),
        "overhead_ms_p95": round(sorted(over)[int(0.95 * len(over))], 2),
    }


async def memory(server: ModelServer) -> dict[str, Any]:
    """MiB of a node with 64 chat subtasks under way, and before."""
    with tempfile.TemporaryDirectory(prefix="zwerm-bench-") as folder:
        root = Path(folder)
        hub, home = Home(root / "hub"), Home(root / "ada")
        found_swarm(hub, name="bench", node_name="hub", bind="loopback", port=0, agent=False)
        hub.write("config.toml", b"mdns = false\njournal_mib = 256\nartifacts_mib = 256\n")
        processes = [_start(hub)]
        try:

            async def serving() -> bool:
                return hub.file("daemon.json").exists()

            await _until(serving, "the hub does not serve")
            async with connect_home(hub, role="admin") as admin:
                await join_swarm(home, (await make_invite(admin)).token, node_name="ada")
            options = f'{{ url = "{server.url}", model = "scripted", local = true }}'
            agent = f'[[agents]]\nname = "m"\nadapter = "chat"\ncapability = "text.summarize"\nslots = {AT_ONCE}\noptions = {options}\n'
            home.write("config.toml", f"mdns = false\n[agent]\ndocuments = false\n{agent}".encode())
            processes.append(_start(home))
            async with connect_home(hub) as swarm:

                async def up() -> bool:
                    data = (await swarm.endpoint.call("runs", ListNodes(), timeout_s=5)).data
                    return any(node["agents"] for node in data["nodes"])  # type: ignore[index,call-overload,union-attr]

                await _until(up, "the node does not come up")
                idle = _rss_mib(processes[1].pid)
                server.hold.set()
                steps = [
                    {
                        "id": f"s{n:02}",
                        "capability": "text.summarize",
                        "params": {"question": "Why? " * 500, "n": n},
                    }
                    for n in range(AT_ONCE)
                ]
                run = asyncio.ensure_future(_run(swarm, steps))

                async def all_speak() -> bool:
                    return len(server.requests) >= AT_ONCE

                await _until(all_speak, "64 answers did not begin")
                busy = _rss_mib(processes[1].pid)
                server.hold.clear()
                await run
                after = _rss_mib(processes[1].pid)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(20)
    return {
        "node_mib_idle": round(idle, 1),
        "node_mib_64_answers": round(busy, 1),
        "node_mib_after": round(after, 1),
    }


def main() -> None:
    """Measure and print."""
    argv = [sys.executable, "-m", "tests.support.model_server"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        figures = asyncio.run(overhead(other.stdout.readline().strip()))
        other.terminate()
    with ModelServer() as server:
        figures |= asyncio.run(memory(server))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
