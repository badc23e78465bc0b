"""`zwerm demo`: a whole swarm on this device, for a minute, on real documents.

One process for the coordinator (with the bus) and one for each of three agent nodes, each with its own keys and its own state directory, joined by real
invites. No node can do everything, and everything can be done by two of them, so killing any one changes who did what and not a byte of the report.
Whatever happens, the processes are stopped and the throwaway state is deleted; only the results stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from mesh.clock import SystemClock
from mesh.daemon_main import daemon_argv
from mesh.errors import MeshError
from mesh.founding import found_swarm
from mesh.home import Home
from mesh.joining import join_swarm
from mesh.output import Out

from .demo_state import throwaway
from .documents.samples import sample_files

__all__ = ["DEMO_GOAL", "DemoFailed", "DemoInput", "demo_swarm", "run_demo"]

DEMO_GOAL = "Find every date, amount, e-mail address and link in these documents, summarise them, and report"

_NODES: dict[str, tuple[str, ...]] = {
    "ada": ("doc.read", "table.*", "text.summarize"),
    "bob": ("doc.read", "text.extract", "text.keywords", "report.*"),
    "cyd": ("text.*", "table.*", "report.*"),
}
"""Who can do what; every capability is on two of the three."""

_READY_S = 30.0


class DemoFailed(MeshError):
    """The throwaway swarm did not come up."""

    def __init__(self, message: str, hint: str = "Run `zwerm doctor`; `zwerm demo -v` shows more.") -> None:
        super().__init__("E_DEMO", message, hint)


class DemoInput(MeshError):
    """What the demo was told to work on is not there."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            "E_INPUT",
            f"there is no {path}",
            "Check the path given with -i, or leave it out to use the samples.",
        )


class _Nodes:
    """The daemon processes of the demo; stops them all, whatever happens."""

    def __init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, home: Home) -> None:
        log = home.file("demo.log")
        with log.open("wb") as file:
            self.processes[name] = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                daemon_argv(home, quiet=True, parent=os.getpid()),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                cwd="/",
            )

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=5)


@contextlib.asynccontextmanager
async def demo_swarm(root: Path, out: Out) -> AsyncIterator[tuple[Home, dict[str, subprocess.Popen[bytes]]]]:
    """A coordinator and three agent nodes as processes of their own; yields the coordinator's home and the processes by name."""
    from mesh.client import connect_home
    from mesh.inviting import make_invite
    from protocol.messages import ListNodes

    nodes = _Nodes()
    try:
        hub = Home(root / "coordinator")
        found_swarm(hub, name="demo", node_name="coordinator", bind="loopback", port=0, agent=False)
        hub.write("config.toml", b"mdns = false\njournal_mib = 64\nartifacts_mib = 1024\n")
        nodes.start("coordinator", hub)
        await _serving(hub, nodes)
        out.say("✓ coordinator   bus, keys and certificates of its own")
        async with connect_home(hub, role="admin", timeout_s=_READY_S) as admin:
            for name, capabilities in _NODES.items():
                made = await make_invite(admin, label=name)
                home = Home(root / name)
                await join_swarm(home, made.token, node_name=name)
                home.write(
                    "config.toml",
                    f"mdns = false\n[agent]\ncapabilities = {json.dumps(capabilities)}\n".encode(),
                )
                nodes.start(name, home)
                out.say(f"✓ {name:<12}  joined by an invite; offers {', '.join(capabilities)}")
        async with connect_home(hub, timeout_s=_READY_S) as client:
            clock = SystemClock()
            end = clock.monotonic() + _READY_S
            while True:
                listed = (await client.endpoint.call("runs", ListNodes(), timeout_s=10)).data["nodes"]
                up = {str(node["name"]) for node in listed if node["state"] == "up" and node["agents"]}  # type: ignore[index, call-overload, union-attr]
                if set(_NODES) <= up:
                    break
                _all_alive(root, nodes)
                if clock.monotonic() > end:
                    raise DemoFailed(
                        f"only {', '.join(sorted(up)) or 'nobody'} of {', '.join(_NODES)} came up within {_READY_S:.0f} s"
                    )
                await asyncio.sleep(0.1)
        yield hub, nodes.processes
    finally:
        nodes.stop()


async def _serving(home: Home, nodes: _Nodes) -> None:
    clock = SystemClock()
    end = clock.monotonic() + _READY_S
    while not home.file("daemon.json").exists():
        _all_alive(home.path.parent, nodes)
        if clock.monotonic() > end:
            raise DemoFailed(f"the coordinator did not serve within {_READY_S:.0f} s")
        await asyncio.sleep(0.05)


def _all_alive(root: Path, nodes: _Nodes) -> None:
    for name, process in nodes.processes.items():
        if process.poll() is not None:
            said = (root / name / "demo.log").read_text(errors="replace").strip().splitlines()
            raise DemoFailed(f"{name} ended at once: {' / '.join(said[-3:]) or 'it said nothing'}")


async def run_demo(
    out: Out, *, documents: Path | None, output: Path, goal: str = DEMO_GOAL, keep: bool = False
) -> int:
    """Run the demo; returns the exit code of its run.

    Raises:
        DemoFailed: the swarm did not come up.
    """
    sources = [documents] if documents is not None else sample_files()
    with throwaway(keep=keep) as root:
        if keep:
            out.say(f"state kept in {root}")
        async with demo_swarm(root, out) as (hub, _):
            return await _do_goal(hub, goal, sources, output, out)


async def _do_goal(hub: Home, goal: str, sources: list[Path], output: Path, out: Out) -> int:
    """Run the goal as a person would, by the command, on the coordinator's device."""
    command = [sys.executable, "-m", "mesh", "run", goal, "-o", str(output), "--home", str(hub.path)]
    command += ["--with-parent", str(os.getpid())]
    for source in sources:
        command += ["-i", str(source)]
    command += ["--json"] if out.as_json else []
    command += ["--quiet"] if out.quiet else []
    # A session of its own: a Ctrl-C in the terminal reaches us alone, and we pass it on once.
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
    try:
        return await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
        raise
