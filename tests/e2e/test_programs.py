"""Programs without asyncio, on a real swarm: they have work done, watch it, halt the swarm and lift that again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh import RunFailed, connect, connect_sync
from mesh.endpoint import CallFailed
from mesh.membership import NoSuchRole
from mesh.sync import LoopRuns
from protocol.errors import ZwermError
from tests.support.devices import Device, office
from tests.support.gated import offered

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

AGENT = offered(4)


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Device, Device]]:
    """The hub, which is the admin's, and a device with an agent."""
    with office(tmp_path_factory.mktemp("swarm"), agents={"ada": AGENT}) as (hub, found):
        yield hub, found["ada"]


def plan(folder: Path) -> dict[str, Any]:
    params = {"gate": str(folder / "gate"), "begun": str(folder / "begun")}
    return {
        "goal": "shout",
        "steps": [{"id": "shout", "capability": "test.shout", "map": "inputs", "params": params}],
    }


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.txt"
    path.write_text("hello")
    return path


def test_a_program_has_work_done_watches_it_and_gets_the_files(
    devices: tuple[Device, Device], note: Path, tmp_path: Path
) -> None:
    threads = threading.active_count()
    with connect_sync(devices[1].home) as swarm:
        run = swarm.run(inputs=[note], plan=plan(tmp_path), budget="time=1h")
        numbers = []
        for event in run.events():
            if event.kind == "subtask.awarded":
                (tmp_path / "gate").touch()
            if not event.volatile:
                numbers.append(event.seq)
        assert numbers == list(range(1, len(numbers) + 1))
        assert run.result().outcome == "done"
        paths = run.deliver(tmp_path / "out")
        assert paths[0].read_text() == "HELLO"
        assert swarm.find(run.run[-6:]).run == run.run
        assert swarm.runs()[0]["outcome"] == "done"
        assert {node["name"] for node in swarm.nodes()} == {"hub", "ada"}
        again = [event.seq for event in swarm.events(run.run, after=2)]
        assert again == numbers[2:]
    assert threading.active_count() == threads, "its thread ends with the block"
    with pytest.raises(ZwermError) as closed:
        swarm.runs()
    assert closed.value.code == "E_CLOSED"


def test_several_threads_of_a_program_use_one_connection_and_may_stop_watching(
    devices: tuple[Device, Device], note: Path, tmp_path: Path
) -> None:
    with connect_sync(devices[1].home) as swarm:
        run = swarm.run(inputs=[note], plan=plan(tmp_path))
        seen: list[str] = []

        def watch() -> None:
            seen.extend(event.kind for event in run.events() if not event.volatile)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for event in run.events():
            if event.kind == "subtask.awarded":
                break  # who has seen enough leaves the others undisturbed
        swarm.pause(run.run)
        swarm.resume(run.run)
        run.cancel("enough")
        with pytest.raises(RunFailed) as failed:
            run.result()
        assert failed.value.result.outcome == "cancelled"
        watcher.join(30)
        assert seen[-1] == "run.closed"
        with pytest.raises(CallFailed) as unknown:
            swarm.find("zzzzzz")
        assert unknown.value.code == "E_NOT_FOUND"


def test_who_watches_when_the_connection_is_closed_is_told(
    devices: tuple[Device, Device], note: Path, tmp_path: Path
) -> None:
    with connect_sync(devices[1].home) as swarm:
        run = swarm.run(inputs=[note], plan=plan(tmp_path))
        events = run.events()
        next(events)
    with pytest.raises(ZwermError) as closed:
        list(events)
    assert closed.value.code == "E_CLOSED"
    with connect_sync(devices[1].home) as swarm:
        swarm.cancel(run.run)


def test_an_admins_program_halts_the_swarm_and_lifts_it(
    devices: tuple[Device, Device], note: Path, tmp_path: Path
) -> None:
    hub, ada = devices
    (tmp_path / "gate").touch()
    with connect_sync(hub.home) as swarm:
        sent = swarm.halt("a drill", wait_s=20.0)
        assert [(one.name, one.halt) for one in sent.answers] == [("ada", sent.n)]
        assert sent.silent == []
        run = swarm.run(inputs=[note], plan=plan(tmp_path))
        assert "a drill" in ada.zwerm("status").stderr
        events = run.events()
        assert next(events).kind == "run.opened"
        lifted = swarm.lift(wait_s=20.0)
        assert (lifted.n, lifted.silent) == (sent.n + 1, [])
        assert run.result().outcome == "done"


def test_who_is_no_admin_halts_nothing(devices: tuple[Device, Device]) -> None:
    with connect_sync(devices[1].home) as swarm, pytest.raises(NoSuchRole):
        swarm.halt()


async def test_a_program_with_an_event_loop_is_told_to_use_it_and_may_halt_as_well(
    devices: tuple[Device, Device],
) -> None:
    with pytest.raises(LoopRuns), connect_sync(devices[0].home):
        pass
    async with connect(devices[0].home) as swarm:
        sent = await swarm.halt(wait_s=20.0)
        assert sent.silent == []
        assert (await swarm.lift(wait_s=20.0)).silent == []


def test_a_device_in_no_swarm_says_so(tmp_path: Path) -> None:
    with pytest.raises(ZwermError) as caught, connect_sync(tmp_path / "nothing"):
        pass
    assert caught.value.code == "E_NO_SWARM"
