"""`zwerm halt`: every process of every agent is gone, whoever hangs; nothing is awarded until it is lifted; and then the work is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.devices import ROOT, Device, everybody_up, office, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

GONE_WITHIN_S = 20.0
"""How long a test waits; how long it took is printed, since a busy machine is slower than a promise."""


def agents(folder: Path) -> str:
    program = json.dumps([sys.executable, "-m", "tests.support.stubborn", str(folder)])
    return f"""
[agent]
documents = false
slots = 2
queue = 0
[[agents]]
name = "function"
adapter = "python"
target = "tests.support.stubborn:hang"
capability = "test.function"
quiet_s = 600
slots = 1
[[agents]]
name = "program"
adapter = "command"
argv = {program}
capability = "test.program"
sandbox = "none"
slots = 1
env = {{PYTHONPATH = {json.dumps(str(ROOT))}}}
"""


def start_run(device: Device, folder: Path, count: int) -> subprocess.Popen[str]:
    documents = folder / "documents"
    documents.mkdir()
    for number in range(count):
        (documents / f"{number}.txt").write_text("x")
    params = {"folder": str(folder)}
    steps = [
        {"id": name, "capability": f"test.{name}", "map": "inputs", "params": params, "deadline_s": 600}
        for name in ("function", "program")
    ]
    (folder / "plan.yaml").write_text(json.dumps({"goal": "toil", "steps": steps, "deliver": ["function"]}))
    words = ["run", "--plan", folder / "plan.yaml", "-i", documents, "-o", folder / "out", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "mesh", *map(str, words), "--home", str(device.home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def pids(folder: Path) -> list[int]:
    path = folder / "pids"
    return [int(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []


def alive(folder: Path) -> list[int]:
    found = []
    for pid in pids(folder):
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            continue
    return found


def all_gone(folder: Path, since: float) -> None:
    wait_for("nothing of the agents runs", lambda: not alive(folder), GONE_WITHIN_S)
    print(f"all processes of the agents gone {time.monotonic() - since:.2f} s after the order was given")


def finish(process: subprocess.Popen[str]) -> dict:
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stdout[-2000:] + stderr[-2000:]
    return json.loads(stdout.splitlines()[-1])


def halted(hub: Device, names: set[str]) -> bool:
    nodes = {node["name"]: node for node in hub.json("nodes")["nodes"]}
    return all(nodes[name]["halted"] and nodes[name]["state"] == "up" for name in names)


@pytest.mark.requirement("HLT-3")
@pytest.mark.requirement("HLT-4")
def test_a_halt_ends_every_agent_process_of_three_nodes_and_holds_until_it_is_lifted(tmp_path: Path):
    names = {"ada", "bob", "cyd"}
    with office(tmp_path, agents=dict.fromkeys(sorted(names), agents(tmp_path))) as (hub, devices):
        run = start_run(hub, tmp_path, 3)
        wait_for("six agents work, each with a child", lambda: len(pids(tmp_path)) == 12)
        assert len(alive(tmp_path)) == 12

        refused = devices["ada"].zwerm("halt", "--json")
        assert refused.returncode == 4, refused.stdout + refused.stderr
        assert len(alive(tmp_path)) == 12

        began = time.monotonic()
        done = hub.zwerm("halt", "a drill")
        assert done.returncode == 0, done.stdout + done.stderr
        all_gone(tmp_path, began)
        print(done.stdout + done.stderr)
        for name in names:
            assert f"✓ {name} stopped" in done.stdout + done.stderr
        said = hub.json("halt", "again")
        assert {node["name"] for node in said["nodes"] if node["answered"]} == names

        status = hub.json("status", ok=False)
        assert [problem["code"] for problem in status["problems"]] == ["E_HALTED"]
        assert "hub halted the swarm: again" in status["problems"][0]["message"]
        assert "W_HALTED" in [finding["code"] for finding in devices["bob"].json("doctor")["findings"]]
        wait_for("all say that they are halted", lambda: halted(hub, names))

        # A node that was away obeys when it comes back, a restarted one as well, and so does a new coordinator.
        devices["cyd"].kill()
        devices["cyd"].up()
        hub.stop()
        hub.up()
        everybody_up(hub, names)
        wait_for("all say that they are halted", lambda: halted(hub, names))
        assert len(pids(tmp_path)) == 12

        (tmp_path / "gate").touch()
        lifted = hub.zwerm("halt", "--lift")
        assert lifted.returncode == 0, lifted.stdout + lifted.stderr
        assert finish(run)["outcome"] == "done"
        assert hub.json("status")["swarm"]["healthy"]


def nats_of(device: Device) -> psutil.Process:
    assert device.process is not None
    [found] = [
        child
        for child in psutil.Process(device.process.pid).children(recursive=True)
        if "nats-server" in child.name()
    ]
    return found


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_local_halt_needs_neither_bus_nor_daemon(tmp_path: Path, how: str):
    with office(tmp_path, agents={"ada": agents(tmp_path)}) as (hub, devices):
        ada = devices["ada"]
        assert ada.process is not None
        run = start_run(hub, tmp_path, 1)
        wait_for("both agents work, each with a child", lambda: len(pids(tmp_path)) == 4)
        bus = nats_of(hub)
        number = signal.SIGSTOP if how == "stopped" else signal.SIGKILL
        assert hub.process is not None
        for pid in (hub.process.pid, bus.pid, ada.process.pid):
            os.kill(pid, number)
        if how == "killed":
            hub.process.wait(10)
            ada.process.wait(10)

        began = time.monotonic()
        done = ada.zwerm("halt", "--local", "enough")
        assert done.returncode == 0, done.stdout + done.stderr
        all_gone(tmp_path, began)
        assert "ada stopped" in done.stdout + done.stderr
        assert ("does not answer" in done.stdout + done.stderr) == (how == "stopped")

        # It holds when the daemon goes on, or comes back.
        if how == "stopped":
            for pid in (bus.pid, hub.process.pid, ada.process.pid):
                os.kill(pid, signal.SIGCONT)
        else:
            hub.up()
            ada.up()
        everybody_up(hub, {"ada"})
        wait_for("ada says that it is halted", lambda: halted(hub, {"ada"}))
        assert len(pids(tmp_path)) == 4
        assert [problem["code"] for problem in ada.json("status", ok=False)["problems"]] == ["E_HALTED"]

        (tmp_path / "gate").touch()
        assert ada.json("halt", "--local", "--lift")["daemon"] == "obeyed"
        if how == "stopped":
            assert finish(run)["outcome"] == "done"
        else:
            run.communicate(timeout=120)


def test_a_daemon_that_runs_obeys_a_local_halt_itself(tmp_path: Path):
    with office(tmp_path, agents={"ada": agents(tmp_path)}) as (hub, devices):
        run = start_run(hub, tmp_path, 1)
        wait_for("both agents work, each with a child", lambda: len(pids(tmp_path)) == 4)
        began = time.monotonic()
        said = devices["ada"].json("halt", "--local")
        all_gone(tmp_path, began)
        assert said["daemon"] == "obeyed"
        assert said["stopped"] >= 4
        (tmp_path / "gate").touch()
        devices["ada"].json("halt", "--local", "--lift")
        assert finish(run)["outcome"] == "done"
