"""Who does not take in what the bus has for it hurts itself only: others go on, the bus stays small, and it catches up when it is back."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.devices import ROOT, Device, everybody_up, office, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

NOOP = '[agent]\ndocuments = false\nnoop = true\ncapabilities = ["demo.noop", "test.shout"]\n'
GATED = (
    f'{NOOP}[[agents]]\nname = "gated"\nadapter = "python"\ntarget = "tests.support.gated:shout"\n'
    'capability = "test.shout"\nslots = 1\n'
)
STEPS = 250
BUS_GROWTH = 96 << 20
"""Two connections that stand still may cost the bus some buffers each, and no more, however much is said meanwhile."""


def watching(hub: Device, run: str, path: Path, stack: ExitStack) -> subprocess.Popen[bytes]:
    """`zwerm events RUN -f`; killed at the end whatever happens."""
    with path.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "mesh", "events", run, "-f", "--json", "--home", str(hub.home)],
            stdout=out,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )

    def kill() -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.communicate()

    stack.callback(kill)
    return process


def numbers(path: Path) -> list[int]:
    whole, _, _ = path.read_text().rpartition("\n")
    return [event["seq"] for event in map(json.loads, whole.splitlines()) if not event["volatile"]]


def submit(hub: Device, folder: Path, name: str, *, gated: bool) -> tuple[str, Path]:
    """A run of many small subtasks, perhaps behind a gate."""
    gate, text = folder / f"gate-{name}", folder / f"{name}.txt"
    text.write_text("x")
    steps: list[dict[str, object]] = [
        {"id": f"s{number}", "capability": "demo.noop", **({"after": "gate"} if gated else {})}
        for number in range(STEPS)
    ]
    if gated:
        params = {"gate": str(gate), "begun": str(folder / f"begun-{name}")}
        steps.insert(0, {"id": "gate", "capability": "test.shout", "inputs": [text.name], "params": params})
    plan = folder / f"{name}.yaml"
    plan.write_text(json.dumps({"steps": steps, "deliver": ["s0"]}))
    return hub.json("run", "--plan", plan, "-i", text, "--detach")["run"], gate


def done(hub: Device, run: str) -> None:
    """The run ends well, with each subtask accepted once."""
    wait_for(f"run {run} ends", lambda: hub.json("runs", "show", run)["outcome"], timeout_s=90)
    shown = hub.json("runs", "show", run)
    assert shown["outcome"] == "done", shown["message"]
    for subtask in shown["subtask_list"]:
        assert sum(attempt["status"] == "accepted" for attempt in subtask["attempts"]) == 1, subtask


def test_a_watcher_and_a_node_that_stand_still_hold_up_nobody_and_catch_up(tmp_path: Path):
    agents = {"ada": GATED, "bob": NOOP, "cyd": NOOP}
    with office(tmp_path, agents=agents) as (hub, devices), ExitStack() as stack:
        assert hub.process is not None
        [bus] = [
            child
            for child in psutil.Process(hub.process.pid).children(recursive=True)
            if "nats-server" in child.name()
        ]
        run, gate = submit(hub, tmp_path, "one", gated=True)
        paths = {name: tmp_path / f"{name}.jsonl" for name in ("slow", "quick")}
        watchers = {name: watching(hub, run, path, stack) for name, path in paths.items()}
        for name, path in paths.items():
            wait_for(
                f"the {name} watcher sees the award", lambda path=path: "subtask.awarded" in path.read_text()
            )
        cyd = devices["cyd"].process
        assert cyd is not None
        still = [watchers["slow"].pid, cyd.pid]
        seen = len(numbers(paths["slow"]))
        before = bus.memory_info().rss
        try:
            for pid in still:
                os.kill(pid, signal.SIGSTOP)
            gate.touch()
            done(hub, run)
            second, _ = submit(hub, tmp_path, "two", gated=False)
            done(hub, second)
            assert watchers["quick"].wait(30) == 0
            assert bus.memory_info().rss - before < BUS_GROWTH
            assert len(numbers(paths["slow"])) == seen
        finally:
            for pid in still:
                os.kill(pid, signal.SIGCONT)
        assert watchers["slow"].wait(60) == 0
        everything = list(range(1, len(numbers(paths["quick"])) + 1))
        assert len(everything) > 2 * STEPS
        assert numbers(paths["quick"]) == everything
        assert numbers(paths["slow"]) == everything
        everybody_up(hub, {*agents, "hub"})
