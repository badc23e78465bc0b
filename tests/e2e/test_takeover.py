"""Several coordinators, real processes: runs are shared out, and when one is killed in the middle the others finish its runs."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_kills import AGENT, begun, finish, outputs, provenance, start_run, wait_for
from tests.e2e.test_kills import world as world  # noqa: PLC0414 - the fixture
from tests.support.devices import Device, everybody_up, join, office

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

RUNS = 6


@contextlib.contextmanager
def bureau(tmp_path: Path, *names: str) -> Iterator[tuple[Device, dict[str, Device], dict[str, Device]]]:
    """An office whose runs several devices coordinate; the hub, which has the bus, is one of them."""
    with office(tmp_path, agents={"ada": AGENT, "bob": AGENT}) as (hub, agents):
        desks: dict[str, Device] = {}
        try:
            for name in names:
                desks[name] = join(hub, tmp_path / name, role="coordinator")
                desks[name].up()
            everybody_up(hub, {"ada", "bob", "hub", *names})
            yield hub, agents, desks
        finally:
            for desk in desks.values():
                desk.stop()


def listed(device: Device) -> dict[str, dict[str, Any]]:
    """The runs as a coordinator tells them."""
    return {entry["run"]: entry for entry in device.json("runs", "ls")["runs"]}


def ids(device: Device, names: set[str]) -> dict[str, str]:
    """Node id -> what people call the device."""

    def known() -> dict[str, str]:
        found = {node["node"]: node["name"] for node in device.json("nodes")["nodes"]}
        return found if names <= set(found.values()) else {}

    found: dict[str, str] = wait_for("everybody is known", known)
    return found


def test_when_a_coordinator_is_killed_the_others_finish_its_runs_and_nothing_is_accepted_twice(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with bureau(world, "east", "west") as (hub, agents, desks):
        nodes = ids(hub, {"hub", *desks})
        processes = [start_run(agents["ada"], world, f"out{number}") for number in range(RUNS)]
        wait_for("all runs are open", lambda: len(listed(hub)) == RUNS)
        wait_for("two nodes at work", lambda: len(begun(world)) >= 2)
        owners = Counter(nodes[entry["owner"]] for entry in listed(hub).values())
        assert sum(owners.values()) == RUNS
        victim = "east" if owners["east"] else "west"
        assert owners[victim], f"no run went to a coordinator beside the hub: {owners}"
        lost = {run for run, entry in listed(hub).items() if nodes[entry["owner"]] == victim}
        killed_at = time.monotonic()
        desks[victim].kill()
        survivors = {name for name in ("east", "west") if name != victim} | {"hub"}

        def taken() -> bool:
            now = listed(hub)
            return all(nodes[now[run]["owner"]] in survivors for run in lost)

        wait_for("the lost runs are taken", taken, 20.0)
        took = time.monotonic() - killed_at
        (world / "gate").touch()
        for number, process in enumerate(processes):
            assert finish(process)["outcome"] == "done"
            assert outputs(world, f"out{number}") == ["ONE", "THREE", "TWO"]
            for subtask in provenance(world, f"out{number}"):
                accepted = [attempt for attempt in subtask["attempts"] if attempt["status"] == "accepted"]
                assert len(accepted) == 1
        epochs = {run: entry["epoch"] for run, entry in listed(hub).items()}
        assert {run for run, epoch in epochs.items() if epoch > 1} == lost
        # what was at work when its owner died was not done again
        assert len(begun(world)) == RUNS * 3
        with capsys.disabled():
            print(
                f"\n{len(lost)} of {RUNS} runs of {victim} taken {took:.2f} s after kill -9 (shares: {dict(owners)})"
            )


def test_any_coordinator_cancels_any_run_and_one_that_stops_hands_its_runs_over_at_once(world: Path) -> None:
    with bureau(world, "east") as (hub, agents, desks):
        east = next(node for node, name in ids(hub, {"east"}).items() if name == "east")
        processes = [start_run(agents["ada"], world, f"out{number}") for number in range(RUNS)]
        wait_for("all runs are open", lambda: len(listed(hub)) == RUNS)
        theirs = [run for run, entry in listed(hub).items() if entry["owner"] == east]
        assert theirs
        for _ in range(6):  # whichever coordinator is asked
            hub.json("runs", "cancel", theirs[0][-6:])
        wait_for("it is cancelled", lambda: listed(hub)[theirs[0]]["outcome"] == "cancelled")
        desks["east"].stop()
        wait_for(
            "the rest is taken",
            lambda: all(entry["owner"] != east or entry["outcome"] for entry in listed(hub).values()),
            20.0,
        )
        (world / "gate").touch()
        outcomes = []
        for process in processes:
            stdout, stderr = process.communicate(timeout=120)
            assert stdout, stderr
            outcomes.append(json.loads(stdout.splitlines()[-1])["outcome"])
        assert Counter(outcomes) == {"done": RUNS - 1, "cancelled": 1}
        desks["east"].up()  # one that comes back takes nothing from those that live
        everybody_up(hub, {"ada", "bob", "hub", "east"})
        assert {entry["epoch"] for run, entry in listed(hub).items() if run not in theirs} == {1}
