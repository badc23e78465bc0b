"""The daemon: runs everything that this device is in its swarm, in order, and stops it in bounded time.

Start: lock the home, start the embedded bus (role bus), connect one endpoint for each role, run the roles, say hello. Stop, in the opposite order: roles drain,
goodbye, connections close, the bus stops. The roles themselves come by entry point (`zwerm.roles`): this package imports neither of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

from protocol.errors import ZwermError

from .clock import Clock, SystemClock
from .config import Config, load_config
from .endpoint import Endpoint
from .errors import MeshError
from .halt_watch import HaltWatch
from .halting import Halts
from .home import Home
from .loop import parent_gone
from .membership import Membership
from .presence import Facts, announce_presence, watch_presence
from .tasks import background
from .version import VERSION

if TYPE_CHECKING:
    from .enroller import EnrollerService

__all__ = ["DRAIN_S", "Daemon", "PartFailed", "Role", "RoleMissing", "load_role", "run_until_signalled"]

log = logging.getLogger("zwerm.daemon")

DRAIN_S = 10.0
"""How long a role may take to finish what it is saying when the daemon stops."""

_CANCEL_S = 5.0
"""And how long after that to let go of what it holds."""

_SERVERS_PAUSE_S = 1.0

_SESSION_ROLES = ("agent", "coordinator")


class RoleMissing(MeshError):
    """This installation lacks the code of a role."""

    def __init__(self, role: str) -> None:
        super().__init__(
            "E_ROLE_MISSING",
            f"no installed package runs the role {role!r}",
            "Install zwerm again: `pip install zwerm`.",
        )


class PartFailed(MeshError):
    """A part of the daemon ended although nobody had told it to."""

    def __init__(self, part: str, error: BaseException | None) -> None:
        why = "it ended by itself" if error is None else f"{type(error).__name__}: {error}"
        super().__init__(
            "E_INTERNAL",
            f"zwerm stops, since its part {part!r} failed: {why}",
            "The log has the details: logs/daemon.log in the state directory. `zwerm up` starts it again.",
        )


class Role(Protocol):
    """What a role offers the daemon. An agent role also has `cards`, `slots_total`, `slots_used` and `load`."""

    name: str

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain and return."""
        ...


def load_role(name: str, endpoint: Endpoint, config: dict[str, Any]) -> Role:
    """Make a role by its entry point.

    Raises:
        RoleMissing: no package offers it.
    """
    for point in entry_points(group="zwerm.roles", name=name):
        role: Role = point.load()(endpoint, config)
        return role
    raise RoleMissing(name)


