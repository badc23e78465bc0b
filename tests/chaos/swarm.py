"""A swarm whose daemons are processes that can be killed, one by one: the bus alone, coordinators alone, agents alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mesh.bus_nats import NatsBus
from mesh.client import Swarm, connect_home
from mesh.daemon_main import daemon_argv
from mesh.discovery import Endpoint
from mesh.errors import MeshError
from mesh.founding import found_swarm
from mesh.home import Home
from mesh.inviting import make_invite
from mesh.joining import join_swarm
from mesh.workspace import JOURNAL
from mesh.workspace_nats import NatsStream
from protocol.errors import ZwermError
from protocol.messages import ListNodes, Ping
from tests.support.ports import bus_ports

__all__ = ["AGENT", "Chaos", "Kit", "Node", "Shape", "Stuck", "agent_config", "chaos_swarm", "until"]

WORK = Path(__file__).with_name("work.py")
START_S = 40.0
"""How long a daemon may take to serve; the machine may be busy with other things."""


class Stuck(AssertionError):
    """Something did not happen in time."""


async def until(what: str, check: Callable[[], Any], timeout_s: float, *, step_s: float = 0.02) -> Any:
    """The first true result of `check` (a function or a coroutine function).

    Raises:
        Stuck: it stays false.
    """
    end = time.monotonic() + timeout_s
    while True:
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        if time.monotonic() > end:
            raise Stuck(f"{what}: not within {timeout_s:.0f} s")
        await asyncio.sleep(step_s)


def agent_config(*, slots: int, queue: int, extra: str = "") -> str:
    """`config.toml` of a node that offers the chaos work; echo and join in threads, hold in a process that outlives a stopped daemon."""
    parts = [
        f"mdns = false\n[agent]\ndocuments = false\nnoop = true\nslots = {slots}\nqueue = {queue}\ncache_mib = 16\n"
    ]
    for name, mode in (("echo", "thread"), ("join", "thread"), ("hold", "process")):
        parts.append(
            f'[[agents]]\nname = "{name}"\nadapter = "python"\nmode = "{mode}"\ncapability = "chaos.{name}"\n'
            f'target = "{WORK}:{name}"\n'
        )
    return "".join(parts) + extra


AGENT = agent_config(slots=12, queue=24)


class Node:
    """One device and its daemon."""

    def __init__(self, home: Home, *, inside: Sequence[str] = ()) -> None:
        """`inside`: the command that runs another one in the device's network namespace."""
        self.home = home
        self.name = home.path.name
        self.inside = list(inside)
        self.process: subprocess.Popen[bytes] | None = None
        self.stopped = False
        self.starts = 0

    @property
    def id(self) -> str:
        """Its node id, hex."""
        return self.home.load().node

    def start(self, **env: str) -> None:
        """Start the daemon; does not wait."""
        self.starts += 1
        with (self.home.path / "chaos.log").open("ab") as log:
            log.write(f"--- start {self.starts} {time.time():.3f} {env}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                [*self.inside, *daemon_argv(self.home, quiet=True, parent=os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={**os.environ, **env},
            )

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def serves(self) -> bool:
        """Whether this very process has said that it is up."""
        with contextlib.suppress(OSError, ValueError):
            status = json.loads(self.home.file("daemon.json").read_bytes())
            return self.process is not None and bool(status["pid"] == self.process.pid)
        return False

    async def up(self, **env: str) -> None:
        """Start the daemon and wait until it serves.

        Raises:
            Stuck: it does not, or ends.
        """
        self.start(**env)
        await self.serving()

    async def serving(self, timeout_s: float = START_S) -> None:
        """Wait until it serves."""

        def check() -> bool:
            if not self.alive:
                raise Stuck(f"{self.name} ended: {self.said()}")
            return self.serves

        await until(f"{self.name} serves", check, timeout_s)

    def said(self, lines: int = 8) -> str:
        """The last words of its log."""
        return " / ".join((self.home.path / "chaos.log").read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> float:
        """kill -9; returns when (Unix seconds)."""
        assert self.process is not None
        at = time.time()
        self.process.kill()
        self.process.wait(10)
        self.stopped = False
        return at

    def pause(self) -> float:
        """SIGSTOP: everything stands still, and knows nothing of it."""
        assert self.process is not None
        at = time.time()
        self.process.send_signal(signal.SIGSTOP)
        self.stopped = True
        return at

    def resume(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.stopped = False

    def server_pid(self) -> int:
        """The process of the nats-server that this daemon runs; 0 while there is none."""
        return _server_pid(self.home.file("nats"))


@dataclass(frozen=True, slots=True)
class Shape:
    """What a swarm consists of."""

    coordinators: int = 1
    agents: int = 3
    agent: str = AGENT
    coordinator: str = ""
    """Settings of `[coordinator]`."""
    journal_mib: int = 512
    servers: int = 1
    """Of the bus. With 3, the two beside the first device's are processes of their own."""


class Kit:
    """A further server of the bus, run by `zwerm serve`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name: str = json.loads((folder / "server.json").read_bytes())["name"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; does not wait."""
        with (self.folder / "chaos.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mesh", "serve", str(self.folder)),
                    *("--with-parent", str(os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )

    def server_pid(self) -> int:
        """The nats-server's process; 0 while there is none."""
        return _server_pid(self.folder / "nats")

    def stop(self) -> None:
        """As Ctrl-C would."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(25)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


def _server_pid(folder: Path) -> int:
    for path in folder.glob("*.ports"):
        pid = path.stem.rpartition("_")[2]
        if Path(f"/proc/{pid}").exists():
            return int(pid)
    return 0


@dataclass(slots=True)
class Chaos:
    """A running swarm. `judge` is a connection under the role coordinator, which may read the journal; `admin` one that may look at all streams; `client` one as a person's program has it."""

    folder: Path
    bus: Node
    coordinators: list[Node] = field(default_factory=list)
    agents: list[Node] = field(default_factory=list)
    kits: list[Kit] = field(default_factory=list)
    client: Swarm = field(init=False)
    judge: Swarm = field(init=False)
    admin: Swarm = field(init=False)

    @property
    def nodes(self) -> list[Node]:
        """All devices."""
        return [self.bus, *self.coordinators, *self.agents]

    def by_id(self) -> dict[str, Node]:
        """Node id -> device."""
        return {node.id: node for node in self.nodes}

    async def everybody_up(self, timeout_s: float = START_S) -> None:
        """Wait until a coordinator lists every agent as up, with what it offers."""

        async def up() -> bool:
            with contextlib.suppress(MeshError):
                data: Any = (await self.client.endpoint.call("runs", ListNodes(), timeout_s=2)).data
                here = {node["name"] for node in data["nodes"] if node["state"] == "up" and node["agents"]}
                return {node.name for node in self.agents} <= here
            return False

        await until("every agent is up", up, timeout_s, step_s=0.1)

    async def answers(self) -> bool:
        """Whether a coordinator answers."""
        with contextlib.suppress(MeshError):
            await self.client.endpoint.call("runs", Ping(), timeout_s=1.0)
            return True
        return False

    async def written(self) -> int:
        """How many messages the journal has."""
        info = await NatsStream(cast("NatsBus", self.judge.endpoint.bus), JOURNAL).info()
        return int(info["state"]["messages"])

    def stop(self) -> None:
        """End everything: the agents first, the bus last."""
        for group in (self.agents, self.coordinators, [self.bus]):
            for node in group:
                if node.stopped:
                    node.resume()
                if node.alive:
                    assert node.process is not None
                    node.process.terminate()
            for node in group:
                if node.process is not None:
                    try:
                        node.process.wait(25)
                    except subprocess.TimeoutExpired:
                        node.process.kill()
                        node.process.wait(5)
        for kit in self.kits:
            kit.stop()


@asynccontextmanager
async def chaos_swarm(
    folder: Path,
    shape: Shape | None = None,
    *,
    bind: str = "loopback",
    at_bus: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    inside: Callable[[str], Sequence[str]] = lambda _name: (),
    through: Callable[[Node], Awaitable[None]] | None = None,
) -> AsyncIterator[Chaos]:
    """`through` is told each device but the bus before it starts, and may put something between both. A swarm with the bus, each coordinator and each agent on a device of its own, all up; everything is gone afterwards."""
    shape = shape or Shape()
    folder.mkdir(parents=True, exist_ok=True)
    home = Home(folder / "bus")
    with at_bus():
        ports = bus_ports(shape.servers) if shape.servers > 1 else [0]
        others = [Endpoint("127.0.0.1", port) for port in ports[1:]]
        found_swarm(
            home, name="chaos", node_name="bus", bind=bind, port=ports[0], agent=False, servers=others
        )
    home.write(
        "config.toml",
        f"mdns = false\njournal_mib = {shape.journal_mib}\nartifacts_mib = 256\nreplicas = {min(3, shape.servers)}\n".encode(),
    )
    file = home.load()
    # The device that starts a swarm buys, too; here its coordinators are devices of their own, so that each can be killed alone.
    home.save(file.model_copy(update={"roles": [role for role in file.roles if role != "coordinator"]}))
    chaos = Chaos(folder, Node(home, inside=inside("bus")))
    chaos.kits = [Kit(path) for path in sorted(home.file("servers").glob("*"))]
    try:
        for kit in chaos.kits:
            kit.start()
        await chaos.bus.up()
        async with connect_home(home, role="admin") as admin:
            for number in range(shape.coordinators):
                node = await _join(admin, folder / f"desk{number + 1}", "coordinator", inside)
                settings = f"[coordinator]\n{shape.coordinator}" if shape.coordinator else ""
                node.home.write("config.toml", f"mdns = false\n{settings}".encode())
                chaos.coordinators.append(node)
            for number in range(shape.agents):
                node = await _join(admin, folder / f"hand{number + 1}", "agent", inside)
                node.home.write("config.toml", shape.agent.encode())
                chaos.agents.append(node)
        for node in (*chaos.coordinators, *chaos.agents):
            if through is not None:
                await through(node)
            node.start()
        for node in (*chaos.coordinators, *chaos.agents):
            await node.serving()
        async with (
            connect_home(home) as chaos.client,
            connect_home(home, role="coordinator") as chaos.judge,
            connect_home(home, role="admin") as chaos.admin,
        ):
            await chaos.judge.membership.store.load_all(chaos.judge.endpoint.workspace.certs)
            await chaos.everybody_up()
            yield chaos
    finally:
        await asyncio.to_thread(chaos.stop)


async def _join(admin: Swarm, path: Path, role: Any, inside: Callable[[str], Sequence[str]]) -> Node:
    made = await make_invite(admin, role=role)
    home = Home(path)
    end = time.monotonic() + 30
    while True:
        try:
            await join_swarm(home, made.token, node_name=path.name)
            break
        except ZwermError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.2)
    return Node(home, inside=inside(path.name))
