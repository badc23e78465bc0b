"""The daemon: starts in order, waits for its bus, ends in bounded time and says which part failed; real homes, real bus."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import mesh.daemon as daemon_module
from mesh.background import DaemonFailed, start_in_background, stop_daemon
from mesh.bus_nats import NatsBus
from mesh.daemon import Daemon, PartFailed, RoleMissing, load_role, run_until_signalled
from mesh.daemon_main import daemon_argv
from mesh.endpoint import Endpoint
from mesh.errors import BusUnreachable, MeshError
from mesh.home import Home, HomeBusy
from mesh.joining import join_swarm
from tests.support.members import IdleRole, found, invited, running, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


def roles(make: Callable[[asyncio.Event], Awaitable[None]]) -> Any:
    """A role whose `run` is the given function."""

    class Made(IdleRole):
        async def run(self, stop: asyncio.Event) -> None:
            await make(stop)

    return lambda _name, endpoint, _config: Made(endpoint)


async def outcome(home: Home, make_role: Any) -> BaseException:
    """What a daemon ends with that nobody stops."""
    with pytest.raises(BaseException) as caught:
        async with asyncio.timeout(20):
            await Daemon(home, make_role=make_role).run(asyncio.Event())
    return caught.value


async def test_a_daemon_that_serves_says_so_to_other_processes_and_takes_it_back(tmp_path: Path):
    home = found(tmp_path / "hub")
    async with running(home):
        status = json.loads(home.read("daemon.json"))
        assert (status["pid"], status["name"]) == (os.getpid(), "hub")
        assert status["roles"] == ["coordinator", "enroller"]
        assert home.daemon_pid() == os.getpid()
        with pytest.raises(HomeBusy):
            await Daemon(home).run(asyncio.Event())
    assert not home.file("daemon.json").exists()
    assert home.daemon_pid() is None


async def test_looking_whether_a_daemon_runs_never_keeps_one_from_starting(tmp_path: Path):
    home = Home(tmp_path)
    with home.lock():
        pass
    import fcntl

    looking = os.open(home.file("daemon.lock"), os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)
    asyncio.get_running_loop().run_in_executor(
        None, lambda: (fcntl.flock(looking, fcntl.LOCK_UN), os.close(looking))
    )
    with home.lock():
        assert home.daemon_pid() == os.getpid()


@pytest.mark.parametrize("kind", ["defect", "named", "returns"])
async def test_a_part_that_fails_ends_the_daemon_and_is_named(tmp_path: Path, kind: str):
    async def run(_stop: asyncio.Event) -> None:
        if kind == "defect":
            raise KeyError("a defect")
        if kind == "named":
            raise MeshError("E_DISK_FULL", "the disk is full", "free some space")

    home = found(tmp_path / "hub")
    error = await outcome(home, roles(run))
    assert isinstance(error, MeshError)
    assert error.hint
    if kind == "named":
        assert error.code == "E_DISK_FULL"
    else:
        assert isinstance(error, PartFailed)
        assert "'coordinator'" in error.message
    assert home.daemon_pid() is None


async def test_a_role_that_cannot_be_made_ends_the_start_and_leaves_no_server(tmp_path: Path):
    home = found(tmp_path / "hub")
    error = await outcome(home, lambda name, _endpoint, _config: load_role(f"{name}-of-nobody", None, {}))  # type: ignore[arg-type]
    assert isinstance(error, RoleMissing)
    async with running(home):  # the port and the store are free again
        pass


async def test_a_role_that_does_not_drain_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(daemon_module, "DRAIN_S", 0.1)
    cut = asyncio.Event()

    async def run(_stop: asyncio.Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    before = asyncio.all_tasks()
    async with running(found(tmp_path / "hub"), make_role=roles(run)):
        pass
    assert cut.is_set()
    assert asyncio.all_tasks() == before


async def test_a_second_signal_stops_at_once_and_leaves_no_task(tmp_path: Path):
    draining = asyncio.Event()

    async def run(stop: asyncio.Event) -> None:
        await stop.wait()
        draining.set()
        await asyncio.Event().wait()

    home = found(tmp_path / "hub")
    ready = asyncio.Event()
    before = asyncio.all_tasks()
    task = asyncio.get_running_loop().create_task(
        run_until_signalled(Daemon(home, make_role=roles(run)), ready=ready.set)
    )
    async with asyncio.timeout(30):
        await ready.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await draining.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(asyncio.CancelledError):
            await task
    assert asyncio.all_tasks() == before
    assert home.daemon_pid() is None


@pytest.fixture
async def nas_without_bus(tmp_path: Path) -> tuple[Home, Home]:
    """A hub and a member of its swarm, both off."""
    hub, nas = found(tmp_path / "hub"), Home(tmp_path / "nas")
    async with running(hub):
        await join_swarm(nas, (await invited(hub)).token, node_name="nas")
    return hub, nas


async def test_a_device_whose_bus_is_not_there_yet_waits_aloud_and_joins_when_it_comes(
    nas_without_bus: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
):
    hub, nas = nas_without_bus
    said: list[str] = []
    stop, ready = asyncio.Event(), asyncio.Event()
    daemon = Daemon(nas, say=said.append, make_role=lambda _n, endpoint, _c: IdleRole(endpoint))
    async with asyncio.TaskGroup() as group:
        group.create_task(daemon.run(stop, ready=ready.set))
        await until("it waits", lambda: any("Waiting" in line for line in said))
        assert not ready.is_set()
        async with running(hub) as first:
            async with asyncio.timeout(30):
                await ready.wait()
            await until("heard", lambda: first.endpoints["coordinator"].roster.knows(nas.load().node))
            stop.set()


async def test_a_device_that_waits_for_its_bus_stops_when_told(nas_without_bus: tuple[Home, Home]):
    _, nas = nas_without_bus
    said: list[str] = []
    stop = asyncio.Event()
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        group.create_task(Daemon(nas, say=said.append).run(stop))
        await until("it waits", lambda: any("Waiting" in line for line in said))
        stop.set()
    assert nas.daemon_pid() is None


async def test_a_daemon_stops_although_the_connection_was_refused_in_the_moment_of_the_order(
    nas_without_bus: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
):
    _, nas = nas_without_bus
    asked, stop = asyncio.Event(), asyncio.Event()

    async def refused_when_cancelled(*_arguments: object, **_options: object) -> NatsBus:
        again = asked.is_set()
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if again:
                raise
            raise BusUnreachable("connection refused") from None
        raise AssertionError("nobody set it")

    monkeypatch.setattr(NatsBus, "connect", refused_when_cancelled)
    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        group.create_task(Daemon(nas).run(stop))
        await asked.wait()
        stop.set()
    assert nas.daemon_pid() is None


async def test_a_connection_that_is_refused_for_good_ends_the_start(
    nas_without_bus: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
):
    _, nas = nas_without_bus
    from mesh.bus_nats import NatsBus
    from mesh.errors import BusRefused

    async def refuse(*_arguments: object, **_options: object) -> NatsBus:
        raise BusRefused("the server does not let this device in")

    monkeypatch.setattr(NatsBus, "connect", refuse)
    assert isinstance(await outcome(nas, None), BusRefused)


async def test_a_server_that_dies_is_started_again_and_the_daemon_goes_on(tmp_path: Path):
    home = found(tmp_path / "hub")
    said: list[str] = []
    async with running(home, say=said.append) as daemon:
        [line] = [line for line in said if "nats-server, process" in line]
        os.kill(int(line.rsplit(" ", 1)[1].rstrip(")")), signal.SIGKILL)
        endpoint: Endpoint = daemon.endpoints["coordinator"]
        await until("cut off", lambda: not endpoint.bus.connected)
        await until("back", lambda: endpoint.bus.connected, timeout_s=30)


# --- as a process -------------------------------------------------------------------------------------------------------------


def test_a_daemon_in_the_background_serves_when_the_command_returns_and_stops_when_told(tmp_path: Path):
    home = found(tmp_path / "hub")
    pid = start_in_background(home)
    try:
        assert home.daemon_pid() == pid
        assert start_in_background(home) == pid
    finally:
        assert stop_daemon(home)
    assert not stop_daemon(home)


def test_a_daemon_that_cannot_start_in_the_background_says_why(tmp_path: Path):
    home = found(tmp_path / "hub")
    home.write("config.toml", b"mdsn = true\n")
    with pytest.raises(DaemonFailed) as caught:
        start_in_background(home)
    assert "mdsn" in caught.value.message
    assert "daemon.out" in caught.value.hint


def test_a_daemon_that_does_not_serve_in_time_is_ended(tmp_path: Path):
    home = found(tmp_path / "hub")
    with pytest.raises(DaemonFailed) as caught:
        start_in_background(home, timeout_s=0.2)
    assert "did not serve" in caught.value.message
    assert home.daemon_pid() is None


async def test_a_daemon_whose_parent_is_killed_ends_and_takes_its_server_along(tmp_path: Path):
    home = found(tmp_path / "hub")
    script = (
        "import os, subprocess, sys, time\n"
        "from pathlib import Path\n"
        "from mesh.daemon_main import daemon_argv\n"
        "from mesh.home import Home\n"
        "subprocess.Popen(daemon_argv(Home(Path(sys.argv[1])), parent=os.getpid()))\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(home.path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await until("up", lambda: home.file("daemon.json").exists(), timeout_s=30)
    finally:
        parent.kill()
        parent.wait()
    await until("ended", lambda: home.daemon_pid() is None, timeout_s=30)
    async with running(home):  # its server is gone, too: port and store are free
        pass


def test_the_daemons_command_line_carries_the_options(tmp_path: Path):
    argv = daemon_argv(Home(tmp_path), quiet=True, as_json=True, verbose=2, no_color=True, parent=7)
    assert argv[1:5] == ["-m", "mesh.daemon_main", "--home", str(tmp_path)]
    assert argv[5:] == ["--quiet", "--json", "--no-color", "--verbose", "--verbose", "--with-parent", "7"]


def test_the_failure_of_a_daemon_in_the_foreground_is_words_or_one_json_document(tmp_path: Path):
    done = subprocess.run(
        daemon_argv(Home(tmp_path / "none"), as_json=True),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    document = json.loads(done.stdout)
    assert (done.returncode, document["error"]["code"]) == (2, "E_NO_SWARM")
    assert done.stderr == ""
    assert BusUnreachable.retryable
