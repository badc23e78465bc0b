"""A node that is asleep, or cut off, in the middle of its work: what it finishes meanwhile counts once, or is on record as late; nothing is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_kills import AGENT, begun, finish, outputs, provenance, start_run, world
from tests.support.devices import Device, office, wait_for

__all__ = ["world"]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture
def one(world: Path) -> Path:
    """One subtask only."""
    for name in ("b.txt", "c.txt"):
        (world / "documents" / name).unlink()
    return world


def holder(world: Path, devices: dict[str, Device]) -> Device:
    """The device whose worker has begun."""
    worker = psutil.Process(int(begun(world)[0].split()[1]))
    [found] = [
        device for device in devices.values() if device.process and device.process.pid == worker.ppid()
    ]
    return found


def shown(hub: Device) -> dict:
    run = hub.json("runs", "ls")["runs"][0]["run"]
    return hub.json("runs", "show", run[-6:])


def late(hub: Device) -> list[tuple[int, str]]:
    [subtask] = shown(hub)["subtask_list"]
    return [(one["attempt"], one["what"]) for one in subtask["late"]]


@pytest.mark.requirement("MSG-15")
def test_what_a_sleeping_node_finishes_after_another_took_over_is_on_record_and_changes_nothing(one: Path):
    with office(one, agents={"ada": AGENT, "bob": AGENT}) as (hub, devices):
        process = start_run(hub, one, "out")
        wait_for("a node at work", lambda: begun(one))
        sleeper = holder(one, devices)
        assert sleeper.process is not None
        os.kill(sleeper.process.pid, signal.SIGSTOP)
        try:
            wait_for("the other node at work", lambda: len(begun(one)) == 2, 90.0)
            (one / "gate").touch()
            assert finish(process)["outcome"] == "done"
        finally:
            os.kill(sleeper.process.pid, signal.SIGCONT)
        wait_for("its ending is on record", lambda: late(hub))
        # The order to stop was waiting for it as well: it may have been heard before the worker's last word.
        assert late(hub) in ([(1, "result")], [(1, "cancelled")])
        [subtask] = provenance(one, "out")
        assert subtask["made_by"] != sleeper.name
        assert outputs(one, "out") == ["ONE"]
        assert [attempt["status"] for attempt in shown(hub)["subtask_list"][0]["attempts"]] == [
            "failed",
            "accepted",
        ]


@pytest.mark.requirement("MSG-14")
def test_what_a_node_finishes_while_the_bus_is_dead_counts_once_when_it_is_back(one: Path):
    with office(one, agents={"ada": AGENT}) as (hub, _):
        process = start_run(hub, one, "out")
        wait_for("a node at work", lambda: begun(one))
        hub.kill()  # the bus, the store and the coordinator
        (one / "gate").touch()
        worker = int(begun(one)[0].split()[1])
        wait_for("the work is done", lambda: _waits(worker))
        hub.up()
        assert finish(process)["outcome"] == "done"
        assert outputs(one, "out") == ["ONE"]
        assert len(begun(one)) == 1
        assert [attempt["status"] for attempt in shown(hub)["subtask_list"][0]["attempts"]] == ["accepted"]
        assert late(hub) == []


def _waits(worker: int) -> bool:
    """Whether the worker has gone back to waiting for a job: it is in its home directory no more."""
    try:
        return psutil.Process(worker).cwd() == "/"
    except psutil.NoSuchProcess:
        return True


@pytest.mark.requirement("MSG-15")
def test_a_node_that_slept_through_the_end_of_its_run_is_told_to_stop_when_it_wakes(one: Path):
    with office(one, agents={"ada": AGENT}) as (hub, devices):
        process = start_run(hub, one, "out")
        wait_for("a node at work", lambda: begun(one))
        sleeper = devices["ada"].process
        assert sleeper is not None
        os.kill(sleeper.pid, signal.SIGSTOP)
        try:
            hub.json("runs", "cancel", shown(hub)["run"][-6:])
            process.communicate(timeout=120)
            assert shown(hub)["outcome"] == "cancelled"
        finally:
            os.kill(sleeper.pid, signal.SIGCONT)

        def idle() -> bool:
            [ada] = [node for node in hub.json("nodes")["nodes"] if node["name"] == "ada"]
            return ada["state"] == "up" and ada["slots_used"] == 0

        wait_for("its slot is free", idle)
        assert not (one / "gate").exists()