class Daemon:
    """One run of the daemon on one home."""

    def __init__(
        self,
        home: Home,
        *,
        clock: Clock | None = None,
        say: Callable[[str], None] = lambda _line: None,
        make_role: Callable[[str, Endpoint, dict[str, Any]], Role] = load_role,
    ) -> None:
        self.home = home
        self.clock = clock or SystemClock()
        self.say = say
        self.roles: dict[str, Role] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.failure: BaseException | None = None
        self.enroller: EnrollerService | None = None
        self.halts = Halts()
        self._halt_watch: HaltWatch | None = None
        self._make_role = make_role

    async def run(
        self, stop: asyncio.Event, *, ready: Callable[[], Awaitable[None] | None] | None = None
    ) -> None:
        """Be in the swarm until `stop` is set.

        Raises:
            MeshError: it could not start (what is missing is said), or a part of it failed for good.
        """
        with self.home.lock():
            config = load_config(self.home)
            membership = Membership.load(self.home, self.clock)
            async with AsyncExitStack() as stack:
                async with _until(stop):  # a bus that is waited for must not keep the daemon from stopping
                    if "bus" in membership.node.roles:
                        await self._start_bus(stack, membership, config, stop)
                    await self._connect_all(stack, membership, stop)
                if not stop.is_set():
                    await self._run_roles(stack, membership, config, stop)
                    await self._until_serving(stop)
                if not stop.is_set():
                    self._write_status(membership)
                    stack.callback(self._remove_status)
                    if ready is not None:
                        outcome = ready()
                        if outcome is not None:
                            await outcome
                    await stop.wait()
                self.say("Stopping …")
        if self.failure is not None:
            raise self.failure

    def look(self) -> None:
        """The owner of this device has halted it, or lets it go on: a file of the home says which."""
        if self._halt_watch is not None:
            self._halt_watch.look()

    # --- start -------------------------------------------------------------------------------------------------------------------

    async def _start_bus(
        self, stack: AsyncExitStack, membership: Membership, config: Config, stop: asyncio.Event
    ) -> None:
        from .founding import renew_server_certificate, server_settings
        from .server_proc import NatsServer

        renew_server_certificate(self.home, membership.node, self.clock.now())
        server = NatsServer(server_settings(self.home, membership.node, config), self.clock)
        await server.start()
        stack.push_async_callback(server.stop)
        await stack.enter_async_context(
            background(
                server.run(),
                on_failure=lambda error: self._fail(
                    error if isinstance(error, ZwermError) else PartFailed("bus", error), stop
                ),
            )
        )
        self.say(f"Bus       {server.url}  (nats-server, process {server.pid})")
        if "enroller" in membership.node.roles:
            await self._make_workspace(membership, config, server.port)
        if config.mdns and not membership.node.bind.startswith("127."):
            await self._announce_mdns(stack, membership, server.port)

    async def _make_workspace(self, membership: Membership, config: Config, port: int) -> None:
        """Have the streams made; where the bus has several servers, enough of them are waited for, aloud."""
        from .bus_nats import NatsBus
        from .workspace_nats import ensure_streams

        while True:
            try:
                async with membership.connect("enroller", urls=[f"tls://127.0.0.1:{port}"]) as endpoint:
                    assert isinstance(endpoint.bus, NatsBus)
                    await ensure_streams(endpoint.bus, config.workspace_sizes(), replicas=config.replicas)
                    serial = membership.certificate.serial.hex()
                    await endpoint.workspace.certs.create(serial, membership.certificate_raw)
                    return
            except MeshError as error:
                if not (error.retryable and membership.node.routes):
                    raise
                self.say(f"Waiting   {error.message}; trying again")
                await asyncio.sleep(_SERVERS_PAUSE_S)

    async def _announce_mdns(self, stack: AsyncExitStack, membership: Membership, port: int) -> None:
        from .discovery import Beacon, instance_name, swarm_tag
        from .discovery_mdns import announce

        name = instance_name("", membership.node_hex)
        beacon = Beacon(swarm_tag(membership.charter.swarm_id), name, port)
        await stack.enter_async_context(background(announce(beacon)))

    async def _connect_all(self, stack: AsyncExitStack, membership: Membership, stop: asyncio.Event) -> None:
        for role in membership.node.roles:
            if role in ("agent", "coordinator", "enroller"):
                self.endpoints[role] = await self._connect(stack, membership, role, stop)
        if not self.endpoints:
            self.endpoints["client"] = await self._connect(stack, membership, "client", stop)

    async def _connect(
        self, stack: AsyncExitStack, membership: Membership, role: str, stop: asyncio.Event
    ) -> Endpoint:
        """Connect under one role; a bus that is not there yet is waited for, aloud."""
        pause = 0.5
        while True:
            try:
                return await stack.enter_async_context(membership.connect(role))
            except MeshError as error:
                if not error.retryable:
                    raise
                if stop.is_set():
                    # We were cancelled in the very moment in which the connection was refused, and only the refusal came out: Python 3.11's
                    # `wait_for`, which the library uses, loses the cancellation then, and there is no second one.
                    raise asyncio.CancelledError from error
                self.say(f"Waiting   {error.message}; trying again in {pause:g} s")
                await asyncio.sleep(pause)
                pause = min(pause * 2, 15.0)

    async def _run_roles(
        self, stack: AsyncExitStack, membership: Membership, config: Config, stop: asyncio.Event
    ) -> None:
        facts = Facts(
            name=membership.node.name,
            version=VERSION,
            roles=sorted(membership.node.roles),
            certificate=lambda: membership.certificate_raw,
            started_ms=int(self.clock.now() * 1000),
        )
        facts.refused = self._refused
        facts.halts = self.halts
        role_stop = asyncio.Event()
        presence_stop = asyncio.Event()
        # Not begun before all of them are made: a role that cannot be made leaves no coroutine behind.
        jobs: dict[str, Callable[[], Awaitable[None]]] = {}

        main = self.endpoints.get("agent") or next(iter(self.endpoints.values()))
        for endpoint in self.endpoints.values():
            endpoint.halts = self.halts
        watch = self._halt_watch = HaltWatch(membership, main, self.halts)
        watch.load()  # before any role is made, so that none does anything that it may not do
        await watch.begin()
        jobs["halt"] = partial(watch.run, presence_stop)
        if "enroller" in self.endpoints:
            from .enroller import EnrollerService

            service = self.enroller = EnrollerService(self.home, membership, self.endpoints["enroller"])
            await membership.store.load_all(self.endpoints["enroller"].workspace.certs)
            jobs["enroller"] = partial(service.run, role_stop)
        for name in _SESSION_ROLES:
            if name not in self.endpoints:
                continue
            endpoint = self.endpoints[name]
            if name == "coordinator":
                await membership.store.load_all(endpoint.workspace.certs)
                jobs["watch"] = partial(watch_presence, endpoint, lambda: _agents(membership), presence_stop)
            role = self.roles[name] = self._make_role(name, endpoint, config.section(name))
            jobs[name] = partial(role.run, role_stop)
        from .upkeep import Upkeep

        upkeep = Upkeep(membership, list(self.endpoints.values()), lambda error: self._fail(error, stop))
        jobs["upkeep"] = partial(upkeep.run, presence_stop)
        agent = self.roles.get("agent")
        if agent is not None:
            _describe(facts, agent)
        jobs["presence"] = partial(
            announce_presence,
            main,
            facts,
            presence_stop,
            on_demand=any(name in self.endpoints for name in _SESSION_ROLES),
        )

        tasks = [
            asyncio.ensure_future(self._watched(part, job(), stop))  # noqa: TID251 - owned by `shut`, below
            for part, job in jobs.items()
        ]

        async def shut() -> None:
            role_stop.set()
            presence_stop.set()
            try:
                _, late = await asyncio.wait(tasks, timeout=DRAIN_S)
                for task in late:
                    log.warning("%s did not stop within %.0f s", task, DRAIN_S)
            finally:  # also when a second signal cuts the waiting short
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=_CANCEL_S)

        stack.push_async_callback(shut)

    async def _watched(self, part: str, job: Awaitable[None], stop: asyncio.Event) -> None:
        try:
            await job
            if not stop.is_set():
                self._fail(PartFailed(part, None), stop)
        except asyncio.CancelledError:
            raise
        except ZwermError as error:
            log.error("the part %s failed: %s", part, error)  # noqa: TRY400 - named: its words say it all
            self._fail(error, stop)
        except Exception as error:
            log.exception("the part %s failed", part)
            self._fail(PartFailed(part, error), stop)

    def _refused(self) -> int:
        refused = sum(endpoint.refused() for endpoint in self.endpoints.values())
        for role in self.roles.values():
            count: Callable[[], int] | None = getattr(role, "refused", None)
            refused += count() if count is not None else 0
        refused += sum(self.halts.counts.values())
        return refused + (sum(self.enroller.counts.values()) if self.enroller is not None else 0)

    def _fail(self, error: BaseException, stop: asyncio.Event) -> None:
        self.failure = self.failure or error
        stop.set()

    async def _until_serving(self, stop: asyncio.Event) -> None:
        """Wait until whoever is told that this device is up finds its services answering; a stop or a failure ends the wait."""
        services = [self.enroller, *self.roles.values()]
        events = [
            event
            for service in services
            if isinstance(event := getattr(service, "serving", None), asyncio.Event)
        ]
        async with _until(stop):
            for event in events:
                await event.wait()

    # --- told to other processes -----------------------------------------------------------------------------------------------

    def _write_status(self, membership: Membership) -> None:
        status = {
            "schema": "zwerm.daemon/1",
            "pid": os.getpid(),
            "roles": sorted(self.endpoints),
            "since": self.clock.now(),
            "name": membership.node.name,
        }
        self.home.write("daemon.json", json.dumps(status).encode())

    def _remove_status(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.home.file("daemon.json").unlink()


@asynccontextmanager
async def _until(stop: asyncio.Event) -> AsyncIterator[None]:
    """Run the block, but leave it as soon as `stop` is set."""
    scope = asyncio.timeout(None)

    async def watch() -> None:
        await stop.wait()
        scope.reschedule(asyncio.get_running_loop().time())

    try:
        async with scope, background(watch()):
            yield
    except TimeoutError:
        if not scope.expired():
            raise


def _describe(facts: Facts, agent: Any) -> None:
    facts.cards = agent.cards
    facts.slots = lambda: (agent.slots_used, agent.slots_total)
    facts.load = agent.load


def _agents(membership: Membership) -> list[str]:
    return [
        member.bus_key
        for member in membership.store.directory
        if "agent" in member.roles and member.node_id != membership.identity.node
    ]


async def run_until_signalled(
    daemon: Daemon, *, ready: Callable[[], Awaitable[None] | None] | None = None, parent: int | None = None
) -> None:
    """Run the daemon until SIGINT or SIGTERM (or until the process `parent` is our parent no more); a second signal stops it at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def on_signal() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    async def watch_parent() -> None:
        if parent is not None:
            await parent_gone(parent)
            stop.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, on_signal)
    loop.add_signal_handler(signal.SIGUSR1, daemon.look)
    try:
        async with background(watch_parent()):
            await daemon.run(stop, ready=ready)
    finally:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            loop.remove_signal_handler(name)
